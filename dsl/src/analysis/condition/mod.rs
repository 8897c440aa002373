//! What is proved only of some launches: conditions on integers that the host knows of one.
//!
//! A number of a launch is a [`Linear`] form over what the host knows: extents, strides, counts, the grid, and what is
//! computed of them ([`Unknown::Computed`]). A [`LaunchCondition`] compares such numbers. Both are kept in `Terms`, each one
//! once, with what is known of it in every launch, so that what is always or never so becomes no condition. What is left is
//! compiled to a [`Program`] that a launch evaluates.
//!
//! A number may have no value in a launch: its arithmetic overflows, a divisor is not positive, or it is a bound that holds
//! only under a condition. A comparison with it fails. So conditions know no negation, and one that fails says nothing.

mod compiler;
mod given;
mod program;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;

pub(crate) use self::compiler::Compiler;
pub use self::program::{ConditionBits, MAX_CONDITIONS, Program};
use super::linear::{Linear, Unknown};

/// A condition on the integers of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaunchCondition(u32);

impl LaunchCondition {
    /// It holds in no launch.
    pub const NEVER: Self = Self(0);
    /// It holds in every launch.
    pub const ALWAYS: Self = Self(1);

    /// Whether it holds in every launch.
    pub fn is_always(self) -> bool {
        self == Self::ALWAYS
    }
}

/// A number of a launch that is no sum of multiples of what the host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Computed(u32);

/// How it is computed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Operation {
    /// A sum of many numbers, under a name, so that what it is part of is no longer than a form can be.
    Sum(Linear),
    Product(Linear, Linear),
    /// Rounded towards zero; no value if the divisor is not positive.
    Quotient(Linear, Linear),
    /// Rounded down, by a power of two.
    Shifted(Linear, u32),
    Smaller(Linear, Linear),
    Larger(Linear, Linear),
    /// The smaller of those that have a value.
    Tightest(Linear, Linear),
    /// The value, if the condition holds.
    Under(Linear, LaunchCondition),
}

/// What a condition tests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Test {
    /// Stands at the places of what never and always holds.
    Settled(bool),
    NotNegative(Box<Linear>),
    Both(LaunchCondition, LaunchCondition),
    Either(LaunchCondition, LaunchCondition),
}

/// What is known of a number in every launch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extremes {
    /// The least value that it can have, where it has one.
    pub low: i128,
    /// The largest one.
    pub high: i128,
    /// Whether it has a value in every launch.
    pub total: bool,
}

impl Extremes {
    pub fn between((low, high): (i128, i128)) -> Self {
        Self { low, high, total: true }
    }

    /// Whether the number is at least `least` in every launch.
    pub fn is_at_least(&self, least: i128) -> bool {
        self.total && self.low >= least
    }

    /// `None` where it may be too far from zero to have a value.
    fn of(low: Option<i128>, high: Option<i128>, total: bool) -> Option<Self> {
        let (low, high) = low.zip(high).filter(|&(low, high)| low >= -FAR && high <= FAR)?;
        Some(Self { low, high, total })
    }

    /// Of what may be too far from zero.
    const FAR: Self = Self {
        low: -FAR,
        high: FAR,
        total: false,
    };
}

/// No number of a launch that has a value is farther from zero: a larger one is taken for an overflow.
const FAR: i128 = 1 << 120;

/// How many numbers and conditions are kept. What more there would be has no value, and never holds.
const MAX_TERMS: usize = 1 << 13;

#[derive(Debug)]
struct Number {
    operation: Operation,
    extremes: Extremes,
    /// Whether it has a value; `None` if it may be too far from zero for one, which no other condition tells.
    has_value: Option<LaunchCondition>,
}

/// Numbers and conditions of launches, each one once.
#[derive(Debug)]
pub(crate) struct Terms {
    numbers: Vec<Number>,
    places: HashMap<Operation, Computed>,
    tests: Vec<Test>,
    conditions: HashMap<Test, LaunchCondition>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            numbers: Vec::new(),
            places: HashMap::new(),
            tests: vec![Test::Settled(false), Test::Settled(true)],
            conditions: HashMap::new(),
        }
    }
}

