//! How vLLM slices a rank's batch (`maybe_create_ubatch_slices`, `slice_input_batch`).

use std::ops::Range;

use super::cut::total;
use super::{MAX_MICRO_BATCHES, MicroError, Runner};

/// One slice of a rank's batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Its tokens of the padded batch: equally many on every rank.
    pub tokens: Range<u64>,
    /// Those of them that are real.
    pub real: u64,
    /// Its requests of the batch; one that is cut is in both slices.
    pub requests: Range<usize>,
    /// Where each of its requests starts in it, and the end: requests of padding, which follow, have no tokens.
    pub starts: Vec<u64>,
    /// What its last request's sequence length is less by: the tokens behind the slice.
    pub sequence_removed: u64,
}

/// Whether the last of `batches` parts would hold no token of the rank with the `fewest`, if the longest has `padded`.
///
/// ```
/// use tilewright_dp::plan::micro::last_is_empty;
///
/// assert!(last_is_empty(200, 300, 3) && !last_is_empty(201, 300, 3));
/// ```
pub const fn last_is_empty(fewest: u64, padded: u64, batches: u64) -> bool {
    match padded.checked_div(batches) {
        Some(part) => part.saturating_mul(batches - 1) >= fewest,
        None => true,
    }
}

/// The length of part `index` of `batches`: equal, and the last with what is left.
pub(super) const fn part(agreed: u64, batches: u64, index: u64) -> Range<u64> {
    let length = agreed / batches;
    let end = if index + 1 == batches {
        agreed
    } else {
        (index + 1) * length
    };
    index * length..end
}

/// Slices requests of these query lengths, padded to `padded_requests`, into parts of the `agreed` tokens.
///
/// ```
/// use tilewright_dp::plan::micro::{Runner, slices};
///
/// let [a, b] = &slices(&[1, 1, 10, 1, 1], 5, 14, 2, Runner::V1)?[..] else { unreachable!() };
/// assert_eq!((a.requests.clone(), b.requests.clone()), (0..3, 2..5));
/// assert_eq!((&a.starts[..], &b.starts[..]), (&[0, 1, 2, 7][..], &[0, 5, 6, 7][..]));
/// # Ok::<(), tilewright_dp::plan::micro::MicroError>(())
/// ```
///
/// # Errors
/// A number of parts out of range, more tokens than agreed, fewer agreed than parts, or fewer requests after padding.
pub fn slices(
    queries: &[u64],
    padded_requests: usize,
    agreed: u64,
    batches: u64,
    runner: Runner,
) -> Result<Vec<Slice>, MicroError> {
    check_batches(batches)?;
    let own = total(queries)?;
    if own > agreed {
        return Err(MicroError::AgreedTooFew { agreed, own });
    }
    if agreed < batches {
        return Err(MicroError::TooFewTokens { agreed, batches });
    }
    let requests = queries.len();
    let pads = padded_requests.checked_sub(requests).ok_or(MicroError::FewerRequests {
        requests,
        padded: padded_requests,
    })?;
    let mut ends = vec![0];
    ends.extend(queries.iter().scan(0, |end, query| {
        *end += query;
        Some(*end)
    }));
    let slice = |index: u64| {
        let tokens = part(agreed, batches, index);
        let is_last = index + 1 == batches;
        // The first runner ends the last slice where tokens end; the second runs a slice behind them as a dummy.
        let end = match runner {
            Runner::V1 if is_last => tokens.end.min(own).max(tokens.start),
            _ => tokens.end,
        };
        let first = ends.partition_point(|&at| at <= tokens.start).saturating_sub(1);
        let last = ends.partition_point(|&at| at < end);
        let first = first.min(requests.saturating_sub(1));
        let last = last.min(requests).max(first);
        let inside = |at: u64| at.clamp(tokens.start, end) - tokens.start;
        let mut starts: Vec<u64> = ends[first..=last].iter().copied().map(inside).collect();
        let filled = inside(ends[last]);
        starts.extend(std::iter::repeat_n(filled, if is_last { pads } else { 0 }));
        Slice {
            real: own.clamp(tokens.start, tokens.end) - tokens.start,
            requests: first..last,
            starts,
            sequence_removed: ends[last].saturating_sub(end).min(own.saturating_sub(tokens.start)),
            tokens,
        }
    };
    Ok((0..batches).map(slice).collect())
}

pub(super) fn check_batches(batches: u64) -> Result<(), MicroError> {
    match batches {
        2..=MAX_MICRO_BATCHES => Ok(()),
        _ => Err(MicroError::Batches { batches }),
    }
}
