//! Memory of the host that several processes map.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::super::capture;
use super::host::next_address;
use crate::error::DeviceError;

/// A file without a name, as long as it will ever be, mapped into this process.
pub(crate) struct MappedFile {
    file: OwnedFd,
    start: NonNull<c_void>,
    len: usize,
    address: u64,
}

// SAFETY: a mapping is addresses, which every thread may use; who reads or writes there says so itself.
unsafe impl Send for MappedFile {}
// SAFETY: as above.
unsafe impl Sync for MappedFile {}

impl MappedFile {
    /// Memory that holds zeros: at least `bytes`, rounded up to whole pages.
    pub(super) fn new(bytes: usize) -> Result<Arc<Self>, DeviceError> {
        capture::refuse_within("memory that peers reach")?;
        let exhausted = || DeviceError::OutOfHostMemory { asked: bytes };
        let len = bytes.max(1).checked_next_multiple_of(rustix::param::page_size());
        let len = len.filter(|&len| isize::try_from(len).is_ok()).ok_or_else(exhausted)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("tilewright-peers", flags).map_err(failed("memfd_create"))?;
        ftruncate(&file, len as u64).map_err(|_| exhausted())?;
        // Whoever touches a page that somebody has cut off is killed.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).map_err(failed("fcntl"))?;
        Self::map(file, len)
    }

    /// Memory of another process, which has sent its file.
    ///
    /// # Errors
    /// It is no such file, or shorter.
    pub(super) fn import(file: OwnedFd, len: usize) -> Result<Arc<Self>, DeviceError> {
        capture::refuse_within("memory of a peer")?;
        let refused = |reason: &str| DeviceError::SharedMemory {
            call: "the import of a peer's memory",
            reason: reason.to_owned(),
        };
        let seals = fcntl_get_seals(&file).map_err(|_| refused("the file is no memory"))?;
        let found = fstat(&file).map_err(failed("fstat"))?.st_size;
        if !seals.contains(SealFlags::SHRINK) || usize::try_from(found).is_ok_and(|found| found < len) {
            return Err(refused("the memory is shorter than was said, or may become so"));
        }
        Self::map(file, len)
    }

    fn map(file: OwnedFd, len: usize) -> Result<Arc<Self>, DeviceError> {
        // SAFETY: the system chooses where, and the file is as long for ever.
        let mapped = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )
        };
        let start = match mapped {
            Err(Errno::NOMEM) => return Err(DeviceError::OutOfHostMemory { asked: len }),
            other => other.map_err(failed("mmap"))?,
        };
        let start = NonNull::new(start).ok_or(DeviceError::OutOfHostMemory { asked: len })?;
        // The words are used by their addresses.
        start.as_ptr().expose_provenance();
        Ok(Arc::new(Self {
            file,
            start,
            len,
            address: next_address(len),
        }))
    }

    /// Where it is mapped.
    pub(super) fn pointer(&self) -> usize {
        self.start.as_ptr().addr()
    }

    /// Its length in bytes: whole pages.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where it begins in the CPU device's address space, for all in this process that share the mapping.
    pub(super) fn address(&self) -> u64 {
        self.address
    }

    /// The file, for another process.
    pub(super) fn file(&self) -> Result<OwnedFd, DeviceError> {
        self.file.try_clone().map_err(|error| DeviceError::SharedMemory {
            call: "dup",
            reason: error.to_string(),
        })
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: the mapping is owned, and nobody refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr(), self.len) };
    }
}

fn failed(call: &'static str) -> impl Fn(Errno) -> DeviceError {
    move |error| DeviceError::SharedMemory {
        call,
        reason: error.to_string(),
    }
}
