//! What makes a kernel better, without changing what it does.
//!
//! * `widen` takes the lanes out: accesses whose elements are neighbours become wide, everything else is done lane by
//!   lane;
//! * `common` computes what is computed twice once, and `simplify` says what is something simpler: also that a NaN may be
//!   any where `nan` finds that nobody can tell;
//! * `hoist` takes out of loops what does not change in them;
//! * `dead` leaves out what nothing needs;
//! * `early` loads what waits for nothing before threads first meet, at a barrier or to hand one another something;
//! * `flight` issues loads of rows that begin anywhere before what is put together of the first ones;
//! * `quotients` divides packets one after the other;
//! * `name` computes the part of offsets that several accesses share ahead of them;
//! * `rounded` finds what is seen only as something narrower, for printers, as `nan` does;
//! * `invariant`, for what assembles instructions as they are, does so with what does not change in a loop.

mod common;
mod dead;
mod early;
mod flight;
mod hoist;
mod invariant;
mod name;
mod nan;
mod narrow;
mod quotients;
mod rounded;
mod simplify;
#[cfg(test)]
mod tests;
mod widen;

pub(crate) use invariant::name_invariants;
pub(crate) use nan::seen_as_bits;
pub(crate) use narrow::why_unknown;
pub use narrow::{Narrow, Why};
pub(crate) use rounded::only_rounded;

use super::{Kernel, Operation, Space, Statement};

/// All of them. Returns the accesses that stayed narrow.
pub fn run(kernel: &mut Kernel) -> Vec<Narrow> {
    let narrow = widen::run(kernel);
    common::run(kernel);
    hoist::run(kernel);
    dead::run(kernel);
    early::run(kernel);
    flight::run(kernel);
    quotients::run(kernel);
    name::run(kernel);
    narrow
}

/// How many bytes of the GPU's memory a statement loads, itself.
fn loaded(kernel: &Kernel, statement: &Statement) -> u32 {
    match statement {
        Statement::Let {
            operation: Operation::Load(load),
            ..
        } if kernel.buffers[load.place.buffer].space() == Space::Global => load.ty.bytes(),
        _ => 0,
    }
}
