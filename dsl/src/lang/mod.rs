//! What a kernel body is written in.
//!
//! `use tilewright::prelude::*` brings all of it into scope. The macro turns a body into a function over these types
//! and rustc checks it; running that function records the IR.
//!
//! * [`Tensor`] parameters are loaded from and stored to; [`Tile`]s are what loads give and operators compute;
//!   a [`Scalar`] is a tile of rank 0.
//! * `usize` (extents by const generic or `#[comptime]`, loop counters of unrolled loops) is the type of what is known
//!   while recording; plain Rust control flow over it runs while recording.
//! * [`Ragged`] parameters are segments of different lengths; [`TensorList`] parameters are tensors, as many as a launch has.
//! * [`PeerTensors`] parameters are tensors of which every rank has one, with flags and [`Epoch`]s to order what ranks do.
//! * Control flow over scalars is recorded.
//!
//! # Literals
//!
//! A literal without a suffix, or a name for one, has the type of what it stands beside, whatever that is: `x * 2.0` and
//! `x + 1` are right for f32, bf16, `T: Float` and (without a point) `T: Number`; so are `x.max(0)`,
//! `select(there, slot, -1)`, `full([n], 0.0)` and `out.store([i], 0)`. A float is the nearest value of the type to the f64
//! that is written, as an integer beside a tile of floats is; an integer that the type does not have, and a float beyond its
//! range, are mistakes told on the literal when the kernel is recorded. Between literals, plain Rust decides: both values
//! of `if flag { 1.0 } else { 2.0 }` are what the context makes of them, and f64 where it makes nothing.
//!
//! # What operations compute
//!
//! Every operation has the same bits on every device; [`crate::arithmetic`] is its meaning.
//!
//! | on | operations |
//! |---|---|
//! | integers and floats | `+ - * /`, comparisons, [`Tile::min`], [`Tile::max`] (which prefer numbers to NaN), [`Tile::minimum`], [`Tile::maximum`] (which are NaN where an operand is), [`Tile::clamp`] |
//! | signed integers and floats | `-`, [`Tile::abs`] |
//! | integers | `%`, `<<`, `>>`, [`Tile::mul_high`], [`Tile::count_ones`], [`Tile::leading_zeros`], [`Tile::trailing_zeros`], [`Tile::div_ceil`] |
//! | integers and bool | `& \| ^ !` |
//! | floats, exactly rounded | [`Tile::mul_add`], [`Tile::sqrt`], [`Tile::floor`], [`Tile::ceil`], [`Tile::round_ties_even`], [`Tile::trunc`] |
//! | floats, within [bounds](crate::arithmetic::error_bound) | [`Tile::exp`], [`Tile::exp2`], [`Tile::ln`], [`Tile::log2`], [`Tile::tanh`], [`Tile::powf`] (1 unit in the last place); [`Tile::rsqrt`], [`Tile::sin`], [`Tile::cos`] (1.5) |
//! | integers | [`Tile::saturating_cast`] |
//! | all | [`Tile::cast`], [`Tile::bitcast`] between types of one size, [`select`] |
//!
//! The 8-bit floats are only stored and converted: cast them to compute or compare.

mod atomic;
mod branches;
mod broadcast;
mod cache;
mod cast;
mod claims;
mod compare;
mod create;
mod epoch;
mod error;
mod hints;
mod index;
mod list;
mod literal;
mod loops;
mod math;
mod operators;
mod parameter;
mod peers;
mod print;
mod ptx;
mod ragged;
mod recorder;
mod reduce;
mod scan;
mod scatter;
mod shape;
mod sort;
pub mod staging;
mod tensor;
mod tile;
mod variable;

pub use crate::element::{Bits, Element, ElementType, Float, Integer, Number, Signed};
pub use crate::ir::{CacheHint, Conflict, MemoryOrder, MemoryScope};
pub use atomic::{AtomicAdd, AtomicInteger, AtomicNumber, AtomicOptions, WaitOptions};
pub use broadcast::{Join, Rank, WithAxis, WithRoom};
pub use cache::{AccessOptions, trigger_next_launch, wait_for_previous_launch};
pub use cast::BitcastTo;
pub use claims::{assume, device_assert, require, static_assert};
pub use compare::{Compare, Logic};
pub use create::{
    Alternative, Covered, Extent, Extents, arange, cdiv, comptime, full, num_programs, program_id, select, zero,
};
pub use epoch::Epoch;
pub use error::TraceError;
pub use index::{Index, Indices, ScalarIndex};
pub use list::TensorList;
pub use parameter::{Count, Parameter};
pub use peers::PeerTensors;
pub use print::{PrintValue, PrintValues, Printable, device_print};
pub use ptx::{PtxInputs, PtxOutputs, Register, inline_ptx, inline_ptx_on_gpu};
pub use ragged::Ragged;
pub(crate) use recorder::record;
pub use shape::{JoinedWith, TakenBy};
pub use tensor::{StoreValue, Tensor};
pub use tile::{IntoValue, Operand, Scalar, Tile};
