//! Tensors whose elements do not lie side by side: every second and third one, backwards, one element for all, transposed.

use tilewright::dsl::call::{ArgumentValue, Arguments, Call};
use tilewright::prelude::*;

use crate::devices::on_every_device;

#[kernel(grid = [out.extent(0)])]
fn copy_rows<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]));
}

/// Where elements lie in their memory: the first one, and the distances to its neighbours.
type Placement = (i64, [i64; 2]);

/// The call with its tensors placed so, where views cannot place them.
fn placed<'a>(call: &Call<'a>, extents: [u64; 2], placements: [Placement; 2], bytes: u64) -> Call<'a> {
    let mut arguments = Arguments::new();
    for (argument, (first, strides)) in call.arguments().iter().zip(placements) {
        let ArgumentValue::Tensor(mut tensor) = argument.clone() else {
            panic!("a tensor");
        };
        tensor.extents = extents.into_iter().collect();
        tensor.strides = strides.into_iter().collect();
        tensor.offset = first as u64 * bytes;
        #[allow(unsafe_code)] // Nothing else uses the memory.
        unsafe {
            arguments.push(ArgumentValue::Tensor(tensor))
        };
    }
    Call::new(call.definition().clone(), arguments)
}

/// Places for `rows` rows of `columns` elements in a memory of [`SPACE`], the last ones not for a destination.
fn placements(rows: i64, columns: i64) -> Vec<Placement> {
    let last = rows * columns - 1;
    vec![
        (3, [columns, 1]),
        // Every second element, and every third; rows with gaps.
        (1, [2 * columns, 2]),
        (0, [3 * columns + 5, 3]),
        // Rows backwards, columns backwards, both.
        ((rows - 1) * columns, [-columns, 1]),
        (columns - 1, [columns, -1]),
        (last, [-columns, -1]),
        (2 * last, [-2 * columns, -2]),
        // Transposed, and transposed backwards.
        (0, [1, rows]),
        (last, [-1, -rows]),
        // One row for all, one column for all, one element for all.
        (7, [0, 1]),
        (7, [columns, 0]),
        (7, [0, 0]),
    ]
}

/// How many of the placements put several elements in one place.
const REPEATED: usize = 3;
const SPACE: usize = 2000;

fn every_placement<T: Element + PartialEq + std::fmt::Debug>(sentinel: T) {
    let values: Vec<T> = (0..SPACE).map(|i| T::from_bits64(i as u64 + 1)).collect();
    for [rows, columns] in [[3, 64], [5, 37]] {
        let all = placements(rows, columns);
        let pairs = all.iter().map(|&from| (all[0], from));
        let backwards = all[..all.len() - REPEATED].iter().map(|&to| (to, all[5]));
        let pairs: Vec<(Placement, Placement)> = pairs.chain(backwards).collect();
        let results = on_every_device(|device| {
            let src = device.upload(&values, [1, SPACE]).unwrap();
            let copied = |&(to, from): &(Placement, Placement)| {
                let mut out = device.upload(&[sentinel; SPACE], [1, SPACE]).unwrap();
                let call = copy_rows::<T>(&mut out, &src);
                let extents = [rows as u64, columns as u64];
                let call = placed(&call, extents, [to, from], T::TYPE.size() as u64);
                call.launch(device).unwrap();
                out.download().unwrap()
            };
            pairs.iter().map(copied).collect::<Vec<_>>()
        });
        for ((to, from), out) in pairs.into_iter().zip(results) {
            let mut expected = vec![sentinel; SPACE];
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let at = |(first, [down, along]): Placement| (first + row * down + column * along) as usize;
                expected[at(to)] = values[at(from)];
            }
            assert!(
                out == expected,
                "{rows} rows of {columns} {} from {from:?} to {to:?}",
                T::TYPE
            );
        }
    }
}

#[test]
fn rows_are_copied_from_and_to_any_strides() {
    every_placement::<u16>(0xffff);
    every_placement::<i64>(-1);
}

#[test]
fn a_transposed_view_is_read_and_written_as_what_it_shows() {
    let (rows, columns) = (40, 72);
    let values: Vec<i32> = (0..rows * columns).map(|i| i as i32 + 1).collect();
    let (read, written) = on_every_device(|device| {
        let src = device.upload(&values, [rows, columns]).unwrap();
        let mut read = device.zeros::<i32, 2>([columns, rows]).unwrap();
        copy_rows::<i32>(&mut read, src.transpose(0, 1).unwrap())
            .launch(device)
            .unwrap();
        let mut written = device.zeros::<i32, 2>([columns, rows]).unwrap();
        let across = written.view_mut().transpose(0, 1).unwrap();
        copy_rows::<i32>(across, &src).launch(device).unwrap();
        (read.download().unwrap(), written.download().unwrap())
    });
    let expected: Vec<i32> = (0..columns * rows)
        .map(|i| values[i % rows * columns + i / rows])
        .collect();
    assert_eq!(read, expected);
    assert_eq!(written, expected);
}

