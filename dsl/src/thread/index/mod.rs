//! Index expressions: 64-bit integers in normal form, with what is known of them.
//!
//! An index is what a thread computes of where it stands, of arguments, of loop variables and of integers it has
//! loaded: coordinates, offsets in bytes, trips, extents. Each is held once ([`IndexArena`] hash-conses), so that two are
//! equal if their handles are, and in *normal form*, so that "these eight elements are neighbours, and the first is
//! aligned" is a question to the arena:
//!
//! * **sums of products** ([`Sum`]), fully multiplied out, in one order: `a - b` is a constant if `a` and `b` are that
//!   far apart;
//! * **quotients, remainders and low bits** ([`Index::Quotient`], [`Index::Remainder`], [`Index::Low`]), taken apart
//!   where what is known of the parts allows it: `(8 * q + lane) / 8` is `q` where `lane` is 0 to 7, and `d * (x / d) +
//!   x % d` is `x`;
//! * **pieces** ([`Index::Minimum`], [`Index::Maximum`], [`Index::Select`]), gone where a condition is known;
//! * **conditions** ([`Predicate`]) on indices, also held once: `8 * q + lane < 512` is `q < 64`, which does not move
//!   with the lane.
//!
//! # Meaning
//!
//! IndexArena are two's complement integers of 64 bits, and sums and products **wrap**. Quotients are rounded toward zero,
//! and remainders have the sign of the dividend; both are 0 where the divisor is 0, as integers of the tile language
//! have it. Normal forms never rely on what does not hold: an integer fact is only used where the ranges show that
//! nothing wraps. Wrapping is a property of rings that the rest of the form shares: differences, and divisibility by
//! powers of two, hold whatever wraps.

mod arithmetic;
mod condition;
mod divide;
mod evaluate;
mod facts;
mod substitute;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use evaluate::Assignment;
pub use facts::Facts;
pub use substitute::Substitution;

use super::{Argument, Buffer, Value, Variable};
use crate::ir::{Arena, Handle};

/// What an index is made of that has no parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    /// The thread's number in its block, from 0.
    Thread,
    /// The block's number in the grid, from 0.
    Block,
    /// The lane of a packet of so many that an operation is done for. Only until accesses are widened: a kernel that
    /// can be printed has none.
    Lane(u8),
    /// An integer argument, extended to 64 bits by its sign.
    Argument(Handle<Argument>),
    /// The address of the first byte of a buffer in global memory that has a pointer of its own.
    Address(Handle<Buffer>),
    /// A loop variable, or an index that a statement has given a name.
    Variable(Handle<Variable>),
    /// An integer value of one lane, extended to 64 bits by its sign; in conditions also a bool.
    Value(Handle<Value>),
}

/// An index. Operands are handles of the same [`IndexArena`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Index {
    /// Something without parts.
    Atom(Atom),
    /// A sum of products. Never a single product of one factor and coefficient 1, which is that factor.
    Sum(Sum),
    /// The quotient, rounded toward zero; 0 where the divisor is 0.
    Quotient {
        /// What is divided.
        value: Handle<Index>,
        /// By what.
        by: Handle<Index>,
    },
    /// The remainder, with the sign of `value`; 0 where the divisor is 0. Where `value` is not negative and `by` is a
    /// power of two it is an [`Index::Low`].
    Remainder {
        /// What is divided.
        value: Handle<Index>,
        /// By what.
        by: Handle<Index>,
    },
    /// The low `bits` bits, 0 to 62 of them: what is left of `value` above a multiple of 2^bits, never negative.
    Low {
        /// Of what.
        value: Handle<Index>,
        /// How many.
        bits: u8,
    },
    /// The smaller of two, which are in the order of their handles.
    Minimum(Handle<Index>, Handle<Index>),
    /// The larger of two, which are in the order of their handles.
    Maximum(Handle<Index>, Handle<Index>),
    /// One of two.
    Select {
        /// Which one.
        condition: Handle<Predicate>,
        /// Where the condition holds.
        accept: Handle<Index>,
        /// Where it does not.
        reject: Handle<Index>,
    },
}

/// `constant + Σ coefficient * factors`, wrapping. A constant is a sum without terms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sum {
    /// The part that is known.
    pub constant: i64,
    /// The products, ordered by factors, of which no two have the same; no coefficient is 0.
    pub terms: Box<[Term]>,
}

/// `coefficient * factors`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// How often.
    pub coefficient: i64,
    /// At least one, in the order of their handles. No sums, but where multiplying out would make too many terms.
    pub factors: Box<[Handle<Index>]>,
}

