//! The value of an `if` with two branches: what type it has, and where it is kept.

use super::literal::{FloatLiteral, IntegerLiteral};
use super::staging::If;
use super::tile::{IntoValue, Scalar, Tile};
use super::variable::Value;
use crate::element::{Element, Float, Number};
use crate::ir::Span;

/// A value that the first branch of an `if` can have where the second one has an `Other`, under a `Condition` that is
/// a `bool` or a scalar of `bool`.
///
/// Plain numbers stay plain under a compile-time condition. Under a run-time condition, or beside a tile, they are
/// recorded.
#[diagnostic::on_unimplemented(
    message = "the branches of this `if` have different types: `{Self}` and `{Other}`",
    label = "the branches have different types",
    note = "both need one element type and one rank; cast one of them: `value as f32`"
)]
pub trait Branch<Condition, Other> {
    /// The type of the whole `if`.
    type Joined: Value;
    #[doc(hidden)]
    fn accept(self) -> Self::Joined;
    #[doc(hidden)]
    fn reject(other: Other) -> Self::Joined;
}

#[diagnostic::do_not_recommend]
impl<C, T: Element, const R: usize> Branch<C, Tile<T, R>> for Tile<T, R> {
    type Joined = Self;
    fn accept(self) -> Self {
        self
    }
    fn reject(other: Self) -> Self {
        other
    }
}

#[diagnostic::do_not_recommend]
impl<C, T: Element, const R: usize> Branch<C, T> for Tile<T, R> {
    type Joined = Self;
    fn accept(self) -> Self {
        self
    }
    fn reject(other: T) -> Self {
        other.into_value()
    }
}

#[diagnostic::do_not_recommend]
impl<C, T: Element, const R: usize> Branch<C, Tile<T, R>> for T {
    type Joined = Tile<T, R>;
    fn accept(self) -> Tile<T, R> {
        self.into_value()
    }
    fn reject(other: Tile<T, R>) -> Tile<T, R> {
        other
    }
}

macro_rules! compile_time {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Branch<bool, $ty> for $ty {
            type Joined = $ty;
            fn accept(self) -> $ty {
                self
            }
            fn reject(other: $ty) -> $ty {
                other
            }
        }
    )*};
}
compile_time!(usize, bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

macro_rules! run_time {
    ($($ty:ty => $element:ty, $convert:expr;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl Branch<Scalar<bool>, $ty> for $ty {
            type Joined = Scalar<$element>;
            fn accept(self) -> Scalar<$element> {
                let convert: fn($ty) -> $element = $convert;
                convert(self).into_value()
            }
            fn reject(other: $ty) -> Scalar<$element> {
                let convert: fn($ty) -> $element = $convert;
                convert(other).into_value()
            }
        }
    )*};
}
run_time! {
    usize => i64, |v| v as i64;
    bool => bool, |v| v;
    i8 => i8, |v| v;
    i16 => i16, |v| v;
    i32 => i32, |v| v;
    i64 => i64, |v| v;
    u8 => u8, |v| v;
    u16 => u16, |v| v;
    u32 => u32, |v| v;
    u64 => u64, |v| v;
    f32 => f32, |v| v;
    f64 => f64, |v| v;
}

/// A number that is the value of one branch beside another number: the context decides its type, as far as Rust knows
/// such numbers; where nothing does, it is i32 or f64.
pub struct Undecided<V>(pub V);

#[diagnostic::do_not_recommend]
impl<V: Value> Branch<bool, Undecided<V>> for Undecided<V> {
    type Joined = V;
    fn accept(self) -> V {
        self.0
    }
    fn reject(other: Self) -> V {
        other.0
    }
}

#[diagnostic::do_not_recommend]
impl<T: Number> Branch<Scalar<bool>, Undecided<T>> for Undecided<T> {
    type Joined = Scalar<T>;
    fn accept(self) -> Scalar<T> {
        self.0.into_value()
    }
    fn reject(other: Self) -> Scalar<T> {
        other.0.into_value()
    }
}

/// Beside an `else if` whose branches are numbers too.
#[diagnostic::do_not_recommend]
impl<C, T: Number, const R: usize> Branch<C, Tile<T, R>> for Undecided<T> {
    type Joined = Tile<T, R>;
    fn accept(self) -> Tile<T, R> {
        self.0.into_value()
    }
    fn reject(other: Tile<T, R>) -> Tile<T, R> {
        other
    }
}

/// A literal beside another value.
macro_rules! literals {
    ($($literal:ident: $bound:ident, [$($ty:ty),*];)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<C, T: $bound, const R: usize> Branch<C, Tile<T, R>> for $literal {
            type Joined = Tile<T, R>;
            fn accept(self) -> Tile<T, R> {
                self.into_value()
            }
            fn reject(other: Tile<T, R>) -> Tile<T, R> {
                other
            }
        }

        #[diagnostic::do_not_recommend]
        impl<C, T: $bound, const R: usize> Branch<C, $literal> for Tile<T, R> {
            type Joined = Tile<T, R>;
            fn accept(self) -> Tile<T, R> {
                self
            }
            fn reject(other: $literal) -> Tile<T, R> {
                other.into_value()
            }
        }

        $(
            #[diagnostic::do_not_recommend]
            impl<C> Branch<C, $ty> for $literal
            where
                $ty: Branch<C, $ty>,
            {
                type Joined = <$ty as Branch<C, $ty>>::Joined;
                fn accept(self) -> Self::Joined {
                    let value: $ty = self.into_value();
                    <$ty as Branch<C, $ty>>::accept(value)
                }
                fn reject(other: $ty) -> Self::Joined {
                    <$ty as Branch<C, $ty>>::reject(other)
                }
            }

            #[diagnostic::do_not_recommend]
            impl<C> Branch<C, $literal> for $ty
            where
                $ty: Branch<C, $ty>,
            {
                type Joined = <$ty as Branch<C, $ty>>::Joined;
                fn accept(self) -> Self::Joined {
                    <$ty as Branch<C, $ty>>::accept(self)
                }
                fn reject(other: $literal) -> Self::Joined {
                    let value: $ty = other.into_value();
                    <$ty as Branch<C, $ty>>::reject(value)
                }
            }
        )*
    )*};
}
literals! {
    IntegerLiteral: Number, [usize, i8, i16, i32, i64, u8, u16, u32, u64];
    FloatLiteral: Float, [f32, f64];
}

