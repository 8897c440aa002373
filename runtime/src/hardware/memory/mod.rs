//! Memory of a device, without types: where a tensor's bytes are.

#![allow(unsafe_code)]

mod bytes;
mod cuda;
mod host;
mod mapped;
mod shared;

use std::any::Any;
use std::sync::{Arc, Weak};

use tilewright_dsl::call::Memory;

use super::cuda::{CudaStream, Used};
use super::{Engine, Hardware};
use crate::error::DeviceError;

pub(crate) use bytes::{as_bytes, from_bytes};
#[cfg(feature = "nccl")]
pub(crate) use cuda::put_in_order_slowly;
pub(crate) use cuda::{CudaAllocation, InOrder, put_in_order, put_kept_in_order, put_launch_in_order};
pub(crate) use host::HostAllocation;
pub(crate) use shared::SharedMemory;

/// An allocation on a device. Clones are the same allocation, which lives as long as the last of them.
#[derive(Clone)]
pub(crate) struct Storage(Arc<Allocation>);

/// What tells an allocation from all others: as long as it is kept, also from those that come later.
pub(crate) struct StorageId(Weak<Allocation>);

struct Allocation {
    hardware: Hardware,
    place: Place,
}

/// Where the bytes are.
pub(crate) enum Place {
    /// In the host's memory.
    Host(HostAllocation),
    /// In a GPU's.
    Cuda(CudaAllocation),
}

impl Place {
    fn as_cuda(&self) -> Option<&CudaAllocation> {
        match self {
            Self::Host(_) => None,
            Self::Cuda(allocation) => Some(allocation),
        }
    }
}

impl Storage {
    /// Memory that holds zeros.
    pub(crate) fn zeroed(hardware: &Hardware, bytes: usize) -> Result<Self, DeviceError> {
        Self::allocate(hardware, bytes, None)
    }

    /// Memory that holds these bytes.
    pub(crate) fn from_bytes(hardware: &Hardware, bytes: &[u8]) -> Result<Self, DeviceError> {
        Self::allocate(hardware, bytes.len(), Some(bytes))
    }

    fn allocate(hardware: &Hardware, bytes: usize, content: Option<&[u8]>) -> Result<Self, DeviceError> {
        let place = match hardware.engine() {
            Engine::Cpu => Place::Host(HostAllocation::new(bytes, content)?),
            Engine::Cuda(cuda) => Place::Cuda(CudaAllocation::new(hardware.clone(), cuda, bytes, content)?),
        };
        Ok(Self(Arc::new(Allocation {
            hardware: hardware.clone(),
            place,
        })))
    }

    /// This hardware's use of memory that its peers use as well.
    pub(crate) fn shared(hardware: &Hardware, memory: &SharedMemory) -> Result<Self, DeviceError> {
        let place = match (hardware.engine(), memory) {
            (Engine::Cpu, SharedMemory::Host(file)) => Place::Host(HostAllocation::shared(file)),
            (Engine::Cuda(cuda), SharedMemory::Cuda(shared)) => {
                Place::Cuda(CudaAllocation::shared(hardware.clone(), cuda, shared)?)
            }
            (Engine::Cpu, SharedMemory::Cuda(_)) | (Engine::Cuda(_), SharedMemory::Host(_)) => {
                return Err(DeviceError::MixedPeers);
            }
        };
        Ok(Self(Arc::new(Allocation {
            hardware: hardware.clone(),
            place,
        })))
    }

    /// Memory of the host that others own.
    ///
    /// # Safety
    /// The bytes may be read and written until the last clone of this is dropped, and nothing else uses them while a launch or
    /// a transfer does, which end before they return. Only what is launched as mutable is written.
    pub(crate) unsafe fn borrowed_from_host(hardware: &Hardware, address: usize, bytes: usize) -> Self {
        // SAFETY: as the caller promises.
        let place = Place::Host(unsafe { HostAllocation::borrowed(address, bytes) });
        Self(Arc::new(Allocation {
            hardware: hardware.clone(),
            place,
        }))
    }

