//! Tensors of several GPUs brought together, through NCCL.

#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tilewright_dsl::element::Element;

use crate::device::Stream;
use crate::error::DeviceError;
use crate::hardware::cuda::{CudaCommunicator, CudaStream, NcclError, NcclId, UnequalGather};
use crate::hardware::memory::{Place, put_in_order_slowly};
use crate::tensor::TensorViewMut;

const NOT_CUDA: DeviceError = DeviceError::NotCuda { what: "a rank of NCCL" };

/// One rank of a group of GPUs, and a stream that its work goes into. All ranks have to ask for the same, in the same order and
/// of the same sizes: NCCL does not compare them, and what differs hangs until the time is over, or mixes up rows. No memory
/// but that of the tensors is written: ranks that NCCL would let write into each other's are refused when they join.
///
/// A graph that captures its work keeps it. Dropping the last handle waits until this rank's work is done and passed on to the
/// others, as long as the limit at most; ranks of one process use each other's memory, and end together in the background once
/// the last of them is dropped. If a graph of others than [`Device::capture`](crate::Device::capture) and
/// [`CudaStream::capture`](crate::device::cuda::CudaStream::capture) has captured its work, dropping waits only for the work
/// that was asked for: NCCL keeps what such graphs need until they are destroyed.
pub struct Communicator {
    nccl: Arc<CudaCommunicator>,
    stream: Stream,
}

impl Communicator {
    /// A new group's name, to be told to every rank.
    ///
    /// # Errors
    /// NCCL is missing or fails.
    pub fn new_id() -> Result<NcclId, NcclError> {
        CudaCommunicator::new_id()
    }

    /// Joins a group of `size` ranks as `rank`, and waits for the others. `limit` is how long anything may take.
    ///
    /// # Errors
    /// The stream is none of a GPU, NCCL is missing or fails, or the others do not come.
    pub fn join(stream: &Stream, id: &NcclId, rank: usize, size: usize, limit: Duration) -> Result<Self, NcclError> {
        let device = stream.device().as_cuda().ok_or(NOT_CUDA)?;
        Ok(Self {
            nccl: Arc::new(CudaCommunicator::join(device, id, rank, size, limit)?),
            stream: stream.clone(),
        })
    }

    /// The same rank with another stream of its GPU: the one that is being captured, or one for what goes on beside the rest.
    /// NCCL does a communicator's work in the order that it was asked for, whatever the streams.
    ///
    /// # Errors
    /// The stream is not of the GPU that joined.
    pub fn on_stream(&self, stream: &Stream) -> Result<Self, NcclError> {
        if !stream
            .device()
            .hardware()
            .shares_memory_with(self.stream.device().hardware())
        {
            return Err(DeviceError::NotCuda {
                what: "a stream of another device than the rank's",
            }
            .into());
        }
        Ok(Self {
            nccl: self.nccl.clone(),
            stream: stream.clone(),
        })
    }

    /// This rank.
    pub fn rank(&self) -> usize {
        self.nccl.rank()
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.nccl.size()
    }

    /// The stream that the work goes into.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Every element becomes its sum over all ranks.
    ///
    /// # Errors
    /// The elements have gaps or no sum, or NCCL fails.
    pub fn all_reduce<T: Element>(&self, tensor: &mut TensorViewMut<'_, T, 2>) -> Result<(), NcclError> {
        let count = tensor.len() as u64;
        self.put(tensor, |stream, address| {
            // SAFETY: the tensor has so many elements from there on, and its allocation's later uses, freeing among them,
            // are ordered after this one. That ranks agree is not a matter of memory: NCCL writes here what was asked for here,
            // as ranks whose tensors it would share were refused.
            unsafe { self.nccl.all_reduce(stream, address, count, T::TYPE) }
        })
    }

    /// Every rank's rows come to all ranks: `parts` are the rows of each, one after the other from row 0.
    ///
    /// # Errors
    /// The parts do not fit, the elements have gaps, or NCCL fails.
    pub fn all_gather<T: Element>(&self, tensor: &mut TensorViewMut<'_, T, 2>, parts: &[u64]) -> Result<(), NcclError> {
        self.gather(tensor, &self.in_a_row(tensor, parts)?, None)
    }

    /// The same in a certain way, if the parts are not equal. All ranks have to say the same.
    ///
    /// # Errors
    /// As for [`all_gather`](Self::all_gather).
    pub fn all_gather_by<T: Element>(
        &self,
        tensor: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
        unequal: UnequalGather,
    ) -> Result<(), NcclError> {
        self.gather(tensor, &self.in_a_row(tensor, parts)?, Some(unequal))
    }

    /// The same for parts that lie anywhere: `places` are the rows of each rank, of which no two overlap.
    ///
    /// # Errors
    /// As for [`all_gather`](Self::all_gather).
    pub fn all_gather_at<T: Element>(
        &self,
        tensor: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), NcclError> {
        self.check_places(tensor, places)?;
        self.gather(tensor, places, None)
    }

