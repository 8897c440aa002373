//! Lists of tensors: as many as a launch has, by one variant, checked as any tensor is.

use std::fmt::Debug;

use half::{bf16, f16};
use tilewright::dp::kernels::copy_kv_layers;
use tilewright::dsl::call::Call;
use tilewright::dsl::transform::ProvedBy;
use tilewright::prelude::*;

use crate::devices::{on_every_device, where_kernels_report};

/// Pieces one behind the other. The programs of axis 0 share the rows of a piece.
#[kernel(grid = [pieces.max_extent(0), pieces.len()])]
fn join<T: Element>(out: &mut Tensor<T, 2>, pieces: &TensorList<T, 2>) {
    let (row, number) = (program_id(0), program_id(1));
    let piece = &pieces[number];
    let mut start = 0i64;
    for before in 0..number {
        start += pieces[before].extent(0);
    }
    if row < piece.extent(0) {
        let cols = arange(pieces.extent(1));
        out.store([start + row, cols], piece.load([row, cols]));
    }
}

/// Row `rows[i]` of layer `layers[i]`; zeros where there is none.
#[kernel(grid = [out.extent(0)])]
fn gather_layers<T: Element, I: Integer>(
    out: &mut Tensor<T, 2>,
    layers: &TensorList<T, 2>,
    layer: &Tensor<I, 1>,
    rows: &Tensor<I, 1>,
) {
    let i = program_id(0);
    let cols = arange(out.extent(1));
    out.store([i, cols], layers[layer.load([i])].load([rows.load([i]), cols]));
}

/// A tensor between guard rows.
struct Guarded<T: Element>(DeviceTensor<T, 2>);

const GUARD: usize = 2;

impl<T: Element> Guarded<T> {
    fn new(device: &Device, rows: usize, columns: usize, sentinel: T) -> Self {
        let rows = rows + 2 * GUARD;
        Self(device.upload(&vec![sentinel; rows * columns], [rows, columns]).unwrap())
    }

    fn view(&mut self) -> TensorViewMut<'_, T, 2> {
        let end = self.0.extents()[0] - GUARD;
        self.0.view_mut().rows(GUARD..end).unwrap()
    }

    /// The bits of the rows inside; the guards are as they were.
    fn bits(&self, sentinel: T) -> Vec<u64> {
        let (bits, columns) = (bits(&self.0), self.0.extents()[1]);
        let guard = GUARD * columns;
        let inside = guard..bits.len() - guard;
        let guards = bits[..inside.start].iter().chain(&bits[inside.end..]);
        assert!(
            guards.into_iter().all(|&bits| bits == sentinel.to_bits64()),
            "a guard row"
        );
        bits[inside].to_vec()
    }
}

fn bits<T: Element>(tensor: &DeviceTensor<T, 2>) -> Vec<u64> {
    tensor
        .download()
        .unwrap()
        .iter()
        .map(|element| element.to_bits64())
        .collect()
}

