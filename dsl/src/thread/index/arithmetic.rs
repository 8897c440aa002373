//! Sums and products.

use std::collections::BTreeMap;

use super::{Atom, Facts, Index, IndexArena, Sum, Term};
use crate::ir::Handle;

/// Terms that a product is multiplied out to at most.
const MAX_PRODUCT_TERMS: usize = 32;

impl Sum {
    /// A constant.
    pub(super) fn constant(constant: i64) -> Self {
        let terms = Box::default();
        Self { constant, terms }
    }

    /// One index, once.
    pub(super) fn of(index: Handle<Index>) -> Self {
        let factors = Box::new([index]);
        let terms = Box::new([Term {
            coefficient: 1,
            factors,
        }]);
        Self { constant: 0, terms }
    }
}

/// A sum under construction: coefficients by factors.
pub(super) struct Terms {
    constant: i64,
    terms: BTreeMap<Box<[Handle<Index>]>, i64>,
}

impl Terms {
    pub(super) fn new() -> Self {
        Self {
            constant: 0,
            terms: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, coefficient: i64, factors: &[Handle<Index>]) {
        if factors.is_empty() {
            self.constant = self.constant.wrapping_add(coefficient);
            return;
        }
        let sum = self.terms.entry(factors.into()).or_insert(0);
        *sum = sum.wrapping_add(coefficient);
        if *sum == 0 {
            self.terms.remove(factors);
        }
    }

    pub(super) fn add_sum(&mut self, sum: &Sum, by: i64) {
        self.add_product(sum, by, &[]);
    }

    /// Adds `sum * by * factors`.
    pub(super) fn add_product(&mut self, sum: &Sum, by: i64, factors: &[Handle<Index>]) {
        self.add(sum.constant.wrapping_mul(by), factors);
        for term in &sum.terms {
            self.add(term.coefficient.wrapping_mul(by), &factors_of(factors, &term.factors));
        }
    }

    pub(super) fn into_sum(self) -> Sum {
        let terms = self.terms.into_iter();
        Sum {
            constant: self.constant,
            terms: terms
                .map(|(factors, coefficient)| Term { coefficient, factors })
                .collect(),
        }
    }
}

impl IndexArena {
    /// A number.
    pub fn constant(&mut self, value: i64) -> Handle<Index> {
        let index = Index::Sum(Sum::constant(value));
        match self.known.get(&index) {
            Some(&known) => known,
            None => self.append(index, Facts::constant(value)),
        }
    }

    /// Something without parts, of which `facts` are known. Where it has been mentioned before, what was said then
    /// stays.
    pub fn atom(&mut self, atom: Atom, facts: Facts) -> Handle<Index> {
        let index = Index::Atom(atom);
        match self.known.get(&index) {
            Some(&known) => known,
            None => self.append(index, facts),
        }
    }

    /// `left + right`.
    pub fn add(&mut self, left: Handle<Index>, right: Handle<Index>) -> Handle<Index> {
        self.combine(left, 1, right, 1)
    }

    /// `left - right`.
    pub fn subtract(&mut self, left: Handle<Index>, right: Handle<Index>) -> Handle<Index> {
        self.combine(left, 1, right, -1)
    }

    /// `index + by`.
    pub fn offset(&mut self, index: Handle<Index>, by: i64) -> Handle<Index> {
        let by = self.constant(by);
        self.add(index, by)
    }

    /// `index * by`.
    pub fn scale(&mut self, index: Handle<Index>, by: i64) -> Handle<Index> {
        let zero = self.constant(0);
        self.combine(zero, 1, index, by)
    }

    /// `left * right`.
    pub fn multiply(&mut self, left: Handle<Index>, right: Handle<Index>) -> Handle<Index> {
        if let Some(by) = self.as_constant(left) {
            return self.scale(right, by);
        }
        if let Some(by) = self.as_constant(right) {
            return self.scale(left, by);
        }
        let (l, r) = (self.as_sum(left), self.as_sum(right));
        let mut terms = Terms::new();
        if (l.terms.len() + 1) * (r.terms.len() + 1) > MAX_PRODUCT_TERMS {
            terms.add(1, &factors_of(&[left], &[right]));
            return self.finish(terms);
        }
        terms.add(l.constant.wrapping_mul(r.constant), &[]);
        for one in &l.terms {
            terms.add(one.coefficient.wrapping_mul(r.constant), &one.factors);
        }
        for other in &r.terms {
            terms.add(other.coefficient.wrapping_mul(l.constant), &other.factors);
            for one in &l.terms {
                let coefficient = one.coefficient.wrapping_mul(other.coefficient);
                terms.add(coefficient, &factors_of(&one.factors, &other.factors));
            }
        }
        self.finish(terms)
    }

    fn combine(&mut self, left: Handle<Index>, l: i64, right: Handle<Index>, r: i64) -> Handle<Index> {
        let mut terms = Terms::new();
        terms.add_sum(&self.as_sum(left), l);
        terms.add_sum(&self.as_sum(right), r);
        self.finish(terms)
    }

    /// An index as a sum: itself, once, if it is none.
    pub fn as_sum(&self, index: Handle<Index>) -> Sum {
        match self.get(index) {
            Index::Sum(sum) => sum.clone(),
            _ => Sum::of(index),
        }
    }

