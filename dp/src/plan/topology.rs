//! How the GPUs of a tensor-parallel group are split for attention.

use super::{MAX_RANKS, PlanError};

/// A tensor-parallel group of `tp` GPUs, split into data-parallel ranks, each of them into context-parallel parts, each of
/// those into an attention TP group.
///
/// ```
/// use tilewright_dp::plan::Topology;
///
/// let topology = Topology::new(8, 2)?;
/// assert_eq!(topology.attention_tp(), 4);
/// assert_eq!((topology.dp_rank(6)?, topology.attention_tp_rank(6)?), (1, 2));
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Topology {
    tp: u64,
    dp: u64,
    context: ContextParallel,
}

/// How a rank's tokens are split over context-parallel parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ContextParallel {
    /// Not at all.
    #[default]
    Off,
    /// Token by token, over this many parts.
    Interleaved(u64),
    /// Every part has a piece from the front and one from the back, over this many parts.
    ZigZag(u64),
    /// Over this many parts, of any length each (the second version of context parallelism).
    Unaligned(u64),
}

impl ContextParallel {
    /// The number of parts.
    pub const fn size(self) -> u64 {
        match self {
            Self::Off => 1,
            Self::Interleaved(size) | Self::ZigZag(size) | Self::Unaligned(size) => size,
        }
    }

    /// What a rank's rows are a multiple of: [`Request::cp_align`](super::Request::cp_align). A single part is no split:
    /// its alignment is 1, or odd batches would gain a row of garbage.
    pub const fn alignment(self) -> u64 {
        match self {
            Self::Off | Self::Unaligned(_) | Self::ZigZag(1) => 1,
            Self::Interleaved(size) => size,
            // Of a topology; any other size is too large all the same.
            Self::ZigZag(size) => size.saturating_mul(2),
        }
    }
}

impl Topology {
    /// A group of `tp` GPUs in `dp` data-parallel ranks, without context parallelism.
    ///
    /// # Errors
    /// A size is 0, `dp` does not divide `tp`, or there are over [`MAX_RANKS`] GPUs.
    pub fn new(tp: u64, dp: u64) -> Result<Self, PlanError> {
        Self::with_context(tp, dp, ContextParallel::Off)
    }

    /// A group of `dp` data-parallel ranks with `attention_tp` GPUs each, without context parallelism.
    ///
    /// ```
    /// use tilewright_dp::plan::Topology;
    ///
    /// assert_eq!(Topology::of_ranks(2, 4), Topology::new(8, 2));
    /// assert_eq!(Topology::of_ranks(0, 4).unwrap_err().to_string(), "`dp` is 0; it is at least 1");
    /// ```
    ///
    /// # Errors
    /// A size is 0, or there are over [`MAX_RANKS`] GPUs.
    pub fn of_ranks(dp: u64, attention_tp: u64) -> Result<Self, PlanError> {
        check_ranks("dp", dp)?;
        check_ranks("attn_tp", attention_tp)?;
        Self::new(dp * attention_tp, dp)
    }

    /// A group of `tp` GPUs in `dp` data-parallel ranks of context-parallel parts.
    ///
    /// # Errors
    /// A size is 0, `dp` times the number of parts does not divide `tp`, or there are over [`MAX_RANKS`] GPUs.
    pub fn with_context(tp: u64, dp: u64, context: ContextParallel) -> Result<Self, PlanError> {
        let cp = context.size();
        for (field, ranks) in [("dp", dp), ("cp", cp), ("tp", tp)] {
            check_ranks(field, ranks)?;
        }
        match tp.is_multiple_of(dp * cp) {
            true => Ok(Self { tp, dp, context }),
            false => Err(PlanError::UnevenTopology { tp, dp, cp }),
        }
    }

    /// GPUs of the group.
    pub const fn tp(&self) -> u64 {
        self.tp
    }

    /// Data-parallel ranks.
    pub fn dp(&self) -> u64 {
        self.dp
    }

    /// Context parallelism within a rank.
    pub fn context(&self) -> ContextParallel {
        self.context
    }

    /// GPUs that share one attention.
    pub fn attention_tp(&self) -> u64 {
        self.tp / self.dp / self.context.size()
    }

