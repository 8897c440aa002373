//! Which slot of a gather is a rank's own.

use super::draft::DraftError;
use super::{PlanError, Topology};

/// The slots of a gather, and the one that is the local rank's.
///
/// ```
/// use tilewright_dp::plan::{GatherSlot, Topology};
///
/// let target = GatherSlot::attention(&Topology::new(4, 4)?, 2)?;
/// assert_eq!((target.of(&[5, 0, 7, 1])?, target.of(&[7])?), (2, 0));
/// // A draft model whose attention is its own has one data-parallel rank, and still the target's slot.
/// let draft = GatherSlot::draft(target);
/// assert_eq!((draft.width(), draft.of(&[5, 0, 7, 1])?), (4, 2));
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GatherSlot {
    width: u64,
    slot: u64,
}

impl GatherSlot {
    /// A gather over data-parallel ranks, by the GPU `tp_rank`.
    ///
    /// # Errors
    /// There is no such GPU.
    pub fn attention(topology: &Topology, tp_rank: u64) -> Result<Self, PlanError> {
        Self::new(topology.dp(), topology.dp_rank(tp_rank)?)
    }

    /// A gather over all `ranks` of an elastic world, by a GPU whose group joined it behind `joined` others.
    ///
    /// # Errors
    /// There are no ranks or too many, or the GPU is none of them.
    pub fn world(ranks: u64, tp_rank: u64, joined: u64) -> Result<Self, PlanError> {
        Self::new(ranks, tp_rank.saturating_add(joined))
    }

    /// The gather of a draft model with an attention of its own: the target's slots, where its own width would read as
    /// one and put every rank in slot 0.
    pub const fn draft(target: Self) -> Self {
        target
    }

    /// A slot of so many.
    ///
    /// # Errors
    /// There are none, over [`MAX_RANKS`](super::MAX_RANKS), or no such slot.
    pub fn new(width: u64, slot: u64) -> Result<Self, PlanError> {
        super::check_ranks("width", width)?;
        match slot < width {
            true => Ok(Self { width, slot }),
            false => Err(PlanError::NoSuchRank {
                rank: slot,
                ranks: width,
            }),
        }
    }

    /// Slots of the gather.
    pub const fn width(&self) -> u64 {
        self.width
    }

    /// Which entry of a list of counts is the local rank's: its slot, or the only one.
    ///
    /// # Errors
    /// The list has neither one entry nor one for each slot.
    pub fn of(&self, list: &[u64]) -> Result<usize, PlanError> {
        match list.len() {
            1 => Ok(0),
            counts if counts as u64 == self.width => Ok(self.slot as usize),
            counts => Err(DraftError::OtherWidth {
                counts,
                width: self.width,
            }
            .into()),
        }
    }

    /// Whether what is gathered over these slots can be reduced and scattered again: each slot is one attention TP
    /// group of the tensor-parallel group.
    pub const fn can_reduce_scatter(&self, tp: u64, attention_tp: u64) -> bool {
        match self.width.checked_mul(attention_tp) {
            Some(gpus) => gpus == tp,
            None => false,
        }
    }
}
