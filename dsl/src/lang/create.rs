//! Values that come from nothing: program ids, ranges, constants; and selection between values.

use std::convert::Infallible;

use super::broadcast::{Dim, Join, Rank};
use super::index::One;
use super::operators::RightOperand;
use super::recorder::{self, DETACHED};
use super::tile::{IntoValue, Scalar, Tile};
use crate::element::{Element, Integer};
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
///
/// ```
/// # use tilewright_dsl::{kernel, lang::*};
/// /// -1 where nothing is there.
/// #[kernel(grid = [1])]
/// fn marked(out: &mut Tensor<i32, 1>, slots: &Tensor<i32, 1>, there: &Tensor<bool, 1>) {
///     let i = arange(slots.extent(0));
///     out.store([i], select(there.load([i]), slots.load([i]), -1));
/// }
/// ```
#[track_caller]
pub fn select<const C: usize, A: Alternative<B, C, O>, B, O>(condition: Tile<bool, C>, accept: A, reject: B) -> O {
    accept.select(condition, reject)
}

/// What [`select`] chooses where a condition of rank `C` holds, and an `Other` elsewhere; it gives a `Selected`.
#[diagnostic::on_unimplemented(
    message = "`select` cannot choose between `{Self}` and `{Other}`",
    note = "both are tiles or scalars of one element type; cast one of them: `.cast::<f32>()`"
)]
pub trait Alternative<Other, const C: usize, Selected> {
    #[doc(hidden)]
    #[track_caller]
    fn select(self, condition: Tile<bool, C>, other: Other) -> Selected;
}

type Joined<const C: usize, const A: usize, const B: usize> =
    <<Dim<C> as Join<Dim<A>>>::Output as Join<Dim<B>>>::Output;

#[diagnostic::do_not_recommend]
impl<T: Element, const C: usize, const A: usize, const B: usize>
    Alternative<Tile<T, B>, C, <Joined<C, A, B> as Rank>::Tile<T>> for Tile<T, A>
where
    Dim<C>: Join<Dim<A>>,
    Dim<A>: Rank,
    Dim<B>: Rank,
    <Dim<C> as Join<Dim<A>>>::Output: Join<Dim<B>>,
{
    #[track_caller]
    fn select(self, condition: Tile<bool, C>, reject: Tile<T, B>) -> <Joined<C, A, B> as Rank>::Tile<T> {
        let span = Span::here();
        let handle = recorder::with(DETACHED, |r| {
            let ([condition, accept, reject], shape) =
                r.unify([condition.handle, self.handle, reject.handle], "`select`", span);
            let ty = Type {
                element: T::TYPE,
                shape,
            };
            r.emit(
                Expression::Select {
                    condition,
                    accept,
                    reject,
                },
                ty,
                span,
            )
        });
        <Joined<C, A, B> as Rank>::tile(handle)
    }
}

/// Only so that rustc does not take the type of what is chosen elsewhere from the one above, before it has seen it.
#[diagnostic::do_not_recommend]
impl<T: Element, const C: usize, const A: usize> Alternative<Infallible, C, Self> for Tile<T, A> {
    fn select(self, _: Tile<bool, C>, _: Infallible) -> Self {
        self
    }
}

/// `value / divisor` rounded up, for values that are not negative: the number of blocks that cover an extent.
///
/// `value` is a scalar or tile of integers, `divisor` one of the same type, which broadcasts, or a plain integer; or both
/// are compile-time integers.
///
/// ```
/// # use tilewright_dsl::{kernel, lang::*};
/// /// How many pages each request needs.
/// #[kernel(grid = [1])]
/// fn pages(out: &mut Tensor<i32, 1>, lengths: &Tensor<i32, 1>, page: i32) {
///     let i = arange(lengths.extent(0));
///     out.store([i], cdiv(lengths.load([i]), page));
/// }
/// ```
#[track_caller]
pub fn cdiv<V: Covered<D, Blocks>, D, Blocks>(value: V, divisor: D) -> Blocks {
    value.blocks(divisor)
}

/// What [`cdiv`] divides by a `Divisor`.
#[diagnostic::on_unimplemented(
    message = "`cdiv` cannot divide `{Self}` by `{Divisor}`",
    note = "both need one integer type; cast one of them: `.cast::<i64>()`"
)]
pub trait Covered<Divisor, Blocks> {
    #[doc(hidden)]
    #[track_caller]
    fn blocks(self, divisor: Divisor) -> Blocks;
}

#[diagnostic::do_not_recommend]
impl<T: Integer, const R: usize, D: RightOperand<T, R>> Covered<D, D::Output> for Tile<T, R> {
    #[track_caller]
    fn blocks(self, divisor: D) -> D::Output {
        D::output(self.cover(divisor.handle()).handle)
    }
}

#[diagnostic::do_not_recommend]
impl Covered<usize, usize> for usize {
    fn blocks(self, divisor: usize) -> usize {
        if divisor == 0 { 0 } else { self.div_ceil(divisor) }
    }
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a number of programs",
    note = "the axes of a grid are integers, or scalars of i64; convert others: `value as i64`"
)]
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

#[diagnostic::do_not_recommend]
impl<A: Extent> Extents<1> for One<A> {
    fn shape(self, span: Span) -> Option<Shape> {
        Shape::new(&[self.0.extent(span)?])
    }
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
    2: A B;
    3: A B C;
}
