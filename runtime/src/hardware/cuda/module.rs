//! Cubins and texts of PTX on a device, and their kernels.

#![allow(unsafe_code)]

use std::{ffi::CString, sync::Arc};

use cudarc::driver::{
    DriverError, result,
    sys::{self, CUfunction, CUfunction_attribute, CUmodule, CUresult},
};

use super::super::capture;
use super::{
    CudaDevice, assemble,
    driver::{self, During},
};
use crate::{compile, error::DeviceError};

/// A cubin, or what the driver made of PTX, loaded on a device. It is unloaded when it and the functions taken from it are dropped.
#[derive(Clone, Debug)]
pub struct CudaModule(Arc<Loaded>);

#[derive(Debug)]
struct Loaded {
    device: CudaDevice,
    module: CUmodule,
}

// SAFETY: a module is an identifier within its context, and the driver may be called with it from any thread.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl CudaModule {
    /// Loads a cubin. It breaks no capture that goes on on other threads.
    ///
    /// # Errors
    /// The bytes are no cubin for the device, or this thread captures a graph: loading may wait for the device.
    pub fn load(device: &CudaDevice, cubin: &[u8]) -> Result<Self, DeviceError> {
        capture::refuse_within("loading a kernel")?;
        compile::check_cubin(cubin)?;
        let mut aligned = Vec::new();
        let cubin = aligned_image(cubin, &mut aligned);
        device.bind()?;
        driver::beside_captures(|| {
            // SAFETY: every part that the header of the image speaks of lies in the image.
            let module = unsafe { result::module::load_data(cubin.as_ptr().cast()) }.during("cuModuleLoadData")?;
            Ok(Self(Arc::new(Loaded {
                device: device.clone(),
                module,
            })))
        })
    }

    /// Lets the driver assemble a text of PTX, and loads that. It breaks no capture that goes on on other threads.
    ///
    /// # Errors
    /// The driver refuses the text, or this thread captures a graph.
    pub fn load_ptx(device: &CudaDevice, text: &str) -> Result<Self, DeviceError> {
        capture::refuse_within("loading a kernel")?;
        Self::load(device, &assemble(device, text)?)
    }

    /// The kernel of a name.
    pub fn function(&self, name: &str) -> Result<CudaFunction, DeviceError> {
        let missing = || DeviceError::NoSuchFunction { name: name.to_owned() };
        let text = CString::new(name).map_err(|_| missing())?;
        self.0.device.bind()?;
        // SAFETY: the module is loaded.
        match unsafe { result::module::get_function(self.0.module, text) } {
            Ok(function) => Ok(CudaFunction {
                function,
                module: self.clone(),
            }),
            Err(DriverError(CUresult::CUDA_ERROR_NOT_FOUND)) => Err(missing()),
            Err(error) => Err(error).during("cuModuleGetFunction"),
        }
    }

    /// The device it is loaded on.
    pub fn device(&self) -> &CudaDevice {
        &self.0.device
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let unload = || {
            self.device.bind()?;
            driver::beside_captures(|| {
                // SAFETY: nothing refers to the module any more; the driver waits for kernels of it that still run.
                unsafe { result::module::unload(self.module) }.during("cuModuleUnload")
            })
        };
        if let Err(error) = unload() {
            tracing::debug!(%error, "a module was not unloaded");
        }
    }
}

/// A kernel of a loaded module, which it keeps loaded. Clones are the same kernel.
#[derive(Clone, Debug)]
pub struct CudaFunction {
    function: CUfunction,
    module: CudaModule,
}

// SAFETY: a function is an identifier within its module, and the driver may be called with it from any thread.
unsafe impl Send for CudaFunction {}
// SAFETY: as above.
unsafe impl Sync for CudaFunction {}

impl CudaFunction {
    /// The device it runs on.
    pub fn device(&self) -> &CudaDevice {
        self.module.device()
    }

    /// Lets its launches ask for more shared memory than every block may have, up to the device's opt-in limit.
    pub fn allow_shared(&self, bytes: u32) -> Result<(), DeviceError> {
        self.device().bind()?;
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        // SAFETY: the function's module is loaded.
        unsafe { sys::cuFuncSetAttribute(self.function, attribute, bytes) }
            .result()
            .during("cuFuncSetAttribute")
    }

    /// What it takes of a multiprocessor, as the driver says.
    pub fn resources(&self) -> Result<compile::Resources, DeviceError> {
        self.device().bind()?;
        let read = |attribute| {
            // SAFETY: the function's module is loaded.
            let value = unsafe { result::function::get_function_attribute(self.function, attribute) };
            value.during("cuFuncGetAttribute").map(i32::unsigned_abs)
        };
        Ok(compile::Resources {
            registers: read(CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
            stack_bytes: read(CUfunction_attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
            shared_bytes: read(CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
        })
    }

    /// How many blocks of so many threads, which ask for so many bytes of shared memory, a multiprocessor holds at once, as the
    /// driver says.
    pub fn blocks_at_once(&self, threads: u32, dynamic_shared: u32) -> Result<u32, DeviceError> {
        self.device().bind()?;
        let (threads, shared) = (i32::try_from(threads).unwrap_or(i32::MAX), dynamic_shared as usize);
        // SAFETY: the function's module is loaded.
        let found = unsafe { result::occupancy::max_active_block_per_multiprocessor(self.function, threads, shared) };
        let found = found.during("cuOccupancyMaxActiveBlocksPerMultiprocessor")?;
        Ok(found.unsigned_abs())
    }

    pub(super) fn raw(&self) -> CUfunction {
        self.function
    }
}

/// The image where the driver may read whole words of it: in place, or copied.
fn aligned_image<'a>(image: &'a [u8], copy: &'a mut Vec<u64>) -> &'a [u8] {
    if image.as_ptr().cast::<u64>().is_aligned() {
        return image;
    }
    copy.resize(image.len().div_ceil(size_of::<u64>()), 0);
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(copy);
    bytes[..image.len()].copy_from_slice(image);
    bytes
}