/// Elements of any bits, of `rows` rows.
fn some<T: Element>(seed: u64, rows: usize, columns: usize) -> Vec<T> {
    let word = |i: usize| {
        (seed << 20 | i as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_right(29)
    };
    let mask = match T::TYPE {
        ElementType::Bool => 1,
        element => u64::MAX >> (64 - element.bits()),
    };
    (0..rows * columns).map(|i| T::from_bits64(word(i) & mask)).collect()
}

/// Pieces of these rows, joined in a launch.
fn joined<T: Element>(device: &Device, rows: &[usize], columns: usize) -> (Vec<u64>, Vec<u64>) {
    let values: Vec<Vec<T>> = (1..).zip(rows).map(|(seed, &rows)| some(seed, rows, columns)).collect();
    let pieces = values.iter().zip(rows);
    let pieces: Vec<_> = pieces
        .map(|(values, &rows)| device.upload(values, [rows, columns]).unwrap())
        .collect();
    let sentinel = T::from_bits64(1);
    let mut out = Guarded::new(device, rows.iter().sum(), columns, sentinel);
    join(out.view(), &pieces).launch(device).unwrap();
    device.synchronize().unwrap();
    let expected = values.concat().iter().map(|element| element.to_bits64()).collect();
    (out.bits(sentinel), expected)
}

#[test]
fn pieces_of_any_lengths_are_joined_empty_ones_included() {
    for rows in [&[3, 1, 7, 2][..], &[0, 5, 0, 0, 1], &[4], &[0], &[], &[1; 40]] {
        for columns in [1, 33, 136] {
            on_every_device(|device| {
                let (found, expected) = joined::<f32>(device, rows, columns);
                assert!(found == expected, "{rows:?} rows of {columns}");
            });
        }
    }
}

#[test]
fn every_element_type_keeps_its_bits() {
    fn check<T: Element>() {
        on_every_device(|device| {
            let (found, expected) = joined::<T>(device, &[2, 0, 5, 1], 67);
            assert!(found == expected, "{}", T::TYPE);
        });
    }
    check::<bool>();
    check::<i8>();
    check::<i16>();
    check::<i32>();
    check::<i64>();
    check::<u8>();
    check::<u16>();
    check::<u32>();
    check::<u64>();
    check::<f16>();
    check::<bf16>();
    check::<f32>();
    check::<f64>();
    check::<float8::F8E4M3>();
    check::<float8::F8E5M2>();
}

#[test]
fn rows_are_gathered_from_the_buffers_of_layers_of_different_sizes() {
    let rows = [5usize, 1, 0, 9];
    let at = [
        (3i64, 8i64),
        (0, 4),
        (1, 0),
        (2, 0),
        (1, 1),
        (3, -1),
        (-1, 0),
        (4, 0),
        (i64::MAX, 0),
        (i64::MIN, 3),
    ];
    on_every_device(|device| {
        let values: Vec<Vec<u16>> = (0..).zip(rows).map(|(seed, rows)| some(seed, rows, 72)).collect();
        let layers = values.iter().zip(rows);
        let layers: Vec<_> = layers
            .map(|(values, rows)| device.upload(values, [rows, 72]).unwrap())
            .collect();
        let upload = |index: fn(&(i64, i64)) -> i64| device.upload(&at.iter().map(index).collect::<Vec<_>>(), [10]);
        let (layer, row) = (upload(|at| at.0).unwrap(), upload(|at| at.1).unwrap());
        let mut out = Guarded::new(device, 10, 72, 7u16);
        gather_layers(out.view(), &layers, &layer, &row).launch(device).unwrap();
        let expected: Vec<u64> = at
            .iter()
            .flat_map(|&(layer, row)| {
                let values = usize::try_from(layer).ok().and_then(|layer| values.get(layer));
                let at = usize::try_from(row).ok().map(|row| row * 72);
                let found = values.zip(at).and_then(|(values, at)| values.get(at..at + 72));
                found.map_or(vec![0; 72], |row| row.iter().map(|&element| element.into()).collect())
            })
            .collect();
        assert!(out.bits(7) == expected);
    });
}

#[test]
fn one_variant_serves_every_number_of_layers() {
    on_every_device(|device| {
        let mut variants = Vec::new();
        let (to, from) = (
            device.upload(&[0i32, 9, 3], [3]).unwrap(),
            device.upload(&[4i32, 1, 77], [3]).unwrap(),
        );
        // Without layers there is nothing to launch, and so no variant.
        let launched = copy_kv_layers(&mut Vec::<DeviceTensor<i16, 2>>::new(), &to, &from)
            .launch(device)
            .unwrap();
        assert_eq!((launched.programs(), launched.variant_id()), (0, None));
        for count in [1usize, 2, 61, 300, 61] {
            let values: Vec<Vec<i16>> = (0..count).map(|layer| some(layer as u64, 5, 64)).collect();
            let upload = |values: &Vec<i16>| device.upload(values, [5, 64]).unwrap();
            let mut layers: Vec<_> = values.iter().map(upload).collect();
            let launched = copy_kv_layers(&mut layers, &to, &from).launch(device).unwrap();
            assert_eq!(launched.programs(), 3 * count as u64);
            variants.push(launched.variant_id());
            for (layer, values) in layers.iter().zip(values) {
                // Slot 9 does not exist, and neither does slot 77.
                let expected = [&values[4 * 64..], &values[64..]].concat();
                assert!(layer.download().unwrap() == expected, "{count} layers");
            }
        }
        assert!(variants[0].is_some());
        variants.dedup();
        assert_eq!(variants.len(), 1);
    });
}

#[test]
#[allow(clippy::needless_borrows_for_generic_args)] // Both are to be taken.
fn whatever_lends_tensors_one_by_one_is_a_list() {
    on_every_device(|device| {
        let tensors = [1, 2, 3].map(|seed| device.upload(&some::<i32>(seed, 2, 4), [2, 4]).unwrap());
        let expected: Vec<u64> = tensors.iter().flat_map(bits).collect();
        let [a, b, c] = &tensors;
        let mut found = Vec::new();
        let mut run = |call: &dyn Fn(&mut DeviceTensor<i32, 2>)| {
            let mut out = device.zeros::<i32, 2>([6, 4]).unwrap();
            call(&mut out);
            found.push(bits(&out));
        };
        run(&|out| drop(join(out, &tensors).launch(device).unwrap()));
        run(&|out| drop(join(out, &tensors[..]).launch(device).unwrap()));
        run(&|out| drop(join(out, [a, b, c]).launch(device).unwrap()));
        run(&|out| drop(join(out, &[a, b, c]).launch(device).unwrap()));
        run(&|out| drop(join(out, &vec![a, b, c]).launch(device).unwrap()));
        run(&|out| drop(join(out, &[a.view(), b.view(), c.view()]).launch(device).unwrap()));
        run(&|out| drop(join(out, [a.view(), b.view(), c.view()]).launch(device).unwrap()));
        assert!(found.iter().all(|found| *found == expected));
        let at = device.upload(&[1i32], [1]).unwrap();
        let from = device.upload(&[0i32], [1]).unwrap();
        let mut tensors = tensors;
        copy_kv_layers(&mut tensors, &at, &from).launch(device).unwrap();
        copy_kv_layers(&mut tensors[..], &at, &from).launch(device).unwrap();
        let [a, b, c] = &mut tensors;
        copy_kv_layers([&mut *a, &mut *b, &mut *c], &at, &from)
            .launch(device)
            .unwrap();
        copy_kv_layers(&mut [&mut *a, &mut *b], &at, &from)
            .launch(device)
            .unwrap();
        copy_kv_layers([a.view_mut(), b.view_mut()], &at, &from)
            .launch(device)
            .unwrap();
        copy_kv_layers(&mut vec![a.view_mut(), b.view_mut()], &at, &from)
            .launch(device)
            .unwrap();
        let rows: Vec<_> = tensors.iter().map(bits).collect();
        assert!(rows.iter().all(|rows| rows[..4] == rows[4..]), "{rows:?}");
    });
}

#[test]
fn of_a_list_of_no_tensors_everything_is_zero() {
    on_every_device(|device| {
        let none: [DeviceTensor<u16, 2>; 0] = [];
        let at = device.upload(&[0i32, -1, 5], [3]).unwrap();
        let mut out = Guarded::new(device, 3, 72, 7u16);
        gather_layers(out.view(), &none, &at, &at).launch(device).unwrap();
        assert!(out.bits(7) == [0; 3 * 72]);
    });
}

/// What one tensor says of itself, and the list of all; `at` is which.
#[kernel(grid = [at.extent(0)])]
fn describe(out: &mut Tensor<i64, 2>, list: &TensorList<u8, 3>, at: &Tensor<i64, 1>) {
    let i = program_id(0);
    let one = &list[at.load([i])];
    for axis in 0..3 {
        out.store([i, axis as i64], one.extent(axis));
        out.store([i, 3 + axis as i64], list.max_extent(axis));
    }
    out.store([i, 6], one.stride(0));
    out.store([i, 7], one.stride(1));
    out.store([i, 8], list.len() + list[0].extent(0) - list[0i32].extent(0));
}

#[test]
fn a_tensor_of_a_list_says_its_own_extents_and_strides() {
    on_every_device(|device| {
        let whole = device.zeros::<u8, 3>([4, 6, 8]).unwrap();
        let other = device.zeros::<u8, 3>([2, 0, 9]).unwrap();
        let list = [
            whole.view(),
            whole.slice(1, 1..3).unwrap().slice(2, 0..5).unwrap(),
            other.view(),
            whole.transpose(0, 1).unwrap(),
        ];
        let at = device.upload(&[0i64, 1, 2, 3, 4, -1], [6]).unwrap();
        let mut out = device.zeros::<i64, 2>([6, 9]).unwrap();
        describe(&mut out, list, &at).launch(device).unwrap();
        let row = |extents: [usize; 3], strides: [i64; 3]| {
            let extents = extents.map(|extent| extent as i64);
            [&extents[..], &[6, 6, 9], &strides[..2], &[4]].concat()
        };
        let mut expected: Vec<_> = list.iter().map(|view| row(view.extents(), view.strides())).collect();
        // Those that are not there.
        expected.extend([row([0; 3], [0; 3]), row([0; 3], [0; 3])]);
        assert_eq!(out.download().unwrap(), expected.concat());
    });
}

#[test]
fn the_most_unfavourable_strides_and_addresses_among_the_tensors_decide() {
    on_every_device(|device| {
        let values = some::<i16>(5, 20, 96);
        let whole = device.upload(&values, [20, 96]).unwrap();
        let part = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            whole.rows(rows).unwrap().slice(1, columns).unwrap()
        };
        let lists = [
            vec![part(0..3, 0..64), part(5..9, 32..96)],
            vec![part(0..3, 0..64), part(5..9, 1..65), part(9..9, 3..67)],
            vec![part(0..3, 7..71), part(5..6, 3..67)],
        ];
        for list in lists {
            let expected: Vec<_> = list.iter().flat_map(|view| view.download().unwrap()).collect();
            let mut out = device.zeros::<i16, 2>([expected.len() / 64, 64]).unwrap();
            join(&mut out, &list).launch(device).unwrap();
            assert!(out.download().unwrap() == expected);
        }
        // Columns as rows: no two neighbours are adjacent.
        let list = [
            part(0..64 - 44, 0..3).transpose(0, 1).unwrap(),
            part(0..20, 9..10).transpose(0, 1).unwrap(),
        ];
        let expected: Vec<_> = list.iter().flat_map(|view| view.download().unwrap()).collect();
        let mut out = device.zeros::<i16, 2>([4, 20]).unwrap();
        join(&mut out, list).launch(device).unwrap();
        assert!(out.download().unwrap() == expected);
    });
}

