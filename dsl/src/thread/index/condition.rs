//! Conditions.

use super::divide::greatest_common_divisor;
use super::{Index, IndexArena, Predicate, Sum, Term};
use crate::ir::Handle;
use crate::thread::Value;

impl IndexArena {
    /// Something that is known.
    pub fn always(&mut self, holds: bool) -> Handle<Predicate> {
        self.intern_condition(Predicate::Constant(holds))
    }

    /// A bool value.
    pub fn holds(&mut self, value: Handle<Value>) -> Handle<Predicate> {
        self.intern_condition(Predicate::Value(value))
    }

    /// `left < right`.
    pub fn less(&mut self, left: Handle<Index>, right: Handle<Index>) -> Handle<Predicate> {
        let (l, r) = (self.facts(left), self.facts(right));
        if l.high < r.low {
            return self.always(true);
        }
        if l.low >= r.high || left == right {
            return self.always(false);
        }
        let difference = self.subtract(right, left);
        let sum = self.as_sum(difference);
        // Both sides are what they seem, and so is what is between them.
        let exact = [&self.as_sum(left), &self.as_sum(right), &sum]
            .iter()
            .all(|sum| self.exact_range(sum).is_some());
        match exact {
            true => self.positive(&sum),
            false => self.intern_condition(Predicate::Less(left, right)),
        }
    }

    /// `left <= right`.
    pub fn at_most(&mut self, left: Handle<Index>, right: Handle<Index>) -> Handle<Predicate> {
        let less = self.less(right, left);
        self.not(less)
    }

    /// `left == right`.
    pub fn equal(&mut self, left: Handle<Index>, right: Handle<Index>) -> Handle<Predicate> {
        let difference = self.subtract(left, right);
        let facts = self.facts(difference);
        if self.as_constant(difference) == Some(0) {
            return self.always(true);
        }
        let (l, r) = (self.facts(left), self.facts(right));
        if l.high < r.low || r.high < l.low || facts.low > 0 || facts.high < 0 {
            return self.always(false);
        }
        // Whichever side was written first.
        let opposite = self.scale(difference, -1);
        self.intern_condition(Predicate::Zero(difference.min(opposite)))
    }

    /// `0 <= value < limit`, of a limit that is not negative.
    pub fn within(&mut self, value: Handle<Index>, limit: Handle<Index>) -> Handle<Predicate> {
        let zero = self.constant(0);
        let (lower, upper) = (self.at_most(zero, value), self.less(value, limit));
        match (self.is_known(lower), self.is_known(upper)) {
            (Some(false), _) | (_, Some(false)) => self.always(false),
            (Some(true), _) => upper,
            (_, Some(true)) => lower,
            // One unsigned comparison is right only if the limit is not negative.
            _ if self.facts(limit).low >= 0 => self.intern_condition(Predicate::Within(value, limit)),
            _ => self.all([lower, upper]),
        }
    }

    /// `condition` does not hold.
    pub fn not(&mut self, condition: Handle<Predicate>) -> Handle<Predicate> {
        match *self.condition(condition) {
            Predicate::Constant(holds) => self.always(!holds),
            Predicate::Not(other) => other,
            // x <= 0 is 1 - x > 0 where nothing wraps.
            Predicate::Positive(index) => {
                let one = self.constant(1);
                let opposite = self.subtract(one, index);
                let sum = self.as_sum(opposite);
                match self.exact_range(&sum) {
                    Some(_) => self.positive(&sum),
                    None => self.intern_condition(Predicate::Not(condition)),
                }
            }
            _ => self.intern_condition(Predicate::Not(condition)),
        }
    }

    /// All of them hold.
    pub fn all(&mut self, conditions: impl IntoIterator<Item = Handle<Predicate>>) -> Handle<Predicate> {
        self.gather(conditions, true)
    }

    /// One of them holds.
    pub fn any(&mut self, conditions: impl IntoIterator<Item = Handle<Predicate>>) -> Handle<Predicate> {
        self.gather(conditions, false)
    }

