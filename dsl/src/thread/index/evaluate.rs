//! The value of an index, given its atoms: what every normal form and fact has to agree with.

use super::{Atom, Index, IndexArena, Predicate};
use crate::ir::Handle;
use crate::stack::room;
use crate::thread::Value;

/// What atoms and bool values are at one moment.
pub trait Assignment {
    /// The value of an atom, which its facts hold of.
    fn atom(&self, atom: Atom) -> i64;

    /// Whether a bool value is true.
    fn holds(&self, value: Handle<Value>) -> bool;
}

impl IndexArena {
    /// The value of an index.
    pub fn evaluate(&self, index: Handle<Index>, assignment: &impl Assignment) -> i64 {
        let of = |index: &Handle<Index>| room(|| self.evaluate(*index, assignment));
        match self.get(index) {
            Index::Atom(atom) => assignment.atom(*atom),
            Index::Sum(sum) => sum.terms.iter().fold(sum.constant, |all, term| {
                let product = term
                    .factors
                    .iter()
                    .fold(term.coefficient, |all, factor| all.wrapping_mul(of(factor)));
                all.wrapping_add(product)
            }),
            Index::Quotient { value, by } => match of(by) {
                0 => 0,
                by => of(value).wrapping_div(by),
            },
            Index::Remainder { value, by } => match of(by) {
                0 => 0,
                by => of(value).wrapping_rem(by),
            },
            Index::Low { value, bits } => of(value) & ((1 << bits) - 1),
            Index::Minimum(left, right) => of(left).min(of(right)),
            Index::Maximum(left, right) => of(left).max(of(right)),
            Index::Select {
                condition,
                accept,
                reject,
            } => match self.evaluate_condition(*condition, assignment) {
                true => of(accept),
                false => of(reject),
            },
        }
    }

    /// Whether a condition holds.
    pub fn evaluate_condition(&self, condition: Handle<Predicate>, assignment: &impl Assignment) -> bool {
        let of = |index: &Handle<Index>| self.evaluate(*index, assignment);
        let holds = |condition: &Handle<Predicate>| room(|| self.evaluate_condition(*condition, assignment));
        match self.condition(condition) {
            Predicate::Constant(holds) => *holds,
            Predicate::Value(value) => assignment.holds(*value),
            Predicate::Positive(index) => of(index) > 0,
            Predicate::Zero(index) => of(index) == 0,
            Predicate::Less(left, right) => of(left) < of(right),
            Predicate::Within(value, limit) => (of(value) as u64) < of(limit) as u64,
            Predicate::Not(other) => !holds(other),
            Predicate::All(all) => all.iter().all(holds),
            Predicate::Any(any) => any.iter().any(holds),
        }
    }
}