/// Elements of a tensor of `from` that indices name, to those of a tensor of `to`.
#[kernel(grid = [at.extent(0)], bounds = "zero")]
fn skip(to: &mut TensorList<i32, 1>, from: &TensorList<i32, 1>, at: &Tensor<i64, 2>) {
    move_four(to, from, at);
}

#[kernel(grid = [at.extent(0)], bounds = "clamp")]
fn clamp(to: &mut TensorList<i32, 1>, from: &TensorList<i32, 1>, at: &Tensor<i64, 2>) {
    move_four(to, from, at);
}

#[kernel(grid = [at.extent(0)], bounds = "trap")]
fn trap(to: &mut TensorList<i32, 1>, from: &TensorList<i32, 1>, at: &Tensor<i64, 2>) {
    move_four(to, from, at);
}

#[device]
fn move_four(to: &mut TensorList<i32, 1>, from: &TensorList<i32, 1>, at: &Tensor<i64, 2>) {
    let i = program_id(0);
    let cols = arange(4);
    let row = from[at.load([i, 0])].load([cols + at.load([i, 1])]);
    to[at.load([i, 2])].store([cols + at.load([i, 3])], row);
}

type Copier =
    for<'a> fn(&'a mut Vec<DeviceTensor<i32, 1>>, &'a [DeviceTensor<i32, 1>], &'a DeviceTensor<i64, 2>) -> Call<'a>;

