//! Every element with every scale, and what becomes of every number.

use std::fmt::Debug;

use float8::F8E4M3;
use half::{bf16, f16};
use tilewright_dp::kernels::{dequantize_nvfp4, quantize_nvfp4_to_slot};
use tilewright_dsl::call::Exact;
use tilewright_dsl::element::Number;
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, Launch};

use crate::reference::*;

/// Scales of all rows: none, that of a model whose activations reach 37.5, and of tiny and of huge ones.
const GLOBALS: [f32; 4] = [1.0, 2688.0 / 37.5, 3.0e20, 1.7e-19];

/// A type of hidden states, and how a number is rounded to it.
trait Hidden: Number + Debug {
    fn rounded(x: f32) -> Self;
    fn wide(self) -> f32;
}

macro_rules! hidden {
    ($($element:ty),*) => {$(
        impl Hidden for $element {
            fn rounded(x: f32) -> Self {
                Self::from_f32(x)
            }
            fn wide(self) -> f32 {
                self.to_f32()
            }
        }
    )*};
}
hidden!(bf16, f16);

impl Hidden for f32 {
    fn rounded(x: f32) -> Self {
        x
    }
    fn wide(self) -> f32 {
        self
    }
}

/// Numbers that follow no pattern, the same in every run.
fn noise(count: usize) -> impl Iterator<Item = u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    (0..count).map(next)
}

#[test]
fn the_values_of_e4m3_are_those_of_the_crate() {
    for bits in 0..=255u8 {
        let (ours, theirs) = (scale(bits), F8E4M3::from_bits(bits).to_f32());
        assert!(ours == theirs || (ours.is_nan() && theirs.is_nan()), "{bits:#x}");
    }
}

#[test]
fn ties_go_to_the_even_neighbour() {
    let ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0].map(rounded);
    assert_eq!(ties, [0, 2, 2, 4, 4, 6, 6]);
    let above = [0.25f32, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0, f32::INFINITY].map(|x| rounded(-x.next_up()));
    assert_eq!(above, [9, 10, 11, 12, 13, 14, 15, 15, 15]);
    assert_eq!([0.0f32, -0.0, f32::NAN].map(rounded), [0, 8, 7]);
}

#[test]
fn every_element_means_with_every_scale_what_the_tables_say() {
    fn all<T: Hidden>(device: &Device) {
        // A group for each scale, whose elements are all patterns, moved on by one from row to row.
        let (rows, groups) = (GROUP, 256);
        let element = |row: usize, column: usize| ((row + column) % GROUP) as u8;
        let byte = |i: usize| {
            let (row, column) = (i / (groups * 8), i % (groups * 8) * 2);
            element(row, column) | element(row, column + 1) << 4
        };
        let payload: Vec<u8> = (0..rows * groups * 8).map(byte).collect();
        let scales: Vec<_> = (0..rows * groups).map(|i| F8E4M3::from_bits(i as u8)).collect();
        let payload = device.upload(&payload, [rows, groups * 8]).unwrap();
        let scales = device.upload(&scales, [rows, groups]).unwrap();
        for global in GLOBALS {
            let mut out = Guarded::<T>::untouched(device, rows, groups * GROUP, Placement::Contiguous);
            dequantize_nvfp4(out.view_mut(), &payload, &scales, global)
                .launch(device)
                .unwrap();
            for (row, found) in out.read().iter().enumerate() {
                for (column, &bits) in found.iter().enumerate() {
                    let x = e2m1(element(row, column)) * (scale((column / GROUP) as u8) / global);
                    let (is, should) = (T::from_bits64(bits), T::rounded(x));
                    let same = is.to_bits64() == should.to_bits64() || (is.wide().is_nan() && x.is_nan());
                    assert!(same, "{is:?} instead of {should:?} in {row}, {column}, {global}");
                }
            }
        }
    }
    for_each_device(|device| {
        all::<f32>(device);
        all::<bf16>(device);
        all::<f16>(device);
    });
}

