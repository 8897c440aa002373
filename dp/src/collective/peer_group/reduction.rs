//! How an all-reduce sums, and the staging that it takes.

use tilewright_runtime::DeviceError;

use crate::collective::CollectiveError;

/// How an all-reduce sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Every rank stores its rows to every other one, and sums all: the ranks meet once.
    OneShot,
    /// Every rank sums a share of the rows and stores the sums to every other one: they meet twice, and fewer bytes move.
    TwoShot,
}

impl Reduction {
    /// What an all-reduce of so many bytes between so many ranks uses by default: one shot while it moves at most 768 KiB more
    /// out of each rank than two shots do, which is what a link carries in the time of a meeting. So it is always one shot
    /// for two ranks, up to 512 KiB for four, and up to 146 KiB for eight.
    ///
    /// ```
    /// use tilewright_dp::collective::Reduction;
    ///
    /// assert_eq!(Reduction::of(2, 1 << 30), Reduction::OneShot);
    /// assert_eq!(Reduction::of(4, 512 << 10), Reduction::OneShot);
    /// assert_eq!(Reduction::of(4, 513 << 10), Reduction::TwoShot);
    /// ```
    pub fn of(ranks: usize, bytes: usize) -> Self {
        const MORE: u128 = 768 << 10;
        // One shot moves (ranks - 1) times the bytes, two shots 2 * (ranks - 1) / ranks times.
        let ranks = ranks as u128;
        let more = bytes as u128 * (ranks.saturating_sub(1) * ranks.saturating_sub(2)) / ranks.max(1);
        match more <= MORE {
            true => Self::OneShot,
            false => Self::TwoShot,
        }
    }

    /// What each half of staging needs, where a row takes so many bytes of it.
    pub(super) fn half_bytes(self, ranks: usize, rows: u64, row: usize) -> Result<usize, CollectiveError> {
        let ranks = ranks as u64;
        let staged = match self {
            Self::OneShot => rows.saturating_mul(ranks),
            Self::TwoShot => rows.div_ceil(ranks).saturating_mul(2 * ranks),
        };
        bytes_of(staged, row)
    }
}

/// What each half of staging needs for every collective of up to so many rows.
pub(super) fn most_half_bytes(ranks: usize, rows: u64, row: usize) -> Result<usize, CollectiveError> {
    bytes_of(rows, row)?;
    let is_one_shot = |rows: u64| Reduction::of(ranks, rows as usize * row) == Reduction::OneShot;
    let (mut one_shot, mut more) = (0, rows);
    while one_shot < more {
        let middle = more - (more - one_shot) / 2;
        match is_one_shot(middle) {
            true => one_shot = middle,
            false => more = middle - 1,
        }
    }
    let one_shot = Reduction::OneShot.half_bytes(ranks, one_shot, row)?;
    let two_shot = Reduction::TwoShot.half_bytes(ranks, rows, row)?;
    Ok(one_shot.max(two_shot))
}

/// The bytes of so many rows.
pub(super) fn bytes_of(rows: u64, row: usize) -> Result<usize, CollectiveError> {
    let bytes = usize::try_from(rows).ok().and_then(|rows| rows.checked_mul(row));
    bytes.ok_or_else(|| DeviceError::OutOfHostMemory { asked: usize::MAX }.into())
}
