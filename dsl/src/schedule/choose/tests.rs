//! Which schedules are chosen for which work.

use super::super::{MAX_UNROLL, Meets, VECTOR_BYTES};
use super::*;
use crate::host::MAX_PROGRAMS;

/// One tile that is moved, from and to places that are known at once.
pub(in super::super) fn moved(vectors: u64, elements: u64) -> Work {
    Work {
        vectors,
        elements,
        independent: true,
        indirect_load: false,
        indirect_store: false,
        loads: 1,
        ragged: false,
        ragged_store: false,
        stores_line: true,
        ragged_line: false,
        scatters_ends: false,
        stores_elsewhere: false,
        moves_row: true,
        in_place: false,
        denies_narrow: false,
        literal_bounds: false,
        meets: None,
        to_one: false,
        reduces_lines: false,
        longest_line: 0,
        costly: false,
        held_as_combined: false,
        bytes: 2 * VECTOR_BYTES as u64 * vectors,
        loaded: VECTOR_BYTES as u64 * vectors,
    }
}

/// A row that begins anywhere, or is loaded from anywhere, and is scattered or gathered.
fn begins_anywhere(elements: u64, ragged_store: bool, scatters: bool) -> Work {
    Work {
        indirect_load: !scatters,
        indirect_store: scatters,
        ragged: true,
        ragged_store,
        ..moved(elements / 8, elements)
    }
}

#[test]
fn only_short_rows_are_moved_element_by_element_and_only_in_brief_launches() {
    let rows = |elements: u64, ragged, denies_narrow, programs| {
        let work = Work {
            indirect_load: true,
            ragged,
            denies_narrow,
            ..moved((elements / 8).max(1), elements)
        };
        work.schedule(&Machine::H200, programs)
    };
    let alone = rows(131, true, false, 64);
    assert_eq!((alone.threads, alone.unroll, alone.wide), (64, 3, false));
    assert!(!rows(131, true, false, 4096).wide && !rows(1023, true, false, 64).wide);
    for few in [rows(3, true, false, 4096), rows(3, true, true, 100_000)] {
        assert!(few.threads <= 4 && few.programs_per_block >= 32, "{few}");
    }
    for wide in [
        rows(131, true, true, 64),
        rows(136, false, true, 64),
        rows(136, false, false, 4),
        rows(136, false, false, 1057),
        rows(64, false, false, 64),
        rows(131, true, false, 16_384),
        rows(1023, true, false, 4096),
        rows(7167, true, false, 4),
    ] {
        assert!(wide.wide, "{wide}");
    }
}

#[test]
fn two_short_programs_share_a_block_where_there_are_many_and_their_places_are_known() {
    let schedule = |vectors, ragged, indirect_load, programs| {
        let work = Work {
            indirect_load,
            ragged,
            ..moved(vectors, 8 * vectors)
        };
        work.schedule(&Machine::H200, programs)
    };
    for (vectors, unroll) in [(49, 1), (64, 1), (72, 2), (128, 2)] {
        let paired = schedule(vectors, false, false, 16_384);
        assert_eq!(
            (paired.threads, paired.programs_per_block, paired.unroll),
            (64, 2, unroll)
        );
        assert_eq!(paired.splits, 1);
    }
    let alone = [
        schedule(72, false, false, 1024),
        schedule(129, false, false, 16_384),
        schedule(896, false, false, 16_384),
        schedule(129, true, false, 16_384),
        schedule(1024, true, false, 16_384),
        schedule(896, false, true, 16_384),
    ];
    assert!(alone.iter().all(|schedule| schedule.programs_per_block == 1));
}

