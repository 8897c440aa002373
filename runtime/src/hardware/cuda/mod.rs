//! One NVIDIA GPU, through its driver.
//!
//! A thin layer over cudarc: a context, streams, memory, modules, launches and graphs, with typed errors. It knows
//! addresses and bytes; the types are the business of what is built on it. All of it works from any thread: every call
//! makes the device's context current first.
//!
//! Work is ordered by streams. A device has one of its own, which transfers and the freeing of memory are ordered by;
//! whoever launches on another stream orders the two with events.

mod assemble;
mod context;
mod driver;
mod event;
mod graph;
mod launch;
mod mapped;
mod memory;
mod module;
#[cfg(feature = "nccl")]
mod nccl;
mod properties;
mod reach;
mod shared;
mod stream;
mod table;

pub use assemble::assemble;
pub(crate) use assemble::identity as assembler;
pub use context::CudaDevice;
pub(super) use driver::beside_captures;
pub use driver::{device_count, driver_version};
pub use event::CudaEvent;
pub use graph::CudaGraph;
pub(crate) use graph::{Captured, Kept, Used};
pub use launch::{launch, launch_overlapping};
pub use mapped::MappedWords;
pub use memory::CudaMemory;
pub use module::{CudaFunction, CudaModule};
#[cfg(feature = "nccl")]
pub use nccl::{CudaCommunicator, Nccl, NcclError, NcclId, UnequalGather};
pub use properties::CudaProperties;
pub use reach::Reach;
pub use shared::CudaShared;
pub(crate) use shared::release_left;
pub use stream::CudaStream;
pub use table::CudaTable;

/// cudarc, in the version whose contexts and streams this layer takes and gives.
pub use cudarc;

#[cfg(test)]
mod tests;
