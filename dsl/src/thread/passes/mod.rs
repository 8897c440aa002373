//! What makes a kernel better, without changing what it does.
//!
//! * `widen` takes the lanes out: accesses whose elements are neighbours become wide, everything else is done lane by lane;
//! * `common` computes what is computed twice once, and simplifies;
//! * `dead` leaves out what nothing needs.

mod common;
mod dead;
#[cfg(test)]
mod tests;
mod widen;

pub use widen::{Narrow, Why};

use super::Kernel;

/// All of them. Returns the accesses that stayed narrow.
pub fn run(kernel: &mut Kernel) -> Vec<Narrow> {
    let narrow = widen::run(kernel);
    common::run(kernel);
    dead::run(kernel);
    narrow
}
