//! Operations on elements, in terms of those that hardware has: `arithmetic` says what they mean.

use super::point::Point;
use super::{Lower, LowerError};
use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, CompareOp, Expression, Literal, UnaryOp};
use crate::thread::{Index, Operand, Operation, Rounding, is_computed};

/// Terms of an index that is still one: longer sums are numbers like others.
const MAX_TERMS: usize = 12;

impl Lower<'_> {
    pub(super) fn operation(&mut self, operation: &Expression, point: &Point) -> Result<Operand, LowerError> {
        match *operation {
            Expression::Unary { op, value } => {
                let value = self.pull(value, point)?;
                self.unary(op, value)
            }
            Expression::Binary { op, left, right } => {
                let (left, right) = (self.pull(left, point)?, self.pull(right, point)?);
                self.binary(op, left, right)
            }
            Expression::MulAdd { left, right, addend } => {
                let operands = [left, right, addend];
                let mut pulled = Vec::with_capacity(operands.len());
                for operand in operands {
                    pulled.push(self.pull(operand, point)?);
                }
                let element = self.b.element(pulled[0]);
                let [left, right, addend] = [pulled[0], pulled[1], pulled[2]].map(|operand| self.widened(operand));
                let sum = self.b.emit(Operation::MulAdd { left, right, addend });
                Ok(self.rounded(sum, element))
            }
            Expression::Compare { op, left, right } => {
                let (left, right) = (self.pull(left, point)?, self.pull(right, point)?);
                Ok(self.compared(op, left, right))
            }
            Expression::Select {
                condition,
                accept,
                reject,
            } => {
                let condition = self.pull(condition, point)?;
                let (accept, reject) = (self.pull(accept, point)?, self.pull(reject, point)?);
                self.chosen(condition, accept, reject)
            }
            Expression::Cast { value, to } => {
                let value = self.pull(value, point)?;
                Ok(self.cast(value, to))
            }
            Expression::Bitcast { value, to } => {
                let value = self.pull(value, point)?;
                let lanes = self.b.kernel().ty(value).lanes;
                let bits = self.b.bitcast(value, crate::thread::Type::packet(to, lanes));
                Ok(self.as_index(bits))
            }
            _ => self.not_carried("this operation"),
        }
    }

    /// A value of i64 as an index, of bool as a condition; anything else as it is.
    fn as_index(&mut self, operand: Operand) -> Operand {
        match (self.b.element(operand), operand) {
            (ElementType::I64, Operand::Literal(_)) => self.b.index(operand).into(),
            (ElementType::Bool, Operand::Literal(_)) => self.b.condition(operand).into(),
            _ => operand,
        }
    }

    fn unary(&mut self, op: UnaryOp, value: Operand) -> Result<Operand, LowerError> {
        let element = self.b.element(value);
        match (op, value) {
            (UnaryOp::Negate, Operand::Index(index)) => return Ok(self.b.indices().scale(index, -1).into()),
            (UnaryOp::Not, _) if element == ElementType::Bool => {
                let condition = self.b.condition(value);
                return Ok(self.b.indices().not(condition).into());
            }
            _ => {}
        }
        if element.kind() != ElementKind::Float {
            return Ok(self.b.unary(op, value));
        }
        match op {
            UnaryOp::Negate | UnaryOp::Abs => Ok(self.sign(op, value)),
            UnaryOp::Rsqrt => {
                let wide = self.widened(value);
                let root = self.b.unary(UnaryOp::Sqrt, wide);
                let one = match self.b.element(wide) {
                    ElementType::F64 => Literal::new(1.0f64),
                    _ => Literal::new(1.0f32),
                };
                let quotient = self.b.binary(BinaryOp::Divide, one.into(), root);
                Ok(self.rounded(quotient, element))
            }
            UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc | UnaryOp::Sqrt => {
                let wide = self.widened(value);
                let found = self.b.unary(op, wide);
                Ok(self.rounded(found, element))
            }
            _ => self.not_carried("a function of floats"),
        }
    }

    /// Flips or clears the sign bit, of whatever has one.
    fn sign(&mut self, op: UnaryOp, value: Operand) -> Operand {
        let ty = self.b.kernel().ty(value);
        if is_computed(ty.element) {
            return self.b.unary(op, value);
        }
        let bits = self.b.bitcast(value, ty.with_element(ElementType::U16));
        let changed = match op {
            UnaryOp::Negate => self.b.binary(BinaryOp::Xor, bits, Literal::new(0x8000u16).into()),
            _ => self.b.binary(BinaryOp::And, bits, Literal::new(0x7fffu16).into()),
        };
        self.b.bitcast(changed, ty)
    }

    fn binary(&mut self, op: BinaryOp, left: Operand, right: Operand) -> Result<Operand, LowerError> {
        let element = self.b.element(left);
        match element {
            ElementType::I64 => {
                if let Some(index) = self.index_binary(op, left, right) {
                    return Ok(index);
                }
            }
            ElementType::Bool => {
                let (l, r) = (self.b.condition(left), self.b.condition(right));
                let indices = self.b.indices();
                return Ok(match op {
                    BinaryOp::And => indices.all([l, r]).into(),
                    BinaryOp::Or => indices.any([l, r]).into(),
                    _ => self.b.binary(op, left, right),
                });
            }
            _ => {}
        }
        if element.kind() != ElementKind::Float {
            return Ok(self.b.binary(op, left, right));
        }
        if op == BinaryOp::Power {
            return self.not_carried("a power");
        }
        let (l, r) = (self.widened(left), self.widened(right));
        let found = self.b.binary(op, l, r);
        Ok(self.rounded(found, element))
    }

    /// Arithmetic of places, as an index; of numbers that were loaded it is arithmetic like any other.
    fn index_binary(&mut self, op: BinaryOp, left: Operand, right: Operand) -> Option<Operand> {
        let is_index = |operand: &Operand| matches!(operand, Operand::Index(_));
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

    fn compared(&mut self, op: CompareOp, left: Operand, right: Operand) -> Operand {
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
        let (l, r) = (self.widened(left), self.widened(right));
        self.b.compare(op, l, r)
    }

    /// `accept` where the condition holds, `reject` elsewhere.
    pub(super) fn chosen(
        &mut self,
        condition: Operand,
        accept: Operand,
        reject: Operand,
    ) -> Result<Operand, LowerError> {
        let known = match condition {
            Operand::Condition(condition) => self.b.kernel().indices.is_known(condition),
            _ => None,
        };
        Ok(match (known, accept, reject) {
            (Some(true), ..) => accept,
            (Some(false), ..) => reject,
            _ if accept == reject => accept,
            (None, Operand::Index(l), Operand::Index(r)) => {
                let condition = self.b.condition(condition);
                self.b.indices().select(condition, l, r).into()
            }
            _ => self.b.select(condition, accept, reject),
        })
    }

    /// A float of less than 32 bits as f32; anything else as it is.
    fn widened(&mut self, value: Operand) -> Operand {
        let element = self.b.element(value);
        match element.kind() {
            ElementKind::Float | ElementKind::Storage if !is_computed(element) => {
                self.converted(value, ElementType::F32)
            }
            _ => value,
        }
    }

    /// What an operation gave, rounded to its type and with the one NaN.
    fn rounded(&mut self, value: Operand, element: ElementType) -> Operand {
        match element {
            ElementType::F32 | ElementType::F64 => self.b.emit(Operation::Canonical(value)),
            _ => self.converted(value, element),
        }
    }

    pub(super) fn converted(&mut self, value: Operand, to: ElementType) -> Operand {
        self.b.emit(Operation::Cast {
            value,
            to,
            rounding: Rounding::NearestEven,
        })
    }

    /// Another element type, rounded once.
    fn cast(&mut self, value: Operand, to: ElementType) -> Operand {
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
        let narrow = !is_integral(to) && !is_computed(to);
        if is_integral(from) {
            return match narrow {
                false => self.converted(value, to),
                // An f32 holds every integer of 16 bits; anything longer is rounded to odd first.
                true if from.size() < 4 => {
                    let wide = self.converted(value, ElementType::F32);
                    self.converted(wide, to)
                }
                true => {
                    let odd = self.rounded_to_odd(value);
                    self.converted(odd, to)
                }
            };
        }
        if narrow && from == ElementType::F64 {
            let odd = self.rounded_to_odd(value);
            return self.converted(odd, to);
        }
        let wide = self.widened(value);
        match self.b.element(wide) == to {
            true => wide,
            false => self.converted(wide, to),
        }
    }

    /// An integer or f64 as f32: toward zero, with the last bit set if anything was lost, so that the rounding that
    /// follows has all that it needs to know.
    fn rounded_to_odd(&mut self, value: Operand) -> Operand {
        let ty = self.b.kernel().ty(value);
        let zero = self.b.emit(Operation::Cast {
            value,
            to: ElementType::F32,
            rounding: Rounding::Zero,
        });
        let back = self.converted(zero, ty.element);
        let changed = self.b.compare(CompareOp::NotEqual, back, value);
        let bits = self.b.bitcast(zero, ty.with_element(ElementType::U32));
        let odd = self.b.binary(BinaryOp::Or, bits, Literal::new(1u32).into());
        let odd = self.b.bitcast(odd, ty.with_element(ElementType::F32));
        let lost = match ty.element {
            // A NaN stays one, with whatever bits.
            ElementType::F64 => {
                let number = self.b.compare(CompareOp::Equal, value, value);
                self.b.binary(BinaryOp::And, changed, number)
            }
            _ => changed,
        };
        self.b.select(lost, odd, zero)
    }
}
