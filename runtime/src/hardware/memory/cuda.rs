//! Memory of a GPU, ordered between streams.
//!
//! All uses of an allocation form one chain: it belongs to the stream that used it last, and before another stream uses
//! it, that stream waits for the one it belongs to. So safe code cannot race two streams on one buffer, and freeing, which
//! the device's own stream does, comes after every use. Buffers that only one stream uses cost one comparison per launch.
//!
//! Memory that others own belongs to the stream that its owner orders it by: a use on another stream is followed by passing it
//! back at once, so that its owner never has to wait for anything but that stream.
//!
//! Memory that peers reach has a chain for each rank, of what that rank's device was asked to do with it. What peers do to it is
//! ordered by what kernels store and wait for, and by nothing here: a stream that waited for a peer's would wait for ever where
//! the peer's kernel waits for one behind it.
//!
//! What is captured into a graph that owns it is put in order when the graph is launched.

#![allow(unsafe_code)]

#[cfg(feature = "nccl")]
use std::iter;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[cfg(feature = "nccl")]
use parking_lot::RwLockReadGuard;
use parking_lot::{MappedMutexGuard, RwLock};

use super::super::Hardware;
use super::super::capture::PlaceInGraph;
use super::super::cuda::{Captured, CudaDevice, CudaEvent, CudaMemory, CudaShared, CudaStream, Kept, Used};
use super::{Storage, refuse_borrowed};
use crate::error::DeviceError;

/// An allocation of a GPU.
pub(crate) struct CudaAllocation {
    hardware: Hardware,
    /// Dropped by `drop` alone.
    memory: ManuallyDrop<CudaMemory>,
    /// The stream that used it last. Changed under the hardware's order lock held for writing; held while something comes into
    /// that stream that takes its time.
    last: RwLock<CudaStream>,
    /// What tells that stream from others.
    last_identity: AtomicUsize,
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
        Ok(Self::of(hardware, memory))
    }

    /// Memory that others own, whose uses `stream` orders.
    ///
    /// # Safety
    /// As for [`CudaMemory::borrowed`].
    pub(super) unsafe fn borrowed(
        hardware: Hardware,
        cuda: &CudaDevice,
        stream: &CudaStream,
        address: u64,
        bytes: usize,
    ) -> Self {
        // It may lie where other memory lay that belonged to another stream.
        hardware.0.moves.fetch_add(1, Relaxed);
        // SAFETY: as the caller promises.
        Self::of(hardware, unsafe { CudaMemory::borrowed(cuda, stream, address, bytes) })
    }

    /// This hardware's use of memory that others use as well, which nothing here orders with theirs.
    pub(super) fn shared(hardware: Hardware, cuda: &CudaDevice, memory: &Arc<CudaShared>) -> Result<Self, DeviceError> {
        // As for memory that others own.
        hardware.0.moves.fetch_add(1, Relaxed);
        Ok(Self::of(hardware, CudaMemory::shared(cuda, memory.clone())?))
    }

    fn of(hardware: Hardware, memory: CudaMemory) -> Self {
        let last = memory.stream().clone();
        Self {
            hardware,
            memory: ManuallyDrop::new(memory),
            last_identity: last.identity().into(),
            last: last.into(),
        }
    }

    pub(crate) fn address(&self) -> u64 {
        self.memory.address()
    }

    pub(super) fn len(&self) -> u64 {
        self.memory.len() as u64
    }

    pub(crate) fn upload(&self, offset: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        self.pass_home()?;
        self.memory.upload(offset, bytes)
    }

    pub(crate) fn download(&self, offset: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.pass_home()?;
        self.memory.download(offset, bytes)
    }

    pub(super) fn is_borrowed(&self) -> bool {
        self.memory.is_borrowed()
    }

    /// What tells this from other uses of the same place, if there can be any: the stream that others order their memory by, or
    /// which of the ranks that share a device it is.
    pub(super) fn owner(&self) -> Option<usize> {
        match self.memory.is_shared() {
            true => Some(std::ptr::from_ref(self).addr()),
            false => self.is_borrowed().then(|| self.memory.stream().identity()),
        }
    }

    /// Makes transfers and freeing, which use the memory's own stream, come after every use so far.
    fn pass_home(&self) -> Result<(), DeviceError> {
        let stream = self.memory.stream();
        if self.belongs_to(stream) {
            return Ok(());
        }
        self.settle();
        let _order = self.hardware.0.order.write();
        self.pass_to(stream)
    }

    fn belongs_to(&self, stream: &CudaStream) -> bool {
        self.last_identity.load(Relaxed) == stream.identity()
    }

    /// Makes this belong to `stream` until what is returned is dropped.
    #[cfg(feature = "nccl")]
    fn hold(&self, hardware: &Hardware, stream: &CudaStream) -> Result<RwLockReadGuard<'_, CudaStream>, DeviceError> {
        loop {
            let last = self.last.read();
            if last.identity() == stream.identity() {
                return Ok(last);
            }
            drop(last);
            let _order = hardware.0.order.write();
            self.pass_to(stream)?;
        }
    }

    /// Waits until nothing is on its way into the stream that this belongs to, for whoever takes the order lock afterwards: it
    /// is not to be held meanwhile.
    fn settle(&self) {
        drop(self.last.write());
    }

    /// Lets `stream` wait for the stream that used this last. The order lock is held for writing.
    fn pass_to(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        let mut last = self.last.write();
        if last.identity() == stream.identity() {
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
        self.hardware.0.moves.fetch_add(1, Relaxed);
        *last = stream.clone();
        self.last_identity.store(stream.identity(), Relaxed);
        Ok(())
    }
}

