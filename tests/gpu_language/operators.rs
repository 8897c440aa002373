//! Operators and functions on every element type, several in one kernel, on values where devices are most likely to differ.

use float8::{F8E4M3, F8E5M2};
use half::{bf16, f16};
use tilewright::prelude::*;

use crate::devices::{on_every_device, ptx};
use crate::values::{bits, edges, pairs, patterns};

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
    out.store([6, i], a.minimum(b));
    out.store([7, i], a.maximum(b));
    out.store([8, i], select(a < b, a, b));
    out.store([9, i], select(a <= b, a, b));
    out.store([10, i], select(a > b, a, b));
    out.store([11, i], select(a >= b, a, b));
    out.store([12, i], select(a == b, a, b));
    out.store([13, i], select(a != b, b, a));
    out.store([14, i], a.clamp(b, a + b));
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
    out.store([6, i], a.mul_high(b));
    out.store([7, i], !a);
    out.store([8, i], a.count_ones());
    out.store([9, i], a.leading_zeros());
    out.store([10, i], a.trailing_zeros());
    out.store([11, i], a.div_ceil(b));
}

#[kernel(grid = [1])]
fn logic(out: &mut Tensor<bool, 2>, l: &Tensor<bool, 1>, r: &Tensor<bool, 1>) {
    let i = arange(l.extent(0));
    let (a, b) = (l.load([i]), r.load([i]));
    out.store([0, i], a & b);
    out.store([1, i], a | b);
    out.store([2, i], a ^ b);
    out.store([3, i], !a);
    out.store([4, i], a == b);
    out.store([5, i], a != b);
}

#[kernel(grid = [1])]
fn signs<T: Signed>(out: &mut Tensor<T, 2>, l: &Tensor<T, 1>) {
    let i = arange(l.extent(0));
    let a = l.load([i]);
    out.store([0, i], -a);
    out.store([1, i], a.abs());
    // The absolute value of the smallest integer is negative.
    out.store([2, i], select(a.abs() < zero::<T>(), a, -a));
}

#[kernel(grid = [1])]
fn rounding<T: Float>(out: &mut Tensor<T, 2>, kinds: &mut Tensor<bool, 2>, l: &Tensor<T, 1>) {
    let i = arange(l.extent(0));
    let a = l.load([i]);
    out.store([0, i], a.floor());
    out.store([1, i], a.ceil());
    out.store([2, i], a.round_ties_even());
    out.store([3, i], a.trunc());
    out.store([4, i], a.sqrt());
    out.store([5, i], a.rsqrt());
    kinds.store([0, i], a.is_nan());
    kinds.store([1, i], a.is_finite());
}

#[kernel(grid = [1])]
fn functions<T: Float>(out: &mut Tensor<T, 2>, l: &Tensor<T, 1>) {
    let i = arange(l.extent(0));
    let a = l.load([i]);
    out.store([0, i], a.exp());
    out.store([1, i], a.exp2());
    out.store([2, i], a.ln());
    out.store([3, i], a.log2());
    out.store([4, i], a.sin());
    out.store([5, i], a.cos());
    out.store([6, i], a.tanh());
}

#[kernel(grid = [1])]
fn powers<T: Float>(out: &mut Tensor<T, 2>, l: &Tensor<T, 1>, r: &Tensor<T, 1>) {
    let i = arange(l.extent(0));
    let (a, b) = (l.load([i]), r.load([i]));
    out.store([0, i], a.powf(b));
    out.store([1, i], a.powf(3));
    out.store([2, i], a.abs().powf(-0.5));
    out.store([3, i], (1 + a.abs().min(1.0) * 0.01).powf(b));
}

#[kernel(grid = [1])]
fn fused<T: Float>(out: &mut Tensor<T, 2>, l: &Tensor<T, 1>, r: &Tensor<T, 1>) {
    let i = arange(l.extent(0));
    let (a, b) = (l.load([i]), r.load([i]));
    out.store([0, i], a.mul_add(b, a));
    out.store([1, i], a.mul_add(b, -(a * b)));
    out.store([2, i], b.mul_add(a, b));
}

/// All elements over one, a row for each.
#[kernel(grid = [r.extent(0)])]
fn quotients<T: Element>(out: &mut Tensor<T, 2>, l: &Tensor<f32, 1>, r: &Tensor<f32, 1>) {
    let (row, i) = (program_id(0), arange(l.extent(0)));
    out.store([row, i], (l.load([i]) / r.load([row])).cast::<T>());
}

