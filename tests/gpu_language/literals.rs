//! Literals beside tiles of every element type, and functions that take plain numbers.

use half::{bf16, f16};
use tilewright::prelude::*;

use crate::devices::on_every_device;

/// A literal wherever a number may stand, for floats.
#[kernel(grid = [1])]
fn floats<T: Float>(out: &mut Tensor<T, 2>, x: &Tensor<T, 1>) {
    let i = arange(x.extent(0));
    let v = x.load([i]);
    let scale = 0.5;
    let mut sum: T = 0.25;
    sum += 1;
    sum = sum - 0.25;
    let half: T = 0.5;
    out.store([0, i], v * 2.0 + 1);
    out.store([1, i], 1.0 / (1 + v));
    out.store([2, i], v.max(0).min(1.5).clamp(-1.0, 1.25));
    out.store([3, i], v.mul_add(scale, -1.0) - half);
    out.store([4, i], select(v > 0.5, 1.0, 0));
    out.store([5, i], select(v >= 0, v, -1));
    out.store([6, i], full([4], 0.1) + sum);
    out.store([7, i], if x.load([0]) < 0.5 { v } else { -v });
    out.store([8, 0], 0.1);
    out.store([8, 1], if x.load([0]) < 0.5 { 3.5 } else { x.load([1]) });
    out.store_where([9, i], 7.0, v != 0.5);
}

#[test]
fn literals_are_of_the_type_that_floats_beside_them_have() {
    fn check<T: Float + Into<f64>>(of: impl Fn(f64) -> T) {
        let source = [0.0, 0.5, 1.0, 2.0].map(&of);
        on_every_device(|device| {
            let x = device.upload(&source, [4]).unwrap();
            let mut out = device.zeros::<T, 2>([10, 4]).unwrap();
            floats::<T>(&mut out, &x).launch(device).unwrap();
            let rounded = |v: f64| -> f64 { of(v).into() };
            let expected: [[f64; 4]; 10] = [
                [1.0, 2.0, 3.0, 5.0],
                [1.0, rounded(1.0 / 1.5), 0.5, rounded(1.0 / 3.0)],
                [0.0, 0.5, 1.0, 1.25],
                [-1.5, -1.25, -1.0, -0.5],
                [0.0, 0.0, 1.0, 1.0],
                [0.0, 0.5, 1.0, 2.0],
                [rounded(rounded(0.1) + 1.0); 4],
                [0.0, 0.5, 1.0, 2.0],
                [rounded(0.1), 3.5, 0.0, 0.0],
                [7.0, 0.0, 7.0, 7.0],
            ];
            let found: Vec<f64> = out.download().unwrap().into_iter().map(Into::into).collect();
            assert_eq!(found, expected.concat(), "{}", T::TYPE);
        });
    }
    check(|v| v as f32);
    check(|v| v);
    check(bf16::from_f64);
    check(f16::from_f64);
}

/// A literal wherever a number may stand, for all numbers.
#[kernel(grid = [1])]
fn numbers<T: Number>(out: &mut Tensor<T, 2>, x: &Tensor<T, 1>) {
    let i = arange(x.extent(0));
    let v = x.load([i]);
    let three = 3;
    let mut sum: T = 4;
    let mut other: T = 1;
    (sum, other) = (5, 0);
    sum = sum + other;
    out.store([0, i], 10 - v * three);
    out.store([1, i], v.max(2).min(three));
    out.store([2, i], select(v == 2, 0, v));
    out.store([3, i], select(v > 1, 7, 100));
    out.store([4, i], sum + v / 2 * (1 + 1));
    out.store([5, i], full([4], 9));
    out.store([6, 0], if x.load([0]) < 1 { 1 } else { x.load([1]) });
    out.store([6, 1], 2);
    out.scatter([6, 2], 3, Conflict::LastWins);
}

#[test]
fn integer_literals_are_of_the_type_that_numbers_beside_them_have() {
    fn check<T: Number>(of: impl Fn(u8) -> T) {
        let source = [0, 1, 2, 3].map(&of);
        on_every_device(|device| {
            let x = device.upload(&source, [4]).unwrap();
            let mut out = device.zeros::<T, 2>([7, 4]).unwrap();
            numbers::<T>(&mut out, &x).launch(device).unwrap();
            let halves = if T::TYPE.is_float() { [5, 6, 7, 8] } else { [5, 5, 7, 7] };
            let expected = [
                [10, 7, 4, 1],
                [2, 2, 2, 3],
                [0, 1, 0, 3],
                [100, 100, 7, 7],
                halves,
                [9; 4],
                [1, 2, 3, 0],
            ];
            let bits = |values: Vec<T>| values.into_iter().map(T::to_bits64).collect::<Vec<_>>();
            let expected = expected.concat().into_iter().map(&of).collect();
            assert_eq!(bits(out.download().unwrap()), bits(expected), "{}", T::TYPE);
        });
    }
    check(|v| v as i8);
    check(|v| v);
    check(i16::from);
    check(u16::from);
    check(i32::from);
    check(u32::from);
    check(i64::from);
    check(u64::from);
    check(bf16::from);
    check(f16::from);
    check(f32::from);
    check(f64::from);
}

