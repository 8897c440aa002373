//! Where the elements of tensors are.

use crate::device::Device;
use crate::hardware::memory::Storage;

/// The memory of a tensor, and the device that it was made by, which is open for as long: the order of a GPU's work is its
/// device's.
#[derive(Clone)]
pub(super) struct TensorMemory {
    pub(super) storage: Storage,
    /// Dropped after the memory.
    pub(super) device: Device,
}
