//! Casts against the nearest value that the target has, found by search; bitcasts.

use std::cmp::Ordering;

use super::{Exact, values};
use crate::arithmetic::{bitcast, cast};
use crate::element::{ElementKind, ElementType};
use crate::ir::Literal;

/// The magnitudes of a float type of at most 16 bits up to its largest finite one, by their bits.
fn magnitudes(element: ElementType) -> Vec<f64> {
    (0..1u64 << (element.bits() - 1))
        .map(|bits| match Exact::of(Literal { element, bits }) {
            Exact::Float(value) => value,
            Exact::Integer(value) => value as f64,
        })
        .take_while(|value| value.is_finite())
        .collect()
}

/// How a magnitude compares with a float that is half way between two of at most 16 bits.
fn compare(magnitude: Exact, middle: f64) -> Ordering {
    match magnitude {
        Exact::Float(value) => value.partial_cmp(&middle).unwrap(),
        // Below 2^53 an f64 holds the integer, and from there on the middle is an integer.
        Exact::Integer(value) if value < 1 << 53 => (value as f64).partial_cmp(&middle).unwrap(),
        Exact::Integer(value) => value.cmp(&(middle as i128)),
    }
}

/// The bits of the nearest float of a type of at most 16 bits, whose magnitudes are given.
fn nearest(value: Exact, element: ElementType, magnitudes: &[f64]) -> u64 {
    let sign = 1u64 << (element.bits() - 1);
    let (magnitude, negative) = match value {
        Exact::Float(value) if value.is_nan() => return sign - 1,
        Exact::Float(value) => (Exact::Float(value.abs()), value.is_sign_negative()),
        Exact::Integer(value) => (Exact::Integer(value.abs()), value < 0),
    };
    let largest = magnitudes.len() - 1;
    // Beyond the largest comes what would be next: an infinity, if there are any.
    let last = magnitudes[largest] + (magnitudes[largest] - magnitudes[largest - 1]);
    let middle = |k: usize| (magnitudes[k] + magnitudes.get(k + 1).unwrap_or(&last)) / 2.0;
    // How many middles are below the magnitude.
    let (mut low, mut high) = (0, magnitudes.len());
    while low < high {
        let k = (low + high) / 2;
        match compare(magnitude, middle(k)) {
            Ordering::Less => high = k,
            Ordering::Greater => low = k + 1,
            Ordering::Equal => {
                low = k + k % 2;
                break;
            }
        }
    }
    let saturates = element.kind() == ElementKind::Storage;
    let bits = if saturates { low.min(largest) } else { low };
    bits as u64 | if negative { sign } else { 0 }
}

/// The bits of a cast to an integer, f32, f64 or bool as Rust has it.
fn as_rust(value: Exact, to: ElementType) -> u64 {
    macro_rules! cast_as {
        ($value:expr) => {
            match to {
                ElementType::Bool => ($value as f64 != 0.0) as u64,
                ElementType::I8 => $value as i8 as u8 as u64,
                ElementType::I16 => $value as i16 as u16 as u64,
                ElementType::I32 => $value as i32 as u32 as u64,
                ElementType::I64 => $value as i64 as u64,
                ElementType::U8 => $value as u8 as u64,
                ElementType::U16 => $value as u16 as u64,
                ElementType::U32 => $value as u32 as u64,
                ElementType::U64 => $value as u64,
                ElementType::F32 if ($value as f32).is_nan() => 0x7fff_ffff,
                ElementType::F32 => ($value as f32).to_bits() as u64,
                _ if ($value as f64).is_nan() => 0x7fff_ffff_ffff_ffff,
                _ => ($value as f64).to_bits(),
            }
        };
    }
    match value {
        Exact::Integer(value) => cast_as!(value),
        Exact::Float(value) => cast_as!(value),
    }
}

#[test]
fn every_cast_gives_the_nearest_value_there_is() {
    for to in ElementType::ALL {
        let is_narrow = matches!(to.kind(), ElementKind::Float | ElementKind::Storage) && to.bits() <= 16;
        let magnitudes = if is_narrow { magnitudes(to) } else { Vec::new() };
        for from in ElementType::ALL.into_iter().filter(|&from| from != to) {
            for value in values(from) {
                let exact = Exact::of(value);
                let expected = if is_narrow {
                    nearest(exact, to, &magnitudes)
                } else {
                    as_rust(exact, to)
                };
                let found = cast(value, to).unwrap();
                assert_eq!(
                    found,
                    Literal {
                        element: to,
                        bits: expected
                    },
                    "{value} = {exact:?}"
                );
            }
        }
    }
}

