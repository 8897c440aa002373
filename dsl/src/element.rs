//! Element types: what a tensor holds and what a tile computes with.

use std::fmt;

/// The type of one element of a tensor, tile or scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementType {
    /// One byte, 0 or 1. Loading any other byte counts as `true`.
    Bool,
    /// 8-bit signed integer.
    I8,
    /// 16-bit signed integer.
    I16,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer: the type of indices, extents and counts.
    I64,
    /// 8-bit unsigned integer.
    U8,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
    /// IEEE half precision.
    F16,
    /// bfloat16: the upper half of an `f32`.
    BF16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// 8-bit float with 4 exponent bits, no infinities (OCP e4m3fn).
    F8E4M3,
    /// 8-bit float with 5 exponent bits (OCP e5m2).
    F8E5M2,
}

/// What kind of arithmetic an element type has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementKind {
    /// `bool`.
    Bool,
    /// Two's complement integers.
    Signed,
    /// Unsigned integers.
    Unsigned,
    /// Floats that can be computed with.
    Float,
    /// Floats that are only moved and converted.
    Storage,
}

impl ElementType {
    /// Every element type, in declaration order.
    pub const ALL: [ElementType; 15] = [
        ElementType::Bool,
        ElementType::I8,
        ElementType::I16,
        ElementType::I32,
        ElementType::I64,
        ElementType::U8,
        ElementType::U16,
        ElementType::U32,
        ElementType::U64,
        ElementType::F16,
        ElementType::BF16,
        ElementType::F32,
        ElementType::F64,
        ElementType::F8E4M3,
        ElementType::F8E5M2,
    ];

    /// Bytes of one element: 1, 2, 4 or 8.
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 | Self::F8E4M3 | Self::F8E5M2 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Bits of one element.
    pub const fn bits(self) -> u32 {
        self.size() as u32 * 8
    }

    /// The kind of arithmetic this type has.
    pub const fn kind(self) -> ElementKind {
        match self {
            Self::Bool => ElementKind::Bool,
            Self::I8 | Self::I16 | Self::I32 | Self::I64 => ElementKind::Signed,
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => ElementKind::Unsigned,
            Self::F16 | Self::BF16 | Self::F32 | Self::F64 => ElementKind::Float,
            Self::F8E4M3 | Self::F8E5M2 => ElementKind::Storage,
        }
    }

    /// Whether this is an integer type (`bool` is not).
    pub const fn is_integer(self) -> bool {
        matches!(self.kind(), ElementKind::Signed | ElementKind::Unsigned)
    }

    /// Whether arithmetic on this type is floating-point arithmetic.
    pub const fn is_float(self) -> bool {
        matches!(self.kind(), ElementKind::Float)
    }

    /// Whether values of this type can be negative integers.
    pub const fn is_signed(self) -> bool {
        matches!(self.kind(), ElementKind::Signed)
    }

    /// The smallest and largest value of an integer type; `None` for every other type.
    pub const fn integer_range(self) -> Option<(i128, i128)> {
        match self.kind() {
            ElementKind::Signed => Some((-(1i128 << (self.bits() - 1)), (1i128 << (self.bits() - 1)) - 1)),
            ElementKind::Unsigned => Some((0, (1i128 << self.bits()) - 1)),
            ElementKind::Bool | ElementKind::Float | ElementKind::Storage => None,
        }
    }

    /// The name as Rust and the IR write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F8E4M3 => "f8e4m3",
            Self::F8E5M2 => "f8e5m2",
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A type that tensors can hold: 1, 2, 4 or 8 bytes, moved as raw bits.
///
/// The trait is sealed; its members are the types of [`ElementType`]. `bool` is an element with the bytes 0 and 1.
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {
    /// The element type this Rust type stands for.
    const TYPE: ElementType;

    /// The bits of `self`, zero-extended.
    fn to_bits64(self) -> u64;

    /// The value whose bits are the low bits of `bits`.
    fn from_bits64(bits: u64) -> Self;
}

/// An element type with arithmetic: every integer and every float but the 8-bit ones.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no arithmetic",
    note = "arithmetic is defined on i8 to i64, u8 to u64, f16, bf16, f32 and f64; cast first: `.cast::<f32>()`"
)]
pub trait Number: Element {}

