//! Quotients, remainders, low bits, and the smaller and larger of two.

use super::arithmetic::Terms;
use super::{Index, IndexArena, Predicate, Sum, Term};
use crate::ir::Handle;

/// A sum in two parts: `divisor * whole + rest`.
struct Parts {
    whole: Sum,
    rest: Sum,
}

/// Takes a sum apart by what `divisor`, which is positive, divides.
fn parts(sum: &Sum, divisor: i64) -> Parts {
    let (mut whole, mut rest) = (Vec::new(), Vec::new());
    for term in &sum.terms {
        match term.coefficient % divisor {
            0 => whole.push(Term {
                coefficient: term.coefficient / divisor,
                factors: term.factors.clone(),
            }),
            _ => rest.push(term.clone()),
        }
    }
    let of = |constant, terms: Vec<Term>| Sum {
        constant,
        terms: terms.into(),
    };
    Parts {
        whole: of(sum.constant.div_euclid(divisor), whole),
        rest: of(sum.constant.rem_euclid(divisor), rest),
    }
}

impl IndexArena {
    /// The quotient, rounded toward zero; 0 where `by` is 0.
    pub fn quotient(&mut self, value: Handle<Index>, by: Handle<Index>) -> Handle<Index> {
        match (self.as_constant(value), self.as_constant(by)) {
            (_, Some(0)) | (Some(0), _) => return self.constant(0),
            (_, Some(1)) => return value,
            (_, Some(-1)) => return self.scale(value, -1),
            (Some(value), Some(by)) => return self.constant(value.wrapping_div(by)),
            (_, Some(by)) => {
                if let Some(simpler) = self.constant_quotient(value, by) {
                    return simpler;
                }
            }
            _ => {}
        }
        self.intern(Index::Quotient { value, by })
    }

    /// A simpler form of a quotient by a constant that is not 0, 1 or -1.
    fn constant_quotient(&mut self, value: Handle<Index>, by: i64) -> Option<Handle<Index>> {
        if by < 0 {
            // The smallest integer has no opposite, as a divisor.
            let by = by.checked_neg()?;
            let by = self.constant(by);
            let quotient = self.quotient(value, by);
            return Some(self.scale(quotient, -1));
        }
        // Rounding toward zero once or twice is the same.
        if let Index::Quotient { value, by: first } = *self.get(value)
            && let Some(first) = self.as_constant(first).filter(|first| *first > 0)
            && let Some(product) = first.checked_mul(by)
        {
            let product = self.constant(product);
            return Some(self.quotient(value, product));
        }
        let sum = self.as_sum(value);
        let (low, _) = self.exact_range(&sum)?;
        let Parts { whole, rest } = parts(&sum, by);
        let (least, most) = self.exact_range(&rest)?;
        let whole_fits = self.exact_range(&whole).is_some();
        // Every part is a multiple, whatever its sign.
        if whole_fits && rest.terms.is_empty() && rest.constant == 0 {
            return Some(self.of_sum(whole));
        }
        // Of what is not negative the quotient is rounded down, as that of its parts.
        if whole_fits && low >= 0 && least >= 0 && (!whole.terms.is_empty() || whole.constant != 0) {
            let whole = self.of_sum(whole);
            if most < by {
                return Some(whole);
            }
            let (rest, by) = (self.of_sum(rest), self.constant(by));
            let rest = self.quotient(rest, by);
            return Some(self.add(whole, rest));
        }
        if least >= 0 && most < by && whole.terms.is_empty() && whole.constant == 0 {
            return Some(self.constant(0));
        }
        if low >= 0
            && let Some((unit, Parts { whole, .. })) = self.fine_parts(&sum, by)
        {
            let (whole, by) = (self.of_sum(whole), self.constant(by / unit));
            return Some(self.quotient(whole, by));
        }
        self.reduced(&sum, by).map(|(value, by)| {
            let by = self.constant(by);
            self.quotient(value, by)
        })
    }

    /// A divisor of `by`, more than 1, of which the rest of a sum is less, whatever it is, and not always 0: what is
    /// divided by `by` is divided by the one first, which takes the rest away.
    fn fine_parts(&self, sum: &Sum, by: i64) -> Option<(i64, Parts)> {
        let units = sum
            .terms
            .iter()
            .map(|term| greatest_common_divisor(term.coefficient, by));
        let mut units: Vec<i64> = units.filter(|unit| *unit > 1 && *unit <= by).collect();
        units.sort_unstable();
        units.dedup();
        units.into_iter().rev().find_map(|unit| {
            let parts = parts(sum, unit);
            let (least, most) = self.exact_range(&parts.rest)?;
            let fits = self.exact_range(&parts.whole).is_some();
            (fits && least >= 0 && most < unit && most > 0).then_some((unit, parts))
        })
    }

