//! Integer values as linear forms: `constant + Σ coefficient * unknown`.

use super::condition::Computed;
use crate::ir::{Expression, Handle, Symbol};

/// Something whose value is not known, but the same wherever it is mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unknown {
    /// A launch symbol.
    Symbol(Symbol),
    /// An extent or stride of the tensor of a list that a value names, and whether that is the nearest one where there is
    /// none.
    Member(Symbol, Handle<Expression>, bool),
    /// A scalar value of the kernel.
    Value(Handle<Expression>),
    /// A number that is computed of what the host knows of a launch.
    Computed(Computed),
}

/// `constant + Σ coefficient * unknown`, with a bounded number of terms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Linear {
    /// The part without unknowns.
    pub constant: i128,
    /// The terms, ordered by unknown; no coefficient is 0.
    terms: Vec<(Unknown, i128)>,
}

/// Where the programs of one of sixteen fused calls begin is the sum of the counts before it, and is to cancel.
pub(crate) const MAX_TERMS: usize = 40;

impl Linear {
    /// A constant.
    pub fn constant(value: i128) -> Self {
        Self {
            constant: value,
            terms: Vec::new(),
        }
    }

    /// One unknown.
    pub fn unknown(unknown: Unknown) -> Self {
        Self {
            constant: 0,
            terms: vec![(unknown, 1)],
        }
    }

    /// The value, if there is no unknown in it.
    pub fn as_constant(&self) -> Option<i128> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// How many unknowns there are in it.
    pub fn terms(&self) -> usize {
        self.terms.len()
    }

    /// The unknowns with their coefficients, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Unknown, i128)> + '_ {
        self.terms.iter().copied()
    }

    /// The unknowns, in order.
    pub fn unknowns(&self) -> impl Iterator<Item = Unknown> + '_ {
        self.terms.iter().map(|(unknown, _)| *unknown)
    }

    /// The sum; `None` if it has too many terms.
    pub fn add(&self, other: &Linear) -> Option<Linear> {
        let mut sum = self.clone();
        sum.constant = sum.constant.checked_add(other.constant)?;
        for &(unknown, coefficient) in &other.terms {
            match sum.terms.binary_search_by(|(u, _)| u.cmp(&unknown)) {
                Ok(at) => {
                    sum.terms[at].1 = sum.terms[at].1.checked_add(coefficient)?;
                    if sum.terms[at].1 == 0 {
                        sum.terms.remove(at);
                    }
                }
                Err(at) => sum.terms.insert(at, (unknown, coefficient)),
            }
        }
        (sum.terms.len() <= MAX_TERMS).then_some(sum)
    }

    /// `factor` times this form; `None` on overflow.
    pub fn scale(&self, factor: i128) -> Option<Linear> {
        if factor == 0 {
            return Some(Self::constant(0));
        }
        let mut scaled = self.clone();
        scaled.constant = scaled.constant.checked_mul(factor)?;
        for (_, coefficient) in &mut scaled.terms {
            *coefficient = coefficient.checked_mul(factor)?;
        }
        Some(scaled)
    }

    /// The difference; `None` if it has too many terms.
    pub fn subtract(&self, other: &Linear) -> Option<Linear> {
        self.add(&other.scale(-1)?)
    }

    /// This form plus a constant.
    pub fn offset(&self, by: i128) -> Option<Linear> {
        self.add(&Self::constant(by))
    }

    /// The smallest value, given the smallest and largest of each unknown; `None` on overflow.
    pub fn minimum(&self, range: impl Fn(Unknown) -> (i128, i128)) -> Option<i128> {
        self.terms
            .iter()
            .try_fold(self.constant, |sum, &(unknown, coefficient)| {
                let (low, high) = range(unknown);
                sum.checked_add(coefficient.checked_mul(if coefficient > 0 { low } else { high })?)
            })
    }

    /// The largest value, given the smallest and largest of each unknown; `None` on overflow.
    pub fn maximum(&self, range: impl Fn(Unknown) -> (i128, i128)) -> Option<i128> {
        self.scale(-1)?.minimum(range)?.checked_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_terms_cancel() {
        let n = Linear::unknown(Unknown::Symbol(Symbol::Count(0)));
        let difference = n.offset(3).and_then(|m| m.subtract(&n));
        assert_eq!(difference.and_then(|d| d.as_constant()), Some(3));
    }

    #[test]
    fn the_minimum_takes_the_end_that_the_coefficient_points_to() {
        let n = Linear::unknown(Unknown::Symbol(Symbol::Count(0)));
        let form = n.scale(-2).and_then(|m| m.offset(10));
        assert_eq!(form.as_ref().and_then(|f| f.minimum(|_| (0, 4))), Some(2));
        assert_eq!(form.and_then(|f| f.maximum(|_| (0, 4))), Some(10));
    }
}
