//! Functions of each element of a tile.
//!
//! [`crate::arithmetic`] is what they compute, to the bit and on every device.

use super::compare;
use super::recorder::{self, DETACHED};
use super::tile::{Operand, Scalar, Tile};
use crate::arithmetic;
use crate::element::{Element, ElementType, Float, Integer, Number, Signed};
use crate::ir::{BinaryOp, CompareOp, Expression, Handle, Literal, Span, Type, UnaryOp};

/// Of numbers.
impl<T: Element, const R: usize> Tile<T, R> {
    /// The smaller of each pair of elements; of a NaN and a number, the number, as Rust's `min`. -0 is smaller than +0.
    ///
    /// [`Tile::minimum`] is NaN where an operand is.
    #[track_caller]
    pub fn min(self, other: impl Operand<T, R>) -> Self
    where
        T: Number,
    {
        self.combine(BinaryOp::Min, other.into_operand())
    }

    /// The larger of each pair of elements; of a NaN and a number, the number, as Rust's `max`. +0 is larger than -0.
    ///
    /// [`Tile::maximum`] is NaN where an operand is.
    #[track_caller]
    pub fn max(self, other: impl Operand<T, R>) -> Self
    where
        T: Number,
    {
        self.combine(BinaryOp::Max, other.into_operand())
    }

    /// The smaller of each pair of elements; NaN if one of them is. -0 is smaller than +0.
    #[track_caller]
    pub fn minimum(self, other: impl Operand<T, R>) -> Self
    where
        T: Number,
    {
        let op = if T::TYPE.is_float() {
            BinaryOp::Minimum
        } else {
            BinaryOp::Min
        };
        self.combine(op, other.into_operand())
    }

    /// The larger of each pair of elements; NaN if one of them is. +0 is larger than -0.
    #[track_caller]
    pub fn maximum(self, other: impl Operand<T, R>) -> Self
    where
        T: Number,
    {
        let op = if T::TYPE.is_float() {
            BinaryOp::Maximum
        } else {
            BinaryOp::Max
        };
        self.combine(op, other.into_operand())
    }

    /// Each element limited to `low..=high`; `high` where the limits are the wrong way round. NaN stays NaN.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// #[kernel(grid = [out.extent(0)])]
    /// fn limited(out: &mut Tensor<f32, 2>, x: &Tensor<f32, 2>, limit: &Tensor<f32, 1>) {
    ///     let row = program_id(0);
    ///     let i = arange(out.extent(1));
    ///     // One limit for the row, a scalar, beside a tile.
    ///     let most = limit.load([row]);
    ///     out.store([row, i], x.load([row, i]).clamp(-most, most));
    /// }
    /// ```
    #[track_caller]
    pub fn clamp(self, low: impl Operand<T, R>, high: impl Operand<T, R>) -> Self
    where
        T: Number,
    {
        self.maximum(low).minimum(high)
    }

    /// The absolute value of each element; the smallest signed integer stays itself, and NaN only loses its sign.
    #[track_caller]
    pub fn abs(self) -> Self
    where
        T: Signed,
    {
        self.unary(UnaryOp::Abs)
    }
}

/// Of integers.
impl<T: Element, const R: usize> Tile<T, R> {
    /// The high half of each product: what `*` leaves off.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// Each of some random numbers as one of `n`.
    /// #[kernel(grid = [1])]
    /// fn draw(out: &mut Tensor<u32, 1>, random: &Tensor<u32, 1>, n: u32) {
    ///     let i = arange(random.extent(0));
    ///     out.store([i], random.load([i]).mul_high(n));
    /// }
    /// ```
    #[track_caller]
    pub fn mul_high(self, other: impl Operand<T, R>) -> Self
    where
        T: Integer,
    {
        self.combine(BinaryOp::MultiplyHigh, other.into_operand())
    }

    /// How many bits of each element are 1.
    #[track_caller]
    pub fn count_ones(self) -> Self
    where
        T: Integer,
    {
        self.unary(UnaryOp::CountOnes)
    }

    /// How many bits above its highest 1 each element has; all of its bits if it is 0.
    #[track_caller]
    pub fn leading_zeros(self) -> Self
    where
        T: Integer,
    {
        self.unary(UnaryOp::LeadingZeros)
    }

    /// How many bits below its lowest 1 each element has; all of its bits if it is 0.
    #[track_caller]
    pub fn trailing_zeros(self) -> Self
    where
        T: Integer,
    {
        self.unary(UnaryOp::TrailingZeros)
    }

    /// Each element divided by `divisor` and rounded up, for elements that are not negative and a positive divisor. Of 64-bit
    /// integers, an element and the divisor add up to no more than the type holds.
    #[track_caller]
    pub fn div_ceil(self, divisor: impl Operand<T, R>) -> Self
    where
        T: Integer,
    {
        self.cover(divisor.into_operand())
    }

    /// [`Tile::div_ceil`], by a divisor of any rank.
    #[track_caller]
    pub(super) fn cover(self, divisor: Handle<Expression>) -> Self
    where
        T: Integer,
    {
        if T::TYPE.size() == 8 {
            return self.raised_and_divided(divisor);
        }
        // In a type that holds the sum.
        let span = Span::here();
        let divisor = recorder::with(DETACHED, |r| {
            let to = ElementType::I64;
            let ty = r.ty(divisor).with_element(to);
            r.emit(Expression::Cast { value: divisor, to }, ty, span)
        });
        self.cast::<i64>().raised_and_divided(divisor).cast::<T>()
    }

