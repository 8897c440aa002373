//! How kernels written with Tilewright are tested and timed, as those of Tilewright itself are.
//!
//! [`testing`] has tensors between guards, elements that can be told apart, and every device that there is; [`mod@bench`] has
//! buffers that take turns, graphs of launches, and a plain copy to compare with. The facade shows both with the feature
//! `harness`, which is for dev-dependencies.

pub mod bench;
mod random;
pub mod testing;

/// What the macros name.
#[doc(hidden)]
pub mod __private {
    pub use float8::{F8E4M3, F8E5M2};
    pub use half::{bf16, f16};
}
