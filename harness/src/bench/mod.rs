//! How launches are timed: many of them in a graph, over buffers that take turns, beside a copy of as many bytes.
//!
//! A launch that is timed from the host is timed with the host, and one that finds its rows in the cache is faster than it will
//! be. So launches go into a graph, which the device runs by itself, and go round [`sets`] of buffers that together are
//! several times its cache. What is looked at is the middle of some replays ([`Times::median_us`]), and how near it comes
//! to a [`copy`], which no kernel that moves rows beats.
//!
//! ```
//! use tilewright_dsl::kernel;
//! use tilewright_dsl::lang::*;
//! use tilewright_harness::bench::{Replay, copy, sets};
//! use tilewright_runtime::{Device, Launch};
//!
//! #[kernel(grid = [out.extent(0)])]
//! fn double(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
//!     let (row, cols) = (program_id(0), arange(src.extent(1)));
//!     out.store([row, cols], src.load([row, cols]) * 2.0);
//! }
//!
//! let device = Device::best();
//! let (rows, columns) = if device.is_cuda() { (4096, 4096) } else { (4, 64) };
//! let bytes = 2 * rows * columns * size_of::<f32>();
//! let mut buffers = Vec::new();
//! for _ in 0..sets(&device, bytes) {
//!     buffers.push((device.zeros::<f32, 2>([rows, columns])?, device.zeros::<f32, 2>([rows, columns])?));
//! }
//! let mut replay = Replay::rotating(&device, buffers.len(), |stream, set| {
//!     let (out, src) = &mut buffers[set];
//!     double(out, &*src).launch_on(stream)
//! })?;
//! let times = replay.measure(20, 2)?;
//! println!("{times}, {:.0} % of a copy", 100.0 * times.share_of(&copy(&device, bytes)?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod copy;
mod replay;
mod times;

pub use copy::{CopyError, copy};
pub use replay::{Replay, sets};
pub use times::Times;
