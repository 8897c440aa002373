//! Where elements meet: the threads of a program, and the programs of a block.

use super::alone::is_tiny;
use super::choose::{BLOCK, EVEN, side_by_side};
use super::{MAX_THREADS, Machine, Meets, Schedule, VECTOR_BYTES, WARP, Work};
use crate::ir::Expression;

/// Programs are few up to 2^this for each multiprocessor: then what one takes is what all take.
const FEW: u32 = 2;

/// Programs whose blocks are all there at once, however many threads they have: up to so many for each multiprocessor.
const AT_ONCE: u32 = 2;

/// Elements of a thread where there are few programs: what is combined first.
const OWN_IF_FEW: u64 = Expression::CHUNK as u64;

/// Elements of a thread up to which a warp combines all: as many as it has registers for. As many has one that sorts or combines
/// long lines of a tile where programs are many: measured on an H200, 16 take 1.00 to 1.31 of the time but for sorts of 256
/// elements in 4096 programs, which take 0.93.
const OWN_COMBINED: u64 = 32;

/// Elements of a thread of a block.
const OWN_IN_BLOCK: u64 = 16;

/// Accesses to one tile up to which a thread of few programs loads all it has of it at once. Measured on an H200, 512 threads find the
/// largest of 7168 elements of 4 bytes in 0.88 to 0.90 of the time of 256, and 1024 that of 32,768 in 0.38; 256 combine 7168 of 2
/// bytes in 0.96 of the time of 512, and 512 combine 12,288 in 0.80 of that of 256.
const IN_FLIGHT: u64 = 4;

/// Blocks of a cluster that combine a row together; twice as many where there is more to load.
pub(super) const CLUSTER: u64 = 4;

/// Elements that take long to compute up to which one block is as fast.
const COSTLY_IN_BLOCK: u64 = 4096;

/// Bytes of a row from which on several multiprocessors load it sooner than one.
const LOADED_BY_CLUSTER: u64 = 64 << 10;

/// Threads that each store an element or two of a short row, while each of their warps combines all of it.
const ONE_BY_ONE: u64 = EVEN;

/// Whole warps that load and store so many bytes for a program have a block for themselves: what takes longer than beginning a
/// block does is over at different times, so that some warps load while others compute. Measured on an H200, softmax of 512
/// elements takes 0.85 of the time in 4096 programs, quantised rows of 2048 in 65,536 take 0.73; where it is half as much,
/// beginning so many blocks takes longer.
const ALONE_BYTES: u64 = 4096;

/// Elements that are found as soon by threads that share a block.
const FIRST_TWO: u64 = 2;

/// Elements of a line that are put in order sooner by a thread each, where there are few lines: each compares its own with all others.
pub(crate) const COUNTED: u64 = 16;

/// Threads of a warp.
const LANES: u64 = WARP as u64;

impl Work {
    /// A warp or a part of one does what it can hold, without a barrier; where there are few programs, several share what is long. What is
    /// longer a block does, by a power of two of threads: so each combines what it holds.
    pub(super) fn where_they_meet(&self, meets: Meets, programs: u64, machine: &Machine, base: Schedule) -> Schedule {
        if let Some((blocks, threads)) = self.in_cluster(meets, programs, machine) {
            return Schedule {
                threads,
                splits: blocks,
                ..base
            };
        }
        let few = programs <= machine.of_all(1 << FEW);
        let one_by_one = self.is_stored_one_by_one(meets, programs, machine);
        let threads = match meets {
            _ if one_by_one => ONE_BY_ONE,
            Meets::Scanned => self.scanned_by(few),
            Meets::Combined => self.combined_by(few, are_at_once(programs, machine)),
            Meets::Sorted => self.sorted_by(few),
            Meets::Selected(first) => self.selected_by(first, few),
        } as u32;
        let selects_several = matches!(meets, Meets::Selected(first) if first > FIRST_TWO);
        let full = match threads >= WARP && (self.bytes >= ALONE_BYTES || selects_several) {
            true => threads,
            false => EVEN as u32,
        };
        // Handing a row that begins anywhere to those who would store packets of it takes longer than storing it as it is held, where
        // each thread has little.
        let is_little = self.held_as_combined && self.elements <= OWN_IF_FEW * LANES;
        let as_held = few && is_little && self.ragged_store && !self.denies_narrow;
        let wide = !(one_by_one || as_held);
        side_by_side(Schedule { threads, wide, ..base }, full, programs, machine)
    }

