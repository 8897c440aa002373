//! Conditions as a flat program of integer operations.

use std::collections::HashMap;

use super::{Computed, LaunchCondition, Operation, Terms, Test};
use crate::analysis::linear::{Linear, Unknown};
use crate::host::Known;
use crate::ir::Symbol;
use crate::stack::room;

/// How many conditions of a kernel are told apart: enough for as many fused calls as there can be, with a few each. Further ones
/// are taken not to hold, which is always right.
pub const MAX_CONDITIONS: usize = 1024;

/// How many operations a program has at most; conditions that would need more are taken not to hold.
const MAX_OPERATIONS: usize = 4096;

/// A program of no more operations has a smaller place for their results, which costs less to clear.
const FEW_OPERATIONS: usize = 96;
const SOME_OPERATIONS: usize = 512;

/// What has no value. No number is so far from zero.
const NO_VALUE: i128 = i128::MIN;

/// Which conditions of a kernel hold in a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ConditionBits([u64; MAX_CONDITIONS / 64]);

impl ConditionBits {
    /// None holds, or none is relied on: what serves every launch of a class.
    pub const NONE: Self = Self([0; MAX_CONDITIONS / 64]);

    /// Whether condition `number` holds.
    pub fn holds(&self, number: usize) -> bool {
        self.0
            .get(number / 64)
            .is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    /// The same, with condition `number` holding. There are no more than [`MAX_CONDITIONS`].
    #[must_use]
    pub fn with(mut self, number: usize) -> Self {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
        self
    }

    /// Whether everything that holds here holds in `other` too: then a kernel made for these serves launches of `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(here, there)| here & !there == 0)
    }

    /// The bits as words, the first condition in the lowest bit of the first word.
    pub fn words(&self) -> &[u64; MAX_CONDITIONS / 64] {
        &self.0
    }
}

/// The place of an earlier result.
type Place = u16;

#[derive(Debug, Clone)]
enum Instruction {
    Symbol(Symbol),
    /// `constant` and the terms at `first..first + terms`.
    Sum {
        constant: i128,
        first: u32,
        terms: u32,
    },
    Product(Place, Place),
    Quotient(Place, Place),
    Shifted(Place, u32),
    Smaller(Place, Place),
    Larger(Place, Place),
    Tightest(Place, Place),
    Under(Place, Place),
    NotNegative(Place),
    Both(Place, Place),
    Either(Place, Place),
}

/// A program that finds which conditions hold.
#[derive(Debug, Clone, Default)]
pub struct Program {
    instructions: Vec<Instruction>,
    terms: Vec<(Place, i128)>,
    /// Where each condition's truth is.
    results: Vec<Place>,
}

impl Program {
    /// How many conditions it evaluates.
    pub fn conditions(&self) -> usize {
        self.results.len()
    }

    /// How many operations that takes.
    pub fn operations(&self) -> usize {
        self.instructions.len()
    }

    /// The conditions that hold for what is `known` of a launch with this grid. Allocates nothing.
    pub fn evaluate(&self, known: &impl Known, grid: [u64; 3]) -> ConditionBits {
        let operations = self.instructions.len();
        if operations <= FEW_OPERATIONS {
            self.run(&mut [0; FEW_OPERATIONS], known, grid)
        } else if operations <= SOME_OPERATIONS {
            self.run(&mut [0; SOME_OPERATIONS], known, grid)
        } else {
            self.run(&mut [0; MAX_OPERATIONS], known, grid)
        }
    }

    fn run(&self, results: &mut [i128], known: &impl Known, grid: [u64; 3]) -> ConditionBits {
        for (at, instruction) in self.instructions.iter().enumerate() {
            let of = |place: Place| results[usize::from(place)];
            let both = |left: Place, right: Place| {
                Some((of(left), of(right))).filter(|&(l, r)| l != NO_VALUE && r != NO_VALUE)
            };
            let value = match *instruction {
                Instruction::Symbol(Symbol::NumPrograms(axis)) => grid.get(usize::from(axis)).map(|&n| n.into()),
                Instruction::Symbol(symbol) => known.symbol(symbol).map(i128::from),
                Instruction::Sum { constant, first, terms } => {
                    let terms = &self.terms[first as usize..(first + terms) as usize];
                    terms.iter().try_fold(constant, |sum, &(place, factor)| {
                        let value = Some(of(place)).filter(|&value| value != NO_VALUE)?;
                        sum.checked_add(product(value, factor)?)
                    })
                }
                Instruction::Product(left, right) => both(left, right).and_then(|(l, r)| product(l, r)),
                Instruction::Quotient(left, right) => {
                    both(left, right).filter(|(_, r)| *r > 0).map(|(l, r)| quotient(l, r))
                }
                Instruction::Shifted(place, by) => Some(of(place)).filter(|v| *v != NO_VALUE).map(|v| v >> by),
                Instruction::Smaller(left, right) => both(left, right).map(|(l, r)| l.min(r)),
                Instruction::Larger(left, right) => both(left, right).map(|(l, r)| l.max(r)),
                Instruction::Tightest(left, right) => match (of(left), of(right)) {
                    (NO_VALUE, other) | (other, NO_VALUE) => Some(other),
                    (l, r) => Some(l.min(r)),
                },
                Instruction::Under(place, condition) => (of(condition) != 0).then(|| of(place)),
                // What has no value is negative.
                Instruction::NotNegative(place) => Some((of(place) >= 0).into()),
                Instruction::Both(left, right) => Some(of(left) & of(right)),
                Instruction::Either(left, right) => Some(of(left) | of(right)),
            };
            results[at] = value.unwrap_or(NO_VALUE);
        }
        let holding = self
            .results
            .iter()
            .enumerate()
            .filter(|(_, place)| results[usize::from(**place)] != 0);
        holding.fold(ConditionBits::NONE, |bits, (number, _)| bits.with(number))
    }
}

