//! Comparisons and the logical operators, which the macro turns into calls because Rust's are fixed to `bool`.

use super::broadcast::for_each_rank_pair;
use super::recorder::{self, DETACHED};
use super::tile::{IntoValue, Scalar, Tile};
use crate::element::{Element, ElementKind, ElementType};
use crate::ir::{CompareOp, Expression, Span, Type};

/// Values that a kernel can compare with `==`, `!=`, `<`, `<=`, `>` and `>=`.
#[diagnostic::on_unimplemented(
    message = "cannot compare `{Self}` with `{Rhs}`",
    note = "both sides need one element type; cast one of them: `.cast::<i64>()`"
)]
pub trait Compare<Rhs> {
    /// `bool` for compile-time values, a tile of bool for recorded ones.
    type Output;
    /// The comparison.
    #[doc(hidden)]
    #[track_caller]
    fn compare(self, op: CompareOp, other: Rhs) -> Self::Output;
}

#[track_caller]
pub(super) fn record<T: Element, const A: usize, const B: usize, const O: usize>(
    op: CompareOp,
    left: Tile<T, A>,
    right: Tile<T, B>,
) -> Tile<bool, O> {
    let span = Span::here();
    let handle = recorder::with(DETACHED, |r| {
        if !op.accepts(T::TYPE) {
            let advice = match T::TYPE.kind() {
                ElementKind::Storage => Some("cast first: `.cast::<f32>()`"),
                _ => None,
            };
            r.fail(span, format!("`{}` is not defined on {}", op.symbol(), T::TYPE), advice);
        }
        let ([left, right], shape) = r.unify([left.handle, right.handle], &format!("`{}`", op.symbol()), span);
        r.emit(
            Expression::Compare { op, left, right },
            Type {
                element: ElementType::Bool,
                shape,
            },
            span,
        )
    });
    Tile::from_handle(handle)
}

macro_rules! tile_pairs {
    ($($a:literal, $b:literal => $out:literal;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: Element> Compare<Tile<T, $b>> for Tile<T, $a> {
            type Output = Tile<bool, $out>;
            #[track_caller]
            fn compare(self, op: CompareOp, other: Tile<T, $b>) -> Tile<bool, $out> {
                record(op, self, other)
            }
        }
    )*};
}
for_each_rank_pair!(tile_pairs);

#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> Compare<Scalar<T>> for Tile<T, R> {
    type Output = Tile<bool, R>;
    #[track_caller]
    fn compare(self, op: CompareOp, other: Scalar<T>) -> Tile<bool, R> {
        record(op, self, other)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> Compare<T> for Tile<T, R> {
    type Output = Tile<bool, R>;
    #[track_caller]
    fn compare(self, op: CompareOp, other: T) -> Tile<bool, R> {
        let other: Tile<T, R> = other.into_value();
        record(op, self, other)
    }
}

/// Compile-time integers beside an index; a literal's type falls back to i32.
macro_rules! beside_index {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<const R: usize> Compare<$ty> for Tile<i64, R> {
            type Output = Tile<bool, R>;
            #[track_caller]
            fn compare(self, op: CompareOp, other: $ty) -> Tile<bool, R> {
                let other: Tile<i64, R> = (other as i64).into_value();
                record(op, self, other)
            }
        }
        #[diagnostic::do_not_recommend]
        impl<const R: usize> Compare<Tile<i64, R>> for $ty {
            type Output = Tile<bool, R>;
            #[track_caller]
            fn compare(self, op: CompareOp, other: Tile<i64, R>) -> Tile<bool, R> {
                let number: Tile<i64, R> = (self as i64).into_value();
                record(op, number, other)
            }
        }
    )*};
}
beside_index!(usize, i32);

macro_rules! plain {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Compare<$ty> for $ty {
            type Output = bool;
            fn compare(self, op: CompareOp, other: $ty) -> bool {
                match op {
                    CompareOp::Equal => self == other,
                    CompareOp::NotEqual => self != other,
                    CompareOp::Less => self < other,
                    CompareOp::LessEqual => self <= other,
                    CompareOp::Greater => self > other,
                    CompareOp::GreaterEqual => self >= other,
                }
            }
        }
    )*};
}
plain!(usize, bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, ElementType);

macro_rules! number_left {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<const R: usize> Compare<Tile<$ty, R>> for $ty {
            type Output = Tile<bool, R>;
            #[track_caller]
            fn compare(self, op: CompareOp, other: Tile<$ty, R>) -> Tile<bool, R> {
                let number: Tile<$ty, R> = self.into_value();
                record(op, number, other)
            }
        }
    )*};
}
number_left!(
    bool,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    half::f16,
    half::bf16,
    f32,
    f64
);

/// Conditions joined by `&&` and `||`. The right side is always computed, unless the left side decides at compile time.
#[diagnostic::on_unimplemented(
    message = "`&&` and `||` need conditions, and `{Self}` is none",
    note = "they take bool and scalars of bool; for tiles use `&` and `|`"
)]
pub trait Logic<Rhs> {
    /// `bool` if both sides are known at compile time, a scalar of bool otherwise.
    type Output;
    #[doc(hidden)]
    #[track_caller]
    fn and(self, other: impl FnOnce() -> Rhs) -> Self::Output;
    #[doc(hidden)]
    #[track_caller]
    fn or(self, other: impl FnOnce() -> Rhs) -> Self::Output;
}

#[diagnostic::do_not_recommend]
impl Logic<bool> for bool {
    type Output = bool;
    fn and(self, other: impl FnOnce() -> bool) -> bool {
        self && other()
    }
    fn or(self, other: impl FnOnce() -> bool) -> bool {
        self || other()
    }
}

#[diagnostic::do_not_recommend]
impl Logic<Scalar<bool>> for Scalar<bool> {
    type Output = Scalar<bool>;
    #[track_caller]
    fn and(self, other: impl FnOnce() -> Scalar<bool>) -> Scalar<bool> {
        self & other()
    }
    #[track_caller]
    fn or(self, other: impl FnOnce() -> Scalar<bool>) -> Scalar<bool> {
        self | other()
    }
}

#[diagnostic::do_not_recommend]
impl Logic<Scalar<bool>> for bool {
    type Output = Scalar<bool>;
    #[track_caller]
    fn and(self, other: impl FnOnce() -> Scalar<bool>) -> Scalar<bool> {
        if self { other() } else { false.into_value() }
    }
    #[track_caller]
    fn or(self, other: impl FnOnce() -> Scalar<bool>) -> Scalar<bool> {
        if self { true.into_value() } else { other() }
    }
}

#[diagnostic::do_not_recommend]
impl Logic<bool> for Scalar<bool> {
    type Output = Scalar<bool>;
    #[track_caller]
    fn and(self, other: impl FnOnce() -> bool) -> Scalar<bool> {
        self & other()
    }
    #[track_caller]
    fn or(self, other: impl FnOnce() -> bool) -> Scalar<bool> {
        self | other()
    }
}
