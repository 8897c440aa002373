//! What can go wrong, from the device up to the launch. What compiling and libraries can do wrong stands with them.

mod device;
mod launch;
mod tensor;

pub use device::DeviceError;
pub use launch::{LaunchError, MarkedAccess};
pub use tensor::TensorError;
