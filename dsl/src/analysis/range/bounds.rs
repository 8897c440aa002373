//! Bounds of one value, and how those of two combine.

use arrayvec::ArrayVec;

use crate::analysis::condition::LaunchCondition;
use crate::analysis::linear::Linear;
use crate::element::ElementType;

pub(super) const MAX_BOUNDS: usize = 6;

/// What bounds one side of a value, in launches in which a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub form: Linear,
    pub under: LaunchCondition,
}

impl From<Linear> for Bound {
    fn from(form: Linear) -> Self {
        Self {
            form,
            under: LaunchCondition::ALWAYS,
        }
    }
}

impl Bound {
    pub fn map(&self, of: impl FnOnce(&Linear) -> Option<Linear>) -> Option<Self> {
        let form = of(&self.form)?;
        Some(Self { form, ..*self })
    }

    pub fn offset(&self, by: i128) -> Option<Self> {
        self.map(|form| form.offset(by))
    }

    /// The value, if it is the same in every launch.
    pub fn as_constant(&self) -> Option<i128> {
        self.form.as_constant().filter(|_| self.under.is_always())
    }
}

/// Alternative bounds on one side of a value; each one holds where its condition does.
pub(super) type Bounds = ArrayVec<Bound, MAX_BOUNDS>;

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
        Self::of(Some(form.clone()), Some(form))
    }

    pub fn between(low: i128, high: i128) -> Self {
        Self::of(Some(Linear::constant(low)), Some(Linear::constant(high)))
    }

    /// The bounds that there are.
    pub fn of(low: Option<Linear>, high: Option<Linear>) -> Self {
        Self {
            lower: low.into_iter().map(Bound::from).collect(),
            upper: high.into_iter().map(Bound::from).collect(),
        }
    }

    /// The largest of `low` and the numeric lower bounds.
    pub fn least(&self, low: i128) -> i128 {
        self.lower.iter().filter_map(Bound::as_constant).fold(low, i128::max)
    }

    /// The smallest of `high` and the numeric upper bounds.
    pub fn most(&self, high: i128) -> i128 {
        self.upper.iter().filter_map(Bound::as_constant).fold(high, i128::min)
    }
}

pub(super) fn element_range(element: ElementType) -> (i128, i128) {
    element.integer_range().unwrap_or((0, 1))
}

/// Adds a bound while there is room; one that is there already adds nothing.
pub(super) fn push(bounds: &mut Bounds, bound: Bound) {
    if !bounds.contains(&bound) {
        let _ = bounds.try_push(bound);
    }
}

/// Adds a bound that is worth more than the last one.
pub(super) fn push_front(bounds: &mut Bounds, bound: Bound) {
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
    combine: impl Fn(&Bound, &Bound) -> Option<Bound>,
    tightest: fn(i128, i128) -> i128,
    numeric: impl FnOnce() -> Option<Linear>,
) -> Bounds {
    let mut constant = None;
    let mut others = ArrayVec::<Bound, { MAX_BOUNDS * MAX_BOUNDS }>::new();
    for (l, r) in left.iter().flat_map(|l| right.iter().map(move |r| (l, r))) {
        let Some(bound) = combine(l, r) else { continue };
        match bound.as_constant() {
            Some(value) => constant = Some(constant.map_or(value, |other| tightest(other, value))),
            None if others.contains(&bound) => {}
            None => others.push(bound),
        }
    }
    others.sort_by_key(|bound| bound.form.terms());
    // A constant comes with them, and the value itself.
    others.truncate(MAX_BOUNDS - 2);
    let constant = constant.map(Linear::constant).or_else(numeric);
    constant.map(Bound::from).into_iter().chain(others).collect()
}
