//! Accesses: bounds policies, masks, indirect indices, views, counts in device memory.

use tilewright::prelude::*;
use tilewright::runtime::device_count;

use crate::devices::{on_every_device, ptx, where_kernels_report};

#[kernel(grid = [1], bounds = "clamp")]
fn clamped(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, index: &Tensor<i64, 1>) {
    let i = arange(index.extent(0));
    out.store([i], src.load([index.load([i])]));
}

#[kernel(grid = [1])]
fn zeroed(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, index: &Tensor<i64, 1>) {
    let i = arange(index.extent(0));
    let at = index.load([i]);
    out.store([at], src.load([at]) + 1);
}

const INDICES: [i64; 9] = [0, 4, 5, -1, i64::MAX, i64::MIN, 2, 1 << 40, -(1 << 33)];

#[test]
fn an_index_out_of_bounds_is_clamped_where_the_kernel_says_so() {
    let out = on_every_device(|device| {
        let src = device.upload(&[10, 11, 12, 13, 14], [5]).unwrap();
        let index = device.upload(&INDICES, [9]).unwrap();
        let mut out = device.zeros::<i32, 1>([9]).unwrap();
        clamped(&mut out, &src, &index).launch(device).unwrap();
        out.download().unwrap()
    });
    assert_eq!(out, [10, 14, 14, 10, 14, 10, 12, 14, 10]);
}

#[test]
fn an_index_out_of_bounds_reads_zero_and_writes_nothing_otherwise() {
    let out = on_every_device(|device| {
        let src = device.upload(&[10, 11, 12, 13, 14], [5]).unwrap();
        let index = device.upload(&INDICES, [9]).unwrap();
        let mut out = device.upload(&[-7i32; 5], [5]).unwrap();
        zeroed(&mut out, &src, &index).launch(device).unwrap();
        out.download().unwrap()
    });
    assert_eq!(out, [11, -7, 13, -7, 15]);
}

#[kernel(grid = [1])]
fn at_literals(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 2>, one: &Tensor<i32, 1>) {
    out.store([0], src.load([1, 2]).max(3));
    out.store([1], src.load([-1, 0x0]).max(3));
    out.store([2], one.load([0]).abs() + one.load([(1)]));
    let before = out.atomic_add([4], 5).max(3);
    out.store([3], before);
}

#[test]
fn a_literal_index_needs_no_type_whatever_is_done_with_what_is_loaded() {
    let out = on_every_device(|device| {
        let src = device.upload(&[10, 11, 12, 13, 14, 15], [2, 3]).unwrap();
        let one = device.upload(&[-20, 1], [2]).unwrap();
        let mut out = device.upload(&[-7, -7, -7, -7, 40, -7], [6]).unwrap();
        at_literals(&mut out, &src, &one).launch(device).unwrap();
        out.download().unwrap()
    });
    assert_eq!(out, [15, 3, 21, 40, 45, -7]);
}

#[kernel(grid = [1], bounds = "trap")]
fn trapping(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, index: &Tensor<i64, 1>) {
    let i = arange(index.extent(0));
    out.store([i], src.load([index.load([i])]));
}

#[test]
fn a_trap_is_an_error_and_the_next_launch_is_right() {
    where_kernels_report(|device| {
        let src = device.upload(&[10, 11, 12, 13, 14], [5]).unwrap();
        let index = device.upload(&[3i64, 9, 1], [3]).unwrap();
        let mut out = device.zeros::<i32, 1>([3]).unwrap();
        let failure = match trapping(&mut out, &src, &index).launch(device) {
            Err(error) => error,
            Ok(_) => device.synchronize().unwrap_err(),
        };
        let text = failure.to_string();
        for part in ["trapping", "memory.rs", "src"] {
            assert!(text.contains(part), "{text}");
        }
        let index = device.upload(&[3i64, 0, 1], [3]).unwrap();
        trapping(&mut out, &src, &index).launch(device).unwrap();
        device.synchronize().unwrap();
        assert_eq!(out.download().unwrap(), [13, 10, 11]);
    });
}

#[kernel(grid = [1])]
fn masked(out: &mut Tensor<u8, 1>, src: &Tensor<u8, 1>, n: Count) {
    let i = arange(src.extent(0));
    let odd = i % 2 == 1;
    let read = src.load_where([i], odd);
    out.store_where([i], read + 1, i < n);
}

#[test]
fn a_mask_reads_zero_and_writes_nothing() {
    for n in [0, 1, 50, 99, 100] {
        let out = on_every_device(|device| {
            let src = device.upload(&(0..100).collect::<Vec<u8>>(), [100]).unwrap();
            let mut out = device.upload(&[200u8; 100], [100]).unwrap();
            masked(&mut out, &src, Runtime(n)).launch(device).unwrap();
            out.download().unwrap()
        });
        let expected: Vec<u8> = (0..100u8)
            .map(|i| {
                if (i as u64) < n {
                    if i % 2 == 1 { i + 1 } else { 1 }
                } else {
                    200
                }
            })
            .collect();
        assert_eq!(out, expected);
    }
}

