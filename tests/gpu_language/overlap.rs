//! Launches that begin before the one before them has ended: results are the same, and what could differ is refused.

use tilewright::prelude::*;

use crate::devices::{on_every_device, ptx};

/// Triggers at once, so that the next launch is there while this one still works, and waits for the one before.
#[kernel(grid = [out.extent(0)])]
fn step(out: &mut Tensor<i64, 2>, src: &Tensor<i64, 2>, number: i64) {
    trigger_next_launch();
    wait_for_previous_launch();
    // Rows go round, so that programs read what others of the launch before wrote.
    let from = (program_id(0) + 1) % src.extent(0);
    let cols = arange(out.extent(1));
    out.store([program_id(0), cols], src.load([from, cols]) * 3 + number);
}

const ROWS: usize = 64;
const COLUMNS: usize = 36;
const STEPS: i64 = 200;

fn expected() -> Vec<i64> {
    let mut rows: Vec<i64> = (0..(ROWS * COLUMNS) as i64).collect();
    for number in 0..=STEPS {
        rows.rotate_left(COLUMNS);
        rows.iter_mut()
            .for_each(|value| *value = value.wrapping_mul(3).wrapping_add(number));
    }
    rows
}

#[test]
fn a_chain_of_overlapping_launches_gives_what_one_after_the_other_does() {
    let out = on_every_device(|device| {
        let first: Vec<i64> = (0..(ROWS * COLUMNS) as i64).collect();
        let mut buffers = [
            device.upload(&first, [ROWS, COLUMNS]).unwrap(),
            device.zeros::<i64, 2>([ROWS, COLUMNS]).unwrap(),
        ];
        for number in 0..STEPS {
            let [src, out] = &mut buffers;
            step(out, &*src, number).overlapping().launch(device).unwrap();
            buffers.swap(0, 1);
        }
        // What follows without overlapping waits for all of it.
        let [src, out] = &mut buffers;
        step(out, &*src, STEPS).launch(device).unwrap();
        buffers[1].download().unwrap()
    });
    assert!(out == expected());
}

/// Two counts for the launch after, which has them from device memory.
#[kernel(grid = [1])]
fn count_rows(counts: &mut Tensor<i64, 1>, number: i64) {
    wait_for_previous_launch();
    trigger_next_launch();
    counts.store([0], number % 5);
    counts.store([1], number % 3);
}

#[kernel(grid = [out.extent(0)])]
fn add_rows(out: &mut Tensor<i64, 1>, rows: Count, amount: Count) {
    wait_for_previous_launch();
    trigger_next_launch();
    let row = program_id(0);
    if row < rows {
        out.store([row], out.load([row]) + amount);
    }
}

#[test]
fn counts_that_the_launch_before_writes_are_read_after_it() {
    let out = on_every_device(|device| {
        let mut counts = device.zeros::<i64, 1>([2]).unwrap();
        let mut out = device.zeros::<i64, 1>([5]).unwrap();
        for number in 0..STEPS {
            count_rows(&mut counts, number).overlapping().launch(device).unwrap();
            let (rows, amount) = (
                device_count(&counts, 0, 5).unwrap(),
                device_count(&counts, 1, 5).unwrap(),
            );
            let call = add_rows(&mut out, rows, amount);
            call.overlapping().launch(device).unwrap();
        }
        out.download().unwrap()
    });
    let sum = |row: i64| (0..STEPS).filter(|n| row < n % 5).map(|n| n % 3).sum::<i64>();
    assert_eq!(out, (0..5).map(sum).collect::<Vec<_>>());
}

#[kernel(grid = [out.extent(0)])]
fn hasty(out: &mut Tensor<i64, 1>, src: &Tensor<i64, 1>) {
    let value = src.load([program_id(0)]);
    wait_for_previous_launch();
    out.store([program_id(0)], value);
}

#[kernel(grid = [out.extent(0)])]
fn heedless(out: &mut Tensor<i64, 1>) {
    out.store([program_id(0)], 1);
}

#[kernel(grid = [out.extent(0)])]
fn sometimes(out: &mut Tensor<i64, 1>) {
    if program_id(0) > 1 {
        wait_for_previous_launch();
    }
    out.store([program_id(0)], 1);
}

