//! Memory of a GPU, ordered between streams.
//!
//! All uses of an allocation form one chain: it belongs to the stream that used it last, and before another stream uses
//! it, that stream waits for the one it belongs to. So safe code cannot race two streams on one buffer, and freeing, which
//! the device's own stream does, comes after every use. Buffers that only one stream uses cost one comparison per launch.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::super::Hardware;
use super::super::cuda::{CudaDevice, CudaEvent, CudaMemory, CudaStream};
use crate::error::DeviceError;

/// An allocation of a GPU.
pub(crate) struct CudaAllocation {
    hardware: Hardware,
    /// Dropped by `drop` alone.
    memory: ManuallyDrop<CudaMemory>,
    /// The stream that used it last. Changed under the hardware's order lock held for writing.
    last: Mutex<CudaStream>,
    /// [`identity`] of that stream.
    last_identity: AtomicUsize,
}

/// What tells a stream from the others that exist.
fn identity(stream: &CudaStream) -> usize {
    stream.stream().cu_stream() as usize
}

impl CudaAllocation {
    pub(super) fn new(
        hardware: Hardware,
        cuda: &CudaDevice,
        bytes: usize,
        content: Option<&[u8]>,
    ) -> Result<Self, DeviceError> {
        let memory = match content {
            Some(content) => CudaMemory::from_bytes(cuda, content)?,
            None => CudaMemory::zeroed(cuda, bytes)?,
        };
        let last = cuda.stream().clone();
        Ok(Self {
            hardware,
            memory: ManuallyDrop::new(memory),
            last_identity: identity(&last).into(),
            last: last.into(),
        })
    }

    pub(crate) fn address(&self) -> u64 {
        self.memory.address()
    }

    pub(super) fn len(&self) -> u64 {
        self.memory.len() as u64
    }

    pub(crate) fn upload(&self, offset: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        self.pass_to_the_devices_stream()?;
        self.memory.upload(offset, bytes)
    }

    pub(crate) fn download(&self, offset: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.pass_to_the_devices_stream()?;
        self.memory.download(offset, bytes)
    }

    /// Makes transfers and freeing, which use the device's own stream, come after every use so far.
    fn pass_to_the_devices_stream(&self) -> Result<(), DeviceError> {
        let stream = self.memory.device().stream();
        if self.belongs_to(stream) {
            return Ok(());
        }
        let _order = self.hardware.0.order.write();
        self.pass_to(stream)
    }

    fn belongs_to(&self, stream: &CudaStream) -> bool {
        self.last_identity.load(Relaxed) == identity(stream)
    }

    /// Lets `stream` wait for the stream that used this last. The order lock is held for writing.
    fn pass_to(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        let mut last = self.last.lock();
        if identity(&last) == identity(stream) {
            return Ok(());
        }
        // An event between a stream that is captured and one that is not would tie the second to the graph.
        if last.is_capturing()? || stream.is_capturing()? {
            return Err(DeviceError::Capturing {
                what: "the first use on this stream of memory that another stream used last",
            });
        }
        let event = CudaEvent::new(self.memory.device())?;
        event.record(&last)?;
        stream.wait(&event)?;
        *last = stream.clone();
        self.last_identity.store(identity(stream), Relaxed);
        Ok(())
    }
}

impl Drop for CudaAllocation {
    fn drop(&mut self) {
        match self.pass_to_the_devices_stream() {
            // SAFETY: the field is not used again. The device's stream, which frees it, comes after every use.
            Ok(()) => unsafe { ManuallyDrop::drop(&mut self.memory) },
            // Its last use may be running yet, so that it cannot be freed: it is lost.
            Err(error) => tracing::warn!(%error, bytes = self.memory.len(), "device memory was not freed"),
        }
    }
}

/// Does something on a stream that uses these allocations, after what other streams were asked to do with them.
pub(crate) fn put_in_order<'a, R, E: From<DeviceError>>(
    hardware: &Hardware,
    stream: &CudaStream,
    used: impl Iterator<Item = &'a CudaAllocation> + Clone,
    put: impl FnOnce() -> Result<R, E>,
) -> Result<R, E> {
    {
        let _order = hardware.0.order.read();
        if used.clone().all(|allocation| allocation.belongs_to(stream)) {
            return put();
        }
    }
    let _order = hardware.0.order.write();
    for allocation in used {
        allocation.pass_to(stream)?;
    }
    put()
}
