//! Rows at their places in a slot, and nothing beside them.

use float8::F8E4M3;
use half::bf16;
use tilewright_dp::kernels::{dequantize_nvfp4, quantize_nvfp4_to_slot, quantize_nvfp4_to_slot_with_report};
use tilewright_dsl::call::{Exact, Runtime};
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, Launch, device_count};

use crate::reference::*;

const GLOBAL: f32 = 100.0;

/// Rows of which each is told from the others in 4 bits.
fn rows_of(rows: usize, columns: usize) -> Vec<Vec<f32>> {
    let element = |i: usize| bf16::from_f32(((i * 37 + i / 16) % 211) as f32 / 9.0 - 11.0).to_f32();
    let row = |row: usize| (0..columns).map(|column| element(row * columns + column)).collect();
    (0..rows).map(row).collect()
}

fn bits(rows: &[Vec<f32>]) -> Rows {
    let row = |row: &Vec<f32>| row.iter().map(|&x| bf16::from_f32(x).to_bits().into()).collect();
    rows.iter().map(row).collect()
}

/// The rows of a slot: those from `first` on, as many as count, from row `start` on.
fn slot(all: &Rows, rows: usize, start: usize, first: usize, count: usize) -> Rows {
    let row = |row: usize| {
        let from = row.checked_sub(start).map(|local| local + first);
        let there = from.filter(|&from| from < count.min(all.len()));
        there.map_or_else(|| vec![0; all[0].len()], |from| all[from].clone())
    };
    (0..rows).map(row).collect()
}

#[test]
fn counts_from_none_to_more_than_there_are_fill_the_slot_and_nothing_else() {
    for_each_device(|device| {
        let (there, rows) = (5, 7);
        for columns in [16, 48, 272, 7168] {
            let source = rows_of(there, columns);
            let (bytes, sizes) = quantized_rows(&source, GLOBAL);
            let src = Guarded::<bf16>::new(device, &bits(&source), columns, Placement::Contiguous);
            for (start, first) in [(0, 0), (2, 0), (1, 3), (6, 0), (9, 1)] {
                for count in counts(there).into_iter().chain([40]) {
                    let (payload, scales) = (
                        slot(&bytes, rows, start, first, count),
                        slot(&sizes, rows, start, first, count),
                    );
                    for binding in BINDINGS {
                        let mut found = Guarded::<u8>::untouched(device, rows, columns / 2, Placement::Contiguous);
                        let mut steps = Guarded::<F8E4M3>::untouched(device, rows, columns / 16, Placement::Contiguous);
                        let what = (columns, start, first, count);
                        let [start, first, count] = [start, first, count].map(|n| binding(n as u64));
                        quantize_nvfp4_to_slot(
                            found.view_mut(),
                            steps.view_mut(),
                            src.view(),
                            GLOBAL,
                            start,
                            first,
                            count,
                        )
                        .launch(device)
                        .unwrap();
                        assert_rows(&found.read(), &payload, what);
                        assert_rows(&steps.read(), &scales, what);
                    }
                    let on_device = device.upload(&[start as i64, first as i64, count as i64], [3]).unwrap();
                    let counted = |place: usize| device_count(&on_device, place, 64).unwrap();
                    let mut report = device.upload(&[77i64, 77], [2]).unwrap();
                    let mut found = Guarded::<u8>::untouched(device, rows, columns / 2, Placement::Contiguous);
                    let mut steps = Guarded::<F8E4M3>::untouched(device, rows, columns / 16, Placement::Contiguous);
                    quantize_nvfp4_to_slot_with_report(
                        found.view_mut(),
                        steps.view_mut(),
                        &mut report,
                        src.view(),
                        GLOBAL,
                        counted(0),
                        counted(1),
                        counted(2),
                    )
                    .launch(device)
                    .unwrap();
                    assert_rows(&found.read(), &payload, (columns, start, first, count, "on the device"));
                    assert_rows(&steps.read(), &scales, (columns, start, first, count, "on the device"));
                    let room = (there - first.min(there)).min(rows - start.min(rows));
                    let planned = count.saturating_sub(first);
                    let expected = [planned, planned.min(room)].map(|n| n as i64);
                    assert_eq!(report.download().unwrap(), expected, "{start} {first} {count}");
                }
            }
        }
    });
}

