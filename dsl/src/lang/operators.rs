//! Rust's arithmetic and bitwise operators on tiles, scalars and plain numbers.

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Rem, Shl, Shr, Sub};

use super::broadcast::for_each_rank_pair;
use super::tile::{IntoValue, Tile};
use crate::element::{Bits, Integer, Number, Signed};
use crate::ir::{BinaryOp, UnaryOp};

macro_rules! operators_of_pair {
    ($a:literal, $b:literal, $out:literal; $($trait:ident, $method:ident, $bound:ident, $op:ident);*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: $bound> $trait<Tile<T, $b>> for Tile<T, $a> {
            type Output = Tile<T, $out>;
            #[track_caller]
            fn $method(self, other: Tile<T, $b>) -> Tile<T, $out> {
                self.binary(BinaryOp::$op, other)
            }
        }
    )*};
}

macro_rules! rank_pair_operators {
    ($($a:literal, $b:literal => $out:literal;)*) => {$(
        operators_of_pair!($a, $b, $out;
            Add, add, Number, Add; Sub, sub, Number, Subtract; Mul, mul, Number, Multiply; Div, div, Number, Divide;
            Rem, rem, Integer, Remainder; BitAnd, bitand, Bits, And; BitOr, bitor, Bits, Or; BitXor, bitxor, Bits, Xor;
            Shl, shl, Integer, ShiftLeft; Shr, shr, Integer, ShiftRight);
    )*};
}
for_each_rank_pair!(rank_pair_operators);

/// A plain number on the right: `tile + 1`.
macro_rules! number_right {
    ($($trait:ident, $method:ident, $bound:ident, $op:ident;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: $bound, const R: usize> $trait<T> for Tile<T, R> {
            type Output = Tile<T, R>;
            #[track_caller]
            fn $method(self, other: T) -> Tile<T, R> {
                let other: Tile<T, R> = other.into_value();
                self.binary(BinaryOp::$op, other)
            }
        }
    )*};
}
number_right! {
    Add, add, Number, Add; Sub, sub, Number, Subtract; Mul, mul, Number, Multiply; Div, div, Number, Divide;
    Rem, rem, Integer, Remainder; BitAnd, bitand, Bits, And; BitOr, bitor, Bits, Or; BitXor, bitxor, Bits, Xor;
    Shl, shl, Integer, ShiftLeft; Shr, shr, Integer, ShiftRight;
}

/// A plain number on the left: `1 + tile`.
macro_rules! number_left {
    ($number:ty: $($trait:ident, $method:ident, $op:ident;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<const R: usize> $trait<Tile<$number, R>> for $number {
            type Output = Tile<$number, R>;
            #[track_caller]
            fn $method(self, other: Tile<$number, R>) -> Tile<$number, R> {
                let number: Tile<$number, R> = self.into_value();
                number.binary(BinaryOp::$op, other)
            }
        }
    )*};
}

macro_rules! integers_left {
    ($($number:ty),*) => {$(
        number_left!($number: Add, add, Add; Sub, sub, Subtract; Mul, mul, Multiply; Div, div, Divide;
            Rem, rem, Remainder; BitAnd, bitand, And; BitOr, bitor, Or; BitXor, bitxor, Xor;
            Shl, shl, ShiftLeft; Shr, shr, ShiftRight;);
    )*};
}
integers_left!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! floats_left {
    ($($number:ty),*) => {$(
        number_left!($number: Add, add, Add; Sub, sub, Subtract; Mul, mul, Multiply; Div, div, Divide;);
    )*};
}
floats_left!(half::f16, half::bf16, f32, f64);
number_left!(bool: BitAnd, bitand, And; BitOr, bitor, Or; BitXor, bitxor, Xor;);

/// A compile-time integer beside an index: `row + N`, `N * row`.
macro_rules! usize_operands {
    ($($trait:ident, $method:ident, $op:ident;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<const R: usize> $trait<usize> for Tile<i64, R> {
            type Output = Tile<i64, R>;
            #[track_caller]
            fn $method(self, other: usize) -> Tile<i64, R> {
                let other: Tile<i64, R> = (other as i64).into_value();
                self.binary(BinaryOp::$op, other)
            }
        }
        #[diagnostic::do_not_recommend]
        impl<const R: usize> $trait<Tile<i64, R>> for usize {
            type Output = Tile<i64, R>;
            #[track_caller]
            fn $method(self, other: Tile<i64, R>) -> Tile<i64, R> {
                let number: Tile<i64, R> = (self as i64).into_value();
                number.binary(BinaryOp::$op, other)
            }
        }
    )*};
}
usize_operands! {
    Add, add, Add; Sub, sub, Subtract; Mul, mul, Multiply; Div, div, Divide; Rem, rem, Remainder;
}

impl<T: Signed, const R: usize> Neg for Tile<T, R> {
    type Output = Self;
    #[track_caller]
    fn neg(self) -> Self {
        self.unary(UnaryOp::Negate)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Bits, const R: usize> Not for Tile<T, R> {
    type Output = Self;
    #[track_caller]
    fn not(self) -> Self {
        self.unary(UnaryOp::Not)
    }
}
