//! Values that come from nothing: program ids, ranges, constants; and selection between values.

use super::broadcast::{Dim, Join, Rank};
use super::recorder::{self, DETACHED};
use super::tile::{IntoValue, Scalar, Tile};
use crate::element::Element;
use crate::ir::{Expression, Handle, Literal, Shape, Span, Symbol, Type};

/// This program's coordinate on a grid axis, 0 to 2.
#[track_caller]
pub fn program_id(axis: usize) -> Scalar<i64> {
    grid_symbol(axis, "program_id", Symbol::ProgramId)
}

/// The number of programs on a grid axis, 0 to 2.
#[track_caller]
pub fn num_programs(axis: usize) -> Scalar<i64> {
    grid_symbol(axis, "num_programs", Symbol::NumPrograms)
}

#[track_caller]
fn grid_symbol(axis: usize, name: &str, symbol: fn(u8) -> Symbol) -> Scalar<i64> {
    let span = Span::here();
    if axis > 2 {
        recorder::with((), |r| {
            r.fail(
                span,
                format!("`{name}({axis})`: a grid has at most three axes, 0 to 2"),
                None,
            )
        });
    }
    Tile::emit(Expression::Symbol(symbol(axis.min(2) as u8)), Shape::SCALAR, span)
}

/// The indices `0, 1, …, extent - 1`.
///
/// `extent` is an integer, a const generic, a tensor's extent or an exact count, which becomes a literal of the variant. It
/// may be 0: what is done with a tile without elements is nothing.
#[track_caller]
pub fn arange(extent: impl Extent) -> Tile<i64, 1> {
    let span = Span::here();
    let extent = extent.extent(span).unwrap_or(1);
    let shape = Shape::new(&[extent]).unwrap_or(Shape::SCALAR);
    Tile::emit(Expression::Arange(extent), shape, span)
}

/// A tile of the given extents, all of whose elements are `value`.
#[track_caller]
pub fn full<T: Element, const N: usize>(extents: impl Extents<N>, value: impl IntoValue<Scalar<T>>) -> Tile<T, N> {
    let span = Span::here();
    let value = value.into_value();
    let shape = extents.shape(span);
    let handle = recorder::with(DETACHED, |r| match shape {
        Some(shape) => r.stretch(value.handle, shape, span),
        None => value.handle,
    });
    Tile::from_handle(handle)
}

/// A tile of this shape, all of whose elements are `value`.
pub(super) fn full_like<T: Element, const R: usize>(shape: Shape, value: Scalar<T>, span: Span) -> Tile<T, R> {
    Tile::from_handle(recorder::with(DETACHED, |r| r.stretch(value.handle, shape, span)))
}

/// Zero, `false`, +0.0.
pub fn zero<T: Element>() -> Scalar<T> {
    Tile::from_handle(recorder::with(DETACHED, |r| r.literal(Literal::zero(T::TYPE))))
}

/// `accept` where `condition` holds, `reject` elsewhere. All three broadcast; both values are computed.
#[track_caller]
#[allow(clippy::type_complexity)]
pub fn select<T: Element, const C: usize, const A: usize, const B: usize>(
    condition: Tile<bool, C>,
    accept: Tile<T, A>,
    reject: Tile<T, B>,
) -> <<<Dim<C> as Join<Dim<A>>>::Output as Join<Dim<B>>>::Output as Rank>::Tile<T>
where
    Dim<C>: Join<Dim<A>>,
    Dim<A>: Rank,
    Dim<B>: Rank,
    <Dim<C> as Join<Dim<A>>>::Output: Join<Dim<B>>,
{
    let span = Span::here();
    let handle = recorder::with(DETACHED, |r| {
        let ([condition, accept, reject], shape) =
            r.unify([condition.handle, accept.handle, reject.handle], "`select`", span);
        r.emit(
            Expression::Select {
                condition,
                accept,
                reject,
            },
            Type {
                element: T::TYPE,
                shape,
            },
            span,
        )
    });
    <<<Dim<C> as Join<Dim<A>>>::Output as Join<Dim<B>>>::Output as Rank>::tile(handle)
}

