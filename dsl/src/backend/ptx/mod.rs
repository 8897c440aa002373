//! Thread IR as PTX, the text that a GPU's driver compiles by itself.
//!
//! [`print()`] takes a kernel that [`verify`](crate::thread::verify::verify) accepts and that was made
//! [legal](crate::thread::legalize) for the target, and decides nothing: each statement has its lines, each value its
//! registers, and what is left to `ptxas` is what it is for.
//!
//! * Registers are of their width: PTX lets 32 bits be a float's or an integer's. What a value is in them `value` says.
//! * Floats are never contracted: every operation names its rounding, and nothing is fused that the IR has not fused.
//! * Indices are computed where they are first mentioned in a block, once, in 32 bits where they fit.
//! * Lines of Rust are in the text as `.loc`, and [`Text::span`] finds the one of a line that an assembler complains about.
//! * Shared memory is one array, which buffers are places of; it is dynamic where it is more than a block has without asking.

mod atomic;
mod cast;
mod element;
mod group;
mod index;
mod memory;
mod module;
mod number;
mod order;
mod register;
mod special;
mod statement;
mod target;
#[cfg(test)]
mod tests;
mod value;
mod writer;

pub use module::{Text, prepare, print};
pub use target::{Target, Unsupported};