/// Runs a kernel of `$rows` results on what `$values` are.
macro_rules! check {
    ($kernel:ident<$ty:ty>, $rows:literal, pairs) => {{
        let (l, r) = pairs::<$ty>(48);
        let n = l.len();
        on_every_device(|device| {
            let (l, r) = (device.upload(&l, [n]).unwrap(), device.upload(&r, [n]).unwrap());
            let mut out = device.zeros::<$ty, 2>([$rows, n]).unwrap();
            $kernel(&mut out, &l, &r).launch(device).unwrap();
            bits(out.download().unwrap())
        })
    }};
    ($kernel:ident<$ty:ty>, $rows:literal, patterns) => {{
        let values = patterns::<$ty>();
        let n = values.len();
        on_every_device(|device| {
            let values = device.upload(&values, [n]).unwrap();
            let mut out = device.zeros::<$ty, 2>([$rows, n]).unwrap();
            $kernel(&mut out, &values).launch(device).unwrap();
            bits(out.download().unwrap())
        })
    }};
}

macro_rules! integers {
    ($($name:ident: $ty:ty;)*) => {$(
        #[test]
        fn $name() {
            check!(arithmetic<$ty>, 15, pairs);
            check!(bitwise<$ty>, 12, pairs);
        }
    )*};
}
integers! {
    operators_are_the_same_on_i8: i8;
    operators_are_the_same_on_i16: i16;
    operators_are_the_same_on_i32: i32;
    operators_are_the_same_on_i64: i64;
    operators_are_the_same_on_u8: u8;
    operators_are_the_same_on_u16: u16;
    operators_are_the_same_on_u32: u32;
    operators_are_the_same_on_u64: u64;
}

macro_rules! floats {
    ($($operators:ident, $functions:ident: $ty:ty;)*) => {$(
        #[test]
        fn $operators() {
            check!(arithmetic<$ty>, 15, pairs);
            check!(fused<$ty>, 3, pairs);
        }

        #[test]
        fn $functions() {
            check!(functions<$ty>, 7, patterns);
            check!(powers<$ty>, 4, pairs);
            let values = patterns::<$ty>();
            let n = values.len();
            on_every_device(|device| {
                let values = device.upload(&values, [n]).unwrap();
                let mut out = device.zeros::<$ty, 2>([6, n]).unwrap();
                let mut kinds = device.zeros::<bool, 2>([2, n]).unwrap();
                rounding(&mut out, &mut kinds, &values).launch(device).unwrap();
                (bits(out.download().unwrap()), bits(kinds.download().unwrap()))
            });
        }
    )*};
}
floats! {
    operators_are_the_same_on_f16, functions_are_the_same_on_f16: f16;
    operators_are_the_same_on_bf16, functions_are_the_same_on_bf16: bf16;
    operators_are_the_same_on_f32, functions_are_the_same_on_f32: f32;
    operators_are_the_same_on_f64, functions_are_the_same_on_f64: f64;
}

#[test]
fn functions_are_made_of_exactly_rounded_instructions() {
    let cpu = Device::cpu();
    let (x, n) = (cpu.zeros::<f32, 1>([64]).unwrap(), 64);
    let mut out = cpu.zeros::<f32, 2>([7, n]).unwrap();
    let mut kinds = cpu.zeros::<bool, 2>([2, n]).unwrap();
    functions(&mut out, &x).launch(&cpu).unwrap();
    powers(&mut cpu.zeros::<f32, 2>([4, n]).unwrap(), &x, &x)
        .launch(&cpu)
        .unwrap();
    rounding(&mut out, &mut kinds, &x).launch(&cpu).unwrap();
    arithmetic(&mut cpu.zeros::<f32, 2>([15, n]).unwrap(), &x, &x)
        .launch(&cpu)
        .unwrap();
    let variants = cpu.variants();
    assert_eq!(variants.len(), 4);
    for text in variants.iter().flat_map(|variant| ptx(variant, "sm_90")) {
        for inexact in [".approx", ".ftz", "div.full"] {
            assert!(!text.contains(inexact), "{inexact}");
        }
    }
}

#[test]
fn negation_and_absolute_value_are_the_same_on_every_signed_type() {
    check!(signs<i8>, 3, patterns);
    check!(signs<i16>, 3, patterns);
    check!(signs<i32>, 3, patterns);
    check!(signs<i64>, 3, patterns);
    check!(signs<f16>, 3, patterns);
    check!(signs<bf16>, 3, patterns);
    check!(signs<f32>, 3, patterns);
    check!(signs<f64>, 3, patterns);
}

