//! Which GPUs reach the memory of which others.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fmt;

use cudarc::driver::{
    result,
    sys::{self, CUdevice_P2PAttribute},
};

use super::driver::{self, During};
use crate::error::DeviceError;

/// How a GPU reaches the memory of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is its own.
    Own,
    /// Its kernels read and write it, and do atomic operations on it: over NVLink.
    Atomics,
    /// Its kernels read and write it: over PCIe.
    Plain,
    /// Not at all.
    None,
}

impl Reach {
    /// How GPU `from` reaches the memory of GPU `to`, both by number, without opening them.
    ///
    /// # Errors
    /// There is no driver, or no such GPU.
    pub fn between(from: u32, to: u32) -> Result<Self, DeviceError> {
        let count = driver::device_count()?;
        if let Some(&ordinal) = [from, to].iter().find(|&&ordinal| ordinal >= count) {
            return Err(DeviceError::NoSuchDevice { ordinal, count });
        }
        if from == to {
            return Ok(Self::Own);
        }
        let device = |ordinal: u32| result::device::get(ordinal.cast_signed()).during("cuDeviceGet");
        let (from, to) = (device(from)?, device(to)?);
        let mut can: c_int = 0;
        // SAFETY: the first points to a number; both devices come from the driver.
        unsafe { sys::cuDeviceCanAccessPeer(&mut can, from, to) }
            .result()
            .during("cuDeviceCanAccessPeer")?;
        if can == 0 {
            return Ok(Self::None);
        }
        let mut atomics: c_int = 0;
        let asked = CUdevice_P2PAttribute::CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED;
        // SAFETY: as above.
        unsafe { sys::cuDeviceGetP2PAttribute(&mut atomics, asked, from, to) }
            .result()
            .during("cuDeviceGetP2PAttribute")?;
        Ok(if atomics == 0 { Self::Plain } else { Self::Atomics })
    }

    /// An error unless GPU `from` reaches the memory of GPU `to`.
    pub(crate) fn check(from: u32, to: u32) -> Result<(), DeviceError> {
        match Self::between(from, to)? {
            Self::None => Err(DeviceError::NoPeerAccess {
                device: from,
                of: format!("CUDA device {to}"),
            }),
            Self::Own | Self::Atomics | Self::Plain => Ok(()),
        }
    }

    /// Of each GPU how it reaches each, by their numbers.
    ///
    /// # Errors
    /// There is no driver.
    pub fn matrix() -> Result<Vec<Vec<Self>>, DeviceError> {
        let count = driver::device_count()?;
        let row = |from| (0..count).map(|to| Self::between(from, to)).collect();
        (0..count).map(row).collect()
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Atomics => "NVLink",
            Self::Plain => "PCIe",
            Self::None => "none",
        })
    }
}
