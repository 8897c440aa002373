//! Counts that were never seen: nothing is recorded, proved or compiled for them.

use std::time::{Duration, Instant};

use tilewright::dp::kernels::{pad_rows, place_rows};
use tilewright::prelude::*;
use tilewright_testing::{Part, turn};

/// The first `rows` rows of `src` from row `offset` of `out` on, and zeros behind them up to the end.
#[kernel(grid = [out.extent(0)])]
fn place(out: &mut Tensor<u16, 2>, src: &Tensor<u16, 2>, offset: Count, rows: Count) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    if row >= offset {
        if row < offset + rows {
            out.store([row, cols], src.load([row - offset, cols]));
        } else {
            out.store([row, cols], 0);
        }
    }
}

/// `out[i] = src[index[i]]` for the first `rows` rows.
#[kernel(grid = [rows])]
fn gather(out: &mut Tensor<u16, 2>, src: &Tensor<u16, 2>, index: &Tensor<i32, 1>, rows: Count) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([index.load([row]), cols]));
}

const ROWS: usize = 96;
const COLUMNS: usize = 40;

fn on_every_device(test: impl Fn(&Device)) {
    test(&Device::cpu());
    if let Some(gpu) = Part::Gpu.if_there(Device::cuda(0)) {
        // Its counters are the process's.
        let _turn = turn();
        test(&gpu);
    }
}

fn source() -> Vec<u16> {
    (0..ROWS * COLUMNS).map(|element| (element * 7 + 1) as u16).collect()
}

#[test]
fn counts_that_were_never_seen_build_nothing_and_are_right() {
    on_every_device(|device| {
        device.set_specialize(Specialize::Exact);
        let begun = device.counters();
        let source = source();
        let src = device.upload(&source, [ROWS, COLUMNS]).unwrap();
        let mut rng = fastrand::Rng::with_seed(5);
        let index: Vec<i32> = (0..ROWS).map(|_| rng.i32(-2..ROWS as i32 + 2)).collect();
        let index_there = device.upload(&index, [ROWS]).unwrap();
        let row = |from: i64| -> Vec<u16> {
            let from = usize::try_from(from).ok().filter(|from| *from < ROWS);
            from.map_or(vec![0; COLUMNS], |from| source[from * COLUMNS..][..COLUMNS].to_vec())
        };
        let run = |offset: usize, rows: usize| {
            let mut out = device.upload(&vec![9u16; ROWS * COLUMNS], [ROWS, COLUMNS]).unwrap();
            let call = place(&mut out, &src, Runtime(offset as u64), Runtime(rows as u64));
            call.launch(device).unwrap();
            let expected = (0..ROWS).flat_map(|at| match at.checked_sub(offset) {
                None => vec![9; COLUMNS],
                Some(at) if at < rows => row(at as i64),
                Some(_) => vec![0; COLUMNS],
            });
            assert_eq!(
                out.download().unwrap(),
                expected.collect::<Vec<_>>(),
                "{rows} rows at {offset}"
            );

            let mut out = device.upload(&vec![9u16; ROWS * COLUMNS], [ROWS, COLUMNS]).unwrap();
            gather(&mut out, &src, &index_there, Runtime(rows as u64))
                .launch(device)
                .unwrap();
            let gathered = |at: usize| {
                if at < rows {
                    row(index[at].into())
                } else {
                    vec![9; COLUMNS]
                }
            };
            let expected: Vec<u16> = (0..ROWS).flat_map(gathered).collect();
            assert_eq!(out.download().unwrap(), expected, "{rows} rows gathered");
        };
        // Every set of conditions: no rows, all, some; from the first row on, from within, from beyond the end.
        for offset in [0, 1, ROWS / 2, ROWS, ROWS + 3] {
            for rows in [0, 1, ROWS / 2, ROWS - 1, ROWS, ROWS + 5] {
                run(offset, rows);
            }
        }
        let before = device.counters();
        for _ in 0..200 {
            run(rng.usize(..ROWS + 10), rng.usize(..ROWS + 10));
        }
        let after = device.counters();
        assert_eq!(
            (after.traces, after.variants, after.compiles),
            (before.traces, before.variants, before.compiles)
        );
        // Of two kernels: one recording each, and no more variants than there are sets of conditions.
        let variants = after.variants - begun.variants;
        assert!(after.traces - begun.traces == 2 && variants <= 12, "{after:?}");
    });
}

