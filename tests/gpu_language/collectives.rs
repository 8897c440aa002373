//! Reductions, scans, sorts and histograms of every extent.

use float8::F8E4M3;
use half::bf16;
use tilewright::prelude::*;

use crate::devices::{has_clusters, on_every_device};
use crate::schedules::blocks_of;

/// One chunk, several, one warp, several; whole and ragged.
const EXTENTS: [usize; 14] = [1, 2, 7, 8, 31, 33, 129, 255, 576, 1000, 1024, 2049, 4097, 5000];

/// Pseudo-random, the same everywhere.
pub fn noise(count: usize) -> Vec<u32> {
    let mut state = 0x2545_f491u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    (0..count).map(next).collect()
}

#[kernel(grid = [sums.extent(0)])]
fn reduce_rows(
    sums: &mut Tensor<i64, 1>,
    floats: &mut Tensor<f32, 1>,
    most: &mut Tensor<f32, 1>,
    first_most: &mut Tensor<i64, 1>,
    farthest: &mut Tensor<f32, 1>,
    src: &Tensor<f32, 2>,
) {
    let row = program_id(0);
    let x = src.load([row, arange(src.extent(1))]);
    sums.store([row], (x * 64.0).cast::<i64>().sum_axis(0));
    floats.store([row], x.sum_axis(0));
    most.store([row], x.max_axis(0));
    first_most.store([row], x.argmax_axis(0));
    farthest.store([row], x.reduce_axis(0, |a, b| select(a.abs() >= b.abs(), a, b)));
}

#[test]
fn rows_of_every_extent_are_reduced_in_one_order() {
    for columns in EXTENTS {
        let rows = 3;
        // Multiples of 1/64 with few different values, so that the largest is there several times.
        let values: Vec<f32> = noise(rows * columns)
            .iter()
            .map(|&v| (v % 1999) as f32 / 64.0 - 15.0)
            .collect();
        let (sums, floats, most, first, farthest) = on_every_device(|device| {
            let src = device.upload(&values, [rows, columns]).unwrap();
            let mut sums = device.zeros::<i64, 1>([rows]).unwrap();
            let mut first = device.zeros::<i64, 1>([rows]).unwrap();
            let [mut floats, mut most, mut farthest] = [0; 3].map(|_| device.zeros::<f32, 1>([rows]).unwrap());
            reduce_rows(&mut sums, &mut floats, &mut most, &mut first, &mut farthest, &src)
                .launch(device)
                .unwrap();
            (
                sums.download().unwrap(),
                floats.download().unwrap(),
                most.download().unwrap(),
                first.download().unwrap(),
                farthest.download().unwrap(),
            )
        });
        for row in 0..rows {
            let line = &values[row * columns..][..columns];
            let exact: f64 = line.iter().map(|&v| f64::from(v)).sum();
            assert_eq!(sums[row] as f64, exact * 64.0, "{columns} columns");
            assert_eq!(
                f64::from(floats[row]),
                exact,
                "every partial sum is exact: {columns} columns"
            );
            let largest = line.iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(most[row], largest);
            assert_eq!(first[row] as usize, line.iter().position(|&v| v == largest).unwrap());
            let far = line.iter().copied().fold(0.0f32, |a, b| a.abs().max(b.abs()));
            assert_eq!(farthest[row].abs(), far);
        }
    }
}

#[kernel(grid = [1])]
fn reduce_axes(
    rows: &mut Tensor<i32, 2>,
    columns: &mut Tensor<i32, 2>,
    planes: &mut Tensor<i32, 2>,
    any: &mut Tensor<bool, 2>,
    src: &Tensor<i32, 3>,
) {
    let (i, j, k) = (arange(src.extent(0)), arange(src.extent(1)), arange(src.extent(2)));
    let x = src.load([i.expand_dims(1).expand_dims(2), j.expand_dims(1), k]);
    rows.store([i.expand_dims(1), j], x.sum_axis(2));
    columns.store([i.expand_dims(1), k], x.max_axis(1));
    planes.store([j.expand_dims(1), k], x.sum_axis(0));
    any.store([i.expand_dims(1), j], (x > 95).any_axis(2));
}

