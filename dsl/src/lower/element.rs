//! Operations on elements: of places and conditions as indices, of everything else as `thread::elements` has them.

use super::point::Point;
use super::{Lower, LowerError};
use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, CompareOp, Expression, Handle, UnaryOp};
use crate::thread::{Index, Use};

/// Terms of an index that is still one: longer sums are numbers like others.
const MAX_TERMS: usize = 12;

impl Lower<'_> {
    /// An operation on elements of tiles at a point.
    pub(super) fn operation(&mut self, operation: &Expression, point: &Point) -> Result<Use, LowerError> {
        self.applied(operation, |lower, operand| lower.pull(operand, point))
    }

    /// An operation on what `of` gives for each operand.
    pub(super) fn applied(
        &mut self,
        operation: &Expression,
        mut of: impl FnMut(&mut Self, Handle<Expression>) -> Result<Use, LowerError>,
    ) -> Result<Use, LowerError> {
        match *operation {
            Expression::Unary { op, value } => {
                let value = of(self, value)?;
                Ok(self.unary(op, value))
            }
            Expression::Binary { op, left, right } => {
                let (left, right) = (of(self, left)?, of(self, right)?);
                Ok(self.binary(op, left, right))
            }
            Expression::MulAdd { left, right, addend } => {
                let operands = [left, right, addend];
                let mut pulled = Vec::with_capacity(operands.len());
                for operand in operands {
                    pulled.push(of(self, operand)?);
                }
                Ok(self.b.element_mul_add(pulled[0], pulled[1], pulled[2]))
            }
            Expression::Compare { op, left, right } => {
                let (left, right) = (of(self, left)?, of(self, right)?);
                Ok(self.compared(op, left, right))
            }
            Expression::Select {
                condition,
                accept,
                reject,
            } => {
                let condition = of(self, condition)?;
                let (accept, reject) = (of(self, accept)?, of(self, reject)?);
                self.chosen(condition, accept, reject)
            }
            Expression::Cast { value, to } => {
                let value = of(self, value)?;
                Ok(self.cast(value, to))
            }
            Expression::Bitcast { value, to } => {
                let value = of(self, value)?;
                let lanes = self.b.kernel().ty(value).lanes;
                let bits = self.b.bitcast(value, crate::thread::Type::packet(to, lanes));
                Ok(self.as_index(bits))
            }
            _ => self.defect("this operation"),
        }
    }

    /// A value of i64 as an index, of bool as a condition; anything else as it is.
    pub(super) fn as_index(&mut self, operand: Use) -> Use {
        match (self.b.element(operand), operand) {
            (ElementType::I64, Use::Literal(_)) => self.b.index(operand).into(),
            (ElementType::Bool, Use::Literal(_)) => self.b.condition(operand).into(),
            _ => operand,
        }
    }

    fn unary(&mut self, op: UnaryOp, value: Use) -> Use {
        let element = self.b.element(value);
        match (op, value) {
            (UnaryOp::Negate, Use::Index(index)) => return self.b.indices().scale(index, -1).into(),
            (UnaryOp::Not, _) if element == ElementType::Bool => {
                let condition = self.b.condition(value);
                return self.b.indices().not(condition).into();
            }
            _ => {}
        }
        self.b.element_unary(op, value)
    }

    pub(super) fn binary(&mut self, op: BinaryOp, left: Use, right: Use) -> Use {
        let element = self.b.element(left);
        match element {
            ElementType::I64 => {
                if let Some(index) = self.index_binary(op, left, right) {
                    return index;
                }
            }
            ElementType::Bool => {
                let (l, r) = (self.b.condition(left), self.b.condition(right));
                let indices = self.b.indices();
                return match op {
                    BinaryOp::And => indices.all([l, r]).into(),
                    BinaryOp::Or => indices.any([l, r]).into(),
                    _ => self.b.binary(op, left, right),
                };
            }
            _ => {}
        }
        self.b.element_binary(op, left, right)
    }

    /// Arithmetic of places, as an index; of numbers that were loaded it is arithmetic like any other.
    fn index_binary(&mut self, op: BinaryOp, left: Use, right: Use) -> Option<Use> {
        let is_index = |operand: &Use| matches!(operand, Use::Index(_));
        if !is_index(&left) && !is_index(&right) {
            return None;
        }
        let (l, r) = (self.b.index(left), self.b.index(right));
        let indices = self.b.indices();
        let found = match op {
            BinaryOp::Add => indices.add(l, r),
            BinaryOp::Subtract => indices.subtract(l, r),
            BinaryOp::Multiply => indices.multiply(l, r),
            BinaryOp::Divide => indices.quotient(l, r),
            BinaryOp::Remainder => indices.remainder(l, r),
            BinaryOp::Min => indices.minimum(l, r),
            BinaryOp::Max => indices.maximum(l, r),
            _ => return None,
        };
        let is_long = matches!(indices.get(found), Index::Sum(sum) if sum.terms.len() > MAX_TERMS);
        (!is_long).then_some(found.into())
    }

    pub(super) fn compared(&mut self, op: CompareOp, left: Use, right: Use) -> Use {
        if self.b.element(left) == ElementType::I64 {
            let (l, r) = (self.b.index(left), self.b.index(right));
            let indices = self.b.indices();
            let condition = match op {
                CompareOp::Equal => indices.equal(l, r),
                CompareOp::NotEqual => {
                    let equal = indices.equal(l, r);
                    indices.not(equal)
                }
                CompareOp::Less => indices.less(l, r),
                CompareOp::LessEqual => indices.at_most(l, r),
                CompareOp::Greater => indices.less(r, l),
                CompareOp::GreaterEqual => indices.at_most(r, l),
            };
            return condition.into();
        }
        self.b.element_compare(op, left, right)
    }

    /// `accept` where the condition holds, `reject` elsewhere.
    pub(super) fn chosen(&mut self, condition: Use, accept: Use, reject: Use) -> Result<Use, LowerError> {
        let known = match condition {
            Use::Predicate(condition) => self.b.kernel().indices.is_known(condition),
            _ => None,
        };
        Ok(match (known, accept, reject) {
            (Some(true), ..) => accept,
            (Some(false), ..) => reject,
            _ if accept == reject => accept,
            (None, Use::Index(l), Use::Index(r)) => {
                let condition = self.b.condition(condition);
                self.b.indices().select(condition, l, r).into()
            }
            _ => self.b.select(condition, accept, reject),
        })
    }

    /// Another element type, rounded once.
    pub(super) fn cast(&mut self, value: Use, to: ElementType) -> Use {
        let from = self.b.element(value);
        if from == to {
            return value;
        }
        let is_integral = |element: ElementType| {
            matches!(
                element.kind(),
                ElementKind::Bool | ElementKind::Signed | ElementKind::Unsigned
            )
        };
        // Integers become indices as they are, but for those that a sign changes.
        if to == ElementType::I64 && is_integral(from) {
            return match (value, from) {
                (_, ElementType::Bool) => self.b.index_of_condition(value),
                _ => self.b.index(value).into(),
            };
        }
        if to == ElementType::Bool && from == ElementType::I64 {
            let index = self.b.index(value);
            let zero = self.b.constant(0);
            let equal = self.b.indices().equal(index, zero);
            return self.b.indices().not(equal).into();
        }
        self.b.element_cast(value, to)
    }
}
