//! Kernel to kernel: binding exact values, folding, dead code, the removal of proved bounds checks, and several kernels as
//! one ([`fuse`](fuse())).
//!
//! ```text
//! trace -> bind (literals for exact symbols, folded) -> checked, if asked for
//!       -> class: conditions of its launches -> for those that hold, prove (checks removed) -> canonical (what decides the code)
//! ```

mod bind;
mod canonical;
mod checked;
mod conditions;
mod dead_code;
mod empty;
mod fold;
mod fuse;
mod prove;
mod renumber;

pub use bind::bind;
pub use canonical::canonical;
pub use checked::checked;
pub(crate) use conditions::Conditions;
pub(crate) use empty::without_empty_tiles;
pub use fuse::fuse;
pub(crate) use prove::prove;
pub use prove::{AccessKind, Proof, ProvedBy, hopeless};