/// What is known of an unknown that is not computed.
type Known<'a> = &'a dyn Fn(Unknown) -> (i128, i128);

impl Terms {
    /// What is known of a number of a launch.
    pub fn extremes(&self, number: &Linear, known: Known<'_>) -> Extremes {
        self.near(number, known).unwrap_or(Extremes::FAR)
    }

    /// As [`extremes`](Self::extremes), of a number that is not too far from zero, however large what it is made of.
    fn near(&self, number: &Linear, known: Known<'_>) -> Option<Extremes> {
        if let Some(value) = number.as_constant() {
            return Some(Extremes::between((value, value)));
        }
        let mut total = true;
        for unknown in number.unknowns() {
            if let Unknown::Computed(computed) = unknown {
                total &= self.numbers[computed.0 as usize].extremes.total;
            }
        }
        let range = |unknown| match unknown {
            Unknown::Computed(Computed(place)) => {
                let extremes = self.numbers[place as usize].extremes;
                (extremes.low, extremes.high)
            }
            other => known(other),
        };
        Extremes::of(number.minimum(range), number.maximum(range), total)
    }

    /// What an operation gives, which is between two values, or may be too far from zero.
    fn number(&mut self, operation: Operation, between: [Option<i128>; 2], known: Known<'_>) -> Option<Linear> {
        if let Some(&place) = self.places.get(&operation) {
            return Some(Linear::unknown(Unknown::Computed(place)));
        }
        if self.numbers.len() >= MAX_TERMS {
            return None;
        }
        let [low, high] = between;
        let near = Extremes::of(low, high, false);
        let has_value = near.and_then(|_| self.operation_has_value(&operation, known));
        let total = has_value == Some(LaunchCondition::ALWAYS);
        let place = Computed(self.numbers.len() as u32);
        self.numbers.push(Number {
            operation: operation.clone(),
            extremes: Extremes {
                total,
                ..near.unwrap_or(Extremes::FAR)
            },
            has_value,
        });
        self.places.insert(operation, place);
        Some(Linear::unknown(Unknown::Computed(place)))
    }

    /// Whether what an operation gives has a value, if it is not too far from zero.
    fn operation_has_value(&mut self, operation: &Operation, known: Known<'_>) -> Option<LaunchCondition> {
        let (left, right) = match operation {
            Operation::Sum(number) | Operation::Shifted(number, _) => return self.has_value(number, known),
            Operation::Under(number, condition) => (self.has_value(number, known)?, *condition),
            Operation::Tightest(left, right) => {
                let (left, right) = (self.has_value(left, known), self.has_value(right, known));
                let always = Some(LaunchCondition::ALWAYS);
                // One is enough.
                return match left == always || right == always {
                    true => always,
                    false => Some(self.either(left?, right?)),
                };
            }
            Operation::Quotient(left, right) => {
                let operands = (self.has_value(left, known)?, self.has_value(right, known)?);
                let operands = self.both(operands.0, operands.1);
                (operands, self.not_negative(&right.offset(-1)?, known))
            }
            Operation::Product(left, right) | Operation::Smaller(left, right) | Operation::Larger(left, right) => {
                (self.has_value(left, known)?, self.has_value(right, known)?)
            }
        };
        Some(self.both(left, right))
    }

    /// Whether a number has a value; `None` if it, or what it is made of, may be too far from zero for one.
    fn has_value(&mut self, number: &Linear, known: Known<'_>) -> Option<LaunchCondition> {
        self.near(number, known)?;
        let mut all = LaunchCondition::ALWAYS;
        for unknown in number.unknowns() {
            if let Unknown::Computed(computed) = unknown {
                all = self.both(all, self.numbers[computed.0 as usize].has_value?);
            }
        }
        Some(all)
    }

    /// Whether it is the name of a sum.
    pub fn is_sum(&self, number: Computed) -> bool {
        matches!(
            self.numbers.get(number.0 as usize),
            Some(Number {
                operation: Operation::Sum(_),
                ..
            })
        )
    }

