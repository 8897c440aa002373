//! Conversions between element types.

use super::number::{arithmetic_type, bit_type};
use super::register::{Class, Reg};
use super::value::{Held, class_of, is_packed};
use super::writer::Writer;
use crate::element::{ElementKind, ElementType};
use crate::thread::{Rounding, Type, Use};

impl Writer<'_> {
    /// `value` as the element type of `ty`.
    pub(super) fn cast(&mut self, ty: Type, value: Use, rounding: Rounding) -> Held {
        let held = self.held(value);
        let (from, to) = (held.ty.element, ty.element);
        let f8 = |element| matches!(element, ElementType::F8E4M3 | ElementType::F8E5M2);
        if from == to {
            return held;
        }
        if (f8(from) || f8(to)) && !self.target.features().f8_casts {
            self.refuse(format_args!("conversion of {from} to {to}"));
            return self.fresh_held(ty);
        }
        let is_narrow = f8(to) || matches!(to, ElementType::F16 | ElementType::BF16);
        if is_narrow && from == ElementType::F32 && is_packed(ty) && held.ty.lanes == ty.lanes {
            return self.narrowed(ty, &held.registers);
        }
        let lanes = match from {
            ElementType::BF16 => self.bf16_lanes(&held),
            ElementType::F16 => self.f16_lanes(&held),
            _ if f8(from) => self.f8_lanes(&held),
            _ => {
                let lanes = self.lanes(&held);
                lanes
                    .into_iter()
                    .map(|lane| self.cast_lane(from, to, rounding, lane))
                    .collect()
            }
        };
        self.gather(ty, lanes)
    }

    fn cast_lane(&mut self, from: ElementType, to: ElementType, rounding: Rounding, x: Reg) -> Reg {
        let (source, target) = (arithmetic_type(from), arithmetic_type(to));
        let class = class_of(to);
        let rounding = match rounding {
            Rounding::NearestEven => "rn",
            Rounding::Zero => "rz",
        };
        match (from.kind(), to.kind()) {
            (ElementKind::Bool, _) => {
                let one = match to {
                    ElementType::F32 => "0x3f800000",
                    ElementType::F64 => "0x3ff0000000000000",
                    _ => "1",
                };
                self.compute(
                    class,
                    format_args!("selp.{}", bit_type(to)),
                    format_args!("{one}, 0, {x}"),
                )
            }
            // NaN is not zero either.
            (ElementKind::Float, ElementKind::Bool) => {
                let zero = if from == ElementType::F64 {
                    "0d0000000000000000"
                } else {
                    "0f00000000"
                };
                self.compute(
                    Class::Predicate,
                    format_args!("setp.neu.{source}"),
                    format_args!("{x}, {zero}"),
                )
            }
            (_, ElementKind::Bool) => self.compute(
                Class::Predicate,
                format_args!("setp.ne.{source}"),
                format_args!("{x}, 0"),
            ),
            (ElementKind::Signed | ElementKind::Unsigned, ElementKind::Signed | ElementKind::Unsigned) => {
                let resized = match (class_of(from), class) {
                    (Class::Word, Class::Double) if from.is_signed() => self.compute(class, "cvt.s64.s32", x),
                    (Class::Word, Class::Double) => self.compute(class, "cvt.u64.u32", x),
                    (Class::Double, Class::Word) => self.compute(class, "cvt.u32.u64", x),
                    _ => x,
                };
                self.wrap(to, resized)
            }
            (ElementKind::Signed | ElementKind::Unsigned, _) => {
                self.compute(class, format_args!("cvt.{rounding}.{target}.{source}"), x)
            }
            (_, ElementKind::Signed | ElementKind::Unsigned) => self.integer_of_float(from, to, x),
            _ => self.float_of_float(from, to, rounding, x),
        }
    }

    /// A float as an integer: toward zero, no further than the type goes, and 0 of NaN.
    fn integer_of_float(&mut self, from: ElementType, to: ElementType, x: Reg) -> Reg {
        let (source, target) = (arithmetic_type(from), arithmetic_type(to));
        let class = class_of(to);
        let mut integer = self.compute(class, format_args!("cvt.rzi.{target}.{source}"), x);
        if let Some((low, high)) = to.integer_range().filter(|_| to.size() < 4) {
            integer = self.compute(class, format_args!("min.{target}"), format_args!("{integer}, {high}"));
            if low < 0 {
                integer = self.compute(class, format_args!("max.{target}"), format_args!("{integer}, {low}"));
            }
        }
        let nan = self.compute(
            Class::Predicate,
            format_args!("setp.nan.{source}"),
            format_args!("{x}, {x}"),
        );
        self.compute(
            class,
            format_args!("selp.{}", bit_type(to)),
            format_args!("0, {integer}, {nan}"),
        )
    }

    /// A float of 4 or 8 bytes as another float.
    fn float_of_float(&mut self, from: ElementType, to: ElementType, rounding: &str, x: Reg) -> Reg {
        match to {
            ElementType::F64 => self.compute(Class::Double, "cvt.f64.f32", x),
            ElementType::F32 => self.compute(
                Class::Word,
                format_args!("cvt.{rounding}.f32.{}", arithmetic_type(from)),
                x,
            ),
            _ => self.narrow_pair(to, x, None),
        }
    }

    /// One or two f32 as narrower floats, the first one in the low bits. Of every NaN instructions make the canonical one.
    fn narrow_pair(&mut self, to: ElementType, low: Reg, high: Option<Reg>) -> Reg {
        let high = high.map_or("0f00000000".to_owned(), |high| high.to_string());
        let operands = format!("{high}, {low}");
        match to {
            ElementType::F16 | ElementType::BF16 => {
                self.compute(Class::Word, format_args!("cvt.rn.{}x2.f32", to.name()), operands)
            }
            _ => {
                let name = if to == ElementType::F8E4M3 { "e4m3x2" } else { "e5m2x2" };
                let pair = self.compute(Class::Half, format_args!("cvt.rn.satfinite.{name}.f32"), operands);
                self.compute(Class::Word, "cvt.u32.u16", pair)
            }
        }
    }

    /// Lanes of f32 as narrower floats, two at once.
    fn narrowed(&mut self, ty: Type, lanes: &[Reg]) -> Held {
        let pairs: Vec<Reg> = lanes
            .chunks(2)
            .map(|pair| self.narrow_pair(ty.element, pair[0], pair.get(1).copied()))
            .collect();
        let word = |pairs: &[Reg]| match *pairs {
            [low, high] => self.compute(Class::Word, "prmt.b32", format_args!("{low}, {high}, 0x5410")),
            _ => pairs[0],
        };
        let registers = pairs.chunks(2 / ty.element.size()).map(word).collect();
        Held { ty, registers }
    }

    /// The lanes of a bf16, which is the upper half of an f32.
    fn bf16_lanes(&mut self, held: &Held) -> Vec<Reg> {
        let lanes = (0..usize::from(held.ty.lanes)).map(|lane| {
            let word = held.registers[lane / 2];
            match lane % 2 {
                0 => self.compute(Class::Word, "shl.b32", format_args!("{word}, 16")),
                _ => self.compute(Class::Word, "and.b32", format_args!("{word}, 0xffff0000")),
            }
        });
        lanes.collect()
    }

    fn f16_lanes(&mut self, held: &Held) -> Vec<Reg> {
        let halves = self.halves(held);
        let lanes = halves.into_iter().take(held.ty.lanes.into());
        lanes.map(|half| self.of_f16(half)).collect()
    }

    fn of_f16(&mut self, half: Reg) -> Reg {
        self.compute(Class::Word, "cvt.f32.f16", half)
    }

    fn f8_lanes(&mut self, held: &Held) -> Vec<Reg> {
        let name = if held.ty.element == ElementType::F8E4M3 {
            "e4m3x2"
        } else {
            "e5m2x2"
        };
        let mut lanes = Vec::new();
        for pair in self.halves(held) {
            if lanes.len() >= usize::from(held.ty.lanes) {
                break;
            }
            let word = self.compute(Class::Word, format_args!("cvt.rn.f16x2.{name}"), pair);
            for half in self.split(word) {
                lanes.push(self.of_f16(half));
            }
        }
        lanes.truncate(held.ty.lanes.into());
        lanes
    }

    /// The halves of the words of a value of 1 or 2 bytes an element.
    fn halves(&mut self, held: &Held) -> Vec<Reg> {
        if !is_packed(held.ty) {
            let words = held.registers.iter();
            return words.map(|word| self.half(*word)).collect();
        }
        let words = held.registers.iter();
        words.flat_map(|word| self.split(*word)).collect()
    }

    fn split(&mut self, word: Reg) -> [Reg; 2] {
        let halves = [self.fresh(Class::Half), self.fresh(Class::Half)];
        self.line(format!("mov.b32\t{{{}, {}}}, {word};", halves[0], halves[1]));
        halves
    }

    /// The low half of a word, for an instruction that wants 16 bits.
    pub(super) fn half(&mut self, word: Reg) -> Reg {
        self.compute(Class::Half, "cvt.u16.u32", word)
    }

    /// 16 bits that an instruction gave, as an element.
    pub(super) fn of_half(&mut self, element: ElementType, half: Reg) -> Reg {
        match element.is_signed() {
            true => self.compute(Class::Word, "cvt.s32.s16", half),
            false => self.compute(Class::Word, "cvt.u32.u16", half),
        }
    }
}
