//! Which variant of a kernel serves a launch.
//!
//! ```text
//! launch -> class       what its facts and literals say: a recording, bound, with the conditions that its proofs want (`class`),
//!                       found again by a key without counts and extents, or made of a recording (`recording`)
//!        -> conditions  requirements, grid, and which conditions hold: some integer operations
//!        -> staged      the kernel for these conditions: proved, in canonical form
//!        -> variant     for the schedule that so many programs want: found, or built now (`build`, `variants`)
//! ```
//!
//! Only a new class, new conditions or a new schedule cost more than looking up. A variant is built in the thread that wants it, and
//! only threads that want the same one wait for it. Building in the background while a variant for fewer conditions serves the
//! launch belongs between `staged` and `build`: one for no conditions serves every launch of the class.

mod build;
mod class;
mod key;
mod offline;
mod plan;
mod recording;
mod variant;
mod variants;

pub(crate) use offline::lowered;
pub(crate) use plan::{LaunchPlan, Specializer};
pub(crate) use variant::{CudaProgram, Program};
pub use variant::{Variant, VariantId};