#[kernel(grid = [1])]
fn strides_of<T: Element>(
    out: &mut Tensor<i64, 1>,
    one: &Tensor<T, 1>,
    two: &Tensor<T, 2>,
    three: &Tensor<T, 3>,
    four: &Tensor<T, 4>,
) {
    out.store([0], one.stride(0));
    for axis in 0..2 {
        out.store([1 + axis], two.stride(axis));
    }
    for axis in 0..3 {
        out.store([3 + axis], three.stride(axis));
    }
    for axis in 0..4 {
        out.store([6 + axis], four.stride(axis));
    }
}

/// The part `ranges` of a tensor, with two axes exchanged.
fn part<'a, const R: usize>(
    tensor: &'a DeviceTensor<u8, R>,
    ranges: [[usize; 2]; R],
    turn: [usize; 2],
) -> TensorView<'a, u8, R> {
    let whole = tensor.view();
    let cut = (0..R).fold(whole, |view, axis| {
        view.slice(axis, ranges[axis][0]..ranges[axis][1]).unwrap()
    });
    cut.transpose(turn[0], turn[1]).unwrap()
}

#[test]
fn a_kernel_sees_the_strides_that_the_host_sees() {
    // Ranges of axes of 6, among them such of one element and of none.
    let ranges = [[0, 6], [2, 5], [3, 4], [4, 4]];
    on_every_device(|device| {
        let one = device.zeros::<u8, 1>([6]).unwrap();
        let two = device.zeros::<u8, 2>([6; 2]).unwrap();
        let three = device.zeros::<u8, 3>([6; 3]).unwrap();
        let four = device.zeros::<u8, 4>([6; 4]).unwrap();
        for i in 0..256usize {
            let of = |axis: u32| ranges[i / 4usize.pow(axis) % 4];
            let turn = [i % 2, i / 2 % 2];
            let (a, b) = (part(&one, [of(0)], [0, 0]), part(&two, [of(0), of(1)], turn));
            let c = part(&three, [of(0), of(1), of(2)], turn);
            let d = part(&four, [of(0), of(1), of(2), of(3)], [turn[0], 3]);
            let expected = [&a.strides()[..], &b.strides(), &c.strides(), &d.strides()].concat();
            for exact in [false, true] {
                let mut out = device.zeros::<i64, 1>([10]).unwrap();
                let call = strides_of(&mut out, a, b, c, d);
                let call = if exact { call.exact_extents() } else { call };
                call.launch(device).unwrap();
                assert_eq!(out.download().unwrap(), expected, "{a:?}, {b:?}, {c:?}, {d:?}");
            }
        }
    });
}

#[test]
fn strides_that_mean_nothing_are_those_of_a_tensor_without_gaps() {
    let device = Device::cpu();
    let tensor = device.zeros::<u8, 2>([4, 8]).unwrap();
    let strides = |rows: [usize; 2], columns: [usize; 2]| part(&tensor, [rows, columns], [0, 0]).strides();
    assert_eq!(strides([1, 3], [2, 6]), [8, 1]);
    assert_eq!(strides([1, 2], [2, 6]), [4, 1]);
    assert_eq!(strides([1, 3], [2, 3]), [8, 1]);
    assert_eq!(strides([1, 1], [2, 6]), [4, 1]);
    assert_eq!(strides([1, 3], [2, 2]), [0, 1]);
    assert_eq!(tensor.transpose(0, 1).unwrap().columns(1..2).unwrap().strides(), [1, 1]);
    assert_eq!(device.zeros::<u8, 3>([2, 0, 3]).unwrap().strides(), [0, 3, 1]);
}

/// Counts of a row's places, stored in one of several planes.
#[kernel(grid = [out.extent(0)])]
fn store_counts(out: &mut Tensor<i32, 3>, places: &Tensor<i32, 1>, plane: &Tensor<i64, 1>) {
    let counts = places.load([arange(places.extent(0))]).histogram(out.extent(2));
    out.store([program_id(0), plane.load([0]), arange(out.extent(2))], counts);
}

#[test]
fn an_index_beyond_an_axis_of_one_element_is_skipped_however_rows_are_aligned_there() {
    // Rows are aligned where they are; the only plane's stride, which nothing is at, is odd.
    const BINS: usize = 131;
    for plane in [0i64, 1, 3, -1] {
        let out = on_every_device(|device| {
            let places = device.upload(&[0, 5, 5, 130], [4]).unwrap();
            let plane = device.upload(&[plane], [1]).unwrap();
            let mut all = device.upload(&vec![-1; 2 * 4 * 144], [2, 4, 144]).unwrap();
            let out = all.view_mut().slice(1, 0..1).unwrap().columns(..BINS).unwrap();
            store_counts(out, &places, &plane).launch(device).unwrap();
            device.synchronize().unwrap();
            all.download().unwrap()
        });
        let stored = out.iter().filter(|&&element| element != -1).count();
        assert_eq!(stored, if plane == 0 { 2 * BINS } else { 0 }, "plane {plane}");
    }
}
