//! What an operation comes to, if it is something simpler.

use super::common::Common;
use crate::arithmetic;
use crate::ir::{BinaryOp, Literal};
use crate::thread::{Operation, Rounding, Use};

impl Common {
    fn definition(&self, operand: Use) -> Option<&Operation> {
        match operand {
            Use::Value(value) => self.defined.get(&value),
            _ => None,
        }
    }

    /// An operand that an operation comes to; of one lane where it stands for all.
    pub(super) fn simplified(&mut self, operation: &Operation) -> Option<Use> {
        let literal = |operand: &Use| match operand {
            Use::Literal(literal) => Some(*literal),
            _ => None,
        };
        match operation {
            Operation::Unary { op, value } => arithmetic::unary(*op, literal(value)?).map(Use::Literal),
            Operation::Binary { op, left, right } => {
                let (l, r) = (literal(left), literal(right));
                if let (Some(l), Some(r)) = (l, r) {
                    return arithmetic::binary(*op, l, r).map(Use::Literal);
                }
                let is = |side: Option<Literal>, number: i128| side.and_then(Literal::as_integer) == Some(number);
                match op {
                    BinaryOp::Add | BinaryOp::Or | BinaryOp::Xor | BinaryOp::ShiftLeft | BinaryOp::ShiftRight
                        if is(r, 0) =>
                    {
                        Some(*left)
                    }
                    BinaryOp::Multiply if is(r, 1) => Some(*left),
                    _ => None,
                }
            }
            Operation::Select {
                condition,
                accept,
                reject,
            } => match (condition, accept == reject) {
                (_, true) => Some(*accept),
                (Use::Predicate(condition), _) => match self.b.kernel().indices.is_known(*condition)? {
                    true => Some(*accept),
                    false => Some(*reject),
                },
                _ => None,
            },
            Operation::Cast { value, to, rounding } => match literal(value) {
                Some(value) if *rounding == Rounding::NearestEven => arithmetic::cast(value, *to).map(Use::Literal),
                _ if self.b.element(*value) == *to => Some(*value),
                _ => None,
            },
            Operation::Bitcast { value, to } => {
                if self.b.kernel().ty(*value) == *to {
                    return Some(*value);
                }
                match self.definition(*value) {
                    Some(Operation::Bitcast { value, .. }) if self.b.kernel().ty(*value) == *to => Some(*value),
                    _ => None,
                }
            }
            // Once is enough.
            Operation::Canonical(value) => match self.definition(*value)? {
                Operation::Canonical(_) => Some(*value),
                _ => None,
            },
            Operation::Part { value, first, lanes } => {
                if self.b.kernel().ty(*value).lanes == *lanes {
                    return Some(*value);
                }
                match self.definition(*value)?.clone() {
                    Operation::Join(parts) => {
                        let mut at = 0;
                        for part in parts {
                            let own = self.b.kernel().ty(part).lanes;
                            if at == *first && own == *lanes {
                                return Some(part);
                            }
                            at += own;
                        }
                        None
                    }
                    Operation::Repeat { value, .. } if *lanes == 1 => Some(value),
                    _ => None,
                }
            }
            // Of all lanes of a packet, in order.
            Operation::Join(parts) => {
                let mut whole = None;
                let mut at = 0;
                for part in parts {
                    let Operation::Part { value, first, lanes } = self.definition(*part)? else {
                        return None;
                    };
                    if *whole.get_or_insert(*value) != *value || *first != at {
                        return None;
                    }
                    at += lanes;
                }
                whole.filter(|value| self.b.kernel().ty(*value).lanes == at)
            }
            Operation::Load(load) if self.never(load.predicate) => {
                let zero = Literal::zero(load.ty.element).into();
                (load.ty.lanes == 1).then_some(zero)
            }
            _ => None,
        }
    }
}