/// What is in each destination, and what is reported: of which tensor, axis and index.
type Copied = (Vec<Vec<i32>>, Option<(String, usize, i64)>);

/// What a policy makes of these indices.
fn copied(device: &Device, call: Copier, lengths: &[usize], at: [i64; 4]) -> Copied {
    let upload = |values: Vec<i32>| device.upload(&values, [values.len()]).unwrap();
    let from: Vec<_> = (1..)
        .zip(lengths)
        .map(|(t, &n)| upload((0..n as i32).map(|i| 100 * t + i).collect()))
        .collect();
    let mut to: Vec<_> = lengths.iter().map(|&n| upload(vec![-1; n])).collect();
    let at = device.upload(&at, [1, 4]).unwrap();
    call(&mut to, &from, &at).launch(device).unwrap();
    let report = match device.synchronize() {
        Err(LaunchError::Trapped {
            parameter, axis, index, ..
        }) => Some((parameter, axis, index)),
        other => {
            other.unwrap();
            None
        }
    };
    (to.iter().map(|tensor| tensor.download().unwrap()).collect(), report)
}

#[test]
fn an_index_of_no_tensor_does_what_the_policy_says_and_no_more() {
    let (zero, clamping, trapping): (Copier, Copier, Copier) = (
        |to, from, at| skip(to, from, at),
        |to, from, at| clamp(to, from, at),
        |to, from, at| trap(to, from, at),
    );
    let lengths = [4, 6];
    for (missing, nearest) in [(2i64, 1usize), (-1, 0), (i64::MAX, 1), (i64::MIN, 0), (1 << 32, 1)] {
        let read = where_kernels_report(|device| copied(device, zero, &lengths, [missing, 0, 0, 0]));
        assert_eq!(read, (vec![vec![0; 4], vec![-1; 6]], None));
        let written = where_kernels_report(|device| copied(device, zero, &lengths, [0, 0, missing, 0]));
        assert_eq!(written, (vec![vec![-1; 4], vec![-1; 6]], None));

        let first = 100 * (nearest as i32 + 1);
        let read = where_kernels_report(|device| copied(device, clamping, &lengths, [missing, 0, 0, 0]));
        assert_eq!(read, (vec![(first..first + 4).collect(), vec![-1; 6]], None));
        let written = where_kernels_report(|device| copied(device, clamping, &lengths, [0, 0, missing, 0]));
        let mut expected = vec![vec![-1; 4], vec![-1; 6]];
        expected[nearest][..4].copy_from_slice(&[100, 101, 102, 103]);
        assert_eq!(written, (expected, None));

        let read = where_kernels_report(|device| copied(device, trapping, &lengths, [missing, 0, 0, 0]));
        assert_eq!(
            read,
            (vec![vec![0; 4], vec![-1; 6]], Some(("from".to_owned(), 0, missing)))
        );
        let written = where_kernels_report(|device| copied(device, trapping, &lengths, [0, 0, missing, 0]));
        assert_eq!(
            written,
            (vec![vec![-1; 4], vec![-1; 6]], Some(("to".to_owned(), 0, missing)))
        );
    }
    // Indices in a tensor are judged by that tensor: the other one has six elements.
    let read = where_kernels_report(|device| copied(device, trapping, &lengths, [1, 4, 0, 0]));
    assert_eq!(
        read,
        (
            vec![vec![204, 205, 0, 0], vec![-1; 6]],
            Some(("from[1]".to_owned(), 0, 6))
        )
    );
    let read = where_kernels_report(|device| copied(device, clamping, &lengths, [0, 2, 1, 2]));
    assert_eq!(read.0[1], [-1, -1, 102, 103, 103, 103]);
    // Lists of no tensors, and of tensors without elements.
    for call in [zero, clamping] {
        for lengths in [&[][..], &[0, 0]] {
            let nothing = where_kernels_report(|device| copied(device, call, lengths, [0, 0, 1, 0]));
            assert_eq!(nothing, (vec![vec![]; lengths.len()], None));
        }
    }
    let nothing = where_kernels_report(|device| copied(device, trapping, &[], [0, 0, 0, 0]));
    assert_eq!(nothing.1, Some(("from".to_owned(), 0, 0)));
}

