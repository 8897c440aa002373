//! Where each rank's hidden states lie in the gathered buffer.
//!
//! Two layouts are in use. [`PaddingMode::Max`] pads every rank to the longest one, so that ranks can all-gather equal
//! pieces; [`PaddingMode::Sum`] packs the ranks one after the other, so that the buffer is as small as it can be and ranks
//! all-reduce it. Attention tensor parallelism splits a rank's rows evenly, so counts are first raised to a multiple of
//! its size.
//!
//! Every size here derives from one [`GatheredLayout`]: kernels, buffers and drawings take their numbers from it and
//! compute none of their own.

use tilewright_dsl::call::MAX_COUNT;

/// How the ranks of a gathered buffer are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaddingMode {
    /// Every rank has as many rows as the longest.
    Max,
    /// Every rank has its own rows only, packed one after the other.
    Sum,
}

impl PaddingMode {
    /// The name as engines print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Max => "MAX",
            Self::Sum => "SUM",
        }
    }

    /// The mode that moves fewer bytes for these counts: all-gathering `MAX` moves the longest rank's rows once per rank,
    /// all-reducing `SUM` moves every row about twice. A tie is `MAX`.
    ///
    /// A step in which any of several ranks extends (prefills) is always `SUM`: one long prefill would pad every other
    /// rank to its length, and attention would see padding rows that its metadata does not describe.
    ///
    /// # Errors
    /// As [`GatheredLayout::new`].
    pub fn choose(counts: &[u64], attention_tp: u64, extend: bool) -> Result<Self, LayoutError> {
        // The only rule so far. Rules of particular engine versions belong in a planner above this module.
        let aligned = align(counts, attention_tp)?;
        if extend && aligned.len() > 1 {
            return Ok(Self::Sum);
        }
        let longest = aligned.iter().copied().max().unwrap_or(0) as u128;
        let sum: u128 = aligned.iter().map(|&count| count as u128).sum();
        Ok(if 2 * sum >= longest * aligned.len() as u128 {
            Self::Max
        } else {
            Self::Sum
        })
    }
}

impl std::fmt::Display for PaddingMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The hidden state of one token: a row of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HiddenState {
    /// Elements of a row: the model's hidden size.
    pub size: u64,
    /// Bytes of an element.
    pub element_bytes: u64,
}

impl HiddenState {
    /// A row of `size` bfloat16 elements.
    pub const fn bf16(size: u64) -> Self {
        Self { size, element_bytes: 2 }
    }
}

/// Counts for which there is no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// There are no counts.
    #[error("a gathered buffer needs at least one rank; pass one token count per rank")]
    NoRanks,
    /// The size of the attention TP group is zero.
    #[error("the attention TP size is 0; it is the number of ranks that share one attention, at least 1")]
    NoAttentionTp,
    /// A count is over [`MAX_COUNT`], as it is or once it is aligned.
    #[error(
        "rank {rank} has {count} tokens, aligned to an attention TP size of {attention_tp}; the largest count is {MAX_COUNT}"
    )]
    CountTooLarge {
        /// The rank, counted from 0.
        rank: usize,
        /// Its tokens.
        count: u64,
        /// The size of the attention TP group.
        attention_tp: u64,
    },
    /// All ranks together have more rows than a launch can count.
    #[error("the gathered buffer of {ranks} ranks in mode {mode} would have over {MAX_COUNT} rows")]
    TooManyRows {
        /// The number of ranks.
        ranks: usize,
        /// The padding mode.
        mode: PaddingMode,
    },
    /// The size in bytes does not fit in 64 bits.
    #[error("{rows} rows of {} elements of {} bytes do not fit in a 64-bit number of bytes", hidden.size, hidden.element_bytes)]
    TooManyBytes {
        /// Rows of the buffer.
        rows: u64,
        /// The row.
        hidden: HiddenState,
    },
}

