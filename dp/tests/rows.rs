//! Rows gathered and scattered by an index.

use half::bf16;
use tilewright_dp::kernels::{
    gather_four, gather_rows, gather_rows_of, invert_permutation, scatter_rows, scatter_rows_except,
};
use tilewright_dsl::element::{Element, Integer};
use tilewright_dsl::{kernel, lang::*};
use tilewright_harness::for_every_element;
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, DeviceTensor, Launch};

fn upload_index<I: Integer>(device: &Device, index: &[i64]) -> DeviceTensor<I, 1> {
    let index: Vec<I> = index.iter().map(|&at| I::from_bits64(at as u64)).collect();
    device.upload(&index, [index.len()]).unwrap()
}

/// The row that an index names.
fn named(rows: usize, at: i64) -> Option<usize> {
    usize::try_from(at).ok().filter(|&at| at < rows)
}

fn gather<T: Element, I: Integer>(device: &Device, index: &[i64], rows: usize, columns: usize, placement: Placement) {
    let matrix = unique::<T>(rows, columns, 3);
    let src = Guarded::<T>::new(device, &matrix, columns, placement);
    let mut out = Guarded::<T>::untouched(device, index.len(), columns, placement);
    gather_rows(out.view_mut(), src.view(), &upload_index::<I>(device, index))
        .launch(device)
        .unwrap();
    let row = |&at: &i64| named(rows, at).map_or(vec![0; columns], |at| matrix[at].clone());
    let expected: Rows = index.iter().map(row).collect();
    assert_rows(&out.read(), &expected, (T::TYPE, I::TYPE, index, columns, placement));
}

fn scatter<T: Element, I: Integer>(device: &Device, index: &[i64], rows: usize, columns: usize, placement: Placement) {
    let (matrix, old) = (unique::<T>(index.len(), columns, 3), unique::<T>(rows, columns, 4));
    let src = Guarded::<T>::new(device, &matrix, columns, placement);
    let mut dst = Guarded::<T>::new(device, &old, columns, placement);
    scatter_rows(dst.view_mut(), src.view(), &upload_index::<I>(device, index))
        .launch(device)
        .unwrap();
    let mut expected = old;
    for (row, &at) in index.iter().enumerate() {
        if let Some(at) = named(rows, at) {
            expected[at] = matrix[row].clone();
        }
    }
    assert_rows(&dst.read(), &expected, (T::TYPE, I::TYPE, index, columns, placement));
}

/// Indices into ten rows that name no row twice: identity, reverse, some of them, none, and holes.
fn distinct() -> [Vec<i64>; 6] {
    [
        (0..10).collect(),
        (0..10).rev().collect(),
        vec![7, 2, 9],
        vec![],
        vec![-1, 4, -1, 0, 10, i32::MAX.into(), i32::MIN.into(), 9],
        vec![-1; 5],
    ]
}

#[test]
fn rows_are_gathered() {
    for_each_device(|device| {
        for index in distinct().into_iter().chain([vec![3, 3, 3, 0, 3]]) {
            for columns in [1, 8, 131, 512] {
                for placement in PLACEMENTS {
                    gather::<bf16, i32>(device, &index, 10, columns, placement);
                    gather::<bf16, i64>(device, &index, 10, columns, placement);
                }
            }
        }
        gather::<bf16, i64>(device, &[1 << 40, -(1 << 40), 2], 10, 16, Placement::Contiguous);
    });
}

#[test]
fn rows_are_scattered() {
    for_each_device(|device| {
        for index in distinct() {
            for columns in [1, 8, 131, 512] {
                for placement in PLACEMENTS {
                    scatter::<bf16, i32>(device, &index, 10, columns, placement);
                    scatter::<bf16, i64>(device, &index, 10, columns, placement);
                }
            }
        }
        scatter::<bf16, i64>(device, &[1 << 40, -(1 << 40), 2], 10, 16, Placement::Contiguous);
    });
}

fn scatter_but_for<I: Integer>(device: &Device, index: &[i64], reserved: i64) {
    let (rows, columns) = (10, 37);
    let (matrix, old) = (
        unique::<bf16>(index.len(), columns, 3),
        unique::<bf16>(rows, columns, 4),
    );
    let src = Guarded::<bf16>::new(device, &matrix, columns, Placement::Misaligned);
    let mut dst = Guarded::<bf16>::new(device, &old, columns, Placement::Contiguous);
    let on_device = upload_index::<I>(device, index);
    scatter_rows_except(dst.view_mut(), src.view(), &on_device, reserved)
        .launch(device)
        .unwrap();
    let mut expected = old;
    for (row, &at) in index.iter().enumerate().filter(|(_, at)| **at != reserved) {
        if let Some(at) = named(rows, at) {
            expected[at] = matrix[row].clone();
        }
    }
    assert_rows(&dst.read(), &expected, (I::TYPE, index, reserved));
}

