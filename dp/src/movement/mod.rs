//! Moving the rows of a step: into the gathered buffer, between ranks, and back.
//!
//! A [`Movement`] is one rank's part in one step. It takes every number from the step's [`Plan`] and every row that it
//! moves from the tensors it is given, and checks one against the other: rows that a plan has and a tensor does not, or
//! the reverse, are refused, or clamped and [reported](Moved) if asked for. Nothing outside a tensor is ever read or
//! written.
//!
//! | operation | what it does | in SGLang |
//! |---|---|---|
//! | [`gather`](Movement::gather) | all ranks' rows into the buffer: all-reduce of partial sums in mode SUM, all-gather otherwise | `dp_gather_partial`, `dp_gather_replicate` |
//! | [`gather_variable`](Movement::gather_variable) | the same without sums, by an all-gather of parts of any length | gatherv |
//! | [`gather_quantized`](Movement::gather_quantized) | the same in 8 bits | the fp8 wire |
//! | [`gather_nvfp4`](Movement::gather_nvfp4) | the same in 4 bits, left to the experts as they are | the FP4 all-gather before FlashInfer's CUTLASS experts |
//! | [`push`](Movement::push) | as `gather_variable`, into buffers that all ranks reach, in one kernel; [`push_bound`](Movement::push_bound) out of the same tensor at each step, [`push_quantized`](Movement::push_quantized) in 8 bits | |
//! | [`scatter`](Movement::scatter) | the rank's rows back, padding zeroed, in one pass | `dp_scatter` |
//! | [`reduce_scatter`](Movement::reduce_scatter) | the sum of all ranks' buffers, the rank's rows of it | `dp_reduce_scatter_tensor` |
//! | [`mask_expert_ids`](Movement::mask_expert_ids) | rows without a token out of routing | `mask_dp_pad_moe_topk_ids` |
//!
//! A gather writes every byte of its part of the buffer once, with no fill before, and leaves the caller's tensor as it is;
//! SGLang zeroes the tensors of replicated ranks in place.
//!
//! With context parallelism a data-parallel rank has attention TP times context GPUs, which share its rows for every
//! collective, whether or not the rows divide evenly. Each has a tensor of the whole rank's rows, before and after: what an
//! engine splits between contexts for attention is either whole again, or its other rows are zeros
//! ([`Contribution::PartialOverContext`]).
//!
//! ```
//! use std::time::Duration;
//! use tilewright_dp::collective::{Group, LocalGroup};
//! use tilewright_dp::movement::{Contribution, Counts, Groups, Movement, MovementError};
//! use tilewright_dp::plan::{Plan, Request, Topology};
//! use tilewright_runtime::Device;
//!
//! let (device, topology) = (Device::cpu(), Topology::new(2, 2)?);
//! let plan = Plan::new(&Request { row_bytes: 4, ..Request::new(vec![3, 1], 2) })?;
//! let back = std::thread::scope(|scope| {
//!     let rank = |groups: Groups<LocalGroup>| -> Result<Vec<i32>, MovementError> {
//!         let movement = Movement::new(&plan, &topology, &groups)?;
//!         let rows = movement.slot().tokens as usize;
//!         let mine = vec![10 + groups.world().rank() as i32; rows];
//!         let local = device.upload(&mine, [rows, 1])?;
//!         let mut buffer = device.zeros::<i32, 2>([plan.layout().rows() as usize, 1])?;
//!         movement.gather(&mut buffer.view_mut(), local.view(), Contribution::Partial, Counts::Planned)?;
//!         let mut back = device.zeros::<i32, 2>([movement.slot().rows as usize, 1])?;
//!         movement.scatter(&mut back.view_mut(), buffer.view(), Counts::Planned)?;
//!         Ok(back.download()?)
//!     };
//!     let groups = Groups::local(&device, &topology, Duration::from_secs(10));
//!     let threads: Vec<_> = groups.into_iter().map(|groups| scope.spawn(move || rank(groups))).collect();
//!     threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<Vec<_>, _>>()
//! })?;
//! // One rank has one token, and padding as far as the plan goes.
//! assert_eq!(back[0], [10, 10, 10]);
//! assert_eq!(back[1][0], 11);
//! assert!(back[1][1..].iter().all(|&padding| padding == 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bound;
mod check;
mod error;
mod gather;
mod groups;
mod halves;
mod push;
mod scatter;
mod wire;

pub use bound::BoundGather;
pub use check::{Moved, OnMismatch};
pub use error::MovementError;
pub use groups::Groups;
pub use halves::{GatheredHalves, QuantizedHalves, QuantizedRows};

use tilewright_dsl::element::Integer;
use tilewright_runtime::{DeviceCount, Launch, TensorView, TensorViewMut};

use crate::collective::{Group, even_parts};
use crate::kernels::{mask_padding_ids, mask_rows_outside};
use crate::layout::{GatheredLayout, PaddingMode};
use crate::plan::{Own, Plan, Slot, Topology};
use tilewright_dsl::call::Exact;

/// What the tensors of the GPUs of one rank hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contribution {
    /// A part of a sum on each GPU that shares an attention: its output before the all-reduce. Context-parallel parts have the
    /// same sum each, and one of them counts.
    Partial,
    /// A part of a sum on each GPU of the rank, those of all context-parallel parts: as where a part has the rows of its own
    /// tokens, and zeros for those of others. Without context parallelism it is [`Partial`](Self::Partial).
    PartialOverContext,
    /// The same each.
    Replicate,
}

