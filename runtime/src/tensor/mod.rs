//! Tensors in a device's memory, and views of parts of them.
//!
//! ```
//! use tilewright_runtime::Device;
//!
//! let device = Device::cpu();
//! let mut tensor = device.zeros::<f32, 2>([2, 3])?;
//! tensor.copy_from(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! assert_eq!(tensor.columns(1..)?.download()?, [2.0, 3.0, 5.0, 6.0]);
//! # Ok::<(), tilewright_runtime::TensorError>(())
//! ```

mod argument;
mod borrowed;
mod count;
pub mod dlpack;
mod geometry;
mod memory;
mod owned;
mod peers;
mod view;
mod view_mut;

pub use crate::error::TensorError;
pub use borrowed::{BorrowedTensor, BorrowedTensorMut};
pub use count::{CountElement, DeviceCount, device_count};
pub use owned::{DeviceTensor, Hold};
pub use peers::{PeerBuffer, PeerMemory, peers_reach};
pub use view::TensorView;
pub use view_mut::TensorViewMut;

#[cfg(test)]
mod tests;
