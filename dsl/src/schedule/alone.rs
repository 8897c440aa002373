//! Rows that are moved element by element.

use super::choose::{EVEN, round_to_warps, side_by_side};
use super::{Machine, Schedule, WARP, Work};

/// Programs for each multiprocessor up to which one has a block to itself where nothing is waited for: beginning more blocks takes longer
/// than what they do, if L2 holds it.
const OWN: u32 = 4;

/// Programs that share a block where their places are loaded, if they are not the fewest.
const BESIDE: u32 = 4;

/// Multiprocessors to a program, where programs are some and not the fewest.
const SOME: u64 = 4;

/// Elements up to which rows that begin at multiples of 16 bytes are accessed by packets, but in the least of launches.
const FEW: u64 = 64;

/// Accesses of 16 bytes for each multiprocessor from which on packets are faster where a row's place is known at once, but begins anywhere.
const DIRECT_UNTIL: u32 = 400;

impl Work {
    /// Whether rows are moved element by element.
    ///
    /// Of rows that begin anywhere: finding out how they are aligned costs a brief launch more than wide accesses save, where rows are
    /// hardly longer than their ends a longer launch too, and where they are scattered, as ends meet late. Measured on an H100 and an H200
    /// with rows of 131 to 1023 elements of 2 bytes (`benches/readings/tuning-h100.jsonl`, `tuning-h200.jsonl` and
    /// `versions-single-h200.jsonl`).
    ///
    /// Of others, some hundreds: if elements have one or two bytes, accesses of half a line or less by more threads are done sooner than
    /// packets, in 0.93 to 1.00 of the time with L2 cold on an H200, 0.95 to 1.04 with L2 warm (`versions-single-h200.jsonl`). Those of four
    /// bytes are a whole line of a warp, and hardly faster; of less than one program to [`SOME`] multiprocessors packets are as fast, unless
    /// all is a warp's.
    pub(super) fn is_alone(&self, programs: u64, machine: &Machine) -> bool {
        let tuning = &machine.tuning;
        if self.denies_narrow || self.elements > u64::from(tuning.short_row) {
            return false;
        }
        let until = |of_each| !self.takes(of_each, programs, machine);
        let is_shortest = self.elements <= u64::from(tuning.shortest_row);
        let are_own = programs <= machine.of_all(OWN);
        if self.ragged {
            return match (is_shortest, self.is_indirect()) {
                (true, true) => until(tuning.alone),
                (false, true) if self.indirect_store && self.moves_row => until(tuning.alone),
                (true, false) | (false, true) => until(tuning.brief),
                (false, false) => self.moves_row && are_own && until(DIRECT_UNTIL),
            };
        }
        if !self.moves_row || is_tiny(self.vectors, programs) {
            return self.moves_row;
        }
        let are_few = are_own || (is_shortest && programs <= machine.of_all(2 * OWN));
        self.elements > FEW && are_some(programs, machine) && are_few
    }

    /// The first numbers of programs that [`is_alone`](Self::is_alone) and [`single_elements`](Self::single_elements) tell from those before.
    pub(super) fn alone_from(&self, machine: &Machine) -> impl Iterator<Item = u64> + use<> {
        let until = machine.of_all(DIRECT_UNTIL).div_ceil(self.vectors.max(1));
        let some = machine.of_all(1).div_ceil(SOME);
        let too_many = self.too_many(self.each(1, machine).0, machine);
        let is_short = self.elements <= machine.tuning.short_row.into();
        // From 2 and 3 on, two programs or four are a block's, if they are tiny. What begins at [`OWN`] for each multiprocessor begins where
        // twice as many programs may share a block.
        [2, 3, until, some, too_many].into_iter().filter(move |_| is_short)
    }

    /// Of such rows, a thread has single elements: few, unless there are so many rows that not all warps were there at once.
    ///
    /// Measured on an H200, L2 cold and warm (`benches/readings/versions-single-h200.jsonl`).
    pub(super) fn single_elements(&self, programs: u64, machine: &Machine, base: Schedule) -> Schedule {
        let threads = self.of_single_elements(programs, machine);
        let schedule = Schedule {
            threads,
            unroll: self.elements.div_ceil(threads.into()) as u32,
            wide: false,
            ..base
        };
        let shared = machine.tuning.shared_block;
        let schedule = side_by_side(schedule, shared, programs, machine);
        let programs_per_block = match self.is_indirect() {
            _ if is_tiny(self.vectors, programs) => {
                let of_four_warps = EVEN as u32 / threads;
                of_four_warps.min(programs.next_power_of_two() as u32).max(1)
            }
            true if are_some(programs, machine) && threads * BESIDE <= shared => {
                schedule.programs_per_block.max(BESIDE)
            }
            false if programs <= machine.of_all(OWN) => 1.max(WARP / threads),
            _ => schedule.programs_per_block,
        };
        Schedule {
            programs_per_block,
            ..schedule
        }
    }

    /// The threads of a program that have its single elements.
    fn of_single_elements(&self, programs: u64, machine: &Machine) -> u32 {
        if is_tiny(self.vectors, programs) {
            return round_to_warps(self.elements);
        }
        let (few, many) = self.each(programs, machine);
        let each = match programs < self.too_many(few, machine) {
            true => few,
            false => many,
        };
        self.threads_with(each)
    }

    /// The threads of a program, if each has so many single elements.
    fn threads_with(&self, each: u64) -> u32 {
        match self.elements.div_ceil(each) {
            part if part <= u64::from(WARP) => part.next_power_of_two() as u32,
            warps => round_to_warps(warps),
        }
    }

    /// Single elements of a thread where all warps of a launch are there at once, and where they are not.
    fn each(&self, programs: u64, machine: &Machine) -> (u64, u64) {
        let is_shortest = self.elements <= u64::from(machine.tuning.shortest_row);
        match (self.ragged, self.is_indirect()) {
            (false, _) => (2, 4),
            (true, false) if programs <= machine.of_all(OWN) => (2, 5),
            (true, true) if is_shortest => (3, 5),
            (true, true) if self.indirect_store => (5, 8),
            (true, _) => (5, 5),
        }
    }

    /// The first number of programs whose warps are not there at once, if a thread has so many single elements.
    fn too_many(&self, each: u64, machine: &Machine) -> u64 {
        machine.of_all(WARP * machine.tuning.at_once) / u64::from(self.threads_with(each)) + 1
    }
}

/// Whether there are enough programs that a few of them share a block.
fn are_some(programs: u64, machine: &Machine) -> bool {
    programs.saturating_mul(SOME) >= machine.of_all(1)
}

/// Whether a launch is no more than a warp loads at once: so little is in L2. Measured on an H200, one row of 128 elements takes 0.87 of
/// the time if it is loaded through the caches, and by whole warps of its own (`benches/readings/schedules-short-h200.jsonl`).
pub(super) fn is_tiny(vectors: u64, programs: u64) -> bool {
    vectors.saturating_mul(programs) <= u64::from(WARP)
}
