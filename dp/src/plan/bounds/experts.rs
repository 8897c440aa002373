//! How many rows the experts of a GPU need memory for, whoever sends what.

use serde::{Deserialize, Serialize};

use super::super::by_name::by_name;
use super::super::{PlanError, check_ranks};
use super::answer::at_most;
use super::{AtMost, Bound};

/// What bounds the rows that experts compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct ExpertBound {
    /// Experts of every row.
    pub per_token: u64,
    /// Experts on this GPU.
    pub local: u64,
    /// Rows of a rank that the dispatch was started for, no fewer than the bound's.
    pub dispatch: u64,
    /// What an expert's rows are a multiple of; 64 by default.
    #[serde(default = "alignment")]
    pub alignment: u64,
    /// What they are a multiple of in a masked multiplication; 128 by default.
    #[serde(default = "masked_alignment")]
    pub masked_alignment: u64,
}

by_name!(
    ExpertBound,
    "experts, an object such as {\"per_token\": 8, \"local\": 32, \"dispatch\": 128}"
);

fn alignment() -> u64 {
    64
}

fn masked_alignment() -> u64 {
    128
}

impl ExpertBound {
    /// Experts with the default alignments.
    pub fn new(per_token: u64, local: u64, dispatch: u64) -> Self {
        Self {
            per_token,
            local,
            dispatch,
            alignment: alignment(),
            masked_alignment: masked_alignment(),
        }
    }
}

/// Rows that the experts of one GPU need memory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct ExpertRows {
    /// Rows that a start-up buffer holds whatever comes.
    pub worst: AtMost,
    /// Rows of the multiplications of this step, each expert's aligned.
    pub gemm: AtMost,
    /// Rows of one expert in a masked multiplication.
    pub masked: AtMost,
}

impl ExpertBound {
    /// The rows for so many ranks, of which come no more than `received`; if somebody knows how many really come, that.
    ///
    /// ```
    /// use tilewright_dp::plan::{Bound, ExpertBound};
    ///
    /// let experts = ExpertBound::new(8, 32, 128);
    /// let bound = Bound { rows: 96, experts: Some(experts) };
    /// let rows = experts.rows(8, bound.received(8)?, 96)?;
    /// assert_eq!([rows.worst, rows.gemm, rows.masked].map(|rows| rows.capacity()), [10_240, 8160, 768]);
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// A size is out of its range.
    pub fn rows(&self, ranks: u64, received: AtMost, bound: u64) -> Result<ExpertRows, PlanError> {
        Bound {
            rows: bound,
            experts: Some(*self),
        }
        .check()?;
        check_ranks("dp", ranks)?;
        // All factors are below 2^31, so that products of three fit 128 bits.
        let [k, local, dispatch, alignment, masked, ranks, bound, received] = [
            self.per_token,
            self.local,
            self.dispatch,
            self.alignment,
            self.masked_alignment,
            ranks,
            bound,
            received.capacity(),
        ]
        .map(u128::from);
        let worst = ranks * dispatch * k.min(local) + (alignment - 1) * local;
        let worst = worst.next_multiple_of(alignment);
        let pairs = received * k;
        let gemm = worst.min(pairs + (alignment - 1) * pairs.min(local));
        Ok(ExpertRows {
            worst: at_most("the experts' buffer", worst)?,
            gemm: at_most("the experts' multiplications", gemm)?,
            masked: at_most("an expert's part", (ranks * bound).next_multiple_of(masked))?,
        })
    }
}
