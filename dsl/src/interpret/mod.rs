//! Executing the IR on the CPU: the oracle that generated code is compared with, and the engine of the CPU device.
//!
//! Programs run in parallel, each one sequentially, and every access is checked: an index against its extent whatever the
//! kernel's guards say, a tensor's region against its memory, the elements of a store against each other, and, after the run,
//! the accesses of different programs against each other, unless something orders them ([`Conflict`] is the list). The checks that transformations removed are not trusted but tested: an index that
//! leaves an axis on a side whose guard was removed is an [`InterpretError::UnsoundProof`].
//!
//! Scalar operations mean what [`crate::arithmetic`] says. Tiles stay unevaluated where that is cheap (constants,
//! index ranges, broadcasts), and runs of adjacent elements move as blocks of memory.

mod access;
mod argument;
mod atomic;
mod clock;
mod collective;
mod conflict;
mod elementwise;
mod error;
mod launch;
mod list;
mod memory;
mod order;
mod program;
mod ranks;
#[cfg(test)]
mod tests;
mod threads;
mod tiles;
mod touch;
mod transfer;
mod value;
mod wait;

pub use crate::host::{GridError, Known, MAX_PROGRAMS, RequirementError, check_requirements, grid};
pub use argument::{HostArgument, HostTensor};
pub use error::{
    ArgumentFault, BadAccess, Conflict, ConflictingAccess, EndedWait, FailedCheck, InterpretError, RankAccess,
    RankConflict,
};
pub use launch::{Options, Outcome, run};
pub use memory::{HostMemory, MemoryError};
pub use ranks::synchronize;