#[test]
fn every_axis_of_a_tile_can_be_reduced() {
    for [a, b, c] in [[2, 3, 5], [1, 40, 33], [5, 1, 300], [9, 17, 8], [1, 1, 1]] {
        let values: Vec<i32> = noise(a * b * c).iter().map(|v| (v % 100) as i32).collect();
        let (rows, columns, planes, any) = on_every_device(|device| {
            let src = device.upload(&values, [a, b, c]).unwrap();
            let mut rows = device.zeros::<i32, 2>([a, b]).unwrap();
            let mut columns = device.zeros::<i32, 2>([a, c]).unwrap();
            let mut planes = device.zeros::<i32, 2>([b, c]).unwrap();
            let mut any = device.zeros::<bool, 2>([a, b]).unwrap();
            reduce_axes(&mut rows, &mut columns, &mut planes, &mut any, &src)
                .launch(device)
                .unwrap();
            (
                rows.download().unwrap(),
                columns.download().unwrap(),
                planes.download().unwrap(),
                any.download().unwrap(),
            )
        });
        let at = |i: usize, j: usize, k: usize| values[(i * b + j) * c + k];
        for i in 0..a {
            for j in 0..b {
                assert_eq!(rows[i * b + j], (0..c).map(|k| at(i, j, k)).sum::<i32>());
                assert_eq!(any[i * b + j], (0..c).any(|k| at(i, j, k) > 95));
            }
            for k in 0..c {
                assert_eq!(Some(columns[i * c + k]), (0..b).map(|j| at(i, j, k)).max());
            }
        }
        for j in 0..b {
            for k in 0..c {
                assert_eq!(planes[j * c + k], (0..a).map(|i| at(i, j, k)).sum::<i32>());
            }
        }
    }
}

#[kernel(grid = [1])]
fn reduce_lines(rows: &mut Tensor<i32, 1>, columns: &mut Tensor<i32, 1>, src: &Tensor<i32, 2>) {
    let (i, j) = (arange(src.extent(0)), arange(src.extent(1)));
    let x = src.load([i.expand_dims(1), j]);
    rows.store([i], x.sum_axis(1));
    columns.store([j], x.sum_axis(0));
}

#[test]
fn many_lines_are_reduced_by_any_number_of_warps() {
    for [a, b] in [[700, 3], [5, 1000], [40, 300]] {
        let values: Vec<i32> = noise(a * b).iter().map(|v| (v % 100) as i32 + 1).collect();
        for threads in [32, 96, 192, 224, 1024] {
            let (rows, columns) = on_every_device(|device| {
                let src = device.upload(&values, [a, b]).unwrap();
                let mut rows = device.zeros::<i32, 1>([a]).unwrap();
                let mut columns = device.zeros::<i32, 1>([b]).unwrap();
                reduce_lines(&mut rows, &mut columns, &src)
                    .with_schedule(blocks_of(1, threads))
                    .launch(device)
                    .unwrap();
                (rows.download().unwrap(), columns.download().unwrap())
            });
            let at = |i: usize, j: usize| values[i * b + j];
            assert!((0..a).all(|i| rows[i] == (0..b).map(|j| at(i, j)).sum::<i32>()));
            assert!((0..b).all(|j| columns[j] == (0..a).map(|i| at(i, j)).sum::<i32>()));
        }
    }
}

#[kernel(grid = [floats.extent(0)])]
fn reduce_inexactly(floats: &mut Tensor<f32, 1>, halves: &mut Tensor<bf16, 1>, src: &Tensor<bf16, 2>) {
    let row = program_id(0);
    let x = src.load([row, arange(src.extent(1))]);
    floats.store([row], (x.cast::<f32>() * 1.1).sum_axis(0));
    halves.store([row], x.sum_axis(0));
}