#[test]
fn a_reserved_slot_is_never_written_however_many_rows_have_it() {
    for_each_device(|device| {
        scatter_but_for::<i32>(device, &[0, 0, 7, -1, 9, 0, 10, 3], 0);
        scatter_but_for::<i64>(device, &[9, 5, 9, 9, -1, 0], 9);
        // Reserved numbers that are no slots, one of which is slot 0 in 32 bits.
        for reserved in [-1, 10, i64::MAX, 1 << 32] {
            scatter_but_for::<i32>(device, &[8, 2, 7, -1, 9, 10, 0, 3], reserved);
            scatter_but_for::<i64>(device, &[8, 2, 7, -1, 9, 10, 0, 3], reserved);
        }
    });
}

/// Rows find their places in a padded buffer by the inverse of where they go; what no row goes to is zero.
#[test]
fn a_padded_buffer_is_filled_through_the_inverse_of_its_index() {
    for_each_device(|device| {
        for (packed, padded, columns) in [(9usize, 24usize, 131), (24, 24, 8), (0, 5, 16), (1, 1, 1)] {
            let places: Vec<i64> = (0..packed as i64).map(|i| (i * 5 + 3) % padded as i64).collect();
            let mut inverse = device.upload(&vec![-1i32; padded], [padded]).unwrap();
            invert_permutation(&mut inverse, &upload_index::<i64>(device, &places))
                .launch(device)
                .unwrap();
            let matrix = unique::<bf16>(packed, columns, 3);
            let src = Guarded::<bf16>::new(device, &matrix, columns, Placement::Contiguous);
            let mut out = Guarded::<bf16>::untouched(device, padded, columns, Placement::Misaligned);
            gather_rows(out.view_mut(), src.view(), &inverse)
                .launch(device)
                .unwrap();
            let mut expected = zeros(padded, columns);
            for (row, &place) in places.iter().enumerate() {
                expected[place as usize] = matrix[row].clone();
            }
            assert_rows(&out.read(), &expected, (packed, padded, columns));
        }
    });
}

fn both<T: Element>(device: &Device, placement: Placement) {
    gather::<T, i32>(device, &[4, -1, 0, 4], 5, 37, placement);
    scatter::<T, i64>(device, &[4, -1, 0], 5, 37, placement);
}

#[test]
fn every_element_type_keeps_its_bits() {
    for_each_device(|device| {
        for placement in PLACEMENTS {
            for_every_element!(both(device, placement));
        }
    });
}

#[test]
fn long_and_odd_rows_keep_their_tails() {
    for_each_device(|device| {
        for columns in [7167, 7168] {
            for placement in Placement::every::<bf16>() {
                gather::<bf16, i32>(device, &[2, -1, 0], 3, columns, placement);
                scatter::<bf16, i32>(device, &[2, -1, 0], 3, columns, placement);
            }
        }
    });
}

/// A destination longer than the index keeps its rows, and so does one whose source is shorter.
#[test]
fn the_shorter_of_index_and_rows_counts() {
    for_each_device(|device| {
        let src = device.upload(&[1i32, 2, 3], [3, 1]).unwrap();
        let index = device.upload(&[2i32, 0], [2]).unwrap();
        let mut out = device.upload(&[9i32; 4], [4, 1]).unwrap();
        gather_rows(&mut out, &src, &index).launch(device).unwrap();
        assert_eq!(out.download().unwrap(), [3, 1, 9, 9]);
        let mut dst = device.upload(&[9i32; 4], [4, 1]).unwrap();
        scatter_rows(&mut dst, &src, &index).launch(device).unwrap();
        assert_eq!(dst.download().unwrap(), [2, 9, 1, 9]);
    });
}

#[test]
fn two_programs_that_write_one_row_are_reported_on_the_cpu() {
    let device = Device::cpu();
    let src = device.upload(&[1i32, 2, 3], [3, 1]).unwrap();
    let index = device.upload(&[2i32, 0, 2], [3]).unwrap();
    let mut dst = device.zeros::<i32, 2>([4, 1]).unwrap();
    let launched = scatter_rows(&mut dst, &src, &index)
        .launch(&device)
        .and_then(|_| device.synchronize());
    let error = launched.unwrap_err().to_string();
    assert!(error.contains("scatter_rows"), "{error}");
}

