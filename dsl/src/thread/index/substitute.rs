//! Other indices in the place of atoms.

use std::collections::{BTreeMap, HashMap};

use super::{Atom, Index, IndexArena, Predicate};
use crate::ir::Handle;
use crate::stack::room;
use crate::thread::Value;

/// What takes the place of atoms. What does should be what is known of the atom: facts that rest on them stay.
#[derive(Debug, Clone, Default)]
pub struct Substitution {
    /// By the atom.
    pub atoms: BTreeMap<Atom, Handle<Index>>,
    /// By the bool value.
    pub bools: BTreeMap<Handle<Value>, Handle<Predicate>>,
}

/// What has been replaced already.
#[derive(Default)]
struct Done {
    indices: HashMap<Handle<Index>, Handle<Index>>,
    conditions: HashMap<Handle<Predicate>, Handle<Predicate>>,
}

impl Substitution {
    /// Of one atom.
    pub fn of(atom: Atom, by: Handle<Index>) -> Self {
        Self {
            atoms: BTreeMap::from([(atom, by)]),
            bools: BTreeMap::new(),
        }
    }

    fn touches(&self, atoms: &[Atom]) -> bool {
        atoms.iter().any(|atom| {
            let is_bool = matches!(atom, Atom::Value(value) if self.bools.contains_key(value));
            is_bool || self.atoms.contains_key(atom)
        })
    }
}

impl IndexArena {
    /// `index` with `by` in the place of `atom`, in normal form again.
    pub fn substitute(&mut self, index: Handle<Index>, atom: Atom, by: Handle<Index>) -> Handle<Index> {
        self.substitute_all(index, &Substitution::of(atom, by))
    }

    /// `index` with others in the place of several atoms.
    pub fn substitute_all(&mut self, index: Handle<Index>, substitution: &Substitution) -> Handle<Index> {
        self.replace(index, substitution, &mut Done::default())
    }

    /// As [`IndexArena::substitute_all`].
    pub fn substitute_all_in(
        &mut self,
        condition: Handle<Predicate>,
        substitution: &Substitution,
    ) -> Handle<Predicate> {
        self.replace_condition(condition, substitution, &mut Done::default())
    }

    /// As [`IndexArena::substitute`].
    pub fn substitute_condition(
        &mut self,
        condition: Handle<Predicate>,
        atom: Atom,
        by: Handle<Index>,
    ) -> Handle<Predicate> {
        self.substitute_all_in(condition, &Substitution::of(atom, by))
    }

    fn replace(&mut self, index: Handle<Index>, with: &Substitution, done: &mut Done) -> Handle<Index> {
        if !with.touches(self.atoms(index)) {
            return index;
        }
        if let Some(&known) = done.indices.get(&index) {
            return known;
        }
        let replaced = room(|| self.replace_parts(index, with, done));
        done.indices.insert(index, replaced);
        replaced
    }

    fn replace_parts(&mut self, index: Handle<Index>, with: &Substitution, done: &mut Done) -> Handle<Index> {
        match self.get(index).clone() {
            Index::Atom(atom) => with.atoms.get(&atom).copied().unwrap_or(index),
            Index::Sum(sum) => {
                let mut all = self.constant(sum.constant);
                for term in &sum.terms {
                    let mut product = self.constant(term.coefficient);
                    for &factor in &term.factors {
                        let factor = self.replace(factor, with, done);
                        product = self.multiply(product, factor);
                    }
                    all = self.add(all, product);
                }
                all
            }
            Index::Quotient { value, by: divisor } => {
                let (value, divisor) = (self.replace(value, with, done), self.replace(divisor, with, done));
                self.quotient(value, divisor)
            }
            Index::Remainder { value, by: divisor } => {
                let (value, divisor) = (self.replace(value, with, done), self.replace(divisor, with, done));
                self.remainder(value, divisor)
            }
            Index::Low { value, bits } => {
                let value = self.replace(value, with, done);
                self.low(value, bits)
            }
            Index::Minimum(left, right) => {
                let (left, right) = (self.replace(left, with, done), self.replace(right, with, done));
                self.minimum(left, right)
            }
            Index::Maximum(left, right) => {
                let (left, right) = (self.replace(left, with, done), self.replace(right, with, done));
                self.maximum(left, right)
            }
            Index::Select {
                condition,
                accept,
                reject,
            } => {
                let condition = self.replace_condition(condition, with, done);
                let (accept, reject) = (self.replace(accept, with, done), self.replace(reject, with, done));
                self.select(condition, accept, reject)
            }
        }
    }

    fn replace_condition(
        &mut self,
        condition: Handle<Predicate>,
        with: &Substitution,
        done: &mut Done,
    ) -> Handle<Predicate> {
        if !with.touches(self.condition_atoms(condition)) {
            return condition;
        }
        if let Some(&known) = done.conditions.get(&condition) {
            return known;
        }
        let replaced = room(|| self.replace_condition_parts(condition, with, done));
        done.conditions.insert(condition, replaced);
        replaced
    }

    fn replace_condition_parts(
        &mut self,
        condition: Handle<Predicate>,
        with: &Substitution,
        done: &mut Done,
    ) -> Handle<Predicate> {
        match self.condition(condition).clone() {
            Predicate::Constant(_) => condition,
            Predicate::Value(value) => with.bools.get(&value).copied().unwrap_or(condition),
            Predicate::Positive(index) => {
                let (zero, index) = (self.constant(0), self.replace(index, with, done));
                self.less(zero, index)
            }
            Predicate::Zero(index) => {
                let (zero, index) = (self.constant(0), self.replace(index, with, done));
                self.equal(index, zero)
            }
            Predicate::Less(left, right) => {
                let (left, right) = (self.replace(left, with, done), self.replace(right, with, done));
                self.less(left, right)
            }
            Predicate::Within(value, limit) => {
                let (value, limit) = (self.replace(value, with, done), self.replace(limit, with, done));
                self.within(value, limit)
            }
            Predicate::Not(other) => {
                let other = self.replace_condition(other, with, done);
                self.not(other)
            }
            Predicate::All(all) => {
                let all: Vec<_> = all.iter().map(|one| self.replace_condition(*one, with, done)).collect();
                self.all(all)
            }
            Predicate::Any(any) => {
                let any: Vec<_> = any.iter().map(|one| self.replace_condition(*one, with, done)).collect();
                self.any(any)
            }
        }
    }
}