    /// An index as the sum of two others: of those terms, two or more or what is a product, all whose atoms are fixed, and of the
    /// rest. `None` if there are none of one kind.
    pub fn split(
        &mut self,
        index: Handle<Index>,
        is_fixed: impl Fn(&Atom) -> bool,
    ) -> Option<(Handle<Index>, Handle<Index>)> {
        let Index::Sum(sum) = self.get(index) else { return None };
        let is_fixed = |term: &Term| {
            let mut atoms = term.factors.iter().flat_map(|factor| self.atoms(*factor));
            atoms.all(&is_fixed)
        };
        let (fixed, moving): (Vec<Term>, Vec<Term>) = sum.terms.iter().cloned().partition(is_fixed);
        let constant = sum.constant;
        let is_work = matches!(&*fixed, [one] if one.coefficient != 1 || one.factors.len() > 1) || fixed.len() > 1;
        if !is_work || moving.is_empty() {
            return None;
        }
        let fixed = self.of_sum(Sum {
            constant: 0,
            terms: fixed.into(),
        });
        let moving = self.of_sum(Sum {
            constant,
            terms: moving.into(),
        });
        Some((fixed, moving))
    }

    /// The index of a sum whose terms are in order.
    pub(super) fn of_sum(&mut self, sum: Sum) -> Handle<Index> {
        match &*sum.terms {
            [] => self.constant(sum.constant),
            [
                Term {
                    coefficient: 1,
                    factors,
                },
            ] if sum.constant == 0 && factors.len() == 1 => factors[0],
            _ => self.intern(Index::Sum(sum)),
        }
    }

    fn finish(&mut self, mut terms: Terms) -> Handle<Index> {
        while self.recombine(&mut terms) || self.multiply_back(&mut terms) {}
        let sum = terms.into_sum();
        self.of_sum(sum)
    }

    /// Makes `x` of one `d * (x / d) + x % d`; returns whether there was one.
    fn recombine(&mut self, terms: &mut Terms) -> bool {
        let mut found = None;
        'search: for (factors, &coefficient) in &terms.terms {
            for (at, &factor) in factors.iter().enumerate() {
                let (value, by) = match *self.get(factor) {
                    Index::Remainder { value, by } => match self.as_constant(by) {
                        Some(by) => (value, by),
                        None => continue,
                    },
                    // A quotient is rounded toward zero, and low bits are counted from below.
                    Index::Low { value, bits } if self.facts(value).low >= 0 => (value, 1 << bits),
                    _ => continue,
                };
                let wanted = coefficient.wrapping_mul(by);
                let mut rest = factors.to_vec();
                rest.remove(at);
                // What the quotient became when it was made may be any sum; only a single factor is looked for.
                let quotients = self.known_quotient(value, by).map(|quotient| (value, quotient));
                for (value, quotient) in quotients.into_iter().chain(self.quotients_of_low(terms, value, by)) {
                    let beside = factors_of(&rest, &[quotient]);
                    if terms.terms.get(&beside) == Some(&wanted) {
                        found = Some((factors.clone(), coefficient, beside, wanted, rest, value));
                        break 'search;
                    }
                }
            }
        }
        let Some((one, coefficient, other, wanted, rest, value)) = found else {
            return false;
        };
        terms.add(coefficient.wrapping_neg(), &one);
        terms.add(wanted.wrapping_neg(), &other);
        terms.add_product(&self.as_sum(value), coefficient, &rest);
        true
    }

    /// What more low bits of an index are, and their quotient, of those in a sum: fewer low bits of them are those of the index.
    fn quotients_of_low(
        &self,
        terms: &Terms,
        of: Handle<Index>,
        by: i64,
    ) -> impl Iterator<Item = (Handle<Index>, Handle<Index>)> {
        let factors = terms.terms.keys().flat_map(|factors| factors.iter().copied());
        factors.filter_map(move |factor| {
            let Index::Quotient { value, by: own } = *self.get(factor) else {
                return None;
            };
            let is_low = matches!(*self.get(value), Index::Low { value, .. } if value == of);
            (is_low && by.count_ones() == 1 && self.as_constant(own) == Some(by)).then_some((value, factor))
        })
    }

    /// Makes `x` of one `d * (x / d)` where `d` divides `x`; returns whether there was one.
    fn multiply_back(&mut self, terms: &mut Terms) -> bool {
        let mut found = None;
        'search: for (factors, &coefficient) in &terms.terms {
            for (at, &factor) in factors.iter().enumerate() {
                let Index::Quotient { value, by } = *self.get(factor) else {
                    continue;
                };
                let Some(by) = self.as_constant(by).filter(|by| *by > 0 && by.count_ones() == 1) else {
                    continue;
                };
                if self.facts(value).divisor >= by as u64 && coefficient % by == 0 {
                    let mut rest = factors.to_vec();
                    rest.remove(at);
                    found = Some((factors.clone(), coefficient, by, rest, value));
                    break 'search;
                }
            }
        }
        let Some((factors, coefficient, by, rest, value)) = found else {
            return false;
        };
        terms.add(coefficient.wrapping_neg(), &factors);
        terms.add_product(&self.as_sum(value), coefficient / by, &rest);
        true
    }

    /// The quotient of an index by a constant, if anything has asked for it and it is one that has no other form.
    fn known_quotient(&self, value: Handle<Index>, by: i64) -> Option<Handle<Index>> {
        let by = self.known.get(&Index::Sum(Sum::constant(by))).copied()?;
        let quotient = self.known.get(&Index::Quotient { value, by }).copied()?;
        matches!(self.get(quotient), Index::Quotient { .. }).then_some(quotient)
    }
}

/// All of both, in order.
fn factors_of(left: &[Handle<Index>], right: &[Handle<Index>]) -> Box<[Handle<Index>]> {
    let mut factors = [left, right].concat();
    factors.sort_unstable();
    factors.into()
}