#[kernel(grid = [1], bounds = "trap")]
fn masked_anywhere(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, index: &Tensor<i64, 1>, other: i32) {
    let i = arange(index.extent(0));
    let at = index.load([i]);
    let valid = (at >= 0) & (at < src.extent(0));
    let value = select(valid, src.load_where([at], valid), other);
    out.store_where([at], value + 1, valid);
    out.store_where([i + src.extent(0)], value, at != 2);
}

#[test]
fn where_a_mask_is_false_an_index_may_be_any_and_another_value_takes_the_place() {
    let out = on_every_device(|device| {
        let src = device.upload(&[10, 11, 12, 13, 14], [5]).unwrap();
        let index = device.upload(&INDICES, [9]).unwrap();
        let mut out = device.upload(&[-7; 15], [15]).unwrap();
        masked_anywhere(&mut out, &src, &index, 99).launch(device).unwrap();
        // Nothing is reported, though the kernel traps.
        device.synchronize().unwrap();
        out.download().unwrap()
    });
    assert_eq!(out[..5], [11, -7, 13, -7, 15]);
    assert_eq!(out[5..], [10, 14, 99, 99, 99, 99, -7, 99, 99, -7]);
}

#[kernel(grid = [cdiv(out.extent(0), 1024)])]
fn copy_blocks(out: &mut Tensor<u16, 1>, src: &Tensor<u16, 1>) {
    let i = arange(1024) + program_id(0) * 1024;
    out.store([i], src.load([i]));
}

#[test]
fn a_copy_by_blocks_is_exact_at_every_length_and_alignment() {
    for n in [1usize, 2, 31, 32, 33, 127, 128, 129, 255, 1000, 1024, 1025, 4097] {
        for (from, to) in [(0, 0), (1, 0), (0, 1), (3, 5), (8, 8)] {
            let values: Vec<u16> = (0..n as u16 + 20).collect();
            let out = on_every_device(|device| {
                let src = device.upload(&values, [n + 20]).unwrap();
                let mut out = device.upload(&vec![0xffffu16; n + 20], [n + 20]).unwrap();
                copy_blocks(
                    out.view_mut().rows(to..to + n).unwrap(),
                    src.rows(from..from + n).unwrap(),
                )
                .launch(device)
                .unwrap();
                out.download().unwrap()
            });
            let mut expected = vec![0xffff; n + 20];
            expected[to..to + n].copy_from_slice(&values[from..from + n]);
            assert_eq!(out, expected, "{n} elements from {from} to {to}");
        }
    }
}

#[kernel(grid = [out.extent(0)], deny_narrow)]
fn copy_whole_rows(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]));
}

#[test]
fn rows_of_whole_vectors_are_moved_in_vectors_and_others_have_ends() {
    let device = Device::cpu();
    for (columns, whole) in [(16, true), (64, true), (1024, true), (18, false), (19, false)] {
        let src = device.zeros::<f32, 2>([3, columns]).unwrap();
        let mut out = device.zeros::<f32, 2>([3, columns]).unwrap();
        let launched = copy_whole_rows(&mut out, &src).launch(&device).unwrap();
        for text in ptx(launched.variant().unwrap(), "sm_90") {
            for access in ["ld.global", "st.global"] {
                let lines = text.lines().filter(|line| line.starts_with(access));
                let (wide, narrow): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains(".v4."));
                assert!(!wide.is_empty(), "rows of {columns}: {text}");
                assert_eq!(narrow.is_empty(), whole, "rows of {columns}: {text}");
            }
        }
    }
}

#[kernel(grid = [rows])]
fn fill_rows(out: &mut Tensor<i32, 2>, rows: Count, value: i32) {
    out.store([program_id(0), arange(out.extent(1))], value);
}

#[test]
fn a_count_is_read_from_device_memory_when_the_kernel_runs() {
    let out = on_every_device(|device| {
        let mut filled = Vec::new();
        for count in [0i32, 3, 8, 20, -4] {
            let counts = device.upload(&[7, count], [2]).unwrap();
            let mut out = device.zeros::<i32, 2>([8, 5]).unwrap();
            fill_rows(&mut out, device_count(&counts, 1, 8).unwrap(), 9)
                .launch(device)
                .unwrap();
            filled.push(out.download().unwrap().iter().filter(|&&v| v == 9).count());
        }
        filled
    });
    assert_eq!(out, [0, 15, 40, 40, 0]);
}

#[kernel(grid = [4])]
fn everyone_writes_zero(out: &mut Tensor<i32, 1>) {
    out.store([0], program_id(0) as i32);
}

#[test]
fn the_cpu_device_reports_two_programs_that_write_one_element() {
    let device = Device::cpu();
    let mut out = device.zeros::<i32, 1>([4]).unwrap();
    let error = everyone_writes_zero(&mut out).launch(&device).unwrap_err().to_string();
    assert!(
        error.contains("everyone_writes_zero") && error.contains("memory.rs"),
        "{error}"
    );
}