    /// The data-parallel rank of a GPU.
    ///
    /// # Errors
    /// There is no such GPU.
    pub fn dp_rank(&self, tp_rank: u64) -> Result<u64, PlanError> {
        self.check(tp_rank).map(|rank| rank / (self.tp / self.dp))
    }

    /// The rank of a GPU among those that share its attention.
    ///
    /// # Errors
    /// There is no such GPU.
    pub fn attention_tp_rank(&self, tp_rank: u64) -> Result<u64, PlanError> {
        self.check(tp_rank).map(|rank| rank % self.attention_tp())
    }

    fn check(&self, rank: u64) -> Result<u64, PlanError> {
        match rank < self.tp {
            true => Ok(rank),
            false => Err(PlanError::NoSuchRank { rank, ranks: self.tp }),
        }
    }
}

/// Refuses no ranks, and more than [`MAX_RANKS`]; two numbers of ranks can be multiplied.
pub(crate) fn check_ranks(field: &'static str, ranks: u64) -> Result<(), PlanError> {
    match ranks {
        0 => Err(PlanError::Zero { field }),
        1..=MAX_RANKS => Ok(()),
        _ => Err(PlanError::TooManyRanks { field, ranks }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_numbered_by_rank_then_part_then_attention() {
        let topology = Topology::with_context(16, 2, ContextParallel::ZigZag(4)).unwrap();
        assert_eq!(topology.attention_tp(), 2);
        let ranks: Vec<_> = (0..16)
            .map(|gpu| (topology.dp_rank(gpu).unwrap(), topology.attention_tp_rank(gpu).unwrap()))
            .collect();
        assert_eq!(ranks[..4], [(0, 0), (0, 1), (0, 0), (0, 1)]);
        assert_eq!((ranks[7], ranks[8], ranks[15]), ((0, 1), (1, 0), (1, 1)));
    }

    #[test]
    fn a_gpu_out_of_range_is_an_error() {
        let topology = Topology::new(8, 8).unwrap();
        assert_eq!(topology.dp_rank(7), Ok(7));
        let error = PlanError::NoSuchRank { rank: 8, ranks: 8 };
        assert_eq!(topology.dp_rank(8), Err(error.clone()));
        assert_eq!(topology.attention_tp_rank(8), Err(error));
    }

    #[test]
    fn groups_that_do_not_split_are_errors() {
        assert_eq!(
            Topology::new(8, 3),
            Err(PlanError::UnevenTopology { tp: 8, dp: 3, cp: 1 })
        );
        assert_eq!(Topology::new(8, 0), Err(PlanError::Zero { field: "dp" }));
        assert_eq!(Topology::new(0, 2), Err(PlanError::Zero { field: "tp" }));
        assert_eq!(Topology::of_ranks(2, 0), Err(PlanError::Zero { field: "attn_tp" }));
        assert!(Topology::with_context(8, 4, ContextParallel::Interleaved(4)).is_err());
        assert!(Topology::with_context(8, u64::MAX, ContextParallel::Interleaved(u64::MAX)).is_err());
    }

    #[test]
    fn a_group_has_no_more_ranks_than_the_most() {
        assert!(Topology::new(MAX_RANKS, MAX_RANKS).is_ok());
        for ranks in [MAX_RANKS + 1, u64::MAX] {
            for (topology, field) in [
                (Topology::new(ranks, 1), "tp"),
                (Topology::new(ranks, ranks), "dp"),
                (Topology::of_ranks(ranks, 1), "dp"),
                (Topology::of_ranks(1, ranks), "attn_tp"),
                (Topology::with_context(8, 1, ContextParallel::ZigZag(ranks)), "cp"),
            ] {
                assert_eq!(topology, Err(PlanError::TooManyRanks { field, ranks }));
            }
        }
        assert!(Topology::of_ranks(MAX_RANKS, 2).is_err());
    }

    #[test]
    fn a_split_into_one_part_aligns_nothing() {
        for context in [
            ContextParallel::Off,
            ContextParallel::Interleaved(1),
            ContextParallel::ZigZag(1),
            ContextParallel::Unaligned(4),
        ] {
            assert_eq!(context.alignment(), 1);
        }
        assert_eq!(ContextParallel::Interleaved(4).alignment(), 4);
        assert_eq!(ContextParallel::ZigZag(2).alignment(), 4);
    }
}
