//! Tiles of every shape: in registers, broadcast, reshaped, split over blocks, several to a block.

use half::bf16;
use tilewright::prelude::*;

use crate::devices::on_every_device;

#[kernel(grid = [out.extent(0)])]
fn window_sum(out: &mut Tensor<bf16, 2>, src: &Tensor<bf16, 2>, window: Count) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    let mut sum = full([src.extent(1)], 0.0f32);
    for i in 0..window {
        sum += src.load([row + i, cols]).cast::<f32>();
    }
    out.store([row, cols], sum.cast::<bf16>());
}

#[test]
fn a_variable_can_hold_a_tile_of_any_extent() {
    for columns in [
        1, 2, 31, 32, 33, 127, 128, 129, 131, 255, 576, 1000, 1024, 2880, 4097, 5120, 7168,
    ] {
        let values: Vec<bf16> = (0..6 * columns).map(|i| bf16::from_f32((i % 97) as f32)).collect();
        let out = on_every_device(|device| {
            let src = device.upload(&values, [6, columns]).unwrap();
            let mut out = device.zeros::<bf16, 2>([3, columns]).unwrap();
            window_sum(&mut out, &src, Runtime(4)).launch(device).unwrap();
            out.download().unwrap()
        });
        let at = |row: usize, column: usize| values[row * columns + column].to_f32();
        for (i, &value) in out.iter().enumerate() {
            let (row, column) = (i / columns, i % columns);
            assert_eq!(
                value,
                bf16::from_f32((row..row + 4).map(|r| at(r, column)).sum()),
                "{row}, {column}"
            );
        }
    }
}

#[kernel(grid = [1])]
fn outer(out: &mut Tensor<f32, 2>, x: &mut Tensor<f32, 1>) {
    let (i, j) = (arange(100), arange(36));
    let a = x.load([i]);
    // From here on memory differs from `a`, which keeps what was read.
    x.store([i], a * 2.0);
    let b = x.load([j]);
    out.store([i.expand_dims(1), j], a.expand_dims(1) * b + 0.5);
}

#[test]
fn threads_exchange_tiles_in_registers_and_see_each_others_stores() {
    let values: Vec<f32> = (0..100).map(|i| i as f32 - 50.0).collect();
    let (out, x) = on_every_device(|device| {
        let mut x = device.upload(&values, [100]).unwrap();
        let mut out = device.zeros::<f32, 2>([100, 36]).unwrap();
        outer(&mut out, &mut x).launch(device).unwrap();
        (out.download().unwrap(), x.download().unwrap())
    });
    let expected: Vec<f32> = (0..100)
        .flat_map(|i| (0..36).map(move |j| (i, j)))
        .map(|(i, j)| values[i] * (2.0 * values[j]) + 0.5)
        .collect();
    assert_eq!(out, expected);
    assert_eq!(x, values.iter().map(|v| v * 2.0).collect::<Vec<_>>());
}

#[kernel(grid = [1])]
fn shift_down(x: &mut Tensor<i32, 1>, times: Count) {
    let i = arange(1000);
    for _ in 0..times {
        let moved = x.load([i]);
        x.store([i + 1], moved);
    }
}

#[test]
fn memory_that_is_read_and_written_is_read_before_it_is_overwritten() {
    let values: Vec<i32> = (0..1003).collect();
    let out = on_every_device(|device| {
        let mut x = device.upload(&values, [1003]).unwrap();
        shift_down(&mut x, Runtime(5)).launch(device).unwrap();
        x.download().unwrap()
    });
    let mut expected = values;
    (0..5).for_each(|_| expected.copy_within(0..1000, 1));
    assert_eq!(out, expected);
}

#[kernel(grid = [1])]
fn overlapping_stores(out: &mut Tensor<i32, 1>, n: Count) {
    let i = arange(200);
    for trip in 0..n {
        out.store([i + trip * 3], full([200], 0i32) + trip as i32);
    }
    out.store([arange(7) + 1], -1);
}

