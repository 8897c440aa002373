//! IR and schedule to CUDA C++.
//!
//! The text needs no header, is the same for the same kernel and schedule, and is compiled straight to a cubin. Scalars
//! become variables that every thread of a program computes. Tiles are *pulled*: a store or an assignment is a loop over
//! its elements, and each thread computes its elements from their coordinates, down to the loads. Only what has an
//! identity in time, a variable that holds a tile or a load from a tensor that the kernel writes, is kept in registers.
//!
//! * [`lower`] walks the statements and inserts barriers where threads depend on one another;
//! * `group` is the loop over one store or assignment, in two forms: `stream` (vector width, peeling, accesses in flight)
//!   and `registers` (tiles that threads keep and exchange); `leaves` finds what it reads, `vector` moves 16 bytes;
//! * `collective` is reductions, scans, sorts and histograms, by warp shuffles and shared memory;
//! * `pull` is the value of a tile at a coordinate;
//! * `access` is addresses, bounds and masks, `list` which tensor of a list they are of; `atomic` is atomic operations,
//!   `effect` checks and stores in order, `marks` what checked builds note of accesses, `cache` hints and prefetches, `print`
//!   lines of the author's, `ptx` instructions of the author's;
//! * `scalar` and `types` are operators and literals; `writer` holds the text and the names in it; `prelude` holds the
//!   device functions that the text may call.

mod access;
mod atomic;
mod cache;
mod collective;
mod effect;
mod group;
mod leaves;
mod list;
mod lower;
mod marks;
mod prelude;
mod print;
mod ptx;
mod pull;
mod registers;
mod scalar;
mod stream;
mod types;
mod vector;
mod writer;

pub use crate::backend::Module;
pub use crate::lower::{KernelArgument, LowerError, MarkedBy, TrapFault, TrapSite};
pub use lower::lower;