/// Quantises rows, and compares bit for bit.
fn check<T: Hidden>(device: &Device, values: &[T], columns: usize, globals: &[f32]) {
    let rows = values.len() / columns;
    let src = device.upload(values, [rows, columns]).unwrap();
    let wide = |row: &[T]| row.iter().map(|x| x.wide()).collect();
    let expected: Vec<Vec<f32>> = values.chunks(columns).map(wide).collect();
    for &global in globals {
        let mut payload = Guarded::<u8>::untouched(device, rows, columns / 2, Placement::Contiguous);
        let mut scales = Guarded::<F8E4M3>::untouched(device, rows, columns / GROUP, Placement::Contiguous);
        let (at, all) = (Exact(0), Exact(rows as u64));
        quantize_nvfp4_to_slot(payload.view_mut(), scales.view_mut(), &src, global, at, at, all)
            .launch(device)
            .unwrap();
        let (bytes, sizes) = quantized_rows(&expected, global);
        assert_rows(&scales.read(), &sizes, ("scales", T::TYPE, global));
        assert_rows(&payload.read(), &bytes, ("payload", T::TYPE, global));
    }
}

#[test]
fn every_number_of_16_bits_is_rounded_to_the_nearest() {
    fn all<T: Hidden>(device: &Device) {
        // Beside its neighbours, which share its magnitude; and beside numbers from everywhere.
        for step in [1, 40_503u64] {
            let patterns = (0..1u64 << 16).map(|i| T::from_bits64((i * step) & 0xffff));
            check(device, &patterns.collect::<Vec<_>>(), 4096, &GLOBALS[..3]);
        }
    }
    for_each_device(|device| {
        all::<bf16>(device);
        all::<f16>(device);
    });
}

