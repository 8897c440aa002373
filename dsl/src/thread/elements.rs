//! What [`crate::arithmetic`] computes on elements of every type, as operations: those that hardware has, on numbers of
//! 32 and 64 bits, and what is made of them.

use super::{Builder, Operation, Rounding, Use, is_computed};
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Literal, UnaryOp};

impl Builder {
    /// As [`crate::arithmetic::unary`], lane by lane, of an element type that has the operation.
    pub fn element_unary(&mut self, op: UnaryOp, value: Use) -> Use {
        let element = self.element(value);
        match op {
            UnaryOp::Negate | UnaryOp::Abs if !is_computed(element) => return self.change_sign(op, value),
            // Of floats these touch the sign alone.
            UnaryOp::Negate | UnaryOp::Abs => return self.unary(op, value),
            _ if !element.is_float() => return self.unary(op, value),
            _ => {}
        }
        let wide = self.widened(value);
        let result = match self.function(op, wide) {
            Some(result) => result,
            None => self.unary(op, wide),
        };
        self.rounded(result, element)
    }

    /// [`UnaryOp::Exp`] or [`UnaryOp::Exp2`] of floats that are at most 0 or NaN.
    pub fn element_exponential_of_nonpositive(&mut self, op: UnaryOp, value: Use) -> Use {
        let (element, wide) = (self.element(value), self.widened(value));
        let result = self.exponential_of_nonpositive(op, wide);
        self.rounded(result, element)
    }

    /// As [`crate::arithmetic::binary`], lane by lane, of an element type that has the operation.
    pub fn element_binary(&mut self, op: BinaryOp, left: Use, right: Use) -> Use {
        let element = self.element(left);
        if !element.is_float() {
            return self.binary(op, left, right);
        }
        let (left, right) = (self.widened(left), self.widened(right));
        let result = match op {
            BinaryOp::Power => self.power(left, right),
            _ => self.binary(op, left, right),
        };
        self.rounded(result, element)
    }

    /// As [`crate::arithmetic::mul_add`], lane by lane, of floats.
    pub fn element_mul_add(&mut self, left: Use, right: Use, addend: Use) -> Use {
        let element = self.element(left);
        let [left, right, addend] = [left, right, addend].map(|operand| self.widened(operand));
        let result = self.emit(Operation::MulAdd { left, right, addend });
        self.rounded(result, element)
    }

    /// As [`crate::arithmetic::compare`], lane by lane, of an element type that has the comparison.
    pub fn element_compare(&mut self, op: CompareOp, left: Use, right: Use) -> Use {
        let (left, right) = (self.widened(left), self.widened(right));
        self.compare(op, left, right)
    }

    /// As [`crate::arithmetic::cast`], lane by lane.
    pub fn element_cast(&mut self, value: Use, to: ElementType) -> Use {
        let from = self.element(value);
        if from == to {
            return value;
        }
        let value = self.widened(value);
        if is_computed(to) {
            let found = self.cast(value, to);
            // An integer is no NaN.
            let has_nan = !from.is_integer() && from != ElementType::Bool;
            return match has_nan && to.is_float() {
                true => self.rounded(found, to),
                false => found,
            };
        }
        if self.element(value) == ElementType::F32 {
            return self.cast(value, to);
        }
        // What an f32 holds anyway is not rounded on the way.
        let exact = from == ElementType::Bool || from.size() < 4;
        let single = if exact {
            self.cast(value, ElementType::F32)
        } else {
            self.rounded_to_odd(value)
        };
        self.cast(single, to)
    }

    /// Toward zero to f32, with the last bit set if anything was lost: the rounding that follows has all that it needs
    /// to know.
    fn rounded_to_odd(&mut self, value: Use) -> Use {
        let from = self.element(value);
        let single = self.emit(Operation::Cast {
            value,
            to: ElementType::F32,
            rounding: Rounding::Zero,
        });
        let back = self.cast(single, from);
        let inexact = self.compare(CompareOp::NotEqual, back, value);
        let last = self.cast(inexact, ElementType::U32);
        let ty = self.kernel().ty(single);
        let bits = self.bitcast(single, ty.with_element(ElementType::U32));
        let bits = self.binary(BinaryOp::Or, bits, last);
        self.bitcast(bits, ty)
    }

    /// A float of less than 32 bits as f32, any other value as it is.
    fn widened(&mut self, value: Use) -> Use {
        match is_computed(self.element(value)) {
            true => value,
            false => self.cast(value, ElementType::F32),
        }
    }

    /// What was computed of floats of a type, as one of the type.
    fn rounded(&mut self, value: Use, to: ElementType) -> Use {
        match self.element(value) == to {
            // Of all NaN one.
            true => self.emit(Operation::Canonical(value)),
            false => self.cast(value, to),
        }
    }

    fn cast(&mut self, value: Use, to: ElementType) -> Use {
        if self.element(value) == to {
            return value;
        }
        self.emit(Operation::Cast {
            value,
            to,
            rounding: Rounding::NearestEven,
        })
    }

    /// Negation or absolute value of a float of 16 bits.
    fn change_sign(&mut self, op: UnaryOp, value: Use) -> Use {
        let ty = self.kernel().ty(value);
        let bits = self.bitcast(value, ty.with_element(ElementType::U16));
        let changed = match op {
            UnaryOp::Abs => self.binary(BinaryOp::And, bits, Literal::new(0x7fffu16).into()),
            _ => self.binary(BinaryOp::Xor, bits, Literal::new(0x8000u16).into()),
        };
        self.bitcast(changed, ty)
    }
}

#[cfg(test)]
mod tests;
