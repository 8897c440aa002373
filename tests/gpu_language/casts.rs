//! Casts between all pairs of element types, and bitcasts: on every value of types of at most 16 bits.

use float8::{F8E4M3, F8E5M2};
use half::{bf16, f16};
use tilewright::prelude::*;

use crate::devices::{on_every_device, ptx};
use crate::values::{bits, patterns};

macro_rules! casts {
    ($($parameter:ident: $to:ty),*) => {
        #[kernel(grid = [1])]
        #[allow(clippy::too_many_arguments)]
        fn convert<T: Element>(src: &Tensor<T, 1>, $($parameter: &mut Tensor<$to, 1>),*) {
            let i = arange(src.extent(0));
            let value = src.load([i]);
            $($parameter.store([i], value.cast::<$to>());)*
        }

        /// The bits of some values of `T` converted to each element type.
        fn check<T: Element>() -> Vec<Vec<u64>> {
            let values = patterns::<T>();
            let n = values.len();
            on_every_device(|device| {
                let src = device.upload(&values, [n]).unwrap();
                $(let mut $parameter = device.zeros::<$to, 1>([n]).unwrap();)*
                convert(&src, $(&mut $parameter),*).launch(device).unwrap();
                vec![$(bits($parameter.download().unwrap())),*]
            })
        }
    };
}
casts!(
    to_bool: bool, to_i8: i8, to_i16: i16, to_i32: i32, to_i64: i64, to_u8: u8, to_u16: u16, to_u32: u32, to_u64: u64,
    to_f16: f16, to_bf16: bf16, to_f32: f32, to_f64: f64, to_e4m3: F8E4M3, to_e5m2: F8E5M2
);

macro_rules! sources {
    ($($name:ident: $from:ty;)*) => {$(
        #[test]
        fn $name() {
            let all = check::<$from>();
            let own = &all[<$from>::TYPE as usize];
            assert_eq!(*own, bits(patterns::<$from>()), "a cast to its own type keeps every bit");
        }
    )*};
}
sources! {
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
    e4m3_casts_to_every_type: F8E4M3;
    e5m2_casts_to_every_type: F8E5M2;
}

/// Each element as the types `A` and `B`, and through `A` and `B` as itself again.
#[kernel(grid = [1])]
fn reread<T, A, B>(as_a: &mut Tensor<A, 1>, as_b: &mut Tensor<B, 1>, again: &mut Tensor<T, 1>, src: &Tensor<T, 1>)
where
    T: Element + BitcastTo<A> + BitcastTo<B>,
    A: Element + BitcastTo<B>,
    B: Element + BitcastTo<T>,
{
    let i = arange(src.extent(0));
    let value = src.load([i]);
    as_a.store([i], value.bitcast::<A>());
    as_b.store([i], value.bitcast::<B>());
    again.store([i], value.bitcast::<A>().bitcast::<B>().bitcast::<T>());
}

fn check_reread<T, A, B>()
where
    T: Element + BitcastTo<A> + BitcastTo<B>,
    A: Element + BitcastTo<B>,
    B: Element + BitcastTo<T>,
{
    let values = patterns::<T>();
    let n = values.len();
    let found = on_every_device(|device| {
        let src = device.upload(&values, [n]).unwrap();
        let mut as_a = device.zeros::<A, 1>([n]).unwrap();
        let mut as_b = device.zeros::<B, 1>([n]).unwrap();
        let mut again = device.zeros::<T, 1>([n]).unwrap();
        reread(&mut as_a, &mut as_b, &mut again, &src).launch(device).unwrap();
        [
            bits(as_a.download().unwrap()),
            bits(as_b.download().unwrap()),
            bits(again.download().unwrap()),
        ]
    });
    let expected = bits(values);
    assert_eq!(found, [expected.clone(), expected.clone(), expected]);
}