    /// A sum and a positive number, both divided by what divides all of them; `None` if nothing does.
    fn reduced(&mut self, sum: &Sum, by: i64) -> Option<(Handle<Index>, i64)> {
        let coefficients = sum.terms.iter().map(|term| term.coefficient);
        let common = coefficients.chain([sum.constant]).fold(by, greatest_common_divisor);
        if common <= 1 {
            return None;
        }
        let Parts { whole, .. } = parts(sum, common);
        Some((self.of_sum(whole), by / common))
    }

    /// The remainder, with the sign of `value`; 0 where `by` is 0.
    pub fn remainder(&mut self, value: Handle<Index>, by: Handle<Index>) -> Handle<Index> {
        match (self.as_constant(value), self.as_constant(by)) {
            (_, Some(-1..=1)) | (Some(0), _) => return self.constant(0),
            (Some(value), Some(by)) => return self.constant(value.wrapping_rem(by)),
            (_, Some(by)) => {
                if let Some(simpler) = self.constant_remainder(value, by) {
                    return simpler;
                }
            }
            _ => {}
        }
        self.intern(Index::Remainder { value, by })
    }

    /// A simpler form of a remainder by a constant that is not 0, 1 or -1.
    fn constant_remainder(&mut self, value: Handle<Index>, by: i64) -> Option<Handle<Index>> {
        if by < 0 {
            // The sign of the divisor does not matter.
            let by = by.checked_neg()?;
            let by = self.constant(by);
            return Some(self.remainder(value, by));
        }
        let facts = self.facts(value);
        if facts.low >= 0 && facts.high < by {
            return Some(value);
        }
        if facts.low >= 0 && by.count_ones() == 1 {
            return Some(self.low(value, by.trailing_zeros() as u8));
        }
        // Of a remainder by a multiple.
        if let Index::Remainder { value, by: first } = *self.get(value)
            && self.as_constant(first).is_some_and(|first| first % by == 0)
        {
            let by = self.constant(by);
            return Some(self.remainder(value, by));
        }
        let sum = self.as_sum(value);
        let (low, _) = self.exact_range(&sum)?;
        let Parts { whole, rest } = parts(&sum, by);
        let (least, _) = self.exact_range(&rest)?;
        let whole_fits = self.exact_range(&whole).is_some();
        let is_smaller = !whole.terms.is_empty() || whole.constant != 0;
        if whole_fits && is_smaller && ((low >= 0 && least >= 0) || (rest.terms.is_empty() && rest.constant == 0)) {
            let (rest, by) = (self.of_sum(rest), self.constant(by));
            return Some(self.remainder(rest, by));
        }
        if low >= 0
            && let Some((unit, Parts { whole, rest })) = self.fine_parts(&sum, by)
        {
            let (whole, by) = (self.of_sum(whole), self.constant(by / unit));
            let remainder = self.remainder(whole, by);
            let (remainder, rest) = (self.scale(remainder, unit), self.of_sum(rest));
            return Some(self.add(remainder, rest));
        }
        let (value, reduced) = self.reduced(&sum, by)?;
        let reduced_by = self.constant(reduced);
        let remainder = self.remainder(value, reduced_by);
        Some(self.scale(remainder, by / reduced))
    }

    /// The low `bits` bits, at most 62: what is left of `value` above a multiple of 2^bits.
    ///
    /// # Panics
    /// Of more bits.
    pub fn low(&mut self, value: Handle<Index>, bits: u8) -> Handle<Index> {
        assert!(bits <= 62, "the low {bits} bits of an index may have a sign");
        let modulus = 1i64 << bits;
        let facts = self.facts(value);
        if facts.low >= 0 && facts.high < modulus {
            return value;
        }
        if let Index::Low { value, bits: first } = *self.get(value) {
            return self.low(value, bits.min(first));
        }
        let sum = self.as_sum(value);
        let smaller = self.modulo(&sum, bits);
        if smaller != sum {
            let smaller = self.of_sum(smaller);
            return self.low(smaller, bits);
        }
        if let Some(smaller) = self.without_low(&sum, bits) {
            let smaller = self.of_sum(smaller);
            return self.low(smaller, bits);
        }
        // Whatever the whole part wraps to, its own low bits are right.
        if let Some((unit, Parts { whole, rest })) = self.low_parts(&sum, modulus) {
            let whole = self.of_sum(whole);
            let low = self.low(whole, bits - unit.trailing_zeros() as u8);
            let (low, rest) = (self.scale(low, unit), self.of_sum(rest));
            return self.add(low, rest);
        }
        self.intern(Index::Low { value, bits })
    }

