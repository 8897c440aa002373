//! Words of the host's memory that a GPU writes and the host reads at any time, without asking the driver.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use cudarc::driver::{result, sys};

use super::{
    CudaDevice,
    driver::{self, During},
};
use crate::error::DeviceError;

/// `N` words, zero at first. Whoever lets a kernel write them keeps them until the kernel is done.
#[derive(Debug)]
pub struct MappedWords<const N: usize> {
    device: CudaDevice,
    words: NonNull<[AtomicU64; N]>,
    address: u64,
}

// SAFETY: the words are atomic, and the driver may free them from any thread.
unsafe impl<const N: usize> Send for MappedWords<N> {}
// SAFETY: the words are atomic.
unsafe impl<const N: usize> Sync for MappedWords<N> {}

impl<const N: usize> MappedWords<N> {
    /// New words that all hold zero.
    pub fn new(device: &CudaDevice) -> Result<Self, DeviceError> {
        device.bind()?;
        driver::beside_captures(|| {
            let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
            // SAFETY: the context is current; what is returned is owned by the caller.
            let host = unsafe { result::malloc_host(size_of::<[AtomicU64; N]>(), flags) }.during("cuMemHostAlloc")?;
            let Some(words) = NonNull::new(host.cast::<[AtomicU64; N]>()) else {
                return Err(DeviceError::OutOfMemory {
                    asked: size_of::<[AtomicU64; N]>(),
                    free: 0,
                    total: 0,
                });
            };
            // SAFETY: the allocation is as large as the words, begins at a page, and nothing else refers to it yet.
            unsafe { words.write([const { AtomicU64::new(0) }; N]) };
            let mut address = 0;
            // SAFETY: the pointer is that of the allocation, which is mapped.
            let found = unsafe { sys::cuMemHostGetDevicePointer_v2(&raw mut address, host, 0) };
            let words = Self {
                device: device.clone(),
                words,
                address,
            };
            found.result().during("cuMemHostGetDevicePointer")?;
            Ok(words)
        })
    }

    /// Where the GPU finds them.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64; N] {
        // SAFETY: the allocation is initialised and lives as long as this. The GPU writes whole aligned words.
        unsafe { self.words.as_ref() }
    }
}

impl<const N: usize> Drop for MappedWords<N> {
    fn drop(&mut self) {
        let free = || {
            self.device.bind()?;
            driver::beside_captures(|| {
                // SAFETY: it was allocated by `new`, and nothing refers to it any more.
                unsafe { result::free_host(self.words.as_ptr().cast()) }.during("cuMemFreeHost")
            })
        };
        if let Err(error) = free() {
            tracing::debug!(%error, "mapped memory was not freed");
        }
    }
}