    /// The same number, as one unknown.
    pub fn named(&mut self, sum: &Linear, known: Known<'_>) -> Option<Linear> {
        let Extremes { low, high, .. } = self.extremes(sum, known);
        self.number(Operation::Sum(sum.clone()), [Some(low), Some(high)], known)
    }

    pub fn product(&mut self, left: &Linear, right: &Linear, known: Known<'_>) -> Option<Linear> {
        match (left.as_constant(), right.as_constant()) {
            (Some(by), _) => return right.scale(by),
            (_, Some(by)) => return left.scale(by),
            _ => {}
        }
        let (l, r) = (self.extremes(left, known), self.extremes(right, known));
        let corners =
            [(l.low, r.low), (l.low, r.high), (l.high, r.low), (l.high, r.high)].map(|(a, b)| a.checked_mul(b));
        let all: Option<Vec<i128>> = corners.into_iter().collect();
        let between = match &all {
            Some(all) => [all.iter().min().copied(), all.iter().max().copied()],
            None => [None, None],
        };
        self.number(Operation::Product(left.clone(), right.clone()), between, known)
    }

    pub fn quotient(&mut self, left: &Linear, right: &Linear, known: Known<'_>) -> Option<Linear> {
        let (l, r) = (self.extremes(left, known), self.extremes(right, known));
        if let (Some(left), Some(right)) = (left.as_constant(), right.as_constant()) {
            return (right > 0).then(|| Linear::constant(left / right));
        }
        let (least, most) = (r.low.max(1), r.high.max(1));
        let low = if l.low >= 0 { l.low / most } else { l.low / least };
        let high = if l.high >= 0 { l.high / least } else { l.high / most };
        let operation = Operation::Quotient(left.clone(), right.clone());
        self.number(operation, [Some(low), Some(high)], known)
    }

    pub fn shifted(&mut self, number: &Linear, by: u32, known: Known<'_>) -> Option<Linear> {
        let n = self.extremes(number, known);
        match number.as_constant() {
            Some(value) => Some(Linear::constant(value >> by)),
            None => {
                let between = [n.low >> by, n.high >> by].map(Some);
                self.number(Operation::Shifted(number.clone(), by), between, known)
            }
        }
    }

    pub fn smaller(&mut self, left: &Linear, right: &Linear, known: Known<'_>) -> Option<Linear> {
        if left == right {
            return Some(left.clone());
        }
        let (l, r) = (self.extremes(left, known), self.extremes(right, known));
        if let Some((smaller, _)) = self.ordered(left, right, known) {
            return Some(smaller.clone());
        }
        let between = [l.low.min(r.low), l.high.min(r.high)].map(Some);
        self.number(Operation::Smaller(left.clone(), right.clone()), between, known)
    }

    pub fn larger(&mut self, left: &Linear, right: &Linear, known: Known<'_>) -> Option<Linear> {
        if left == right {
            return Some(left.clone());
        }
        let (l, r) = (self.extremes(left, known), self.extremes(right, known));
        if let Some((_, larger)) = self.ordered(left, right, known) {
            return Some(larger.clone());
        }
        let between = [l.low.max(r.low), l.high.max(r.high)].map(Some);
        self.number(Operation::Larger(left.clone(), right.clone()), between, known)
    }

