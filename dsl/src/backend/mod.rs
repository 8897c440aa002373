//! Texts of the thread IR, for those who compile them.
//!
//! [`Module`] is a text with all that it takes to launch it. A printer decides nothing: what a thread does, and how, the [IR](crate::thread) says, and what the
//! [verifier](crate::thread::verify) accepts every printer prints.

pub mod cuda;
mod module;
pub mod ptx;

pub use module::{Module, Text};

use crate::ir::Span;
use crate::thread::{Atom, Kernel, Statement};

/// The name that a kernel has in its text, by which it is launched.
pub fn entry(kernel: &Kernel) -> String {
    // With a beginning of its own it is no word of any language, whatever the kernel is called.
    format!("tilewright_{}", kernel.name)
}

/// The statements ahead of the first that may store to another block's shared memory, which is there once that block has begun, and the
/// others. `None` if none does, or all blocks have met before.
fn parted_at_first_told(kernel: &Kernel) -> Option<[&[(Statement, Span)]; 2]> {
    let (before, behind) = kernel.body.iter().as_slice().split_at(kernel.first_told()?);
    Some([before, behind])
}

/// Whether the threads of a warp are to meet once more where a kernel ends. ptxas (13.0) has threads end ahead of a last store that they
/// leave out, and moves what the store alone needs behind that: where a value decides it, a scattered row would be loaded only once it
/// is known where it goes. Measured on an H200, 64 rows of 4096 are scattered in 0.79 of the time
/// (`benches/readings/versions-scattered-h200.jsonl`).
fn meets_at_its_end(kernel: &Kernel) -> bool {
    let is_a_value = |atom: &Atom| matches!(atom, Atom::Value(_));
    let is_of_values = |predicate| kernel.indices.condition_atoms(predicate).iter().any(is_a_value);
    kernel
        .body
        .ends_in_store(&|store| store.predicate.is_some_and(is_of_values))
}
