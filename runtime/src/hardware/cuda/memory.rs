//! Device memory, by address and length.

#![allow(unsafe_code)]

use std::mem;
use std::sync::Arc;

use cudarc::driver::{DriverError, result, sys::CUresult};

use super::super::capture;
use super::{CudaDevice, CudaShared, CudaStream, driver::During, shared};
use crate::error::DeviceError;

/// Allocations are rounded up to this: generated code may read the whole aligned word at a tensor's end.
const WORD: usize = 16;

/// Memory on a device: an allocation, freed when it is dropped, or memory that others own or use as well.
///
/// Allocating, zeroing, copying and freeing are ordered by a stream, which for allocations is the device's own, and do not
/// wait. What moves to or from the host is done when the call returns.
#[derive(Debug)]
pub struct CudaMemory {
    device: CudaDevice,
    stream: CudaStream,
    address: u64,
    len: usize,
    owner: Owner,
}

/// Whose an address is.
#[derive(Debug)]
enum Owner {
    /// This memory's.
    Own,
    /// Of others, who keep it.
    Others,
    /// Shared with other devices.
    Shared(Arc<CudaShared>),
}

impl CudaMemory {
    /// Memory that holds anything. A length of zero is allowed, and has an address like any other.
    pub fn new(device: &CudaDevice, len: usize) -> Result<Self, DeviceError> {
        capture::refuse_within("device memory")?;
        // Of any device: the context of this one is made current afterwards.
        shared::release_left();
        device.stream().refuse_capture("device memory")?;
        free_the_unfreed(device);
        match allocate(device, len) {
            Ok(address) => {
                let memory = Self {
                    device: device.clone(),
                    stream: device.stream().clone(),
                    address,
                    len,
                    owner: Owner::Own,
                };
                memory.zero_the_rest()?;
                Ok(memory)
            }
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                let (free, total) = device.memory()?;
                Err(DeviceError::OutOfMemory {
                    asked: len,
                    free,
                    total,
                })
            }
            Err(error) => Err(error).during("cuMemAllocAsync"),
        }
    }

    /// Memory that others own, whose uses `stream` orders. It is not freed.
    ///
    /// # Safety
    /// The bytes are memory of the device's context until the last use of this is done, and nothing uses them that is not
    /// ordered with the stream.
    pub unsafe fn borrowed(device: &CudaDevice, stream: &CudaStream, address: u64, len: usize) -> Self {
        Self {
            device: device.clone(),
            stream: stream.clone(),
            address,
            len,
            owner: Owner::Others,
        }
    }

    /// This device's use of memory that others use as well. Nothing orders it with theirs.
    pub fn shared(device: &CudaDevice, memory: Arc<CudaShared>) -> Result<Self, DeviceError> {
        memory.reach(device)?;
        Ok(Self {
            device: device.clone(),
            stream: device.stream().clone(),
            address: memory.address(),
            len: memory.len(),
            owner: Owner::Shared(memory),
        })
    }

    /// What rounding up has added is read with the last element, and ignored. That it is defined keeps checkers quiet.
    fn zero_the_rest(&self) -> Result<(), DeviceError> {
        let rest = self.len.next_multiple_of(WORD) - self.len;
        if rest == 0 {
            return Ok(());
        }
        // SAFETY: the allocation is as long as the next multiple.
        unsafe { result::memset_d8_async(self.address + self.len as u64, 0, rest, self.stream.raw()) }
            .during("cuMemsetD8Async")
    }

    /// Memory that holds zeros.
    pub fn zeroed(device: &CudaDevice, len: usize) -> Result<Self, DeviceError> {
        let memory = Self::new(device, len)?;
        memory.zero()?;
        Ok(memory)
    }

    /// Memory that holds these bytes.
    pub fn from_bytes(device: &CudaDevice, bytes: &[u8]) -> Result<Self, DeviceError> {
        let memory = Self::new(device, bytes.len())?;
        memory.upload(0, bytes)?;
        Ok(memory)
    }

    /// Where it is in the device's address space.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its length in bytes, as asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether its length is zero.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The device it is on.
    pub fn device(&self) -> &CudaDevice {
        &self.device
    }

    /// The stream that orders its uses.
    pub fn stream(&self) -> &CudaStream {
        &self.stream
    }

    /// Whether others own it.
    pub fn is_borrowed(&self) -> bool {
        matches!(self.owner, Owner::Others)
    }

    /// Whether other devices use it as well.
    pub fn is_shared(&self) -> bool {
        matches!(self.owner, Owner::Shared(_))
    }

    /// Writes bytes at an offset, after all that its stream was asked before.
    pub fn upload(&self, offset: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        let address = self.part("an upload", offset, bytes.len())?;
        let stream = &self.stream;
        capture::refuse_within("an upload")?;
        stream.refuse_capture("an upload")?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the part lies in this allocation, and `bytes` is borrowed until the stream has been waited for.
        unsafe { result::memcpy_htod_async(address, bytes, stream.raw()) }.during("cuMemcpyHtoDAsync")?;
        stream.synchronize()
    }

    /// Reads bytes from an offset, after all that its stream was asked before.
    pub fn download(&self, offset: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let address = self.part("a download", offset, bytes.len())?;
        let stream = &self.stream;
        capture::refuse_within("a download")?;
        stream.refuse_capture("a download")?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the part lies in this allocation, and `bytes` is borrowed until the stream has been waited for.
        unsafe { result::memcpy_dtoh_async(bytes, address, stream.raw()) }.during("cuMemcpyDtoHAsync")?;
        stream.synchronize()
    }

    /// Fills it with zeros.
    pub fn zero(&self) -> Result<(), DeviceError> {
        self.device.bind()?;
        if self.is_empty() {
            return Ok(());
        }
        // SAFETY: the address and the length are those of this allocation.
        unsafe { result::memset_d8_async(self.address, 0, self.len, self.stream.raw()) }.during("cuMemsetD8Async")
    }

    /// Copies bytes of another allocation of the same device, or of another part of this one, to an offset.
    pub fn copy_from(&self, offset: usize, source: &Self, from: usize, bytes: usize) -> Result<(), DeviceError> {
        let to_address = self.part("a copy to a part", offset, bytes)?;
        let from_address = source.part("a copy from a part", from, bytes)?;
        if source.device.context() != self.device.context() {
            let (found, expected) = (source.device.ordinal(), self.device.ordinal());
            return Err(DeviceError::OtherDevice {
                what: "the source of a copy",
                found,
                expected,
            });
        }
        if self.address == source.address && offset.abs_diff(from) < bytes {
            return Err(DeviceError::Overlap {
                from,
                to: offset,
                bytes,
            });
        }
        if bytes == 0 {
            return Ok(());
        }
        // Two handles of one device have a stream each: the source must hold its bytes before, and not be freed until after.
        let (stream, other) = (&self.stream, &source.stream);
        stream.follow(&self.device, other)?;
        self.device.bind()?;
        // SAFETY: both parts lie in their allocations, and do not overlap.
        unsafe { result::memcpy_dtod_async(to_address, from_address, bytes, stream.raw()) }
            .during("cuMemcpyDtoDAsync")?;
        other.follow(&self.device, stream)
    }

    /// The address of a part of it.
    fn part(&self, what: &'static str, offset: usize, bytes: usize) -> Result<u64, DeviceError> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.len => Ok(self.address + offset as u64),
            _ => Err(DeviceError::OutOfRange {
                what,
                offset,
                bytes,
                length: self.len,
            }),
        }
    }
}

