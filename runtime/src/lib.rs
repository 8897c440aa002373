//! Tilewright at run time: devices, their memory, and how a [`Call`](tilewright_dsl::call::Call) becomes a launch.
//!
//! ```text
//! Call --launch/--> checked arguments --specialize/--> Variant --launch/--> the CPU interpreter, or one driver call
//!                                        |  |  |
//!              recordings and classes ---+  |  +-- variants by content, each built once
//!    conditions of the launch, evaluated ---+
//! ```
//!
//! * [`Device`] is where kernels run: the CPU device is always there, [`Device::cuda`] is a GPU.
//! * [`DeviceTensor`] owns memory of a device; [`TensorView`] and [`TensorViewMut`] are parts of one.
//! * [`BorrowedTensor`] and [`BorrowedTensorMut`] lie in memory that others own, such as an engine's.
//! * [`PeerBuffer`] is memory of several ranks that each of their devices reaches.
//! * [`Launch`] launches a call. Every argument is checked before the driver sees it.
//! * [`Device::warm_up`] builds what launches need, by a [`CountPolicy`]; after [`Device::seal`] none waits for a compiler.
//!   [`Counters`] and [`Event`]s say what happened, [`Tier`] by what a launch was served.
//! * [`BundleBuilder::device`](cache::BundleBuilder::device) is a GPU that is not here: what is launched on it goes into a bundle.
//! * `communicator`, with the feature `nccl`, brings tensors of several GPUs together.
//! * [`Inspect`](inspect::Inspect) shows what is made of a call: every stage as text, what was proved, registers, bytes.
//! * [`cache`] keeps what was compiled, in a folder of the user's and in bundles.
//! * [`compile`] is NVRTC, [`device::cuda`] the driver, both without types; they can be used on their own.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod cache;
#[cfg(feature = "nccl")]
pub mod communicator;
pub mod compile;
pub mod device;
pub mod doctor;
pub mod inspect;
pub mod launch;
pub mod tensor;

mod arguments;
mod behind;
mod counters;
mod deadline;
mod elf;
mod error;
#[cfg(test)]
mod fuzz;
mod hardware;
mod library;
mod offline;
mod policy;
mod specialize;
mod warm_up;

pub use counters::{Counters, Histogram};
pub use deadline::Deadline;
pub use device::{CapturedLaunch, Device, Graph, Stream};
pub use error::{DeviceError, LaunchError, MarkedAccess, TensorError};
pub use launch::{Bound, Launch, Launched, Prepared};
pub use policy::{CountKey, CountPolicy};
pub use specialize::{CodeLimits, Event, Measured, Target, Tier, Variant, VariantId};
pub use tensor::{
    BorrowedTensor, BorrowedTensorMut, DeviceCount, DeviceTensor, PeerBuffer, PeerMemory, TensorView, TensorViewMut,
    device_count, peers_reach,
};
pub use warm_up::{Progress, WarmedUp};
