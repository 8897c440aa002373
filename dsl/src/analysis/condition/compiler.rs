//! Conditions, made into a program.

use std::collections::HashMap;

use super::program::{Instruction, MAX_OPERATIONS, Place, Program};
use super::{Computed, LaunchCondition, MAX_CONDITIONS, Operation, Terms, Test};
use crate::analysis::linear::{Linear, Unknown};
use crate::stack::room;

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
        self.program.results.push((number as u16, place));
        self.chosen.insert(condition, number);
        Some(number)
    }

    pub fn finish(self) -> Program {
        self.program.with_plain()
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
            terms.push((room(|| self.unknown(unknown))?, i64::try_from(factor).ok()?));
        }
        let constant = number.constant;
        let place = match terms.as_slice() {
            [(place, 1)] if constant == 0 => *place,
            _ => {
                let instruction = Instruction::Sum {
                    constant,
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
            Unknown::Computed(Computed(place)) => match self.terms.numbers[place as usize].operation.clone() {
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
