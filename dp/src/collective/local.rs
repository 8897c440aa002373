//! Ranks that are threads of one process and share a device.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tilewright_dsl::arithmetic;
use tilewright_dsl::call::Runtime;
use tilewright_dsl::element::{Element, ElementType};
use tilewright_dsl::ir::{BinaryOp, Literal};
use tilewright_runtime::{Device, DeviceTensor, Launch, Stream, TensorView, TensorViewMut};

use super::exchange::Seat;
use super::{CollectiveError, Group, Operation, Rail, RequestedCollective, Summand, check_ranks, even_parts};
use crate::kernels::{add_rows, convert_rows, copy_to_slot};

/// One rank of a group of threads that share a device. What a rank gives is copied, as to another GPU, and every sum is
/// compared with the host's, bit by bit: it is for tests, examples and bringing up an engine, not for speed.
///
/// Sums are computed in rank order, in f32 for floats below 32 bits, so they have one result. Dropping a rank's end means
/// leaving, which is an error for the others as soon as they need it.
pub struct LocalGroup {
    seat: Seat<Offer>,
    size: usize,
    stream: Stream,
}

/// What a rank puts down: what it asks for, and a copy of its rows.
#[derive(Clone)]
struct Offer {
    request: RequestedCollective,
    rows: Arc<dyn Any + Send + Sync>,
}

impl LocalGroup {
    /// A group of `size` ranks on a device's own stream. `limit` is how long a rank waits for the others.
    ///
    /// # Errors
    /// There are no ranks, or more than [`MAX_RANKS`](crate::plan::MAX_RANKS).
    pub fn ranks(device: &Device, size: usize, limit: Duration) -> Result<Vec<Self>, CollectiveError> {
        check_ranks(size)?;
        Ok(Self::all(device, size, limit))
    }

    /// A group of `size` ranks, which was checked.
    pub(crate) fn all(device: &Device, size: usize, limit: Duration) -> Vec<Self> {
        let rank = |seat| Self {
            seat,
            size,
            stream: device.stream(),
        };
        Seat::all(size, limit).into_iter().map(rank).collect()
    }

    /// Shows the others what is asked for, and rows, and returns the rows of all ranks.
    fn meet<T: Element>(
        &self,
        request: &RequestedCollective,
        rows: DeviceTensor<T, 2>,
    ) -> Result<Vec<Arc<DeviceTensor<T, 2>>>, CollectiveError> {
        let offer = Offer {
            request: request.clone(),
            rows: Arc::new(rows),
        };
        let all = self.seat.meet(offer)?;
        request.compare(self.seat.rank, all.iter().map(|offer| Some(offer.request.clone())))?;
        // Equal requests have equal element types.
        let typed = all.iter().filter_map(|offer| offer.rows.clone().downcast().ok());
        Ok(typed.collect())
    }

    /// A copy of some rows.
    fn copy<T: Element>(&self, rows: TensorView<'_, T, 2>) -> Result<DeviceTensor<T, 2>, CollectiveError> {
        let mut copy = self.stream.device().zeros::<T, 2>(rows.extents())?;
        let count = rows.extents()[0] as u64;
        copy_to_slot(&mut copy, rows, Runtime(0), Runtime(count)).launch_on(&self.stream)?;
        Ok(copy)
    }

    /// The sum of some rows over all ranks, compared with the host's.
    fn sum<T: Summand>(
        &self,
        request: &RequestedCollective,
        all: &[Arc<DeviceTensor<T, 2>>],
        first: u64,
        count: u64,
    ) -> Result<DeviceTensor<T, 2>, CollectiveError> {
        let rows = first as usize..(first + count) as usize;
        let device = self.stream.device();
        let extents = [rows.len(), request.columns as usize];
        let mut sum = device.zeros::<T::Sum, 2>(extents)?;
        for (rank, contribution) in all.iter().enumerate() {
            let contribution = contribution.rows(rows.clone())?;
            match rank {
                0 => convert_rows(&mut sum, contribution).launch_on(&self.stream)?,
                _ => add_rows(&mut sum, contribution).launch_on(&self.stream)?,
            };
        }
        let mut result = device.zeros::<T, 2>(extents)?;
        convert_rows(&mut result, &sum).launch_on(&self.stream)?;
        self.check(request, all, rows, &result)?;
        Ok(result)
    }

    fn check<T: Summand>(
        &self,
        request: &RequestedCollective,
        all: &[Arc<DeviceTensor<T, 2>>],
        rows: Range<usize>,
        result: &DeviceTensor<T, 2>,
    ) -> Result<(), CollectiveError> {
        let download = |contribution: &Arc<DeviceTensor<T, 2>>| contribution.rows(rows.clone())?.download();
        let contributions = all.iter().map(download).collect::<Result<Vec<_>, _>>()?;
        for (i, found) in result.download()?.into_iter().enumerate() {
            let elements = contributions.iter().map(|contribution| contribution[i]);
            let expected = sum_on_host(elements, T::Sum::TYPE).unwrap_or(found.to_bits64());
            if found.to_bits64() != expected {
                let columns = request.columns as usize;
                return Err(CollectiveError::WrongSum {
                    collective: Box::new(request.clone()),
                    row: i / columns,
                    column: i % columns,
                    found: found.to_bits64(),
                    expected,
                });
            }
        }
        Ok(())
    }