#[kernel(grid = [1], bounds = "trap")]
fn extent_of(out: &mut Tensor<i64, 1>, list: &TensorList<i32, 1>, at: i64) {
    out.store([0], list[at].extent(0));
}

#[kernel(grid = [1], bounds = "clamp")]
fn nearest_extent_of(out: &mut Tensor<i64, 1>, list: &TensorList<i32, 1>, at: i64) {
    out.store([0], list[at].extent(0));
}

#[test]
fn the_extent_of_a_tensor_that_is_not_there_follows_the_policy_too() {
    let found = where_kernels_report(|device| {
        let list = [3, 5].map(|n| device.zeros::<i32, 1>([n]).unwrap());
        let mut out = device.upload(&[-1i64], [1]).unwrap();
        let mut found = Vec::new();
        for at in [0, 1, 2, -1] {
            extent_of(&mut out, &list, at).launch(device).unwrap();
            let reported = device.synchronize().is_err();
            let extent = out.download().unwrap()[0];
            nearest_extent_of(&mut out, &list, at).launch(device).unwrap();
            device.synchronize().unwrap();
            found.push((reported, extent, out.download().unwrap()[0]));
        }
        found
    });
    assert_eq!(found, [(false, 3, 3), (false, 5, 5), (true, 0, 5), (true, 0, 3)]);
}

