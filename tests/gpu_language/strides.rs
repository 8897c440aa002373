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
        arguments.push(ArgumentValue::Tensor(tensor));
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
