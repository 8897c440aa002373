//! All ranks' rows into the gathered buffers of all ranks, at once.

use std::sync::Arc;

use tilewright_dsl::call::{Argument, Arguments, Call, OfRank, Runtime};

use tilewright_dsl::element::{Element, Number};
use tilewright_dsl::lang::Count;
use tilewright_runtime::{DeviceCount, Launch, TensorView, TensorViewMut};

use super::halves::{InTurns, Turn};
use super::{BoundGather, Contribution, Counts, GatheredHalves, Moved, Movement, MovementError, QuantizedHalves};
use crate::collective::{Group, Operation, PeerGroup, RequestedCollective, Summand};
use crate::kernels::peers::{Cut, push_gather, push_own_rows, push_quantized};
use crate::kernels::quantize::GROUP;

/// Where a GPU's share of its rank's rows goes.
struct Share {
    /// The first of the rank's rows.
    first: u64,
    /// The row of the buffer that takes it.
    start: u64,
    /// How many there are.
    rows: u64,
    /// Where the last rank's rows end.
    end: u64,
    /// The rows of the buffer.
    total: u64,
    /// Those of the largest share of all.
    largest: u64,
}

impl Share {
    /// The first of the rank's rows, where it goes, how many there are, where the last rank's end, and the rows of the buffer.
    fn places(&self) -> [Runtime; 5] {
        [self.first, self.start, self.rows, self.end, self.total].map(Runtime)
    }
}

/// Tokens, and where they are counted.
enum Tokens<'c> {
    Planned(u64),
    OnDevice(DeviceCount<'c>),
}

impl<'c> Argument<'c, Count> for Tokens<'c> {
    fn pass(self, arguments: &mut Arguments<'c>) {
        match self {
            Self::Planned(tokens) => Argument::<Count>::pass(Runtime(tokens), arguments),
            Self::OnDevice(tokens) => Argument::<Count>::pass(tokens, arguments),
        }
    }
}