    /// Conditions of which all (or any) must hold: `neutral` are those that say nothing.
    fn gather(&mut self, conditions: impl IntoIterator<Item = Handle<Predicate>>, neutral: bool) -> Handle<Predicate> {
        let mut parts = Vec::new();
        for condition in conditions {
            match self.condition(condition) {
                Predicate::Constant(holds) if *holds == neutral => {}
                Predicate::Constant(_) => return self.always(!neutral),
                Predicate::All(all) if neutral => parts.extend_from_slice(all),
                Predicate::Any(any) if !neutral => parts.extend_from_slice(any),
                _ => parts.push(condition),
            }
        }
        parts.sort_unstable();
        parts.dedup();
        // One and its opposite.
        for at in 0..parts.len() {
            let opposite = self.not(parts[at]);
            if parts.binary_search(&opposite).is_ok() {
                return self.always(!neutral);
            }
        }
        match *parts {
            [] => self.always(neutral),
            [one] => one,
            _ if neutral => self.intern_condition(Predicate::All(parts.into())),
            _ => self.intern_condition(Predicate::Any(parts.into())),
        }
    }

    /// `sum > 0`, of a sum that does not wrap.
    fn positive(&mut self, sum: &Sum) -> Handle<Predicate> {
        match self.exact_range(sum) {
            Some((low, _)) if low > 0 => return self.always(true),
            Some((_, high)) if high <= 0 => return self.always(false),
            _ => {}
        }
        // `by * whole + rest > 0` is `whole > floor(-rest / by)`, which is all that is left of the rest if it is the
        // same for every one.
        let mut divisors: Vec<i64> = sum
            .terms
            .iter()
            .filter_map(|term| term.coefficient.checked_abs())
            .filter(|by| *by > 1)
            .collect();
        let common = divisors.iter().copied().fold(0, greatest_common_divisor);
        divisors.push(common);
        divisors.sort_unstable_by(|one, other| other.cmp(one));
        divisors.dedup();
        for by in divisors.into_iter().filter(|by| *by > 1) {
            if let Some(simpler) = self.without_rest(sum, by) {
                return self.positive(&simpler);
            }
        }
        let index = self.of_sum(sum.clone());
        self.intern_condition(Predicate::Positive(index))
    }

    /// What is positive if and only if `sum` is, without the part that `by` does not divide.
    fn without_rest(&self, sum: &Sum, by: i64) -> Option<Sum> {
        let (whole, rest): (Vec<Term>, Vec<Term>) =
            sum.terms.iter().cloned().partition(|term| term.coefficient % by == 0);
        let rest = Sum {
            constant: sum.constant,
            terms: rest.into(),
        };
        let (least, most) = self.exact_range(&rest)?;
        let limit = |rest: i64| (-i128::from(rest)).div_euclid(by.into());
        if limit(least) != limit(most) {
            return None;
        }
        let terms: Vec<Term> = whole
            .into_iter()
            .map(|term| Term {
                coefficient: term.coefficient / by,
                factors: term.factors,
            })
            .collect();
        let simpler = Sum {
            constant: i64::try_from(-limit(least)).ok()?,
            terms: terms.into(),
        };
        self.exact_range(&simpler)?;
        Some(simpler)
    }
}

impl IndexArena {
    /// Calls `visit` with each index that a condition is made of directly, and `inner` with each condition.
    pub fn for_each_operand_of(
        &self,
        condition: Handle<Predicate>,
        mut visit: impl FnMut(Handle<Index>),
        mut inner: impl FnMut(Handle<Predicate>),
    ) {
        match self.condition(condition) {
            Predicate::Constant(_) | Predicate::Value(_) => {}
            Predicate::Positive(index) | Predicate::Zero(index) => visit(*index),
            Predicate::Less(left, right) | Predicate::Within(left, right) => {
                visit(*left);
                visit(*right);
            }
            Predicate::Not(other) => inner(*other),
            Predicate::All(all) | Predicate::Any(all) => all.iter().copied().for_each(inner),
        }
    }
}