#[test]
fn rounded_sums_are_the_same_bits_on_every_device_and_with_every_schedule() {
    for columns in [100, 7168, 20_000] {
        let values: Vec<bf16> = noise(2 * columns)
            .iter()
            .map(|&v| bf16::from_f32((v % 1000) as f32 / 7.0))
            .collect();
        on_every_device(|device| {
            let src = device.upload(&values, [2, columns]).unwrap();
            let mut results = Vec::new();
            // Blocks of a cluster share a long row.
            let clusters = [(96, 8), (128, 4), (256, 2), (256, 8), (1024, 3)];
            let alone = [32, 96, 256, 1024].map(|threads| (threads, 1));
            let clusters = clusters.into_iter().filter(|_| columns > 1000 && has_clusters(device));
            for (threads, splits) in alone.into_iter().chain(clusters) {
                let mut floats = device.zeros::<f32, 1>([2]).unwrap();
                let mut halves = device.zeros::<bf16, 1>([2]).unwrap();
                reduce_inexactly(&mut floats, &mut halves, &src)
                    .with_schedule(blocks_of(splits, threads))
                    .launch(device)
                    .unwrap();
                let bits: Vec<u32> = floats.download().unwrap().iter().map(|v| v.to_bits()).collect();
                results.push((bits, halves.download().unwrap()));
            }
            assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
            results.swap_remove(0)
        });
    }
}

#[kernel(grid = [out.extent(0)])]
fn reduce_words(out: &mut Tensor<i64, 2>, before: &mut Tensor<u32, 2>, src: &Tensor<u32, 2>) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    let x = src.load([row, cols]);
    let even = (x & 1) == 0;
    out.store([row, 0], x.product_axis(0).cast::<i64>());
    out.store([row, 1], x.min_axis(0).cast::<i64>());
    out.store([row, 2], x.argmin_axis(0));
    out.store([row, 3], even.count_axis(0));
    out.store([row, 4], even.any_axis(0).cast::<i64>());
    out.store([row, 5], even.all_axis(0).cast::<i64>());
    before.store([row, cols], x.scan_axis_exclusive(0, u32::MAX, |a, b| a.min(b)));
}

#[test]
fn products_least_elements_and_conditions_of_every_extent_are_reduced() {
    for columns in EXTENTS {
        let rows = 3;
        // The last row is even throughout, and the one before has no even element.
        let word = |(i, v): (usize, &u32)| match i / columns {
            0 => *v,
            1 => v | 1,
            _ => v & !1,
        };
        let values: Vec<u32> = noise(rows * columns).iter().enumerate().map(word).collect();
        let (out, before) = on_every_device(|device| {
            let src = device.upload(&values, [rows, columns]).unwrap();
            let mut out = device.zeros::<i64, 2>([rows, 6]).unwrap();
            let mut before = device.zeros::<u32, 2>([rows, columns]).unwrap();
            reduce_words(&mut out, &mut before, &src).launch(device).unwrap();
            (out.download().unwrap(), before.download().unwrap())
        });
        for (row, line) in values.chunks(columns).enumerate() {
            let product = line.iter().fold(1u32, |a, &b| a.wrapping_mul(b));
            let least = line.iter().copied().min().unwrap();
            let first = line.iter().position(|&v| v == least).unwrap();
            let even = line.iter().filter(|v| *v % 2 == 0).count();
            let expected = [
                product.into(),
                least.into(),
                first as i64,
                even as i64,
                (even > 0).into(),
                (even == columns).into(),
            ];
            assert_eq!(out[row * 6..][..6], expected, "row {row} of {columns} columns");
            let mut smallest = u32::MAX;
            for (i, &value) in line.iter().enumerate() {
                assert_eq!(before[row * columns + i], smallest, "element {i} of {columns} columns");
                smallest = smallest.min(value);
            }
        }
    }
}

#[kernel(grid = [owners.extent(0)])]
fn own(owners: &mut Tensor<i64, 1>, positions: &mut Tensor<i64, 1>, segments: &Ragged<i32>) {
    let row = program_id(0);
    let segment = segments.segment_of(row);
    owners.store([row], segment);
    positions.store([row], row - segments.start(segment));
}

#[test]
fn a_row_knows_its_segment_among_empty_ones_too() {
    for lengths in [vec![1], vec![3, 0, 5], vec![0, 0, 2, 0, 0, 7, 1, 0], vec![40; 33]] {
        let starts: Vec<i32> = (0..=lengths.len()).map(|s| lengths[..s].iter().sum()).collect();
        let rows = starts[lengths.len()] as usize;
        let (owners, positions) = on_every_device(|device| {
            let starts = device.upload(&starts, [starts.len()]).unwrap();
            let [mut owners, mut positions] = [0; 2].map(|_| device.zeros::<i64, 1>([rows]).unwrap());
            own(&mut owners, &mut positions, &starts).launch(device).unwrap();
            (owners.download().unwrap(), positions.download().unwrap())
        });
        let mut row = 0;
        for (segment, &length) in lengths.iter().enumerate() {
            for position in 0..length {
                assert_eq!((owners[row], positions[row]), (segment as i64, i64::from(position)));
                row += 1;
            }
        }
        assert_eq!(row, rows);
    }
}