/// The middle of the times, and the one that 99 of 100 stay below.
fn middle_and_99th(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    [times.len() / 2, times.len() * 99 / 100].map(|at| times[at].as_secs_f64() * 1e6)
}

/// One loop of launches by their numbers of rows: the first launch, then numbers that hardly one launch had before, one number
/// again and again, and new numbers once more, when all that was asked for behind is there.
fn measure_loop(device: &Device, what: &str, most: u64, launch: &mut dyn FnMut(u64)) {
    const STEPS: usize = 3000;
    let mut random = fastrand::Rng::with_seed(1);
    let started = Instant::now();
    launch(most / 2);
    let first = started.elapsed();
    let before = device.counters();
    let mut steps = |rows: &mut dyn FnMut() -> u64| {
        let mut times = Vec::with_capacity(STEPS);
        for step in 0..STEPS {
            let rows = rows();
            let started = Instant::now();
            launch(rows);
            times.push(started.elapsed());
            // A stream that is full would let the host wait.
            if step % 64 == 0 {
                device.synchronize().unwrap();
            }
        }
        assert!(Device::settle(Duration::from_secs(120)));
        middle_and_99th(times)
    };
    let early = steps(&mut || random.u64(1..=most));
    let after = device.counters();
    let known = steps(&mut || most / 2);
    let late = steps(&mut || random.u64(1..=most));
    let waits = device.counters().waits - before.waits;
    println!(
        "{what:<44} {:>8.2} {waits:>7} {:>7} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>7.2} x",
        first.as_secs_f64() * 1e3,
        after.variants - before.variants,
        early[0],
        early[1],
        known[0],
        late[0],
        late[1],
        late[0] / known[0]
    );
    assert_eq!(waits, 0, "{what}: after the first launch none waits for a compiler");
}

/// What new counts cost the host where they are literals if that pays, where they are arguments, and where a plan says which
/// rows go where, for a reading.
#[test]
#[ignore = "a measurement: run it with --release, --ignored and --nocapture"]
fn launches_with_new_counts_wait_for_no_compiler_and_cost_what_others_cost() {
    on_every_device(|device| {
        device.set_specialize(Specialize::Tiered);
        let [rows, columns] = if device.is_cuda() { [8192, 7168] } else { [64, 8] };
        let src = device.zeros::<u16, 2>([rows, columns]).unwrap();
        let mut out = device.zeros::<u16, 2>([rows, columns]).unwrap();
        let most = rows as u64 / 8;
        // Padded to a bucket, and a part of a buffer for all ranks.
        let [bucket, part] = [most as usize, 2 * most as usize];
        println!(
            "{device}, host times of launches in us, 3,000 steps each; first in ms\n{:<44} {:>8} {:>7} {:>7} {:>8} {:>8} {:>8} \
             {:>8} {:>8} {:>9}",
            "", "first", "waited", "built", "new p50", "new p99", "known", "new p50", "new p99", "new/known"
        );
        let mut pad = |what: &str, bind: fn(u64) -> HostCount| {
            measure_loop(device, what, most, &mut |rows| {
                let out = out.view_mut().rows(..bucket).unwrap();
                pad_rows(out, &src, bind(rows)).launch(device).unwrap();
            });
        };
        pad("pad_rows, random exact counts", HostCount::Exact);
        pad("pad_rows, random run-time counts", HostCount::Runtime);
        measure_loop(device, "place_rows, planned places, exact counts", most, &mut |rows| {
            let out = out.view_mut().rows(..part).unwrap();
            // Behind the rows of the ranks before it.
            let start = part as u64 - most - rows / 2;
            place_rows(out, &src, Exact(start), Exact(0), Exact(rows))
                .launch(device)
                .unwrap();
        });
        let mut gather_some = |what: &str, bind: fn(u64) -> HostCount| {
            let index = device.zeros::<i32, 1>([rows]).unwrap();
            measure_loop(device, what, most, &mut |rows| {
                gather(&mut out, &src, &index, bind(rows)).launch(device).unwrap();
            });
        };
        gather_some("a gather, random exact counts", HostCount::Exact);
        gather_some("a gather, random run-time counts", HostCount::Runtime);
        device.measured().iter().for_each(|measured| println!("{measured}"));
    });
}

