//! Loops over a tile that a compiler would unroll.

use tilewright::dsl::schedule::{LoadHint, Schedule, StoreHint};
use tilewright::prelude::*;

use crate::devices::on_every_device;

/// The mask is the value, and lies in shared memory: it is read for the value, and again after each store.
#[kernel(grid = [1])]
fn store_what_is_odd(out: &mut Tensor<bool, 1>, places: &mut Tensor<i64, 1>, src: &Tensor<bool, 1>) {
    let i = arange(2048);
    let odd = src.load([i]).scan_axis(0, |a, b| a ^ b);
    out.store_where([i], odd, odd);
    let sums = odd.cast::<i64>().cumulative_sum(0);
    places.store_where([i], sums, sums % 2 == 0);
}

#[test]
fn what_a_store_depends_on_is_read_right_again_after_the_store() {
    const COLUMNS: usize = 2048;
    let src: Vec<bool> = (0..COLUMNS).map(|i| i % 3 == 0 || i % 64 == 5).collect();
    for (threads, unroll) in [(32, 4), (64, 1), (64, 2), (64, 4), (128, 4), (128, 8), (256, 2)] {
        let schedule = Schedule {
            threads,
            programs_per_block: 1,
            splits: 1,
            unroll,
            load: LoadHint::Cached,
            store: StoreHint::Cached,
            wide: true,
        };
        let (out, places) = on_every_device(|device| {
            let src = device.upload(&src, [COLUMNS]).unwrap();
            let mut out = device.zeros::<bool, 1>([COLUMNS]).unwrap();
            let mut places = device.upload(&[-1i64; COLUMNS], [COLUMNS]).unwrap();
            store_what_is_odd(&mut out, &mut places, &src)
                .with_schedule(schedule)
                .launch(device)
                .unwrap();
            (out.download().unwrap(), places.download().unwrap())
        });
        let (mut odd, mut sum) = (false, 0);
        for i in 0..COLUMNS {
            odd ^= src[i];
            sum += i64::from(odd);
            assert_eq!(out[i], odd, "element {i}, {threads} threads, {unroll} in flight");
            assert_eq!(places[i], if sum % 2 == 0 { sum } else { -1 }, "place {i}");
        }
    }
}

/// Elements meet at the first of `out` in every turn, and each turn ends before the next begins.
#[kernel(grid = [1])]
fn count_in_turns(out: &mut Tensor<i32, 1>, turns: i64) {
    let release = AtomicOptions::new()
        .order(MemoryOrder::Release)
        .scope(MemoryScope::System);
    let first = arange(2064) * 0;
    for turn in 0..turns {
        out.atomic_add_with([first], 1, release);
        out.atomic_min_with([first + 1], -turn as i32, release);
    }
}

/// Of so many elements the last ones are those of a part of a warp, whose other threads wait at the barrier of a turn.
#[test]
fn threads_that_leave_a_loop_at_different_times_meet_behind_it() {
    for threads in [32, 96, 416, 512, 608, 1024] {
        let schedule = Schedule {
            threads,
            programs_per_block: 1,
            splits: 1,
            unroll: 7,
            load: LoadHint::Cached,
            store: StoreHint::Cached,
            wide: true,
        };
        let out = on_every_device(|device| {
            let mut out = device.zeros::<i32, 1>([2]).unwrap();
            count_in_turns(&mut out, 5)
                .with_schedule(schedule)
                .launch(device)
                .unwrap();
            out.download().unwrap()
        });
        assert_eq!(out, [5 * 2064, -4], "{threads} threads");
    }
}
