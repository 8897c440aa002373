//! Tiles and scalars: the values of the language.

use std::marker::PhantomData;

use super::recorder::{self, DETACHED};
use crate::element::{Element, Integer, Number, Signed};
use crate::ir::{BinaryOp, Expression, Handle, Literal, Shape, Span, Type, UnaryOp};

/// A block of elements that one program computes with, of rank `R` (0 to 3) and any extents.
///
/// Operators work element by element; operands of different shapes broadcast as in NumPy: axes are aligned from the
/// innermost, and an axis of extent 1 stretches. Integer arithmetic wraps; integer division by zero gives 0. Arithmetic on f16 and bf16 is computed
/// in f32 and rounded to nearest even after every operation.
pub struct Tile<T: Element, const R: usize> {
    pub(crate) handle: Handle<Expression>,
    // Tiles belong to the recording of one thread.
    marker: PhantomData<*const T>,
}

/// A tile of rank 0: one value, the same for the whole program.
pub type Scalar<T> = Tile<T, 0>;

impl<T: Element, const R: usize> Clone for Tile<T, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Element, const R: usize> Copy for Tile<T, R> {}

impl<T: Element, const R: usize> std::fmt::Debug for Tile<T, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tile<{}, {R}>({:?})", T::TYPE, self.handle)
    }
}

impl<T: Element, const R: usize> Tile<T, R> {
    pub(crate) fn from_handle(handle: Handle<Expression>) -> Self {
        Self {
            handle,
            marker: PhantomData,
        }
    }

    /// Records an expression of this element type and `shape`.
    pub(crate) fn emit(expression: Expression, shape: Shape, span: Span) -> Self {
        let ty = Type {
            element: T::TYPE,
            shape,
        };
        Self::from_handle(recorder::with(DETACHED, |r| r.emit(expression, ty, span)))
    }

    #[track_caller]
    pub(crate) fn unary(self, op: UnaryOp) -> Self {
        let span = Span::here();
        let shape = recorder::with(Shape::SCALAR, |r| r.ty(self.handle).shape);
        Self::emit(Expression::Unary { op, value: self.handle }, shape, span)
    }

    /// Records `op` on two operands, broadcast to a common shape, whose rank the caller states as `O`.
    #[track_caller]
    pub(crate) fn binary<const B: usize, const O: usize>(self, op: BinaryOp, other: Tile<T, B>) -> Tile<T, O> {
        let span = Span::here();
        let handle = recorder::with(DETACHED, |r| {
            let ([left, right], shape) = r.unify([self.handle, other.handle], &format!("`{}`", op.name()), span);
            r.emit(
                Expression::Binary { op, left, right },
                Type {
                    element: T::TYPE,
                    shape,
                },
                span,
            )
        });
        Tile::from_handle(handle)
    }

    /// Converts every element as Rust's `as` does: floats to integers saturate and NaN becomes 0; narrower floats round
    /// to nearest even. `x as i64` in a kernel means the same.
    #[track_caller]
    pub fn cast<U: Element>(self) -> Tile<U, R> {
        let shape = recorder::with(Shape::SCALAR, |r| r.ty(self.handle).shape);
        if U::TYPE == T::TYPE {
            return Tile::from_handle(self.handle);
        }
        Tile::emit(
            Expression::Cast {
                value: self.handle,
                to: U::TYPE,
            },
            shape,
            Span::here(),
        )
    }

    /// The same elements in row-major order under another shape, of `N` axes.
    ///
    /// Extents are integers, const generics or tensor extents; their product must be the tile's element count.
    #[track_caller]
    pub fn reshape<const N: usize>(self, extents: impl super::Extents<N>) -> Tile<T, N> {
        let span = Span::here();
        let Some(shape) = extents.shape(span) else {
            return Tile::from_handle(self.handle);
        };
        let ok = recorder::with(false, |r| {
            let from = r.ty(self.handle).shape;
            if from.elements() != shape.elements() {
                let message = format!(
                    "`reshape` of {from} ({} elements) to {shape} ({} elements)",
                    from.elements(),
                    shape.elements()
                );
                r.fail(span, message, Some("the element counts must be equal"));
            }
            from.elements() == shape.elements()
        });
        if ok {
            Tile::emit(
                Expression::Reshape {
                    value: self.handle,
                    shape,
                },
                shape,
                span,
            )
        } else {
            Tile::from_handle(self.handle)
        }
    }

