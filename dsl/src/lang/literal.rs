//! Literals: numbers without a type of their own. What they stand beside decides it.
//!
//! The macro makes an [`IntegerLiteral`] of `1` and a [`FloatLiteral`] of `0.5`. Beside a tile of `T` they become a `T`:
//! an integer has to be one of its values, and a float is rounded to the nearest, the f64 that is nearest to what is
//! written being taken for it. So `x * 0.1` means the same for f32, bf16 and a `T: Float`.
//!
//! Beside a tile it is a scalar, which stands on the right of a tile of any rank, also of one that a function is generic over:
//! `x * 2`, `x.max(0)`. On the left of such a tile, `1 - x`, and as what `select` chooses, rustc cannot decide it: the impl
//! for a scalar on the left would be one more for two scalars, and a rank that is larger of two is a type only where both
//! are known. Write `-x + 1`, or a function for each rank.

use super::recorder::{self, DETACHED};
use super::tensor::StoreValue;
use super::tile::{IntoValue, Scalar, Tile};
use crate::arithmetic;
use float8::{F8E4M3, F8E5M2};

use crate::element::{Element, ElementType, Float, Number};
use crate::ir::{self, Expression, Handle, Span};

/// An integer literal.
#[derive(Debug, Clone, Copy)]
pub struct IntegerLiteral {
    value: i128,
    is_quotient: bool,
    span: Span,
}

/// A literal with a point or an exponent.
#[derive(Debug, Clone, Copy)]
pub struct FloatLiteral {
    value: f64,
    span: Span,
}

impl IntegerLiteral {
    /// The literal at the caller's place.
    #[track_caller]
    pub fn new(value: impl Into<i128>) -> Self {
        Self {
            value: value.into(),
            is_quotient: false,
            span: Span::here(),
        }
    }

    /// What literals give of which one divides another: no float, which would not have been rounded.
    #[track_caller]
    pub fn quotient(value: impl Into<i128>) -> Self {
        Self {
            is_quotient: true,
            ..Self::new(value)
        }
    }

    /// The nearest value of a floating-point type.
    fn as_float<T: Element>(self) -> Scalar<T> {
        if self.is_quotient {
            let message = format!(
                "a quotient of integer literals is an integer, here {}, and stands beside {}",
                self.value,
                T::TYPE
            );
            recorder::with((), |r| r.fail(self.span, message, Some("divide floats: `1.0 / 2.0`")));
        }
        let wide = match i64::try_from(self.value) {
            Ok(value) => ir::Literal::new(value),
            Err(_) => ir::Literal::wrap(ElementType::U64, self.value),
        };
        rounded(wide, &self.value, self.span)
    }

    fn out_of_range(self, range: &str) {
        let message = format!("`{}` is out of the range of {range}", self.value);
        recorder::with((), |r| {
            r.fail(
                self.span,
                message,
                Some("convert what it stands beside: `value as i64`"),
            )
        });
    }
}

impl FloatLiteral {
    /// The literal at the caller's place.
    #[track_caller]
    pub fn new(value: impl Into<f64>) -> Self {
        Self {
            value: value.into(),
            span: Span::here(),
        }
    }
}

/// A kind of literal that can be a value of the element type `T`.
pub trait LiteralOf<T> {
    /// The value; if there is none, the mistake is kept.
    #[doc(hidden)]
    fn scalar(self) -> Scalar<T>
    where
        T: Element;
}

impl<T: Number> LiteralOf<T> for IntegerLiteral {
    fn scalar(self) -> Scalar<T> {
        match T::TYPE.integer_range() {
            Some((low, high)) if !(low..=high).contains(&self.value) => {
                self.out_of_range(&format!("{}, {low} to {high}", T::TYPE));
                super::zero()
            }
            Some(_) => constant(ir::Literal::wrap(T::TYPE, self.value)),
            None => self.as_float(),
        }
    }
}

impl<T: Float> LiteralOf<T> for FloatLiteral {
    fn scalar(self) -> Scalar<T> {
        rounded(ir::Literal::new(self.value), &self.value, self.span)
    }
}

/// The 8-bit floats are only stored, but that as any other.
macro_rules! storage {
    ($($ty:ty),*) => {$(
        impl LiteralOf<$ty> for IntegerLiteral {
            fn scalar(self) -> Scalar<$ty> {
                self.as_float()
            }
        }
        impl LiteralOf<$ty> for FloatLiteral {
            fn scalar(self) -> Scalar<$ty> {
                rounded(ir::Literal::new(self.value), &self.value, self.span)
            }
        }
    )*};
}
storage!(F8E4M3, F8E5M2);

fn constant<T: Element>(literal: ir::Literal) -> Scalar<T> {
    Tile::from_handle(recorder::with(DETACHED, |r| r.literal(literal)))
}

