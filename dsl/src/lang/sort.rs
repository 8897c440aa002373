//! Order: sorting, the largest elements, and counting.

use super::create::Extent;
use super::recorder::{self, DETACHED};
use super::tile::Tile;
use crate::element::{Element, ElementType, Integer, Number};
use crate::ir::{Expression, Handle, Shape, Span, Type};

/// Of the elements along an axis, in order. NaN counts as the largest number, -0 equals +0, and equal elements stay in the
/// order of their indices, so the result is the same on every device.
impl<T: Element, const R: usize> Tile<T, R> {
    /// The indices that put an axis into ascending order.
    #[track_caller]
    pub fn argsort_axis(self, axis: usize) -> Tile<i64, R>
    where
        T: Number,
    {
        self.order(axis, false, "argsort_axis")
    }

    /// The indices that put an axis into descending order.
    #[track_caller]
    pub fn argsort_descending_axis(self, axis: usize) -> Tile<i64, R>
    where
        T: Number,
    {
        self.order(axis, true, "argsort_descending_axis")
    }

    /// The elements of an axis in ascending order.
    #[track_caller]
    pub fn sort_axis(self, axis: usize) -> Self
    where
        T: Number,
    {
        self.take(axis, self.order(axis, false, "sort_axis"))
    }

    /// The elements of an axis in descending order.
    #[track_caller]
    pub fn sort_descending_axis(self, axis: usize) -> Self
    where
        T: Number,
    {
        self.take(axis, self.order(axis, true, "sort_descending_axis"))
    }

    /// The `k` largest elements of an axis, largest first, and their indices.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// The experts that each token goes to.
    /// #[kernel(grid = [ids.extent(0)])]
    /// fn route(ids: &mut Tensor<i32, 2>, weights: &mut Tensor<f32, 2>, scores: &Tensor<f32, 2>) {
    ///     let row = program_id(0);
    ///     let scores = scores.load([row, arange(scores.extent(1))]);
    ///     let (weight, id) = scores.top_k(0, ids.extent(1));
    ///     let k = arange(ids.extent(1));
    ///     ids.store([row, k], id.cast::<i32>());
    ///     weights.store([row, k], weight);
    /// }
    /// ```
    #[track_caller]
    pub fn top_k(self, axis: usize, k: impl Extent) -> (Self, Tile<i64, R>)
    where
        T: Number,
    {
        let span = Span::here();
        let k = k.extent(span).unwrap_or(1);
        let order = self.order(axis, true, "top_k");
        recorder::with((), |r| {
            let shape = r.ty(self.handle).shape;
            if shape.extents().get(axis).is_some_and(|&extent| k > extent) {
                let message = format!("`top_k` of {k} elements of axis {axis} of a tile of shape {shape}");
                r.fail(span, message, Some("`k` is at most the extent of the axis"));
            }
        });
        let index = order.sliced(axis, 0, 1, k);
        (self.take(axis, index), index)
    }

    #[track_caller]
    fn order(self, axis: usize, descending: bool, what: &str) -> Tile<i64, R>
    where
        T: Number,
    {
        let span = Span::here();
        let handle = recorder::with(DETACHED, |r| {
            let ty = r.ty(self.handle);
            let axis = r.axis(axis, R, what, span);
            if ty.shape.rank() != R || R == 0 {
                return self.handle;
            }
            let sort = Expression::ArgSort {
                value: self.handle,
                axis,
                descending,
            };
            r.emit(sort, ty.with_element(ElementType::I64), span)
        });
        Tile::from_handle(handle)
    }
}

/// Of integers, counted.
impl<T: Element, const R: usize> Tile<T, R> {
    /// How often each of `0, 1, …, bins - 1` is an element; other values count for nothing.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// How many tokens go to each expert; -1 goes to none.
    /// #[kernel(grid = [1])]
    /// fn load_of_experts(loads: &mut Tensor<i32, 1>, ids: &Tensor<i32, 1>) {
    ///     let ids = ids.load([arange(ids.extent(0))]);
    ///     loads.store([arange(loads.extent(0))], ids.histogram(loads.extent(0)));
    /// }
    /// ```
    #[track_caller]
    pub fn histogram(self, bins: impl Extent) -> Tile<i32, 1>
    where
        T: Integer,
    {
        self.counted(bins, None)
    }

    /// As [`Tile::histogram`], of the elements where `mask` is true.
    #[track_caller]
    pub fn histogram_where(self, bins: impl Extent, mask: Tile<bool, R>) -> Tile<i32, 1>
    where
        T: Integer,
    {
        self.counted(bins, Some(mask.handle))
    }

    #[track_caller]
    fn counted(self, bins: impl Extent, mask: Option<Handle<Expression>>) -> Tile<i32, 1>
    where
        T: Integer,
    {
        let span = Span::here();
        let bins = bins.extent(span).unwrap_or(1);
        let handle = recorder::with(DETACHED, |r| {
            let shape = r.ty(self.handle).shape;
            if shape.rank() == 0 {
                r.fail(span, "`histogram` of a scalar", Some("count the elements of a tile"));
                return self.handle;
            }
            let mask = mask.and_then(|mask| {
                let own = r.ty(mask).shape;
                if own.broadcast(shape) != Some(shape) {
                    let message = format!("a mask of shape {own} for a tile of shape {shape}");
                    r.fail(span, message, Some("the mask must broadcast to the shape of the tile"));
                    return None;
                }
                Some(r.stretch(mask, shape, span))
            });
            let ty = Type {
                element: ElementType::I32,
                shape: Shape::new(&[bins]).unwrap_or(Shape::SCALAR),
            };
            let value = self.handle;
            r.emit(Expression::Histogram { value, mask, bins }, ty, span)
        });
        Tile::from_handle(handle)
    }
}
