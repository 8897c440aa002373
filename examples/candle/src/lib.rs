//! Tilewright's kernels as operations of candle: over its tensors where they lie, with their strides and offsets, and on its
//! streams.
//!
//! [`Gather`] and [`PadRows`] make new tensors, [`Scatter`] writes into one that is there, [`PadSequences`] makes a batch of
//! sequences of different lengths:
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use candle_ops::{Gather, Scatter};
//!
//! let device = Device::Cpu;
//! let src = Tensor::new(&[[1f32, 2.], [3., 4.], [5., 6.]], &device)?;
//! let index = Tensor::new(&[2i64, 0, -1], &device)?;
//! let rows = src.apply_op2_no_bwd(&index, &Gather)?;
//! assert_eq!(rows.to_vec2::<f32>()?, [[5., 6.], [1., 2.], [0., 0.]]);
//!
//! // Every second column of a tensor, in place.
//! let dst = Tensor::zeros((2, 4), candle_core::DType::F32, &device)?;
//! let columns = dst.reshape((2, 2, 2))?.narrow(2, 1, 1)?.squeeze(2)?;
//! columns.inplace_op3(&rows, &Tensor::new(&[1u32, 0, 9], &device)?, &Scatter)?;
//! assert_eq!(dst.to_vec2::<f32>()?, [[0., 1., 0., 2.], [0., 5., 0., 6.]]);
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! Elements that are moved are moved as unsigned numbers of their width, so each kernel is compiled for four types and not for
//! each of candle's. On a GPU, `Device::new_cuda_with_stream` makes a device with a stream of its own; the default one of each
//! thread, which `Device::new_cuda` takes, is another one on every thread and is refused.

mod ops;
mod storage;

pub use ops::{Gather, PadRows, PadSequences, Scatter};