    /// Whether threads of several blocks can do a program: they tell each other what they have combined, and nothing else. Those of one hand
    /// each other packets of rows that begin anywhere or are no whole number of chunks, and what one warp has found of a short row.
    pub(super) fn may_be_in_cluster(&self) -> bool {
        let chunks = self.elements / OWN_IF_FEW;
        self.reduces_lines && !self.ragged && self.elements.is_multiple_of(OWN_IF_FEW) && chunks > LANES
    }

    /// Blocks of a cluster, and threads of each, that combine a long row of few sooner than one block.
    ///
    /// Measured on an H200 with L2 cold, up to 16 rows of softmax of 7168 f32 take 0.85 to 0.87 of the time with as many threads as there are
    /// chunks, in four blocks, 32 rows 0.94 and 64 more than 1.02; of 4096 elements 1.01 and more. What is loaded and hardly computed
    /// takes so many bytes: 32,768 bf16 are summed in 0.86 to 0.88 of the time by four blocks of 256 threads, the largest of 32,768 f32 is found in
    /// 0.79 to 0.87 and of 131,072 in 0.56 to 0.64 by eight. Elements that are stored elsewhere than in their own places were not measured:
    /// the threads of one block hand each other what takes long to compute of them.
    fn in_cluster(&self, meets: Meets, programs: u64, machine: &Machine) -> Option<(u32, u32)> {
        let of_each = |blocks: u64| programs.saturating_mul(blocks) <= machine.of_all(1);
        let may_be = self.may_be_in_cluster() && !self.stores_elsewhere && meets == Meets::Combined;
        if !machine.has_clusters || !may_be || !of_each(CLUSTER) {
            return None;
        }
        if self.costly {
            let chunks = (self.elements / OWN_IF_FEW).min(Expression::LEAVES as u64);
            let threads = chunks.div_ceil(CLUSTER).next_multiple_of(LANES);
            return (self.elements > COSTLY_IN_BLOCK).then_some((CLUSTER as u32, threads as u32));
        }
        match self.loaded {
            _ if !of_each(2 * CLUSTER) => None,
            loaded if loaded >= 2 * LOADED_BY_CLUSTER => Some((2 * CLUSTER as u32, BLOCK as u32)),
            loaded if loaded >= LOADED_BY_CLUSTER => Some((CLUSTER as u32, BLOCK as u32)),
            _ => None,
        }
    }