    fn gather<T: Element>(
        &self,
        tensor: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
        unequal: Option<UnequalGather>,
    ) -> Result<(), NcclError> {
        let bytes = elements(tensor, places, T::TYPE.size() as u64);
        let unequal = unequal.unwrap_or_else(|| UnequalGather::of(bytes.iter().map(|part| part.end - part.start)));
        self.put(tensor, |stream, address| {
            // SAFETY: as in `all_reduce`; the parts were checked to lie in the tensor, apart.
            unsafe { self.nccl.all_gather(stream, address, &bytes, unequal) }
        })
    }

    /// Every rank's rows become their sum over all ranks, on that rank; other rows hold anything.
    ///
    /// # Errors
    /// The parts do not fit, the elements have gaps or no sum, or NCCL fails.
    pub fn reduce_scatter<T: Element>(
        &self,
        tensor: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), NcclError> {
        self.sum_scattered(tensor, &self.in_a_row(tensor, parts)?)
    }

    /// The same for parts that lie anywhere: `places` are the rows of each rank, of which no two overlap. Rows between them keep
    /// their values.
    ///
    /// # Errors
    /// As for [`reduce_scatter`](Self::reduce_scatter).
    pub fn reduce_scatter_at<T: Element>(
        &self,
        tensor: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), NcclError> {
        self.check_places(tensor, places)?;
        self.sum_scattered(tensor, places)
    }

    fn sum_scattered<T: Element>(
        &self,
        tensor: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), NcclError> {
        let parts = elements(tensor, places, 1);
        // SAFETY: as in `all_reduce`; the parts were checked to lie in the tensor, apart.
        self.put(tensor, |stream, address| unsafe {
            self.nccl.reduce_scatter(stream, address, &parts, T::TYPE)
        })
    }

    /// Waits until what was asked for is done, or the limit is over.
    ///
    /// # Errors
    /// NCCL fails, another rank does not come along, or the device fails.
    pub fn finish(&self) -> Result<(), NcclError> {
        self.nccl.finish(self.queue()?)
    }

    /// The rows of parts that lie one after the other.
    fn in_a_row<T: Element>(
        &self,
        tensor: &TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<Vec<Range<u64>>, NcclError> {
        let rows = tensor.extents()[0] as u64;
        let sum = parts.iter().try_fold(0u64, |sum, &part| sum.checked_add(part));
        if parts.len() != self.size() || sum.is_none_or(|sum| sum > rows) {
            return Err(NcclError::WrongParts {
                parts: parts.to_vec(),
                rows,
                ranks: self.size(),
            });
        }
        let place = |start: &mut u64, &part: &u64| {
            let place = *start..*start + part;
            *start = place.end;
            Some(place)
        };
        Ok(parts.iter().scan(0, place).collect())
    }

    /// Makes sure that parts lie in the tensor, no two in one place.
    fn check_places<T: Element>(
        &self,
        tensor: &TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), NcclError> {
        let rows = tensor.extents()[0] as u64;
        let mut in_order: Vec<_> = places.iter().filter(|place| !place.is_empty()).collect();
        in_order.sort_by_key(|place| place.start);
        let are_apart = in_order.is_sorted_by(|one, next| one.end <= next.start);
        let is_within = |place: &Range<u64>| place.start <= place.end && place.end <= rows;
        match places.len() == self.size() && are_apart && places.iter().all(is_within) {
            true => Ok(()),
            false => Err(NcclError::WrongPlaces {
                places: places.to_vec(),
                rows,
                ranks: self.size(),
            }),
        }
    }

    fn queue(&self) -> Result<&CudaStream, NcclError> {
        Ok(self.stream.as_cuda().ok_or(NOT_CUDA)?)
    }

    /// Asks for something on a tensor, in the order of its memory's uses. NCCL may have to wait for other ranks before it is
    /// in the stream; nothing but the tensor's memory waits with it.
    fn put<T: Element>(
        &self,
        tensor: &mut TensorViewMut<'_, T, 2>,
        ask: impl FnOnce(&CudaStream, u64) -> Result<(), NcclError>,
    ) -> Result<(), NcclError> {
        let (storage, offset) = tensor.contiguous().ok_or(NcclError::NotContiguous)?;
        let (hardware, queue) = (self.stream.device().hardware(), self.queue()?);
        if !storage.hardware().shares_memory_with(hardware) {
            return Err(DeviceError::NotCuda {
                what: "a tensor of another device",
            }
            .into());
        }
        let address = storage.address() + offset;
        match storage.place() {
            Place::Cuda(_) => {
                put_in_order_slowly(hardware, queue, storage, || ask(queue, address))?;
                hardware.mark(queue);
                Ok(())
            }
            Place::Host(_) => Err(NOT_CUDA.into()),
        }
    }
}

/// The elements of rows, `unit` for each. They are no more than the tensor has, whose bytes were counted when it was made.
fn elements<T: Element>(tensor: &TensorViewMut<'_, T, 2>, places: &[Range<u64>], unit: u64) -> Vec<Range<u64>> {
    let row = tensor.extents()[1] as u64 * unit;
    let elements = |place: &Range<u64>| place.start * row..place.end * row;
    places.iter().map(elements).collect()
}
