//! Tiles rearranged: the same elements at other places.

use super::broadcast::{WithAxis, WithRoom};
use super::create::Extent;
use super::recorder::{self, DETACHED, Recorder};
use super::tile::Tile;
use crate::element::{Element, Integer};
use crate::ir::{Expression, Handle, Shape, Span, Type};

/// What can be joined with a tile of `T` of rank `R`: another one of the same type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be joined with a tile of `{T}` of rank {R}",
    note = "both need one element type and one rank: cast one of them, `.cast::<{T}>()`, or give it another axis, \
            `.expand_dims(0)`"
)]
pub trait JoinedWith<T: Element, const R: usize> {
    #[doc(hidden)]
    fn joined(self) -> Handle<Expression>;
}

#[diagnostic::do_not_recommend]
impl<T: Element, const R: usize> JoinedWith<T, R> for Tile<T, R> {
    fn joined(self) -> Handle<Expression> {
        self.handle
    }
}

/// What can choose elements of a tile of rank `R`: a tile of integers of that rank.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot choose elements of a tile of rank {R}",
    note = "they are chosen by a tile of integers of the same rank; of memory, by any index: `tensor.load([index])`"
)]
pub trait TakenBy<const R: usize> {
    #[doc(hidden)]
    #[track_caller]
    fn indices(self) -> Handle<Expression>;
}

#[diagnostic::do_not_recommend]
impl<I: Integer, const R: usize> TakenBy<R> for Tile<I, R> {
    #[track_caller]
    fn indices(self) -> Handle<Expression> {
        self.saturating_cast::<i64>().handle
    }
}

