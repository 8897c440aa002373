//! Tile IR and schedule to the thread IR, a subject a file.
//!
//! * [`distribution`](Distribution) is how the elements of a store are spread over a program's threads: data, decided
//!   before anything is emitted;
//! * `program` is where a thread stands, `argument` what the kernel takes;
//! * `statement` walks the statements, `group` emits a store as its distribution says, `pair` one of
//!   which two threads each store half a packet;
//! * `pull` is the value of a tile at a point: tiles are computed from coordinates where they are used, down to the
//!   loads; `point` is coordinates through the shapes;
//! * `held` is tiles that are somewhere: in the registers of threads, in their own memory, or in the shared arena, through
//!   which they exchange what others need; `layout` is which elements a thread holds, `lane` single lanes of packets;
//!   `collective` is where elements meet, and `keep` what is kept of them;
//! * `element` is operations on elements, in terms of those that hardware has; `access` is places, bounds and masks,
//!   `list` which tensor of a list they are of, [`Accesses`] which ones there are in the end, and how wide, [`asked()`] how
//!   many bytes tiles ask for;
//! * `uses` is what the kernel does with its values, found once;
//! * `barrier` is where threads wait for each other, `wait` where they wait for others, `atomic` atomic operations,
//!   `effect` what else is done for its effect, `report` what is reported, `mark` what checked builds note of accesses.
//!
//! What is emitted has lanes ([`crate::thread`]): a packet is computed as a whole, and accesses move with the lane.
//! Whether its elements are neighbours is asked of the index expressions afterwards, by `thread::passes`.

mod access;
mod accesses;
mod argument;
mod asked;
mod atomic;
mod barrier;
mod collective;
mod distribution;
mod effect;
mod element;
mod ending;
mod group;
mod held;
mod keep;
mod known;
mod lane;
mod layout;
mod list;
pub(crate) mod mark;
mod pair;
mod point;
mod program;
mod pull;
mod report;
mod statement;
#[cfg(test)]
mod tests;
mod uses;
mod wait;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use accesses::{AccessKind, Accesses, GlobalAccess, NarrowError, Repeats};
pub(crate) use argument::TABLE_EXTENTS;
pub use argument::{KernelArgument, MAX_ARGUMENT_WORDS};
pub use asked::{Asked, asked};
pub use distribution::{Distribution, Form};
pub use mark::MarkedBy;
pub use report::{TrapFault, TrapSite};

use crate::analysis::effects::Effects;
use crate::analysis::races::Races;
use crate::ir::{Expression, Handle, Kernel, Local, Span, verify};
use crate::schedule::{Schedule, ScheduleError};
use crate::thread::{self, Argument, Buffer, Builder, Index, Label, Predicate, Register, Use, passes};
use argument::load_counts_together;
use barrier::Order;
use held::{Held, Variable};
use point::Point;
use uses::Uses;

/// Bytes of a line of the caches, which a prefetch brings.
const LINE_BYTES: u32 = 128;

/// A kernel as the thread IR has it.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// What every thread does.
    pub kernel: thread::Kernel,
    /// How it is spread over threads and blocks.
    pub schedule: Schedule,
    /// Whether one block runs all programs, one after the other.
    pub in_order: bool,
    /// What it takes: each is one of its arguments, in order.
    pub arguments: Vec<KernelArgument>,
    /// The places that report errors, by the number they report.
    pub sites: Vec<TrapSite>,
    /// How the elements of each store are spread, in the order of the statements.
    pub distributions: Vec<(Span, Distribution)>,
    /// Accesses that could not be made wide, and why.
    pub narrow: Vec<passes::Narrow>,
    /// What a thread reads and writes of the tensors, and how.
    pub accesses: Accesses,
}

impl Lowered {
    /// Blocks of a launch of so many programs; `None` beyond what a grid can have.
    pub fn blocks(&self, programs: u64) -> Option<u32> {
        match self.in_order {
            true => Some(1),
            false => self.schedule.blocks(programs),
        }
    }
}

/// A kernel that cannot be lowered under a schedule.
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
    /// The kernel breaks the rules of the IR.
    #[error("kernel `{kernel}` is malformed: {message}")]
    Malformed {
        /// The kernel.
        kernel: String,
        /// Which rule.
        message: String,
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
    /// What no kernel that the verifier accepts asks for.
    #[error("kernel `{kernel}` cannot be lowered, because it has {what} (a defect of the compiler)\n  --> {span}")]
    Defect {
        /// The kernel.
        kernel: String,
        /// What it has.
        what: &'static str,
        /// Where.
        span: Span,
    },
}

