//! How a kernel is spread over threads and blocks: the choices, as data.
//!
//! A schedule never changes what a kernel computes, only how fast. [`choose`] makes one from the kernel, the machine and
//! the number of programs; any other schedule that [`Schedule::fits`] the kernel gives the same result.

mod alone;
mod choose;
mod machine;
mod meeting;
mod reason;
mod tables;
mod work;

use std::fmt;

pub use choose::choose;
pub use machine::{Machine, Tuning};
pub(crate) use meeting::COUNTED;
pub use reason::Reason;
pub(crate) use work::most_loads;
pub use work::{Meets, Work};

use crate::analysis::effects::Effects;
use crate::ir::Kernel;
use crate::ir::verify::MAX_ELEMENTS;

/// Threads of a warp.
pub const WARP: u32 = 32;

/// The most threads of a block.
pub const MAX_THREADS: u32 = 1024;

/// The most blocks of a program in which elements meet: as many as a cluster has on every GPU that has clusters.
pub const MAX_CLUSTER: u32 = 8;

/// The most threads of all blocks that share a program: no tile has more elements, and a thread's place is 32 bits
/// wide.
pub const MAX_WORKERS: u64 = MAX_ELEMENTS;

/// The most accesses that a thread has in flight: more take more than its registers.
pub const MAX_UNROLL: u32 = 64;

/// The bytes of one access at full width.
pub const VECTOR_BYTES: u32 = 16;

/// Bytes of a sector: what of a line of the caches is read and written at least.
pub const SECTOR_BYTES: u32 = 32;

/// How programs and tiles are spread over the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Schedule {
    /// Threads that work on one program within one block.
    pub threads: u32,
    /// Programs that share a block; more than one only where [`Schedule::splits`] is 1.
    pub programs_per_block: u32,
    /// Blocks that share a program, each doing a part of every tile. Where elements meet they are a cluster, which GPUs have from compute
    /// capability 9.0 on.
    pub splits: u32,
    /// Accesses that a thread has in flight before its first store.
    pub unroll: u32,
    /// Cache hint of loads from tensors that the kernel does not write.
    pub load: LoadHint,
    /// Cache hint of stores.
    pub store: StoreHint,
    /// Whether neighbours are accessed together, 16 bytes at once where they may be. One by one is sooner done where rows are short and
    /// programs few, or rows begin anywhere, as there is nothing to find out about where they begin.
    pub wide: bool,
}

/// What a load asks of the caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LoadHint {
    /// Keep in L1 and L2.
    Cached,
    /// Read once: leave L1 alone.
    Streaming,
    /// As streaming, and issued before a condition on the store is known. ptxas (13.0) puts loads behind a condition that several
    /// stores have and that compares a loaded index with a literal; but then they wait for that index.
    Early,
    /// As early, and left in L2; past L1, which loads that come that early do not use.
    EarlyCached,
}

/// What a store asks of the caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreHint {
    /// Keep in L2, where the next kernel finds it.
    Cached,
    /// Written once and more than the cache holds: leave it early.
    Streaming,
    /// As cached, and L2 is asked ahead for the sectors that the ends of a row share with others. What is written of a sector in part has to
    /// be read before it leaves L2, and then between the writes.
    Fetched,
}

/// A schedule that a kernel cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A number of threads that no block has.
    #[error("a block of {0} threads: a block has 1 to 1024, and over 32 a multiple of 32")]
    Threads(u32),
    /// A count that is zero.
    #[error("{0} is 0; it is at least 1")]
    Zero(&'static str),
    /// More threads for a program than there is work.
    #[error("{splits} blocks of {threads} threads for a program: it has at most {MAX_WORKERS} threads")]
    Workers {
        /// The blocks asked for.
        splits: u32,
        /// The threads of each.
        threads: u32,
    },
    /// More accesses in flight than a thread has registers for.
    #[error("{0} accesses in flight: a thread has at most {MAX_UNROLL}")]
    Unroll(u32),
    /// Splitting or sharing where the threads of a program depend on one another.
    #[error(
        "the threads of a program of `{0}` depend on one another, and not only where long lines that begin at multiples of 16 bytes, of a multiple of 8 elements, are reduced to one, so it takes one block: splits is 1, and programs_per_block too unless programs may run side by side and each has whole warps, or a part of one"
    )]
    Dependent(String),
    /// Threads that cannot meet where elements do.
    #[error(
        "{threads} threads for a program of `{kernel}`, in which elements meet: it takes whole warps, a multiple of 32, or without a scan a part of one, 1, 2, 4, 8 or 16"
    )]
    Warps {
        /// The kernel.
        kernel: String,
        /// The threads asked for.
        threads: u32,
    },
    /// Blocks whose threads cannot meet where elements do.
    #[error(
        "{blocks} blocks of {threads} threads for a program in which elements meet: they are a cluster, of at most {MAX_CLUSTER} blocks of whole warps, a multiple of 32 threads"
    )]
    Cluster {
        /// The blocks asked for.
        blocks: u32,
        /// The threads of each.
        threads: u32,
    },
    /// Blocks that would be a cluster, on a GPU that has none.
    #[error(
        "{blocks} blocks for a program of `{kernel}`, in which elements meet: they are a cluster, which GPUs have from compute capability 9.0 on, so here splits is 1"
    )]
    NoClusters {
        /// The kernel.
        kernel: String,
        /// The blocks asked for.
        blocks: u32,
    },
    /// Both at once.
    #[error("a program that is split over blocks cannot share them: one of splits and programs_per_block is 1")]
    SplitAndShared,
}