/// Something that holds or does not. Operands are handles of the same [`IndexArena`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Predicate {
    /// Known.
    Constant(bool),
    /// A bool value of one lane.
    Value(Handle<Value>),
    /// The index is more than 0.
    Positive(Handle<Index>),
    /// The index is 0.
    Zero(Handle<Index>),
    /// The first is less than the second; where their difference cannot wrap this is [`Predicate::Positive`].
    Less(Handle<Index>, Handle<Index>),
    /// The first is at least 0 and less than the second, which is not negative: one unsigned comparison.
    Within(Handle<Index>, Handle<Index>),
    /// The other does not hold.
    Not(Handle<Predicate>),
    /// All hold: two or more, in the order of their handles.
    All(Box<[Handle<Predicate>]>),
    /// One holds at least: two or more, in the order of their handles.
    Any(Box<[Handle<Predicate>]>),
}

/// All indices and conditions of a kernel, each once.
#[derive(Debug, Clone, Default)]
pub struct IndexArena {
    nodes: Arena<Node>,
    known: HashMap<Index, Handle<Index>>,
    conditions: Arena<ConditionNode>,
    known_conditions: HashMap<Predicate, Handle<Predicate>>,
}

#[derive(Debug, Clone)]
struct Node {
    index: Index,
    facts: Facts,
    /// What it is made of, in order.
    atoms: Box<[Atom]>,
}

#[derive(Debug, Clone)]
struct ConditionNode {
    condition: Predicate,
    atoms: Box<[Atom]>,
}

impl IndexArena {
    /// No index.
    pub fn new() -> Self {
        Self::default()
    }

    /// What an index is.
    ///
    /// # Panics
    /// Of a handle of another arena.
    pub fn get(&self, index: Handle<Index>) -> &Index {
        &self.node(index).index
    }

    /// What a condition is.
    ///
    /// # Panics
    /// Of a handle of another arena.
    pub fn condition(&self, condition: Handle<Predicate>) -> &Predicate {
        &self.conditions[condition_node(condition)].condition
    }

    /// Whether there is such an index.
    pub fn has(&self, index: Handle<Index>) -> bool {
        index.index() < self.nodes.len()
    }

    /// Whether there is such a condition.
    pub fn has_condition(&self, condition: Handle<Predicate>) -> bool {
        condition.index() < self.conditions.len()
    }

    /// What is known of an index.
    pub fn facts(&self, index: Handle<Index>) -> Facts {
        self.node(index).facts
    }

    /// The index that an atom is, if it has been mentioned.
    pub fn of_atom(&self, atom: Atom) -> Option<Handle<Index>> {
        self.known.get(&Index::Atom(atom)).copied()
    }

    /// What has been said of an atom, if anything has.
    pub fn facts_of_atom(&self, atom: Atom) -> Option<Facts> {
        self.of_atom(atom).map(|index| self.facts(index))
    }

    /// The value, if it is known.
    pub fn as_constant(&self, index: Handle<Index>) -> Option<i64> {
        match self.get(index) {
            Index::Sum(sum) if sum.terms.is_empty() => Some(sum.constant),
            _ => None,
        }
    }

    /// Whether a condition holds, if it is known.
    pub fn is_known(&self, condition: Handle<Predicate>) -> Option<bool> {
        match self.condition(condition) {
            Predicate::Constant(holds) => Some(*holds),
            _ => None,
        }
    }

    /// The atoms that an index is made of, in order: it is the same wherever these are.
    pub fn atoms(&self, index: Handle<Index>) -> &[Atom] {
        &self.node(index).atoms
    }

    /// As [`IndexArena::atoms`]. A bool value is an atom here too.
    pub fn condition_atoms(&self, condition: Handle<Predicate>) -> &[Atom] {
        &self.conditions[condition_node(condition)].atoms
    }

    /// Whether an index may change when `atom` does.
    pub fn moves(&self, index: Handle<Index>, atom: Atom) -> bool {
        self.atoms(index).binary_search(&atom).is_ok()
    }

    /// Whether a condition may change when `atom` does.
    pub fn condition_moves(&self, condition: Handle<Predicate>, atom: Atom) -> bool {
        self.condition_atoms(condition).binary_search(&atom).is_ok()
    }

    /// How much the first is more than the second, if that is known.
    pub fn difference(&mut self, left: Handle<Index>, right: Handle<Index>) -> Option<i64> {
        let difference = self.subtract(left, right);
        self.as_constant(difference)
    }

    /// By how much an index grows with each step of `atom`, if always by the same.
    pub fn step(&mut self, index: Handle<Index>, atom: Atom) -> Option<i64> {
        if !self.moves(index, atom) {
            return Some(0);
        }
        // What is left of the atom after its multiples must not move with it, and the atom be no part of anything else.
        let at = self.of_atom(atom)?;
        let coefficient = match self.get(index) {
            _ if index == at => 1,
            Index::Sum(sum) => sum.terms.iter().find(|term| *term.factors == [at])?.coefficient,
            _ => return None,
        };
        let multiple = self.scale(at, coefficient);
        let rest = self.subtract(index, multiple);
        (!self.moves(rest, atom)).then_some(coefficient)
    }

