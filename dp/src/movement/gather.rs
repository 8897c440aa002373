//! All ranks' rows into the gathered buffer.

use std::ops::Range;

use tilewright_dsl::call::Exact;
use tilewright_dsl::element::Element;
use tilewright_runtime::{DeviceCount, Launch, TensorView, TensorViewMut};

use super::{Contribution, Counts, Moved, Movement, MovementError, OnMismatch, rows_of};
use crate::collective::{Group, Summand};
use crate::kernels::{pad_rows, place_rows, place_rows_with_report};
use crate::layout::PaddingMode;

impl<G: Group> Movement<'_, G> {
    /// Fills the gathered buffer with the rows of all ranks: tokens at their places, zeros everywhere else.
    ///
    /// * In mode SUM, of partial sums, one kernel writes the rank's rows and zeros around them, and an all-reduce adds up the
    ///   ranks. Each row is a sum of parts and zeros, so all bits arrive but the sign of a zero and the payload of a NaN.
    /// * In mode MAX one kernel writes the GPU's share of the rank's rows and zeros behind them, and an all-gather brings
    ///   the shares together. Partial sums are reduce-scattered first, among the GPUs that have parts of them.
    ///
    /// In mode SUM, rows of which one GPU has the whole ask for no sums: they are gathered as by
    /// [`gather_variable`](Self::gather_variable), with all their bits and a fraction of the traffic. With counts in device
    /// memory the host does not know where they go, and they are added to zeros.
    ///
    /// # Errors
    /// The tensors do not fit the plan, or another rank does not come along.
    pub fn gather<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        local: TensorView<'_, T, 2>,
        contribution: Contribution,
        counts: Counts<'_>,
    ) -> Result<Moved, MovementError> {
        // Of the rank's GPUs, those that have a part of the sum.
        let writing = match contribution {
            Contribution::Partial => self.attention.size(),
            Contribution::PartialOverContext => self.rank.size(),
            Contribution::Replicate => 1,
        };
        let is_whole = writing == 1 && matches!(counts, Counts::Planned);
        if self.layout.mode() == PaddingMode::Max || is_whole {
            return self.gather_variable(buffer, local, contribution, counts);
        }
        let moved = self.check(buffer.extents(), local.extents(), self.strictness(&counts))?;
        let writes = self.rank.rank() < writing;
        self.place(buffer.reborrow(), local, writes, counts)?;
        self.gathering.all_reduce(buffer)?;
        Ok(moved)
    }

    /// Fills the gathered buffer as [`gather`](Self::gather) does, in any mode by an all-gather of each GPU's share, equal
    /// or not. Replicated rows arrive with all their bits; fewer bytes move than in an all-reduce.
    ///
    /// # Errors
    /// As for [`gather`](Self::gather).
    pub fn gather_variable<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        local: TensorView<'_, T, 2>,
        contribution: Contribution,
        counts: Counts<'_>,
    ) -> Result<Moved, MovementError> {
        let moved = self.check(buffer.extents(), local.extents(), self.strictness(&counts))?;
        let (summing, gpus) = self.summing(contribution);
        let (mut part, first, parts) = self.part_of(buffer, gpus)?;
        self.place_share(part.reborrow(), local, first, counts)?;
        if parts.len() > 1 {
            summing.reduce_scatter(&mut part, &parts)?;
        }
        self.gathering.all_gather(buffer, &self.shares())?;
        self.zero_tail(buffer)?;
        Ok(moved)
    }

    /// Of the rank's GPUs, those that have parts of one sum, as a group and by number: each context-parallel part sums the rows
    /// that its GPUs bring.
    pub(super) fn summing(&self, contribution: Contribution) -> (&G, Range<usize>) {
        let gpu = self.rank.rank();
        match contribution {
            Contribution::Partial => {
                let first = gpu - self.attention.rank();
                (self.attention, first..first + self.attention.size())
            }
            Contribution::PartialOverContext => (self.rank, 0..self.rank.size()),
            Contribution::Replicate => (self.rank, gpu..gpu + 1),
        }
    }

    /// The rows of the buffer that some of the rank's GPUs bring, which of the rank's is the first, and how many each brings.
    pub(super) fn part_of<'v, T: Element>(
        &self,
        buffer: &'v mut TensorViewMut<'_, T, 2>,
        gpus: Range<usize>,
    ) -> Result<(TensorViewMut<'v, T, 2>, u64, Vec<u64>), MovementError> {
        let shares = self.own_shares();
        let first = shares[..gpus.start].iter().sum();
        let parts = shares[gpus].to_vec();
        let part = rows_of(buffer, self.slot.start + first, parts.iter().sum())?;
        Ok((part, first, parts))
    }

    /// The rows that a captured graph's buffer has behind the last rank belong to nobody, and the MLP reads them.
    pub(super) fn zero_tail<T: Element>(&self, buffer: &mut TensorViewMut<'_, T, 2>) -> Result<(), MovementError> {
        let end: u64 = self.layout.padded().iter().sum();
        let tail = self.layout.rows() - end;
        if tail > 0 {
            let (ranks, tail) = buffer.reborrow().split_at(0, end as usize)?;
            pad_rows(tail, ranks.view(), Exact(0)).launch_on(self.gathering.stream())?;
        }
        Ok(())
    }

    /// What counts in device memory are, the host does not know: their kernels clamp and report.
    pub(super) fn strictness(&self, counts: &Counts<'_>) -> OnMismatch {
        match counts {
            Counts::Planned => self.on_mismatch,
            Counts::OnDevice { .. } => OnMismatch::Clamp,
        }
    }

    /// Writes a whole buffer: the rank's rows from its start on if this GPU `writes`, zeros everywhere else.
    fn place<T: Element>(
        &self,
        out: TensorViewMut<'_, T, 2>,
        local: TensorView<'_, T, 2>,
        writes: bool,
        counts: Counts<'_>,
    ) -> Result<(), MovementError> {
        let (stream, first) = (self.gathering.stream(), Exact(0));
        match counts {
            Counts::Planned => {
                let tokens = if writes { self.slot.tokens } else { 0 };
                place_rows(out, local, Exact(self.slot.start), first, Exact(tokens)).launch_on(stream)?;
            }
            Counts::OnDevice { start, tokens, report } if writes => {
                place_rows_with_report(out, report, local, start, first, tokens).launch_on(stream)?;
            }
            Counts::OnDevice { .. } => {
                place_rows(out, local, Exact(0), first, Exact(0)).launch_on(stream)?;
            }
        }
        Ok(())
    }

    /// Writes a part of the rank's slot, its row 0 from row `first` of the rank's on.
    pub(super) fn place_share<T: Element>(
        &self,
        out: TensorViewMut<'_, T, 2>,
        local: TensorView<'_, T, 2>,
        first: u64,
        counts: Counts<'_>,
    ) -> Result<(), MovementError> {
        let (stream, end) = (self.gathering.stream(), first + out.extents()[0] as u64);
        match counts {
            Counts::Planned => {
                place_rows(out, local, Exact(0), Exact(first), Exact(self.slot.tokens)).launch_on(stream)?;
            }
            Counts::OnDevice { tokens, report, .. } => {
                let tokens = self.up_to(tokens, end);
                place_rows_with_report(out, report, local, Exact(0), Exact(first), tokens).launch_on(stream)?;
            }
        }
        Ok(())
    }

    /// The tokens that a part of the rank's rows which ends at `end` reports: those beyond it are another GPU's to report,
    /// those beyond the slot the last one's.
    pub(super) fn up_to<'c>(&self, tokens: DeviceCount<'c>, end: u64) -> DeviceCount<'c> {
        if end < self.slot.rows {
            tokens.at_most(end)
        } else {
            tokens
        }
    }
}