#[kernel(grid = [rows.extent(0)])]
fn rows_of<I: Integer>(rows: &mut Tensor<i64, 1>, owners: &Tensor<I, 1>, segments: &Ragged<i32>) {
    let owner = owners.load([program_id(0)]);
    rows.store([program_id(0)], segments.rows(owner) + 100 * segments.start(owner));
    if program_id(0) == 0 {
        rows.store(
            [0],
            segments.rows(1) + 10 * segments.segment_of(7) + 100 * segments.start(0),
        );
    }
}

#[test]
fn a_segment_is_named_by_an_integer_of_any_type() {
    fn check<I: Integer>(owners: [I; 4]) {
        on_every_device(|device| {
            let segments = device.upload(&[0, 3, 7, 9], [4]).unwrap();
            let owners = device.upload(&owners, [4]).unwrap();
            let mut rows = device.upload(&[-1i64; 4], [4]).unwrap();
            rows_of(&mut rows, &owners, &segments).launch(device).unwrap();
            assert_eq!(rows.download().unwrap(), [24, 304, 702, 0], "{}", I::TYPE);
        });
    }
    check::<i8>([0, 1, 2, i8::MAX]);
    check::<u8>([0, 1, 2, u8::MAX]);
    check::<i32>([0, 1, 2, i32::MIN]);
    check::<u32>([0, 1, 2, u32::MAX]);
    check::<i64>([0, 1, 2, 4]);
    check::<u64>([0, 1, 2, u64::MAX]);
}

#[kernel(grid = [sums.extent(0)])]
fn scan_rows<T: Number>(
    sums: &mut Tensor<T, 2>,
    before: &mut Tensor<T, 2>,
    most: &mut Tensor<T, 2>,
    src: &Tensor<T, 2>,
) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    let x = src.load([row, cols]);
    sums.store([row, cols], x.cumulative_sum(0));
    before.store([row, cols], x.cumulative_sum_exclusive(0));
    most.store([row, cols], x.scan_axis(0, |a, b| a.max(b)));
}

#[test]
fn rows_of_every_extent_are_scanned() {
    // 9000 is more than one segment of groups of chunks.
    for columns in EXTENTS.into_iter().filter(|&n| n < 4097).chain([9000]) {
        let rows = 2;
        let values: Vec<u8> = noise(rows * columns).iter().map(|&v| v as u8).collect();
        let (sums, before, most) = on_every_device(|device| {
            let src = device.upload(&values, [rows, columns]).unwrap();
            let [mut sums, mut before, mut most] = [0; 3].map(|_| device.zeros::<u8, 2>([rows, columns]).unwrap());
            scan_rows(&mut sums, &mut before, &mut most, &src)
                .launch(device)
                .unwrap();
            (
                sums.download().unwrap(),
                before.download().unwrap(),
                most.download().unwrap(),
            )
        });
        for row in 0..rows {
            let (mut sum, mut largest) = (0u8, 0u8);
            for i in row * columns..(row + 1) * columns {
                assert_eq!(before[i], sum, "element {i} of {columns} columns");
                sum = sum.wrapping_add(values[i]);
                largest = largest.max(values[i]);
                assert_eq!((sums[i], most[i]), (sum, largest), "element {i} of {columns} columns");
            }
        }
    }
}

#[kernel(grid = [1])]
fn latest<T: Element>(out: &mut Tensor<T, 1>, src: &Tensor<T, 1>) {
    let i = arange(src.extent(0));
    out.store([i], src.load([i]).scan_axis(0, |_, b| b.cast::<T>()));
}