#[test]
fn logic_on_bool_has_its_truth_table() {
    let (l, r) = ([false, false, true, true], [false, true, false, true]);
    let out = on_every_device(|device| {
        let (l, r) = (device.upload(&l, [4]).unwrap(), device.upload(&r, [4]).unwrap());
        let mut out = device.zeros::<bool, 2>([6, 4]).unwrap();
        logic(&mut out, &l, &r).launch(device).unwrap();
        bits(out.download().unwrap())
    });
    let expected = [
        [0, 0, 0, 1],
        [0, 1, 1, 1],
        [0, 1, 1, 0],
        [1, 1, 0, 0],
        [1, 0, 0, 1],
        [0, 1, 1, 0],
    ];
    assert_eq!(out, expected.concat());
}

/// Scalars and plain numbers beside tiles, and what folding makes of literals.
#[kernel(grid = [1])]
fn beside(out: &mut Tensor<f32, 2>, x: &Tensor<f32, 2>, limit: &Tensor<f32, 1>) {
    let (i, j) = (arange(4).expand_dims(1), arange(8));
    let (tile, row, most) = (x.load([i, j]), limit.load([j]), limit.load([3usize]));
    out.store([i, j], tile.clamp(-most, row).mul_add(most, 0.5).max(row));
    out.store(
        [i + 4, j],
        tile.minimum(full([1], 2.0f32).exp()) + full([8], 0.3f32).sin().rsqrt(),
    );
}

#[test]
fn methods_take_scalars_tiles_of_lower_rank_and_plain_numbers() {
    let x: Vec<f32> = (0..32).map(|i| i as f32 / 2.0 - 8.0).collect();
    let limit: Vec<f32> = (0..8).map(|i| i as f32 - 0.25).collect();
    let out = on_every_device(|device| {
        let (x, limit) = (device.upload(&x, [4, 8]).unwrap(), device.upload(&limit, [8]).unwrap());
        let mut out = device.zeros::<f32, 2>([8, 8]).unwrap();
        beside(&mut out, &x, &limit).launch(device).unwrap();
        out.download().unwrap()
    });
    for (k, &value) in x.iter().enumerate() {
        let (row, most) = (limit[k % 8], limit[3]);
        let expected = value.max(-most).min(row).mul_add(most, 0.5).max(row);
        assert_eq!(out[k], expected);
        let expected = value.min(2f32.exp()) + 1.0 / 0.3f32.sin().sqrt();
        assert!(
            (out[32 + k] - expected).abs() <= 4.0 * f32::EPSILON * expected.abs(),
            "{value}"
        );
    }
}

#[kernel(grid = [1])]
fn shifted<T: Integer + Bits>(out: &mut Tensor<T, 2>, x: &Tensor<T, 1>, by: &Tensor<T, 1>) {
    let i = arange(x.extent(0));
    for k in 0..by.extent(0) {
        out.store([2 * k, i], x.load([i]) << by.load([k]));
        out.store([2 * k + 1, i], x.load([i]) >> by.load([k]));
    }
}

#[test]
fn a_shift_is_by_the_amount_modulo_the_width() {
    let (x, by) = (edges::<i32>(40), edges::<i32>(40));
    let out = on_every_device(|device| {
        let (x, by) = (device.upload(&x, [40]).unwrap(), device.upload(&by, [40]).unwrap());
        let mut out = device.zeros::<i32, 2>([80, 40]).unwrap();
        shifted(&mut out, &x, &by).launch(device).unwrap();
        out.download().unwrap()
    });
    for (k, by) in by.iter().enumerate() {
        for (i, x) in x.iter().enumerate() {
            assert_eq!(out[80 * k + i], x.wrapping_shl(*by as u32), "{x} << {by}");
            assert_eq!(out[80 * k + 40 + i], x.wrapping_shr(*by as u32), "{x} >> {by}");
        }
    }
}

#[test]
fn quotients_by_one_divisor_are_what_each_is_by_itself_also_where_only_narrower_floats_are_made_of_them() {
    fn check<T: Element>() {
        let mut dividends = patterns::<f32>();
        dividends.truncate(dividends.len() / 8 * 8);
        // Small ones and large ones are by themselves too, as their neighbours decide how they are divided.
        dividends.sort_by(|one, other| one.abs().total_cmp(&other.abs()));
        let divisors = edges::<f32>(96);
        let extents = [divisors.len(), dividends.len()];
        on_every_device(|device| {
            let l = device.upload(&dividends, [extents[1]]).unwrap();
            let r = device.upload(&divisors, [extents[0]]).unwrap();
            let mut out = device.zeros::<T, 2>(extents).unwrap();
            quotients(&mut out, &l, &r).launch(device).unwrap();
            bits(out.download().unwrap())
        });
    }
    check::<f32>();
    check::<bf16>();
    check::<f16>();
    check::<F8E4M3>();
    check::<F8E5M2>();
}
