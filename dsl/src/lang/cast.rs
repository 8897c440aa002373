//! The `as` operator, which the macro turns into a call.

use super::Tile;
use crate::element::Element;

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
