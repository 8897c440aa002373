//! What happened on a device, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often what happened on a device since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Launches, those of no programs included.
    pub launches: u64,
    /// Launches for which no variant had to be built.
    pub hits: u64,
    /// Kernels recorded: one for each class of extents, layouts and alignments.
    pub traces: u64,
    /// Variants there are.
    pub variants: u64,
    /// Variants compiled by NVRTC; on the CPU device, where nothing is compiled, variants built.
    pub compiles: u64,
}

/// The counters as they run.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) launches: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) traces: AtomicU64,
    pub(crate) variants: AtomicU64,
    pub(crate) compiles: AtomicU64,
}

impl Tally {
    /// Adds one. No other memory access is ordered by it.
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Counters {
        Counters {
            launches: self.launches.load(Relaxed),
            hits: self.hits.load(Relaxed),
            traces: self.traces.load(Relaxed),
            variants: self.variants.load(Relaxed),
            compiles: self.compiles.load(Relaxed),
        }
    }
}