/// Most numbers have 64 bits, and there the operation is quick.
fn product(left: i128, right: i128) -> Option<i128> {
    match (i64::try_from(left), i64::try_from(right)) {
        (Ok(left), Ok(right)) => Some(i128::from(left) * i128::from(right)),
        _ => left.checked_mul(right),
    }
}

fn quotient(left: i128, right: i128) -> i128 {
    match (i64::try_from(left), i64::try_from(right)) {
        // The divisor is positive, so nothing overflows.
        (Ok(left), Ok(right)) => (left / right).into(),
        _ => left / right,
    }
}

/// Makes a [`Program`] of those terms that the chosen conditions need.
pub(crate) struct Compiler<'a> {
    terms: &'a Terms,
    program: Program,
    numbers: HashMap<Linear, Place>,
    symbols: HashMap<Unknown, Place>,
    conditions: HashMap<LaunchCondition, Place>,
    chosen: HashMap<LaunchCondition, usize>,
}

impl<'a> Compiler<'a> {
    pub fn new(terms: &'a Terms) -> Self {
        Self {
            terms,
            program: Program::default(),
            numbers: HashMap::new(),
            symbols: HashMap::new(),
            conditions: HashMap::new(),
            chosen: HashMap::new(),
        }
    }

    /// The number of a condition, which is neither always nor never so; `None` if there are too many.
    pub fn choose(&mut self, condition: LaunchCondition) -> Option<usize> {
        if let Some(&number) = self.chosen.get(&condition) {
            return Some(number);
        }
        let number = self.program.results.len();
        if number == MAX_CONDITIONS {
            return None;
        }
        // What was made for a condition that there is no room for serves others yet.
        let place = room(|| self.condition(condition))?;
        self.program.results.push(place);
        self.chosen.insert(condition, number);
        Some(number)
    }

    pub fn finish(self) -> Program {
        self.program
    }

    fn push(&mut self, instruction: Instruction) -> Option<Place> {
        let place = self.program.instructions.len();
        if place >= MAX_OPERATIONS {
            return None;
        }
        self.program.instructions.push(instruction);
        Some(place as Place)
    }

    fn condition(&mut self, condition: LaunchCondition) -> Option<Place> {
        if let Some(&place) = self.conditions.get(&condition) {
            return Some(place);
        }
        let instruction = match self.terms.tests[condition.0 as usize].clone() {
            Test::Settled(truth) => Instruction::Sum {
                constant: truth.into(),
                first: 0,
                terms: 0,
            },
            Test::NotNegative(number) => Instruction::NotNegative(room(|| self.number(&number))?),
            Test::Both(left, right) => {
                Instruction::Both(room(|| self.condition(left))?, room(|| self.condition(right))?)
            }
            Test::Either(left, right) => {
                Instruction::Either(room(|| self.condition(left))?, room(|| self.condition(right))?)
            }
        };
        let place = self.push(instruction)?;
        self.conditions.insert(condition, place);
        Some(place)
    }

    fn number(&mut self, number: &Linear) -> Option<Place> {
        if let Some(&place) = self.numbers.get(number) {
            return Some(place);
        }
        let mut terms = Vec::new();
        for (unknown, factor) in number.iter() {
            terms.push((room(|| self.unknown(unknown))?, factor));
        }
        let place = match terms.as_slice() {
            [(place, 1)] if number.constant == 0 => *place,
            _ => {
                let instruction = Instruction::Sum {
                    constant: number.constant,
                    first: self.program.terms.len() as u32,
                    terms: terms.len() as u32,
                };
                let place = self.push(instruction)?;
                self.program.terms.extend(terms);
                place
            }
        };
        self.numbers.insert(number.clone(), place);
        Some(place)
    }

    fn unknown(&mut self, unknown: Unknown) -> Option<Place> {
        if let Some(&place) = self.symbols.get(&unknown) {
            return Some(place);
        }
        let instruction = match unknown {
            Unknown::Symbol(symbol) => Instruction::Symbol(symbol),
            Unknown::Computed(Computed(place)) => match self.terms.numbers[place as usize].0.clone() {
                Operation::Sum(sum) => {
                    let place = self.number(&sum)?;
                    self.symbols.insert(unknown, place);
                    return Some(place);
                }
                Operation::Product(l, r) => Instruction::Product(self.number(&l)?, self.number(&r)?),
                Operation::Quotient(l, r) => Instruction::Quotient(self.number(&l)?, self.number(&r)?),
                Operation::Shifted(n, by) => Instruction::Shifted(self.number(&n)?, by),
                Operation::Smaller(l, r) => Instruction::Smaller(self.number(&l)?, self.number(&r)?),
                Operation::Larger(l, r) => Instruction::Larger(self.number(&l)?, self.number(&r)?),
                Operation::Tightest(l, r) => Instruction::Tightest(self.number(&l)?, self.number(&r)?),
                Operation::Under(n, condition) => Instruction::Under(self.number(&n)?, self.condition(condition)?),
            },
            // No number of a launch is made of them.
            Unknown::Member(..) | Unknown::Value(_) => return None,
        };
        let place = self.push(instruction)?;
        self.symbols.insert(unknown, place);
        Some(place)
    }
}
