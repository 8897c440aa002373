//! The choice of a schedule.

use std::ops::RangeInclusive;

use super::alone::is_tiny;
use super::meeting::CLUSTER;
use super::{LoadHint, MAX_THREADS, Machine, Reason, Schedule, StoreHint, Tuning, WARP, Work};
use crate::ir::Kernel;

impl Work {
    /// A schedule for so many programs of this work on `machine`.
    pub fn schedule(&self, machine: &Machine, programs: u64) -> Schedule {
        self.choice(machine, programs).0
    }

    /// The same, with what decided it.
    pub fn choice(&self, machine: &Machine, programs: u64) -> (Schedule, Reason) {
        let machine = &machine.usable();
        let tuning = &machine.tuning;
        let block = u64::from(tuning.block);
        let (load, store) = self.hints(programs, machine);
        let alone = |threads: u32, unroll: u64| Schedule {
            threads,
            programs_per_block: 1,
            splits: 1,
            unroll: unroll as u32,
            load,
            store,
            wide: true,
        };
        if let Some(meets) = self.meets {
            let base = Schedule {
                load: LoadHint::Cached,
                store: StoreHint::Cached,
                ..alone(WARP, 4)
            };
            return (self.where_they_meet(meets, programs, machine, base), Reason::Meeting);
        }
        if !self.independent {
            // One block does all of it, with enough threads that a tile of registers stays small.
            let wanted = if self.elements >= 8192 { 512 } else { BLOCK };
            let schedule = Schedule {
                load: LoadHint::Cached,
                store: StoreHint::Cached,
                ..alone(round_to_warps(self.vectors.min(wanted)), 4)
            };
            return (schedule, Reason::Dependent);
        }
        if self.is_alone(programs, machine) {
            return (self.single_elements(programs, machine, alone(WARP, 1)), Reason::Alone);
        }
        if self.is_short_and_ragged(machine) {
            // A brief launch that waits for nothing does well with an access a thread, if rows are not the shortest.
            let is_shortest = self.elements <= u64::from(tuning.shortest_row);
            if is_shortest || self.is_indirect() || !self.is_brief(programs, machine) {
                return (self.rows_with_ends(programs, machine, alone(WARP, 1)), Reason::Ends);
            }
        }
        let (Share { in_flight, trips }, reason) = self.share(programs, machine);
        if self.vectors <= WARP as u64 * in_flight {
            let schedule = short_programs(self.vectors, programs, machine, alone(WARP, in_flight));
            return (schedule, Reason::Small);
        }
        if self.leaves_lanes_idle(programs, machine) {
            let schedule = short_programs(self.vectors, programs, machine, alone(WARP, 2));
            return (schedule, Reason::Small);
        }
        if self.shares_blocks(programs, machine, reason) {
            let schedule = alone(PAIRED as u32, self.vectors.div_ceil(PAIRED));
            return (side_by_side(schedule, EVEN as u32, programs, machine), Reason::Paired);
        }
        let lanes = self.vectors.div_ceil(in_flight * trips);
        let splits = lanes.div_ceil(block);
        if in_flight == 1 {
            let schedule = Schedule {
                splits: splits as u32,
                ..alone(round_to_warps(lanes.div_ceil(splits)), in_flight)
            };
            return (schedule, reason);
        }
        // Where blocks wait, one each or two, and a longer program takes more trips; in a long launch as many as that takes.
        let splits = if reason == Reason::Long { splits } else { splits.min(2) };
        let trips = lanes.div_ceil(splits * block);
        let threads = lanes.div_ceil(splits * trips);
        let even = threads.div_ceil(EVEN) * EVEN;
        let threads = if even * 7 <= threads * 8 { even } else { threads };
        let schedule = Schedule {
            splits: splits as u32,
            ..alone(round_to_warps(threads), in_flight)
        };
        (schedule, reason)
    }

