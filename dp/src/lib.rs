//! Data-parallel attention: the gathered buffer of hidden states, and the kernels that fill, pad and empty it.
//!
//! With data-parallel attention every rank attends to its own requests, and before the MLP or the experts the hidden
//! states of all ranks meet in one *gathered buffer*. How many rows a rank contributes changes every step, so the buffer
//! is laid out again for every batch:
//!
//! * [`plan`] decides, from the counts that the ranks exchanged, how they are padded, in which buffer and graph they run,
//!   and why,
//! * [`layout`] computes where each rank's rows lie, padded to the longest rank or packed one after the other,
//! * [`kernels`] move the rows: gather, scatter, slot copies, padding, packing, each written in the tile language,
//! * [`movement`] moves a step's rows with them, between the ranks of a [`collective`] group,
//! * [`catalogue`] has each kernel by its name, called with tensors of given shapes,
//! * [`batch`] pads all tensors of a rank's batch to what was planned in one launch,
//! * [`offline`] compiles what an engine's steps launch before it runs,
//! * [`buffer`] has the memory of the buffers, grown once and reused,
//! * [`draw`] shows a layout in a terminal or as SVG,
//! * [`trace`] reads a recorded request trace, [`simulate`] serves it and tells what every version would allocate, and
//!   [`counts`] reads counts written by hand; [`text`] is how messages repeat what was written, and
//!   [`mod@file`] tells which files are none to wait for.
//!
//! ```
//! use tilewright_dp::layout::{GatheredLayout, HiddenState, PaddingMode};
//!
//! let layout = GatheredLayout::new(PaddingMode::Sum, &[20, 3, 0, 7], 1, HiddenState::bf16(7168))?;
//! assert_eq!(layout.starts(), [0, 20, 23, 23]);
//! assert_eq!(layout.rows(), 30);
//! # Ok::<(), tilewright_dp::layout::LayoutError>(())
//! ```

#![forbid(unsafe_code)]

pub mod batch;
pub mod buffer;
pub mod catalogue;
pub mod collective;
pub mod counts;
pub mod draw;
pub mod file;
pub mod kernels;
pub mod layout;
pub mod movement;
pub mod offline;
pub mod plan;
pub mod simulate;
pub mod text;
pub mod trace;

mod table;
