//! What is known of an index: its range, and which power of two divides it.

use super::arithmetic::Terms;
use super::{Index, IndexArena, Predicate, Sum, Term};
use crate::element::ElementType;
use crate::ir::Handle;

/// What is known of an index, in every thread and at every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// It is at least this.
    pub low: i64,
    /// It is at most this.
    pub high: i64,
    /// A power of two that divides it: 2^63, the sign bit alone, divides 0 and the smallest integer.
    pub divisor: u64,
}

/// How many low bits in one sum are looked behind.
const MAX_REPLACED: u8 = 3;

/// What divides zero.
const EVERYTHING: u64 = 1 << 63;

impl Facts {
    /// Of an integer of which nothing is known.
    pub const NONE: Facts = Facts {
        low: i64::MIN,
        high: i64::MAX,
        divisor: 1,
    };

    /// Of an integer between two, both included.
    pub const fn between(low: i64, high: i64) -> Self {
        Self { low, high, divisor: 1 }
    }

    /// Of one integer.
    pub const fn constant(value: i64) -> Self {
        Self {
            low: value,
            high: value,
            divisor: power_of_two_in(value as u64),
        }
    }

    /// Of a value of this integer type, extended by its sign: what does not fit 64 bits with a sign wraps.
    pub fn of_element(element: ElementType) -> Self {
        let Some((low, high)) = element.integer_range() else {
            return Self::NONE;
        };
        match (i64::try_from(low), i64::try_from(high)) {
            (Ok(low), Ok(high)) => Self::between(low, high),
            _ => Self::NONE,
        }
    }

    /// The same, of multiples of the power of two that divides `by`.
    pub const fn with_divisor(self, by: u64) -> Self {
        let power = power_of_two_in(by);
        let divisor = if power > self.divisor { power } else { self.divisor };
        Self { divisor, ..self }
    }

    /// Whether all of `other` is known here too.
    pub const fn implies(&self, other: &Facts) -> bool {
        self.low >= other.low && self.high <= other.high && self.divisor >= other.divisor
    }

    /// Whether `value` agrees with them.
    pub const fn holds_of(&self, value: i64) -> bool {
        self.low <= value && value <= self.high && power_of_two_in(value as u64) >= self.divisor
    }

    /// What holds of a value of which either holds.
    fn or(self, other: Facts) -> Facts {
        Facts {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            divisor: self.divisor.min(other.divisor),
        }
    }
}

/// The largest power of two that divides `value` and fits 64 bits.
pub(super) const fn power_of_two_in(value: u64) -> u64 {
    match value {
        0 => EVERYTHING,
        _ => 1 << value.trailing_zeros(),
    }
}

/// The product of two powers of two, up to the largest one.
fn product_of_powers(left: u64, right: u64) -> u64 {
    left.checked_mul(right).unwrap_or(EVERYTHING)
}

impl IndexArena {
    pub(super) fn find_facts(&self, index: &Index) -> Facts {
        match index {
            Index::Atom(_) => Facts::NONE,
            Index::Sum(sum) => {
                let divisor = self.divisor_of(sum, MAX_REPLACED);
                let (low, high) = self.exact_range(sum).unwrap_or((i64::MIN, i64::MAX));
                Facts { low, high, divisor }
            }
            Index::Quotient { value, by } => self.of_quotient(*value, *by),
            Index::Remainder { value, by } => self.of_remainder(*value, *by),
            Index::Low { value, bits } => {
                let facts = self.facts(*value);
                let most = (1i64 << bits) - 1;
                let high = if facts.low >= 0 { most.min(facts.high) } else { most };
                // Also a multiple of what divides the value, the largest of which is that much below 2^bits.
                let divisor = facts.divisor.min(1 << bits);
                Facts {
                    low: 0,
                    high: high.min((1i64 << bits) - divisor as i64),
                    divisor,
                }
            }
            Index::Minimum(left, right) => {
                let (l, r) = (self.facts(*left), self.facts(*right));
                Facts {
                    high: l.high.min(r.high),
                    ..l.or(r)
                }
            }
            Index::Maximum(left, right) => {
                let (l, r) = (self.facts(*left), self.facts(*right));
                Facts {
                    low: l.low.max(r.low),
                    ..l.or(r)
                }
            }
            Index::Select {
                condition,
                accept,
                reject,
            } => self.of_select(*condition, *accept, *reject),
        }
    }