/// `value / divisor` rounded up, for values that are not negative: the number of blocks that cover an extent.
#[track_caller]
pub fn cdiv(value: Scalar<i64>, divisor: impl IntoIndex) -> Scalar<i64> {
    let divisor: Scalar<i64> = Tile::from_handle(divisor.into_index());
    value.div_ceil(divisor)
}

/// An extent as a compile-time integer; it becomes a literal of the variant.
///
/// A loop over such integers is unrolled. All unrolled loops of a kernel have at most 8192 trips together, and a kernel has
/// at most 65,536 operations; a loop up to the extent itself, `0..x.extent(0)`, runs on the device and has no limit.
#[track_caller]
pub fn comptime(extent: impl Extent) -> usize {
    extent.extent(Span::here()).unwrap_or(1) as usize
}

/// A plain integer or scalar index.
pub trait IntoIndex {
    #[doc(hidden)]
    fn into_index(self) -> Handle<Expression>;
}

#[diagnostic::do_not_recommend]
impl IntoIndex for Scalar<i64> {
    fn into_index(self) -> Handle<Expression> {
        self.handle
    }
}

/// The extent of a tile: known while recording.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an extent of a tile",
    note = "extents are integers known at compile time, `tensor.extent(axis)` or a count that is bound as `Exact`"
)]
pub trait Extent {
    /// The extent; `None`, with the mistake kept, if it is not known or out of range.
    #[doc(hidden)]
    fn extent(self, span: Span) -> Option<u32>;
}

/// The largest number of elements of a tile.
const MAX_ELEMENTS: u64 = 1 << 24;

/// What to do about a tile that is too large.
const BLOCK_ADVICE: &str = "block longer axes: give each program `arange(BLOCK)` and an offset";

fn checked(extent: i128, span: Span) -> Option<u32> {
    if (0..=MAX_ELEMENTS as i128).contains(&extent) {
        return Some(extent as u32);
    }
    recorder::with((), |r| {
        r.fail(
            span,
            format!("a tile cannot have extent {extent}; extents are 0 to {MAX_ELEMENTS}"),
            (extent > 0).then_some(BLOCK_ADVICE),
        );
    });
    None
}

#[diagnostic::do_not_recommend]
impl Extent for Scalar<i64> {
    fn extent(self, span: Span) -> Option<u32> {
        let value = recorder::with(None, |r| r.constant(self.handle, span))?;
        checked(value as i128, span)
    }
}

macro_rules! plain_extents {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Extent for $ty {
            fn extent(self, span: Span) -> Option<u32> {
                checked(self as i128, span)
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoIndex for $ty {
            fn into_index(self) -> Handle<Expression> {
                recorder::with(DETACHED, |r| r.literal(Literal::wrap(crate::element::ElementType::I64, self as i128)))
            }
        }
    )*};
}
plain_extents!(usize, i32, i64, u32);

/// The extents of a tile of rank `N`: in a kernel written as an array, `[4, src.extent(1)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no list of extents",
    note = "write one to three extents: `[8]`, `[4, src.extent(1)]`"
)]
pub trait Extents<const N: usize> {
    #[doc(hidden)]
    fn shape(self, span: Span) -> Option<Shape>;
}

macro_rules! extent_tuples {
    ($($count:literal: $($name:ident)*;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($name: Extent),*> Extents<$count> for ($($name,)*) {
            #[allow(non_snake_case)]
            fn shape(self, span: Span) -> Option<Shape> {
                let ($($name,)*) = self;
                let shape = Shape::new(&[$($name.extent(span)?),*])?;
                if shape.elements() > MAX_ELEMENTS {
                    recorder::with((), |r| {
                        let message = format!("a tile of shape {shape} has over {MAX_ELEMENTS} elements");
                        r.fail(span, message, Some(BLOCK_ADVICE));
                    });
                    return None;
                }
                Some(shape)
            }
        }
    )*};
}
extent_tuples! {
    1: A;
    2: A B;
    3: A B C;
}
