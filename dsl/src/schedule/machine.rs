//! What a schedule is chosen for.

use super::tables::TABLES;
use super::{LoadHint, MAX_THREADS, MAX_UNROLL, StoreHint, WARP};

/// Warps that a multiprocessor has at once, at most.
const MAX_WARPS: u32 = 64;

/// The machine that a schedule is chosen for.
///
/// ```
/// use tilewright_dsl::schedule::{Machine, Tuning};
///
/// assert_eq!(Machine::new(90, 132), Machine::H200);
/// // Nobody has measured one of these.
/// assert_eq!(Machine::new(75, 40).tuning, Tuning::UNTUNED);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Whether blocks can be of a cluster, whose threads can meet.
    pub has_clusters: bool,
    /// What suits its architecture.
    pub tuning: Tuning,
}

impl Machine {
    /// An H200, for texts that are generated without a GPU at hand.
    pub const H200: Self = Self::new(90, 132);

    /// A GPU of an architecture, such as 90 for `sm_90`, with so many multiprocessors.
    pub const fn new(architecture: u32, multiprocessors: u32) -> Self {
        Self {
            multiprocessors,
            has_clusters: architecture >= 90,
            tuning: Tuning::of(architecture),
        }
    }

    /// The same, with numbers that schedules can be made of, whatever was written into them.
    pub(super) fn usable(mut self) -> Self {
        let whole_warps = |threads: u32| threads.clamp(WARP, MAX_THREADS) / WARP * WARP;
        let tuning = &mut self.tuning;
        (tuning.block, tuning.shared_block) = (whole_warps(tuning.block), whole_warps(tuning.shared_block));
        (tuning.in_flight, tuning.share) = (tuning.in_flight.clamp(1, MAX_UNROLL), tuning.share.clamp(1, MAX_UNROLL));
        tuning.at_once = tuning.at_once.clamp(1, MAX_WARPS);
        // So many are moved element by element.
        tuning.short_row = tuning.short_row.min(MAX_THREADS * MAX_UNROLL);
        self
    }

    /// So many of each multiprocessor, of all of them: there is one at least.
    pub(super) fn of_all(&self, of_each: u32) -> u64 {
        u64::from(self.multiprocessors.max(1)) * u64::from(of_each)
    }
}

/// What of a choice is measured rather than known: numbers that suit an architecture. Those that were measured are a table,
/// which `cargo xtask tune` writes; other architectures have [`Tuning::UNTUNED`].
///
/// An access is of 16 bytes. What a launch has of them is compared with what a multiprocessor does, so a smaller GPU has
/// smaller launches that are brief, and smaller ones that are long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// A launch of fewer accesses for each multiprocessor takes not much longer than the memory's latency.
    pub brief: u32,
    /// A launch of no fewer is so long that its blocks hide each other's waits.
    pub long: u32,
    /// Accesses that a thread has in flight where blocks do not hide each other's waits for where rows lie.
    pub in_flight: u32,
    /// Accesses of each thread of a long launch.
    pub share: u32,
    /// Elements up to which a row is short.
    pub short_row: u32,
    /// Elements up to which one that begins anywhere is hardly longer than its ends.
    pub shortest_row: u32,
    /// A launch of fewer accesses for each multiprocessor moves such rows element by element, and longer short ones that are scattered.
    pub alone: u32,
    /// Warps for each multiprocessor up to which threads that move single elements have few each: then all are there at once.
    pub at_once: u32,
    /// A launch of no fewer has two programs in a block, if they are short and where their elements lie is known at once.
    pub paired: u32,
    /// Threads of a block that several programs share, which are no more than a few warps' each.
    pub shared_block: u32,
    /// Threads of a block that does part of a program.
    pub block: u32,
    /// A launch of no fewer leaves in L2 what it reads and writes, where that is what kernels around it find there, and, of rows that
    /// begin anywhere, what their neighbours need too.
    pub kept_from: u32,
    /// One of no fewer does not leave what it reads: L2 does not hold both.
    pub kept_until: u32,
    /// One of no fewer does not leave what it writes either; of short rows, one that does not leave what it reads.
    pub written_until: u32,
    /// Programs for each multiprocessor from which on L2 is asked for the ends of the shortest rows that they scatter; of longer ones from
    /// twice or seven times as many on.
    pub fetched_from: u32,
    /// A launch of fewer accesses for each multiprocessor does not ask for the ends of the longest of these.
    pub fetched_long: u32,
    /// How other loads of what is moved treat the caches.
    pub load: LoadHint,
    /// How other stores of it do.
    pub store: StoreHint,
}

