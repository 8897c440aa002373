//! Where SGLang's two-batch overlap cuts a rank's batch (`compute_split_seq_index`, `compute_split_token_index`,
//! `TboForwardBatchPreparer`).

use std::ops::Range;

use super::super::MAX_ROWS;
use super::MicroError;

/// A cut between prompts serves while the smaller half has this part of the tokens, in per cent.
pub const DEFAULT_TWO_CHUNK_PERCENT: u64 = 48;

/// Where a rank's batch is cut in two.
///
/// ```
/// use tilewright_dp::plan::micro::Cut;
///
/// // Behind the first prompt both halves have 100 tokens; of these two prompts the long one is cut itself.
/// assert_eq!(Cut::of_prompts(&[100, 50, 30, 20], 48)?, Cut { requests: 1, tokens: 100, within: false });
/// assert_eq!(Cut::of_prompts(&[1000, 10], 48)?, Cut { requests: 0, tokens: 505, within: true });
/// # Ok::<(), tilewright_dp::plan::micro::MicroError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cut {
    /// Whole requests before it.
    pub requests: usize,
    /// Tokens before it.
    pub tokens: u64,
    /// Whether it is within a request, which is then in both halves (SGLang: two-chunk split).
    pub within: bool,
}

/// One half of a rank's batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Child {
    /// Its tokens of the batch.
    pub tokens: Range<u64>,
    /// Its requests of the batch; one that is cut is in both halves.
    pub requests: Range<usize>,
    /// New tokens of each of its requests.
    pub lengths: Vec<u64>,
    /// What the prefix of its first request grows by: the tokens that the other half has of it.
    pub prefix_added: u64,
    /// Its rows, a multiple of the attention TP size; those without a token are zero.
    pub padded: u64,
    /// Its rows that are real in the batch, whose own end may be padding.
    pub real: u64,
}

impl Child {
    /// The length of its gathered buffer, which it knows only where the dense layers are not split over GPUs
    /// (`moe_dense_tp_size` 1). It publishes no counts.
    pub fn buffer_rows(&self, moe_dense_tp: Option<u64>) -> Option<u64> {
        (moe_dense_tp == Some(1)).then_some(self.tokens.end - self.tokens.start)
    }
}

/// Tokens of all prompts together, checked against [`MAX_ROWS`].
pub(super) fn total(lengths: &[u64]) -> Result<u64, MicroError> {
    let mut sum = 0u64;
    for &length in lengths {
        sum = sum.saturating_add(length);
        if sum > MAX_ROWS {
            return Err(MicroError::TooManyTokens);
        }
    }
    Ok(sum)
}

impl Cut {
    /// The cut of requests of `width` tokens each, as in decode and verification: behind half of them.
    pub const fn of_requests(requests: u64, width: u64) -> Self {
        let half = requests / 2;
        Self {
            requests: half as usize,
            tokens: half.saturating_mul(width),
            within: false,
        }
    }

    /// The cut of prompts of so many tokens: between two of them, or, where that leaves less than `percent` per cent of all
    /// tokens to one half, behind half of the tokens. Not within a prompt if the first half would then have more requests
    /// than tokens.
    ///
    /// # Errors
    /// The percentage is over 50, or there are over [`MAX_ROWS`] tokens.
    pub fn of_prompts(lengths: &[u64], percent: u64) -> Result<Self, MicroError> {
        if percent > 50 {
            return Err(MicroError::MoreThanHalf { percent });
        }
        let all = total(lengths)?;
        let (requests, tokens) = balanced(lengths, all);
        let between = Self {
            requests,
            tokens,
            within: false,
        };
        let wanted = 100 * tokens < percent * all || 100 * tokens > (100 - percent) * all;
        if !wanted {
            return Ok(between);
        }
        let half = all / 2;
        let mut before = 0;
        let over_half = lengths.iter().position(|length| {
            before += length;
            before > half
        });
        let cut = over_half.unwrap_or(0);
        Ok(match (cut as u64) < half {
            true => Self {
                requests: cut,
                tokens: half,
                within: true,
            },
            false => between,
        })
    }

    /// The two halves of these requests, of which `real` rows of the batch hold a token, with rows a multiple of
    /// `alignment`.
    ///
    /// # Errors
    /// The cut is none of these lengths.
    pub fn children(&self, lengths: &[u64], real: u64, alignment: u64) -> Result<[Child; 2], MicroError> {
        let other = MicroError::OtherCut {
            tokens: self.tokens,
            requests: self.requests,
        };
        let all = total(lengths)?;
        let (Some(whole), Some(rest)) = (lengths.get(..self.requests), lengths.get(self.requests..)) else {
            return Err(other);
        };
        let before = whole.iter().sum::<u64>();
        let cut_part = match self.tokens.checked_sub(before) {
            Some(0) if !self.within => 0,
            Some(part) if self.within && rest.first().is_some_and(|&length| part <= length) => part,
            _ => return Err(other),
        };
        let (mut first, mut second) = (whole.to_vec(), rest.to_vec());
        if self.within {
            first.push(cut_part);
            second[0] -= cut_part;
        }
        let padded = |tokens: u64| tokens.next_multiple_of(alignment.max(1));
        let real_first = self.tokens.min(real);
        let one = Child {
            tokens: 0..self.tokens,
            requests: 0..first.len(),
            lengths: first,
            prefix_added: 0,
            padded: padded(self.tokens),
            real: real_first,
        };
        let other = Child {
            tokens: self.tokens..all,
            requests: self.requests..lengths.len(),
            lengths: second,
            prefix_added: cut_part,
            padded: padded(all - self.tokens),
            real: real.min(all) - real_first,
        };
        Ok([one, other])
    }
}

/// The cut between requests that halves the tokens best, the later of two that are as good, and the tokens before it. It
/// stops at the first that is worse than the best so far.
fn balanced(lengths: &[u64], all: u64) -> (usize, u64) {
    let (mut best, mut found, mut before) = (u64::MAX, (0, 0), 0);
    for (index, length) in lengths.iter().enumerate().take(lengths.len().saturating_sub(1)) {
        before += length;
        let difference = (2 * before).abs_diff(all);
        if difference > best {
            break;
        }
        (best, found) = (difference, (index + 1, before));
    }
    found
}
