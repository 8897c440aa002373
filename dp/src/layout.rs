//! Where each rank's hidden states lie in the gathered buffer.
//!
//! Two layouts are in use. [`PaddingMode::Max`] pads every rank to the longest one, so that ranks can all-gather equal
//! pieces; [`PaddingMode::Sum`] packs the ranks one after the other, so that the buffer is as small as it can be and ranks
//! all-reduce it. Attention tensor parallelism splits a rank's rows evenly, so counts are first raised to a multiple of
//! its size, the *alignment*. Which mode and alignment a step has is for the [planner](crate::plan) to decide.
//!
//! Every size here derives from one [`GatheredLayout`]: kernels, buffers and drawings take their numbers from it and
//! compute none of their own.

use tilewright_dsl::call::MAX_COUNT;

/// How the ranks of a gathered buffer are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
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
    /// The alignment is zero.
    #[error("the alignment is 0; it is the number of GPUs among which a rank's rows are split evenly, at least 1")]
    NoAlignment,
    /// A count is over [`MAX_COUNT`], as it is or once it is aligned.
    #[error("rank {rank} has {count} tokens, raised to a multiple of {alignment}; the largest count is {MAX_COUNT}")]
    CountTooLarge {
        /// The rank, counted from 0.
        rank: usize,
        /// Its tokens.
        count: u64,
        /// The alignment.
        alignment: u64,
    },
    /// A buffer of a fixed size is too small for the counts.
    #[error("{needed} rows do not fit in a buffer of {rows}; take a larger one")]
    DoesNotFit {
        /// The rows that the counts need in the layout's mode.
        needed: u64,
        /// The rows of the buffer.
        rows: u64,
    },
    /// A buffer of a fixed size has no equal part for every rank.
    #[error("a buffer of {rows} rows cannot be split into {ranks} equal parts, as mode MAX does")]
    Uneven {
        /// The rows of the buffer.
        rows: u64,
        /// The number of ranks.
        ranks: usize,
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
    alignment: u64,
    hidden: HiddenState,
    counts: Vec<u64>,
    padded: Vec<u64>,
    starts: Vec<u64>,
    rows: u64,
    bytes: u64,
}

impl GatheredLayout {
    /// Lays out a buffer for one token count per rank. Each rank's rows are a multiple of `alignment`, the number of GPUs
    /// that share one rank's attention, and a rank without tokens stays without rows.
    ///
    /// # Errors
    /// No ranks, an alignment of zero, or sizes that are too large to count.
    pub fn new(mode: PaddingMode, counts: &[u64], alignment: u64, hidden: HiddenState) -> Result<Self, LayoutError> {
        Self::of(mode, counts.to_vec(), alignment, hidden)
    }

    /// [`new`](Self::new), keeping the counts.
    pub(crate) fn of(
        mode: PaddingMode,
        counts: Vec<u64>,
        alignment: u64,
        hidden: HiddenState,
    ) -> Result<Self, LayoutError> {
        let mut padded = align(&counts, alignment)?;
        if mode == PaddingMode::Max {
            let longest = padded.iter().copied().max().unwrap_or(0);
            padded.fill(longest);
        }
        let (starts, rows) = starts(mode, &padded)?;
        Ok(Self {
            mode,
            alignment,
            hidden,
            counts,
            padded,
            starts,
            rows,
            bytes: bytes(rows, hidden)?,
        })
    }

    /// Packs ranks that have padded themselves to so many rows, one after the other.
    pub(crate) fn packed(counts: Vec<u64>, padded: Vec<u64>, hidden: HiddenState) -> Result<Self, LayoutError> {
        let mode = PaddingMode::Sum;
        let (starts, rows) = starts(mode, &padded)?;
        Ok(Self {
            mode,
            alignment: 1,
            hidden,
            counts,
            padded,
            starts,
            rows,
            bytes: bytes(rows, hidden)?,
        })
    }

    /// Lays out a buffer whose rows were fixed before the counts were known, as those of a captured graph are. `MAX` gives
    /// every rank an equal part; `SUM` packs the ranks, and the rows after the last one belong to nobody.
    ///
    /// ```
    /// use tilewright_dp::layout::{GatheredLayout, HiddenState, PaddingMode};
    ///
    /// let hidden = HiddenState::bf16(7168);
    /// let layout = GatheredLayout::fixed(PaddingMode::Max, &[3, 5], 16, hidden)?;
    /// assert_eq!((layout.padded(), layout.starts()), (&[8, 8][..], &[0, 8][..]));
    /// let layout = GatheredLayout::fixed(PaddingMode::Sum, &[3, 5], 16, hidden)?;
    /// assert_eq!((layout.padded(), layout.starts(), layout.rows()), (&[3, 5][..], &[0, 3][..], 16));
    /// # Ok::<(), tilewright_dp::layout::LayoutError>(())
    /// ```
    ///
    /// # Errors
    /// No ranks, counts that do not fit, rows that cannot be split equally, or sizes that are too large to count.
    pub fn fixed(mode: PaddingMode, counts: &[u64], rows: u64, hidden: HiddenState) -> Result<Self, LayoutError> {
        Self::fixed_of(mode, counts.to_vec(), rows, hidden)
    }