#[test]
fn rows_may_begin_anywhere() {
    for_each_device(|device| {
        let (rows, columns) = (3, 1040);
        let source = rows_of(rows, columns);
        let (bytes, sizes) = quantized_rows(&source, GLOBAL);
        let wide: Vec<Vec<f32>> = quantized_back(&bytes, &sizes);
        for placement in Placement::every::<u8>() {
            // The source lies otherwise, in elements twice as large.
            let from = match placement {
                Placement::Offset(before) => Placement::Offset((before * 3) % 8),
                other => other,
            };
            let src = Guarded::<bf16>::new(device, &bits(&source), columns, from);
            let mut payload = Guarded::<u8>::untouched(device, rows, columns / 2, placement);
            let mut scales = Guarded::<F8E4M3>::untouched(device, rows, columns / 16, placement);
            let (at, all) = (Runtime(0), Runtime(rows as u64));
            quantize_nvfp4_to_slot(payload.view_mut(), scales.view_mut(), src.view(), GLOBAL, at, at, all)
                .launch(device)
                .unwrap();
            assert_rows(&payload.read(), &bytes, placement);
            assert_rows(&scales.read(), &sizes, placement);
            let mut back = Guarded::<bf16>::untouched(device, rows + 1, columns, from);
            dequantize_nvfp4(back.view_mut(), payload.view(), scales.view(), GLOBAL)
                .launch(device)
                .unwrap();
            // A row that nobody quantised is zeros.
            let expected = [bits(&wide), zeros(1, columns)].concat();
            assert_rows(&back.read(), &expected, placement);
        }
    });
}

/// What rows of bits mean.
fn quantized_back(bytes: &Rows, sizes: &Rows) -> Vec<Vec<f32>> {
    let row = |(bytes, sizes): (&Vec<u64>, &Vec<u64>)| {
        let element = |column: usize| {
            let bits = bytes[column / 2] >> (column % 2 * 4) & 15;
            e2m1(bits as u8) * (scale(sizes[column / 16] as u8) / GLOBAL)
        };
        (0..bytes.len() * 2).map(element).collect()
    };
    bytes.iter().zip(sizes).map(row).collect()
}

#[test]
fn tensors_that_do_not_fit_each_other_are_refused() {
    let device = Device::cpu();
    let refused = |payload: usize, scales: usize, columns: usize| {
        let (mut payload, mut scales) = (
            device.zeros::<u8, 2>([2, payload]).unwrap(),
            device.zeros::<F8E4M3, 2>([2, scales]).unwrap(),
        );
        let src = device.zeros::<bf16, 2>([2, columns]).unwrap();
        let at = Exact(0);
        let quantised = quantize_nvfp4_to_slot(&mut payload, &mut scales, &src, 1.0, at, at, Exact(2)).launch(&device);
        let mut out = device.zeros::<bf16, 2>([2, columns]).unwrap();
        let back = dequantize_nvfp4(&mut out, &payload, &scales, 1.0).launch(&device);
        [quantised.map(drop), back.map(drop)].map(|launched| launched.unwrap_err().to_string())
    };
    for (payload, scales, columns) in [(12, 1, 24), (16, 3, 32), (15, 2, 32)] {
        for text in refused(payload, scales, columns) {
            assert!(text.contains("requires"), "{text}");
        }
    }
}

#[test]
fn no_rows_and_no_columns_are_nothing_to_do() {
    for_each_device(|device| {
        for (rows, columns) in [(0, 32), (2, 0), (0, 0)] {
            let src = device.zeros::<bf16, 2>([rows, columns]).unwrap();
            let (mut payload, mut scales) = (
                device.zeros::<u8, 2>([rows, columns / 2]).unwrap(),
                device.zeros::<F8E4M3, 2>([rows, columns / 16]).unwrap(),
            );
            let (at, all) = (Exact(0), Exact(rows as u64));
            let mut report = device.upload(&[7i64, 7], [2]).unwrap();
            quantize_nvfp4_to_slot(&mut payload, &mut scales, &src, 1.0, at, at, all)
                .launch(device)
                .unwrap();
            quantize_nvfp4_to_slot_with_report(&mut payload, &mut scales, &mut report, &src, 1.0, at, at, all)
                .launch(device)
                .unwrap();
            assert_eq!(report.download().unwrap(), [rows as i64; 2], "{rows} {columns}");
            let mut out = device.zeros::<bf16, 2>([rows, columns]).unwrap();
            dequantize_nvfp4(&mut out, &payload, &scales, 1.0)
                .launch(device)
                .unwrap();
        }
    });
}
