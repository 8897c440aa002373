//! What is found out about a launch, as a value.

use serde::Serialize;

use super::listing::{Line, Place, Source};
use super::occupancy::Occupancy;
use super::traffic::Traffic;

/// What is made of a launch for a GPU, from the author's function to instructions, and why: see
/// [`Inspect::inspect`](super::Inspect::inspect).
///
/// As text ([`Display`](std::fmt::Display)) it is for terminals, [`section`](Inspection::section) by section;
/// [`to_html`](Inspection::to_html) is a page for a browser; it serialises for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The name of the author's function.
    pub kernel: String,
    /// The architecture that it is compiled for, such as `sm_90`.
    pub architecture: String,
    /// Multiprocessors of the GPU that it is scheduled for.
    pub multiprocessors: u32,
    /// The launch.
    pub launch: Launch,
    /// What the launch is told apart from others by, and which variants serve launches of its kind.
    pub class: Class,
    /// How programs and tiles are spread, and why so.
    pub schedule: Schedule,
    /// Of each access of the kernel, in the order of the text: what was proved, and what is checked.
    pub proofs: Vec<Proof>,
    /// How the elements of each store are spread over threads, in the order of the statements.
    pub distributions: Vec<Distribution>,
    /// What a thread reads and writes, how wide, and why not wider.
    pub accesses: Vec<Access>,
    /// The bytes of the launch against those that it cannot do without.
    pub traffic: Traffic,
    /// What the compiler made; `None` if there is none: see [`missing`](Inspection::missing).
    pub code: Option<Code>,
    /// The kernel at every stage, as texts.
    pub listings: Vec<Listing>,
    /// The author's files, as far as the kernel is in them.
    pub sources: Vec<Source>,
    /// What is not here, and why.
    pub missing: Vec<Missing>,
}

/// A launch.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Launch {
    /// Programs on each axis of the grid, innermost first; 1 on axes that it does not have.
    pub grid: [u64; 3],
    /// All programs.
    pub programs: u64,
    /// CUDA blocks; `None` of more than a grid can have.
    pub blocks: Option<u32>,
    /// Threads of a block.
    pub threads: u32,
    /// Each argument: `src: bf16 [1024, 7168]`.
    pub arguments: Vec<String>,
}

/// A class of launches.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Class {
    /// What is known of each parameter in all of its launches.
    pub facts: Vec<String>,
    /// What the proofs want of a launch besides.
    pub conditions: Vec<Condition>,
    /// The variants that launches like this one may be served by.
    pub variants: Vec<Variant>,
}

/// What proofs want of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Condition {
    /// By the author's names: `rows <= out.extent(0)`.
    pub text: String,
    /// Whether it is so in this launch.
    pub holds: bool,
}

/// A variant of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Variant {
    /// `resident`, which serves all launches of the class; `proved`, for those in which the same conditions hold; or `literal`,
    /// for those with the same exact counts.
    pub tier: &'static str,
    /// Whether everything else that is told here is about this one.
    pub is_shown: bool,
    /// What is a literal in it.
    pub literals: Vec<String>,
    /// How many accesses are checked on how many axes together.
    pub checks: usize,
    /// Its schedule.
    pub schedule: String,
    /// Why there is none, if there is none: the launch waits for a better one then.
    pub refused: Option<String>,
}

/// How a kernel is spread over threads and blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Schedule {
    /// Threads that work on one program within one block.
    pub threads: u32,
    /// Programs that share a block.
    pub programs_per_block: u32,
    /// Blocks that share a program.
    pub splits: u32,
    /// Accesses that a thread has in flight before its first store.
    pub unroll: u32,
    /// The cache hint of loads.
    pub load: &'static str,
    /// The cache hint of stores.
    pub store: &'static str,
    /// Whether neighbours are accessed together.
    pub wide: bool,
    /// Whether one block runs all programs, one after the other.
    pub in_order: bool,
    /// What decided it.
    pub reason: String,
    /// The least number of programs that wants the same.
    pub from_programs: u64,
    /// The most programs that want the same.
    pub to_programs: u64,
}

/// What is known of an access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Proof {
    /// Where it was written.
    pub at: Option<Place>,
    /// `load`, `store` or `atomic`.
    pub kind: String,
    /// The tensor.
    pub tensor: String,
    /// For each axis, why its index is in range: `proved` of every launch, `host-checked` of this one, `guarded` by the kernel,
    /// `unchecked` by the author's word.
    pub axes: Vec<String>,
}

/// How the elements of a store are spread over the threads of its program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Distribution {
    /// Where it was written.
    pub at: Option<Place>,
    /// In words.
    pub text: String,
    /// The extents of the tile.
    pub shape: Vec<u32>,
    /// Threads that share it, those of several blocks included.
    pub workers: u64,
    /// What is shared out: packets of neighbours, of one row or of all, or elements. Ends of rows come besides.
    pub items: u64,
    /// Elements of an item.
    pub lanes: u64,
    /// For the first items, the number of the thread that does each.
    pub owners: Vec<u64>,
    /// Items that a thread has in flight before its first store.
    pub in_flight: u64,
    /// How often it does as many.
    pub rounds: u64,
}

/// Accesses of one width that are written in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Access {
    /// Where they are written.
    pub at: Option<Place>,
    /// `load`, `store` or `atomic`.
    pub kind: String,
    /// The tensor.
    pub tensor: String,
    /// Its element type.
    pub element: String,
    /// Bytes of each.
    pub bytes: u32,
    /// How many a thread does at most; in each trip of a loop, if [`each_trip`](Access::each_trip).
    pub repeats: u64,
    /// Whether they are in a loop of which only the launch knows how long it is.
    pub each_trip: bool,
    /// Why they are narrow, if they are.
    pub narrow: Option<String>,
}

/// What a compiler made of the kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Code {
    /// Who compiled it.
    pub compiler: String,
    /// Bytes of the cubin.
    pub cubin_bytes: usize,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory of a block, those that a launch adds included.
    pub shared_bytes: u32,
    /// Bytes of local memory of a thread.
    pub local_bytes: u32,
    /// Bytes that a thread stores because registers do not suffice; `None` where the compiler did not say.
    pub spill_store_bytes: Option<u32>,
    /// Bytes that it loads again; `None` where the compiler did not say.
    pub spill_load_bytes: Option<u32>,
    /// How many blocks a multiprocessor holds; `None` where the limits of the architecture are not known.
    pub occupancy: Option<Occupancy>,
}

/// The kernel at one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Listing {
    /// `tile-ir`, `thread-ir`, `cuda`, `ptx`, `nvrtc-ptx` or `sass`.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// Something that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Missing {
    /// What.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

impl Inspection {
    /// The text of a stage.
    pub fn listing(&self, name: &str) -> Option<&Listing> {
        self.listings.iter().find(|listing| listing.name == name)
    }
}

impl Listing {
    /// All of it.
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect()
    }
}