/// Which program it is, and of how many, in the place before its number.
#[device]
fn tell(out: &mut Tensor<i32, 1>) {
    let number = program_id(1) * num_programs(0) + program_id(0);
    if number < num_programs(0) * num_programs(1) {
        let of = num_programs(1) * 100 + num_programs(0);
        out.store([number - 1], (number * 10_000 + of) as i32);
    }
}

#[kernel(grid = [a - 1])]
fn one_less(out: &mut Tensor<i32, 1>, a: Count, _b: Count) {
    tell(out);
}

#[kernel(grid = [a * 2 - b])]
fn difference(out: &mut Tensor<i32, 1>, a: Count, b: Count) {
    tell(out);
}

#[kernel(grid = [(a + b) / 3, a.max(b) - b])]
fn two_axes(out: &mut Tensor<i32, 1>, a: Count, b: Count) {
    tell(out);
}

#[kernel(grid = [a.min(out.extent(0)), cdiv(b, 2)])]
fn least(out: &mut Tensor<i32, 1>, a: Count, b: Count) {
    tell(out);
}

/// What [`tell`] leaves of a grid.
fn told(places: usize, [inner, outer]: [i64; 2]) -> Vec<i32> {
    let number = |place: usize| Some(place as i64 + 1).filter(|number| *number < inner.max(0) * outer.max(0));
    let value = |number: i64| (number * 10_000 + outer * 100 + inner) as i32;
    (0..places).map(|place| number(place).map_or(0, value)).collect()
}

#[test]
fn grids_of_any_arithmetic_are_right_alone_and_fused_whatever_their_counts() {
    on_every_device(|device| {
        let mut random = fastrand::Rng::with_seed(8);
        for parts in [1, 1, 2, 3, 5, 15, 17, 40] {
            let kinds: Vec<usize> = (0..parts).map(|_| random.usize(..4)).collect();
            let places: Vec<usize> = (0..parts).map(|_| random.usize(..9)).collect();
            for _ in 0..6 {
                let counts: Vec<[u64; 2]> = (0..parts).map(|_| [(); 2].map(|()| random.u64(..9))).collect();
                let outs = places.iter().map(|places| device.zeros::<i32, 1>([*places]));
                let mut outs: Vec<_> = outs.map(Result::unwrap).collect();
                let call = |(part, out): (usize, _)| {
                    let [a, b] = counts[part].map(Runtime);
                    match kinds[part] {
                        0 => one_less(out, a, b),
                        1 => difference(out, a, b),
                        2 => two_axes(out, a, b),
                        _ => least(out, a, b),
                    }
                };
                let mut calls: Vec<Call<'_>> = outs.iter_mut().enumerate().map(call).collect();
                match calls.len() {
                    1 => calls.remove(0).launch(device).unwrap(),
                    _ => Call::fuse(calls).launch(device).unwrap(),
                };
                for (part, out) in outs.iter().enumerate() {
                    let [a, b] = counts[part].map(|count| count as i64);
                    let grid = match kinds[part] {
                        0 => [a - 1, 1],
                        1 => [a * 2 - b, 1],
                        2 => [(a + b) / 3, a.max(b) - b],
                        _ => [a.min(places[part] as i64), (b + 1) / 2],
                    };
                    let found = out.download().unwrap();
                    assert_eq!(found, told(places[part], grid), "{part} of {kinds:?} with {counts:?}");
                }
            }
        }
    });
}