#[test]
fn a_cast_rounds_once_where_two_roundings_would_meet_a_tie() {
    // Just above the middle of two neighbours, by less than an f32 can tell.
    let above = |middle: f64| Literal::new(middle * (1.0 + f64::EPSILON));
    for (to, middle, bits) in [
        (ElementType::F16, 1.0 + 2f64.powi(-11), 0x3c01),
        (ElementType::BF16, 1.0 + 2f64.powi(-8), 0x3f81),
        (ElementType::F8E4M3, 1.0 + 2f64.powi(-4), 0x39),
        (ElementType::F8E5M2, 1.0 + 2f64.powi(-3), 0x3d),
    ] {
        assert_eq!(cast(above(middle), to), Some(Literal { element: to, bits }), "{to}");
        let tie = Literal::new(middle);
        assert_eq!(
            cast(tie, to),
            Some(Literal {
                element: to,
                bits: bits - 1
            }),
            "{to}"
        );
    }
    let integer = (1i64 << 62) + (1 << 54) + 1;
    assert_eq!(cast(Literal::new(integer), ElementType::BF16).unwrap().bits, 0x5e81);
    assert_eq!(cast(Literal::new(integer - 1), ElementType::BF16).unwrap().bits, 0x5e80);
}

#[test]
fn eight_bit_floats_agree_with_the_crate_that_holds_them() {
    for bits in 0..=255u8 {
        let (e4m3, e5m2) = (float8::F8E4M3::from_bits(bits), float8::F8E5M2::from_bits(bits));
        for (value, reference) in [(Literal::new(e4m3), e4m3.to_f32()), (Literal::new(e5m2), e5m2.to_f32())] {
            let wide = cast(value, ElementType::F32).unwrap();
            let float = f32::from_bits(wide.bits as u32);
            assert!(
                float == reference || float.is_nan() && reference.is_nan(),
                "{value}: {float}"
            );
            // Back: NaN becomes the canonical one, and infinities the largest finite number.
            let canonical = if float.is_nan() {
                0x7f
            } else if float.is_infinite() {
                value.bits - 1
            } else {
                value.bits
            };
            assert_eq!(cast(wide, value.element).unwrap().bits, canonical, "{value}");
        }
    }
}

#[test]
fn eight_bit_floats_saturate_and_keep_nan() {
    let to_f8 = |value: f32, to| cast(Literal::new(value), to).unwrap().bits;
    for (value, e4m3, e5m2) in [
        (448.0, 0x7e, 0x5f),
        (465.0, 0x7e, 0x5f),
        (-1e30, 0xfe, 0xfb),
        (f32::INFINITY, 0x7e, 0x7b),
        (f32::NEG_INFINITY, 0xfe, 0xfb),
        (f32::NAN, 0x7f, 0x7f),
        (-f32::NAN, 0x7f, 0x7f),
        (-0.0, 0x80, 0x80),
        (2f32.powi(-9), 0x01, 0x18),
        (2f32.powi(-10), 0x00, 0x14),
        (f32::MIN_POSITIVE, 0x00, 0x00),
    ] {
        assert_eq!(to_f8(value, ElementType::F8E4M3), e4m3, "{value}");
        assert_eq!(to_f8(value, ElementType::F8E5M2), e5m2, "{value}");
    }
    let infinity = Literal {
        element: ElementType::F8E5M2,
        bits: 0x7c,
    };
    assert_eq!(cast(infinity, ElementType::F8E4M3).unwrap().bits, 0x7e);
}

#[test]
fn a_cast_to_its_own_type_keeps_every_bit() {
    for element in ElementType::ALL {
        assert!(values(element).iter().all(|&value| cast(value, element) == Some(value)));
    }
}

#[test]
fn a_bitcast_keeps_every_bit_between_types_of_one_size() {
    for from in ElementType::ALL {
        for to in ElementType::ALL {
            let allowed = from.size() == to.size() && from != ElementType::Bool && to != ElementType::Bool;
            for value in values(from) {
                let expected = allowed.then_some(Literal {
                    element: to,
                    bits: value.bits,
                });
                assert_eq!(bitcast(value, to), expected);
            }
        }
    }
}
