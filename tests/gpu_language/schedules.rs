//! Schedules that a launch asks for: they change how fast it is and nothing else.

use tilewright::dp::kernels::{gather_rows, scatter_rows};
use tilewright::dsl::schedule::{LoadHint, Schedule, StoreHint};
use tilewright::prelude::*;

use crate::devices::on_every_device;

/// So many blocks of so many threads for a program, which leave all in the caches.
pub fn blocks_of(splits: u32, threads: u32) -> Schedule {
    Schedule {
        threads,
        programs_per_block: 1,
        splits,
        unroll: 1,
        load: LoadHint::Cached,
        store: StoreHint::Cached,
        wide: true,
    }
}

fn schedules() -> Vec<Schedule> {
    let mut schedules = Vec::new();
    for load in LoadHint::ALL {
        for store in StoreHint::ALL {
            for (threads, programs_per_block, splits, unroll, wide) in [
                (32, 1, 1, 1, true),
                (96, 1, 3, 2, true),
                (16, 8, 1, 4, true),
                (1024, 1, 1, 16, true),
                (128, 1, 7, 1, true),
                (32, 2, 1, 5, false),
                (64, 1, 3, 2, false),
            ] {
                schedules.push(Schedule {
                    threads,
                    programs_per_block,
                    splits,
                    unroll,
                    load,
                    store,
                    wide,
                });
            }
        }
    }
    schedules
}

#[test]
fn every_schedule_moves_the_same_bits() {
    const COLUMNS: usize = 1021;
    let values: Vec<u16> = (0..9 * COLUMNS).map(|i| i as u16).collect();
    let index = [3i32, 0, -1, 8, 9, 5];
    let results = on_every_device(|device| {
        let src = device.upload(&values, [9, COLUMNS]).unwrap();
        let index = device.upload(&index, [6]).unwrap();
        let mut results = Vec::new();
        for schedule in schedules() {
            let mut out = device.upload(&[7u16; 6 * COLUMNS], [6, COLUMNS]).unwrap();
            let call = gather_rows(&mut out, &src, &index).with_schedule(schedule);
            call.launch(device).unwrap();
            let mut back = device.upload(&[7u16; 9 * COLUMNS], [9, COLUMNS]).unwrap();
            let call = scatter_rows(&mut back, &out, &index).with_schedule(schedule);
            call.launch(device).unwrap();
            results.push((out.download().unwrap(), back.download().unwrap()));
        }
        results
    });
    let row = |i: usize| &values[i * COLUMNS..][..COLUMNS];
    let (zeros, kept) = ([0; COLUMNS], [7; COLUMNS]);
    for (out, back) in results {
        assert_eq!(out, [row(3), row(0), &zeros, row(8), &zeros, row(5)].concat());
        let rows = [row(0), &kept, &kept, row(3), &kept, row(5), &kept, &kept, row(8)];
        assert_eq!(back, rows.concat());
    }
}

/// Tiles in registers that threads exchange, and elements that meet.
#[kernel(grid = [out.extent(0)])]
fn exchanging(out: &mut Tensor<i64, 2>, src: &Tensor<i64, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    let mut held = src.load([row, cols]);
    held += held.sum_axis(0);
    out.store([row, cols], held.flip(0).cumulative_sum(0));
}

#[test]
fn every_number_of_warps_up_to_32_gives_the_same_and_more_are_refused() {
    const COLUMNS: usize = 700;
    let values: Vec<i64> = (0..2 * COLUMNS as i64).map(|i| i * i % 1009).collect();
    let results = on_every_device(|device| {
        let src = device.upload(&values, [2, COLUMNS]).unwrap();
        let run = |threads: u32| {
            let mut out = device.zeros::<i64, 2>([2, COLUMNS]).unwrap();
            let schedule = Schedule {
                threads,
                programs_per_block: 1,
                splits: 1,
                unroll: 1,
                load: LoadHint::Cached,
                store: StoreHint::Cached,
                wide: true,
            };
            let launched = exchanging(&mut out, &src).with_schedule(schedule).launch(device);
            launched.map_err(|error| error.to_string())?;
            Ok::<_, String>(out.download().unwrap())
        };
        for threads in [0, 16, 33, 1024 + 32] {
            let error = run(threads).unwrap_err();
            assert!(
                error.contains("exchanging") && error.contains("threads"),
                "{threads}: {error}"
            );
        }
        // Not powers of two alone.
        [1, 2, 3, 4, 8, 16, 31, 32].map(|warps| run(32 * warps).unwrap())
    });
    let mut expected = Vec::new();
    for row in values.chunks(COLUMNS) {
        let all: i64 = row.iter().sum();
        let mut sum = 0;
        expected.extend(row.iter().rev().map(|value| {
            sum += value + all;
            sum
        }));
    }
    assert!(results.iter().all(|result| *result == expected));
}

#[kernel(grid = [1])]
fn running_total(out: &mut Tensor<i32, 1>) {
    let at = arange(out.extent(0));
    let mut total = full([out.extent(0)], 0i32);
    for _ in 0..3 {
        total += 1;
    }
    out.store([at], total);
}

#[test]
fn a_schedule_that_does_not_fit_is_refused_and_says_why() {
    on_every_device(|device| {
        let mut out = device.zeros::<i32, 1>([64]).unwrap();
        let good = schedules()[0];
        let mut refused = |schedule: Schedule| {
            let launched = running_total(&mut out).with_schedule(schedule).launch(device);
            launched.expect_err("it does not fit").to_string()
        };
        let messages = [
            refused(Schedule {
                threads: 3 * 32 + 1,
                ..good
            }),
            refused(Schedule { unroll: 0, ..good }),
            refused(Schedule { splits: 2, ..good }),
        ];
        let parts = ["a block of 97 threads", "unroll is 0", "depend on one another"];
        for (message, part) in messages.iter().zip(parts) {
            assert!(message.contains("running_total") && message.contains(part), "{message}");
        }
        running_total(&mut out).with_schedule(good).launch(device).unwrap();
        (messages, out.download().unwrap())
    });
}