    /// A sum of which the low `bits` bits are those of `sum`: multiples of 2^bits leave nothing, and coefficients count up to them. Whatever
    /// wraps, that is right.
    fn modulo(&self, sum: &Sum, bits: u8) -> Sum {
        let modulus = 1i64 << bits;
        let terms = sum.terms.iter().filter_map(|term| {
            let coefficient = term.coefficient.rem_euclid(modulus);
            let is_left = coefficient != 0 && self.zeros(coefficient, &term.factors) < u32::from(bits);
            let factors = term.factors.clone();
            is_left.then_some(Term { coefficient, factors })
        });
        Sum {
            constant: sum.constant.rem_euclid(modulus),
            terms: terms.collect(),
        }
    }

    /// How many low bits of a product are known to be 0, at least.
    fn zeros(&self, coefficient: i64, factors: &[Handle<Index>]) -> u32 {
        let of = |factor: &Handle<Index>| self.facts(*factor).divisor.trailing_zeros();
        factors.iter().map(of).sum::<u32>() + coefficient.trailing_zeros()
    }

    /// The same of a sum in which low bits are what they are the low bits of, where no others count and that leaves fewer terms.
    fn without_low(&self, sum: &Sum, bits: u8) -> Option<Sum> {
        sum.terms.iter().enumerate().find_map(|(at, term)| {
            term.factors.iter().enumerate().find_map(|(nth, factor)| {
                let Index::Low { value, bits: own } = *self.get(*factor) else {
                    return None;
                };
                let mut beside = term.factors.to_vec();
                beside.remove(nth);
                if u32::from(own) + self.zeros(term.coefficient, &beside) < u32::from(bits) {
                    return None;
                }
                let mut terms = Terms::new();
                terms.add(sum.constant, &[]);
                let others = sum.terms.iter().enumerate().filter(|(other, _)| *other != at);
                others.for_each(|(_, other)| terms.add(other.coefficient, &other.factors));
                terms.add_product(&self.as_sum(value), term.coefficient, &beside);
                let smaller = self.modulo(&terms.into_sum(), bits);
                (smaller.terms.len() < sum.terms.len()).then_some(smaller)
            })
        })
    }

    /// As [`IndexArena::fine_parts`] by a power of two, but the whole part may wrap, and the rest may be 0.
    fn low_parts(&self, sum: &Sum, modulus: i64) -> Option<(i64, Parts)> {
        let units = sum
            .terms
            .iter()
            .map(|term| greatest_common_divisor(term.coefficient, modulus));
        let mut units: Vec<i64> = units.filter(|unit| *unit > 1 && *unit < modulus).collect();
        units.sort_unstable();
        units.dedup();
        units.into_iter().rev().find_map(|unit| {
            let parts = parts(sum, unit);
            let (least, most) = self.exact_range(&parts.rest)?;
            (least >= 0 && most < unit).then_some((unit, parts))
        })
    }

    /// The smaller of two.
    pub fn minimum(&mut self, left: Handle<Index>, right: Handle<Index>) -> Handle<Index> {
        let (l, r) = (self.facts(left), self.facts(right));
        match () {
            () if left == right || l.high <= r.low => left,
            () if r.high <= l.low => right,
            () => self.intern(Index::Minimum(left.min(right), left.max(right))),
        }
    }

    /// The larger of two.
    pub fn maximum(&mut self, left: Handle<Index>, right: Handle<Index>) -> Handle<Index> {
        let (l, r) = (self.facts(left), self.facts(right));
        match () {
            () if left == right || l.low >= r.high => left,
            () if r.low >= l.high => right,
            () => self.intern(Index::Maximum(left.min(right), left.max(right))),
        }
    }

    /// `accept` where the condition holds, `reject` elsewhere.
    pub fn select(
        &mut self,
        condition: Handle<Predicate>,
        accept: Handle<Index>,
        reject: Handle<Index>,
    ) -> Handle<Index> {
        match self.condition(condition) {
            _ if accept == reject => accept,
            Predicate::Constant(true) => accept,
            Predicate::Constant(false) => reject,
            &Predicate::Not(other) => self.select(other, reject, accept),
            _ => self.intern(Index::Select {
                condition,
                accept,
                reject,
            }),
        }
    }
}

/// What divides both, not negative; the other of 0.
pub(super) fn greatest_common_divisor(left: i64, right: i64) -> i64 {
    let (mut left, mut right) = (left.unsigned_abs(), right.unsigned_abs());
    while right != 0 {
        (left, right) = (right, left % right);
    }
    i64::try_from(left).unwrap_or(1)
}
