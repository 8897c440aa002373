//! Other indices in the place of atoms.

use std::collections::HashMap;

use super::{Atom, Condition, Index, Indices};
use crate::ir::Handle;
use crate::stack::room;

/// What has been replaced already.
#[derive(Default)]
struct Done {
    indices: HashMap<Handle<Index>, Handle<Index>>,
    conditions: HashMap<Handle<Condition>, Handle<Condition>>,
}

impl Indices {
    /// `index` with `by` in the place of `atom`, in normal form again.
    pub fn substitute(&mut self, index: Handle<Index>, atom: Atom, by: Handle<Index>) -> Handle<Index> {
        self.replace(index, atom, by, &mut Done::default())
    }

    /// As [`Indices::substitute`].
    pub fn substitute_condition(
        &mut self,
        condition: Handle<Condition>,
        atom: Atom,
        by: Handle<Index>,
    ) -> Handle<Condition> {
        self.replace_condition(condition, atom, by, &mut Done::default())
    }

    fn replace(&mut self, index: Handle<Index>, atom: Atom, by: Handle<Index>, done: &mut Done) -> Handle<Index> {
        if !self.moves(index, atom) {
            return index;
        }
        if let Some(&known) = done.indices.get(&index) {
            return known;
        }
        let replaced = room(|| self.replace_parts(index, atom, by, done));
        done.indices.insert(index, replaced);
        replaced
    }

    fn replace_parts(&mut self, index: Handle<Index>, atom: Atom, by: Handle<Index>, done: &mut Done) -> Handle<Index> {
        match self.get(index).clone() {
            Index::Atom(_) => by,
            Index::Sum(sum) => {
                let mut all = self.constant(sum.constant);
                for term in &sum.terms {
                    let mut product = self.constant(term.coefficient);
                    for &factor in &term.factors {
                        let factor = self.replace(factor, atom, by, done);
                        product = self.multiply(product, factor);
                    }
                    all = self.add(all, product);
                }
                all
            }
            Index::Quotient { value, by: divisor } => {
                let (value, divisor) = (
                    self.replace(value, atom, by, done),
                    self.replace(divisor, atom, by, done),
                );
                self.quotient(value, divisor)
            }
            Index::Remainder { value, by: divisor } => {
                let (value, divisor) = (
                    self.replace(value, atom, by, done),
                    self.replace(divisor, atom, by, done),
                );
                self.remainder(value, divisor)
            }
            Index::Low { value, bits } => {
                let value = self.replace(value, atom, by, done);
                self.low(value, bits)
            }
            Index::Minimum(left, right) => {
                let (left, right) = (self.replace(left, atom, by, done), self.replace(right, atom, by, done));
                self.minimum(left, right)
            }
            Index::Maximum(left, right) => {
                let (left, right) = (self.replace(left, atom, by, done), self.replace(right, atom, by, done));
                self.maximum(left, right)
            }
            Index::Select {
                condition,
                accept,
                reject,
            } => {
                let condition = self.replace_condition(condition, atom, by, done);
                let (accept, reject) = (
                    self.replace(accept, atom, by, done),
                    self.replace(reject, atom, by, done),
                );
                self.select(condition, accept, reject)
            }
        }
    }

    fn replace_condition(
        &mut self,
        condition: Handle<Condition>,
        atom: Atom,
        by: Handle<Index>,
        done: &mut Done,
    ) -> Handle<Condition> {
        if !self.condition_moves(condition, atom) {
            return condition;
        }
        if let Some(&known) = done.conditions.get(&condition) {
            return known;
        }
        let replaced = room(|| self.replace_condition_parts(condition, atom, by, done));
        done.conditions.insert(condition, replaced);
        replaced
    }

    fn replace_condition_parts(
        &mut self,
        condition: Handle<Condition>,
        atom: Atom,
        by: Handle<Index>,
        done: &mut Done,
    ) -> Handle<Condition> {
        match self.condition(condition).clone() {
            // A bool is no integer: nothing takes its place.
            Condition::Constant(_) | Condition::Value(_) => condition,
            Condition::Positive(index) => {
                let (zero, index) = (self.constant(0), self.replace(index, atom, by, done));
                self.less(zero, index)
            }
            Condition::Zero(index) => {
                let (zero, index) = (self.constant(0), self.replace(index, atom, by, done));
                self.equal(index, zero)
            }
            Condition::Less(left, right) => {
                let (left, right) = (self.replace(left, atom, by, done), self.replace(right, atom, by, done));
                self.less(left, right)
            }
            Condition::Within(value, limit) => {
                let (value, limit) = (self.replace(value, atom, by, done), self.replace(limit, atom, by, done));
                self.within(value, limit)
            }
            Condition::Not(other) => {
                let other = self.replace_condition(other, atom, by, done);
                self.not(other)
            }
            Condition::All(all) => {
                let all: Vec<_> = all
                    .iter()
                    .map(|one| self.replace_condition(*one, atom, by, done))
                    .collect();
                self.all(all)
            }
            Condition::Any(any) => {
                let any: Vec<_> = any
                    .iter()
                    .map(|one| self.replace_condition(*one, atom, by, done))
                    .collect();
                self.any(any)
            }
        }
    }
}