impl Drop for CudaMemory {
    fn drop(&mut self) {
        match mem::replace(&mut self.owner, Owner::Others) {
            Owner::Own => {}
            Owner::Others => return,
            Owner::Shared(memory) => return shared::leave(memory, &self.device),
        }
        // A capture would put the freeing into its graph.
        match self.device.stream().is_capturing() {
            Ok(false) => {}
            Ok(true) => return self.device.unfreed().lock().push(self.address),
            Err(error) => return tracing::debug!(%error, "device memory was not freed"),
        }
        if let Err(error) = free(&self.device, self.address) {
            // The context is lost, or the process is ending: the driver takes the memory back itself.
            tracing::debug!(%error, "device memory was not freed");
        }
    }
}

/// Frees what could not be freed when it was dropped, and keeps what cannot be freed now either for the next time.
fn free_the_unfreed(device: &CudaDevice) {
    let mut unfreed = mem::take(&mut *device.unfreed().lock());
    unfreed.retain(|&address| match free(device, address) {
        Ok(()) => false,
        Err(error) => {
            tracing::debug!(%error, "device memory was not freed");
            true
        }
    });
    device.unfreed().lock().append(&mut unfreed);
}

fn allocate(device: &CudaDevice, len: usize) -> Result<u64, DriverError> {
    let rounded = len.max(1).checked_next_multiple_of(WORD);
    let rounded = rounded.ok_or(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY))?;
    match device.context().has_async_alloc() {
        // SAFETY: the stream is alive; what is returned is owned by the caller.
        true => unsafe { result::malloc_async(device.stream().raw(), rounded) },
        // SAFETY: the context is current; what is returned is owned by the caller.
        false => unsafe { result::malloc_sync(rounded) },
    }
}

fn free(device: &CudaDevice, address: u64) -> Result<(), DeviceError> {
    match device.context().has_async_alloc() {
        // SAFETY: the owner is gone, and the stream has everything that the owner was asked in front of this.
        true => unsafe { result::free_async(address, device.stream().raw()) }.during("cuMemFreeAsync"),
        // SAFETY: the owner is gone, and the call waits for the device.
        false => unsafe { result::free_sync(address) }.during("cuMemFree"),
    }
}
