//! Which variant of a kernel serves a launch.
//!
//! ```text
//! launch -> class       what its facts say: a recording, bound, with the conditions that its proofs want (`class`),
//!                       found again by a key without counts and extents, or made of a recording (`recording`, `classes`)
//!        -> conditions  requirements, grid, and which conditions hold: some integer operations
//!        -> tier        literal, if they come often and pay (`literals`, `trial`); proved, for the conditions; or resident, which serves all (`tiers`)
//!        -> variant     for the schedule that so many programs want (`variants`)
//! ```
//!
//! Only a class that was never seen makes a launch wait, for its resident variant. What would serve better is built behind
//! (`request`, `ahead`, `build`), once for all that want it, and swapped in when it is there. No lock that is held while something
//! is compiled is taken by a launch that does not wait for it. What is used least goes when there is too much (`evict`).
//! For a GPU that is not here (`offline`) all that a launch may be served by is built at once, and nothing launched; `specimen`
//! is that without building it, to be looked at.

mod ahead;
mod build;
mod class;
mod classes;
mod code;
mod evict;
mod hooks;
mod key;
mod literals;
mod offline;
mod plan;
mod recording;
mod request;
mod sealed;
mod site;
mod sites;
mod specimen;
mod tiers;
mod trial;
mod variant;
mod variants;
mod words;

pub use evict::CodeLimits;
pub use hooks::Event;
pub(crate) use hooks::Hooks;
pub(crate) use offline::Offline;
pub use offline::Target;
pub(crate) use plan::{LaunchPlan, Served, Specializer};
pub(crate) use site::Site;
pub(crate) use sites::SiteSlot;
pub(crate) use specimen::{Candidate, Specimen};
pub use tiers::Tier;
pub use trial::Measured;
pub(crate) use trial::Reading;
pub(crate) use variant::{CudaProgram, Program};
pub use variant::{Variant, VariantId};
pub(crate) use words::KeptWords;

#[cfg(test)]
mod tests;
