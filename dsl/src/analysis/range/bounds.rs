//! Bounds of one value, and how those of two combine.

use arrayvec::ArrayVec;

use crate::analysis::linear::Linear;
use crate::element::ElementType;

const MAX_BOUNDS: usize = 6;

/// Alternative bounds on one side of a value; each one holds.
pub(super) type Bounds = ArrayVec<Linear, MAX_BOUNDS>;

/// A side of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What it is at least.
    Lower,
    /// What it is at most.
    Upper,
}

/// What bounds a value on both sides.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub lower: Bounds,
    pub upper: Bounds,
}

impl Facts {
    pub fn both(form: Linear) -> Self {
        let mut facts = Self::default();
        facts.lower.push(form.clone());
        facts.upper.push(form);
        facts
    }

    pub fn between(low: i128, high: i128) -> Self {
        let mut facts = Self::default();
        facts.lower.push(Linear::constant(low));
        facts.upper.push(Linear::constant(high));
        facts
    }

    /// The largest of `low` and the numeric lower bounds.
    pub fn least(&self, low: i128) -> i128 {
        self.lower.iter().filter_map(Linear::as_constant).fold(low, i128::max)
    }

    /// The smallest of `high` and the numeric upper bounds.
    pub fn most(&self, high: i128) -> i128 {
        self.upper.iter().filter_map(Linear::as_constant).fold(high, i128::min)
    }
}

pub(super) fn element_range(element: ElementType) -> (i128, i128) {
    element.integer_range().unwrap_or((0, 1))
}

/// The smallest and largest product of a value in each range.
pub(super) fn products(left: (i128, i128), right: (i128, i128)) -> Option<(i128, i128)> {
    let corners = [
        left.0.checked_mul(right.0)?,
        left.0.checked_mul(right.1)?,
        left.1.checked_mul(right.0)?,
        left.1.checked_mul(right.1)?,
    ];
    Some((*corners.iter().min()?, *corners.iter().max()?))
}

/// Adds a bound while there is room; one that is there already adds nothing.
pub(super) fn push(bounds: &mut Bounds, bound: Linear) {
    if !bounds.contains(&bound) {
        let _ = bounds.try_push(bound);
    }
}

/// Adds a bound that is worth more than the last one.
pub(super) fn push_front(bounds: &mut Bounds, bound: Linear) {
    if !bounds.contains(&bound) {
        if bounds.is_full() {
            bounds.pop();
        }
        bounds.insert(0, bound);
    }
}

/// The simplest combinations of a bound from each side: what cancels says most. Of constants the `tightest` is enough; if
/// nothing else is one, there is `numeric`, for sums of more unknowns than a form has.
pub(super) fn cross(
    left: &Bounds,
    right: &Bounds,
    combine: impl Fn(&Linear, &Linear) -> Option<Linear>,
    tightest: fn(i128, i128) -> i128,
    numeric: i128,
) -> Bounds {
    let mut constant = None;
    let mut others = ArrayVec::<Linear, { MAX_BOUNDS * MAX_BOUNDS }>::new();
    for (l, r) in left.iter().flat_map(|l| right.iter().map(move |r| (l, r))) {
        let Some(bound) = combine(l, r) else { continue };
        match bound.as_constant() {
            Some(value) => constant = Some(constant.map_or(value, |other| tightest(other, value))),
            None if others.contains(&bound) => {}
            None => others.push(bound),
        }
    }
    others.sort_by_key(Linear::terms);
    // A constant comes with them, and the value itself.
    others.truncate(MAX_BOUNDS - 2);
    let mut bounds: Bounds = constant.map(Linear::constant).into_iter().chain(others).collect();
    if constant.is_none() {
        bounds.push(Linear::constant(numeric));
    }
    bounds
}
