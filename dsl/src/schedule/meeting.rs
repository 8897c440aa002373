//! Where elements meet: the threads of a program, and the programs of a block.

use super::choose::{BLOCK, EVEN, side_by_side};
use super::{Machine, Meets, Schedule, WARP, Work};
use crate::ir::Expression;

/// Programs are few up to 2^this for each multiprocessor: then what one takes is what all take.
const FEW: u32 = 2;

/// Elements of a thread where there are few programs: what is combined first.
const OWN_IF_FEW: u64 = Expression::CHUNK as u64;

/// Elements of a thread up to which a warp combines all: as many as it has registers for. As many has one that sorts or combines
/// long lines of a tile where programs are many: measured on an H200, 16 take 1.00 to 1.31 of the time but for sorts of 256
/// elements in 4096 programs, which take 0.93.
const OWN_COMBINED: u64 = 32;

/// Elements of a thread of a block.
const OWN_IN_BLOCK: u64 = 16;

/// Whole warps that load and store so many bytes for a program have a block for themselves: what takes longer than beginning a
/// block does is over at different times, so that some warps load while others compute. Measured on an H200, softmax of 512
/// elements takes 0.85 of the time in 4096 programs, quantised rows of 2048 in 65,536 take 0.73; where it is half as much,
/// beginning so many blocks takes longer.
const ALONE_BYTES: u64 = 4096;

/// Elements that are found as soon by threads that share a block.
const FIRST_TWO: u64 = 2;

/// Threads of a warp.
const LANES: u64 = WARP as u64;

impl Work {
    /// A warp or a part of one does what it can hold, without a barrier; where there are few programs, several share what is long. What is
    /// longer a block does, by a power of two of threads: so each combines what it holds.
    pub(super) fn where_they_meet(&self, meets: Meets, programs: u64, machine: &Machine, base: Schedule) -> Schedule {
        let few = programs <= u64::from(machine.multiprocessors) << FEW;
        let threads = match meets {
            Meets::Scanned => self.scanned_by(few),
            Meets::Combined => self.combined_by(few),
            Meets::Sorted => self.sorted_by(few),
            Meets::Selected(first) => self.selected_by(first, few),
        } as u32;
        let selects_several = matches!(meets, Meets::Selected(first) if first > FIRST_TWO);
        let full = match threads >= WARP && (self.bytes >= ALONE_BYTES || selects_several) {
            true => threads,
            false => EVEN as u32,
        };
        side_by_side(Schedule { threads, ..base }, full, programs, machine)
    }

    fn scanned_by(&self, few: bool) -> u64 {
        let (in_warp, own) = if few {
            (OWN_IN_BLOCK, OWN_IF_FEW)
        } else {
            (OWN_COMBINED, OWN_IN_BLOCK)
        };
        match self.elements <= in_warp * LANES {
            true => LANES,
            false => in_block(self.elements.next_power_of_two() / own),
        }
    }

    fn combined_by(&self, few: bool) -> u64 {
        let (in_warp, own) = match self.to_several {
            _ if few => (OWN_IF_FEW, OWN_IF_FEW),
            true => (OWN_COMBINED, OWN_COMBINED),
            false => (OWN_COMBINED, OWN_IN_BLOCK),
        };
        let padded = self.elements.next_power_of_two();
        // A little more than a power of two is no work for as many threads again.
        let rest = self.elements.saturating_sub(padded / 2);
        let padded = if rest <= OWN_IF_FEW.min(padded / 32) {
            padded / 2
        } else {
            padded
        };
        match (self.elements <= in_warp * LANES, few) {
            // Half a warp would share a block with another program; a whole one combines as fast. Measured on an H200, RMS norm of 131
            // elements takes 0.95 of the time, and of 8, with weights that one thread would wait for, 0.84 to 0.90.
            (true, true) if 2 * padded >= OWN_IF_FEW * LANES || (padded <= OWN_IF_FEW && self.loads > 1) => LANES,
            // Two warps combine 64 elements in 0.91 to 0.98 of the time of a quarter of one where there is one program, and in 0.98 to 1.03
            // where there are 64.
            (true, true) if padded == 2 * LANES => 2 * LANES,
            (true, true) => (padded / OWN_IF_FEW).clamp(1, LANES),
            // More than half a warp only for what it would hold too much of.
            (true, false) => (padded / OWN_IF_FEW).min((padded / own).max(LANES / 2)).clamp(1, LANES),
            // A smaller block lets others of its multiprocessor load while it waits.
            (false, false) if padded > own * BLOCK => in_block(padded / OWN_COMBINED),
            // Measured on an H200 with rows of 7168: more threads take longer to combine what they have found, unless each has
            // several tiles to load.
            (false, true) if self.to_one && self.loads == 1 => (padded / own).clamp(2 * LANES, BLOCK),
            (false, _) => in_block(padded / own),
        }
    }