    /// The power of two that divides a sum. Where there are low bits in it, what they are the low bits of leaves the
    /// same below as many bits: `x - low(x, 4)` is a multiple of 16.
    fn divisor_of(&self, sum: &Sum, replaced: u8) -> u64 {
        let divides = |factors: &[Handle<Index>], coefficient: i64| {
            let factors = factors.iter().map(|factor| self.facts(*factor).divisor);
            factors.fold(power_of_two_in(coefficient as u64), product_of_powers)
        };
        let terms = sum.terms.iter().map(|term| divides(&term.factors, term.coefficient));
        let mut divisor = terms.fold(power_of_two_in(sum.constant as u64), u64::min);
        if replaced == 0 {
            return divisor;
        }
        for (number, term) in sum.terms.iter().enumerate() {
            for (at, &factor) in term.factors.iter().enumerate() {
                let Index::Low { value, bits } = *self.get(factor) else {
                    continue;
                };
                let mut others = term.factors.to_vec();
                others.remove(at);
                let limit = product_of_powers(divides(&others, term.coefficient), 1 << bits);
                if limit <= divisor {
                    continue;
                }
                let mut terms = Terms::new();
                terms.add(sum.constant, &[]);
                let rest = sum.terms.iter().enumerate().filter(|(other, _)| *other != number);
                rest.for_each(|(_, term)| terms.add(term.coefficient, &term.factors));
                terms.add_product(&self.as_sum(value), term.coefficient, &others);
                divisor = divisor.max(self.divisor_of(&terms.into_sum(), replaced - 1).min(limit));
            }
        }
        divisor
    }

    /// The power of two that divides the sum of two.
    pub fn common_divisor(&self, left: Handle<Index>, right: Handle<Index>) -> u64 {
        let mut terms = Terms::new();
        terms.add_sum(&self.as_sum(left), 1);
        terms.add_sum(&self.as_sum(right), 1);
        self.divisor_of(&terms.into_sum(), MAX_REPLACED)
    }

    fn of_quotient(&self, value: Handle<Index>, by: Handle<Index>) -> Facts {
        let (v, d) = (self.facts(value), self.facts(by));
        // The smallest integer by -1 wraps.
        let wraps = v.low == i64::MIN && d.low <= -1 && d.high >= -1;
        if wraps {
            return Facts::NONE;
        }
        // Whatever divides, the magnitude does not grow; a divisor that is never small makes it shrink.
        let smallest = match (d.low > 0, d.high < 0) {
            (true, _) => d.low.unsigned_abs(),
            (_, true) => d.high.unsigned_abs(),
            _ => 1,
        };
        let largest = v.low.unsigned_abs().max(v.high.unsigned_abs()) / smallest;
        let largest = i64::try_from(largest).unwrap_or(i64::MAX);
        let sign_kept = v.low >= 0 && d.low >= 0;
        let low = if sign_kept {
            0
        } else {
            largest.checked_neg().unwrap_or(i64::MIN)
        };
        // The magnitude of the smallest integer is one more than the largest integer.
        let low = if v.low == i64::MIN && smallest == 1 {
            i64::MIN
        } else {
            low
        };
        let mut facts = Facts::between(low, largest);
        if let Some(by) = self.as_constant(by).filter(|by| *by > 0) {
            facts.low = v.low / by;
            facts.high = v.high / by;
            // Of an exact quotient by a power of two.
            if by.count_ones() == 1 && v.divisor >= by as u64 {
                facts.divisor = v.divisor / by as u64;
            }
        }
        facts
    }

    fn of_remainder(&self, value: Handle<Index>, by: Handle<Index>) -> Facts {
        let (v, d) = (self.facts(value), self.facts(by));
        // Less in magnitude than the divisor, and no more than the value.
        let most = d.low.unsigned_abs().max(d.high.unsigned_abs()).saturating_sub(1);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        Facts {
            low: if v.low >= 0 { 0 } else { v.low.max(-most) },
            high: if v.high <= 0 { 0 } else { v.high.min(most) },
            divisor: v.divisor.min(d.divisor),
        }
    }

