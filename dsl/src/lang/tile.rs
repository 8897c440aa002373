//! Tiles and scalars: the values of the language.

use std::marker::PhantomData;

use super::recorder::{self, DETACHED};
use crate::element::Element;
use crate::ir::{BinaryOp, Expression, Handle, Literal, Shape, Span, Type, UnaryOp};

/// A block of elements that one program computes with, of rank `R` (0 to 3) and any extents.
///
/// Operators work element by element; operands of different shapes broadcast as in NumPy: axes are aligned from the
/// innermost, and an axis of extent 1 stretches.
///
/// Integer arithmetic wraps; integer division by zero gives 0. Floats are computed as IEEE says, with subnormals and to
/// nearest even; f16 and bf16 in f32, rounded after every operation. Every NaN that an operation gives is the same one.
/// All of it has the same bits on every device.
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
        self.combine(op, other.handle)
    }

    /// As [`Tile::binary`], of an operand whose rank is not stated.
    #[track_caller]
    pub(super) fn combine<const O: usize>(self, op: BinaryOp, other: Handle<Expression>) -> Tile<T, O> {
        let span = Span::here();
        let handle = recorder::with(DETACHED, |r| {
            let ([left, right], shape) = r.unify([self.handle, other], &format!("`{}`", op.name()), span);
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
                Some("axes are aligned from the innermost; extents must be equal, or 1"),
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

/// What can be used where a value of type `V` is expected: the value itself, or, for a tile, a plain Rust number.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used where `{V}` is expected",
    note = "element type and rank have to be these; cast the value: `value as f32`",
    note = "a variable that begins with a literal can be declared with its type: `let mut sum: bf16 = 0.0`"
)]
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

/// What can stand beside a tile of rank `R` in a method: a tile of at most that rank, which broadcasts, or a plain number.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand beside a tile of `{T}` of rank {R}",
    note = "both need one element type, and the argument has at most the tile's rank; cast one of them: `.cast::<{T}>()`"
)]
pub trait Operand<T: Element, const R: usize> {
    #[doc(hidden)]
    fn into_operand(self) -> Handle<Expression>;
}

#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> Operand<T, R> for T {
    fn into_operand(self) -> Handle<Expression> {
        recorder::with(DETACHED, |r| r.literal(Literal::new(self)))
    }
}

#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> Operand<T, R> for Scalar<T> {
    fn into_operand(self) -> Handle<Expression> {
        self.handle
    }
}

macro_rules! operands {
    ($($own:literal beside $rank:literal),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: Element> Operand<T, $rank> for Tile<T, $own> {
            fn into_operand(self) -> Handle<Expression> {
                self.handle
            }
        }
    )*};
}
operands!(1 beside 1, 1 beside 2, 2 beside 2, 1 beside 3, 2 beside 3, 3 beside 3);
