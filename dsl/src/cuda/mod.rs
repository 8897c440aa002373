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

pub use crate::lower::{KernelArgument, MarkedBy, TrapFault, TrapSite};
pub use lower::lower;

use crate::ir::Span;
use crate::schedule::{Schedule, ScheduleError};

/// A kernel as CUDA C++, and how to launch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The text.
    pub source: String,
    /// The name of the `extern "C"` kernel in it.
    pub entry: String,
    /// What the kernel takes, in order.
    pub arguments: Vec<KernelArgument>,
    /// How it is spread over threads and blocks.
    pub schedule: Schedule,
    /// The places that report errors, by the number they report.
    pub traps: Vec<TrapSite>,
    /// Whether one block runs all programs, one after the other.
    pub in_order: bool,
}

impl Module {
    /// Blocks on the x axis of the CUDA grid for `programs` programs; `None` beyond what a grid can have.
    pub fn blocks(&self, programs: u64) -> Option<u32> {
        match self.in_order {
            true => Some(1),
            false => self.schedule.blocks(programs),
        }
    }

    /// Threads of a block on each axis.
    pub fn threads(&self) -> [u32; 3] {
        [self.schedule.threads, self.schedule.programs_per_block, 1]
    }
}

/// A kernel that cannot be printed under a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// The schedule does not fit.
    #[error("kernel `{kernel}` cannot have this schedule: {source}")]
    Schedule {
        /// The kernel.
        kernel: String,
        /// What does not fit.
        source: ScheduleError,
    },
    /// What elements that meet, or that threads exchange, take of shared memory.
    #[error(
        "kernel `{kernel}`: tiles of which threads read each other's elements take {bytes} bytes of shared memory up to here, and a block has {limit}\n  --> {span}\n  = help: use smaller tiles, or load values again from an immutable tensor instead of keeping them"
    )]
    SharedMemory {
        /// The kernel.
        kernel: String,
        /// What it needs.
        bytes: u64,
        /// What there is.
        limit: u64,
        /// Where it exceeds that.
        span: Span,
    },
    /// The kernel breaks the rules of the IR.
    #[error("kernel `{kernel}` is malformed: {message}")]
    Malformed {
        /// The kernel.
        kernel: String,
        /// Which rule.
        message: String,
    },
}
