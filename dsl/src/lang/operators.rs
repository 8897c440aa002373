//! Rust's arithmetic and bitwise operators on tiles, scalars and plain numbers.

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Rem, Shl, Shr, Sub};

use super::broadcast::for_each_rank_pair;
use super::tile::{IntoValue, Scalar, Tile};
use crate::element::{Bits, Element, Integer, Number, Signed};
use crate::ir::{BinaryOp, Expression, Handle, UnaryOp};

/// `+ - * /`.
pub struct Arithmetic(());
/// `% << >>` and [`cdiv`](super::cdiv).
pub struct Integral(());
/// `& | ^`.
pub struct Bitwise(());

/// What can stand on the right of an operator whose left side is a tile of `T` of rank `A`: a tile or scalar of `T`, a
/// plain `T`, or, beside an index, a compile-time integer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand beside a tile of `{T}`",
    label = "the sides of this have different types",
    note = "both need one element type; cast one of them: `.cast::<{T}>()`",
    note = "a variable that begins with a literal can be declared with its type: `let mut sum: bf16 = 0.0`"
)]
pub trait RightOperand<T: Element, const A: usize> {
    /// The tile of both shapes broadcast.
    type Output;
    #[doc(hidden)]
    fn handle(self) -> Handle<Expression>;
    #[doc(hidden)]
    fn output(handle: Handle<Expression>) -> Self::Output;
}

/// That `T` has an operator. `Self` is the right side, whatever it is: rustc decides a bound on that only after it has
/// accepted the operator, and then says what is missing of `T` instead of proposing to implement the operator.
pub trait Permits<T, Operator> {}

impl<T: Number, Right> Permits<T, Arithmetic> for Right {}
impl<T: Integer, Right> Permits<T, Integral> for Right {}
impl<T: Bits, Right> Permits<T, Bitwise> for Right {}

fn number<T: Element>(value: T) -> Handle<Expression> {
    let value: Scalar<T> = value.into_value();
    value.handle
}

#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> RightOperand<T, R> for T {
    type Output = Tile<T, R>;
    fn handle(self) -> Handle<Expression> {
        number(self)
    }
    fn output(handle: Handle<Expression>) -> Tile<T, R> {
        Tile::from_handle(handle)
    }
}

#[diagnostic::do_not_recommend]
impl<const R: usize> RightOperand<i64, R> for usize {
    type Output = Tile<i64, R>;
    fn handle(self) -> Handle<Expression> {
        number(self as i64)
    }
    fn output(handle: Handle<Expression>) -> Tile<i64, R> {
        Tile::from_handle(handle)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> RightOperand<T, R> for Scalar<T> {
    type Output = Tile<T, R>;
    fn handle(self) -> Handle<Expression> {
        self.handle
    }
    fn output(handle: Handle<Expression>) -> Tile<T, R> {
        Tile::from_handle(handle)
    }
}

macro_rules! right_tiles {
    ($($a:literal, $b:literal => $out:literal;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: Element> RightOperand<T, $a> for Tile<T, $b> {
            type Output = Tile<T, $out>;
            fn handle(self) -> Handle<Expression> {
                self.handle
            }
            fn output(handle: Handle<Expression>) -> Tile<T, $out> {
                Tile::from_handle(handle)
            }
        }
    )*};
}
for_each_rank_pair!(right_tiles);

macro_rules! operators {
    ($($trait:ident, $method:ident, $operator:ident, $op:ident;)*) => {$(
        impl<T: Element, const A: usize, Right> $trait<Right> for Tile<T, A>
        where
            Right: RightOperand<T, A> + Permits<T, $operator>,
        {
            type Output = Right::Output;
            #[track_caller]
            fn $method(self, other: Right) -> Right::Output {
                let result: Self = self.combine(BinaryOp::$op, other.handle());
                Right::output(result.handle)
            }
        }
    )*};
}
operators! {
    Add, add, Arithmetic, Add; Sub, sub, Arithmetic, Subtract; Mul, mul, Arithmetic, Multiply;
    Div, div, Arithmetic, Divide; Rem, rem, Integral, Remainder;
    BitAnd, bitand, Bitwise, And; BitOr, bitor, Bitwise, Or; BitXor, bitxor, Bitwise, Xor;
    Shl, shl, Integral, ShiftLeft; Shr, shr, Integral, ShiftRight;
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

/// A compile-time integer on the left of an index: `N * row`.
macro_rules! usize_left {
    ($($trait:ident, $method:ident, $op:ident;)*) => {$(
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
usize_left! {
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
