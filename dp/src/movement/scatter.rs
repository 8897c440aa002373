//! The gathered buffer back to the ranks.

use tilewright_dsl::call::Exact;
use tilewright_dsl::element::Element;
use tilewright_runtime::{Launch, TensorView, TensorViewMut};

use super::{Counts, Moved, Movement, MovementError, rows_of};
use crate::collective::{Group, Summand};
use crate::kernels::{copy_from_slot_padded, take_rows_with_report};

impl<G: Group> Movement<'_, G> {
    /// Takes the rank's tokens out of the buffer and zeroes the rest of its tensor, in one pass: whatever the MLP made of
    /// padding does not come back. Every GPU of the rank gets all its rows, in all context-parallel parts.
    ///
    /// # Errors
    /// The tensors do not fit the plan, or the launch failed.
    pub fn scatter<T: Element>(
        &self,
        local: &mut TensorViewMut<'_, T, 2>,
        buffer: TensorView<'_, T, 2>,
        counts: Counts<'_>,
    ) -> Result<Moved, MovementError> {
        let moved = self.check(buffer.extents(), local.extents(), self.strictness(&counts))?;
        let (stream, slot) = (self.gathering.stream(), self.slot);
        match counts {
            Counts::Planned => {
                copy_from_slot_padded(local, buffer, Exact(slot.start), Exact(slot.tokens)).launch_on(stream)?
            }
            Counts::OnDevice { start, tokens, report } => {
                take_rows_with_report(local, report, buffer, start, tokens).launch_on(stream)?
            }
        };
        Ok(moved)
    }

    /// Sums the buffers of all ranks, of which each has a part of the MLP's output, and takes the rank's tokens of the sum:
    /// a reduce-scatter of each GPU's share, an all-gather of the shares within the rank, and a [`scatter`](Self::scatter).
    /// Half the traffic of an all-reduce. The buffer holds anything outside the rank's rows afterwards.
    ///
    /// Shares may be unequal. SGLang falls back to an all-reduce and a slice where context parallelism leaves rows that its
    /// GPUs do not divide; the rows that come out are the same.
    ///
    /// # Errors
    /// The tensors do not fit the plan, or another rank does not come along.
    pub fn reduce_scatter<T: Summand>(
        &self,
        local: &mut TensorViewMut<'_, T, 2>,
        buffer: &mut TensorViewMut<'_, T, 2>,
        counts: Counts<'_>,
    ) -> Result<Moved, MovementError> {
        self.check(buffer.extents(), local.extents(), self.strictness(&counts))?;
        self.gathering.reduce_scatter(buffer, &self.shares())?;
        let mut slot = rows_of(buffer, self.slot.start, self.slot.rows)?;
        self.rank.all_gather(&mut slot, &self.own_shares())?;
        self.scatter(local, buffer.view(), counts)
    }
}