    fn sorted_by(&self, few: bool) -> u64 {
        match (self.elements.next_power_of_two(), few) {
            // Measured on an H200 where programs are few: 64 threads sort 131 to 256 elements in 0.90 to 0.95 of the time of 32.
            (padded, true) if padded == OWN_IF_FEW * LANES => 2 * LANES,
            _ => self.ordered_by(few),
        }
    }

    /// A whole warp finds the first few one after the other: measured on an H200, up to 6 of 64 in 0.93 to 0.97 of the time where
    /// programs are few, and 6 to 8 of 512, where they are many and have a block each, in 0.88 to 0.98.
    fn selected_by(&self, first: u64, few: bool) -> u64 {
        match (self.elements.next_power_of_two() / LANES, few) {
            (2, true) if first <= 6 => LANES,
            (2, true) => LANES / 2,
            (16, false) if first > FIRST_TWO => LANES,
            _ => self.ordered_by(few),
        }
    }

    fn ordered_by(&self, few: bool) -> u64 {
        let own = if few { OWN_IF_FEW } else { OWN_COMBINED };
        let padded = self.elements.next_power_of_two();
        match (self.elements <= own * LANES, few) {
            // Fewer than four threads have too much to do one after the other.
            (true, _) => (padded / own).max((padded / OWN_IN_BLOCK).min(4)).clamp(1, LANES),
            (false, true) => (padded / OWN_COMBINED).clamp(EVEN, 2 * BLOCK),
            (false, false) => in_block(padded / own),
        }
    }
}

/// So many threads, as far as a block of several warps has as many.
fn in_block(threads: u64) -> u64 {
    threads.clamp(2 * LANES, 2 * BLOCK)
}

#[cfg(test)]
mod tests {
    use super::super::choose::tests::moved;
    use super::*;

    #[test]
    fn a_warp_that_moves_much_has_a_block_for_itself_unless_programs_are_few() {
        let work = Work {
            meets: Some(Meets::Combined),
            to_one: true,
            ..moved(128, 512)
        };
        let of = |work: Work, programs| {
            let schedule = work.schedule(&Machine::H200, programs);
            (schedule.threads, schedule.programs_per_block)
        };
        assert_eq!(of(work, 4096), (32, 1));
        let half = Work { bytes: 2048, ..work };
        assert_eq!(of(half, 4096), (32, 4));
        // Half a warp holds what is combined to several.
        let lines = Work {
            to_one: false,
            to_several: true,
            ..work
        };
        assert_eq!(of(lines, 4096), (16, 8));
    }

    #[test]
    fn a_long_row_that_is_combined_to_one_has_fewer_threads_where_there_are_few_and_one_tile_is_loaded() {
        let threads = |to_one, loads, programs| {
            let work = Work {
                independent: false,
                loads,
                meets: Some(Meets::Combined),
                to_one,
                ..moved(896, 7168)
            };
            work.schedule(&Machine::H200, programs).threads
        };
        assert_eq!(
            [threads(true, 1, 1), threads(true, 2, 1), threads(false, 1, 1)],
            [256, 512, 512]
        );
        assert_eq!(threads(true, 1, 4096), threads(true, 2, 4096));
    }
}