#[test]
fn a_thread_has_few_single_elements_unless_not_all_are_there_at_once_and_few_programs_share_a_block() {
    let spread = |work: Work, programs| {
        let schedule = work.schedule(&Machine::H200, programs);
        assert!(!schedule.wide, "{work:?} {programs}");
        (schedule.threads, schedule.unroll, schedule.programs_per_block)
    };
    let gathered = begins_anywhere(131, true, false);
    let scattered = |elements| begins_anywhere(elements, true, true);
    assert_eq!(spread(gathered, 8), (64, 3, 1));
    assert_eq!(spread(gathered, 64), (64, 3, 4));
    assert_eq!(spread(gathered, 2112), (64, 3, 4));
    assert_eq!(spread(gathered, 2113), (32, 5, 8));
    assert_eq!(spread(scattered(321), 64), (96, 4, 1));
    assert_eq!(spread(scattered(577), 1000), (128, 5, 2));
    assert_eq!(spread(scattered(321), 2000), (64, 6, 4));
    let direct = Work {
        ragged: true,
        ..moved(16, 131)
    };
    assert_eq!(spread(direct, 528), (96, 2, 1));
    assert_eq!(spread(direct, 529), (32, 5, 8));
    for (vectors, programs, of) in [
        (16, 64, (64, 2, 1)),
        (16, 1000, (64, 2, 4)),
        (32, 1000, (128, 2, 2)),
        (72, 300, (288, 2, 1)),
        (128, 264, (512, 2, 1)),
        (128, 528, (256, 4, 1)),
    ] {
        assert_eq!(spread(moved(vectors, 8 * vectors), programs), of);
    }
    // Half a warp has all of a row of 40: there is room for twice as many.
    assert_eq!(spread(begins_anywhere(40, true, false), 8448), (16, 3, 16));
    assert_eq!(spread(begins_anywhere(40, true, false), 8449), (8, 5, 32));
    let row = moved(64, 512);
    let other = Work {
        moves_row: false,
        ..row
    };
    for (work, programs) in [(other, 300), (other, 1), (row, 1000), (row, 32)] {
        assert!(work.schedule(&Machine::H200, programs).wide, "{work:?}");
    }
}

#[test]
fn what_is_no_more_than_a_warp_loads_at_once_is_loaded_through_the_caches_by_a_thread_for_each_element() {
    let schedule = |vectors: u64, scatters: bool, programs| {
        let work = Work {
            indirect_load: !scatters,
            indirect_store: scatters,
            ..moved(vectors, 8 * vectors)
        };
        let found = work.schedule(&Machine::H200, programs);
        (found.threads, found.programs_per_block, found.load)
    };
    assert_eq!(schedule(16, false, 1), (128, 1, LoadHint::Cached));
    assert_eq!(schedule(16, false, 3), (16, 2, LoadHint::Streaming));
    // Up to four warps are a block.
    assert_eq!(schedule(4, false, 8), (32, 4, LoadHint::Cached));
    assert_eq!(schedule(4, false, 2), (32, 2, LoadHint::Cached));
    assert_eq!(schedule(8, true, 4), (64, 2, LoadHint::Cached));
    assert_eq!(schedule(32, true, 1), (256, 1, LoadHint::Streaming));
    // What has no narrow access is a warp's, or less.
    let packets = Work {
        denies_narrow: true,
        indirect_load: true,
        ..moved(16, 128)
    };
    let threads = |work: Work, programs| work.schedule(&Machine::H200, programs).threads;
    assert_eq!(threads(packets, 1), 32);
    assert_eq!(
        threads(
            Work {
                vectors: 4,
                elements: 32,
                ..packets
            },
            8
        ),
        4
    );
}

#[test]
fn what_is_scattered_within_literals_is_loaded_before_it_is_known_whether_it_is_stored() {
    for (vectors, programs) in [(8, 64), (72, 1), (512, 64), (896, 4096)] {
        let load = |literal_bounds| {
            let work = Work {
                indirect_store: true,
                literal_bounds,
                ..moved(vectors, 8 * vectors)
            };
            work.schedule(&Machine::H200, programs).load
        };
        assert_eq!((load(true), load(false)), (LoadHint::Early, LoadHint::Streaming));
    }
    // So it is where the caches keep it, unless it is put together of what L1 keeps for neighbours.
    let ragged = |vectors, elements| Work {
        indirect_store: true,
        literal_bounds: true,
        ragged: true,
        ragged_store: true,
        ..moved(vectors, elements)
    };
    for (work, programs, load) in [
        (ragged(896, 7167), 4096, LoadHint::Cached),
        (ragged(17, 131), 4096, LoadHint::EarlyCached),
        (ragged(17, 131), 16_384, LoadHint::Cached),
    ] {
        assert_eq!(work.schedule(&Machine::H200, programs).load, load, "{work:?}");
    }
    let short = Work {
        indirect_store: true,
        literal_bounds: true,
        ..moved(72, 576)
    };
    assert_eq!(short.schedule(&Machine::H200, 8192).load, LoadHint::EarlyCached);
}

