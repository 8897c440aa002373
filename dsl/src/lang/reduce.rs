//! Reductions along an axis.

use super::broadcast::WithAxis;
use super::recorder::{self, DETACHED};
use super::tile::{Scalar, Tile};
use crate::element::{Element, Number};
use crate::ir::{BinaryOp, Combine, Expression, Reduction, Shape, Span};

/// A tile of one axis less.
type Reduced<T, const R: usize> = <Tile<T, R> as WithAxis>::Without<T>;

/// Of the elements along an axis, together. The order in which they are combined depends on the extent alone, so results
/// are the same on every device and with every schedule; [`Expression::Reduce`] states it.
///
/// Over an axis without elements each gives what would leave another element as it is: 0 of a sum, 1 of a product, of a
/// smallest (largest) element the largest (smallest) value of the type, which of floats is an infinity, `false` of
/// [`Tile::any_axis`] and `true` of [`Tile::all_axis`]. The index of the smallest or largest is 0 there, and of
/// [`Tile::reduce_axis`], whose function says nothing about it, the result is zero.
impl<T: Element, const R: usize> Tile<T, R> {
    /// The sum of the elements along an axis. Integers wrap; f16 and bf16 round after every addition, so cast to f32 first.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// The mean square of each row.
    /// #[kernel(grid = [out.extent(0)])]
    /// fn mean_square(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 2>) {
    ///     let row = program_id(0);
    ///     let x = src.load([row, arange(src.extent(1))]);
    ///     out.store([row], (x * x).sum_axis(0) / comptime(src.extent(1)) as f32);
    /// }
    /// ```
    #[track_caller]
    pub fn sum_axis(self, axis: usize) -> Reduced<T, R>
    where
        T: Number,
        Self: WithAxis,
    {
        self.reduced(axis, BinaryOp::Add, "sum_axis")
    }

    /// The product of the elements along an axis. Integers wrap.
    #[track_caller]
    pub fn product_axis(self, axis: usize) -> Reduced<T, R>
    where
        T: Number,
        Self: WithAxis,
    {
        self.reduced(axis, BinaryOp::Multiply, "product_axis")
    }

    /// The smallest element along an axis; of floats, NaN only if all are NaN.
    #[track_caller]
    pub fn min_axis(self, axis: usize) -> Reduced<T, R>
    where
        T: Number,
        Self: WithAxis,
    {
        self.reduced(axis, BinaryOp::Min, "min_axis")
    }

    /// The largest element along an axis; of floats, NaN only if all are NaN.
    #[track_caller]
    pub fn max_axis(self, axis: usize) -> Reduced<T, R>
    where
        T: Number,
        Self: WithAxis,
    {
        self.reduced(axis, BinaryOp::Max, "max_axis")
    }

    /// The index of the smallest element along an axis, the first of several; numbers come before NaN.
    #[track_caller]
    pub fn argmin_axis(self, axis: usize) -> <Self as WithAxis>::Without<i64>
    where
        T: Number,
        Self: WithAxis,
    {
        self.reduce_to::<i64>(axis, Some(Reduction::ArgMin), "argmin_axis")
    }

    /// The index of the largest element along an axis, the first of several; numbers come before NaN.
    #[track_caller]
    pub fn argmax_axis(self, axis: usize) -> <Self as WithAxis>::Without<i64>
    where
        T: Number,
        Self: WithAxis,
    {
        self.reduce_to::<i64>(axis, Some(Reduction::ArgMax), "argmax_axis")
    }

    /// The elements along an axis combined by a function of two of them, which must be associative: it computes with its
    /// arguments and constants only.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// The element of each row that is farthest from zero.
    /// #[kernel(grid = [out.extent(0)])]
    /// fn farthest(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 2>) {
    ///     let row = program_id(0);
    ///     let x = x.load([row, arange(x.extent(1))]);
    ///     out.store([row], x.reduce_axis(0, |a, b| select(a.abs() >= b.abs(), a, b)));
    /// }
    /// ```
    #[track_caller]
    pub fn reduce_axis(self, axis: usize, combine: impl FnOnce(Scalar<T>, Scalar<T>) -> Scalar<T>) -> Reduced<T, R>
    where
        Self: WithAxis,
    {
        let combine = super::scan::function(combine, Span::here());
        self.reduce_to(axis, combine.map(Reduction::Combine), "reduce_axis")
    }

    #[track_caller]
    fn reduced(self, axis: usize, op: BinaryOp, what: &str) -> Reduced<T, R>
    where
        Self: WithAxis,
    {
        self.reduce_to(axis, Some(Reduction::Combine(Combine::Operator(op))), what)
    }

    #[track_caller]
    fn reduce_to<U: Element>(
        self,
        axis: usize,
        reduction: Option<Reduction>,
        what: &str,
    ) -> <Self as WithAxis>::Without<U>
    where
        Self: WithAxis,
    {
        let span = Span::here();
        let handle = recorder::with(DETACHED, |r| {
            let ty = r.ty(self.handle);
            let axis = r.axis(axis, R, what, span);
            let mut extents = ty.shape.extents().to_vec();
            let (Some(reduction), false) = (reduction, extents.len() != R) else {
                return self.handle;
            };
            extents.remove(axis as usize);
            let ty = ty
                .with_element(U::TYPE)
                .with_shape(Shape::new(&extents).unwrap_or(Shape::SCALAR));
            let value = self.handle;
            r.emit(Expression::Reduce { value, axis, reduction }, ty, span)
        });
        Self::without(handle)
    }
}

/// Of conditions along an axis.
impl<const R: usize> Tile<bool, R> {
    /// Whether any element along an axis is true.
    #[track_caller]
    pub fn any_axis(self, axis: usize) -> Reduced<bool, R>
    where
        Self: WithAxis,
    {
        self.reduced(axis, BinaryOp::Or, "any_axis")
    }

    /// Whether all elements along an axis are true.
    #[track_caller]
    pub fn all_axis(self, axis: usize) -> Reduced<bool, R>
    where
        Self: WithAxis,
    {
        self.reduced(axis, BinaryOp::And, "all_axis")
    }

    /// How many elements along an axis are true.
    #[track_caller]
    pub fn count_axis(self, axis: usize) -> Reduced<i64, R>
    where
        Tile<i64, R>: WithAxis,
    {
        self.cast::<i64>().sum_axis(axis)
    }
}
