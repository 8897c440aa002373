//! The one call of the hot path, in two forms.

#![allow(unsafe_code)]

use std::{ffi::c_void, ptr};

use cudarc::driver::{
    DriverError,
    sys::{self, CUresult},
};

use super::{CudaFunction, CudaStream, driver::During};
use crate::error::DeviceError;

/// Puts a kernel into a stream: one driver call, nothing on the heap, no lock. A grid of zero blocks does nothing.
///
/// `args` points to the value of each parameter; the values are copied by the call.
///
/// # Safety
///
/// * There is a pointer for each parameter of the kernel, in order, to a value of the parameter's size and alignment.
/// * Every address among the values is valid for what the kernel does there until it has run: memory is neither dropped
///   before, unless the device's own stream waits for this one, nor written by another stream meanwhile.
/// * The kernel itself stays within the memory it is given.
#[inline]
pub unsafe fn launch(
    function: &CudaFunction,
    grid: u32,
    block: [u32; 3],
    shared_bytes: u32,
    args: &mut [*mut c_void],
    stream: &CudaStream,
) -> Result<(), DeviceError> {
    if grid == 0 {
        return Ok(());
    }
    let [x, y, z] = block;
    let (handle, args) = (stream.raw(), args.as_mut_ptr());
    let put = || {
        // SAFETY: function and stream are alive while they are borrowed; the rest is the caller's promise.
        unsafe {
            sys::cuLaunchKernel(
                function.raw(),
                grid,
                1,
                1,
                x,
                y,
                z,
                shared_bytes,
                handle,
                args,
                ptr::null_mut(),
            )
        }
        .result()
    };
    if stream.names_its_context() {
        match put() {
            // Another context is current in this thread, or none.
            Err(DriverError(CUresult::CUDA_ERROR_INVALID_CONTEXT | CUresult::CUDA_ERROR_INVALID_HANDLE)) => {}
            other => return other.during("cuLaunchKernel"),
        }
    }
    stream.bind()?;
    put().during("cuLaunchKernel")
}

/// As [`launch`], of a kernel that may begin once all blocks of the kernel before it in the stream have triggered or ended.
/// Where the driver and the GPU [cannot do that](super::CudaProperties::overlapping_launches), it is the same.
///
/// # Safety
///
/// As for [`launch`]; and every thread of the kernel waits for the grids before its own (`griddepcontrol.wait`) before it
/// accesses memory.
pub unsafe fn launch_overlapping(
    function: &CudaFunction,
    grid: u32,
    block: [u32; 3],
    shared_bytes: u32,
    args: &mut [*mut c_void],
    stream: &CudaStream,
) -> Result<(), DeviceError> {
    if grid == 0 || !function.device().properties().overlapping_launches {
        // SAFETY: the caller's promise is a stronger one.
        return unsafe { launch(function, grid, block, shared_bytes, args, stream) };
    }
    stream.bind()?;
    let mut value = sys::CUlaunchAttributeValue { pad: [0; 64] };
    value.programmaticStreamSerializationAllowed = 1;
    let mut attribute = sys::CUlaunchAttribute {
        id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        pad: [0; 4],
        value,
    };
    let [x, y, z] = block;
    let config = sys::CUlaunchConfig {
        gridDimX: grid,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: x,
        blockDimY: y,
        blockDimZ: z,
        sharedMemBytes: shared_bytes,
        hStream: stream.raw(),
        attrs: &mut attribute,
        numAttrs: 1,
    };
    // SAFETY: the configuration and its one attribute are read during the call; function and stream are alive while they
    // are borrowed; the rest is the caller's promise.
    unsafe { sys::cuLaunchKernelEx(&config, function.raw(), args.as_mut_ptr(), ptr::null_mut()) }
        .result()
        .during("cuLaunchKernelEx")
}
