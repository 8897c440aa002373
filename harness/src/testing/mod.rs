//! What tests of kernels are made of: devices that have to agree, elements that can be told apart, guarded tensors, and the
//! counts and alignments at which code changes what it does.
//!
//! Everything is compared as raw bits, so that NaN are elements as any other:
//!
//! ```
//! use tilewright_dsl::kernel;
//! use tilewright_dsl::lang::*;
//! use tilewright_harness::testing::{Guarded, Placement, Rows, assert_rows, for_each_device, unique};
//! use tilewright_runtime::Launch;
//!
//! /// The first row becomes the last one.
//! #[kernel(grid = [out.extent(0)])]
//! fn reversed(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
//!     let (row, cols) = (program_id(0), arange(src.extent(1)));
//!     out.store([out.extent(0) - 1 - row, cols], src.load([row, cols]));
//! }
//!
//! for placement in Placement::every::<f32>() {
//!     for_each_device(|device| {
//!         let rows = unique::<f32>(5, 7, 0);
//!         let src = Guarded::<f32>::new(device, &rows, 7, placement);
//!         let mut out = Guarded::<f32>::untouched(device, 5, 7, placement);
//!         reversed(out.view_mut(), src.view()).launch(device).unwrap();
//!         let expected: Rows = rows.into_iter().rev().collect();
//!         assert_rows(&out.read(), &expected, placement);
//!         expected
//!     });
//! }
//! ```

mod device;
mod guarded;
mod rows;

pub use tilewright_testing::{CountingAllocator, Part, allocations, skip, turn};

pub use crate::random::Random;
pub use device::{BINDINGS, counts, for_each_device, gpus};
pub use guarded::{Guarded, PLACEMENTS, Placement};
pub use rows::{Rows, assert_rows, sentinels, unique, zeros};