#[test]
fn loops_over_a_list_and_over_its_tensors_need_no_check() {
    /// The sums of all tensors.
    #[kernel(grid = [list.len()], deny_guarded)]
    fn sums(out: &mut Tensor<i64, 1>, list: &TensorList<i64, 2>) {
        let number = program_id(0);
        let one = &list[number];
        let mut sum = 0i64;
        for row in 0..one.extent(0) {
            for column in 0..one.extent(1) {
                sum += one.load([row, column]);
            }
        }
        for other in (0..list.len()).rev() {
            if list[other].extent(0) > 0 && list[other].extent(1) > 0 {
                sum += list[other].load([0, 0]);
            }
        }
        if number < out.extent(0) {
            out.store([number], sum);
        }
    }
    let sums = on_every_device(|device| {
        let values = [(2usize, 3usize), (0, 4), (4, 1)];
        let upload = |(rows, columns)| {
            device
                .upload(&(1..=(rows * columns) as i64).collect::<Vec<_>>(), [rows, columns])
                .unwrap()
        };
        let list = values.map(upload);
        let mut out = device.zeros::<i64, 1>([3]).unwrap();
        let launched = sums(&mut out, &list).launch(device).unwrap();
        let proofs = launched.variant().unwrap().proofs();
        let loads = proofs.iter().filter(|proof| proof.tensor == "list");
        for proof in loads {
            assert!(proof.axes.iter().all(|by| *by == ProvedBy::Proof), "{proof}");
        }
        out.download().unwrap()
    });
    assert_eq!(sums, [21 + 2, 2, 10 + 2]);
}

#[kernel(grid = [counters.len(), 3])]
fn count(counters: &mut TensorList<i32, 1>, found: &mut Tensor<i32, 1>, which: &Tensor<i64, 1>) {
    let (number, round) = (program_id(0), program_id(1));
    let one = &mut counters[which.load([number])];
    found.atomic_add([number], one.extent(0).cast::<i32>());
    one.atomic_add([round], 1);
    one.atomic_max([arange(2) + 3], number.cast::<i32>());
}

#[test]
fn tensors_of_a_list_are_changed_atomically() {
    let found = on_every_device(|device| {
        let mut counters = [5, 9, 5].map(|n| device.zeros::<i32, 1>([n]).unwrap());
        let mut found = device.zeros::<i32, 1>([3]).unwrap();
        let which = device.upload(&[1i64, 1, 0], [3]).unwrap();
        count(&mut counters, &mut found, &which).launch(device).unwrap();
        device.synchronize().unwrap();
        let counters = counters.map(|counter| counter.download().unwrap()[..5].to_vec());
        (counters.to_vec(), found.download().unwrap())
    });
    let expected = vec![vec![1, 1, 1, 2, 2], vec![2, 2, 2, 1, 1], vec![0; 5]];
    assert_eq!(found, (expected, vec![27, 27, 15]));
}

#[kernel(grid = [1])]
fn scatter_to(list: &mut TensorList<i32, 1>, which: i64, at: &Tensor<i32, 1>) {
    for i in 0..at.extent(0) {
        list[which].scatter([at.load([i])], i as i32, Conflict::Disjoint);
    }
    list[which + 1].scatter([at.load([0])], 7, Conflict::Disjoint);
}

#[test]
fn a_disjoint_scatter_to_tensors_of_a_list_is_tested() {
    let run = |device: &Device, at: &[i32], which: i64| {
        let mut list = [40, 40, 40].map(|n| device.zeros::<i32, 1>([n]).unwrap());
        let at = device.upload(at, [at.len()]).unwrap();
        scatter_to(&mut list, which, &at).checked().launch(device)?;
        device.synchronize()?;
        Ok::<_, LaunchError>(list.map(|one| one.download().unwrap()[30]).to_vec())
    };
    // One place of two tensors is two places.
    assert_eq!(
        where_kernels_report(|device| run(device, &[30, 3], 0).unwrap()),
        [0, 7, 0]
    );
    assert_eq!(
        where_kernels_report(|device| run(device, &[3, 30], 1).unwrap()),
        [0, 1, 0]
    );
    where_kernels_report(|device| {
        let error = run(device, &[3, 30, 4, 30], 1).unwrap_err().to_string();
        for part in ["scatter_to", "list", "disjoint", "lists.rs"] {
            assert!(error.contains(part), "{error}");
        }
    });
}

