//! Where the elements of tensors are.

use crate::device::Device;
use crate::hardware::memory::Storage;

/// The memory of a tensor, and the device that it was made by.
#[derive(Clone)]
pub(super) struct TensorMemory {
    pub(super) device: Device,
    pub(super) storage: Storage,
}
