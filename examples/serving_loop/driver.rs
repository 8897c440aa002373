//! What the driver alone takes in the same loop: what launches of ours are to be compared with.

#![allow(unsafe_code)] // A launch without anything of ours around it.

use std::error::Error;

use tilewright::prelude::*;
use tilewright::runtime::DeviceError;
use tilewright::runtime::compile::{CompileOptions, compile};
use tilewright::runtime::device::cuda::{self, CudaFunction, CudaModule, CudaStream};

/// Words that are passed, as many as a launch that moves rows has.
const WORDS: usize = 8;

/// An empty kernel, launched as it is.
pub struct Driver {
    function: CudaFunction,
    stream: CudaStream,
    words: [u64; WORDS],
}

impl Driver {
    /// `None` on the CPU device, which has no driver.
    pub fn on(device: &Device) -> Result<Option<Self>, Box<dyn Error>> {
        let stream = device.stream();
        let (Some(gpu), Some(stream)) = (device.as_cuda(), stream.as_cuda()) else {
            return Ok(None);
        };
        let parameters: Vec<_> = (0..WORDS).map(|at| format!("unsigned long long a{at}")).collect();
        let source = format!("extern \"C\" __global__ void empty({}) {{}}", parameters.join(", "));
        let options = CompileOptions::new(gpu.properties().architecture);
        let cubin = compile(&source, "empty", &options)?;
        Ok(Some(Self {
            function: CudaModule::load(gpu, &cubin.bytes)?.function("empty")?,
            stream: stream.clone(),
            words: [0; WORDS],
        }))
    }

    /// Puts the kernel into the device's stream.
    pub fn launch(&mut self) -> Result<(), DeviceError> {
        let mut pointers = self.words.each_mut().map(|word| std::ptr::from_mut(word).cast());
        // SAFETY: there is a pointer for each parameter, to a word of its size, and the kernel touches no memory.
        unsafe { cuda::launch(&self.function, 1, [128, 1, 1], 0, &mut pointers, &self.stream) }
    }
}
