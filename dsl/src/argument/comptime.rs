//! Compile-time arguments of kernels.

/// The value of a `#[comptime]` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComptimeValue {
    /// An integer of any type, its sign extended to 64 bits.
    Integer(u64),
    /// A bool.
    Bool(bool),
    /// A float, as the bits of an `f64`.
    Float(u64),
}

/// A type that `#[comptime]` parameters can have: `usize`, `bool`, `f32`, `f64` and the fixed-width integers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a `#[comptime]` parameter",
    note = "compile-time parameters are usize, bool, f32, f64 or fixed-width integers"
)]
pub trait Comptime: Copy + 'static {
    /// The value, as a key.
    fn into_value(self) -> ComptimeValue;
    /// The value that [`Comptime::into_value`] made the key from.
    fn from_value(value: ComptimeValue) -> Self;
}

macro_rules! comptime_integers {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Comptime for $ty {
            fn into_value(self) -> ComptimeValue {
                ComptimeValue::Integer(self as u64)
            }
            fn from_value(value: ComptimeValue) -> Self {
                match value {
                    ComptimeValue::Integer(v) => v as $ty,
                    ComptimeValue::Bool(v) => v as $ty,
                    ComptimeValue::Float(v) => f64::from_bits(v) as $ty,
                }
            }
        }
    )*};
}
comptime_integers!(usize, i8, i16, i32, i64, u8, u16, u32, u64);

#[diagnostic::do_not_recommend]
impl Comptime for bool {
    fn into_value(self) -> ComptimeValue {
        ComptimeValue::Bool(self)
    }
    fn from_value(value: ComptimeValue) -> Self {
        matches!(value, ComptimeValue::Bool(true))
    }
}

macro_rules! comptime_floats {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Comptime for $ty {
            fn into_value(self) -> ComptimeValue {
                ComptimeValue::Float((self as f64).to_bits())
            }
            fn from_value(value: ComptimeValue) -> Self {
                match value {
                    ComptimeValue::Float(v) => f64::from_bits(v) as $ty,
                    ComptimeValue::Integer(v) => v as $ty,
                    ComptimeValue::Bool(v) => v as u8 as $ty,
                }
            }
        }
    )*};
}
comptime_floats!(f32, f64);
