//! Which variant of a kernel serves a launch.
//!
//! ```text
//! launch -> plan?  the same arguments were launched before: the variant is known (`plan`)
//!        -> class  a recording that serves these facts and extents, or a new one (`class`)
//!        -> bind, checked if asked for, conditions of the class, prove, canonical: what is a literal, what is tested again,
//!           which checks are needless for what holds in this launch, what of it decides the code (`stage`)
//!        -> variant by content (`variants`), or built now (`build`)
//! ```
//!
//! Counts that end up in the grid or in an argument only do not reach the canonical kernel, so their variants are one.
//! A variant is built in the thread that wants it, and only threads that want the same one wait for it. Building in the
//! background while a variant with run-time counts serves the launch belongs between `plan` and `build`: a plan may be
//! replaced at any time, since a launch holds the one that it uses.

mod build;
mod class;
mod key;
mod offline;
mod plan;
mod stage;
mod variant;
mod variants;

pub(crate) use offline::lowered;
pub(crate) use plan::{LaunchPlan, Specializer};
pub(crate) use variant::{CudaProgram, Program};
pub use variant::{Variant, VariantId};