    /// The smaller and the larger of two numbers, if both have a value in every launch and one is never more than the other.
    fn ordered<'l>(&self, left: &'l Linear, right: &'l Linear, known: Known<'_>) -> Option<(&'l Linear, &'l Linear)> {
        if !(self.extremes(left, known).total && self.extremes(right, known).total) {
            return None;
        }
        if self.is_always_at_most(left, right, known) {
            return Some((left, right));
        }
        self.is_always_at_most(right, left, known).then_some((right, left))
    }

    /// The smaller of two upper bounds, of those that there are.
    pub fn tightest(&mut self, left: &Linear, right: &Linear, known: Known<'_>) -> Option<Linear> {
        if left == right {
            return Some(left.clone());
        }
        let (l, r) = (self.extremes(left, known), self.extremes(right, known));
        if l.total && self.is_always_at_most(left, right, known) {
            return Some(left.clone());
        }
        if r.total && self.is_always_at_most(right, left, known) {
            return Some(right.clone());
        }
        let high = match (l.total, r.total) {
            (true, false) => l.high,
            (false, true) => r.high,
            (true, true) => l.high.min(r.high),
            (false, false) => l.high.max(r.high),
        };
        let between = [l.low.min(r.low), high].map(Some);
        self.number(Operation::Tightest(left.clone(), right.clone()), between, known)
    }

    /// A number that has a value only if `condition` holds.
    pub fn under(&mut self, number: &Linear, condition: LaunchCondition, known: Known<'_>) -> Option<Linear> {
        match condition {
            LaunchCondition::ALWAYS => Some(number.clone()),
            LaunchCondition::NEVER => None,
            _ => {
                let Extremes { low, high, .. } = self.extremes(number, known);
                let operation = Operation::Under(number.clone(), condition);
                self.number(operation, [Some(low), Some(high)], known)
            }
        }
    }

    fn is_always_at_most(&self, left: &Linear, right: &Linear, known: Known<'_>) -> bool {
        // Where one has no value, neither has the difference; the least value is that of those there are.
        let difference = right.subtract(left);
        difference.is_some_and(|difference| self.extremes(&difference, known).low >= 0)
    }

    fn condition(&mut self, test: Test) -> LaunchCondition {
        if let Some(&condition) = self.conditions.get(&test) {
            return condition;
        }
        if self.tests.len() >= MAX_TERMS {
            return LaunchCondition::NEVER;
        }
        let condition = LaunchCondition(self.tests.len() as u32);
        self.tests.push(test.clone());
        self.conditions.insert(test, condition);
        condition
    }

    pub fn not_negative(&mut self, number: &Linear, known: Known<'_>) -> LaunchCondition {
        let extremes = self.extremes(number, known);
        if extremes.high < 0 {
            return LaunchCondition::NEVER;
        }
        // What is never negative is only asked whether it has a value.
        let has_value = (extremes.low >= 0).then(|| self.has_value(number, known)).flatten();
        has_value.unwrap_or_else(|| self.condition(Test::NotNegative(number.clone().into())))
    }

    pub fn both(&mut self, left: LaunchCondition, right: LaunchCondition) -> LaunchCondition {
        match (left, right) {
            (LaunchCondition::NEVER, _) | (_, LaunchCondition::NEVER) => LaunchCondition::NEVER,
            (LaunchCondition::ALWAYS, other) | (other, LaunchCondition::ALWAYS) => other,
            (left, right) if self.implies(left, right) => left,
            (left, right) if self.implies(right, left) => right,
            (left, right) => self.condition(Test::Both(left.min(right), left.max(right))),
        }
    }

    pub fn either(&mut self, left: LaunchCondition, right: LaunchCondition) -> LaunchCondition {
        match (left, right) {
            (LaunchCondition::ALWAYS, _) | (_, LaunchCondition::ALWAYS) => LaunchCondition::ALWAYS,
            (LaunchCondition::NEVER, other) | (other, LaunchCondition::NEVER) => other,
            (left, right) if self.implies(left, right) => right,
            (left, right) if self.implies(right, left) => left,
            (left, right) => self.condition(Test::Either(left.min(right), left.max(right))),
        }
    }

    /// Whether one condition is seen to hold wherever another one does: it is the other, a part of it, or it is a part of this.
    fn implies(&self, condition: LaunchCondition, other: LaunchCondition) -> bool {
        let test = |condition: LaunchCondition| &self.tests[condition.0 as usize];
        condition == other
            || matches!(test(condition), Test::Both(one, another) if *one == other || *another == other)
            || matches!(test(other), Test::Either(one, another) if *one == condition || *another == condition)
    }
}
