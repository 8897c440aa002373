//! The bits that kernels of this suite compute with: values where devices are most likely to differ.

use tilewright::prelude::*;

use crate::devices::on_every_device;

/// Values of an element type: all of them if it has at most 16 bits; or else zeros, ones, extremes, infinities, NaNs with
/// payloads, subnormals, every power of two and its neighbours, and a spread of others.
pub fn patterns<T: Element>() -> Vec<T> {
    let width = T::TYPE.bits();
    if T::TYPE == ElementType::Bool {
        return vec![T::from_bits64(0), T::from_bits64(1)];
    }
    if width <= 16 {
        return (0..1 << width).map(T::from_bits64).collect();
    }
    let mask = u64::MAX >> (64 - width);
    let powers = (0..width).flat_map(|k| [(1u64 << k) - 1, 1 << k, (1 << k) + 1]);
    let floats: Vec<u64> = match T::TYPE {
        ElementType::F32 => (0..256)
            .flat_map(|e| [e << 23, e << 23 | 1 << 22, e << 23 | 0x1fff])
            .collect(),
        ElementType::F64 => (0..2048)
            .step_by(5)
            .chain(860..1180)
            .flat_map(|e| [e << 52, e << 52 | 1 << 51, e << 52 | 0x8_0000_0001])
            .collect(),
        _ => Vec::new(),
    };
    let spread = (0..1000u64).map(|i| {
        let mixed = (i + 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    });
    powers
        .chain(floats)
        .flat_map(|bits| [bits, !bits, bits ^ (1 << (width - 1))])
        .chain(spread)
        .map(|bits| T::from_bits64(bits & mask))
        .collect()
}

/// Some `side` of them: the edges of the type, and what evenly spread others there is room for.
pub fn edges<T: Element>(side: usize) -> Vec<T> {
    let width = T::TYPE.bits();
    let (mask, top) = (u64::MAX >> (64 - width), 1u64 << (width - 1));
    let specials: &[u64] = match T::TYPE {
        // One, infinity, a quiet and a signalling NaN with payloads, the largest subnormal.
        ElementType::F16 => &[0x3c00, 0x7c00, 0x7e12, 0x7d34, 0x03ff],
        ElementType::BF16 => &[0x3f80, 0x7f80, 0x7fd2, 0x7f94, 0x007f],
        ElementType::F32 => &[0x3f80_0000, 0x7f80_0000, 0x7fc0_1234, 0x7f80_4321, 0x007f_ffff],
        ElementType::F64 => &[
            0x3ff0_0000_0000_0000,
            0x7ff0_0000_0000_0000,
            0x7ff8_0000_dead_beef,
            0x7ff0_0000_0000_beef,
            0x000f_ffff_ffff_ffff,
        ],
        // Shifts by the width and around it.
        _ => &[7, 8, 15, 16, 31, 32, 33, 63, 64, 65],
    };
    let all = patterns::<T>();
    let step = (all.len() / side).max(1);
    [0, 1, 2, mask, top, top - 1, top + 1]
        .into_iter()
        .chain(specials.iter().copied())
        .chain(specials.iter().map(|bits| bits ^ top))
        .map(|bits| T::from_bits64(bits & mask))
        .chain(all.iter().copied().step_by(step))
        .take(side)
        .collect()
}

/// Every pair of some values, so that each operator sees each edge on both sides.
pub fn pairs<T: Element>(side: usize) -> (Vec<T>, Vec<T>) {
    let values = edges::<T>(side);
    let left = values.iter().flat_map(|&l| std::iter::repeat_n(l, side)).collect();
    let right = (0..side).flat_map(|_| values.iter().copied()).collect();
    (left, right)
}

pub fn bits<T: Element>(values: Vec<T>) -> Vec<u64> {
    values.into_iter().map(T::to_bits64).collect()
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
        (1 << 31, (1 << 63) - 1, 1, false, f32::NAN, (1 << 31) - 1),
        (-(1 << 31), 1 << 31, 0, true, 1.5, 1 << 31),
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