    /// The numbers of programs around `programs` that have the same [schedule](Work::schedule) on `machine`, perhaps not all.
    pub fn regime(&self, machine: &Machine, programs: u64) -> RangeInclusive<u64> {
        let machine = &machine.usable();
        let first_of = |most: u64| most.div_ceil(self.vectors.max(1));
        // Where programs begin to share a block, as many as may.
        let most = u64::from(machine.tuning.shared_block).max(EVEN);
        let shared = (0..=most.ilog2()).map(|doubled| (machine.of_all(1) << doubled) + 1);
        let Tuning {
            brief,
            long,
            alone,
            kept_from,
            kept_until,
            written_until,
            paired,
            ..
        } = machine.tuning;
        let kept = [brief / ENDS, kept_from, kept_until, written_until];
        let turning = [brief, long, alone, paired].into_iter().chain(kept);
        let turning = turning.map(|of_each| first_of(machine.of_all(of_each)));
        let beyond_tiny = first_of(u64::from(WARP) + 1);
        // Where a row of few is no more for a cluster of four blocks or eight.
        let clusters = [CLUSTER, 2 * CLUSTER].map(|blocks| machine.of_all(1) / blocks + 1);
        let clusters = clusters.into_iter().filter(|_| self.may_be_in_cluster());
        let fetched = self.fetched_from(machine).into_iter().filter(|_| self.scatters_ends);
        let firsts = shared
            .chain(turning)
            .chain(clusters)
            .chain(self.alone_from(machine))
            .chain(fetched)
            .chain([beyond_tiny]);
        let (mut first, mut last) = (0, u64::MAX);
        for next in firsts {
            match next <= programs {
                true => first = first.max(next),
                false => last = last.min(next - 1),
            }
        }
        first..=last
    }

    /// The share of each thread of `programs` programs: accesses that it has in flight, and how often.
    ///
    /// Measured on an H200 with rows of 14,336 bytes and L2 cold (`benches/readings/schedules-h200.jsonl`). Rows whose
    /// place is known at once are fastest with one access per thread at every size. Where a row's place has to be loaded
    /// first, a block that is too small to hide that wait does better with more, until the launch is so long that the
    /// blocks hide each other's; then half as many blocks, whose threads have two, wait half as often: one after the other, or
    /// together, in rows that begin anywhere (`benches/readings/schedules-long-h200.jsonl`).
    fn share(&self, programs: u64, machine: &Machine) -> (Share, Reason) {
        let share = |in_flight, trips| Share { in_flight, trips };
        let tuning = &machine.tuning;
        match self.is_indirect() {
            false => (share(1, 1), Reason::Direct),
            true if self.is_brief(programs, machine) => (share(1, 1), Reason::Brief),
            true if !self.takes(tuning.long, programs, machine) => {
                let accesses = self.loads * if self.ragged { 2 } else { 1 };
                // No more than a warp has to have of the whole row: with more, lanes would be idle.
                let most = self.vectors.div_ceil(WARP.into());
                let in_flight = (u64::from(tuning.in_flight) / accesses).max(1).min(most);
                (share(in_flight, 1), Reason::Waiting)
            }
            // What is put together of two accesses takes so long that they had better be under way together.
            true if self.ragged && self.loads == 1 => (share(tuning.share.into(), 1), Reason::Long),
            true => (share(1, tuning.share.into()), Reason::Long),
        }
    }

    /// Whether a second warp of a program would have no more than half of its lanes at work: then one does it, unless the launch is brief.
    ///
    /// Measured on an H200 with rows of 34 to 48 accesses and L2 cold, a warp with two accesses takes 0.78 to 0.86 of the time of two
    /// warps at 4096 programs where a row's place is known at once, and 0.86 to 1.00 at 65,536, wherever rows lie; from 56 accesses on it
    /// is 0.98 to 1.01.
    fn leaves_lanes_idle(&self, programs: u64, machine: &Machine) -> bool {
        let warp = u64::from(WARP);
        let is_little_more = self.vectors > warp && 2 * self.vectors <= 3 * warp;
        is_little_more && !self.ragged && self.loads == 1 && !self.is_brief(programs, machine)
    }

    /// Whether short programs share blocks: where there are many, beginning a block takes longer than what it does.
    ///
    /// Measured on an H200 with rows of 512 to 1024 elements of 2 bytes and L2 cold (`benches/readings/schedules-paired-h200.jsonl`):
    /// two programs in a block take 0.82 to 1.00 of the time of one at 4096 programs, 0.87 to 1.01 at 16,384, and 1.01 to 1.02 at 1024.
    /// Where a row's place is loaded first, those of 576 elements take 0.91 to 0.92 of the time at 65,536 programs
    /// (`benches/readings/schedules-long-h200.jsonl`).
    fn shares_blocks(&self, programs: u64, machine: &Machine, reason: Reason) -> bool {
        let are_many = match reason {
            Reason::Direct => self.takes(machine.tuning.paired, programs, machine),
            reason => reason == Reason::Long,
        };
        !self.ragged && self.vectors <= SHORT && self.loads == 1 && are_many
    }

