//! Mutable variables and the results of `if`.

use super::recorder;
use super::tile::Tile;
use crate::element::Element;
use crate::ir::{Expression, Handle, Local, Span, Statement};

/// What a `let mut` variable can hold: a tile or scalar, whose changes are recorded, or a compile-time value, whose
/// changes happen while recording.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be held by a mutable variable of a kernel or be the value of its `if`",
    note = "tiles, scalars and compile-time numbers can, and tuples of them"
)]
pub trait Value: Copy {
    /// Where the variable keeps it.
    #[doc(hidden)]
    type Slot;
    #[doc(hidden)]
    fn declare(self, name: &str, span: Span) -> Self::Slot;
    #[doc(hidden)]
    fn read(slot: &Self::Slot, span: Span) -> Self;
    #[doc(hidden)]
    fn write(self, slot: &mut Self::Slot, name: &str, span: Span);
    /// Any value, for code that is recorded but never runs.
    #[doc(hidden)]
    fn unreached() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> Value for Tile<T, R> {
    type Slot = Option<Handle<Local>>;

    fn declare(self, name: &str, span: Span) -> Self::Slot {
        recorder::with(None, |r| {
            let local = r.declare(name, r.ty(self.handle));
            r.push(
                Statement::Assign {
                    local,
                    value: self.handle,
                },
                span,
            );
            Some(local)
        })
    }

    fn read(slot: &Self::Slot, span: Span) -> Self {
        let handle = recorder::with(recorder::DETACHED, |r| match *slot {
            Some(local) => r.emit(Expression::Local(local), r.local_type(local), span),
            None => recorder::DETACHED,
        });
        Tile::from_handle(handle)
    }

    fn write(self, slot: &mut Self::Slot, name: &str, span: Span) {
        recorder::with((), |r| {
            let Some(local) = *slot else { return };
            let (from, to) = (r.ty(self.handle).shape, r.local_type(local).shape);
            if from.broadcast(to) != Some(to) {
                let message = format!("`{name}` holds a tile of shape {to} and cannot be assigned one of shape {from}");
                r.fail(span, message, Some("a variable keeps the shape of its first value"));
                return;
            }
            let value = r.stretch(self.handle, to, span);
            r.push(Statement::Assign { local, value }, span);
        });
    }

    fn unreached() -> Self {
        Tile::from_handle(super::zero::<T>().handle)
    }
}

/// A compile-time variable: its value, and how deep in recorded control flow it was declared.
#[doc(hidden)]
pub struct Known<V> {
    value: V,
    depth: usize,
}

macro_rules! known {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Value for $ty {
            type Slot = Known<$ty>;
            fn declare(self, _: &str, _: Span) -> Known<$ty> {
                Known { value: self, depth: recorder::with(0, |r| r.depth()) }
            }
            fn read(slot: &Known<$ty>, _: Span) -> $ty {
                slot.value
            }
            fn write(self, slot: &mut Known<$ty>, name: &str, span: Span) {
                recorder::with((), |r| {
                    if r.depth() > slot.depth && self != slot.value {
                        let message = format!("`{name}` is a compile-time value and changes under run-time control flow");
                        r.fail(span, message, Some("give it a run-time type: `let mut n: i64 = 0`"));
                    }
                });
                slot.value = self;
            }
            fn unreached() -> $ty {
                <$ty>::default()
            }
        }
    )*};
}
known!((), usize, bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

macro_rules! tuples {
    ($($($name:ident $index:tt),*;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($name: Value),*> Value for ($($name,)*) {
            type Slot = ($($name::Slot,)*);
            fn declare(self, name: &str, span: Span) -> Self::Slot {
                ($(self.$index.declare(name, span),)*)
            }
            fn read(slot: &Self::Slot, span: Span) -> Self {
                ($($name::read(&slot.$index, span),)*)
            }
            fn write(self, slot: &mut Self::Slot, name: &str, span: Span) {
                $(self.$index.write(&mut slot.$index, name, span);)*
            }
            fn unreached() -> Self {
                ($($name::unreached(),)*)
            }
        }
    )*};
}
tuples! {
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
}