#[test]
fn what_neighbours_need_of_rows_that_begin_anywhere_is_kept_unless_launches_are_small_or_rows_short_and_not_scattered()
{
    let kept = |elements: u64, ragged_store, scatters: bool, programs| {
        let work = begins_anywhere(elements, ragged_store, scatters);
        let found = work.schedule(&Machine::H200, programs);
        let is_kept = found.store == StoreHint::Cached;
        assert_eq!(found.load == LoadHint::Cached, is_kept, "{found}");
        is_kept
    };
    // Rows whose launches are kept from some number of programs on. Ends of scattered ones meet late.
    for (elements, scatters, programs) in [
        (131, true, 512),
        (575, true, 7437),
        (7167, false, 590),
        (7167, true, 590),
    ] {
        assert!(kept(elements, true, scatters, programs), "{elements} {scatters}");
        assert!(kept(elements, true, scatters, 100 * programs), "{elements} {scatters}");
        assert!(!kept(elements, true, scatters, programs - 1), "{elements} {scatters}");
    }
    for programs in [64, 4096, 65_536] {
        for elements in [131, 575] {
            assert!(!kept(elements, true, false, programs), "{elements} {programs}");
        }
        // Where only what is loaded begins anywhere, no ends are shared.
        assert!(!kept(576, false, true, programs), "{programs}");
    }
    assert!(!kept(7168, false, true, 16_384));
}

#[test]
fn short_rows_leave_in_the_caches_both_of_what_they_read_and_write_or_neither() {
    let kept = |vectors, scatters: bool, programs| {
        let work = Work {
            indirect_load: !scatters,
            indirect_store: scatters,
            ..moved(vectors, 8 * vectors)
        };
        let found = work.schedule(&Machine::H200, programs);
        (found.load == LoadHint::Cached, found.store == StoreHint::Cached)
    };
    let [neither, written, both] = [(false, false), (false, true), (true, true)];
    for scatters in [false, true] {
        for (programs, found) in [(7300, neither), (7400, both), (14_600, both), (14_700, neither)] {
            assert_eq!(kept(72, scatters, programs), found, "{programs}");
        }
        // Of long ones L2 had better hold what the next kernel reads.
        for (programs, found) in [(500, neither), (600, both), (1500, written), (2400, neither)] {
            assert_eq!(kept(896, scatters, programs), found, "{programs}");
        }
    }
}

#[test]
fn long_launches_of_rows_that_begin_anywhere_have_two_accesses_of_a_thread_under_way() {
    for (elements, ragged_store) in [(7167, true), (7168, false)] {
        for scatters in [false, true] {
            let work = begins_anywhere(elements, ragged_store, scatters);
            assert_eq!(work.schedule(&Machine::H200, 16_384).unroll, 2);
        }
    }
    // A row that is longer than what few blocks do in one trip has more of them.
    let long = Work {
        indirect_load: true,
        ragged: true,
        ragged_store: true,
        ..moved(1 << 15, (1 << 18) + 1)
    };
    assert_eq!(long.schedule(&Machine::H200, 65).splits, 64);
}

#[test]
fn rows_whose_places_are_loaded_leave_no_lane_idle_and_share_blocks_where_they_are_short_and_many() {
    let schedule = |vectors, programs| {
        let work = Work {
            indirect_store: true,
            ..moved(vectors, 8 * vectors)
        };
        let found = work.schedule(&Machine::H200, programs);
        (found.threads, found.programs_per_block, found.unroll)
    };
    assert_eq!(schedule(16, 65_536), (16, 16, 1));
    assert_eq!(schedule(32, 4096), (32, 8, 1));
    assert_eq!(schedule(72, 4096), (32, 8, 3));
    assert_eq!(schedule(72, 65_536), (64, 2, 2));
    assert_eq!(schedule(129, 65_536).1, 1);
}

#[test]
fn a_warp_moves_a_row_of_a_little_more_than_its_lanes_load_at_once_unless_the_launch_is_brief() {
    let spread = |work: Work, programs| {
        let schedule = work.schedule(&Machine::H200, programs);
        (schedule.threads, schedule.programs_per_block, schedule.unroll)
    };
    for vectors in [33, 36, 48] {
        let row = moved(vectors, 8 * vectors);
        for work in [
            row,
            Work {
                indirect_load: true,
                ..row
            },
            Work {
                indirect_store: true,
                ..row
            },
        ] {
            for programs in [2000, 4096, 65_536] {
                assert_eq!(spread(work, programs), (32, 8, 2), "{work:?}");
            }
        }
        let packets = Work {
            denies_narrow: true,
            ..row
        };
        assert_eq!(spread(packets, 64), (64, 1, 1));
    }
    assert_eq!(spread(moved(49, 392), 4096), (64, 2, 1));
    let ragged = Work {
        ragged: true,
        ..moved(36, 291)
    };
    assert_ne!(spread(ragged, 65_536), (32, 8, 2));
}

