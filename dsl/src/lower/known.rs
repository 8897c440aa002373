//! What a kernel's text says of floats, so that what is computed of them takes fewer operations, with the same bits.

use super::point::Point;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{BinaryOp, Combine, Expression, Handle, Literal, Reduction, UnaryOp};
use crate::thread::Use;

/// Dividends from this on have quotients by divisors between these that multiplying makes: nothing on the way is too small or too large.
const LEAST_DIVIDEND: f32 = f32::from_bits((127 - 80) << 23);
const DIVISORS: [f32; 2] = [1.0, f32::from_bits((127 + 44) << 23)];

impl Lower<'_> {
    /// An operation on elements at a point, if what is known of them makes it take less.
    pub(super) fn shortened(&mut self, operation: &Expression, point: &Point) -> Result<Option<Use>, LowerError> {
        match *operation {
            Expression::Unary {
                op: op @ (UnaryOp::Exp | UnaryOp::Exp2),
                value,
            } if self.is_nonpositive(value) => {
                let value = self.pull(value, point)?;
                Ok(Some(self.b.element_exponential_of_nonpositive(op, value)))
            }
            Expression::Binary {
                op: BinaryOp::Divide,
                left,
                right,
            } => match self.divisor_to_multiply_by(left, right) {
                Some(divisor) => {
                    let dividend = self.pull(left, point)?;
                    Ok(Some(self.b.quotient_of_large(dividend, divisor)))
                }
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Whether no element of a tile is positive: what is left of each when the largest of its line is taken away.
    fn is_nonpositive(&self, value: Handle<Expression>) -> bool {
        let kernel = self.kernel;
        let Expression::Binary {
            op: BinaryOp::Subtract,
            left,
            right,
        } = kernel.expressions[value]
        else {
            return false;
        };
        let line = match kernel.expressions[right] {
            Expression::Broadcast { value, .. } => value,
            _ => right,
        };
        let reduced = match kernel.expressions[line] {
            Expression::Reshape { value, .. } => value,
            _ => line,
        };
        let Expression::Reduce {
            value: of,
            axis,
            reduction: Reduction::Combine(Combine::Operator(BinaryOp::Max | BinaryOp::Maximum)),
        } = kernel.expressions[reduced]
        else {
            return false;
        };
        if of != left {
            return false;
        }
        // Each element meets what its own line was reduced to.
        let (own, line) = (kernel.ty(left).shape, kernel.ty(line).shape);
        let mut kept = own.extents().to_vec();
        kept[usize::from(axis)] = 1;
        line.elements() == 1 || line.extents() == kept
    }

    /// The divisor of a quotient that multiplying makes: a positive literal, of what is large enough and no NaN.
    fn divisor_to_multiply_by(&self, dividend: Handle<Expression>, divisor: Handle<Expression>) -> Option<f32> {
        let kernel = self.kernel;
        let Expression::Binary {
            op: BinaryOp::Max,
            left,
            right,
        } = kernel.expressions[dividend]
        else {
            return None;
        };
        let least = self.literal_of(left).or_else(|| self.literal_of(right))?;
        let divisor = self.literal_of(divisor)?;
        // Of a divisor of all ones the reciprocal is not near enough (Markstein).
        let all_ones = (1 << 23) - 1;
        let is_near = divisor.to_bits() & all_ones != all_ones;
        (least >= LEAST_DIVIDEND && (DIVISORS[0]..=DIVISORS[1]).contains(&divisor) && is_near).then_some(divisor)
    }

    /// The f32 that is all elements of a tile.
    fn literal_of(&self, mut value: Handle<Expression>) -> Option<f32> {
        while let Expression::Broadcast { value: of, .. } | Expression::Reshape { value: of, .. } =
            self.kernel.expressions[value]
        {
            value = of;
        }
        match self.kernel.expressions[value] {
            Expression::Literal(Literal {
                element: ElementType::F32,
                bits,
            }) => Some(f32::from_bits(bits as u32)),
            _ => None,
        }
    }
}