/// The layout of one gathered buffer: for every rank the rows it really has, the rows it is given, and where they start.
///
/// ```
/// use tilewright_dp::layout::{GatheredLayout, HiddenState, PaddingMode};
///
/// // Four ranks whose attention is split over two GPUs each: odd counts gain a row, empty ranks stay empty.
/// let layout = GatheredLayout::new(PaddingMode::Max, &[5, 0, 3, 8], 2, HiddenState::bf16(7168))?;
/// assert_eq!(layout.padded(), [8, 8, 8, 8]);
/// assert_eq!(layout.starts(), [0, 8, 16, 24]);
/// assert_eq!((layout.rows(), layout.bytes()), (32, 32 * 14336));
///
/// let layout = GatheredLayout::new(PaddingMode::Sum, &[5, 0, 3, 8], 2, HiddenState::bf16(7168))?;
/// assert_eq!(layout.padded(), [6, 0, 4, 8]);
/// assert_eq!(layout.starts(), [0, 6, 6, 10]);
/// # Ok::<(), tilewright_dp::layout::LayoutError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatheredLayout {
    mode: PaddingMode,
    attention_tp: u64,
    hidden: HiddenState,
    counts: Vec<u64>,
    padded: Vec<u64>,
    starts: Vec<u64>,
    rows: u64,
    bytes: u64,
}

impl GatheredLayout {
    /// Lays out a buffer for one token count per rank. `attention_tp` is the number of GPUs that share one rank's
    /// attention; each rank's rows are a multiple of it, and a rank without tokens stays without rows.
    ///
    /// # Errors
    /// No ranks, an attention TP size of zero, or sizes that are too large to count.
    pub fn new(mode: PaddingMode, counts: &[u64], attention_tp: u64, hidden: HiddenState) -> Result<Self, LayoutError> {
        let mut padded = align(counts, attention_tp)?;
        if mode == PaddingMode::Max {
            let longest = padded.iter().copied().max().unwrap_or(0);
            padded.fill(longest);
        }
        let mut starts = Vec::with_capacity(padded.len());
        let mut rows = 0u64;
        for &count in &padded {
            starts.push(rows);
            let end = rows.checked_add(count).filter(|&end| end <= MAX_COUNT);
            rows = end.ok_or(LayoutError::TooManyRows {
                ranks: padded.len(),
                mode,
            })?;
        }
        let row_bytes = hidden.size.checked_mul(hidden.element_bytes);
        let bytes = row_bytes
            .and_then(|row| row.checked_mul(rows))
            .ok_or(LayoutError::TooManyBytes { rows, hidden })?;
        Ok(Self {
            mode,
            attention_tp,
            hidden,
            counts: counts.to_vec(),
            padded,
            starts,
            rows,
            bytes,
        })
    }

    /// The padding mode.
    pub fn mode(&self) -> PaddingMode {
        self.mode
    }

    /// The number of GPUs that share one rank's attention.
    pub fn attention_tp(&self) -> u64 {
        self.attention_tp
    }

    /// A row of the buffer.
    pub fn hidden(&self) -> HiddenState {
        self.hidden
    }

    /// The number of data-parallel ranks.
    pub fn ranks(&self) -> usize {
        self.counts.len()
    }

    /// The tokens each rank really has.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The rows each rank is given.
    pub fn padded(&self) -> &[u64] {
        &self.padded
    }

    /// The row at which each rank starts: the exclusive prefix sum of [`padded`](Self::padded).
    pub fn starts(&self) -> &[u64] {
        &self.starts
    }