    /// Memory of a GPU that others own, whose uses `stream` orders.
    ///
    /// # Safety
    /// The bytes are memory of the GPU until what is asked of the stream with the last clone of this has been done, and nothing
    /// uses them that is not ordered with the stream. Only what is launched as mutable is written.
    pub(crate) unsafe fn borrowed_from_cuda(
        hardware: &Hardware,
        stream: &CudaStream,
        address: u64,
        bytes: usize,
    ) -> Result<Self, DeviceError> {
        let cuda = hardware.as_cuda().ok_or(DeviceError::NotCuda {
            what: "memory of a GPU",
        })?;
        // SAFETY: as the caller promises.
        let place = unsafe { CudaAllocation::borrowed(hardware.clone(), cuda, stream, address, bytes) };
        Ok(Self(Arc::new(Allocation {
            hardware: hardware.clone(),
            place: Place::Cuda(place),
        })))
    }

    /// Whether it is others' memory, which clones of this do not keep.
    pub(crate) fn is_borrowed(&self) -> bool {
        match &self.0.place {
            Place::Host(host) => host.is_borrowed(),
            Place::Cuda(cuda) => cuda.is_borrowed(),
        }
    }

    /// What tells it from other memory of the same place: the stream that others order their memory by, or whose use of shared
    /// memory it is; `None` of the runtime's own, and of the host's.
    pub(crate) fn owner(&self) -> Option<usize> {
        self.as_cuda()?.owner()
    }

    pub(crate) fn as_cuda(&self) -> Option<&CudaAllocation> {
        self.0.place.as_cuda()
    }

    /// What tells it from all others. It keeps no memory.
    pub(crate) fn id(&self) -> StorageId {
        StorageId(Arc::downgrade(&self.0))
    }

    /// Whether it is the allocation of a name.
    #[inline]
    pub(crate) fn is(&self, id: &StorageId) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.0), id.0.as_ptr())
    }

    /// As something that a graph keeps.
    pub(crate) fn as_used(&self) -> Used {
        self.0.clone()
    }

    /// The memory among what a graph keeps.
    fn of_used(used: &Used) -> Option<&CudaAllocation> {
        used.downcast_ref::<Allocation>()?.place.as_cuda()
    }

    /// The memory of a launch argument as this runtime's own; `None` for that of another runtime.
    #[inline]
    pub(crate) fn of(memory: &dyn Memory) -> Option<&Self> {
        memory.as_any().downcast_ref()
    }

    pub(crate) fn hardware(&self) -> &Hardware {
        &self.0.hardware
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    /// Where it begins in its device's address space: what alignment and overlap are judged by.
    pub(crate) fn address(&self) -> u64 {
        match &self.0.place {
            Place::Host(host) => host.address(),
            Place::Cuda(cuda) => cuda.address(),
        }
    }

    /// Where its bytes are for others, who know nothing of made-up addresses.
    pub(crate) fn pointer(&self) -> u64 {
        match &self.0.place {
            Place::Host(host) => host.memory().as_ptr().expose_provenance() as u64,
            Place::Cuda(cuda) => cuda.address(),
        }
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match &self.0.place {
            Place::Host(host) => host.len(),
            Place::Cuda(cuda) => cuda.len(),
        }
    }

    /// Writes bytes at an offset and waits until they are there.
    pub(crate) fn upload(&self, offset: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        match &self.0.place {
            Place::Host(host) => host.upload(offset, bytes),
            Place::Cuda(cuda) => cuda.upload(offset, bytes),
        }
    }

    /// Reads bytes from an offset once everything asked of the memory before is done.
    pub(crate) fn download(&self, offset: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        match &self.0.place {
            Place::Host(host) => host.download(offset, bytes),
            Place::Cuda(cuda) => cuda.download(offset, bytes),
        }
    }
}

/// An error if memory is to go into a graph that is only borrowed, unless that is allowed.
pub(crate) fn refuse_borrowed<'a>(
    is_allowed: bool,
    mut used: impl Iterator<Item = &'a Storage>,
) -> Result<(), DeviceError> {
    match !is_allowed && used.any(Storage::is_borrowed) {
        true => Err(DeviceError::BorrowedInGraph),
        false => Ok(()),
    }
}

impl Memory for Storage {
    fn as_any(&self) -> &dyn Any {
        self
    }
}
