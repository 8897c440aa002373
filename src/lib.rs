//! Triton-style tile kernels in Rust, compiled at run time, for the kernels that move tokens.
//!
//! A kernel is a Rust function over tiles, marked [`#[kernel]`](kernel). Calling it gives a [`Call`](dsl::call::Call);
//! launching that on a [`Device`](runtime::Device) runs it, on a GPU or on the CPU:
//!
//! ```
//! use tilewright::prelude::*;
//!
//! /// out[i] = src[index[i]]; a row whose index is out of range is zero.
//! #[kernel(grid = [out.extent(0)])]
//! fn gather_rows<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, index: &Tensor<i32, 1>) {
//!     let row = program_id(0);
//!     let from = index.load([row]);
//!     let cols = arange(src.extent(1));
//!     out.store([row, cols], src.load([from, cols]));
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::best();
//! let src = device.upload(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2])?;
//! let index = device.upload(&[2, 0, -1], [3])?;
//! let mut out = device.zeros::<f32, 2>([3, 2])?;
//! gather_rows::<f32>(&mut out, &src, &index).launch(&device)?;
//! assert_eq!(out.download()?, [5.0, 6.0, 1.0, 2.0, 0.0, 0.0]);
//! # Ok(())
//! # }
//! ```
//!
//! This crate only joins the others: [`dsl`] is the language and the code generator, [`runtime`] is devices and launches, and
//! what features add:
//!
//! | feature | what it adds |
//! |---|---|
//! | `dp`, a default | `dp`: data-parallel attention, from the planner of a step to the kernels that move its rows |
//! | `harness` | `testing` and `bench`: how kernels are tested and timed, for dev-dependencies |
//! | `nccl` | collectives between GPUs through NCCL, which is found when a program runs |
//! | `cuda-13000`, a default | the bindings of CUDA 13.0 |
//! | `cuda-version-from-build-system` | instead, those of the toolkit on the machine that builds |

/// The crates whose types are elements: [`bf16`](half::bf16) and [`f16`](half::f16), [`F8E4M3`](float8::F8E4M3) and
/// [`F8E5M2`](float8::F8E5M2).
pub use {float8, half};

#[cfg(feature = "dp")]
pub use tilewright_dp as dp;
pub use tilewright_dsl as dsl;
#[cfg(feature = "harness")]
pub use tilewright_harness::{bench, for_every_element, testing};
pub use tilewright_runtime as runtime;

#[doc(hidden)]
pub use tilewright_dsl::__private;
pub use tilewright_dsl::{device, kernel};

/// What kernels are written with, and what launches them.
pub mod prelude {
    pub use float8::{F8E4M3, F8E5M2};
    pub use half::{bf16, f16};
    pub use tilewright_dsl::call::{Call, Exact, HostCount, OfRank, Runtime, Specialize};
    pub use tilewright_dsl::lang::*;
    pub use tilewright_dsl::{device, kernel};
    pub use tilewright_runtime::inspect::{Inspect, InspectOptions};
    pub use tilewright_runtime::{
        CountPolicy, Device, DeviceTensor, Launch, LaunchError, Launched, Prepared, Stream, TensorError, TensorView,
        TensorViewMut, device_count,
    };
}
