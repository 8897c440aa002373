//! Words that kernels read and nothing writes again.

#![allow(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use cudarc::driver::result;

use super::{
    CudaDevice, CudaEvent, CudaMemory, CudaStream,
    driver::{self, During},
};
use crate::error::DeviceError;

/// Words in a GPU's memory, copied there beside whatever else the GPU does, also while streams are captured. Whoever lets a
/// kernel read them keeps them until the kernel is done.
pub struct CudaTable {
    memory: CudaMemory,
    /// What is copied from: until it has been, the words stay here.
    words: Arc<[u64]>,
    copied: CudaEvent,
    /// Whether the copy is known to be done.
    there: AtomicBool,
}

impl CudaTable {
    /// A handle of the device whose stream nothing else uses, for [`CudaTable::new`].
    pub fn beside(device: &CudaDevice) -> Result<CudaDevice, DeviceError> {
        driver::beside_captures(|| CudaDevice::of(device.context()))
    }

    /// A copy of the words, made by the stream of `beside`: it waits for nothing and is in nobody's graph.
    pub fn new(beside: &CudaDevice, words: Arc<[u64]>) -> Result<Self, DeviceError> {
        driver::beside_captures(|| {
            let table = Self {
                memory: CudaMemory::new(beside, size_of_val(&*words))?,
                words,
                copied: CudaEvent::new(beside)?,
                there: AtomicBool::new(false),
            };
            let (address, stream) = (table.memory.address(), beside.stream());
            // SAFETY: the memory is as long as the words, and dropping the table waits for the copy before either goes.
            unsafe { result::memcpy_htod_async(address, &table.words, stream.raw()) }.during("cuMemcpyHtoDAsync")?;
            table.copied.record(stream)?;
            Ok(table)
        })
    }

    /// Where they are in the device's address space.
    pub fn address(&self) -> u64 {
        self.memory.address()
    }

    /// Lets what is asked of a stream from now on find the words. Only where the stream is captured this waits, for the copy
    /// alone: a graph cannot wait for what is not part of it.
    pub fn reach(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        if self.there.load(Relaxed) {
            return Ok(());
        }
        if !driver::beside_captures(|| self.copied.is_passed())? {
            if !stream.is_capturing()? {
                return stream.wait(&self.copied);
            }
            return self.wait();
        }
        self.there.store(true, Relaxed);
        Ok(())
    }

    /// Waits until the words are there for every stream.
    pub fn wait(&self) -> Result<(), DeviceError> {
        if !self.there.load(Relaxed) {
            driver::beside_captures(|| self.copied.synchronize())?;
            self.there.store(true, Relaxed);
        }
        Ok(())
    }

    /// Lets freeing the words wait for all that a stream was asked so far. It must not be captured.
    pub fn outlive(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        self.memory.stream().follow(self.memory.device(), stream)
    }
}

impl Drop for CudaTable {
    fn drop(&mut self) {
        if !self.there.load(Relaxed)
            && let Err(error) = driver::beside_captures(|| self.copied.synchronize())
        {
            // Whether the copy still reads the words is not known: they stay.
            tracing::debug!(%error, "the copy of a table was not waited for");
            std::mem::forget(self.words.clone());
        }
    }
}
