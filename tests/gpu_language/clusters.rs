//! Blocks of a cluster, which share a long row.

use tilewright::dsl::schedule::Schedule;
use tilewright::prelude::*;
use tilewright::runtime::compile::Architecture;

use crate::collectives::noise;
use crate::devices::{has_clusters, on_every_device};
use crate::schedules::blocks_of;

/// Small numbers, some of them more than once.
fn values(count: usize) -> Vec<f32> {
    noise(count).iter().map(|&v| (v % 4001) as f32 / 64.0).collect()
}

#[kernel(grid = [out.extent(0)])]
fn spread(out: &mut Tensor<f32, 2>, most: &mut Tensor<i64, 1>, src: &Tensor<f32, 2>) {
    let (row, cols) = (program_id(0), arange(src.extent(1)));
    let x = src.load([row, cols]);
    let e = (x - x.max_axis(0)).exp();
    out.store([row, cols], e / e.sum_axis(0));
    most.store([row], x.argmax_axis(0));
}

#[kernel(grid = [most.extent(0)])]
fn largest(most: &mut Tensor<i64, 1>, src: &Tensor<f32, 2>) {
    let row = program_id(0);
    most.store([row], src.load([row, arange(src.extent(1))]).argmax_axis(0));
}

/// Of as few rows as clusters share, of more, and again and again: whoever tells another block something too early or too late is found.
#[test]
fn few_long_rows_are_the_same_bits_whoever_combines_them() {
    for (rows, columns) in [
        (1, 7168),
        (16, 7168),
        (33, 5120),
        (34, 7168),
        (3, 16_384),
        (1, 7172),
        (2, 32_768),
        (17, 32_768),
    ] {
        let values = values(rows * columns);
        on_every_device(|device| {
            let src = device.upload(&values, [rows, columns]).unwrap();
            let (mut out, mut most) = (
                device.zeros::<f32, 2>([rows, columns]).unwrap(),
                device.zeros::<i64, 1>([rows]).unwrap(),
            );
            let mut first = device.zeros::<i64, 1>([rows]).unwrap();
            let mut results = Vec::new();
            for _ in 0..4 {
                spread(&mut out, &mut most, &src).launch(device).unwrap();
                largest(&mut first, &src).launch(device).unwrap();
                assert_eq!(first.download().unwrap(), most.download().unwrap(), "{rows} {columns}");
                let bits: Vec<u32> = out.download().unwrap().iter().map(|v| v.to_bits()).collect();
                results.push((bits, most.download().unwrap()));
            }
            assert!(results.iter().all(|result| *result == results[0]), "{rows} {columns}");
            results.swap_remove(0)
        });
    }
}

/// Weights of a row, stored behind a head, and what an older largest element weighs beside the row's.
#[kernel(grid = [weights.extent(0)])]
fn shift(out: &mut Tensor<f32, 2>, weights: &mut Tensor<f32, 1>, older: &Tensor<f32, 1>, src: &Tensor<f32, 2>) {
    let (row, cols) = (program_id(0), arange(src.extent(1)));
    let x = src.load([row, cols]);
    // What nobody reads, as no column lies beyond the last.
    let x = select(cols < src.extent(1), x, x.sum_axis(0));
    let most = x.max_axis(0);
    let e = (x - most).exp();
    out.store([row, cols + 8], e / e.sum_axis(0));
    weights.store([row], (older.load([row]) - most).exp());
}

/// Blocks of a cluster hand each other no elements, and arrive once before what they tell each other.
#[test]
fn rows_that_are_stored_elsewhere_are_the_same_bits_whoever_combines_them() {
    for (rows, columns) in [(1, 7168), (3, 5120), (5, 2504)] {
        let values = values(rows * columns);
        on_every_device(|device| {
            let src = device.upload(&values, [rows, columns]).unwrap();
            let older = device.zeros::<f32, 1>([rows]).unwrap();
            let shifted = |schedule: Option<Schedule>| {
                let mut out = device.zeros::<f32, 2>([rows, columns + 8]).unwrap();
                let mut weights = device.zeros::<f32, 1>([rows]).unwrap();
                let call = shift(&mut out, &mut weights, &older, &src).exact_extents();
                let call = match schedule {
                    Some(schedule) => call.with_schedule(schedule),
                    None => call,
                };
                call.launch(device).unwrap();
                let bits = |values: Vec<f32>| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                (bits(out.download().unwrap()), bits(weights.download().unwrap()))
            };
            let chosen = shifted(None);
            let clusters = [(4, 224), (8, 96), (2, 256)].into_iter();
            for (splits, threads) in clusters.filter(|_| has_clusters(device)) {
                let schedule = blocks_of(splits, threads);
                assert_eq!(shifted(Some(schedule)), chosen, "{rows} {columns} {splits}");
            }
            chosen
        });
    }
}

#[test]
fn blocks_whose_threads_meet_are_refused_for_a_gpu_that_has_no_clusters() {
    let device = Device::cpu();
    let src = device.zeros::<f32, 2>([1, 7168]).unwrap();
    let mut out = device.zeros::<f32, 2>([1, 7168]).unwrap();
    let mut most = device.zeros::<i64, 1>([1]).unwrap();
    let mut inspected = |major, splits| {
        let schedule = blocks_of(splits, 224);
        let call = spread(&mut out, &mut most, &src)
            .exact_extents()
            .with_schedule(schedule);
        let found = call.inspect(&InspectOptions::of(Architecture::new(major, 0)));
        found
            .map(|found| found.schedule.splits)
            .map_err(|error| error.to_string())
    };
    assert_eq!(inspected(9, 4), Ok(4));
    assert_eq!(inspected(8, 1), Ok(1));
    let message = inspected(8, 4).expect_err("no clusters");
    for part in ["spread", "4 blocks", "from compute capability 9.0 on", "splits is 1"] {
        assert!(message.contains(part), "{message}");
    }
}