    #[track_caller]
    fn raised_and_divided(self, divisor: Handle<Expression>) -> Self {
        let one = recorder::with(DETACHED, |r| r.literal(Literal::wrap(T::TYPE, 1)));
        let raised: Self = self.combine(BinaryOp::Add, divisor);
        let raised: Self = raised.combine(BinaryOp::Subtract, one);
        raised.combine(BinaryOp::Divide, divisor)
    }
}

/// Of floats. f16 and bf16 are computed in f32 and rounded.
impl<T: Element, const R: usize> Tile<T, R> {
    /// The largest integral value that is not larger.
    #[track_caller]
    pub fn floor(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Floor)
    }

    /// The smallest integral value that is not smaller.
    #[track_caller]
    pub fn ceil(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Ceil)
    }

    /// The nearest integral value; of two that are equally near, the even one: 2.5 becomes 2.
    #[track_caller]
    pub fn round_ties_even(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Round)
    }

    /// The integral part.
    #[track_caller]
    pub fn trunc(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Trunc)
    }

    /// The square root, exactly rounded; NaN below zero.
    #[track_caller]
    pub fn sqrt(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Sqrt)
    }

    /// `1 / x.sqrt()`, each exactly rounded: within 1.5 units in the last place of the true value.
    #[track_caller]
    pub fn rsqrt(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Rsqrt)
    }

    /// e to the power of each element, within one unit in the last place.
    #[track_caller]
    pub fn exp(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Exp)
    }

    /// 2 to the power of each element, within one unit in the last place.
    #[track_caller]
    pub fn exp2(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Exp2)
    }

    /// The natural logarithm, within one unit in the last place; NaN below zero.
    #[doc(alias = "log")]
    #[track_caller]
    pub fn ln(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Ln)
    }

    /// The logarithm to base 2, within one unit in the last place; NaN below zero.
    #[track_caller]
    pub fn log2(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Log2)
    }

    /// The sine of each element in radians, however large, within 1.5 units in the last place; NaN of infinities.
    #[track_caller]
    pub fn sin(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Sin)
    }

    /// The cosine of each element in radians, however large, within 1.5 units in the last place; NaN of infinities.
    #[track_caller]
    pub fn cos(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Cos)
    }

    /// The hyperbolic tangent, within one unit in the last place.
    #[track_caller]
    pub fn tanh(self) -> Self
    where
        T: Float,
    {
        self.unary(UnaryOp::Tanh)
    }

    /// Each element to the power of `exponent`, within one unit in the last place.
    ///
    /// As C's `pow`: of a negative base by an exponent that is no integer it is NaN; 1 to any power, and anything to the
    /// power of 0, is 1, NaN included.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// /// The frequencies of a rotary embedding: base^(-2 i / n).
    /// #[kernel(grid = [1])]
    /// fn frequencies(out: &mut Tensor<f32, 1>, base: f32) {
    ///     let i = arange(out.extent(0));
    ///     let exponent = -(i.cast::<f32>() / out.extent(0).cast::<f32>());
    ///     out.store([i], full([out.extent(0)], base).powf(exponent));
    /// }
    /// ```
    #[doc(alias = "pow")]
    #[doc(alias = "powi")]
    #[track_caller]
    pub fn powf(self, exponent: impl Operand<T, R>) -> Self
    where
        T: Float,
    {
        self.combine(BinaryOp::Power, exponent.into_operand())
    }

    /// `self * factor + addend`, rounded once; f16 and bf16 once in f32 and once more to 16 bits. Written out, `*` and `+`
    /// round one after the other.
    ///
    /// ```
    /// # use tilewright_dsl::{kernel, lang::*};
    /// #[kernel(grid = [1])]
    /// fn scaled(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>, scale: f32) {
    ///     let i = arange(x.extent(0));
    ///     out.store([i], x.load([i]).mul_add(scale, 0.5));
    /// }
    /// ```
    #[doc(alias = "fma")]
    #[track_caller]
    pub fn mul_add(self, factor: impl Operand<T, R>, addend: impl Operand<T, R>) -> Self
    where
        T: Float,
    {
        let span = Span::here();
        let handles = [self.handle, factor.into_operand(), addend.into_operand()];
        let handle = recorder::with(DETACHED, |r| {
            let ([left, right, addend], shape) = r.unify(handles, "`mul_add`", span);
            let ty = Type {
                element: T::TYPE,
                shape,
            };
            r.emit(Expression::MulAdd { left, right, addend }, ty, span)
        });
        Tile::from_handle(handle)
    }

    /// Whether each element is NaN.
    #[track_caller]
    pub fn is_nan(self) -> Tile<bool, R>
    where
        T: Float,
    {
        compare::record(CompareOp::NotEqual, self, self)
    }

    /// Whether each element is neither infinite nor NaN.
    #[track_caller]
    pub fn is_finite(self) -> Tile<bool, R>
    where
        T: Float,
    {
        let infinity = arithmetic::cast(Literal::new(f32::INFINITY), T::TYPE).unwrap_or(Literal::zero(T::TYPE));
        let infinity = Scalar::<T>::from_handle(recorder::with(DETACHED, |r| r.literal(infinity)));
        compare::record(CompareOp::Less, self.unary(UnaryOp::Abs), infinity)
    }
}