    /// This tile stretched to the given extents; axes are aligned from the innermost.
    #[track_caller]
    pub fn broadcast_to<const N: usize>(self, extents: impl super::Extents<N>) -> Tile<T, N> {
        let span = Span::here();
        let Some(shape) = extents.shape(span) else {
            return Tile::from_handle(self.handle);
        };
        let handle = recorder::with(DETACHED, |r| {
            let from = r.ty(self.handle).shape;
            if from.broadcast(shape) == Some(shape) {
                return r.stretch(self.handle, shape, span);
            }
            r.fail(
                span,
                format!("a tile of shape {from} does not broadcast to {shape}"),
                None,
            );
            self.handle
        });
        Tile::from_handle(handle)
    }
}

macro_rules! expand_dims {
    ($($rank:literal => $next:literal),*) => {$(
        impl<T: Element> Tile<T, $rank> {
            /// The tile with a new axis of extent 1 before axis `axis`; `axis` may equal the rank.
            #[track_caller]
            pub fn expand_dims(self, axis: usize) -> Tile<T, $next> {
                let span = Span::here();
                let shape = recorder::with(None, |r| {
                    let mut extents: arrayvec::ArrayVec<u32, 3> = r.ty(self.handle).shape.extents().iter().copied().collect();
                    if axis > extents.len() {
                        r.fail(span, format!("`expand_dims({axis})` of a tile of rank {}", $rank), Some("the axis is at most the rank"));
                        return None;
                    }
                    extents.try_insert(axis, 1).ok()?;
                    Shape::new(&extents)
                });
                match shape {
                    Some(shape) => Tile::emit(Expression::Reshape { value: self.handle, shape }, shape, span),
                    None => Tile::from_handle(self.handle),
                }
            }
        }
    )*};
}
expand_dims!(0 => 1, 1 => 2, 2 => 3);

impl<T: Number, const R: usize> Tile<T, R> {
    /// The smaller of each pair of elements; of floats, the other one if one is NaN.
    #[track_caller]
    pub fn min(self, other: impl IntoValue<Tile<T, R>>) -> Self {
        self.binary(BinaryOp::Min, other.into_value())
    }

    /// The larger of each pair of elements; of floats, the other one if one is NaN.
    #[track_caller]
    pub fn max(self, other: impl IntoValue<Tile<T, R>>) -> Self {
        self.binary(BinaryOp::Max, other.into_value())
    }

    /// Each element limited to `low..=high`.
    #[track_caller]
    pub fn clamp(self, low: impl IntoValue<Tile<T, R>>, high: impl IntoValue<Tile<T, R>>) -> Self {
        self.max(low).min(high)
    }
}

impl<T: Signed, const R: usize> Tile<T, R> {
    /// The absolute value of each element; the smallest signed integer stays itself.
    #[track_caller]
    pub fn abs(self) -> Self {
        self.unary(UnaryOp::Abs)
    }
}

impl<T: Integer, const R: usize> Tile<T, R> {
    /// Each element divided by `divisor` and rounded up, for elements that are not negative and a positive divisor.
    #[track_caller]
    pub fn div_ceil(self, divisor: impl IntoValue<Tile<T, R>>) -> Self {
        let divisor = divisor.into_value();
        let one = Scalar::<T>::from_handle(recorder::with(DETACHED, |r| r.literal(Literal::wrap(T::TYPE, 1))));
        let raised: Self = self.binary(BinaryOp::Add, divisor);
        let raised: Self = raised.binary(BinaryOp::Subtract, one);
        raised.binary(BinaryOp::Divide, divisor)
    }
}

/// What can be used where a value of type `V` is expected: the value itself, or, for a tile, a plain Rust number.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be used where `{V}` is expected")]
pub trait IntoValue<V> {
    /// The value.
    fn into_value(self) -> V;
}

#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> IntoValue<Tile<T, R>> for Tile<T, R> {
    fn into_value(self) -> Tile<T, R> {
        self
    }
}

/// A plain number stands for the tile of rank 0 whose shape then broadcasts; the rank is what the context expects.
#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> IntoValue<Tile<T, R>> for T {
    fn into_value(self) -> Tile<T, R> {
        Tile::from_handle(recorder::with(DETACHED, |r| r.literal(Literal::new(self))))
    }
}