/// Elements of one tensor where a mask holds, with a hint and after a prefetch; the others keep theirs.
#[kernel(grid = [list.len()])]
fn masked(out: &mut TensorList<u8, 2>, list: &TensorList<u8, 2>) {
    let number = program_id(0);
    let cols = arange(list.max_extent(1));
    for row in 0..list[number].extent(0) {
        list[number].prefetch([row + 1, cols]);
        let value = list[number].load_where([row, cols], cols % 3 != 1);
        out[number].store_where([row, cols], value, cols % 2 == 0);
    }
}

#[test]
fn masks_and_prefetches_reach_tensors_of_different_widths() {
    on_every_device(|device| {
        let shapes = [(2usize, 33usize), (1, 100), (0, 7), (3, 1)];
        let values: Vec<Vec<u8>> = (0..)
            .zip(shapes)
            .map(|(seed, (rows, columns))| some(seed, rows, columns))
            .collect();
        let upload = |(values, shape): (&Vec<u8>, (usize, usize))| device.upload(values, [shape.0, shape.1]).unwrap();
        let list: Vec<_> = values.iter().zip(shapes).map(upload).collect();
        let mut out: Vec<_> = values
            .iter()
            .zip(shapes)
            .map(|(v, s)| upload((&vec![77; v.len()], s)))
            .collect();
        masked(&mut out, &list).launch(device).unwrap();
        masked(&mut out, &list).exact_extents().launch(device).unwrap();
        for ((out, values), (_, columns)) in out.iter().zip(&values).zip(shapes) {
            let expected = values.iter().enumerate().map(|(i, &value)| match i % columns {
                column if column % 2 != 0 => 77,
                column if column % 3 == 1 => 0,
                _ => value,
            });
            assert!(
                out.download().unwrap() == expected.collect::<Vec<_>>(),
                "{columns} columns"
            );
        }
    });
}

#[test]
fn calls_with_lists_are_fused_with_others() {
    let found = on_every_device(|device| {
        let pieces = [1, 2].map(|seed| device.upload(&some::<i32>(seed, 3, 20), [3, 20]).unwrap());
        let more = [3, 4, 5].map(|seed| device.upload(&some::<i32>(seed, 1, 20), [1, 20]).unwrap());
        let (mut a, mut b) = (
            device.zeros::<i32, 2>([6, 20]).unwrap(),
            device.zeros::<i32, 2>([3, 20]).unwrap(),
        );
        let launched = Call::fuse([join(&mut a, &pieces), join(&mut b, &more)])
            .launch(device)
            .unwrap();
        assert_eq!(launched.programs(), 3 * 2 + 3);
        [bits(&a), bits(&b)].concat()
    });
    let rows = [(1, 3), (2, 3), (3, 1), (4, 1), (5, 1)]
        .map(|(seed, rows)| some::<i32>(seed, rows, 20))
        .concat();
    assert_eq!(
        found,
        rows.iter().map(|element| element.to_bits64()).collect::<Vec<_>>()
    );
}

#[test]
fn tensors_that_differ_where_the_kernel_shares_an_extent_are_named() {
    on_every_device(|device| {
        let list = [(2, 16), (5, 16), (2, 12)].map(|(rows, columns)| device.zeros::<i16, 2>([rows, columns]).unwrap());
        let mut out = device.zeros::<i16, 2>([7, 16]).unwrap();
        for _ in 0..2 {
            let error = refused(join(&mut out, &list).launch(device));
            let told = "the tensors of `pieces` differ in extent(1): `pieces[0]` has 16 and `pieces[2]` has 12";
            assert!(error.contains(told), "{error}");
            join(&mut out, &list[..2]).launch(device).unwrap();
        }
    });
}

#[test]
fn a_tensor_of_another_device_or_out_of_range_is_named() {
    let (cpu, other) = (Device::cpu(), Device::cpu());
    let mut list: Vec<_> = (0..3).map(|_| cpu.zeros::<i32, 2>([2, 4]).unwrap()).collect();
    list.push(other.zeros::<i32, 2>([2, 4]).unwrap());
    let mut out = cpu.zeros::<i32, 2>([8, 4]).unwrap();
    // Memory of one CPU device can be used with all of them.
    join(&mut out, &list).launch(&cpu).unwrap();
    if let Some(gpu) = tilewright_testing::Part::Gpu.or_skip(Device::cuda(0)) {
        list.insert(2, gpu.zeros::<i32, 2>([2, 4]).unwrap());
        let error = refused(join(&mut out, &list).launch(&cpu));
        assert!(error.contains("`pieces[2]` is on CUDA device 0"), "{error}");
    }
}

