//! Memory of the CPU device.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tilewright_dsl::interpret::HostMemory;

use crate::error::DeviceError;

/// Every allocation begins at a multiple of this in the CPU device's address space, as a GPU's does.
const ALIGNMENT: u64 = 256;

/// Where the next allocation begins. The addresses are made up, so that alignment and overlap are judged as on a GPU
/// whatever the host's allocator does.
static NEXT: AtomicU64 = AtomicU64::new(ALIGNMENT);

/// An allocation of the CPU device.
pub(crate) struct HostAllocation {
    memory: HostMemory,
    address: u64,
}

impl HostAllocation {
    pub(super) fn new(len: usize, content: Option<&[u8]>) -> Result<Self, DeviceError> {
        let memory = match content {
            Some(content) => HostMemory::from_bytes(content),
            None => HostMemory::zeroed(len as u64),
        };
        let memory = memory.map_err(|_| DeviceError::OutOfHostMemory { asked: len })?;
        // One more unit, so that an empty allocation has an address of its own too.
        let address = NEXT.fetch_add((len as u64 / ALIGNMENT + 1) * ALIGNMENT, Relaxed);
        Ok(Self { memory, address })
    }

    pub(crate) fn memory(&self) -> &HostMemory {
        &self.memory
    }

    pub(super) fn len(&self) -> u64 {
        self.memory.len()
    }

    pub(super) fn address(&self) -> u64 {
        self.address
    }

    pub(super) fn upload(&self, offset: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        self.memory
            .write(offset as u64, bytes)
            .map_err(|_| self.out_of_range("an upload", offset, bytes.len()))
    }

    pub(super) fn download(&self, offset: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let length = bytes.len();
        self.memory
            .read(offset as u64, bytes)
            .map_err(|_| self.out_of_range("a download", offset, length))
    }

    fn out_of_range(&self, what: &'static str, offset: usize, bytes: usize) -> DeviceError {
        DeviceError::OutOfRange {
            what,
            offset,
            bytes,
            length: self.len() as usize,
        }
    }
}
