//! Memory that ranks share, of the host or of a GPU.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::super::cuda::CudaShared;
use super::super::{Engine, Hardware};
use super::mapped::MappedFile;
use crate::error::DeviceError;

/// Memory that several ranks use, mapped into this process. It lives until the last use of it is done, in whatever process.
#[derive(Clone)]
pub(crate) enum SharedMemory {
    /// The host's.
    Host(Arc<MappedFile>),
    /// A GPU's.
    Cuda(Arc<CudaShared>),
}

impl SharedMemory {
    /// At least `bytes` that hold zeros.
    pub(crate) fn new(hardware: &Hardware, bytes: usize) -> Result<Self, DeviceError> {
        Ok(match hardware.engine() {
            Engine::Cpu => Self::Host(MappedFile::new(bytes)?),
            Engine::Cuda(cuda) => Self::Cuda(CudaShared::new(cuda, bytes)?),
        })
    }

    /// Memory of another process, for this hardware.
    pub(crate) fn import(hardware: &Hardware, file: OwnedFd, len: usize) -> Result<Self, DeviceError> {
        Ok(match hardware.engine() {
            Engine::Cpu => Self::Host(MappedFile::import(file, len)?),
            Engine::Cuda(cuda) => Self::Cuda(CudaShared::import(cuda, &file, len)?),
        })
    }

    /// What another process imports it by.
    pub(crate) fn file(&self) -> Result<OwnedFd, DeviceError> {
        match self {
            Self::Host(file) => file.file(),
            Self::Cuda(shared) => shared.file(),
        }
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Host(file) => file.len(),
            Self::Cuda(shared) => shared.len(),
        }
    }
}