/// Of all elements, at other places.
impl<T: Element, const R: usize> Tile<T, R> {
    /// The tile with its axes in another order: axis `i` of the result is axis `axes[i]` of this tile.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// #[kernel(grid = [1])]
    /// fn planes_last(out: &mut Tensor<f32, 3>, x: &Tensor<f32, 3>) {
    ///     let (i, j, k) = (arange(x.extent(0)), arange(x.extent(1)), arange(x.extent(2)));
    ///     let tile = x.load([i.expand_dims(1).expand_dims(2), j.expand_dims(1), k]);
    ///     out.store([j.expand_dims(1).expand_dims(2), k.expand_dims(1), i], tile.permute([1, 2, 0]));
    /// }
    /// ```
    #[track_caller]
    pub fn permute(self, axes: [usize; R]) -> Self {
        self.rearranged(|r, ty, span| {
            let mut sorted = axes;
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..R) {
                let message = format!("`permute({axes:?})` of a tile of rank {R}");
                r.fail(span, message, Some("name each axis once, from 0"));
                return None;
            }
            let extents: Vec<u32> = axes.iter().map(|&axis| ty.shape.extents()[axis]).collect();
            Some((
                Expression::Permute {
                    value: self.handle,
                    axes: axes.iter().map(|&axis| axis as u8).collect(),
                },
                Shape::new(&extents)?,
            ))
        })
    }

    /// `extent` elements of an axis from element `start` on; none if it is 0.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// Rotates halves of a row: `out = [x[n/2..], x[..n/2]]`.
    /// #[kernel(grid = [out.extent(0)])]
    /// fn swap_halves<const HALF: usize>(out: &mut Tensor<f32, 2>, x: &Tensor<f32, 2>) {
    ///     let row = program_id(0);
    ///     let cols = arange(2 * HALF);
    ///     let x = x.load([row, cols]);
    ///     let swapped = x.slice(0, HALF, HALF).concatenate(x.slice(0, 0, HALF), 0);
    ///     out.store([row, cols], swapped);
    /// }
    /// ```
    #[track_caller]
    pub fn slice(self, axis: usize, start: usize, extent: impl Extent) -> Self {
        let extent = extent.extent(Span::here()).unwrap_or(1);
        self.sliced(axis, start, 1, extent)
    }

    /// The elements of an axis in reverse order.
    #[track_caller]
    pub fn flip(self, axis: usize) -> Self {
        let span = Span::here();
        let extent = recorder::with(1, |r| {
            let axis = r.axis(axis, R, "flip", span);
            r.ty(self.handle)
                .shape
                .extents()
                .get(axis as usize)
                .copied()
                .unwrap_or(1)
        });
        self.sliced(axis, (extent as usize).saturating_sub(1), -1, extent)
    }

    #[track_caller]
    pub(super) fn sliced(self, axis: usize, start: usize, step: i32, extent: u32) -> Self {
        self.rearranged(|r, ty, span| {
            let axis = r.axis(axis, R, "slice", span);
            let mut extents = ty.shape.extents().to_vec();
            let own = std::mem::replace(extents.get_mut(axis as usize)?, extent);
            let last = start as i64 + i64::from(step) * (i64::from(extent) - 1);
            let inside = match extent {
                0 => start <= own as usize,
                _ => start < own as usize && (0..i64::from(own)).contains(&last),
            };
            if !inside {
                let message = match extent {
                    0 => format!(
                        "no elements from {start} on of axis {axis} of a tile of shape {}",
                        ty.shape
                    ),
                    _ => format!(
                        "elements {start} to {last} of axis {axis} of a tile of shape {}",
                        ty.shape
                    ),
                };
                r.fail(span, message, Some("a slice stays inside its axis"));
                return None;
            }
            Some((
                Expression::Slice {
                    value: self.handle,
                    axis,
                    start: start as u32,
                    step,
                    extent,
                },
                Shape::new(&extents)?,
            ))
        })
    }

    /// The elements of this tile and then those of `other` along an axis; the other extents are equal.
    #[track_caller]
    pub fn concatenate(self, other: impl JoinedWith<T, R>, axis: usize) -> Self {
        let other = other.joined();
        self.rearranged(|r, ty, span| {
            let axis = r.axis(axis, R, "concatenate", span);
            let beside = r.ty(other).shape;
            let mut extents = ty.shape.extents().to_vec();
            let along = extents.get_mut(axis as usize)?;
            // A sum that wraps would be over the limit of a tile as well.
            *along = along.saturating_add(*beside.extents().get(axis as usize)?);
            let equal = (0..R).all(|a| a == axis as usize || extents[a] == beside.extents()[a]);
            if !equal {
                let message = format!("`concatenate` of shapes {} and {beside} along axis {axis}", ty.shape);
                r.fail(span, message, Some("the extents of all other axes must be equal"));
                return None;
            }
            Some((
                Expression::Concatenate {
                    left: self.handle,
                    right: other,
                    axis,
                },
                Shape::new(&extents)?,
            ))
        })
    }

    /// Elements of an axis by index: on that axis element `i` of the result is element `index[i]` of this tile, the nearest
    /// there is if there is none, and zero if the axis has no elements. Along the other axes `index`, a tile of integers,
    /// has this tile's extents.
    ///
    /// Indices of memory need no tile: `tensor.load([index])`.
    #[track_caller]
    pub fn take(self, axis: usize, index: impl TakenBy<R>) -> Self {
        let index = index.indices();
        self.rearranged(|r, ty, span| {
            let axis = r.axis(axis, R, "take", span);
            let by = r.ty(index).shape;
            let equal = (0..R).all(|a| a == axis as usize || ty.shape.extents()[a] == by.extents()[a]);
            if !equal {
                let message = format!(
                    "`take` along axis {axis} from shape {} by indices of shape {by}",
                    ty.shape
                );
                r.fail(span, message, Some("the extents of all other axes must be equal"));
                return None;
            }
            Some((
                Expression::Take {
                    value: self.handle,
                    index,
                    axis,
                },
                by,
            ))
        })
    }

    /// Two tiles of one shape side by side on a new innermost axis of extent 2.
    #[track_caller]
    pub fn join(self, other: impl JoinedWith<T, R>) -> <Self as WithRoom>::With
    where
        Self: WithRoom,
    {
        let other = other.joined();
        let span = Span::here();
        let handle = recorder::with(DETACHED, |r| {
            let ([left, right], shape) = r.unify([self.handle, other], "`join`", span);
            let mut extents = shape.extents().to_vec();
            extents.push(1);
            let column = |value, r: &mut Recorder| {
                let shape = Shape::new(&extents).unwrap_or(shape);
                r.emit(
                    Expression::Reshape { value, shape },
                    r.ty(value).with_shape(shape),
                    span,
                )
            };
            let (left, right) = (column(left, r), column(right, r));
            if let Some(last) = extents.last_mut() {
                *last = 2;
            }
            let ty = r.ty(left).with_shape(Shape::new(&extents).unwrap_or(shape));
            let axis = R as u8;
            r.emit(Expression::Concatenate { left, right, axis }, ty, span)
        });
        Self::with(handle)
    }

    /// The two halves of an innermost axis of extent 2: the inverse of [`Tile::join`].
    #[track_caller]
    #[allow(clippy::type_complexity)]
    pub fn split(self) -> (<Self as WithAxis>::Without<T>, <Self as WithAxis>::Without<T>)
    where
        Self: WithAxis,
    {
        let span = Span::here();
        let half = |start: u32| {
            let handle = recorder::with(DETACHED, |r| {
                let ty = r.ty(self.handle);
                if ty.shape.innermost() != 2 {
                    let message = format!("`split` of a tile of shape {}", ty.shape);
                    r.fail(
                        span,
                        message,
                        Some("its innermost axis must have extent 2; `reshape` first"),
                    );
                    return self.handle;
                }
                let mut extents = ty.shape.extents().to_vec();
                let axis = R as u8 - 1;
                extents[R - 1] = 1;
                let column = ty.with_shape(Shape::new(&extents).unwrap_or(ty.shape));
                let slice = Expression::Slice {
                    value: self.handle,
                    axis,
                    start,
                    step: 1,
                    extent: 1,
                };
                let value = r.emit(slice, column, span);
                extents.pop();
                let shape = Shape::new(&extents).unwrap_or(ty.shape);
                r.emit(Expression::Reshape { value, shape }, ty.with_shape(shape), span)
            });
            Self::without(handle)
        };
        (half(0), half(1))
    }

    /// Records what `make` gives for this tile, unless it has kept a mistake.
    #[track_caller]
    fn rearranged(self, make: impl FnOnce(&mut Recorder, Type, Span) -> Option<(Expression, Shape)>) -> Self {
        let span = Span::here();
        let handle: Handle<Expression> = recorder::with(DETACHED, |r| {
            let ty = r.ty(self.handle);
            if ty.shape.rank() != R {
                // A mistake before has been kept.
                return self.handle;
            }
            match make(r, ty, span) {
                Some((expression, shape)) => r.emit(expression, ty.with_shape(shape), span),
                None => self.handle,
            }
        });
        Tile::from_handle(handle)
    }
}

impl<T: Element> Tile<T, 2> {
    /// The tile with its two axes exchanged.
    #[track_caller]
    pub fn transpose(self) -> Self {
        self.permute([1, 0])
    }
}