impl Tuning {
    /// For architectures that nobody has measured.
    pub const UNTUNED: Self = Self {
        brief: 248,
        long: 15_888,
        in_flight: 4,
        share: 2,
        short_row: 1024,
        shortest_row: 256,
        alone: 992,
        at_once: 32,
        paired: 1_500,
        shared_block: 256,
        block: 256,
        kept_from: 4_000,
        kept_until: 8_000,
        written_until: 15_888,
        fetched_from: 7,
        fetched_long: 3_700,
        // What is moved is read once, and is more than L1 holds.
        load: LoadHint::Streaming,
        // What is written once had better not wait in L2 for eviction.
        store: StoreHint::Streaming,
    };

    /// That of an architecture, such as 90 for `sm_90`.
    pub const fn of(architecture: u32) -> Self {
        let mut at = 0;
        while at < TABLES.len() {
            if TABLES[at].0 == architecture {
                return TABLES[at].1;
            }
            at += 1;
        }
        Self::UNTUNED
    }

    /// Every tuning that differs from this one in one number, with the number's name and value: what a search tries next. A launch by
    /// itself does not tell what the kernels around it find in L2, so that is not among them.
    pub fn neighbours(&self) -> Vec<(&'static str, String, Self)> {
        type Set = fn(&mut Tuning, u32);
        const AXES: [(&str, &[u32], Set); 13] = [
            ("brief", &[62, 124, 248, 496, 992], |tuning, value| tuning.brief = value),
            ("long", &[3_972, 7_944, 15_888, 31_776, 63_552], |tuning, value| {
                tuning.long = value;
            }),
            ("in_flight", &[1, 2, 4, 8], |tuning, value| tuning.in_flight = value),
            ("share", &[1, 2, 4], |tuning, value| tuning.share = value),
            ("short_row", &[256, 512, 1024, 2048], |tuning, value| {
                tuning.short_row = value
            }),
            ("shortest_row", &[64, 128, 256, 512], |tuning, value| {
                tuning.shortest_row = value;
            }),
            ("alone", &[124, 248, 496, 992, 1_984], |tuning, value| {
                tuning.alone = value
            }),
            ("at_once", &[16, 24, 32, 48], |tuning, value| {
                tuning.at_once = value;
            }),
            ("paired", &[375, 750, 1_500, 3_000, 6_000], |tuning, value| {
                tuning.paired = value;
            }),
            ("shared_block", &[128, 256, 512], |tuning, value| {
                tuning.shared_block = value
            }),
            ("block", &[128, 256, 512], |tuning, value| tuning.block = value),
            ("fetched_from", &[3, 7, 14, 28, 56], |tuning, value| {
                tuning.fetched_from = value;
            }),
            ("fetched_long", &[1_850, 3_700, 7_400, 14_800], |tuning, value| {
                tuning.fetched_long = value;
            }),
        ];
        let mut all = Vec::new();
        for (name, values, set) in AXES {
            for &value in values {
                let mut tuning = *self;
                set(&mut tuning, value);
                all.push((name, value.to_string(), tuning));
            }
        }
        for load in [LoadHint::Cached, LoadHint::Streaming] {
            all.push(("load", load.name().to_owned(), Self { load, ..*self }));
        }
        for store in [StoreHint::Cached, StoreHint::Streaming] {
            all.push(("store", store.name().to_owned(), Self { store, ..*self }));
        }
        all.retain(|(.., tuning)| tuning != self);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn neighbours_differ_from_a_tuning_and_from_one_another() {
        let all = Tuning::UNTUNED.neighbours();
        let distinct: HashSet<_> = all.iter().map(|(.., tuning)| tuning).collect();
        assert_eq!(distinct.len(), all.len());
        assert!(!distinct.contains(&Tuning::UNTUNED));
        assert!(all.len() > 20);
    }

    #[test]
    fn every_tuning_of_the_table_is_one_that_schedules_can_be_made_of() {
        for (architecture, tuning) in TABLES {
            assert_eq!(Tuning::of(*architecture), *tuning);
            assert!(tuning.brief < tuning.long, "{architecture}");
            for threads in [tuning.block, tuning.shared_block] {
                assert!(
                    threads.is_power_of_two() && (32..=1024).contains(&threads),
                    "{architecture}"
                );
            }
            assert!(
                tuning.at_once > 0 && tuning.share > 0 && tuning.in_flight > 0,
                "{architecture}"
            );
        }
    }
}