#[test]
fn a_cast_to_the_same_type_keeps_all_bits_in_a_combining_function_too() {
    let eights: Vec<F8E4M3> = (0..=255).map(F8E4M3::from_bits).collect();
    let halves: Vec<bf16> = (0..256).map(|i| bf16::from_bits(0xff00 | i)).collect();
    let (found_eights, found_halves) = on_every_device(|device| {
        let (src, mut out) = (device.upload(&eights, [256]).unwrap(), device.zeros([256]).unwrap());
        latest::<F8E4M3>(&mut out, &src).launch(device).unwrap();
        let (src, mut halves) = (device.upload(&halves, [256]).unwrap(), device.zeros([256]).unwrap());
        latest::<bf16>(&mut halves, &src).launch(device).unwrap();
        let bits = out.download().unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        (
            bits,
            halves
                .download()
                .unwrap()
                .iter()
                .map(|v| v.to_bits())
                .collect::<Vec<_>>(),
        )
    });
    assert_eq!(found_eights, (0..=255).collect::<Vec<u8>>());
    assert_eq!(found_halves, halves.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
}

#[kernel(grid = [1])]
fn scan_axes(down: &mut Tensor<f32, 2>, across: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    let (i, j) = (arange(src.extent(0)).expand_dims(1), arange(src.extent(1)));
    let x = src.load([i, j]) * 1.1;
    down.store([i, j], x.cumulative_sum(0));
    across.store([i, j], x.cumulative_sum(1));
}

#[test]
fn every_axis_of_a_tile_can_be_scanned_and_rounds_alike_everywhere() {
    for [a, b] in [[3, 700], [300, 5], [40, 41]] {
        let values: Vec<f32> = noise(a * b).iter().map(|&v| (v % 1000) as f32 / 7.0).collect();
        let (down, across) = on_every_device(|device| {
            let src = device.upload(&values, [a, b]).unwrap();
            let [mut down, mut across] = [0; 2].map(|_| device.zeros::<f32, 2>([a, b]).unwrap());
            scan_axes(&mut down, &mut across, &src).launch(device).unwrap();
            (down.download().unwrap(), across.download().unwrap())
        });
        let close = |value: f32, exact: f64| (f64::from(value) / exact - 1.0).abs() < 1e-5 || exact == 0.0;
        for i in 0..a {
            for j in 0..b {
                let x = |i: usize, j: usize| f64::from(values[i * b + j]) * 1.1;
                assert!(close(down[i * b + j], (0..=i).map(|i| x(i, j)).sum()));
                assert!(close(across[i * b + j], (0..=j).map(|j| x(i, j)).sum()));
            }
        }
    }
}

#[kernel(grid = [order.extent(0)])]
fn sort_rows(
    order: &mut Tensor<i64, 2>,
    sorted: &mut Tensor<f32, 2>,
    best: &mut Tensor<f32, 2>,
    best_at: &mut Tensor<i64, 2>,
    src: &Tensor<f32, 2>,
) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    let x = src.load([row, cols]);
    order.store([row, cols], x.argsort_axis(0));
    sorted.store([row, cols], x.sort_descending_axis(0));
    let (value, index) = x.top_k(0, best.extent(1));
    let k = arange(best.extent(1));
    best.store([row, k], value);
    best_at.store([row, k], index);
}

#[test]
fn rows_are_sorted_stably_with_nan_as_the_largest() {
    for columns in [1, 2, 8, 31, 64, 129, 256, 1000, 2048] {
        let (rows, k) = (2, columns.min(8));
        let mut values: Vec<f32> = noise(rows * columns).iter().map(|&v| (v % 50) as f32 - 25.0).collect();
        if columns > 30 {
            values[7] = f32::NAN;
            values[20] = f32::NAN;
            values[3] = -0.0;
            values[5] = 0.0;
            values[9] = f32::NEG_INFINITY;
        }
        let (order, sorted, best, best_at) = on_every_device(|device| {
            let src = device.upload(&values, [rows, columns]).unwrap();
            let mut order = device.zeros::<i64, 2>([rows, columns]).unwrap();
            let mut sorted = device.zeros::<f32, 2>([rows, columns]).unwrap();
            let mut best = device.zeros::<f32, 2>([rows, k]).unwrap();
            let mut best_at = device.zeros::<i64, 2>([rows, k]).unwrap();
            sort_rows(&mut order, &mut sorted, &mut best, &mut best_at, &src)
                .launch(device)
                .unwrap();
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
            (
                order.download().unwrap(),
                bits(sorted.download().unwrap()),
                bits(best.download().unwrap()),
                best_at.download().unwrap(),
            )
        });
        for row in 0..rows {
            let line = &values[row * columns..][..columns];
            let compare = |&l: &usize, &r: &usize| {
                let (a, b) = (line[l], line[r]);
                a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            };
            let mut ascending: Vec<usize> = (0..columns).collect();
            ascending.sort_by(compare);
            let mut descending: Vec<usize> = (0..columns).collect();
            descending.sort_by(|l, r| compare(r, l));
            for i in 0..columns {
                assert_eq!(order[row * columns + i] as usize, ascending[i]);
                assert_eq!(sorted[row * columns + i], line[descending[i]].to_bits());
            }
            for i in 0..k {
                assert_eq!(best_at[row * k + i] as usize, descending[i]);
                assert_eq!(best[row * k + i], line[descending[i]].to_bits());
            }
        }
    }
}