#[test]
fn l2_is_asked_for_the_ends_of_many_short_rows_that_are_scattered_and_share_sectors() {
    let scattered = |vectors, elements| Work {
        indirect_store: true,
        scatters_ends: true,
        ..moved(vectors, elements)
    };
    let fetches = |work: Work, programs| work.schedule(&Machine::H200, programs).store == StoreHint::Fetched;
    for (vectors, elements, first) in [
        (2, 6, 924),
        (9, 144, 924),
        (15, 120, 924),
        (16, 131, 1848),
        (25, 400, 1848),
        // Of 524 and of 1534 bytes.
        (32, 131, 15_263),
        (95, 767, 6468),
        (128, 1024, 6468),
    ] {
        let work = scattered(vectors, elements);
        for ragged in [false, true] {
            let work = Work {
                ragged,
                ragged_store: ragged,
                ..work
            };
            assert!(!fetches(work, first - 1), "{work:?}");
            assert!(fetches(work, first) && fetches(work, 1 << 20), "{work:?}");
        }
        for other in [
            Work { elements: 1, ..work },
            Work {
                scatters_ends: false,
                ..work
            },
            Work { loads: 2, ..work },
            scattered(129, 1032),
        ] {
            assert!(
                [1, first, 1 << 20].iter().all(|programs| !fetches(other, *programs)),
                "{other:?}"
            );
        }
    }
}

#[test]
fn all_numbers_of_programs_of_a_regime_have_one_schedule() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20_000 {
        let digits = random.u32(..20);
        let elements = 1 << digits | random.u64(..1 << 10);
        let work = Work {
            vectors: random.u64(1..=elements),
            elements,
            independent: random.u8(..8) > 0,
            indirect_load: random.bool(),
            indirect_store: random.bool(),
            loads: random.u64(1..6),
            ragged: random.bool(),
            ragged_store: random.bool(),
            stores_line: random.bool(),
            ragged_line: random.bool(),
            scatters_ends: random.bool(),
            stores_elsewhere: random.bool(),
            moves_row: random.bool(),
            in_place: random.bool(),
            denies_narrow: random.bool(),
            literal_bounds: random.bool(),
            meets: [
                None,
                Some(Meets::Scanned),
                Some(Meets::Combined),
                Some(Meets::Sorted),
                Some(Meets::Selected(random.u64(1..20))),
            ][random.usize(0..5)],
            to_one: random.bool(),
            reduces_lines: random.bool(),
            longest_line: if random.bool() { 1 << random.u32(..12) } else { 0 },
            costly: random.bool(),
            held_as_combined: random.bool(),
            bytes: random.u64(..1 << 14),
            loaded: random.u64(..1 << 18),
        };
        let multiprocessors = [random.u32(1..200), 0, u32::MAX][usize::from(random.u8(..16)).saturating_sub(13)];
        let mut machine = Machine::new(90, multiprocessors);
        if random.bool() {
            let others = machine.tuning.neighbours();
            machine.tuning = others[random.usize(..others.len())].2;
        }
        if random.bool() {
            let tuning = &mut machine.tuning;
            for number in [&mut tuning.kept_from, &mut tuning.kept_until, &mut tuning.written_until] {
                *number = random.u32(..20_000);
            }
        }
        if random.u8(..8) == 0 {
            // Of what no table has.
            let tuning = &mut machine.tuning;
            for number in [
                &mut tuning.brief,
                &mut tuning.in_flight,
                &mut tuning.share,
                &mut tuning.short_row,
                &mut tuning.alone,
                &mut tuning.at_once,
                &mut tuning.paired,
                &mut tuning.shared_block,
                &mut tuning.block,
                &mut tuning.fetched_from,
            ] {
                *number = [0, 1, 33, 1000, 1025, u32::MAX][random.usize(..6)];
            }
        }
        // No launch has more than so many, and no GPU none or all of these; who asks is answered.
        let most = if random.u8(..8) > 0 { MAX_PROGRAMS } else { u64::MAX };
        let programs = random.u64(..=most) >> random.u32(..most.ilog2());
        let regime = work.regime(&machine, programs);
        assert!(regime.contains(&programs));
        let schedule = work.schedule(&machine, programs);
        let (threads, block) = (schedule.threads, schedule.threads * schedule.programs_per_block);
        assert!(
            block > 0 && schedule.splits > 0 && (1..=MAX_UNROLL).contains(&schedule.unroll),
            "{work:?} {schedule}"
        );
        let meet = work.meets.is_none() || threads.is_multiple_of(WARP) || threads.is_power_of_two();
        assert!(
            meet && block <= MAX_THREADS && block.is_multiple_of(WARP.min(block)),
            "{work:?} {schedule}"
        );
        let (first, last) = (*regime.start(), *regime.end().min(&most));
        let within = (0..8).map(|_| random.u64(first..=last));
        for other in within.chain([first, last]) {
            assert_eq!(work.schedule(&machine, other), schedule, "{work:?} {programs} {other}");
        }
    }
}

