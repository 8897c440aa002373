//! Operators and casts on every element type, on values where they are most likely to differ between devices.

use half::{bf16, f16};
use tilewright::prelude::*;

use crate::devices::on_every_device;

/// Bit patterns of an element type: zeros, ones, extremes, NaNs, subnormals, and a spread of others.
fn patterns<T: Element>(count: usize, salt: u64) -> Vec<T> {
    let mask = u64::MAX >> (64 - T::TYPE.bits());
    let top = 1u64 << (T::TYPE.bits() - 1);
    let edges = [
        0,
        1,
        2,
        3,
        mask,
        mask - 1,
        top,
        top - 1,
        top + 1,
        top >> 1,
        mask >> 1,
        0x7f80,
        0x7c00,
        0x3f80,
        0x3c00,
    ];
    let spread = (0..).map(|i: u64| {
        let mixed = (i + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    });
    edges
        .into_iter()
        .chain(spread)
        .map(|bits| {
            T::from_bits64(if T::TYPE == ElementType::Bool {
                bits & 1
            } else {
                bits & mask
            })
        })
        .take(count)
        .collect()
}

/// Every pair of some values, so that each operator sees each edge on both sides.
fn pairs<T: Element>(side: usize) -> (Vec<T>, Vec<T>) {
    let values = patterns::<T>(side, 77);
    let left = values.iter().flat_map(|&l| std::iter::repeat_n(l, side)).collect();
    let right = (0..side).flat_map(|_| values.iter().copied()).collect();
    (left, right)
}

fn bits<T: Element>(values: Vec<T>) -> Vec<u64> {
    values.into_iter().map(T::to_bits64).collect()
}

#[kernel(grid = [1])]
fn arithmetic<T: Number>(out: &mut Tensor<T, 2>, l: &Tensor<T, 1>, r: &Tensor<T, 1>) {
    let i = arange(l.extent(0));
    let (a, b) = (l.load([i]), r.load([i]));
    out.store([0, i], a + b);
    out.store([1, i], a - b);
    out.store([2, i], a * b);
    out.store([3, i], a / b);
    out.store([4, i], a.min(b));
    out.store([5, i], a.max(b));
    out.store([6, i], select(a < b, a, b));
    out.store([7, i], select(a >= b, a, b));
    out.store([8, i], select(a == b, a, b));
    out.store([9, i], select(a != b, b, a));
}

#[kernel(grid = [1])]
fn bitwise<T: Integer + Bits>(out: &mut Tensor<T, 2>, l: &Tensor<T, 1>, r: &Tensor<T, 1>) {
    let i = arange(l.extent(0));
    let (a, b) = (l.load([i]), r.load([i]));
    out.store([0, i], a & b);
    out.store([1, i], a | b);
    out.store([2, i], a ^ b);
    out.store([3, i], a << b);
    out.store([4, i], a >> b);
    out.store([5, i], a % b);
    out.store([6, i], !a);
}

#[kernel(grid = [1])]
fn signs<T: Signed>(out: &mut Tensor<T, 2>, l: &Tensor<T, 1>) {
    let i = arange(l.extent(0));
    let a = l.load([i]);
    out.store([0, i], -a);
    out.store([1, i], a.abs());
}

#[kernel(grid = [1])]
fn convert<T: Element, U: Element>(out: &mut Tensor<U, 1>, src: &Tensor<T, 1>) {
    let i = arange(src.extent(0));
    out.store([i], src.load([i]).cast::<U>());
}

fn check_arithmetic<T: Number>() {
    let (l, r) = pairs::<T>(24);
    let n = l.len();
    on_every_device(|device| {
        let (l, r) = (device.upload(&l, [n]).unwrap(), device.upload(&r, [n]).unwrap());
        let mut out = device.zeros::<T, 2>([10, n]).unwrap();
        arithmetic(&mut out, &l, &r).launch(device).unwrap();
        bits(out.download().unwrap())
    });
}

fn check_bitwise<T: Integer + Bits>() {
    let (l, r) = pairs::<T>(24);
    let n = l.len();
    on_every_device(|device| {
        let (l, r) = (device.upload(&l, [n]).unwrap(), device.upload(&r, [n]).unwrap());
        let mut out = device.zeros::<T, 2>([7, n]).unwrap();
        bitwise(&mut out, &l, &r).launch(device).unwrap();
        bits(out.download().unwrap())
    });
}

fn check_signs<T: Signed>() {
    let values = patterns::<T>(500, 5);
    on_every_device(|device| {
        let values = device.upload(&values, [500]).unwrap();
        let mut out = device.zeros::<T, 2>([2, 500]).unwrap();
        signs(&mut out, &values).launch(device).unwrap();
        bits(out.download().unwrap())
    });
}

#[test]
fn arithmetic_is_the_same_on_every_integer_type() {
    check_arithmetic::<i8>();
    check_arithmetic::<i16>();
    check_arithmetic::<i32>();
    check_arithmetic::<i64>();
    check_arithmetic::<u8>();
    check_arithmetic::<u16>();
    check_arithmetic::<u32>();
    check_arithmetic::<u64>();
}

#[test]
fn arithmetic_is_the_same_on_every_float_type() {
    check_arithmetic::<f16>();
    check_arithmetic::<bf16>();
    check_arithmetic::<f32>();
    check_arithmetic::<f64>();
}

#[test]
fn bit_operators_shifts_and_remainders_are_the_same_on_every_integer_type() {
    check_bitwise::<i8>();
    check_bitwise::<i16>();
    check_bitwise::<i32>();
    check_bitwise::<i64>();
    check_bitwise::<u8>();
    check_bitwise::<u16>();
    check_bitwise::<u32>();
    check_bitwise::<u64>();
}

#[test]
fn negation_and_absolute_value_are_the_same_on_every_signed_type() {
    check_signs::<i8>();
    check_signs::<i32>();
    check_signs::<i64>();
    check_signs::<f16>();
    check_signs::<bf16>();
    check_signs::<f32>();
    check_signs::<f64>();
}

fn check_convert<T: Element, U: Element>() {
    let values = patterns::<T>(700, 3);
    on_every_device(|device| {
        let values = device.upload(&values, [700]).unwrap();
        let mut out = device.zeros::<U, 1>([700]).unwrap();
        convert(&mut out, &values).launch(device).unwrap();
        bits(out.download().unwrap())
    });
}

macro_rules! casts {
    ($($name:ident: $from:ty;)*) => {$(
        #[test]
        fn $name() {
            check_convert::<$from, bool>();
            check_convert::<$from, i8>();
            check_convert::<$from, i16>();
            check_convert::<$from, i32>();
            check_convert::<$from, i64>();
            check_convert::<$from, u8>();
            check_convert::<$from, u16>();
            check_convert::<$from, u32>();
            check_convert::<$from, u64>();
            check_convert::<$from, f16>();
            check_convert::<$from, bf16>();
            check_convert::<$from, f32>();
            check_convert::<$from, f64>();
        }
    )*};
}
casts! {
    bool_casts_to_every_type: bool;
    i8_casts_to_every_type: i8;
    i16_casts_to_every_type: i16;
    i32_casts_to_every_type: i32;
    i64_casts_to_every_type: i64;
    u8_casts_to_every_type: u8;
    u16_casts_to_every_type: u16;
    u32_casts_to_every_type: u32;
    u64_casts_to_every_type: u64;
    f16_casts_to_every_type: f16;
    bf16_casts_to_every_type: bf16;
    f32_casts_to_every_type: f32;
    f64_casts_to_every_type: f64;
}

#[kernel(grid = [1])]
fn echo(out: &mut Tensor<i64, 1>, floats: &mut Tensor<f32, 1>, a: i64, b: u64, c: i32, d: bool, e: f32, n: Count) {
    out.store([0], a);
    out.store([1], b as i64);
    out.store([2], c as i64);
    out.store([3], d as i64);
    out.store([4], n);
    floats.store([0], e);
}

#[test]
fn scalar_arguments_arrive_exact_at_the_limits_of_their_types() {
    let cases = [
        (i64::MIN, 0u64, i32::MIN, false, f32::MIN_POSITIVE, 0u64),
        (i64::MAX, u64::MAX, i32::MAX, true, f32::NEG_INFINITY, 1 << 40),
        (-(1 << 31) - 1, 1 << 63, -1, true, -0.0, 1),
    ];
    for (a, b, c, d, e, n) in cases {
        let out = on_every_device(|device| {
            let mut out = device.zeros::<i64, 1>([5]).unwrap();
            let mut floats = device.zeros::<f32, 1>([1]).unwrap();
            echo(&mut out, &mut floats, a, b, c, d, e, Runtime(n))
                .launch(device)
                .unwrap();
            (out.download().unwrap(), bits(floats.download().unwrap()))
        });
        assert_eq!(out, (vec![a, b as i64, c as i64, d as i64, n as i64], bits(vec![e])));
    }
}

#[kernel(grid = [1])]
fn with_itself(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 1>) {
    let i = arange(src.extent(0));
    let x = src.load([i]);
    out.store([0, i], x.min(x));
    out.store([1, i], x.max(x));
}

#[test]
fn the_smaller_and_the_larger_of_a_nan_and_itself_are_canonical() {
    let values = [0x7fc0_0001, 0xffff_ffff, 0x8000_0000, 0x3f80_0000].map(f32::from_bits);
    let out = on_every_device(|device| {
        let src = device.upload(&values, [4]).unwrap();
        let mut out = device.zeros::<f32, 2>([2, 4]).unwrap();
        with_itself(&mut out, &src).launch(device).unwrap();
        out.download()
            .unwrap()
            .into_iter()
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    });
    let expected = [0x7fff_ffff, 0x7fff_ffff, 0x8000_0000, 0x3f80_0000];
    assert_eq!(out, [expected, expected].concat());
}