#[diagnostic::do_not_recommend]
impl<C> Branch<C, ()> for () {
    type Joined = ();
    fn accept(self) {}
    fn reject((): ()) {}
}

macro_rules! tuples {
    ($($($a:ident $b:ident $index:tt),*;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<C, $($a: Branch<C, $b>, $b),*> Branch<C, ($($b,)*)> for ($($a,)*) {
            type Joined = ($($a::Joined,)*);
            fn accept(self) -> Self::Joined {
                ($(self.$index.accept(),)*)
            }
            fn reject(other: ($($b,)*)) -> Self::Joined {
                ($($a::reject(other.$index),)*)
            }
        }
    )*};
}
tuples! {
    A0 B0 0, A1 B1 1;
    A0 B0 0, A1 B1 1, A2 B2 2;
    A0 B0 0, A1 B1 1, A2 B2 2, A3 B3 3;
}

/// The values of the two branches of an `if`, joined to a `J`.
pub struct Branches<J: Value, A, B> {
    slot: Option<J::Slot>,
    span: Span,
    // Functions instead of a bound on `A`, so that rustc reports branches that do not fit once.
    from_accept: fn(A) -> J,
    from_reject: fn(B) -> J,
}

impl<J: Value, A, B> Branches<J, A, B> {
    /// No branch has given a value yet.
    #[track_caller]
    pub fn new<C>(_: &If<C>) -> Self
    where
        A: Branch<C, B, Joined = J>,
    {
        Self {
            slot: None,
            span: Span::here(),
            from_accept: A::accept,
            from_reject: A::reject,
        }
    }

    /// The value of the first branch, which is open.
    pub fn accept(&mut self, value: A) {
        self.set((self.from_accept)(value));
    }

    /// The value of the second branch, which is open.
    pub fn reject(&mut self, value: B) {
        self.set((self.from_reject)(value));
    }

    fn set(&mut self, value: J) {
        match &mut self.slot {
            Some(slot) => value.write(slot, "the result of this `if`", self.span),
            None => self.slot = Some(value.declare("if", self.span)),
        }
    }

    /// The joined value.
    pub fn get(self) -> Option<J> {
        self.slot.map(|slot| J::read(&slot, self.span))
    }
}