impl Schedule {
    /// Whether `kernel` can be run in this way.
    ///
    /// # Errors
    /// Says which choice is impossible.
    pub fn fits(&self, kernel: &Kernel) -> Result<(), ScheduleError> {
        let block = self.threads.saturating_mul(self.programs_per_block);
        for (name, value) in [
            ("threads", self.threads),
            ("programs_per_block", self.programs_per_block),
            ("splits", self.splits),
            ("unroll", self.unroll),
        ] {
            if value == 0 {
                return Err(ScheduleError::Zero(name));
            }
        }
        if block > MAX_THREADS || (block > WARP && !block.is_multiple_of(WARP)) {
            return Err(ScheduleError::Threads(block));
        }
        if u64::from(self.splits) * u64::from(self.threads) > MAX_WORKERS {
            let (splits, threads) = (self.splits, self.threads);
            return Err(ScheduleError::Workers { splits, threads });
        }
        if self.unroll > MAX_UNROLL {
            return Err(ScheduleError::Unroll(self.unroll));
        }
        if self.splits > 1 && self.programs_per_block > 1 {
            return Err(ScheduleError::SplitAndShared);
        }
        let effects = Effects::of(kernel);
        let meet = self.threads.is_multiple_of(WARP) || (!effects.has_scans && self.groups_meet());
        if effects.has_collectives && !meet {
            return Err(ScheduleError::Warps {
                kernel: kernel.name.clone(),
                threads: self.threads,
            });
        }
        if self.splits > 1 && effects.has_collectives {
            return self.fits_cluster(kernel);
        }
        let shares = self.programs_per_block > 1 && (effects.in_order || !self.groups_meet());
        if (self.splits > 1 || shares) && !effects.threads_are_independent() {
            return Err(ScheduleError::Dependent(kernel.name.clone()));
        }
        Ok(())
    }

    /// The same, on `machine`: blocks whose threads meet are a cluster, which not every GPU has.
    ///
    /// # Errors
    /// Says which choice is impossible.
    pub fn fits_on(&self, kernel: &Kernel, machine: &Machine) -> Result<(), ScheduleError> {
        self.fits(kernel)?;
        match self.splits > 1 && !machine.has_clusters && Effects::of(kernel).has_collectives {
            true => Err(ScheduleError::NoClusters {
                kernel: kernel.name.clone(),
                blocks: self.splits,
            }),
            false => Ok(()),
        }
    }

    /// Whether the blocks of a program can meet, as those of a cluster can.
    fn fits_cluster(&self, kernel: &Kernel) -> Result<(), ScheduleError> {
        if !Work::of(kernel).may_be_in_cluster() {
            return Err(ScheduleError::Dependent(kernel.name.clone()));
        }
        match self.splits <= MAX_CLUSTER && self.threads.is_multiple_of(WARP) {
            true => Ok(()),
            false => Err(ScheduleError::Cluster {
                blocks: self.splits,
                threads: self.threads,
            }),
        }
    }

    /// Whether the threads of a program can wait for each other without the other programs of their block: they are whole
    /// warps, or share one.
    fn groups_meet(&self) -> bool {
        self.threads.is_multiple_of(WARP) || (self.threads < WARP && self.threads.is_power_of_two())
    }

    /// Blocks on the x axis of the CUDA grid for `programs` programs; `None` beyond what a grid can have.
    pub fn blocks(&self, programs: u64) -> Option<u32> {
        let blocks = programs
            .div_ceil(self.programs_per_block as u64)
            .checked_mul(self.splits as u64)?;
        u32::try_from(blocks).ok().filter(|&blocks| blocks <= i32::MAX as u32)
    }
}

impl LoadHint {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cached, Self::Streaming, Self::Early, Self::EarlyCached];

    /// Its name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cached => "Cached",
            Self::Streaming => "Streaming",
            Self::Early => "Early",
            Self::EarlyCached => "Early cached",
        }
    }
}

impl StoreHint {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cached, Self::Streaming, Self::Fetched];

    /// Its name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cached => "Cached",
            Self::Streaming => "Streaming",
            Self::Fetched => "Fetched",
        }
    }
}

/// All of it: two schedules with one text are one.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            threads,
            programs_per_block,
            splits,
            unroll,
            load,
            store,
            wide,
        } = self;
        let alone = if *wide { "" } else { ", one element each" };
        write!(
            f,
            "{threads} threads per program, {programs_per_block} programs per block, {splits} blocks per program, {unroll} accesses in flight{alone}, {} loads, {} stores",
            load.name(),
            store.name()
        )
    }
}