/// Literals whose type nothing but the context decides, and `cdiv` of whatever it takes.
#[kernel(grid = [1])]
fn contexts(
    out: &mut Tensor<f32, 1>,
    whole: &mut Tensor<i64, 1>,
    small: &mut Tensor<F8E4M3, 1>,
    lengths: &Tensor<i32, 1>,
    page: i32,
) {
    let x = lengths.load([0]);
    let sign = if x > 2 { -1.0 } else { 1.0 };
    let wide = if x > 2 {
        1
    } else if x > 0 {
        2
    } else {
        3
    };
    out.store([0], sign);
    out.store([1], sign * out.extent(0).cast::<f32>());
    let i = arange(2);
    whole.store([0], wide);
    whole.store([i + 1], cdiv(lengths.load([i]), page).cast::<i64>());
    whole.store([i + 3], cdiv(whole.extent(0), i + 1));
    whole.store([i + 5], cdiv(i + 7, 4));
    let known = cdiv(9usize, 2);
    let more = if known > 4 { known } else { 1 };
    let some: usize = if known > 4 { 2 } else { 4 };
    small.store([0], 1.5);
    small.store([1], 448);
    small.store([arange(some) + 2], full([some], -0.0625));
    whole.store([7], 5_000_000_000 + arange(more).max_axis(0));
}

#[test]
fn the_context_decides_the_type_of_a_literal_that_stands_alone() {
    on_every_device(|device| {
        let lengths = device.upload(&[5, 8], [2]).unwrap();
        let mut out = device.zeros::<f32, 1>([2]).unwrap();
        let mut whole = device.zeros::<i64, 1>([8]).unwrap();
        let mut small = device.zeros::<F8E4M3, 1>([4]).unwrap();
        contexts(&mut out, &mut whole, &mut small, &lengths, 4)
            .launch(device)
            .unwrap();
        let small: Vec<f32> = small.download().unwrap().into_iter().map(|v| v.to_f32()).collect();
        assert_eq!(small, [1.5, 448.0, -0.0625, -0.0625]);
        assert_eq!(out.download().unwrap(), [-1.0, -2.0]);
        assert_eq!(whole.download().unwrap(), [1, 2, 2, 8, 4, 2, 2, 5_000_000_004]);
    });
}

/// Literals and scalars on the right of a tile whose rank is the caller's.
#[device]
fn limited<T: Number, const R: usize>(x: Tile<T, R>, least: Scalar<T>) -> (Tile<T, R>, Tile<bool, R>) {
    let three = 3;
    let doubled = x * 2;
    ((doubled - least).max(0).min(100).clamp(1, three + 20), doubled + 1 > 7)
}

#[kernel(grid = [1])]
fn of_any_rank<T: Number>(out: &mut Tensor<T, 1>, large: &mut Tensor<bool, 1>, x: &Tensor<T, 1>, least: &Tensor<T, 1>) {
    let (i, least) = (arange(8), least.load([0]));
    let (row, is_large) = limited(x.load([i]), least);
    out.store([i], row);
    large.store([i], is_large);
    let (plane, is_large) = limited(x.load([i]).reshape([2, 4]), least);
    out.store([i + 8], plane.reshape([8]));
    large.store([i + 8], is_large.reshape([8]));
    let (cube, is_large) = limited(x.load([i]).reshape([2, 2, 2]), least);
    out.store([i + 16], cube.reshape([8]));
    large.store([i + 16], is_large.reshape([8]));
    let (scalar, is_large) = limited(x.load([5]), least);
    out.store([24], scalar);
    large.store([24], is_large);
}

#[test]
fn literals_and_scalars_stand_beside_tiles_of_any_rank() {
    fn check<T: Number + Into<f64>>(of: impl Fn(u8) -> T) {
        let values = [0, 1, 2, 3, 7, 9, 12, 15];
        let limited = values.map(|v| (2.0 * f64::from(v) - 1.0).clamp(1.0, 23.0));
        let is_large = values.map(|v| 2 * v + 1 > 7);
        on_every_device(|device| {
            let x = device.upload(&values.map(&of), [8]).unwrap();
            let least = device.upload(&[of(1)], [1]).unwrap();
            let (mut out, mut large) = (device.zeros::<T, 1>([25]).unwrap(), device.zeros([25]).unwrap());
            of_any_rank(&mut out, &mut large, &x, &least).launch(device).unwrap();
            let found: Vec<f64> = out.download().unwrap().into_iter().map(Into::into).collect();
            let expected = [&limited[..], &limited, &limited, &limited[5..6]].concat();
            assert_eq!(found, expected, "{}", T::TYPE);
            let expected = [&is_large[..], &is_large, &is_large, &is_large[5..6]].concat();
            assert_eq!(large.download().unwrap(), expected, "{}", T::TYPE);
        });
    }
    check(i32::from);
    check(|v| v as i8);
    check(f32::from);
    check(|v| bf16::from_f32(f32::from(v)));
}