#[test]
fn the_last_of_several_stores_to_an_element_wins() {
    let out = on_every_device(|device| {
        let mut out = device.upload(&[99i32; 300], [300]).unwrap();
        overlapping_stores(&mut out, Runtime(20)).launch(device).unwrap();
        out.download().unwrap()
    });
    let mut expected = [99i32; 300];
    for trip in 0..20 {
        expected[trip * 3..][..200].fill(trip as i32);
    }
    expected[1..8].fill(-1);
    assert_eq!(out, expected);
}

#[kernel(grid = [cdiv(out.extent(0), 16), cdiv(out.extent(1), 24)])]
fn transpose(out: &mut Tensor<u16, 2>, src: &Tensor<u16, 2>) {
    let rows = arange(16) + program_id(0) * 16;
    let cols = arange(24) + program_id(1) * 24;
    out.store([rows.expand_dims(1), cols], src.load([cols, rows.expand_dims(1)]));
}

#[test]
fn blocks_of_two_axes_cover_a_tensor_whose_extents_they_do_not_divide() {
    let (rows, columns) = (101, 77);
    let values: Vec<u16> = (0..rows * columns).map(|i| i as u16).collect();
    let out = on_every_device(|device| {
        let src = device.upload(&values, [columns, rows]).unwrap();
        let mut out = device.zeros::<u16, 2>([rows, columns]).unwrap();
        transpose(&mut out, &src).launch(device).unwrap();
        // The same through views: a transposed source, and a destination with margins.
        let mut wide = device.upload(&vec![7u16; 103 * 80], [103, 80]).unwrap();
        let inner = wide.view_mut().rows(1..102).unwrap().columns(2..79).unwrap();
        transpose(inner, &src).launch(device).unwrap();
        (out.download().unwrap(), wide.download().unwrap())
    });
    let expected: Vec<u16> = (0..rows * columns)
        .map(|i| values[(i % columns) * rows + i / columns])
        .collect();
    assert_eq!(out.0, expected);
    for (i, &value) in out.1.iter().enumerate() {
        let (row, column) = (i / 80, i % 80);
        let inside = (1..102).contains(&row) && (2..79).contains(&column);
        assert_eq!(
            value,
            if inside {
                expected[(row - 1) * columns + column - 2]
            } else {
                7
            }
        );
    }
}

#[kernel(grid = [1])]
fn reshaped(out: &mut Tensor<i64, 3>, flat: &mut Tensor<i64, 1>, src: &Tensor<i64, 1>) {
    let v = src.load([arange(120)]);
    let cube = v.reshape([4, 5, 6]);
    let (i, j, k) = (arange(4).reshape([4, 1, 1]), arange(5).expand_dims(1), arange(6));
    out.store([i, j, k], cube * 2 + k);
    flat.store([arange(120)], (cube + full([6], 1)).reshape([120]));
}

#[test]
fn reshapes_keep_the_order_of_elements() {
    let values: Vec<i64> = (0..120).map(|i| i * i).collect();
    let (out, flat) = on_every_device(|device| {
        let src = device.upload(&values, [120]).unwrap();
        let mut out = device.zeros::<i64, 3>([4, 5, 6]).unwrap();
        let mut flat = device.zeros::<i64, 1>([120]).unwrap();
        reshaped(&mut out, &mut flat, &src).launch(device).unwrap();
        (out.download().unwrap(), flat.download().unwrap())
    });
    assert_eq!(
        out,
        values
            .iter()
            .enumerate()
            .map(|(i, v)| v * 2 + i as i64 % 6)
            .collect::<Vec<_>>()
    );
    assert_eq!(flat, values.iter().map(|v| v + 1).collect::<Vec<_>>());
}

#[kernel(grid = [out.extent(0)])]
fn scaled(out: &mut Tensor<bf16, 2>, src: &Tensor<bf16, 2>, scale: &Tensor<f32, 1>, bias: &Tensor<f32, 1>) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    let x = src.load([row, cols]).cast::<f32>();
    out.store([row, cols], (x * scale.load([row]) + bias.load([cols])).cast::<bf16>());
}

