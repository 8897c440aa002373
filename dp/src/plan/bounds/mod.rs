//! Plans without an exchange: every rank knows its own rows, and of the others that they have no more than a bound.
//!
//! Nothing that the host decides may then depend on what another rank has. What it may know is in three types, which do
//! not become each other: [`Own`] is exact and this rank's alone, [`AtMost`] is a bound of what others have, and what
//! really came is on the device. A size that all ranks have to agree on is made from the bound itself, which then *is*
//! the size ([`Bound::layout`]): every rank has as many rows. Sizes of uneven collectives cannot be made from a bound;
//! this does not compile:
//!
//! ```compile_fail,E0308
//! use tilewright_dp::plan::{Bound, Sizes};
//!
//! let bound = Bound::of_rows(96);
//! let sizes = Sizes::new(vec![bound.received(8)?; 8])?;
//! # Ok::<(), tilewright_dp::plan::PlanError>(())
//! ```
//!
//! | file | answers |
//! |---|---|
//! | `answer` | which number serves which use |
//! | `experts` | rows of the experts |
//! | `own` | what one rank runs, decided by itself |
//! | `error` | what is refused |

mod answer;
mod error;
mod experts;
mod own;

pub use answer::{Answer, AtMost, Own, SizeUse};
pub use error::BoundError;
pub use experts::{ExpertBound, ExpertRows};
pub use own::OwnStep;

use serde::{Deserialize, Serialize};

use super::by_name::by_name;
use super::{PlanError, check_ranks, check_size};
use crate::layout::{GatheredLayout, HiddenState, PaddingMode};
use answer::at_most;

/// What a rank without an exchange knows of all: the rows that each has at most. In JSON `{"rows": 96}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Bound {
    /// The most rows of a rank.
    pub rows: u64,
    /// The experts, if their buffers are to be planned.
    #[serde(default)]
    pub experts: Option<ExpertBound>,
}

by_name!(Bound, "a bound, an object such as {\"rows\": 96}");

impl Bound {
    /// So many rows, without experts.
    pub const fn of_rows(rows: u64) -> Self {
        Self { rows, experts: None }
    }

    pub(super) fn check(&self) -> Result<(), PlanError> {
        check_size("bound.rows", self.rows)?;
        let Some(experts) = self.experts else { return Ok(()) };
        for (field, value) in [
            ("bound.experts.per_token", experts.per_token),
            ("bound.experts.local", experts.local),
            ("bound.experts.dispatch", experts.dispatch),
            ("bound.experts.alignment", experts.alignment),
            ("bound.experts.masked_alignment", experts.masked_alignment),
        ] {
            check_size(field, value)?;
        }
        match experts.dispatch < self.rows {
            true => Err(BoundError::Dispatch {
                dispatch: experts.dispatch,
                rows: self.rows,
            }
            .into()),
            false => Ok(()),
        }
    }

    /// Refuses counts that are over it.
    pub(super) fn check_counts(&self, counts: &[u64]) -> Result<(), BoundError> {
        match counts.iter().position(|&rows| rows > self.rows) {
            None => Ok(()),
            Some(rank) => Err(BoundError::Exceeded {
                rank,
                rows: counts[rank],
                bound: self.rows,
            }),
        }
    }

    /// Rows of all ranks together.
    ///
    /// # Errors
    /// The bound is 0 or too large, or there are no ranks or too many.
    pub fn received(&self, ranks: u64) -> Result<AtMost, PlanError> {
        self.check()?;
        check_ranks("dp", ranks)?;
        let rows = self.rows * ranks;
        at_most("the gathered buffer", u128::from(rows))
    }

    /// The gathered buffer, in which every rank has as many rows as the bound. `counts` are the rows that hold a token,
    /// as far as somebody knows them; the local rank's alone tell nothing of the others, whose rows count as such all.
    ///
    /// ```
    /// use tilewright_dp::layout::HiddenState;
    /// use tilewright_dp::plan::Bound;
    ///
    /// let layout = Bound::of_rows(96).layout(&[5], 8, HiddenState::bf16(7168))?;
    /// assert_eq!((layout.rows(), layout.bytes()), (768, 11_010_048));
    /// assert!(Bound::of_rows(96).layout(&[97], 8, HiddenState::bf16(7168)).is_err());
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// A count is over the bound, or the buffer is too large.
    pub fn layout(&self, counts: &[u64], ranks: u64, hidden: HiddenState) -> Result<GatheredLayout, PlanError> {
        let rows = self.received(ranks)?.capacity();
        self.check_counts(counts)?;
        let counts = match counts.len() as u64 == ranks {
            true => counts.to_vec(),
            false => vec![self.rows; ranks as usize],
        };
        Ok(GatheredLayout::fixed_of(PaddingMode::Max, counts, rows, hidden)?)
    }

    /// Which number serves a use on a rank that has so many rows itself, of so many ranks.
    ///
    /// ```
    /// use tilewright_dp::plan::{Answer, Bound, SizeUse};
    ///
    /// let bound = Bound::of_rows(96);
    /// assert_eq!(bound.answer(SizeUse::EqualParts, 3, 8)?, Answer::Fixed(96));
    /// let error = bound.answer(SizeUse::UnevenSizes, 3, 8).unwrap_err();
    /// assert!(error.to_string().starts_with("the sizes of an uneven collective depends on what every rank has"));
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// The use needs to know what others have, or the own rows are over the bound.
    pub fn answer(&self, used: SizeUse, own: u64, ranks: u64) -> Result<Answer, PlanError> {
        let received = self.received(ranks)?;
        self.check_counts(&[own])?;
        match used {
            SizeUse::DeviceCounts => Ok(Answer::OnDevice(received)),
            SizeUse::LocalShape | SizeUse::LocalGraph => Ok(Answer::Own(Own::new(own))),
            SizeUse::EqualParts | SizeUse::EqualGraph => Ok(Answer::Fixed(self.rows)),
            SizeUse::UnevenSizes | SizeUse::PackedStarts => Err(BoundError::NeedsExchange { used }.into()),
        }
    }
}

/// What a plan from a bound knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BoundPlan {
    /// The bound.
    pub bound: Bound,
    /// The local rank's rows, if the request had no others.
    pub own: Option<Own>,
    /// Rows of all ranks.
    pub received: AtMost,
    /// Rows of the experts, if the bound tells of them.
    pub experts: Option<ExpertRows>,
}

impl BoundPlan {
    pub(super) fn new(bound: Bound, counts: &[u64], ranks: u64) -> Result<Self, PlanError> {
        let received = bound.received(ranks)?;
        let experts = bound.experts.map(|experts| experts.rows(ranks, received, bound.rows));
        Ok(Self {
            bound,
            own: match counts {
                [own] => Some(Own::new(*own)),
                _ => None,
            },
            received,
            experts: experts.transpose()?,
        })
    }
}