    /// The rows of the buffer.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows that hold a token.
    pub fn real_rows(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bytes of the buffer.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of the rows that hold a token.
    pub fn real_bytes(&self) -> u64 {
        // Real rows are never more than rows, whose bytes were checked.
        self.real_rows() * self.hidden.size * self.hidden.element_bytes
    }
}

/// Every count raised to a multiple of the attention TP size; 0 stays 0.
fn align(counts: &[u64], attention_tp: u64) -> Result<Vec<u64>, LayoutError> {
    if counts.is_empty() {
        return Err(LayoutError::NoRanks);
    }
    if attention_tp == 0 {
        return Err(LayoutError::NoAttentionTp);
    }
    let raise = |(rank, &count): (usize, &u64)| {
        let aligned = count
            .div_ceil(attention_tp)
            .checked_mul(attention_tp)
            .filter(|&aligned| aligned <= MAX_COUNT);
        aligned.ok_or(LayoutError::CountTooLarge {
            rank,
            count,
            attention_tp,
        })
    };
    counts.iter().enumerate().map(raise).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROW: HiddenState = HiddenState::bf16(7168);

    fn layout(mode: PaddingMode, counts: &[u64], attention_tp: u64) -> GatheredLayout {
        GatheredLayout::new(mode, counts, attention_tp, ROW).unwrap()
    }

    #[test]
    fn equal_ranks_have_one_layout_in_both_modes() {
        let (max, sum) = (
            layout(PaddingMode::Max, &[20; 8], 1),
            layout(PaddingMode::Sum, &[20; 8], 1),
        );
        assert_eq!(
            (max.padded(), max.starts(), max.rows()),
            (sum.padded(), sum.starts(), sum.rows())
        );
        assert_eq!(max.bytes(), 160 * 14336);
    }

    #[test]
    fn one_long_prefill_shows_the_difference() {
        let mut counts = [64; 8];
        counts[3] = 32768;
        assert_eq!(layout(PaddingMode::Max, &counts, 1).bytes() >> 20, 3584);
        assert_eq!(layout(PaddingMode::Sum, &counts, 1).bytes() >> 20, 454);
    }

    #[test]
    fn empty_ranks_stay_empty_when_aligned() {
        let sum = layout(PaddingMode::Sum, &[0, 1, 0, 8, 9], 8);
        assert_eq!(sum.padded(), [0, 8, 0, 8, 16]);
        assert_eq!(sum.starts(), [0, 0, 8, 8, 16]);
        assert_eq!((sum.real_rows(), sum.rows()), (18, 32));
        assert_eq!(layout(PaddingMode::Max, &[0, 0], 4).rows(), 0);
    }

    #[test]
    fn impossible_sizes_are_errors() {
        let new = |counts: &[u64], tp, hidden| GatheredLayout::new(PaddingMode::Max, counts, tp, hidden).unwrap_err();
        assert_eq!(new(&[], 1, ROW), LayoutError::NoRanks);
        assert_eq!(new(&[1], 0, ROW), LayoutError::NoAttentionTp);
        let large = MAX_COUNT + 1;
        assert_eq!(
            new(&[1, large], 1, ROW),
            LayoutError::CountTooLarge {
                rank: 1,
                count: large,
                attention_tp: 1
            }
        );
        assert!(matches!(new(&[u64::MAX], 7, ROW), LayoutError::CountTooLarge { .. }));
        assert!(matches!(
            new(&[MAX_COUNT, 1], 1, ROW),
            LayoutError::TooManyRows { ranks: 2, .. }
        ));
        let wide = HiddenState {
            size: u64::MAX,
            element_bytes: 2,
        };
        assert_eq!(new(&[0], 1, wide), LayoutError::TooManyBytes { rows: 0, hidden: wide });
        assert!(matches!(
            new(&[MAX_COUNT], 1, HiddenState::bf16(1 << 23)),
            LayoutError::TooManyBytes { .. }
        ));
    }

    #[test]
    fn the_mode_follows_the_bytes_moved() {
        let choose = |counts: &[u64], extend| PaddingMode::choose(counts, 1, extend).unwrap();
        assert_eq!(choose(&[20; 8], false), PaddingMode::Max);
        assert_eq!(choose(&[100, 0, 0, 0], false), PaddingMode::Sum);
        // 2 * 8 = 8 * 2: a tie.
        assert_eq!(choose(&[8, 0], false), PaddingMode::Max);
        assert_eq!(choose(&[0, 0, 0], false), PaddingMode::Max);
        assert_eq!(choose(&[20; 8], true), PaddingMode::Sum);
        assert_eq!(choose(&[20], true), PaddingMode::Max);
        assert_eq!(PaddingMode::choose(&[], 1, false), Err(LayoutError::NoRanks));
    }

    proptest! {
        #[test]
        fn ranks_tile_the_buffer(counts in prop::collection::vec(0u64..5000, 1..70), tp in 1u64..9, max: bool) {
            let mode = if max { PaddingMode::Max } else { PaddingMode::Sum };
            let layout = layout(mode, &counts, tp);
            let mut next = 0;
            for (rank, &count) in counts.iter().enumerate() {
                prop_assert_eq!(layout.starts()[rank], next);
                prop_assert_eq!(layout.padded()[rank] % tp, 0);
                prop_assert!(layout.padded()[rank] >= count);
                next += layout.padded()[rank];
            }
            prop_assert_eq!(layout.rows(), next);
            prop_assert_eq!(layout.bytes(), next * 14336);
        }
    }
}
