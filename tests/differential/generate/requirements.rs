//! Conditions on the arguments that hold for them: whatever follows from them may be used, and nothing else.

use std::cmp::Ordering;

use tilewright::dsl::ir::{BinaryOp, CompareOp, Expression, Requirement, Span, Symbol, Type};

use super::{Generator, Value};
use crate::case::{Argument, Count};

impl Generator {
    /// A few requirements, made with random numbers of their own.
    pub fn requirements(&mut self, rng: &mut fastrand::Rng) {
        let known = self.host_values();
        for _ in 0..rng.u8(..4) {
            let Some((left, l)) = self.term(&known, rng) else {
                return;
            };
            let Some((right, r)) = self.term(&known, rng) else {
                return;
            };
            let fitting: &[CompareOp] = match l.cmp(&r) {
                Ordering::Equal => &[CompareOp::Equal, CompareOp::LessEqual, CompareOp::GreaterEqual],
                Ordering::Less => &[CompareOp::Less, CompareOp::LessEqual, CompareOp::NotEqual],
                Ordering::Greater => &[CompareOp::Greater, CompareOp::GreaterEqual, CompareOp::NotEqual],
            };
            let Some(&op) = rng.choice(fitting) else { continue };
            let condition = self.b.append(Expression::Compare { op, left, right }, Type::CONDITION);
            let span = Span::UNKNOWN;
            self.b.kernel.requirements.push(Requirement { condition, span });
        }
    }

    /// What the host knows of the arguments.
    fn host_values(&mut self) -> Vec<(Value, i64)> {
        let mut known = Vec::new();
        for (position, argument) in (0u32..).zip(self.arguments.clone()) {
            match argument {
                Argument::Tensor(tensor) => {
                    for (axis, &extent) in (0u8..).zip(&tensor.extents) {
                        let symbol = Symbol::Extent { tensor: position, axis };
                        known.push((self.b.symbol(symbol), extent as i64));
                    }
                }
                Argument::Count(Count::Exact(value) | Count::Runtime(value)) => {
                    known.push((self.b.symbol(Symbol::Count(position)), value));
                }
                Argument::Count(Count::Device { .. }) => {}
                Argument::Scalar(literal) => {
                    if let Some(value) = literal.get::<i64>() {
                        known.push((self.b.append(Expression::Argument(position), Type::INDEX), value));
                    }
                }
            }
        }
        known
    }

    /// One of them, or two of them together, or one and a number; what overflows is left alone.
    fn term(&mut self, known: &[(Value, i64)], rng: &mut fastrand::Rng) -> Option<(Value, i64)> {
        let (left, l) = rng.choice(known).copied()?;
        let (right, r) = match rng.u8(..4) {
            0 => rng.choice(known).copied()?,
            1 => {
                let number = rng.i64(-9..=9);
                (self.b.index(number), number)
            }
            _ => return Some((left, l)),
        };
        let (op, exact) = match rng.u8(..5) {
            0 | 1 => (BinaryOp::Add, l.checked_add(r)),
            2 | 3 => (BinaryOp::Subtract, l.checked_sub(r)),
            _ => (BinaryOp::Multiply, l.checked_mul(r)),
        };
        match exact {
            Some(value) => Some((
                self.b.append(Expression::Binary { op, left, right }, Type::INDEX),
                value,
            )),
            None => Some((left, l)),
        }
    }
}