    /// [`fixed`](Self::fixed), keeping the counts.
    pub(crate) fn fixed_of(
        mode: PaddingMode,
        counts: Vec<u64>,
        rows: u64,
        hidden: HiddenState,
    ) -> Result<Self, LayoutError> {
        let mut padded = align(&counts, 1)?;
        let ranks = padded.len() as u64;
        if mode == PaddingMode::Max {
            let longest = padded.iter().copied().max().unwrap_or(0);
            if !rows.is_multiple_of(ranks) {
                return Err(LayoutError::Uneven {
                    rows,
                    ranks: padded.len(),
                });
            }
            padded.fill(longest.max(rows / ranks));
        }
        let (starts, needed) = starts(mode, &padded)?;
        if needed > rows {
            return Err(LayoutError::DoesNotFit { needed, rows });
        }
        Ok(Self {
            mode,
            alignment: 1,
            hidden,
            counts,
            padded,
            starts,
            rows,
            bytes: bytes(rows, hidden)?,
        })
    }

    /// The padding mode.
    pub fn mode(&self) -> PaddingMode {
        self.mode
    }

    /// What each rank's rows are a multiple of: the number of GPUs that share one rank's attention.
    pub fn alignment(&self) -> u64 {
        self.alignment
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

    /// The tokens of each rank raised to a multiple of the alignment: what it needs, before padding to the longest rank.
    pub fn aligned(&self) -> impl ExactSizeIterator<Item = u64> {
        // That these do not overflow was checked when the counts were laid out.
        self.counts.iter().map(|count| count.next_multiple_of(self.alignment))
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

    /// The bytes of a row.
    pub fn row_bytes(&self) -> u64 {
        // Checked when the buffer was laid out, even if it has no rows.
        self.hidden.size * self.hidden.element_bytes
    }

    /// The bytes of the buffer.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of the rows that hold a token.
    pub fn real_bytes(&self) -> u64 {
        // Real rows are never more than rows, whose bytes were checked.
        self.real_rows() * self.row_bytes()
    }
}

/// Every count raised to a multiple of the alignment; 0 stays 0.
fn align(counts: &[u64], alignment: u64) -> Result<Vec<u64>, LayoutError> {
    if counts.is_empty() {
        return Err(LayoutError::NoRanks);
    }
    if alignment == 0 {
        return Err(LayoutError::NoAlignment);
    }
    let raise = |(rank, &count): (usize, &u64)| {
        let aligned = count
            .checked_next_multiple_of(alignment)
            .filter(|&aligned| aligned <= MAX_COUNT);
        aligned.ok_or(LayoutError::CountTooLarge { rank, count, alignment })
    };
    counts.iter().enumerate().map(raise).collect()
}

/// The row at which each rank starts, and the row after the last rank.
fn starts(mode: PaddingMode, padded: &[u64]) -> Result<(Vec<u64>, u64), LayoutError> {
    let ranks = padded.len();
    let mut starts = Vec::with_capacity(ranks);
    let mut rows = 0u64;
    for &count in padded {
        starts.push(rows);
        let end = rows.checked_add(count).filter(|&end| end <= MAX_COUNT);
        rows = end.ok_or(LayoutError::TooManyRows { ranks, mode })?;
    }
    Ok((starts, rows))
}

fn bytes(rows: u64, hidden: HiddenState) -> Result<u64, LayoutError> {
    let row_bytes = hidden.size.checked_mul(hidden.element_bytes);
    row_bytes
        .and_then(|row| row.checked_mul(rows))
        .ok_or(LayoutError::TooManyBytes { rows, hidden })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROW: HiddenState = HiddenState::bf16(7168);

    fn layout(mode: PaddingMode, counts: &[u64], alignment: u64) -> GatheredLayout {
        GatheredLayout::new(mode, counts, alignment, ROW).unwrap()
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
        assert_eq!(new(&[1], 0, ROW), LayoutError::NoAlignment);
        let large = MAX_COUNT + 1;
        assert_eq!(
            new(&[1, large], 1, ROW),
            LayoutError::CountTooLarge {
                rank: 1,
                count: large,
                alignment: 1
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
    fn a_fixed_buffer_keeps_its_rows() {
        let fixed = |mode, counts: &[u64], rows| GatheredLayout::fixed(mode, counts, rows, ROW);
        let max = fixed(PaddingMode::Max, &[20, 0, 3], 72).unwrap();
        assert_eq!((max.padded(), max.starts()), (&[24; 3][..], &[0, 24, 48][..]));
        assert_eq!((max.rows(), max.real_rows(), max.bytes()), (72, 23, 72 * 14336));
        let sum = fixed(PaddingMode::Sum, &[20, 0, 3], 24).unwrap();
        assert_eq!((sum.padded(), sum.starts()), (&[20, 0, 3][..], &[0, 20, 20][..]));
        assert_eq!((sum.rows(), sum.bytes()), (24, 24 * 14336));
        assert_eq!(
            fixed(PaddingMode::Sum, &[20, 5], 24),
            Err(LayoutError::DoesNotFit { needed: 25, rows: 24 })
        );
        assert_eq!(
            fixed(PaddingMode::Max, &[13, 5], 24),
            Err(LayoutError::DoesNotFit { needed: 26, rows: 24 })
        );
        assert_eq!(
            fixed(PaddingMode::Max, &[3, 5], 17),
            Err(LayoutError::Uneven { rows: 17, ranks: 2 })
        );
        assert_eq!(fixed(PaddingMode::Sum, &[], 17), Err(LayoutError::NoRanks));
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
                prop_assert!(layout.aligned().nth(rank) <= Some(layout.padded()[rank]));
                next += layout.padded()[rank];
            }
            prop_assert_eq!(layout.rows(), next);
            prop_assert_eq!(layout.bytes(), next * 14336);
        }
    }
}
