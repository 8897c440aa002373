//! What a kernel body is written in.
//!
//! `use tilewright::prelude::*` brings all of it into scope. The macro turns a body into a function over these types
//! and rustc checks it; running that function records the IR.
//!
//! * [`Tensor`] parameters are loaded from and stored to; [`Tile`]s are what loads give and operators compute;
//!   a [`Scalar`] is a tile of rank 0.
//! * `usize` (extents by const generic or `#[comptime]`, loop counters of unrolled loops) is the type of what is known
//!   while recording; plain Rust control flow over it runs while recording.
//! * Control flow over scalars is recorded.

mod atomic;
mod branches;
mod broadcast;
mod cache;
mod cast;
mod claims;
mod compare;
mod create;
mod error;
mod index;
mod loops;
mod operators;
mod parameter;
mod print;
mod ptx;
mod recorder;
mod scatter;
pub mod staging;
mod tensor;
mod tile;
mod variable;

pub use crate::element::{Bits, Element, ElementType, Float, Integer, Number, Signed};
pub use crate::ir::{CacheHint, Conflict, MemoryOrder, MemoryScope};
pub use atomic::{AtomicAdd, AtomicInteger, AtomicNumber, AtomicOptions};
pub use broadcast::{Join, Rank};
pub use cache::{AccessOptions, trigger_next_launch, wait_for_previous_launch};
pub use claims::{assume, device_assert, static_assert};
pub use create::{Extent, Extents, arange, cdiv, comptime, full, num_programs, program_id, select, zero};
pub use error::TraceError;
pub use index::{Index, Indices};
pub use parameter::{Count, Parameter};
pub use print::{PrintValue, PrintValues, Printable, device_print};
pub use ptx::{PtxInputs, PtxOutputs, Register, inline_ptx, inline_ptx_on_gpu};
pub(crate) use recorder::record;
pub use tensor::Tensor;
pub use tile::{IntoValue, Scalar, Tile};