fn refused<T: Debug>(result: Result<T, LaunchError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn tensors_of_a_list_that_share_memory_are_refused_if_one_is_written() {
    on_every_device(|device| {
        let (to, from) = (
            device.upload(&[0i32], [1]).unwrap(),
            device.upload(&[1i32], [1]).unwrap(),
        );
        let mut whole = device.zeros::<i32, 2>([400, 8]).unwrap();
        for count in [2usize, 100] {
            // Two rows for each; the second ones of the last overlap.
            let (mut rest, mut parts) = (whole.view_mut(), Vec::new());
            for _ in 0..count {
                let (part, behind) = rest.split_at(0, 2).unwrap();
                parts.push(part);
                rest = behind;
            }
            copy_kv_layers(&mut parts, &to, &from).launch(device).unwrap();
            drop((parts, rest));
            // What safe code cannot make: the same rows twice.
            let shared = overlapping(&whole, count, [&to, &from]);
            let error = refused(shared.launch(device));
            let (one, other) = (count, count - 1);
            assert!(
                error.contains(&format!("`layers[{one}]`, which it may write")),
                "{error}"
            );
            assert!(
                error.contains(&format!("shares memory with `layers[{other}]`")),
                "{error}"
            );
        }
        // With another parameter; of lists that are read, anything goes.
        let view = whole.rows(3..5).unwrap();
        let list = [view, whole.rows(0..9).unwrap(), view];
        let mut out = device.zeros::<i32, 2>([13, 8]).unwrap();
        join(&mut out, list).launch(device).unwrap();
        let error = refused(joined_into(&whole, &list).launch(device));
        assert!(
            error.contains("`out`, which it may write, shares memory with `pieces[0]`"),
            "{error}"
        );
        assert_eq!(error.matches("pieces").count(), 1, "{error}");
    });
}

/// A call whose arguments are made by hand: rows of `whole` two by two, and the last two again.
fn overlapping<'a>(whole: &'a DeviceTensor<i32, 2>, count: usize, slots: [&'a DeviceTensor<i32, 1>; 2]) -> Call<'a> {
    use tilewright::dsl::call::{Argument, ArgumentValue, Arguments, ListArgument};
    let definition = copy_kv_layers::<i32, i32>::definition();
    let mut arguments = Arguments::new();
    let mut tensors = Vec::new();
    for number in (0..count).chain([count - 1]) {
        let mut one = Arguments::new();
        Argument::<&Tensor<i32, 2>>::pass(whole.rows(2 * number..2 * number + 2).unwrap(), &mut one);
        if let ArgumentValue::Tensor(mut tensor) = one.values()[0].clone() {
            tensor.mutable = true;
            tensors.push(tensor);
        }
    }
    #[allow(unsafe_code)] // Nothing else uses the memory.
    unsafe {
        arguments.push(ArgumentValue::List(ListArgument {
            element: ElementType::I32,
            rank: 2,
            mutable: true,
            tensors,
        }))
    };
    for slots in slots {
        Argument::<&Tensor<i32, 1>>::pass(slots, &mut arguments);
    }
    Call::new(definition, arguments)
}

/// Joins pieces into the memory of one of them.
fn joined_into<'a>(whole: &'a DeviceTensor<i32, 2>, list: &'a [TensorView<'a, i32, 2>]) -> Call<'a> {
    use tilewright::dsl::call::{Argument, ArgumentValue, Arguments};
    let mut arguments = Arguments::new();
    let mut out = Arguments::new();
    Argument::<&Tensor<i32, 2>>::pass(whole.rows(4..17).unwrap(), &mut out);
    if let ArgumentValue::Tensor(mut tensor) = out.values()[0].clone() {
        tensor.mutable = true;
        #[allow(unsafe_code)] // Nothing else uses the memory.
        unsafe {
            arguments.push(ArgumentValue::Tensor(tensor))
        };
    }
    Argument::<&TensorList<i32, 2>>::pass(list, &mut arguments);
    Call::new(join::<i32>::definition(), arguments)
}