#[test]
fn several_buffers_are_gathered_in_one_launch() {
    for_each_device(|device| {
        let widths = [512, 131, 1, 16];
        let matrices = widths.map(|columns| unique::<bf16>(6, columns, columns as u64));
        let srcs: [_; 4] =
            std::array::from_fn(|b| Guarded::<bf16>::new(device, &matrices[b], widths[b], Placement::Contiguous));
        let mut outs = widths.map(|columns| Guarded::<bf16>::untouched(device, 4, columns, Placement::Contiguous));
        let index = [5, -1, 0, 5];
        let on_device = upload_index::<i64>(device, &index);
        let [a, b, c, d] = &mut outs;
        let destinations = [a.view_mut(), b.view_mut(), c.view_mut(), d.view_mut()];
        gather_rows_of(destinations, srcs.each_ref().map(Guarded::view), &on_device)
            .launch(device)
            .unwrap();
        for (b, out) in outs.iter().enumerate() {
            let row = |&at: &i64| named(6, at).map_or(vec![0; widths[b]], |at| matrices[b][at].clone());
            assert_rows(&out.read(), &index.iter().map(row).collect(), widths[b]);
        }
    });
}

#[test]
fn buffers_of_four_types_are_gathered_in_one_launch() {
    for_each_device(|device| {
        let index = [5, -1, 0, 5, 3];
        let on_device = upload_index::<i32>(device, &index);
        let a = unique::<bf16>(6, 512, 1);
        let b = unique::<f32>(6, 4, 2);
        let c = unique::<i64>(6, 1, 3);
        let d = unique::<u8>(6, 131, 4);
        let mut out_a = Guarded::<bf16>::untouched(device, 5, 512, Placement::Contiguous);
        let mut out_b = Guarded::<f32>::untouched(device, 5, 4, Placement::Misaligned);
        let mut out_c = Guarded::<i64>::untouched(device, 5, 1, Placement::Contiguous);
        let mut out_d = Guarded::<u8>::untouched(device, 5, 131, Placement::Contiguous);
        gather_four(
            out_a.view_mut(),
            out_b.view_mut(),
            out_c.view_mut(),
            out_d.view_mut(),
            Guarded::<bf16>::new(device, &a, 512, Placement::Contiguous).view(),
            Guarded::<f32>::new(device, &b, 4, Placement::Misaligned).view(),
            Guarded::<i64>::new(device, &c, 1, Placement::Contiguous).view(),
            Guarded::<u8>::new(device, &d, 131, Placement::Contiguous).view(),
            &on_device,
        )
        .launch(device)
        .unwrap();
        let expected = |matrix: &Rows| -> Rows {
            let columns = matrix[0].len();
            index
                .iter()
                .map(|&at| named(6, at).map_or(vec![0; columns], |at| matrix[at].clone()))
                .collect()
        };
        assert_rows(&out_a.read(), &expected(&a), "a");
        assert_rows(&out_b.read(), &expected(&b), "b");
        assert_rows(&out_c.read(), &expected(&c), "c");
        assert_rows(&out_d.read(), &expected(&d), "d");
    });
}

/// Gathers with the policies that the kernels of this crate do not use.
#[kernel(grid = [out.extent(0)], bounds = "clamp")]
fn gather_clamped(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, index: &Tensor<i32, 1>) {
    let row = program_id(0);
    let cols = arange(out.extent(1));
    out.store([row, cols], src.load([index.load([row]), cols]));
}

#[kernel(grid = [out.extent(0)], bounds = "trap")]
fn gather_trapping(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, index: &Tensor<i32, 1>) {
    let row = program_id(0);
    let cols = arange(out.extent(1));
    out.store([row, cols], src.load([index.load([row]), cols]));
}

#[test]
fn an_index_out_of_range_is_clamped_if_the_kernel_says_so() {
    for_each_device(|device| {
        let src = device.upload(&[1i32, 2, 3, 4, 5, 6], [3, 2]).unwrap();
        let index = device.upload(&[-5i32, 1, 3, i32::MAX], [4]).unwrap();
        let mut out = device.zeros::<i32, 2>([4, 2]).unwrap();
        gather_clamped(&mut out, &src, &index).launch(device).unwrap();
        assert_eq!(out.download().unwrap(), [1, 2, 3, 4, 5, 6, 5, 6]);
    });
}

#[test]
fn an_index_out_of_range_traps_if_the_kernel_says_so() {
    for_each_device(|device| {
        let src = device.upload(&[1i32, 2, 3, 4, 5, 6], [3, 2]).unwrap();
        let index = device.upload(&[0i32, 77, 2], [3]).unwrap();
        let mut out = device.zeros::<i32, 2>([3, 2]).unwrap();
        let launched = gather_trapping(&mut out, &src, &index)
            .launch(device)
            .and_then(|_| device.synchronize());
        let error = launched.unwrap_err().to_string();
        for part in ["gather_trapping", "rows.rs", "77"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        // The device is usable afterwards.
        let index = device.upload(&[2i32, 1, 0], [3]).unwrap();
        gather_trapping(&mut out, &src, &index).launch(device).unwrap();
        device.synchronize().unwrap();
        assert_eq!(out.download().unwrap(), [5, 6, 3, 4, 1, 2]);
    });
}