#[test]
fn numbers_of_32_bits_and_those_beside_a_tie_are_rounded_to_the_nearest() {
    for_each_device(|device| {
        let patterns: Vec<f32> = noise(1 << 15).map(f32::from_bits).collect();
        check(device, &patterns, 2048, &GLOBALS);
        // Of a group whose scale is 1 every tie, the numbers next to it, and some between.
        let ties = [0.25f32, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
        let near = ties.iter().flat_map(|tie| [tie.next_down(), *tie, tie.next_up()]);
        let near: Vec<f32> = near
            .flat_map(|x| [x, -x])
            .chain(noise(1000).map(|i| (i >> 8) as f32 / 2.8e6))
            .collect();
        let group = |near: &[f32]| {
            let mut group = near.to_vec();
            group.resize(GROUP, 6.0);
            group
        };
        let values: Vec<f32> = near.chunks(GROUP - 1).flat_map(group).collect();
        check(device, &values, GROUP, &[1.0]);
    });
}

/// Which of two neighbours a scale is, where it is between them, hangs on the last bit of each operation before.
#[test]
fn scales_beside_a_tie_are_those_of_the_stated_order_of_operations() {
    for_each_device(|device| {
        let mut differing = 0;
        for global in GLOBALS {
            let ties = (1..126).map(|bits| (scale(bits) + scale(bits + 1)) / 2.0);
            let largest = ties.flat_map(|tie| {
                let most = tie * 6.0 / global;
                (0..9).map(move |ulps| f32::from_bits(most.to_bits() + ulps - 4))
            });
            let values: Vec<f32> = largest.flat_map(|most| [most; GROUP]).collect();
            check(device, &values, GROUP, &[global]);
            let others = values.chunks(GROUP).filter(|group| {
                let scaled = F8E4M3::from_f32(group[0] * global * (1.0f32 / 6.0));
                scaled.to_bits() != quantized(group, global).1
            });
            differing += others.count();
        }
        assert!(differing > 10, "{differing} would be others in another order");
    });
}

#[test]
fn groups_of_zeros_of_nan_and_with_infinities_become_what_is_said_of_them() {
    for_each_device(|device| {
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        let group = |first: f32, others: f32| [vec![first], vec![others; GROUP - 1]].concat();
        let groups = [
            (group(0.0, 0.0), (0x00, 0x00), 0),
            (group(-0.0, 0.0), (0x08, 0x00), 0),
            // Too small for a scale, as all subnormals are.
            (group(-1e-4, 1e-3), (0x08, 0x00), 0),
            (group(f32::from_bits(1), 0.0), (0x00, 0x00), 0),
            // NaN does not count for the scale, which the others decide, and is the largest.
            (group(nan, 3.0), (0x77, 0x77), 0x30),
            (group(-nan, 0.0), (0x07, 0x00), 0),
            (group(nan, nan), (0x77, 0x77), 0x7f),
            // The scale is 448, and 672 is one and a half of it.
            (group(-infinity, 672.0), (0x3f, 0x33), 0x7e),
            (group(infinity, nan), (0x77, 0x77), 0x7e),
            // More than the largest scale has room for.
            (group(1e9, -1e9), (0xf7, 0xff), 0x7e),
        ];
        let values: Vec<f32> = groups.iter().flat_map(|(group, ..)| group.clone()).collect();
        check(device, &values, GROUP, &[1.0]);
        // What its elements would be multiplied by is more than an f32 can be, and its zeros are zeros.
        check(device, &group(3.9e-41, 0.0), GROUP, &[3.0e38]);
        let rows = groups.len();
        let src = device.upload(&values, [rows, GROUP]).unwrap();
        let (mut payload, mut scales) = (
            device.zeros::<u8, 2>([rows, 8]).unwrap(),
            device.zeros::<F8E4M3, 2>([rows, 1]).unwrap(),
        );
        let (at, all) = (Exact(0), Exact(rows as u64));
        quantize_nvfp4_to_slot(&mut payload, &mut scales, &src, 1.0, at, at, all)
            .launch(device)
            .unwrap();
        let (payload, scales) = (payload.download().unwrap(), scales.download().unwrap());
        for (row, (group, (first, second), scale)) in groups.iter().enumerate() {
            let (bytes, size) = (&payload[row * 8..][..2], scales[row].to_bits());
            assert_eq!((bytes, size), (&[*first, *second][..], *scale), "{group:?}");
        }
    });
}

/// An e2m1 is off by a quarter of what it stands for at most, or by a quarter of the scale.
#[test]
fn what_comes_back_is_as_near_as_the_types_allow() {
    for_each_device(|device| {
        let (rows, columns) = (7, 7168);
        let number = |i: u32| (i as f32 / 2f32.powi(31) - 1.0) * 2f32.powi((i % 9) as i32 - 4);
        let values: Vec<bf16> = noise(rows * columns).map(|i| bf16::from_f32(number(i))).collect();
        let global = 2688.0 / 16.0;
        let src = device.upload(&values, [rows, columns]).unwrap();
        let (mut payload, mut scales) = (
            device.zeros::<u8, 2>([rows, columns / 2]).unwrap(),
            device.zeros::<F8E4M3, 2>([rows, columns / GROUP]).unwrap(),
        );
        let (at, all) = (Exact(0), Exact(rows as u64));
        quantize_nvfp4_to_slot(&mut payload, &mut scales, &src, global, at, at, all)
            .launch(device)
            .unwrap();
        let mut back = device.zeros::<f32, 2>([rows, columns]).unwrap();
        dequantize_nvfp4(&mut back, &payload, &scales, global)
            .launch(device)
            .unwrap();
        let (back, scales) = (back.download().unwrap(), scales.download().unwrap());
        let mut differing = 0;
        for (i, (was, is)) in values.iter().zip(&back).enumerate() {
            let (was, step) = (was.to_f32(), scales[i / GROUP].to_f32() / global);
            assert!(step >= 2f32.powi(-6) / global, "a scale with all its bits");
            let error = (was - is).abs();
            assert!(error <= (was.abs() / 4.0).max(step / 4.0) * 1.0001, "{was} {is} {step}");
            differing += usize::from(error > 0.0);
        }
        assert!(differing > rows * columns / 2);
        back.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    });
}
