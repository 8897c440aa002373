//! The Tilewright tile language, its intermediate representation, what is proved about it, and the text it becomes.
//!
//! This crate knows no GPU library and does no I/O:
//!
//! * [`lang`] is what a kernel body is written in,
//! * [`ir`] is what running a body records,
//! * [`analysis`] proves things about the IR, [`transform`] folds and simplifies it,
//! * [`class`] is a kernel with what its launches are told apart by,
//! * [`schedule`] decides how tiles are spread over threads and blocks,
//! * [`thread`] is the IR of one thread's program, and [`lower`] makes it of tiles,
//! * [`backend`] prints that IR, and [`interpret`] executes tiles on the CPU.
//!
//! A kernel travels through them in that order; `ARCHITECTURE.md` at the project's root draws the whole road.

pub mod analysis;
mod argument;
pub mod arithmetic;
pub mod backend;
pub mod call;
pub mod class;
pub mod element;
mod host;
pub mod interpret;
pub mod ir;
pub mod lang;
mod limits;
pub mod lower;
pub mod panic;
pub mod schedule;
mod stack;
pub mod thread;
mod trace;
pub mod transform;

extern crate self as tilewright_dsl;

pub use tilewright_macros::{device, kernel};

/// What the expansion of `#[kernel]` and `#[device]` refers to. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::argument::{Argument, Arguments};
    pub use crate::call::{Call, Definition, Specialize};
    pub use crate::lang::staging::*;
    pub use crate::lang::{Count, Scalar, Tensor, TensorList, Tile};
}