/// Short rows, as many as are moved element by element and somewhat more, on machines of all sizes.
#[test]
fn all_numbers_of_programs_of_a_regime_of_short_rows_have_one_schedule() {
    const MOST: u64 = 4000;
    let mut random = fastrand::Rng::with_seed(5);
    let mut pick = |of: &[u64]| of[random.usize(..of.len())];
    let (mut alone, mut fetched) = (0, 0);
    for _ in 0..800 {
        let edge = pick(&[
            1, 15, 16, 17, 40, 63, 64, 65, 128, 255, 256, 257, 512, 1023, 1024, 1025, 2048,
        ]);
        let elements = edge + pick(&[0, 0, 1, 5, 8, 60]);
        let ragged = pick(&[0, 1]) > 0;
        let bytes = elements * pick(&[1, 2, 4, 8]);
        let vectors = if ragged { bytes / 16 } else { bytes.div_ceil(16) };
        let work = Work {
            ragged,
            ragged_store: ragged && pick(&[0, 1]) > 0,
            indirect_load: pick(&[0, 1]) > 0,
            indirect_store: pick(&[0, 1]) > 0,
            literal_bounds: pick(&[0, 1]) > 0,
            scatters_ends: ragged || pick(&[0, 1]) > 0,
            moves_row: pick(&[0, 1, 1]) > 0,
            denies_narrow: pick(&[0, 0, 0, 1]) > 0,
            loads: pick(&[1, 1, 2]),
            ..moved(vectors.max(1), elements)
        };
        let mut machine = Machine::new(90, pick(&[1, 2, 7, 40, 108, 132, 144]) as u32);
        let tuning = &mut machine.tuning;
        for (number, values) in [
            (&mut tuning.shared_block, [32, 128, 256, 512]),
            (&mut tuning.short_row, [256, 1024, 1024, 2048]),
            (&mut tuning.at_once, [1, 16, 32, 48]),
            (&mut tuning.alone, [62, 248, 992, 992]),
            (&mut tuning.brief, [62, 248, 248, 496]),
            (&mut tuning.fetched_from, [1, 3, 7, 7]),
            (&mut tuning.fetched_long, [50, 400, 3_700, 3_700]),
        ] {
            *number = pick(&values) as u32;
        }
        let all: Vec<_> = (0..MOST).map(|programs| work.choice(&machine, programs)).collect();
        for (programs, (schedule, reason)) in (0u64..).zip(&all) {
            let regime = work.regime(&machine, programs);
            let (first, last) = (*regime.start(), *regime.end().min(&(MOST - 1)));
            assert!(regime.contains(&programs));
            // Neighbours have one schedule, so all have.
            if programs > first {
                assert_eq!(
                    all[programs as usize - 1].0,
                    *schedule,
                    "{work:?} {machine:?} {programs}"
                );
            }
            assert!(first <= programs && programs <= last);
            assert_eq!(*reason == Reason::Alone, !schedule.wide);
            let covered = u64::from(schedule.threads) * u64::from(schedule.unroll);
            assert!(schedule.wide || covered >= elements, "{work:?} {schedule}");
            alone += usize::from(!schedule.wide);
            fetched += usize::from(schedule.store == StoreHint::Fetched);
        }
    }
    assert!(alone > 200_000 && fetched > 50_000, "{alone} {fetched}");
}
