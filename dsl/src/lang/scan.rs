//! Scans along an axis: each element combined with all before it.

use super::create::full_like;
use super::recorder::{self, DETACHED};
use super::tile::{IntoValue, Scalar, Tile};
use crate::element::{Element, Number};
use crate::ir::{BinaryOp, Combine, Expression, Literal, Span};

/// What an author's closure does with two elements.
pub(super) fn function<T: Element>(
    combine: impl FnOnce(Scalar<T>, Scalar<T>) -> Scalar<T>,
    span: Span,
) -> Option<Combine> {
    let combine = |left, right| combine(Tile::from_handle(left), Tile::from_handle(right)).handle;
    recorder::function(T::TYPE, span, combine).map(Combine::Function)
}

/// Of each element and all before it along an axis. The order in which they are combined depends on the extent alone, so
/// results are the same on every device and with every schedule; [`Expression::Scan`] states it.
impl<T: Element, const R: usize> Tile<T, R> {
    /// The sum of each element and all before it along an axis. Integers wrap; f16 and bf16 round after every addition, so
    /// cast to f32 first.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// Where each request's tokens begin, and how many there are.
    /// #[kernel(grid = [1])]
    /// fn starts(starts: &mut Tensor<i64, 1>, total: &mut Tensor<i64, 1>, counts: &Tensor<i64, 1>) {
    ///     let i = arange(counts.extent(0));
    ///     let counts = counts.load([i]);
    ///     starts.store([i], counts.cumulative_sum_exclusive(0));
    ///     total.store([0], counts.sum_axis(0));
    /// }
    /// ```
    #[track_caller]
    pub fn cumulative_sum(self, axis: usize) -> Self
    where
        T: Number,
    {
        self.scanned(axis, Some(Combine::Operator(BinaryOp::Add)), "cumulative_sum")
    }

    /// The sum of all elements before each along an axis; 0 for the first.
    #[track_caller]
    pub fn cumulative_sum_exclusive(self, axis: usize) -> Self
    where
        T: Number,
    {
        let zero = Tile::from_handle(recorder::with(DETACHED, |r| r.literal(Literal::zero(T::TYPE))));
        let sum = Some(Combine::Operator(BinaryOp::Add));
        self.scanned(axis, sum, "cumulative_sum_exclusive").shifted(axis, zero)
    }

    /// The largest of each element and all before it along an axis; of floats, NaN only while all are NaN.
    #[track_caller]
    pub fn cumulative_max(self, axis: usize) -> Self
    where
        T: Number,
    {
        self.scanned(axis, Some(Combine::Operator(BinaryOp::Max)), "cumulative_max")
    }

    /// Each element combined with all before it along an axis by a function, which must be associative: it computes with
    /// its arguments and constants only.
    #[track_caller]
    pub fn scan_axis(self, axis: usize, combine: impl FnOnce(Scalar<T>, Scalar<T>) -> Scalar<T>) -> Self {
        let combine = function(combine, Span::here());
        self.scanned(axis, combine, "scan_axis")
    }

    /// All elements before each combined along an axis; `identity` for the first.
    #[track_caller]
    pub fn scan_axis_exclusive(
        self,
        axis: usize,
        identity: impl IntoValue<Scalar<T>>,
        combine: impl FnOnce(Scalar<T>, Scalar<T>) -> Scalar<T>,
    ) -> Self {
        let combine = function(combine, Span::here());
        self.scanned(axis, combine, "scan_axis_exclusive")
            .shifted(axis, identity.into_value())
    }

    #[track_caller]
    fn scanned(self, axis: usize, combine: Option<Combine>, what: &str) -> Self {
        let span = Span::here();
        let handle = recorder::with(DETACHED, |r| {
            let ty = r.ty(self.handle);
            let axis = r.axis(axis, R, what, span);
            match combine {
                Some(combine) if ty.shape.rank() > axis as usize => {
                    let value = self.handle;
                    r.emit(Expression::Scan { value, axis, combine }, ty, span)
                }
                _ => self.handle,
            }
        });
        Tile::from_handle(handle)
    }

    /// The tile moved on by one along an axis, with `first` in front.
    #[track_caller]
    fn shifted(self, axis: usize, first: Scalar<T>) -> Self {
        let span = Span::here();
        let shape = recorder::with(None, |r| {
            let axis = r.axis(axis, R, "an exclusive scan", span) as usize;
            r.ty(self.handle)
                .shape
                .with_extent(axis, 1)
                .zip(r.ty(self.handle).shape.extents().get(axis).copied())
        });
        let Some((shape, extent @ 1..)) = shape else {
            return self;
        };
        let first: Self = full_like(shape, first, span);
        if extent == 1 {
            return first;
        }
        first.concatenate(self.sliced(axis, 0, 1, extent - 1), axis)
    }
}