    /// Whether a short row is over sooner where each warp of a block combines all of it and each thread stores an element or two.
    ///
    /// Measured on an H200 with up to two programs for each multiprocessor: rows of 35 to 251 elements that begin anywhere take 0.89 to
    /// 1.00 of the time (RMS norm, cumulative sums), or 0.85 to 1.01 if they are changed in place (RMS norm, softmax). Where elements
    /// take long to compute, as in softmax, and are stored elsewhere, rows of 35 to 128 take 0.91 to 0.99 wherever they begin, and longer
    /// ones up to 1.01, but 0.97 where a warp loads all there is at once.
    fn is_stored_one_by_one(&self, meets: Meets, programs: u64, machine: &Machine) -> bool {
        let is_one_line = match meets {
            Meets::Scanned => true,
            Meets::Combined => self.to_one,
            Meets::Sorted | Meets::Selected(_) => false,
        };
        let pays = match self.costly && !self.in_place {
            true => self.elements <= ONE_BY_ONE || (self.ragged_line && is_tiny(self.vectors, programs)),
            false => self.ragged_line,
        };
        let is_short = self.elements > LANES && self.elements <= OWN_IF_FEW * LANES;
        is_one_line && is_short && pays && self.stores_line && !self.denies_narrow && are_at_once(programs, machine)
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

    fn combined_by(&self, few: bool, at_once: bool) -> u64 {
        let (in_warp, own) = match self.longest_line > 0 {
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
        let has_lines_of_warps = self.longest_line > 0 && self.longest_line <= OWN_IF_FEW * LANES;
        if self.elements > in_warp * LANES && has_lines_of_warps {
            return self.shared_out(own, at_once);
        }
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
            // More threads take longer to combine what they have found.
            (false, true) if self.to_one => {
                // What takes long to compute leaves no time to load more.
                let least = if self.costly { 4 } else { 1 };
                let bytes = (self.loaded / self.elements).clamp(least, 8).next_power_of_two();
                let loading = padded * bytes / (IN_FLIGHT * u64::from(VECTOR_BYTES));
                (padded / own)
                    .min(BLOCK)
                    .max(loading)
                    .clamp(2 * LANES, most_in_block(at_once))
            }
            (false, _) => in_block(padded / own),
        }
    }

    /// Threads of a block for lines that a warp or less combines, with so many elements each or as often twice as many as it takes: if
    /// there can be, as many as none is without work. Measured on an H200, rows of 7168 are quantised in 0.93 to 0.95 of the time of
    /// 256 threads by 224 where there are many, in 0.98 to 1.00 of that of 512 by 448 where there are few, and in 0.97 to 0.98 of that of 448
    /// by 896 where blocks of them are all there at once.
    fn shared_out(&self, own: u64, at_once: bool) -> u64 {
        let mut owns = [own, 2 * own, 4 * own].into_iter();
        let most = most_in_block(at_once);
        let threads = owns.find_map(|own| {
            let threads = self.elements / own;
            let is_even = self.elements.is_multiple_of(own * LANES) && (2 * LANES..=most).contains(&threads);
            is_even.then_some(threads)
        });
        threads.unwrap_or_else(|| in_block(self.elements.next_power_of_two() / own))
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
        let padded = self.elements.next_power_of_two();
        match (padded / LANES, few) {
            // Two threads find two of 4 to 8 in 0.85 to 0.96 of the time of one where programs are few, and of 16 in 0.93 of that of four.
            (0, true) if first == FIRST_TWO && padded > FIRST_TWO => 2,
            (0, _) if first <= FIRST_TWO => in_part_of_warp(padded, OWN_IF_FEW),
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
            // Each finds the place of one element by counting those before it.
            (true, true) if padded <= COUNTED => padded,
            (true, _) => in_part_of_warp(padded, own),
            (false, true) => (padded / OWN_COMBINED).clamp(EVEN, 2 * BLOCK),
            (false, false) => in_block(padded / own),
        }
    }
}

/// Threads that have so many of the elements of a line each: fewer than four would have too much to do one after the other.
fn in_part_of_warp(padded: u64, own: u64) -> u64 {
    (padded / own).max((padded / OWN_IN_BLOCK).min(4)).clamp(1, LANES)
}

/// Whether all programs are under way at once.
fn are_at_once(programs: u64, machine: &Machine) -> bool {
    programs <= machine.of_all(AT_ONCE)
}

/// Threads of the largest block of several warps: others wait for one that is larger, unless all are there at once.
fn most_in_block(at_once: bool) -> u64 {
    if at_once { MAX_THREADS.into() } else { 2 * BLOCK }
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
            longest_line: 128,
            ..work
        };
        assert_eq!(of(lines, 4096), (16, 8));
    }

    #[test]
    fn few_long_rows_that_are_combined_to_one_have_threads_that_load_what_they_have_at_once() {
        let threads = |to_one, elements: u64, bytes, programs| {
            let work = Work {
                independent: false,
                meets: Some(Meets::Combined),
                to_one,
                ..moved(elements * bytes / 16, elements)
            };
            work.schedule(&Machine::H200, programs).threads
        };
        let of_two_bytes = [2048, 4096, 7168, 12_288, 32_768].map(|elements| threads(true, elements, 2, 64));
        assert_eq!(of_two_bytes, [256, 256, 256, 512, 1024]);
        let of_four_bytes = [2048, 7168, 12_288, 32_768].map(|elements| threads(true, elements, 4, 64));
        assert_eq!(of_four_bytes, [256, 512, 1024, 1024]);
        assert_eq!(threads(false, 7168, 2, 64), 512);
        let costly = Work {
            independent: false,
            meets: Some(Meets::Combined),
            to_one: true,
            costly: true,
            ..moved(896, 7168)
        };
        assert_eq!(costly.schedule(&Machine::H200, 64).threads, 512);
        // A part of what is loaded is combined.
        let work = Work {
            independent: false,
            meets: Some(Meets::Combined),
            to_one: true,
            loaded: 20_000,
            ..moved(128, 512)
        };
        assert_eq!(work.schedule(&Machine::H200, 2).threads, 64);
        // Not all blocks of as many threads are there at once.
        assert_eq!(
            [264, 265].map(|programs| threads(true, 32_768, 4, programs)),
            [1024, 512]
        );
        assert_eq!(threads(true, 7168, 4, 4096), threads(true, 7168, 2, 4096));
    }

    #[test]
    fn few_long_rows_are_combined_by_clusters_where_there_are_clusters() {
        let of = |machine: &Machine, costly, elements: u64, loaded, programs| {
            let work = Work {
                independent: false,
                meets: Some(Meets::Combined),
                to_one: true,
                reduces_lines: true,
                costly,
                loaded,
                ..moved(elements / 4, elements)
            };
            let schedule = work.schedule(machine, programs);
            (schedule.splits, schedule.threads)
        };
        let h200 = |costly, elements, loaded, programs| of(&Machine::H200, costly, elements, loaded, programs);
        // Each thread has a chunk.
        assert_eq!(h200(true, 7168, 28_672, 33), (4, 224));
        assert_eq!(h200(true, 5120, 20_480, 1), (4, 160));
        assert_eq!(h200(true, 32_768, 131_072, 1), (4, 256));
        // What takes long to compute keeps more multiprocessors busy than what is loaded.
        assert_eq!(h200(false, 32_768, 65_536, 16), (4, 256));
        assert_eq!(h200(false, 32_768, 131_072, 16), (8, 256));
        for (costly, elements, loaded, programs) in [
            (true, 4096, 16_384, 1),
            (true, 7168, 28_672, 34),
            (true, 7172, 28_688, 1),
            (false, 16_384, 32_768, 1),
            (false, 32_768, 65_536, 17),
        ] {
            assert_eq!(h200(costly, elements, loaded, programs).0, 1, "{elements} {programs}");
        }
        assert_eq!(of(&Machine::new(80, 108), true, 7168, 28_672, 1).0, 1);
    }

    #[test]
    fn lines_that_a_warp_combines_are_shared_out_to_threads_of_which_each_has_as_much() {
        let threads = |lines: u64, line, programs| {
            let work = Work {
                independent: false,
                meets: Some(Meets::Combined),
                longest_line: line,
                ..moved(lines * line / 8, lines * line)
            };
            work.schedule(&Machine::H200, programs).threads
        };
        assert_eq!(
            [1, 264, 265, 4096].map(|programs| threads(56, 128, programs)),
            [896, 896, 448, 224]
        );
        assert_eq!([threads(32, 128, 1), threads(32, 128, 4096)], [512, 128]);
        // Three of 1000 elements are combined by more than a warp each.
        assert_eq!(threads(3, 1000, 4096), 128);
    }

    #[test]
    fn few_short_lines_are_put_in_order_by_a_thread_for_each_element_unless_one_or_two_are_wanted() {
        let threads = |elements, meets, programs| {
            let work = Work {
                independent: false,
                meets: Some(meets),
                ..moved(elements / 4, elements)
            };
            work.schedule(&Machine::H200, programs).threads
        };
        for meets in [Meets::Sorted, Meets::Selected(6)] {
            assert_eq!([8, 16, 32].map(|elements| threads(elements, meets, 1)), [8, 16, 4]);
            assert_eq!(threads(8, meets, 4096), 1);
        }
        assert_eq!(
            [4, 8, 16].map(|elements| threads(elements, Meets::Selected(2), 1)),
            [2, 2, 2]
        );
        assert_eq!(
            [1, 4096].map(|programs| threads(8, Meets::Selected(1), programs)),
            [1, 1]
        );
        assert_eq!(threads(8, Meets::Selected(2), 4096), 1);
    }

    #[test]
    fn few_short_rows_that_begin_anywhere_are_stored_as_they_are_combined() {
        let is_wide = |held_as_combined, denies_narrow, programs| {
            let work = Work {
                independent: false,
                meets: Some(Meets::Combined),
                ragged: true,
                ragged_store: true,
                to_one: true,
                costly: true,
                held_as_combined,
                denies_narrow,
                ..moved(62, 251)
            };
            work.schedule(&Machine::H200, programs).wide
        };
        assert_eq!([1, 4096].map(|programs| is_wide(true, false, programs)), [false, true]);
        assert!(is_wide(false, false, 1));
        // Its author denies that an access is narrow.
        assert!(is_wide(true, true, 1));
    }

    #[test]
    fn each_warp_of_a_block_combines_all_of_a_short_row_of_few_that_its_threads_store_one_by_one() {
        let of = |meets, costly, ragged_line, elements: u64, programs| {
            let work = Work {
                independent: false,
                meets: Some(meets),
                ragged: ragged_line,
                ragged_store: true,
                ragged_line,
                to_one: meets == Meets::Combined,
                costly,
                ..moved(elements / 4, elements)
            };
            let schedule = work.schedule(&Machine::H200, programs);
            (schedule.threads, schedule.wide)
        };
        const ONE_BY_ONE: (u32, bool) = (128, false);
        for meets in [Meets::Combined, Meets::Scanned] {
            let rows =
                |ragged| [32, 35, 251, 257].map(|elements| of(meets, false, ragged, elements, 264) == ONE_BY_ONE);
            assert_eq!(rows(true), [false, true, true, false], "{meets:?}");
            assert_eq!(rows(false), [false; 4], "{meets:?}");
            assert_ne!(of(meets, false, true, 131, 265), ONE_BY_ONE, "{meets:?}");
        }
        // What takes long to compute is computed by all of these warps.
        let costly = |ragged, programs| {
            [64, 128, 131, 251].map(|elements| of(Meets::Combined, true, ragged, elements, programs) == ONE_BY_ONE)
        };
        assert_eq!(costly(false, 1), [true, true, false, false]);
        assert_eq!(costly(true, 1), [true, true, true, false]);
        assert_eq!(costly(true, 2), [true, true, false, false]);
        for meets in [Meets::Sorted, Meets::Selected(6)] {
            assert_ne!(of(meets, false, true, 131, 1), ONE_BY_ONE, "{meets:?}");
        }
        let in_place = |ragged_line| {
            let work = Work {
                independent: false,
                meets: Some(Meets::Combined),
                ragged_line,
                to_one: true,
                costly: true,
                in_place: true,
                ..moved(32, 128)
            };
            work.schedule(&Machine::H200, 64).threads
        };
        assert_eq!([true, false].map(in_place), [128, 32]);
    }

    #[test]
    fn a_short_row_that_is_not_stored_is_combined_by_as_few_threads_as_ever() {
        let threads = |stores_line| {
            let work = Work {
                independent: false,
                meets: Some(Meets::Combined),
                to_one: true,
                costly: true,
                stores_line,
                ..moved(32, 128)
            };
            work.schedule(&Machine::H200, 1).threads
        };
        assert_eq!([true, false].map(threads), [128, 32]);
    }
}