    /// Brings every rank's part here.
    fn gather<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        request: &RequestedCollective,
    ) -> Result<(), CollectiveError> {
        if self.size == 1 {
            return Ok(());
        }
        self.together(|| {
            let (rank, parts) = (self.seat.rank, &request.parts);
            let start = request.start(rank) as usize;
            let mine = buffer.view().rows(start..start + parts[rank] as usize)?;
            let all = self.meet(request, self.copy(mine)?)?;
            for (other, rows) in all.iter().enumerate().filter(|&(other, _)| other != rank) {
                let (start, part) = (Runtime(request.start(other)), Runtime(parts[other]));
                copy_to_slot(buffer.reborrow(), rows.view(), start, part).launch_on(&self.stream)?;
            }
            Ok(())
        })
    }

    /// Sums this rank's part.
    fn sum_own<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        request: &RequestedCollective,
    ) -> Result<(), CollectiveError> {
        if self.size == 1 {
            return Ok(());
        }
        self.together(|| {
            let rank = self.seat.rank;
            let all = self.meet(request, self.copy(buffer.view())?)?;
            let (start, part) = (request.start(rank), request.parts[rank]);
            let sum = self.sum(request, &all, start, part)?;
            copy_to_slot(buffer.reborrow(), &sum, Runtime(start), Runtime(part)).launch_on(&self.stream)?;
            Ok(())
        })
    }

    /// What a collective does, and that its failure is the end of the group.
    fn together<R>(&self, act: impl FnOnce() -> Result<R, CollectiveError>) -> Result<R, CollectiveError> {
        act().inspect_err(|error| self.seat.give_up(error))
    }
}

/// The bits of a sum in rank order; `None` for types without arithmetic, which no summand is.
fn sum_on_host<T: Element>(elements: impl Iterator<Item = T>, in_type: ElementType) -> Option<u64> {
    let mut sum: Option<Literal> = None;
    for element in elements {
        let element = arithmetic::cast(Literal::new(element), in_type)?;
        sum = Some(match sum {
            Some(sum) => arithmetic::binary(BinaryOp::Add, sum, element)?,
            None => element,
        });
    }
    Some(arithmetic::cast(sum?, T::TYPE)?.bits)
}

impl Group for LocalGroup {
    fn rank(&self) -> usize {
        self.seat.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn stream(&self) -> &Stream {
        &self.stream
    }

    fn all_reduce<T: Summand>(&self, buffer: &mut TensorViewMut<'_, T, 2>) -> Result<(), CollectiveError> {
        let request = RequestedCollective::new(Operation::AllReduce, buffer, &[], self.size)?;
        if self.size == 1 {
            return Ok(());
        }
        self.together(|| {
            // Every rank sums its part of the rows, and then all parts are gathered.
            let all = self.meet(&request, self.copy(buffer.view())?)?;
            let parts: Vec<_> = even_parts(request.rows, self.size).collect();
            let first = parts[..self.seat.rank].iter().sum();
            let sum = self.sum(&request, &all, first, parts[self.seat.rank])?;
            let sums = self.meet(&request, sum)?;
            let mut start = 0;
            for (sum, &part) in sums.iter().zip(&parts) {
                copy_to_slot(buffer.reborrow(), sum.view(), Runtime(start), Runtime(part)).launch_on(&self.stream)?;
                start += part;
            }
            Ok(())
        })
    }

    fn all_gather<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::new(Operation::AllGather, buffer, parts, self.size)?;
        self.gather(buffer, &request)
    }

    fn reduce_scatter<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::new(Operation::ReduceScatter, buffer, parts, self.size)?;
        self.sum_own(buffer, &request)
    }

    fn finish(&self) -> Result<(), CollectiveError> {
        Ok(self.stream.synchronize()?)
    }
}

impl Rail for LocalGroup {
    fn all_gather_at<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::at(Operation::AllGather, buffer, places, self.size)?;
        self.gather(buffer, &request)
    }

    fn reduce_scatter_at<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::at(Operation::ReduceScatter, buffer, places, self.size)?;
        self.sum_own(buffer, &request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_sum_is_rounded_once() {
        let ones = [
            half::bf16::ONE,
            half::bf16::from_f32(1.0 / 256.0),
            half::bf16::from_f32(1.0 / 256.0),
        ];
        // In bf16 each small term would be lost.
        let expected = u64::from(half::bf16::from_f32(1.0 + 2.0 / 256.0).to_bits());
        assert_eq!(sum_on_host(ones.into_iter(), ElementType::F32), Some(expected));
    }
}
