//! Memory of the CPU device.

#![allow(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use tilewright_dsl::interpret::HostMemory;

use super::super::capture;
use super::mapped::MappedFile;
use crate::error::DeviceError;

/// Every allocation begins at a multiple of this in the CPU device's address space, as a GPU's does.
const ALIGNMENT: u64 = 256;

/// Where the next allocation begins. The addresses are made up, so that alignment and overlap are judged as on a GPU
/// whatever the host's allocator does.
static NEXT: AtomicU64 = AtomicU64::new(ALIGNMENT);

/// Where an allocation of so many bytes is to begin.
pub(super) fn next_address(len: usize) -> u64 {
    // One more unit, so that an empty allocation has an address of its own too.
    NEXT.fetch_add((len as u64 / ALIGNMENT + 1) * ALIGNMENT, Relaxed)
}

const WORD: usize = size_of::<u64>();

/// So many of a type from an address on.
///
/// # Safety
/// They are there, aligned and initialised, as long as what is returned is used; none may be at no address.
unsafe fn part<T>(address: usize, count: usize) -> &'static [T] {
    match count {
        0 => &[],
        // SAFETY: as the caller promises.
        _ => unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(address), count) },
    }
}

/// An allocation of the CPU device.
pub(crate) struct HostAllocation {
    memory: HostMemory,
    address: u64,
    is_borrowed: bool,
    /// What keeps the memory that is shared. Dropped after it.
    _shared: Option<Arc<MappedFile>>,
}

impl HostAllocation {
    pub(super) fn new(len: usize, content: Option<&[u8]>) -> Result<Self, DeviceError> {
        capture::refuse_within("device memory")?;
        let memory = match content {
            Some(content) => HostMemory::from_bytes(content),
            None => HostMemory::zeroed(len as u64),
        };
        let memory = memory.map_err(|_| DeviceError::OutOfHostMemory { asked: len })?;
        let address = next_address(len);
        Ok(Self {
            memory,
            address,
            is_borrowed: false,
            _shared: None,
        })
    }

    /// Memory that others own, at its own address, by which it is seen that two tensors over it overlap.
    ///
    /// # Safety
    /// As for [`Storage::borrowed_from_host`](super::Storage::borrowed_from_host).
    pub(super) unsafe fn borrowed(address: usize, len: usize) -> Self {
        // Where the first whole word begins, which the bytes may end before.
        let head = address.wrapping_neg() % WORD;
        let (head, words, tail) = match len.checked_sub(head) {
            Some(rest) => (head, rest / WORD, rest % WORD),
            None => (len, 0, 0),
        };
        let words_at = address + head;
        // SAFETY: the parts lie in the bytes, one behind the other, and the words at a multiple of a word. The caller promises
        // that the bytes are there until this is dropped; while they are used only atomics use them.
        let memory = unsafe {
            HostMemory::over(
                part::<AtomicU8>(address, head),
                part::<AtomicU64>(words_at, words),
                part::<AtomicU8>(words_at + words * WORD, tail),
            )
        };
        Self {
            memory,
            address: address as u64,
            is_borrowed: true,
            _shared: None,
        }
    }

    /// Memory that others use as well, at one address for all of them in this process.
    pub(super) fn shared(file: &Arc<MappedFile>) -> Self {
        // SAFETY: a mapping begins at a page and is whole pages; it is kept beside what refers to it, and nothing but atomics
        // uses it, in whatever process.
        let words = unsafe { part::<AtomicU64>(file.pointer(), file.len() / WORD) };
        Self {
            memory: HostMemory::over(&[], words, &[]),
            address: file.address(),
            is_borrowed: false,
            _shared: Some(file.clone()),
        }
    }

    pub(super) fn is_borrowed(&self) -> bool {
        self.is_borrowed
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
        capture::refuse_within("an upload")?;
        self.memory
            .write(offset as u64, bytes)
            .map_err(|_| self.out_of_range("an upload", offset, bytes.len()))
    }

    pub(super) fn download(&self, offset: usize, bytes: &mut [u8]) -> Result<(), DeviceError> {
        capture::refuse_within("a download")?;
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