    /// What holds of either, in the light of the condition under which it is taken.
    fn of_select(&self, condition: Handle<Predicate>, accept: Handle<Index>, reject: Handle<Index>) -> Facts {
        let (mut accepted, mut rejected) = (self.facts(accept), self.facts(reject));
        // Of a comparison with a constant, of what is chosen itself.
        if let Predicate::Positive(tested) = self.condition(condition) {
            if let Some((limit, grows)) = self.against_constant(*tested, accept) {
                match grows {
                    true => accepted.low = accepted.low.max(limit),
                    false => accepted.high = accepted.high.min(limit),
                }
            }
            if let Some((limit, grows)) = self.against_constant(*tested, reject) {
                match grows {
                    true => rejected.high = rejected.high.min(limit.saturating_sub(1)),
                    false => rejected.low = rejected.low.max(limit.saturating_add(1)),
                }
            }
        }
        match (accepted.low <= accepted.high, rejected.low <= rejected.high) {
            (true, false) => accepted,
            (false, true) => rejected,
            _ => accepted.or(rejected),
        }
    }

    /// Where `tested > 0` says that `index` is at least (or at most) a limit: `tested` is `index` (or its negative) and
    /// a constant.
    fn against_constant(&self, tested: Handle<Index>, index: Handle<Index>) -> Option<(i64, bool)> {
        let own = |index: Handle<Index>| match self.get(index) {
            Index::Sum(sum) => sum.clone(),
            _ => Sum::of(index),
        };
        let (tested, index) = (own(tested), own(index));
        if tested.terms.is_empty() || tested.terms.len() != index.terms.len() {
            return None;
        }
        // What wraps says nothing of the range.
        self.exact_range(&tested).and(self.exact_range(&index))?;
        let pairs = || tested.terms.iter().zip(&index.terms);
        if pairs().any(|(one, other)| one.factors != other.factors) {
            return None;
        }
        // tested = index + (tested.constant - index.constant): at least 1.
        if pairs().all(|(one, other)| one.coefficient == other.coefficient) {
            let apart = tested.constant.checked_sub(index.constant)?;
            return Some((1i64.checked_sub(apart)?, true));
        }
        if pairs().all(|(one, other)| Some(one.coefficient) == other.coefficient.checked_neg()) {
            let sum = tested.constant.checked_add(index.constant)?;
            return Some((sum.checked_sub(1)?, false));
        }
        None
    }

    /// The range of a sum of integers that do not wrap, if it is one that 64 bits hold: then nothing wraps either.
    pub fn exact_range(&self, sum: &Sum) -> Option<(i64, i64)> {
        let (mut low, mut high) = (i128::from(sum.constant), i128::from(sum.constant));
        for term in &sum.terms {
            let (mut least, mut most) = (1i128, 1i128);
            for &factor in &term.factors {
                let facts = self.facts(factor);
                (least, most) = product((least, most), (facts.low.into(), facts.high.into()))?;
            }
            let coefficient = i128::from(term.coefficient);
            (least, most) = product((least, most), (coefficient, coefficient))?;
            low = low.checked_add(least)?;
            high = high.checked_add(most)?;
        }
        Some((i64::try_from(low).ok()?, i64::try_from(high).ok()?))
    }

    /// Whether a sum is exact, and fits 32 bits with its sign.
    pub fn is_narrow_sum(&self, sum: &Sum) -> bool {
        let range = self.exact_range(sum);
        range.is_some_and(|(low, high)| i32::try_from(low).is_ok() && i32::try_from(high).is_ok())
    }

    /// What is added in a sum, and what is taken away, if none of this wraps: the sum is positive where the first is more than
    /// the second.
    pub fn both_sides(&self, index: Handle<Index>) -> Option<(Sum, Sum)> {
        let Index::Sum(sum) = self.get(index) else { return None };
        let (added, taken): (Vec<Term>, Vec<Term>) = sum.terms.iter().cloned().partition(|term| term.coefficient > 0);
        let opposite = |term: Term| {
            Some(Term {
                coefficient: term.coefficient.checked_neg()?,
                ..term
            })
        };
        let more = Sum {
            constant: sum.constant.max(0),
            terms: added.into(),
        };
        let less = Sum {
            constant: sum.constant.checked_neg()?.max(0),
            terms: taken.into_iter().map(opposite).collect::<Option<Vec<_>>>()?.into(),
        };
        let is_exact = |sum: &Sum| self.exact_range(sum).is_some();
        (is_exact(sum) && is_exact(&more) && is_exact(&less)).then_some((more, less))
    }
}

/// The range of a product, from the ranges of its factors.
fn product(left: (i128, i128), right: (i128, i128)) -> Option<(i128, i128)> {
    let all = [
        left.0.checked_mul(right.0)?,
        left.0.checked_mul(right.1)?,
        left.1.checked_mul(right.0)?,
        left.1.checked_mul(right.1)?,
    ];
    Some((*all.iter().min()?, *all.iter().max()?))
}