    /// Whether the packets of which rows that begin anywhere are put together stay in L1, where the neighbours that need them too
    /// find them, and what is written in L2, where the ends of rows meet. Streaming is as fast or faster in smaller launches, where
    /// only what is loaded begins anywhere, and where rows are short, unless they are scattered: then ends meet late, and of those that
    /// are hardly longer than their ends in launches of nearly any size.
    ///
    /// Measured on an H200 with L2 cold (`benches/readings/schedules-long-h200.jsonl`, `schedules-short-h200.jsonl` of rows of 131, and
    /// `versions-hints-h200.jsonl` of rows of 131 to 1023).
    fn keeps_neighbours(&self, programs: u64, machine: &Machine) -> bool {
        let tuning = &machine.tuning;
        let is_shortest = self.elements <= u64::from(tuning.shortest_row);
        let from = match (self.is_short_and_ragged(machine), self.indirect_store) {
            (true, false) => return false,
            (true, true) if is_shortest => tuning.brief / ENDS,
            _ => tuning.kept_from,
        };
        self.ragged_store && self.takes(from, programs, machine)
    }

    /// In longer launches, threads have no more than two packets of them, and there are enough for the ends of a row, which are
    /// fewer elements than two packets have.
    fn rows_with_ends(&self, programs: u64, machine: &Machine, base: Schedule) -> Schedule {
        let warp = u64::from(WARP);
        let schedule = if self.vectors <= warp {
            let threads = self.vectors.next_power_of_two().clamp(warp / 2, warp);
            Schedule {
                threads: threads.min(self.elements.next_power_of_two()) as u32,
                ..base
            }
        } else {
            Schedule {
                threads: round_to_warps(self.vectors.div_ceil(2)),
                unroll: 2,
                ..base
            }
        };
        side_by_side(schedule, EVEN as u32, programs, machine)
    }

    /// Whether rows are short and begin anywhere.
    fn is_short_and_ragged(&self, machine: &Machine) -> bool {
        self.ragged && self.elements <= u64::from(machine.tuning.short_row)
    }

    /// Whether where elements lie has to be loaded first.
    pub(super) fn is_indirect(&self) -> bool {
        self.indirect_load || self.indirect_store
    }

    /// Whether the launch takes not much longer than the memory's latency.
    fn is_brief(&self, programs: u64, machine: &Machine) -> bool {
        !self.takes(machine.tuning.brief, programs, machine)
    }

    /// Whether a launch takes no fewer accesses than so many for each multiprocessor.
    pub(super) fn takes(&self, of_each: u32, programs: u64, machine: &Machine) -> bool {
        self.vectors.saturating_mul(programs) >= machine.of_all(of_each)
    }

    /// How loads and stores treat the caches.
    ///
    /// By itself, with rows that L2 does not hold, a launch is fastest if it leaves the caches alone. But kernels before it have
    /// just written its rows, and those behind it read them: what L2 can hold from one to the next is left there, unless it
    /// is so little that it is there anyway. Measured on an H200 (`benches/readings/pipeline-h200.jsonl`).
    fn hints(&self, programs: u64, machine: &Machine) -> (LoadHint, StoreHint) {
        let (is_read_again, is_written_again) = self.keeps(programs, machine);
        // A store's condition that has to be loaded must not hold up what is stored, as it does with literals. Rows that are put
        // together are not held up (`benches/readings/schedules-scattered-h200.jsonl`).
        let is_held_up = self.indirect_store && !self.indirect_load && self.literal_bounds;
        let is_put_together = self.ragged && is_read_again && !self.is_alone(programs, machine);
        // Rows that are a warp's work each are scattered sooner past the caches.
        let is_there = is_tiny(self.vectors, programs) && (!self.indirect_store || self.vectors < WARP.into());
        let load = match is_held_up && !is_put_together && !is_there {
            true if is_read_again => LoadHint::EarlyCached,
            true => LoadHint::Early,
            false if is_read_again || is_there => LoadHint::Cached,
            false => machine.tuning.load,
        };
        let store = match is_written_again {
            _ if self.fetches_ends(programs, machine) => StoreHint::Fetched,
            true => StoreHint::Cached,
            false => machine.tuning.store,
        };
        (load, store)
    }

    /// Whether L2 is asked ahead for the sectors that scattered rows have a part of. It has to have read such a sector when it lets it go;
    /// if it is told while rows are on their way, it reads it with them.
    ///
    /// Measured on an H200 (`benches/readings/versions-fetched-h200.jsonl`) with L2 cold, 4096 rows of 24 to 208 bytes take 0.82 to 0.94 of
    /// the time, 65,536 of them 0.55 to 0.93, and 16,384 rows of 262 to 1534 bytes 0.90 to 1.00. Where L2 holds all that is written there
    /// is nothing to read: up to 16,384 rows take 0.98 to 1.13, and 65,536 1.05 to 1.21, of much less time.
    fn fetches_ends(&self, programs: u64, machine: &Machine) -> bool {
        let is_short = self.scatters_ends && self.loads == 1 && self.vectors <= SHORT;
        // Of a row of one element there is only one end.
        is_short && self.elements > 1 && self.fetched_from(machine).iter().all(|from| programs >= *from)
    }

