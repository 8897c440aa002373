//! What one rank runs in a step, decided by itself.

use super::super::{MAX_SIZES, PlanError, check_size};
use super::{BoundError, Own};

/// What one rank runs in a step, decided by itself: which of its slots, and in which captured size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnStep {
    bucket: Own,
    spans: Vec<u64>,
    active: Own,
}

impl OwnStep {
    /// A step in which every slot `wants` so many rows, on a rank that runs at most `bound` in one of these sizes.
    /// Every slot that wants any has one, and then one more each in turn. A rank whose slots want none runs the
    /// smallest size with nothing but padding, so that all ranks send the same bytes.
    ///
    /// ```
    /// use tilewright_dp::plan::OwnStep;
    ///
    /// let sizes = [1, 2, 4, 8, 16, 32, 48, 64, 96];
    /// let step = OwnStep::new(&[3, 1, 1], 96, &sizes)?;
    /// assert_eq!((step.bucket().get(), step.spans(), step.padding()), (8, &[3, 1, 1][..], 3));
    /// assert_eq!(OwnStep::new(&[1, 50, 50], 96, &sizes)?.spans(), [1, 48, 47]);
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// The bound or a size is out of its range, more slots want rows than the bound has, or no size holds them.
    pub fn new(wants: &[u64], bound: u64, buckets: &[u64]) -> Result<Self, PlanError> {
        check_size("bound.rows", bound)?;
        if buckets.len() > MAX_SIZES {
            let (field, sizes) = ("buckets", buckets.len());
            return Err(PlanError::TooManySizes { field, sizes });
        }
        let slots = wants.iter().filter(|&&want| want > 0).count();
        if slots as u64 > bound {
            return Err(BoundError::Slots { slots, bound }.into());
        }
        let wanted = wants.iter().fold(0u64, |sum, &want| sum.saturating_add(want));
        let rows = wanted.min(bound);
        let holds = |&&bucket: &&u64| bucket >= rows.max(1);
        let bucket = buckets
            .iter()
            .filter(holds)
            .min()
            .copied()
            .ok_or_else(|| BoundError::NoBucket {
                rows,
                largest: buckets.iter().copied().max().unwrap_or(0),
            })?;
        Ok(Self {
            bucket: Own::new(bucket),
            spans: share(wants, rows),
            active: Own::new(rows),
        })
    }

    /// The captured size.
    pub fn bucket(&self) -> Own {
        self.bucket
    }

    /// Rows of each slot.
    pub fn spans(&self) -> &[u64] {
        &self.spans
    }

    /// Rows of all slots.
    pub fn active(&self) -> Own {
        self.active
    }

    /// Rows of the size that hold nothing.
    pub fn padding(&self) -> u64 {
        self.bucket.get() - self.active.get()
    }
}

/// Shares rows among slots one by one in turn, no slot more than it wants: all have the same level, some of them one
/// more, the first ones first.
fn share(wants: &[u64], rows: u64) -> Vec<u64> {
    let filled = |level: u64| wants.iter().map(|&want| u128::from(want.min(level))).sum::<u128>();
    // The highest level that the rows fill.
    let (mut low, mut high) = (0, rows);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match filled(middle) <= u128::from(rows) {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    let mut left = rows - filled(low) as u64;
    let slot = |&want: &u64| {
        let more = want > low && left > 0;
        left -= u64::from(more);
        want.min(low) + u64::from(more)
    };
    wants.iter().map(slot).collect()
}