impl Drop for CudaAllocation {
    fn drop(&mut self) {
        match self.pass_home() {
            // SAFETY: the field is not used again. The device's stream, which frees it, comes after every use.
            Ok(()) => unsafe { ManuallyDrop::drop(&mut self.memory) },
            // Its last use may be running yet, so that it cannot be freed: it is lost.
            Err(error) => tracing::warn!(%error, bytes = self.memory.len(), "device memory was not freed"),
        }
    }
}

/// That some memory belonged to a stream, and how much had moved by then: as long as nothing else moves, it still does, and so
/// does other memory of the same places and owners.
#[derive(Default)]
pub(crate) struct InOrder(Option<(usize, u64)>);

impl InOrder {
    /// Of memory that was not looked at.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

/// Does something on a stream that uses this memory, after what other streams were asked to do with it.
pub(crate) fn put_in_order<'a, R, E: From<DeviceError>>(
    hardware: &Hardware,
    stream: &CudaStream,
    used: impl Iterator<Item = &'a Storage> + Clone,
    put: impl FnOnce() -> Result<R, E>,
) -> Result<R, E> {
    if let Some((_, mut open)) = in_capture(stream, || used.clone())? {
        open.keep(used.map(Storage::as_used));
        return put();
    }
    put_allocations_in_order(hardware, stream, used.filter_map(Storage::as_cuda), put)
}

/// As [`put_in_order`], of a kernel's launch. `known` is of the same memory, which lives. Returns where the launch is in a graph
/// that owns what it uses.
#[inline]
pub(crate) fn put_launch_in_order<'a, I: Iterator<Item = &'a Storage> + Clone, E: From<DeviceError>>(
    hardware: &Hardware,
    stream: &CudaStream,
    used: impl Fn() -> I,
    known: Option<&mut InOrder>,
    put: impl FnOnce() -> Result<(), E>,
) -> Result<Option<PlaceInGraph>, E> {
    if let Some((kept, mut open)) = in_capture(stream, &used)? {
        put()?;
        open.add(stream, used().map(Storage::as_used));
        return Ok(kept.last(&open));
    }
    if let Some(InOrder(known)) = known {
        let _order = hardware.0.order.read();
        let now = Some((stream.identity(), hardware.0.moves.load(Relaxed)));
        if *known == now {
            return put().map(|()| None);
        }
        let belongs = |storage: &Storage| storage.as_cuda().is_none_or(|allocation| allocation.belongs_to(stream));
        if used().all(belongs) {
            // What another device allocated, that one moves.
            *known = now.filter(|_| used().all(|storage| storage.hardware().is(hardware)));
            return put().map(|()| None);
        }
    }
    put_allocations_in_order(hardware, stream, used().filter_map(Storage::as_cuda), put)?;
    Ok(None)
}

/// Does something as [`put_in_order`] does, with one allocation, that takes its time before it is in the stream. Meanwhile
/// everything else finds its order; only other streams that want the same allocation wait.
#[cfg(feature = "nccl")]
pub(crate) fn put_in_order_slowly<R, E: From<DeviceError>>(
    hardware: &Hardware,
    stream: &CudaStream,
    used: &Storage,
    put: impl FnOnce() -> Result<R, E>,
) -> Result<R, E> {
    if let Some((_, mut open)) = in_capture(stream, || iter::once(used))? {
        open.keep(iter::once(used.as_used()));
        return put();
    }
    let Some(allocation) = used.as_cuda() else {
        return put();
    };
    let held = allocation.hold(hardware, stream)?;
    let result = put();
    drop(held);
    if allocation.is_borrowed() {
        let _order = hardware.0.order.write();
        allocation.pass_to(allocation.memory.stream())?;
    }
    result
}

/// What a graph keeps, if the stream is being captured into one that owns what it uses. The capture goes on at least as long as what
/// is returned.
#[inline]
fn in_capture<'s, 'a, I: Iterator<Item = &'a Storage>>(
    stream: &'s CudaStream,
    used: impl FnOnce() -> I,
) -> Result<Option<(&'s Kept, MappedMutexGuard<'s, Captured>)>, DeviceError> {
    let Some(kept) = stream.kept() else { return Ok(None) };
    let Some(open) = kept.open() else { return Ok(None) };
    refuse_borrowed(kept.allows_borrowing(), used())?;
    Ok(Some((kept, open)))
}

fn put_allocations_in_order<'a, R, E: From<DeviceError>>(
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
    used.clone().for_each(CudaAllocation::settle);
    let _order = hardware.0.order.write();
    for allocation in used.clone() {
        allocation.pass_to(stream)?;
    }
    let result = put();
    for allocation in used.filter(|allocation| allocation.is_borrowed()) {
        allocation.pass_to(allocation.memory.stream())?;
    }
    result
}

/// Does something on a stream that uses what a graph keeps, as [`put_in_order`] does.
pub(crate) fn put_kept_in_order<R>(
    hardware: &Hardware,
    stream: &CudaStream,
    kept: &[Used],
    put: impl FnOnce() -> Result<R, DeviceError>,
) -> Result<R, DeviceError> {
    let allocations = kept.iter().filter_map(|used| Storage::of_used(used));
    put_allocations_in_order(hardware, stream, allocations, put)
}
