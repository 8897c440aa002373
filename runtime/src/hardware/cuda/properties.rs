//! What a GPU is.

#![allow(unsafe_code)]

use cudarc::driver::{
    result,
    sys::{self, CUdevice, CUdevice_attribute_enum as Attribute, CUuuid},
};

use super::driver::{self, During};
use crate::{compile::Architecture, error::DeviceError};

/// What a GPU is, and how much of everything it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaProperties {
    /// NVIDIA's name for it.
    pub name: String,
    /// What tells it from all others, on whatever host and whatever its number is there.
    pub uuid: [u8; 16],
    /// The architecture that cubins for it are compiled for.
    pub architecture: Architecture,
    /// How many streaming multiprocessors it has.
    pub multiprocessors: u32,
    /// Bytes of second-level cache.
    pub l2_bytes: usize,
    /// Bytes of memory.
    pub memory_bytes: usize,
    /// The most blocks of a launch, in its first dimension.
    pub max_grid: u32,
    /// The most threads of a block.
    pub max_threads_per_block: u32,
    /// The most threads that one multiprocessor holds at once.
    pub max_threads_per_multiprocessor: u32,
    /// Bytes of shared memory that any block may have.
    pub shared_bytes_per_block: u32,
    /// Bytes of shared memory that a block may have once its kernel has asked: see `CudaFunction::allow_shared`.
    pub shared_bytes_per_block_optin: u32,
    /// Bytes of shared memory of a multiprocessor.
    pub shared_bytes_per_multiprocessor: u32,
    /// Whether a launch may begin before the one before it has ended: from compute capability 9.0 on, with a driver of CUDA
    /// 12.3, the first that also captures such launches, or later.
    pub overlapping_launches: bool,
}

const OVERLAPPING_CAPABILITY: u32 = 9;
const OVERLAPPING_DRIVER: (u32, u32) = (12, 3);

impl CudaProperties {
    /// Those of a GPU by its number, without opening it.
    pub fn of(ordinal: u32) -> Result<Self, DeviceError> {
        let count = driver::device_count()?;
        if ordinal >= count {
            return Err(DeviceError::NoSuchDevice { ordinal, count });
        }
        let device = result::device::get(ordinal.cast_signed()).during("cuDeviceGet")?;
        let read = |attribute| attribute_of(device, attribute);
        let architecture = Architecture::new(
            read(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            read(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        Ok(Self {
            name: result::device::get_name(device).during("cuDeviceGetName")?,
            uuid: uuid_of(device)?,
            architecture,
            multiprocessors: read(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            l2_bytes: read(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)? as usize,
            memory_bytes: total_memory(device)?,
            max_grid: read(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X)?,
            max_threads_per_block: read(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            max_threads_per_multiprocessor: read(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR)?,
            shared_bytes_per_block: read(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK)?,
            shared_bytes_per_block_optin: read(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
            shared_bytes_per_multiprocessor: read(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)?,
            overlapping_launches: architecture.major >= OVERLAPPING_CAPABILITY
                && driver::driver_version()? >= OVERLAPPING_DRIVER,
        })
    }
}

fn attribute_of(device: CUdevice, attribute: Attribute) -> Result<u32, DeviceError> {
    // SAFETY: the device comes from the driver.
    let value = unsafe { result::device::get_attribute(device, attribute) }.during("cuDeviceGetAttribute")?;
    Ok(value.unsigned_abs())
}

fn total_memory(device: CUdevice) -> Result<usize, DeviceError> {
    // SAFETY: the device comes from the driver.
    unsafe { result::device::total_mem(device) }.during("cuDeviceTotalMem")
}

fn uuid_of(device: CUdevice) -> Result<[u8; 16], DeviceError> {
    let mut uuid = CUuuid { bytes: [0; 16] };
    // SAFETY: it points to a UUID, and the device comes from the driver.
    unsafe { sys::cuDeviceGetUuid_v2(&mut uuid, device) }
        .result()
        .during("cuDeviceGetUuid")?;
    Ok(uuid.bytes.map(|byte| byte as u8))
}