#[test]
fn a_bitcast_keeps_every_bit_those_of_nan_included() {
    check_reread::<u8, F8E4M3, i8>();
    check_reread::<F8E5M2, u8, F8E4M3>();
    check_reread::<f16, u16, i16>();
    check_reread::<bf16, i16, f16>();
    check_reread::<f32, u32, i32>();
    check_reread::<u32, f32, i32>();
    check_reread::<f64, i64, u64>();
    check_reread::<u64, f64, i64>();
}

#[kernel(grid = [1])]
fn there_and_back<T: Element>(wide: &mut Tensor<f32, 1>, back: &mut Tensor<T, 1>, src: &Tensor<T, 1>) {
    let i = arange(src.extent(0));
    let value = src.load([i]).cast::<f32>();
    wide.store([i], value);
    // Through memory, so that nothing is folded into one cast.
    back.store([i], wide.load([i]).cast::<T>());
}

/// Every encoding as an f32, and the encoding that the f32 becomes.
fn round_trip<T: Element>() -> Vec<(u64, f32, u64)> {
    let encodings = patterns::<T>();
    assert_eq!(encodings.len(), 256);
    let (wide, back) = on_every_device(|device| {
        let src = device.upload(&encodings, [256]).unwrap();
        let mut wide = device.zeros::<f32, 1>([256]).unwrap();
        let mut back = device.zeros::<T, 1>([256]).unwrap();
        there_and_back(&mut wide, &mut back, &src).launch(device).unwrap();
        (bits(wide.download().unwrap()), bits(back.download().unwrap()))
    });
    let wide = wide.into_iter().map(|bits| f32::from_bits(bits as u32));
    let all = bits(encodings).into_iter().zip(wide).zip(back);
    all.map(|((from, wide), back)| (from, wide, back)).collect()
}

#[test]
fn every_8_bit_float_comes_back_from_f32_as_it_was() {
    let mut special = [0; 2];
    for (from, wide, back) in round_trip::<F8E4M3>() {
        special[0] += usize::from(wide.is_nan());
        assert_eq!(back & 0x7f == 0x7f, wide.is_nan(), "{from:#x}");
        assert!(
            wide.is_nan() || back == from,
            "{from:#x} is {wide} and becomes {back:#x}"
        );
    }
    for (from, wide, back) in round_trip::<F8E5M2>() {
        special[1] += usize::from(!wide.is_finite());
        match wide {
            _ if wide.is_nan() => assert!(back & 0x7f > 0x7c, "{from:#x}"),
            // Casts saturate.
            _ if wide.is_infinite() => assert_eq!(back, from - 1, "{from:#x}"),
            _ => assert_eq!(back, from, "{from:#x} is {wide}"),
        }
    }
    // Two NaNs, and two infinities beside six NaNs.
    assert_eq!(special, [2, 8]);
}

#[kernel(grid = [1])]
fn quantise(e4m3: &mut Tensor<F8E4M3, 1>, e5m2: &mut Tensor<F8E5M2, 1>, src: &Tensor<f32, 1>) {
    let i = arange(src.extent(0));
    e4m3.store([i], src.load([i]).cast::<F8E4M3>());
    e5m2.store([i], src.load([i]).cast::<F8E5M2>());
}

#[test]
fn a_cast_to_8_bit_floats_is_the_instruction_where_there_is_one() {
    let cpu = Device::cpu();
    let src = cpu.zeros::<f32, 1>([64]).unwrap();
    let mut e4m3 = cpu.zeros::<F8E4M3, 1>([64]).unwrap();
    let mut e5m2 = cpu.zeros::<F8E5M2, 1>([64]).unwrap();
    quantise(&mut e4m3, &mut e5m2, &src).launch(&cpu).unwrap();
    let variant = &cpu.variants()[0];
    for instruction in ["cvt.rn.satfinite.e4m3x2.f32", "cvt.rn.satfinite.e5m2x2.f32"] {
        for (architecture, has_it) in [("sm_80", false), ("sm_86", false), ("sm_89", true), ("sm_90", true)] {
            for text in ptx(variant, architecture) {
                assert_eq!(text.contains(instruction), has_it, "{architecture}: {instruction}");
            }
        }
    }
}
