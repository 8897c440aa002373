//! A kernel without anything of ours around it.

#![allow(unsafe_code)] // The driver's own calls.

use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::ptr::null_mut;

use std::sync::Arc;

use tilewright::prelude::*;
use tilewright::runtime::compile::{CompileOptions, compile};
use tilewright::runtime::device::cuda::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, LaunchConfig, PushKernelArg, result, sys,
};
use tilewright::runtime::device::cuda::cudarc::nvrtc::Ptx;

/// An empty kernel of so many words as arguments.
pub struct RawKernel {
    function: sys::CUfunction,
    /// None of the device: of a stream whose handle others have, its launches ask whether it is captured.
    stream: Arc<CudaStream>,
    words: Vec<Cell<u64>>,
    /// To each of them.
    pointers: Vec<*mut c_void>,
}

fn cubin(device: &Device, words: usize) -> Vec<u8> {
    let gpu = device.as_cuda().expect("a GPU");
    let parameters: Vec<_> = (0..words).map(|at| format!("unsigned long long a{at}")).collect();
    let source = format!("extern \"C\" __global__ void empty({}) {{}}", parameters.join(", "));
    let options = CompileOptions::new(gpu.properties().architecture);
    compile(&source, "empty", &options).expect("a cubin").bytes.to_vec()
}

/// The same by the launch builder of cudarc: slices, and a count behind them.
pub struct CudarcKernel {
    stream: Arc<CudaStream>,
    function: CudaFunction,
    slices: Vec<CudaSlice<i32>>,
}

impl CudarcKernel {
    pub fn new(device: &Device, words: usize) -> Self {
        let gpu = device.as_cuda().expect("a GPU");
        let context = gpu.context();
        let module = context
            .load_module(Ptx::from_binary(cubin(device, words)))
            .expect("a module");
        let stream = context.new_stream().expect("a stream");
        Self {
            function: module.load_function("empty").expect("a function"),
            slices: (1..words).map(|_| stream.alloc_zeros(8).expect("memory")).collect(),
            stream,
        }
    }

    pub fn launch(&mut self, count: u64) {
        let config = LaunchConfig {
            grid_dim: (1, 1, 1),
            block_dim: (128, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut builder = self.stream.launch_builder(&self.function);
        self.slices.iter().for_each(|slice| {
            builder.arg(slice);
        });
        builder.arg(&count);
        // SAFETY: there is an argument for each parameter, of its size, and the kernel touches no memory.
        unsafe { builder.launch(config) }.expect("a launch");
    }
}

impl RawKernel {
    pub fn new(device: &Device, words: usize) -> Self {
        let cubin = cubin(device, words);
        // The driver reads an image that is aligned.
        let mut image = vec![0u64; cubin.len().div_ceil(8)];
        let bytes = image.iter_mut().zip(cubin.chunks(8));
        bytes.for_each(|(word, bytes)| {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(eight);
        });
        device.synchronize().expect("the context is current");
        // SAFETY: the image is a whole cubin for this GPU. The module is never unloaded.
        let function = unsafe {
            let module = result::module::load_data(image.as_ptr().cast()).expect("a module");
            result::module::get_function(module, CString::new("empty").expect("a name")).expect("a function")
        };
        let words = vec![Cell::new(0); words];
        Self {
            function,
            stream: device
                .as_cuda()
                .expect("a GPU")
                .context()
                .new_stream()
                .expect("a stream"),
            pointers: words.iter().map(|word| word.as_ptr().cast()).collect(),
            words,
        }
    }

    pub fn launch(&mut self, count: u64) {
        if let Some(last) = self.words.last() {
            last.set(count);
        }
        // SAFETY: there is a pointer for each parameter, to a word of its size, and the kernel touches no memory.
        let status = unsafe {
            sys::cuLaunchKernel(
                self.function,
                1,
                1,
                1,
                128,
                1,
                1,
                0,
                self.stream.cu_stream(),
                self.pointers.as_mut_ptr(),
                null_mut(),
            )
        };
        status.result().expect("a launch");
    }
}