/// Where the counts of a step come from.
pub enum Counts<'a> {
    /// From the plan, as literals of the code.
    Planned,
    /// From device memory when the kernel runs, so that a captured graph follows new ones. The host cannot check those, so
    /// the kernel writes what it did to `report`: the rows planned, and those moved. A GPU that gathers a share of its rank's
    /// rows reports that share.
    OnDevice {
        /// The row of the buffer at which the rank starts.
        start: DeviceCount<'a>,
        /// The rank's tokens.
        tokens: DeviceCount<'a>,
        /// `[2]`, read by [`Moved::read`].
        report: TensorViewMut<'a, i64, 1>,
    },
}

/// One rank's part in moving the rows of one step.
pub struct Movement<'a, G: Group> {
    layout: &'a GatheredLayout,
    slot: Slot,
    /// The rank's place in the layout.
    position: usize,
    /// All GPUs that gather.
    gathering: &'a G,
    /// Those of the rank, and of them those that share an attention.
    rank: &'a G,
    attention: &'a G,
    on_mismatch: OnMismatch,
}

impl<'a, G: Group> Movement<'a, G> {
    /// A rank's part in a step.
    ///
    /// Where the plan has the local rank's count alone, only the rank's own GPUs gather, unless it is from a bound,
    /// which tells where all ranks' rows lie.
    ///
    /// # Errors
    /// The plan, the topology and the groups are not of one size, or number their GPUs differently.
    pub fn new(plan: &'a Plan, topology: &Topology, groups: &'a Groups<G>) -> Result<Self, MovementError> {
        let world = groups.world();
        let gpu = world.rank() as u64;
        let of_groups = [
            ("the world group", world, topology.tp()),
            ("the rank's group", groups.rank(), topology.tp() / topology.dp()),
            ("the attention group", groups.attention(), topology.attention_tp()),
        ];
        for (what, group, expected) in of_groups {
            let found = group.size() as u64;
            if found != expected {
                return Err(MovementError::WrongSize { what, found, expected });
            }
            let (found, expected) = (group.rank() as u64, gpu % expected);
            if found != expected {
                return Err(MovementError::WrongNumber { what, found, expected });
            }
        }
        let layout = plan.layout();
        let ranks = layout.ranks() as u64;
        let dp_rank = topology.dp_rank(gpu)?;
        let (position, gathering) = match ranks {
            _ if ranks == topology.dp() => (dp_rank as usize, world),
            1 => (0, groups.rank()),
            _ => {
                return Err(MovementError::WrongSize {
                    what: "the plan",
                    found: ranks,
                    expected: topology.dp(),
                });
            }
        };
        // Without an exchange the plan knows this rank's tokens, and of the others only what they have at most.
        let own = plan.bound().and_then(|bound| bound.own);
        Ok(Self {
            layout,
            slot: Slot {
                start: layout.starts()[position],
                rows: layout.padded()[position],
                tokens: own.map_or(layout.counts()[position], Own::get),
            },
            position,
            gathering,
            rank: groups.rank(),
            attention: groups.attention(),
            on_mismatch: OnMismatch::Refuse,
        })
    }

    /// The same with another answer to tensors that the plan does not fit.
    #[must_use]
    pub fn on_mismatch(self, on_mismatch: OnMismatch) -> Self {
        Self { on_mismatch, ..self }
    }

    /// The rank's rows of the buffer.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Sets the ids of experts to -1 in every row of the buffer that holds no token, so that padding is not routed. It has
    /// to come after ids were mapped to local experts.
    ///
    /// * `ids` `[buffer rows, k]`; `starts` and `counts` `[ranks]`, where each rank begins and its tokens, in device memory.
    ///
    /// # Errors
    /// `ids` has more or fewer rows than the buffer, or the launch failed.
    pub fn mask_expert_ids<I: Integer, C: Integer>(
        &self,
        ids: &mut TensorViewMut<'_, I, 2>,
        starts: TensorView<'_, C, 1>,
        counts: TensorView<'_, C, 1>,
    ) -> Result<(), MovementError> {
        self.check_buffer("the tensor of expert ids", ids.extents()[0])?;
        let stream = self.gathering.stream();
        let equal = self.slot.rows * self.layout.ranks() as u64 == self.layout.rows();
        if self.layout.mode() == PaddingMode::Max && equal {
            mask_padding_ids(ids, counts, Exact(self.slot.rows)).launch_on(stream)?;
        } else {
            mask_rows_outside(ids, starts, counts).launch_on(stream)?;
        }
        Ok(())
    }

    /// The rows of the buffer that each GPU brings: its share of its rank's rows, as equal as can be. A rank's GPUs are
    /// numbered one after the other, so the shares lie in the order of the GPUs.
    fn shares(&self) -> Vec<u64> {
        let of_rank = |&rows| even_parts(rows, self.rank.size());
        self.layout.padded().iter().flat_map(of_rank).collect()
    }

    /// The rank's rows as its GPUs share them.
    fn own_shares(&self) -> Vec<u64> {
        even_parts(self.slot.rows, self.rank.size()).collect()
    }

    /// The first of the rank's rows that this GPU brings, and how many.
    fn own_share(&self) -> (u64, u64) {
        let mut shares = even_parts(self.slot.rows, self.rank.size());
        let first = shares.by_ref().take(self.rank.rank()).sum();
        (first, shares.next().unwrap_or(0))
    }
}

/// Some rows of a buffer, to be written.
fn rows_of<'v, T: tilewright_dsl::element::Element>(
    buffer: &'v mut TensorViewMut<'_, T, 2>,
    first: u64,
    count: u64,
) -> Result<TensorViewMut<'v, T, 2>, MovementError> {
    Ok(buffer.reborrow().rows(first as usize..(first + count) as usize)?)
}
