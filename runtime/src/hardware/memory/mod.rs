//! Memory of a device, without types: where a tensor's bytes are.

mod bytes;
mod cuda;
mod host;

use std::any::Any;
use std::sync::Arc;

use tilewright_dsl::call::Memory;

use super::{Engine, Hardware};
use crate::error::DeviceError;

pub(crate) use bytes::{as_bytes, from_bytes};
pub(crate) use cuda::{CudaAllocation, put_in_order};
pub(crate) use host::HostAllocation;

/// An allocation on a device. Clones are the same allocation, which lives as long as the last of them.
#[derive(Clone)]
pub(crate) struct Storage(Arc<Allocation>);

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

    /// The memory of a launch argument as this runtime's own; `None` for that of another runtime.
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

impl Memory for Storage {
    fn as_any(&self) -> &dyn Any {
        self
    }
}