    /// Whether an index fits 32 bits with its sign. It may then be computed in 32 bits that wrap: a sum of products
    /// from the low 32 bits of its factors, anything else from operands that are narrow themselves.
    pub fn is_narrow(&self, index: Handle<Index>) -> bool {
        let Facts { low, high, .. } = self.facts(index);
        i32::try_from(low).is_ok() && i32::try_from(high).is_ok()
    }

    /// Calls `visit` with each index that this one is made of directly.
    pub fn for_each_operand(&self, index: Handle<Index>, mut visit: impl FnMut(Handle<Index>)) {
        match self.get(index) {
            Index::Atom(_) => {}
            Index::Sum(sum) => sum
                .terms
                .iter()
                .flat_map(|term| term.factors.iter().copied())
                .for_each(visit),
            Index::Quotient { value, by } | Index::Remainder { value, by } => {
                visit(*value);
                visit(*by);
            }
            Index::Low { value, .. } => visit(*value),
            Index::Minimum(left, right) | Index::Maximum(left, right) => {
                visit(*left);
                visit(*right);
            }
            Index::Select { accept, reject, .. } => {
                visit(*accept);
                visit(*reject);
            }
        }
    }

    /// The number of indices.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Forgets what has been said of values and variables from these on, which are no more: others will have their
    /// handles.
    pub(in crate::thread) fn forget(&mut self, values: usize, variables: usize) {
        self.known.retain(|index, _| match index {
            Index::Atom(Atom::Value(value)) => value.index() < values,
            Index::Atom(Atom::Variable(variable)) => variable.index() < variables,
            _ => true,
        });
    }

    fn node(&self, index: Handle<Index>) -> &Node {
        &self.nodes[Handle::from_index(index.index())]
    }

    /// The handle of an index that is in normal form.
    fn intern(&mut self, index: Index) -> Handle<Index> {
        if let Some(&known) = self.known.get(&index) {
            return known;
        }
        let facts = self.find_facts(&index);
        self.append(index, facts)
    }

    fn append(&mut self, index: Index, facts: Facts) -> Handle<Index> {
        // What has one value is that value.
        if facts.low == facts.high && !matches!(&index, Index::Sum(sum) if sum.terms.is_empty()) {
            let constant = self.constant(facts.low);
            self.known.insert(index, constant);
            return constant;
        }
        let atoms = self.find_atoms(&index);
        let node = Node {
            index: index.clone(),
            facts,
            atoms,
        };
        let handle = Handle::from_index(self.nodes.append(node).index());
        self.known.insert(index, handle);
        handle
    }

    fn intern_condition(&mut self, condition: Predicate) -> Handle<Predicate> {
        if let Some(&known) = self.known_conditions.get(&condition) {
            return known;
        }
        let atoms = self.find_condition_atoms(&condition);
        let node = ConditionNode {
            condition: condition.clone(),
            atoms,
        };
        let handle = Handle::from_index(self.conditions.append(node).index());
        self.known_conditions.insert(condition, handle);
        handle
    }

    fn find_atoms(&self, index: &Index) -> Box<[Atom]> {
        let mut atoms = Vec::new();
        let mut of = |index: &Handle<Index>| atoms.extend_from_slice(self.atoms(*index));
        match index {
            Index::Atom(atom) => atoms.push(*atom),
            Index::Sum(sum) => sum.terms.iter().flat_map(|term| &term.factors).for_each(of),
            Index::Quotient { value, by } | Index::Remainder { value, by } => [value, by].into_iter().for_each(of),
            Index::Low { value, .. } => of(value),
            Index::Minimum(left, right) | Index::Maximum(left, right) => [left, right].into_iter().for_each(of),
            Index::Select {
                condition,
                accept,
                reject,
            } => {
                [accept, reject].into_iter().for_each(of);
                atoms.extend_from_slice(self.condition_atoms(*condition));
            }
        }
        in_order(atoms)
    }

    fn find_condition_atoms(&self, condition: &Predicate) -> Box<[Atom]> {
        let mut atoms = Vec::new();
        match condition {
            Predicate::Constant(_) => {}
            Predicate::Value(value) => atoms.push(Atom::Value(*value)),
            Predicate::Positive(index) | Predicate::Zero(index) => atoms.extend_from_slice(self.atoms(*index)),
            Predicate::Less(left, right) | Predicate::Within(left, right) => {
                atoms.extend_from_slice(self.atoms(*left));
                atoms.extend_from_slice(self.atoms(*right));
            }
            Predicate::Not(other) => atoms.extend_from_slice(self.condition_atoms(*other)),
            Predicate::All(all) | Predicate::Any(all) => {
                all.iter()
                    .for_each(|one| atoms.extend_from_slice(self.condition_atoms(*one)));
            }
        }
        in_order(atoms)
    }
}

fn condition_node(condition: Handle<Predicate>) -> Handle<ConditionNode> {
    Handle::from_index(condition.index())
}

fn in_order(mut atoms: Vec<Atom>) -> Box<[Atom]> {
    atoms.sort_unstable();
    atoms.dedup();
    atoms.into()
}