    /// The numbers of programs from which on that is so, if it ever is.
    fn fetched_from(&self, machine: &Machine) -> [u64; 2] {
        let tuning = &machine.tuning;
        let programs = |times| machine.of_all(tuning.fetched_from).saturating_mul(times);
        match self.vectors {
            0..FETCHED => [programs(1); 2],
            FETCHED..=MOST_FETCHED => [programs(2); 2],
            _ => [programs(7), machine.of_all(tuning.fetched_long).div_ceil(self.vectors)],
        }
    }

    /// Whether the caches are to keep what is read, and what is written.
    fn keeps(&self, programs: u64, machine: &Machine) -> (bool, bool) {
        let tuning = &machine.tuning;
        if self.keeps_neighbours(programs, machine) {
            return (true, true);
        }
        // The ends of short rows make cached stores dearer than what the next kernel finds by them is worth.
        if self.is_short_and_ragged(machine) {
            return (false, false);
        }
        let takes = |of_each| self.takes(of_each, programs, machine);
        let is_within = |until| takes(tuning.kept_from) && !takes(until);
        // Measured on an H200 with L2 cold, short rows that are read past L1 but left in L2 where they are written take 1.03 to 1.07 of the
        // time of those that pass both.
        let written_until = match self.vectors <= SHORT {
            true => tuning.kept_until,
            false => tuning.written_until,
        };
        (is_within(tuning.kept_until), is_within(written_until))
    }
}

/// What a thread does of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    /// Accesses in flight at once.
    in_flight: u64,
    /// How often.
    trips: u64,
}

/// Threads of the one block of a program whose threads wait for one another.
pub(super) const BLOCK: u64 = 256;

/// Warps come in fours: a multiprocessor has four schedulers.
pub(super) const EVEN: u64 = 4 * WARP as u64;

/// Threads of a program of which two share a block.
const PAIRED: u64 = 2 * WARP as u64;

/// Accesses of a short program: no more than two for each of so many threads.
const SHORT: u64 = 2 * PAIRED;

/// Accesses of a scattered row from which on L2 is asked for its ends in longer launches only,
const FETCHED: u64 = 16;

/// and those beyond which in long ones.
const MOST_FETCHED: u64 = 25;

/// Rows that are hardly longer than their ends are scattered past the caches in launches of less than this part of a brief one.
const ENDS: u32 = 4;

/// A schedule for `programs` programs of `kernel` on `machine`.
pub fn choose(kernel: &Kernel, machine: &Machine, programs: u64) -> Schedule {
    Work::of(kernel).schedule(machine, programs)
}

/// Programs that take part of a block of `full` threads: several share one where there are more of them than
/// multiprocessors.
pub(super) fn side_by_side(base: Schedule, full: u32, programs: u64, machine: &Machine) -> Schedule {
    // Few programs are better spread over multiprocessors than packed.
    let of_each = programs.div_ceil(machine.of_all(1));
    let most = (full / base.threads).max(1);
    let beside = of_each.clamp(1, most.into()).next_power_of_two().min(most.into()) as u32;
    // A block is at least a warp, or it leaves lanes idle.
    Schedule {
        programs_per_block: beside.max(WARP / base.threads),
        ..base
    }
}

/// Programs that a warp or less can do.
fn short_programs(vectors: u64, programs: u64, machine: &Machine, base: Schedule) -> Schedule {
    let warp = u64::from(WARP);
    let threads = match 2 * vectors >= warp && is_tiny(vectors, programs) {
        // A whole warp has no other's work to tell from its own.
        true => warp,
        false => vectors
            .div_ceil(base.unroll as u64)
            .max(1)
            .next_power_of_two()
            .min(warp),
    } as u32;
    side_by_side(
        Schedule { threads, ..base },
        machine.tuning.shared_block,
        programs,
        machine,
    )
}

pub(super) fn round_to_warps(threads: u64) -> u32 {
    (threads.max(1).div_ceil(WARP as u64) * WARP as u64).min(MAX_THREADS as u64) as u32
}

#[cfg(test)]
pub(super) mod tests;