#[kernel(grid = [1])]
fn count_experts(all: &mut Tensor<i32, 1>, real: &mut Tensor<i32, 1>, ids: &Tensor<i32, 2>, rows: i64) {
    let row = arange(ids.extent(0)).expand_dims(1);
    let ids = ids.load([row, arange(ids.extent(1))]);
    let expert = arange(all.extent(0));
    all.store([expert], ids.histogram(all.extent(0)));
    real.store(
        [expert],
        ids.histogram_where(real.extent(0), (row < rows).broadcast_to([comptime(ids_rows()), 8])),
    );
}

/// Rows of the ids that are counted.
fn ids_rows() -> usize {
    100
}

#[test]
fn a_histogram_counts_what_is_in_range_and_where_the_mask_is_true() {
    let ids: Vec<i32> = noise(800).iter().map(|&v| (v % 70) as i32 - 3).collect();
    let (all, real) = on_every_device(|device| {
        let tensor = device.upload(&ids, [100, 8]).unwrap();
        let [mut all, mut real] = [0; 2].map(|_| device.zeros::<i32, 1>([64]).unwrap());
        count_experts(&mut all, &mut real, &tensor, 37).launch(device).unwrap();
        (all.download().unwrap(), real.download().unwrap())
    });
    for expert in 0..64 {
        let count = |ids: &[i32]| ids.iter().filter(|&&id| id == expert as i32).count() as i32;
        assert_eq!(all[expert], count(&ids));
        assert_eq!(real[expert], count(&ids[..37 * 8]));
    }
}

#[kernel(grid = [1])]
fn sums_in_a_loop(out: &mut Tensor<i64, 2>, src: &Tensor<i64, 2>, rows: Count) {
    let cols = arange(src.extent(1));
    let mut carried = full([src.extent(1)], 0i64);
    let mut total = 0i64;
    for row in 0..rows {
        let scanned = (src.load([row, cols]) + carried).cumulative_sum(0);
        if total % 2 == 0 {
            carried = scanned.flip(0);
        }
        total += scanned.max_axis(0) + carried.sum_axis(0);
        out.store([row, cols], scanned + total);
    }
}

#[test]
fn what_meets_in_one_trip_of_a_loop_does_not_disturb_the_next() {
    for columns in [20, 100, 1000] {
        let rows = 6;
        let values: Vec<i64> = noise(rows * columns).iter().map(|&v| i64::from(v % 10)).collect();
        let out = on_every_device(|device| {
            let src = device.upload(&values, [rows, columns]).unwrap();
            let mut out = device.zeros::<i64, 2>([rows, columns]).unwrap();
            sums_in_a_loop(&mut out, &src, Runtime(rows as u64))
                .launch(device)
                .unwrap();
            out.download().unwrap()
        });
        let (mut carried, mut total) = (vec![0i64; columns], 0i64);
        for row in 0..rows {
            let mut sum = 0;
            let scanned: Vec<i64> = (0..columns)
                .map(|i| {
                    sum += values[row * columns + i] + carried[i];
                    sum
                })
                .collect();
            if total % 2 == 0 {
                carried = scanned.iter().rev().copied().collect();
            }
            total += scanned.iter().max().unwrap() + carried.iter().sum::<i64>();
            for i in 0..columns {
                assert_eq!(
                    out[row * columns + i],
                    scanned[i] + total,
                    "row {row} of {columns} columns"
                );
            }
        }
    }
}
