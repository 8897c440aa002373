//! Tensors of several GPUs brought together, through NCCL.

#![allow(unsafe_code)]

use std::iter;
use std::time::Duration;

use tilewright_dsl::element::Element;

use crate::device::Stream;
use crate::error::DeviceError;
use crate::hardware::cuda::{CudaCommunicator, NcclError, NcclId};
use crate::hardware::memory::{Place, put_in_order};
use crate::tensor::TensorViewMut;

/// One rank of a group of GPUs, each with a stream. All ranks have to ask for the same, in the same order and of the same
/// sizes: NCCL does not compare them, and what differs hangs until the time is over.
///
/// Dropping it waits until this rank's work is done and passed on to the others, as long as the limit at most. If a graph has
/// captured work of it, only for the work that was asked for: NCCL keeps what graphs need until they are destroyed, and the
/// rest is done in the background then. With `NCCL_CUMEM_ENABLE=0`, ranks of one process use each other's memory as it is:
/// let all of them finish before any is dropped.
pub struct Communicator {
    nccl: CudaCommunicator,
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
        let (Some(device), Some(cuda)) = (stream.device().as_cuda(), stream.as_cuda()) else {
            return Err(DeviceError::NotCuda { what: "a rank of NCCL" }.into());
        };
        Ok(Self {
            nccl: CudaCommunicator::join(device, cuda, id, rank, size, limit)?,
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
        self.on(tensor, |address| {
            // SAFETY: the tensor has so many elements from there on, and its allocation's later uses, freeing among them,
            // are ordered after this one. That ranks agree is not a matter of memory: NCCL writes what was asked for here.
            unsafe { self.nccl.all_reduce(address, count, T::TYPE) }
        })
    }

    /// Every rank's rows come to all ranks: `parts` are the rows of each, one after the other from row 0.
    ///
    /// # Errors
    /// The parts do not fit, the elements have gaps, or NCCL fails.
    pub fn all_gather<T: Element>(&self, tensor: &mut TensorViewMut<'_, T, 2>, parts: &[u64]) -> Result<(), NcclError> {
        let bytes = self.elements(tensor, parts, T::TYPE.size() as u64)?;
        // SAFETY: as in `all_reduce`; the parts were checked to lie in the tensor.
        self.on(tensor, |address| unsafe { self.nccl.all_gather(address, &bytes) })
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
        let counts = self.elements(tensor, parts, 1)?;
        // SAFETY: as in `all_reduce`; the parts were checked to lie in the tensor.
        self.on(tensor, |address| unsafe {
            self.nccl.reduce_scatter(address, &counts, T::TYPE)
        })
    }

    /// Waits until what was asked for is done, or the limit is over.
    ///
    /// # Errors
    /// NCCL fails, another rank does not come along, or the device fails.
    pub fn finish(&self) -> Result<(), NcclError> {
        self.nccl.finish()
    }

    /// The elements of parts, `unit` for each.
    fn elements<T: Element>(
        &self,
        tensor: &TensorViewMut<'_, T, 2>,
        parts: &[u64],
        unit: u64,
    ) -> Result<Vec<u64>, NcclError> {
        let [rows, columns] = tensor.extents().map(|extent| extent as u64);
        let sum = parts.iter().try_fold(0u64, |sum, &part| sum.checked_add(part));
        if parts.len() != self.size() || sum.is_none_or(|sum| sum > rows) {
            return Err(NcclError::WrongParts {
                parts: parts.to_vec(),
                rows,
                ranks: self.size(),
            });
        }
        // They are no more than the tensor has, whose bytes were counted when it was made.
        Ok(parts.iter().map(|part| part * columns * unit).collect())
    }

    /// Asks for something on a tensor, in the order of its memory's uses.
    fn on<T: Element>(
        &self,
        tensor: &mut TensorViewMut<'_, T, 2>,
        ask: impl FnOnce(u64) -> Result<(), NcclError>,
    ) -> Result<(), NcclError> {
        let (storage, offset) = tensor.contiguous().ok_or(NcclError::NotContiguous)?;
        let (device, cuda) = (self.stream.device(), self.nccl.stream());
        if !storage.hardware().shares_memory_with(device.hardware()) {
            return Err(DeviceError::NotCuda {
                what: "a tensor of another device",
            }
            .into());
        }
        let address = storage.address() + offset;
        match storage.place() {
            Place::Cuda(_) => put_in_order(device.hardware(), cuda, iter::once(storage), None, || ask(address)),
            Place::Host(_) => Err(DeviceError::NotCuda { what: "a rank of NCCL" }.into()),
        }
    }
}