#[test]
fn computing_rows_agree_at_every_width_and_number_of_programs() {
    for (rows, columns) in [(1, 7168), (3, 7167), (300, 131), (2000, 16), (70, 3), (5, 4096)] {
        let values: Vec<bf16> = (0..rows * columns)
            .map(|i| bf16::from_f32((i % 251) as f32 / 8.0))
            .collect();
        let scales: Vec<f32> = (0..rows).map(|i| 1.0 + i as f32 / 64.0).collect();
        let biases: Vec<f32> = (0..columns).map(|i| i as f32).collect();
        let out = on_every_device(|device| {
            let src = device.upload(&values, [rows, columns]).unwrap();
            let (scale, bias) = (
                device.upload(&scales, [rows]).unwrap(),
                device.upload(&biases, [columns]).unwrap(),
            );
            let mut out = device.zeros::<bf16, 2>([rows, columns]).unwrap();
            scaled(&mut out, &src, &scale, &bias).launch(device).unwrap();
            out.download().unwrap()
        });
        for (i, &value) in out.iter().enumerate() {
            let expected = values[i].to_f32() * scales[i / columns] + biases[i % columns];
            assert_eq!(
                value,
                bf16::from_f32(expected),
                "row {}, column {}",
                i / columns,
                i % columns
            );
        }
    }
}

#[kernel(grid = [1])]
fn columns_and_rows(out: &mut Tensor<i64, 2>, src: &Tensor<i64, 1>, times: Count) {
    let i = arange(96);
    let mut row = i * 10;
    let mut column = i.expand_dims(1) * 10;
    for t in 0..times {
        row += t;
        column += t + i.expand_dims(1);
    }
    out.store([0, i], row);
    out.store([1, i.expand_dims(1)], column);
    // Loads at places that a variable holds, which do not change along the innermost axis.
    out.store([2, i.expand_dims(1)], src.load([column % 96]));
}

#[test]
fn a_variable_of_one_column_is_as_good_as_one_row() {
    let values: Vec<i64> = (0..96).map(|i| 7 * i + 1).collect();
    let out = on_every_device(|device| {
        let src = device.upload(&values, [96]).unwrap();
        let mut out = device.zeros::<i64, 2>([3, 96]).unwrap();
        columns_and_rows(&mut out, &src, Runtime(3)).launch(device).unwrap();
        out.download().unwrap()
    });
    let rows: [fn(i64) -> i64; 3] = [|i| 10 * i + 3, |i| 13 * i + 3, |i| 7 * ((13 * i + 3) % 96) + 1];
    let expected: Vec<i64> = rows.iter().flat_map(|row| (0..96).map(row)).collect();
    assert_eq!(out, expected);
}

#[kernel(grid = [1])]
fn store_where_a_flag_was(out: &mut Tensor<i32, 1>, flags: &mut Tensor<bool, 1>, src: &Tensor<i32, 1>) {
    let i = arange(576);
    // One flag for all elements, in registers because the tensor changes.
    let first = flags.load([full([576], 0i64)]);
    let second = flags.load([full([576], 1i64)]);
    flags.store([arange(2)], false);
    out.store_where([i], src.load([i]), first);
    out.store_where([i + 576], src.load([i]), second);
}

#[test]
fn a_mask_in_registers_that_is_the_same_along_a_row_holds_for_the_row() {
    let values: Vec<i32> = (0..576).map(|i| i * 7 + 1).collect();
    let (out, flags) = on_every_device(|device| {
        let src = device.upload(&values, [576]).unwrap();
        let mut flags = device.upload(&[true, false], [2]).unwrap();
        let mut out = device.zeros::<i32, 1>([1152]).unwrap();
        store_where_a_flag_was(&mut out, &mut flags, &src)
            .launch(device)
            .unwrap();
        (out.download().unwrap(), flags.download().unwrap())
    });
    assert_eq!(out[..576], values);
    assert_eq!(out[576..], [0; 576]);
    assert_eq!(flags, [false, false]);
}
