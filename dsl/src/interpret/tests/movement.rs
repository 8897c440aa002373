//! Moving rows.

use super::*;
use crate::ir::{CompareOp, Shape};

/// out[i] = src[index[i]], rows of `columns`.
fn gather(element: ElementType, columns: u32) -> Kernel {
    let mut b = Builder::new("gather_rows");
    let out = b.tensor("out", element, 2);
    let src = b.tensor("src", element, 2);
    let index = b.tensor("index", ElementType::I32, 1);
    let row = b.program(0);
    let from = b.load(index, &[row]);
    let cols = b.arange(columns);
    let value = b.load(src, &[from, cols]);
    b.store(out, &[row, cols], value);
    let grid = b.extent(out, 0);
    b.finish(&[grid])
}

#[test]
fn a_gather_copies_rows_and_reads_zero_where_the_index_is_out_of_range() {
    let src = memory::<i16>(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let index = memory::<i32>(&[2, -1, 0, 3, i32::MAX, 1]);
    let out = memory::<i16>(&[-1; 18]);
    let arguments = [
        HostArgument::contiguous(&out, &[6, 3]),
        HostArgument::contiguous(&src, &[3, 3]),
        HostArgument::contiguous(&index, &[6]),
    ];
    let outcome = run_default(&gather(ElementType::I16, 3), &arguments).unwrap();
    assert_eq!(
        values::<i16>(&out),
        [7, 8, 9, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 4, 5, 6]
    );
    assert_eq!(outcome.grid, [6, 1, 1]);
    let outside = outcome.outside.unwrap();
    assert_eq!(
        (outside.tensor.as_str(), outside.axis, outside.index, outside.extent),
        ("src", 0, -1, 3)
    );
    assert_eq!((outside.program, outside.span), ([1, 0, 0], line(4)));
}

#[test]
fn a_scatter_skips_rows_whose_target_is_out_of_range() {
    let mut b = Builder::new("scatter_rows");
    let out = b.tensor("out", ElementType::F32, 2);
    let src = b.tensor("src", ElementType::F32, 2);
    let index = b.tensor("index", ElementType::I64, 1);
    let row = b.program(0);
    let to = b.load(index, &[row]);
    let cols = b.arange(2);
    let value = b.load(src, &[row, cols]);
    b.store(out, &[to, cols], value);
    let grid = b.extent(src, 0);
    let kernel = b.finish(&[grid]);
    let (out, src) = (
        memory::<f32>(&[0.5; 6]),
        memory::<f32>(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
    );
    let index = memory::<i64>(&[2, i64::MIN, 0, 3]);
    let arguments = [
        HostArgument::contiguous(&out, &[3, 2]),
        HostArgument::contiguous(&src, &[4, 2]),
        HostArgument::contiguous(&index, &[4]),
    ];
    run_default(&kernel, &arguments).unwrap();
    assert_eq!(values::<f32>(&out), [5.0, 6.0, 0.5, 0.5, 1.0, 2.0]);
}

#[test]
fn every_element_type_moves_as_raw_bits() {
    for element in ElementType::ALL {
        let size = element.size();
        // Signalling NaNs, negative zeros and the like included; a bool has the bytes 0 and 1 only.
        let limit = if element == ElementType::Bool { 2 } else { 256 };
        let bytes: Vec<u8> = (0..5 * 7 * size).map(|i| (i * 37 % 256 % limit) as u8).collect();
        let (src, out) = (
            HostMemory::from_bytes(&bytes).unwrap(),
            HostMemory::zeroed((7 * size) as u64).unwrap(),
        );
        let index = memory::<i32>(&[3]);
        let arguments = [
            HostArgument::contiguous(&out, &[1, 7]),
            HostArgument::contiguous(&src, &[5, 7]),
            HostArgument::contiguous(&index, &[1]),
        ];
        run_default(&gather(element, 7), &arguments).unwrap();
        assert_eq!(out.to_vec(), bytes[21 * size..28 * size], "{element}");
    }
}

#[test]
fn a_bool_of_any_other_byte_than_zero_is_true() {
    let (src, out, index) = (
        memory::<u8>(&[0, 1, 2, 255]),
        memory::<u8>(&[9; 4]),
        memory::<i32>(&[0]),
    );
    let arguments = [
        HostArgument::contiguous(&out, &[1, 4]),
        HostArgument::contiguous(&src, &[1, 4]),
        HostArgument::contiguous(&index, &[1]),
    ];
    run_default(&gather(ElementType::Bool, 4), &arguments).unwrap();
    assert_eq!(values::<u8>(&out), [0, 1, 1, 1]);
}

/// out[i, j] = src[i, j] in one program.
fn copy(rows: u32, columns: u32) -> Kernel {
    let mut b = Builder::new("copy");
    let out = b.tensor("out", ElementType::I32, 2);
    let src = b.tensor("src", ElementType::I32, 2);
    let (r, c) = (b.arange(rows), b.arange(columns));
    let r = b.reshape(r, &[rows, 1]);
    let value = b.load(src, &[r, c]);
    b.store(out, &[r, c], value);
    b.launch(1)
}

#[test]
fn any_strides_are_followed() {
    let src = memory::<i32>(&[0, 1, 2, 3, 4, 5]);
    // (offset of the source in elements, its strides, what a 2 by 3 copy gives)
    let cases: [(u64, [i64; 2], [i32; 6]); 5] = [
        (0, [3, 1], [0, 1, 2, 3, 4, 5]),
        (0, [1, 2], [0, 2, 4, 1, 3, 5]),
        (5, [-3, -1], [5, 4, 3, 2, 1, 0]),
        (1, [0, 1], [1, 2, 3, 1, 2, 3]),
        (4, [0, 0], [4, 4, 4, 4, 4, 4]),
    ];
    for (offset, strides, expected) in cases {
        let out = memory::<i32>(&[-1; 6]);
        let arguments = [
            HostArgument::contiguous(&out, &[2, 3]),
            strided(&src, offset * 4, &[2, 3], &strides),
        ];
        run_default(&copy(2, 3), &arguments).unwrap();
        assert_eq!(values::<i32>(&out), expected, "{strides:?}");
        // Writing through a permutation undoes reading through it.
        if strides != [0, 1] && strides != [0, 0] {
            let back = memory::<i32>(&[-1; 6]);
            let arguments = [
                strided(&back, offset * 4, &[2, 3], &strides),
                HostArgument::contiguous(&out, &[2, 3]),
            ];
            run_default(&copy(2, 3), &arguments).unwrap();
            assert_eq!(values::<i32>(&back), [0, 1, 2, 3, 4, 5], "{strides:?}");
        }
    }
}

#[test]
fn a_tile_larger_than_its_tensor_touches_only_what_is_there() {
    let (src, out) = (memory::<i32>(&[1, 2, 3, 4]), memory::<i32>(&[-1; 12]));
    let arguments = [
        strided(&out, 0, &[3, 3], &[4, 1]),
        HostArgument::contiguous(&src, &[2, 2]),
    ];
    let outcome = run_default(&copy(5, 5), &arguments).unwrap();
    assert_eq!(values::<i32>(&out), [1, 2, 0, -1, 3, 4, 0, -1, 0, 0, 0, -1]);
    assert_eq!(
        outcome.outside.map(|o| (o.tensor, o.axis, o.index)),
        Some(("src".into(), 1, 2))
    );
}

#[test]
fn indices_that_are_tiles_gather_single_elements() {
    let mut b = Builder::new("permute");
    let out = b.tensor("out", ElementType::U8, 1);
    let src = b.tensor("src", ElementType::U8, 1);
    let order = b.tensor("order", ElementType::U16, 1);
    let lanes = b.arange(5);
    let from = b.load(order, &[lanes]);
    let value = b.load(src, &[from]);
    b.store(out, &[lanes], value);
    let kernel = b.launch(1);
    let (out, src, order) = (
        memory::<u8>(&[0; 5]),
        memory::<u8>(&[10, 11, 12]),
        memory::<u16>(&[2, 0, 65535, 1, 2]),
    );
    run_default(&kernel, &[whole::<u8>(&out), whole::<u8>(&src), whole::<u16>(&order)]).unwrap();
    assert_eq!(values::<u8>(&out), [12, 10, 0, 11, 12]);
}

#[test]
fn a_mask_keeps_elements_from_being_touched() {
    let mut b = Builder::new("masked");
    let out = b.tensor("out", ElementType::I64, 1);
    let src = b.tensor("src", ElementType::I64, 1);
    let lanes = b.arange(8);
    let (two, five) = (b.index(2), b.index(5));
    let low = b.compare(CompareOp::GreaterEqual, lanes, two);
    let high = b.compare(CompareOp::Less, lanes, five);
    let value = b.load_where(src, &[lanes], low);
    b.store_where(out, &[lanes], value, high);
    let kernel = b.launch(1);
    let (out, src) = (memory::<i64>(&[-1; 6]), memory::<i64>(&[10, 11, 12, 13, 14]));
    let outcome = run_default(&kernel, &[whole::<i64>(&out), whole::<i64>(&src)]).unwrap();
    assert_eq!(values::<i64>(&out), [0, 0, 12, 13, 14, -1]);
    // Lanes 6 and 7 of the store are masked; those of the load are not.
    assert_eq!(outcome.outside.map(|o| (o.tensor, o.index)), Some(("src".into(), 5)));
}

#[test]
fn a_uniform_mask_switches_the_whole_access() {
    for (on, expected) in [(true, [7, 7, 7]), (false, [0, 0, 0])] {
        let mut b = Builder::new("switched");
        let out = b.tensor("out", ElementType::I8, 1);
        let (on, lanes, value) = (b.literal(on), b.arange(3), b.literal(7i8));
        let shape = Shape::new(&[3]).unwrap();
        let (mask, value) = (b.stretch(on, shape), b.stretch(value, shape));
        b.store_where(out, &[lanes], value, mask);
        let out = memory::<i8>(&[0; 3]);
        run_default(&b.launch(1), &[whole::<i8>(&out)]).unwrap();
        assert_eq!(values::<i8>(&out), expected);
    }
}

#[test]
fn rows_at_odd_places_arrive_whole_beside_their_neighbours() {
    // Rows of 13 bytes share words with their neighbours, and every row is written by another program.
    let rows = 500;
    let bytes: Vec<u8> = (0..rows * 13).map(|i| (i * 31 % 251) as u8).collect();
    let (src, out) = (
        HostMemory::from_bytes(&bytes).unwrap(),
        HostMemory::zeroed(rows as u64 * 13).unwrap(),
    );
    let order: Vec<i32> = (0..rows).collect();
    let index = memory(&order);
    let extents = [rows as u64, 13];
    let arguments = [
        HostArgument::contiguous(&out, &extents),
        HostArgument::contiguous(&src, &extents),
        whole::<i32>(&index),
    ];
    run_default(&gather(ElementType::U8, 13), &arguments).unwrap();
    assert_eq!(out.to_vec(), bytes);
}

/// A measurement: `cargo test -p tilewright-dsl a_large_gather -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_large_gather_takes_well_under_two_seconds() {
    let (rows, columns) = (8192u64, 7168u64);
    let (src, out) = (
        HostMemory::zeroed(rows * columns * 2).unwrap(),
        HostMemory::zeroed(rows * columns * 2).unwrap(),
    );
    src.fill_zero(0, src.len()).unwrap();
    let order: Vec<i32> = (0..rows as i32).map(|i| (i * 4099) % rows as i32).collect();
    let index = memory(&order);
    let extents = [rows, columns];
    let arguments = [
        HostArgument::contiguous(&out, &extents),
        HostArgument::contiguous(&src, &extents),
        whole::<i32>(&index),
    ];
    let kernel = gather(ElementType::BF16, columns as u32);
    let start = std::time::Instant::now();
    run_default(&kernel, &arguments).unwrap();
    let taken = start.elapsed();
    println!("{taken:?}");
    assert!(taken.as_secs_f64() < 2.0);
}