/// An integer element type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an integer type",
    note = "i8 to i64 and u8 to u64 are; `.cast` converts a value, `.bitcast` reads its bits"
)]
pub trait Integer: Number {}

/// A floating-point element type with arithmetic; all of them are signed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a floating-point type with arithmetic",
    note = "f16, bf16, f32 and f64 are; cast first: `.cast::<f32>()`"
)]
pub trait Float: Signed {}

/// An element type whose values can be negated: signed integers and floats.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be negated", note = "it is not a signed number")]
pub trait Signed: Number {}

/// An element type with bitwise operators: integers and `bool`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no bitwise operators",
    note = "they are defined on integers and bool"
)]
pub trait Bits: Element {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($rust:ty => $kind:ident, $to:expr, $from:expr;)*) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$kind;
            fn to_bits64(self) -> u64 {
                let to: fn($rust) -> u64 = $to;
                to(self)
            }
            fn from_bits64(bits: u64) -> Self {
                let from: fn(u64) -> $rust = $from;
                from(bits)
            }
        }
    )*};
}

elements! {
    bool => Bool, |v| v as u64, |b| b & 0xff != 0;
    i8 => I8, |v| v as u8 as u64, |b| b as i8;
    i16 => I16, |v| v as u16 as u64, |b| b as i16;
    i32 => I32, |v| v as u32 as u64, |b| b as i32;
    i64 => I64, |v| v as u64, |b| b as i64;
    u8 => U8, |v| v as u64, |b| b as u8;
    u16 => U16, |v| v as u64, |b| b as u16;
    u32 => U32, |v| v as u64, |b| b as u32;
    u64 => U64, |v| v, |b| b;
    half::f16 => F16, |v| v.to_bits() as u64, |b| half::f16::from_bits(b as u16);
    half::bf16 => BF16, |v| v.to_bits() as u64, |b| half::bf16::from_bits(b as u16);
    f32 => F32, |v| v.to_bits() as u64, |b| f32::from_bits(b as u32);
    f64 => F64, |v| v.to_bits(), |b| f64::from_bits(b);
    float8::F8E4M3 => F8E4M3, |v| v.to_bits() as u64, |b| float8::F8E4M3::from_bits(b as u8);
    float8::F8E5M2 => F8E5M2, |v| v.to_bits() as u64, |b| float8::F8E5M2::from_bits(b as u8);
}

macro_rules! marker {
    ($trait:ident: $($rust:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl $trait for $rust {}
    )*};
}

marker!(Number: i8, i16, i32, i64, u8, u16, u32, u64, half::f16, half::bf16, f32, f64);
marker!(Integer: i8, i16, i32, i64, u8, u16, u32, u64);
marker!(Float: half::f16, half::bf16, f32, f64);
marker!(Signed: i8, i16, i32, i64, half::f16, half::bf16, f32, f64);
marker!(Bits: bool, i8, i16, i32, i64, u8, u16, u32, u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_keeps_its_bits() {
        fn check<T: Element>() {
            for bits in [0u64, 1, 0x7f, 0x80, 0x7fff_ffff_ffff_ffff, u64::MAX] {
                let mask = if T::TYPE.bits() == 64 {
                    u64::MAX
                } else {
                    (1 << T::TYPE.bits()) - 1
                };
                assert_eq!(T::from_bits64(bits & mask).to_bits64(), bits & mask, "{}", T::TYPE);
            }
        }
        check::<i8>();
        check::<i32>();
        check::<u64>();
        check::<half::bf16>();
        check::<half::f16>();
        check::<f32>();
        check::<f64>();
        check::<float8::F8E4M3>();
        check::<float8::F8E5M2>();
    }

    #[test]
    fn integer_ranges_are_exact() {
        assert_eq!(
            ElementType::I32.integer_range(),
            Some((i32::MIN as i128, i32::MAX as i128))
        );
        assert_eq!(ElementType::U64.integer_range(), Some((0, u64::MAX as i128)));
        assert_eq!(ElementType::F32.integer_range(), None);
    }
}