impl Movement<'_, PeerGroup> {
    /// Gathers as [`gather_variable`](Self::gather_variable) does, in any mode, into the buffers of all ranks: one kernel stores
    /// the GPU's share of its rank's rows into every rank's buffer, zeroes the padding behind them, and waits for the others'.
    /// Nothing is staged. Partial sums are reduce-scattered in place first, among the GPUs that have parts of them.
    ///
    /// The rows are those that [`GatheredHalves::rows`] gives next. A captured graph serves every step up to its plan, with counts
    /// in device memory.
    ///
    /// # Errors
    /// The tensors do not fit the plan, the buffer is another group's, or another rank does not come along.
    pub fn push<T: Summand>(
        &self,
        buffer: &mut GatheredHalves<T>,
        local: TensorView<'_, T, 2>,
        contribution: Contribution,
        counts: Counts<'_>,
    ) -> Result<Moved, MovementError> {
        let (summing, gpus) = self.summing(contribution);
        if gpus.len() == 1 {
            let (call, moved) = self.push_call(buffer, local, counts)?;
            call.launch_on(self.gathering.stream())?;
            return Ok(moved);
        }
        let (share, moved) = self.turn(buffer, local.extents(), &counts)?;
        // Sums come together in this GPU's own half.
        let mut half = buffer.rows_mut(share.total)?;
        let (mut part, first, parts) = self.part_of(&mut half, gpus)?;
        self.place_share(part.reborrow(), local, first, counts)?;
        summing.reduce_scatter(&mut part, &parts)?;
        self.push_own(buffer, &share)?;
        Ok(moved)
    }

    /// [`push`](Self::push) of replicated rows, of whatever type, as a call that is still to be launched, on the group's stream.
    /// Several of them, of buffers of their own, are one launch by [`Call::fuse`]: rows, scales, ids of experts and their weights.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn push_call<'c, T: Element>(
        &self,
        buffer: &'c mut GatheredHalves<T>,
        local: TensorView<'c, T, 2>,
        counts: Counts<'c>,
    ) -> Result<(Call<'c>, Moved), MovementError> {
        let (share, moved) = self.turn(buffer, local.extents(), &counts)?;
        let cut = self.cut::<T>(&share, buffer.rows.columns);
        Ok((self.pushing(buffer, local, counts, &share, cut)?, moved))
    }

    /// What stores a share, cut so, into the half whose turn it is.
    fn pushing<'c, T: Element>(
        &self,
        buffer: &'c mut GatheredHalves<T>,
        local: TensorView<'c, T, 2>,
        counts: Counts<'c>,
        share: &Share,
        cut: Cut,
    ) -> Result<Call<'c>, MovementError> {
        let all = buffer.rows.of_all()?;
        let Turn {
            flags,
            epoch,
            state,
            report: unread,
            half,
        } = buffer.turns.lend()?;
        let (tokens, report) = self.tokens(share, counts, unread);
        let rank = self.gathering.rank();
        let [first, start, rows, end, total] = share.places();
        let [half, places] = [half, cut.places].map(Runtime);
        Ok(push_gather::<T>(
            OfRank(rank, all),
            OfRank(rank, flags),
            epoch,
            state,
            report,
            local,
            first,
            start,
            tokens,
            rows,
            end,
            total,
            half,
            places,
            self.gathering.limit_ns(),
            cut.piece,
            true,
        ))
    }

    /// As [`push_call`](Self::push_call), launched, out of a tensor and into a buffer that a gather is bound to, with the plan's counts.
    /// The tensor may have more rows than the plan, which are not moved.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn push_bound<T: Element>(&self, gather: &mut BoundGather<T>) -> Result<Moved, MovementError> {
        let total = self.layout.rows();
        let stream = self.gathering.stream();
        gather.forget_if_more(total);
        gather.forget_others(stream.device());
        let [rows, columns] = gather.local.extents();
        let rows = rows.min(self.slot.rows as usize);
        let (share, moved) = self.turn(&mut gather.buffer, [rows, columns], &Counts::Planned)?;
        let cut = self.cut::<T>(&share, columns);
        let BoundGather {
            buffer,
            local,
            launches,
        } = gather;
        let known = launches.iter().position(|(piece, _)| *piece == cut.piece);
        if known.is_none() {
            let call = self.pushing(buffer, local.view(), Counts::Planned, &share, cut)?;
            launches.push((cut.piece, stream.device().bind(call)?));
        }
        let at = known.unwrap_or(launches.len() - 1);
        let Share {
            first,
            start,
            rows,
            end,
            ..
        } = share;
        let (rank, half) = (self.gathering.rank() as u64, buffer.turns.half as u64);
        // In the order of the kernel's parameters; each list has the rank in front.
        let [of_buffers, of_flags] = [rank; 2];
        let tokens = self.slot.tokens;
        let counts = [
            of_buffers, of_flags, first, start, tokens, rows, end, total, half, cut.places,
        ];
        launches[at].1.launch_on(&counts, stream)?;
        Ok(moved)
    }

    /// As [`push`](Self::push) for replicated tensors, with the rows in 8 bits, as [`gather_quantized`](Self::gather_quantized) has
    /// them on their way: one kernel quantises and stores payloads and scales. What reads them dequantises them, as
    /// [`dequantize_rows`](crate::kernels::dequantize_rows()) does.
    ///
    /// # Errors
    /// As for [`push`](Self::push), or rows have no whole number of groups.
    pub fn push_quantized<T: Number>(
        &self,
        buffer: &mut QuantizedHalves,
        local: TensorView<'_, T, 2>,
        counts: Counts<'_>,
    ) -> Result<Moved, MovementError> {
        let (call, moved) = self.push_quantized_call(buffer, local, counts)?;
        call.launch_on(self.gathering.stream())?;
        Ok(moved)
    }

    /// [`push_quantized`](Self::push_quantized) as a call that is still to be launched: see [`push_call`](Self::push_call).
    ///
    /// # Errors
    /// As for [`push_quantized`](Self::push_quantized).
    pub fn push_quantized_call<'c, T: Number>(
        &self,
        buffer: &'c mut QuantizedHalves,
        local: TensorView<'c, T, 2>,
        counts: Counts<'c>,
    ) -> Result<(Call<'c>, Moved), MovementError> {
        let columns = buffer.payloads.columns;
        if !columns.is_multiple_of(GROUP) {
            return Err(MovementError::NoGroups {
                columns: columns as u64,
                group: GROUP as u64,
            });
        }
        let (share, moved) = self.turn(buffer, local.extents(), &counts)?;
        // A program quantises whole rows, and two share a multiprocessor.
        let places = (2 * self.gathering.programs()).min(share.largest.max(1));
        let (payloads, scales) = (buffer.payloads.of_all()?, buffer.scales.of_all()?);
        let Turn {
            flags,
            epoch,
            state,
            report: unread,
            half,
        } = buffer.turns.lend()?;
        let (tokens, report) = self.tokens(&share, counts, unread);
        let rank = self.gathering.rank();
        let [first, start, rows, end, total] = share.places();
        let [half, places] = [half, places].map(Runtime);
        let call = push_quantized::<T>(
            OfRank(rank, payloads),
            OfRank(rank, scales),
            OfRank(rank, flags),
            epoch,
            state,
            report,
            local,
            first,
            start,
            tokens,
            rows,
            end,
            total,
            half,
            places,
            self.gathering.limit_ns(),
        );
        Ok((call, moved))
    }

    /// Gathers what this GPU has in its own half.
    fn push_own<T: Element>(&self, buffer: &mut GatheredHalves<T>, share: &Share) -> Result<(), MovementError> {
        let cut = self.cut::<T>(share, buffer.rows.columns);
        let all = buffer.rows.of_all()?;
        let Turn {
            flags,
            epoch,
            state,
            half,
            ..
        } = buffer.turns.lend()?;
        let rank = self.gathering.rank();
        let [_, start, rows, end, total] = share.places();
        let [half, places] = [half, cut.places].map(Runtime);
        push_own_rows::<T>(
            OfRank(rank, all),
            OfRank(rank, flags),
            epoch,
            state,
            start,
            rows,
            end,
            total,
            half,
            places,
            self.gathering.limit_ns(),
            cut.piece,
        )
        .launch_on(self.gathering.stream())?;
        Ok(())
    }

    /// How all GPUs cut their shares.
    fn cut<T: Element>(&self, share: &Share, columns: usize) -> Cut {
        Cut::in_pieces(share.largest, columns, T::TYPE.size(), self.gathering.programs())
    }

    /// This GPU's share among those of all.
    fn share(&self, shares: &[u64]) -> Share {
        let (first, rows) = self.own_share();
        Share {
            first,
            start: self.slot.start + first,
            rows,
            end: self.layout.padded().iter().sum(),
            total: self.layout.rows(),
            largest: shares.iter().copied().max().unwrap_or(0),
        }
    }

    /// The tokens among the rank's rows, and where their kernel reports to.
    fn tokens<'c>(
        &self,
        share: &Share,
        counts: Counts<'c>,
        unread: TensorViewMut<'c, i64, 1>,
    ) -> (Tokens<'c>, TensorViewMut<'c, i64, 1>) {
        match counts {
            Counts::Planned => (Tokens::Planned(self.slot.tokens), unread),
            Counts::OnDevice { tokens, report, .. } => {
                (Tokens::OnDevice(self.up_to(tokens, share.first + share.rows)), report)
            }
        }
    }

    /// Takes a turn: makes sure that all is as planned and that there is memory, notes what is asked for, so that the ranks' next
    /// exchange compares it, and goes to the other half.
    fn turn<H: InTurns>(
        &self,
        buffer: &mut H,
        local: [usize; 2],
        counts: &Counts<'_>,
    ) -> Result<(Share, Moved), MovementError> {
        if !Arc::ptr_eq(&buffer.turns().peers, self.gathering.peers()) {
            return Err(MovementError::OtherGroup);
        }
        let (parts, columns) = (self.shares(), buffer.columns());
        let share = self.share(&parts);
        let extents = [share.total as usize, columns];
        let moved = self.check(extents, local, self.strictness(counts))?;
        buffer.make_room(share.total)?;
        self.gathering.note(&RequestedCollective {
            operation: Operation::AllGather,
            element: H::ELEMENT,
            rows: share.total,
            columns: columns as u64,
            parts,
            starts: Vec::new(),
        })?;
        buffer.turns().half ^= 1;
        Ok((share, moved))
    }
}