#[kernel(grid = [out.extent(0)])]
fn ahead(out: &mut Tensor<i64, 1>, src: &Tensor<i64, 1>) {
    src.prefetch([program_id(0)]);
    wait_for_previous_launch();
    out.store([program_id(0)], src.load([program_id(0)]));
}

#[test]
fn a_kernel_that_may_touch_memory_before_it_waits_cannot_overlap() {
    on_every_device(|device| {
        let src = device.zeros::<i64, 1>([4]).unwrap();
        let mut out = device.zeros::<i64, 1>([4]).unwrap();
        // Without overlapping they are launched, before as after.
        hasty(&mut out, &src).launch(device).unwrap();
        let mut refused = Vec::new();
        for number in 0..4 {
            let call = match number {
                0 => hasty(&mut out, &src),
                1 => heedless(&mut out),
                2 => sometimes(&mut out),
                _ => ahead(&mut out, &src),
            };
            let error = call.overlapping().launch(device).unwrap_err();
            let LaunchError::NotWaiting { kernel, span } = &error else {
                panic!("{error}");
            };
            assert!(span.file.ends_with("overlap.rs"), "{error}");
            let advice = "make `wait_for_previous_launch()` the first line";
            assert!(error.to_string().contains(advice), "{error}");
            refused.push((kernel.clone(), span.line));
        }
        hasty(&mut out, &src).launch(device).unwrap();
        let lines = |from: usize, to: usize| refused[to].1 - refused[from].1;
        assert!(lines(0, 1) > 0 && lines(1, 2) > 0 && lines(2, 3) > 0, "{refused:?}");
        refused.into_iter().map(|(kernel, _)| kernel).collect::<Vec<_>>()
    });
}

/// All ways to memory: rows read in vectors and through an index, counts, cache hints, atomic operations, a report.
#[kernel(grid = [out.extent(0)], bounds = "trap")]
fn everything(
    out: &mut Tensor<f32, 2>,
    total: &mut Tensor<i32, 1>,
    src: &Tensor<f32, 2>,
    index: &Tensor<i32, 1>,
    rows: Count,
) {
    let row = program_id(0);
    wait_for_previous_launch();
    if row < rows {
        let cols = arange(out.extent(1));
        let once = AccessOptions::new().cache(CacheHint::EvictFirst);
        let value = src.load_with([index.load([row]), cols], once) + src.load([row, cols]);
        out.store([row, cols], value);
        total.atomic_add([0], 1);
    }
}

#[test]
fn no_access_of_memory_stands_before_the_wait_in_the_compiled_text() {
    let device = Device::cpu();
    for columns in [64, 37] {
        let src = device.zeros::<f32, 2>([4, columns]).unwrap();
        let (index, counts) = (
            device.zeros::<i32, 1>([4]).unwrap(),
            device.upload(&[2i64], [1]).unwrap(),
        );
        let mut out = device.zeros::<f32, 2>([4, columns]).unwrap();
        let mut total = device.zeros::<i32, 1>([1]).unwrap();
        let rows = device_count(&counts, 0, 4).unwrap();
        let call = everything(&mut out, &mut total, &src, &index, rows).overlapping();
        let launched = call.launch(&device).unwrap();
        let variant = launched.variant().unwrap();
        for text in ptx(variant, "sm_90") {
            // Functions that are called stand first.
            let entry = &text[text.find(".entry").unwrap()..];
            let (before, after) = entry.split_once("griddepcontrol.wait").unwrap();
            for access in ["ld.global", "st.global", "atom", "red."] {
                assert!(!before.contains(access), "{access} before the wait: {entry}");
            }
            // The read-only path is taken for what no one writes while the kernel runs, and nothing says that before the wait.
            assert!(after.contains("ld.global") && !after.contains(".nc"), "{text}");
            assert!(after.contains("atom") || after.contains("red."), "{text}");
        }
        for text in ptx(variant, "sm_80") {
            assert!(!text.contains("griddepcontrol"), "{text}");
        }
    }
}
