//! Conversions between element types, and the `as` operator, which the macro turns into a call.

use super::Tile;
use super::recorder;
use crate::element::{Element, ElementType, Integer};
use crate::ir::{Expression, Literal, Shape, Span};

impl<T: Element, const R: usize> Tile<T, R> {
    /// Converts every element, between any two element types. `x as i64` in a kernel means the same.
    ///
    /// * To integers, floats are rounded toward zero and saturate, and NaN becomes 0; integers wrap. As Rust's `as` does.
    /// * To floats, values are rounded to nearest even: once, whatever the source.
    /// * To the 8-bit floats they saturate besides, as quantisers need it: what is beyond the largest value, infinities
    ///   included, becomes 448 in `F8E4M3` and 57344 in `F8E5M2`. NaN stays NaN.
    /// * To bool: whether an element differs from zero.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// use float8::F8E4M3;
    ///
    /// #[kernel(grid = [1])]
    /// fn quantise(out: &mut Tensor<F8E4M3, 1>, x: &Tensor<f32, 1>, scale: f32) {
    ///     let i = arange(x.extent(0));
    ///     out.store([i], (x.load([i]) * scale).cast::<F8E4M3>());
    /// }
    /// ```
    #[track_caller]
    pub fn cast<U: Element>(self) -> Tile<U, R> {
        self.converted(|value| Expression::Cast { value, to: U::TYPE })
    }

    /// Converts every integer to the nearest one of another type, where [`Tile::cast`] wraps.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// Ids of any type as i64: no large u64 becomes a negative one.
    /// #[kernel(grid = [1])]
    /// fn widen<I: Integer>(out: &mut Tensor<i64, 1>, ids: &Tensor<I, 1>) {
    ///     let i = arange(ids.extent(0));
    ///     out.store([i], ids.load([i]).saturating_cast::<i64>());
    /// }
    /// ```
    #[track_caller]
    pub fn saturating_cast<U: Integer>(self) -> Tile<U, R>
    where
        T: Integer,
    {
        let range = |element: ElementType| element.integer_range().unwrap_or_default();
        let ((least, most), (low, high)) = (range(T::TYPE), range(U::TYPE));
        let limit = |value: i128| T::from_bits64(Literal::wrap(T::TYPE, value).bits);
        let mut limited = self;
        if least < low {
            limited = limited.max(limit(low));
        }
        if most > high {
            limited = limited.min(limit(high));
        }
        limited.cast::<U>()
    }

    /// The bits of every element read as another type of the same size, those of NaN included.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// The exponents of some floats.
    /// #[kernel(grid = [1])]
    /// fn exponents(out: &mut Tensor<u32, 1>, x: &Tensor<f32, 1>) {
    ///     let i = arange(x.extent(0));
    ///     out.store([i], (x.load([i]).bitcast::<u32>() >> 23) & 0xff);
    /// }
    /// ```
    #[track_caller]
    pub fn bitcast<U: Element>(self) -> Tile<U, R>
    where
        T: BitcastTo<U>,
    {
        self.converted(|value| Expression::Bitcast { value, to: U::TYPE })
    }

    #[track_caller]
    fn converted<U: Element>(self, conversion: impl FnOnce(crate::ir::Handle<Expression>) -> Expression) -> Tile<U, R> {
        if U::TYPE == T::TYPE {
            return Tile::from_handle(self.handle);
        }
        let shape = recorder::with(Shape::SCALAR, |r| r.ty(self.handle).shape);
        Tile::emit(conversion(self.handle), shape, Span::here())
    }
}

/// An element type whose bits can be read as the type `U`: one of the same size. Neither is bool, which has only two of a
/// byte's values.
#[diagnostic::on_unimplemented(
    message = "the bits of `{Self}` cannot be read as `{U}`",
    note = "both types need the same size, and neither may be bool; `.cast::<{U}>()` converts the value"
)]
pub trait BitcastTo<U: Element>: Element {}

macro_rules! bitcasts {
    ($from:ty => $($to:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl BitcastTo<$to> for $from {}
    )*};
}
bitcasts!(i8 => i8, u8, float8::F8E4M3, float8::F8E5M2);
bitcasts!(u8 => i8, u8, float8::F8E4M3, float8::F8E5M2);
bitcasts!(float8::F8E4M3 => i8, u8, float8::F8E4M3, float8::F8E5M2);
bitcasts!(float8::F8E5M2 => i8, u8, float8::F8E4M3, float8::F8E5M2);
bitcasts!(i16 => i16, u16, half::f16, half::bf16);
bitcasts!(u16 => i16, u16, half::f16, half::bf16);
bitcasts!(half::f16 => i16, u16, half::f16, half::bf16);
bitcasts!(half::bf16 => i16, u16, half::f16, half::bf16);
bitcasts!(i32 => i32, u32, f32);
bitcasts!(u32 => i32, u32, f32);
bitcasts!(f32 => i32, u32, f32);
bitcasts!(i64 => i64, u64, f64);
bitcasts!(u64 => i64, u64, f64);
bitcasts!(f64 => i64, u64, f64);

/// A value that `as` can convert to the type `U`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cast to `{U}`",
    note = "`as` converts numbers and tiles of numbers"
)]
pub trait CastTo<U> {
    /// A tile for a tile, a plain number for a plain number.
    type Output;
    #[doc(hidden)]
    #[track_caller]
    fn cast_to(self) -> Self::Output;
}

#[diagnostic::do_not_recommend]
impl<T: Element, U: Element, const R: usize> CastTo<U> for Tile<T, R> {
    type Output = Tile<U, R>;
    #[track_caller]
    fn cast_to(self) -> Tile<U, R> {
        self.cast()
    }
}

/// That a value is known while a kernel is recorded, as a `usize` has to be. No tile is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is known only when the kernel runs, and a `usize` while it is recorded",
    note = "indices are scalars of integers: `value as i64`; an extent as a `usize` is `comptime(x.extent(1))`"
)]
pub trait KnownWhileRecording {}

impl<T: Element, const R: usize> CastTo<usize> for Tile<T, R>
where
    Self: KnownWhileRecording,
{
    type Output = usize;
    fn cast_to(self) -> usize {
        0
    }
}

macro_rules! plain {
    ($($from:ty => [$($to:ty),*];)*) => {$($(
        #[diagnostic::do_not_recommend]
        impl CastTo<$to> for $from {
            type Output = $to;
            fn cast_to(self) -> $to {
                self as $to
            }
        }
    )*)*};
}
plain! {
    usize => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    i8 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    i16 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    i32 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    i64 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    u8 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    u16 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    u32 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    u64 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    bool => [usize, i8, i16, i32, i64, u8, u16, u32, u64];
    f32 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
    f64 => [usize, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64];
}