/// The nearest value of a floating-point type.
fn rounded<T: Element>(value: ir::Literal, written: &dyn std::fmt::Debug, span: Span) -> Scalar<T> {
    let literal = arithmetic::cast(value, T::TYPE).unwrap_or(ir::Literal::zero(T::TYPE));
    let wide = |literal| arithmetic::cast(literal, ElementType::F64).map_or(0.0, |wide| f64::from_bits(wide.bits));
    let (exact, found) = (wide(value), wide(literal));
    // Casts to the 8-bit floats saturate, where others give infinity.
    let largest = arithmetic::cast(ir::Literal::new(f64::MAX), T::TYPE).map_or(0.0, wide);
    if exact.is_finite() && (!found.is_finite() || exact.abs() > largest) {
        let message = format!("`{written:?}` is out of the range of {}", T::TYPE);
        recorder::with((), |r| {
            r.fail(span, message, Some("convert what it stands beside: `value as f32`"))
        });
    }
    constant(literal)
}

/// What an integer literal can stand beside: `x * 2`, `count > 0`, `n - 1`, `x.max(0)`.
#[diagnostic::on_unimplemented(
    message = "an integer literal cannot stand beside `{Self}`",
    note = "beside a plain float, write `2.0`; beside a list, choose an element"
)]
pub trait BesideInteger {
    /// What the literal becomes.
    type Value;
    #[doc(hidden)]
    fn literal(literal: IntegerLiteral) -> Self::Value;
}

/// What a literal with a point can stand beside.
#[diagnostic::on_unimplemented(
    message = "a literal with a point cannot stand beside `{Self}`",
    note = "it stands beside floats; convert other numbers: `value as f32`"
)]
pub trait BesideFloat {
    /// What the literal becomes.
    type Value;
    #[doc(hidden)]
    fn literal(literal: FloatLiteral) -> Self::Value;
}

impl<T: Number, const R: usize> BesideInteger for Tile<T, R> {
    type Value = Scalar<T>;
    fn literal(literal: IntegerLiteral) -> Scalar<T> {
        literal.scalar()
    }
}

impl<T: Float, const R: usize> BesideFloat for Tile<T, R> {
    type Value = Scalar<T>;
    fn literal(literal: FloatLiteral) -> Scalar<T> {
        literal.scalar()
    }
}

#[diagnostic::do_not_recommend]
impl<A: BesideInteger> BesideInteger for &A {
    type Value = A::Value;
    fn literal(literal: IntegerLiteral) -> A::Value {
        A::literal(literal)
    }
}

#[diagnostic::do_not_recommend]
impl<A: BesideFloat> BesideFloat for &A {
    type Value = A::Value;
    fn literal(literal: FloatLiteral) -> A::Value {
        A::literal(literal)
    }
}

macro_rules! integers {
    ($($ty:ident),*) => {$(
        #[diagnostic::do_not_recommend]
        impl BesideInteger for $ty {
            type Value = $ty;
            fn literal(literal: IntegerLiteral) -> $ty {
                literal.into_value()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoValue<$ty> for IntegerLiteral {
            fn into_value(self) -> $ty {
                $ty::try_from(self.value).unwrap_or_else(|_| {
                    self.out_of_range(&format!("{}, {} to {}", stringify!($ty), $ty::MIN, $ty::MAX));
                    0
                })
            }
        }
    )*};
}
integers!(usize, isize, i8, i16, i32, i64, i128, u8, u16, u32, u64, u128);

macro_rules! floats {
    ($($ty:ident),*) => {$(
        #[diagnostic::do_not_recommend]
        impl BesideFloat for $ty {
            type Value = $ty;
            fn literal(literal: FloatLiteral) -> $ty {
                literal.into_value()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoValue<$ty> for FloatLiteral {
            fn into_value(self) -> $ty {
                self.value as $ty
            }
        }
    )*};
}
floats!(f32, f64);

macro_rules! values {
    ($($literal:ident),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: Element, const R: usize> IntoValue<Tile<T, R>> for $literal
        where
            Self: LiteralOf<T>,
        {
            fn into_value(self) -> Tile<T, R> {
                let scalar: Scalar<T> = self.scalar();
                Tile::from_handle(scalar.handle)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<T: Element> StoreValue<T, 0> for $literal
        where
            Self: LiteralOf<T>,
        {
            fn stored(self) -> Handle<Expression> {
                let scalar: Scalar<T> = self.scalar();
                scalar.handle
            }
        }
    )*};
}
values!(IntegerLiteral, FloatLiteral);

/// The literal as what it is beside `value`: a scalar beside a tile, a plain number beside a plain number.
pub fn integer_beside<A: BesideInteger>(_: &A, literal: IntegerLiteral) -> A::Value {
    A::literal(literal)
}

/// As [`integer_beside`].
pub fn float_beside<A: BesideFloat>(_: &A, literal: FloatLiteral) -> A::Value {
    A::literal(literal)
}

/// The literal as a scalar of the type that the context decides.
pub fn literal_scalar<T: Element, L: LiteralOf<T>>(literal: L) -> Scalar<T> {
    literal.scalar()
}