/// Lowers `kernel`, spread as `schedule` says.
///
/// # Errors
/// If the kernel breaks the rules of the IR, the schedule does not fit it, or its threads would have to exchange more
/// than shared memory holds.
pub fn lower(kernel: &Kernel, schedule: &Schedule) -> Result<Lowered, LowerError> {
    let name = || kernel.name.clone();
    verify::verify(kernel).map_err(|e| LowerError::Malformed {
        kernel: name(),
        message: e.to_string(),
    })?;
    let in_order = Effects::of(kernel).in_order;
    let fits = schedule.fits(kernel);
    fits.map_err(|source| LowerError::Schedule { kernel: name(), source })?;
    let mut lower = Lower::new(kernel, schedule, 0);
    lower.body()?;
    // Where programs share a block, each has as much shared memory as any of them turns out to take.
    if schedule.programs_per_block > 1 && lower.shared_most > 0 {
        let each = lower.shared_most.next_multiple_of(16);
        lower = Lower::new(kernel, schedule, each);
        lower.body()?;
    }
    let Lower {
        b,
        arguments,
        sites,
        distributions,
        buffers,
        effects,
        mut narrow,
        ..
    } = lower;
    let mut thread = b.finish();
    load_counts_together(&mut thread, &arguments, &effects);
    narrow.extend(passes::run(&mut thread));
    let accesses = Accesses::of(kernel, &thread, &buffers, &narrow);
    Ok(Lowered {
        kernel: thread,
        arguments: arguments.into_iter().map(|(argument, _)| argument).collect(),
        sites,
        distributions,
        narrow,
        schedule: *schedule,
        in_order,
        accesses,
    })
}

/// An element of a tile at a point, where it is needed under a condition, and whether nothing was reported on the way.
type Pulled = (Handle<Expression>, Point, Option<Handle<Predicate>>, bool);

/// A word of a list's table: of which list, where the entry begins, and which word of it.
type Word = (u32, Handle<Index>, usize);

/// A kernel that is being lowered.
struct Lower<'a> {
    kernel: &'a Kernel,
    schedule: &'a Schedule,
    effects: Effects,
    uses: Uses,
    races: Races,
    /// In checked builds, the number of the program's store.
    stores: Option<Handle<Register>>,
    b: Builder,
    arguments: Vec<(KernelArgument, Handle<Argument>)>,
    buffers: HashMap<u32, Handle<Buffer>>,
    registers: HashMap<Handle<Local>, Handle<Register>>,
    /// Variables that hold tiles.
    variables: HashMap<Handle<Local>, Variable>,
    /// Tiles that are somewhere.
    held: HashMap<Handle<Expression>, Held>,
    /// Those among them that are kept for what follows in the block, innermost last.
    kept: Vec<Handle<Expression>>,
    /// Tiles of which other threads' elements are in shared memory now.
    brought: HashMap<Handle<Expression>, Handle<Buffer>>,
    /// Elements of a packet of those that a thread holds of a tile, by how many the tile has.
    lanes: BTreeMap<u64, u8>,
    /// While it is only looked at what is wanted of other threads' elements: which tiles.
    wanted: Option<BTreeSet<Handle<Expression>>>,
    /// Where the program's shared memory is free,
    shared_top: u32,
    /// how much of it has been in use at once,
    shared_most: u32,
    /// and from where to where it is that of the next program of the block.
    shared_stride: u32,
    /// Scalars that have been computed; every thread has them.
    scalars: HashMap<Handle<Expression>, Use>,
    /// Elements that have been computed, innermost block last.
    pulled: Vec<HashMap<Pulled, Use>>,
    /// Words of lists' tables that have been read, innermost block last.
    words: Vec<HashMap<Word, Use>>,
    /// Whether nothing is reported that is out of bounds: a place is only looked at.
    quiet: bool,
    /// The word of the program that says that one of its threads has found that it ends, if one may.
    over: Option<thread::Place>,
    /// Where the access is written that is lowered now.
    access_span: Span,
    sites: Vec<TrapSite>,
    /// Where this holds what is computed now is needed; `None` if everywhere.
    needed: Option<Handle<Predicate>>,
    /// Whether what is accessed is what the schedule has hints for.
    hinted: bool,
    /// The thread's number among those that work on its program.
    worker: Handle<Index>,
    /// The number of its program among those of its block.
    beside: Handle<Index>,
    /// The number of its program.
    program: Handle<Index>,
    /// What is pending between the threads.
    order: Order,
    /// The loops around, innermost last.
    loops: Vec<Label>,
    /// What ends a program of several that a block runs; of one alone, its threads end.
    whole: Option<Label>,
    /// Where the statement is that is lowered now.
    span: Span,
    distributions: Vec<(Span, Distribution)>,
    /// Why elements are accessed one by one now, if they are.
    alone: Option<passes::Why>,
    /// Accesses that are narrow because of how elements are spread.
    narrow: Vec<passes::Narrow>,
}

impl Lower<'_> {
    /// What cannot be: the verifier has seen the kernel.
    fn defect<T>(&self, what: &'static str) -> Result<T, LowerError> {
        Err(LowerError::Defect {
            kernel: self.kernel.name.clone(),
            what,
            span: self.span,
        })
    }

    /// Threads that share the elements of a store.
    fn workers(&self) -> u64 {
        u64::from(self.schedule.threads) * u64::from(self.schedule.splits)
    }
}
