//! The numbers of a launch, as far as they are known.

use super::Ranges;
use super::bounds::{Bound, Bounds, Facts, element_range, push_front};
use crate::analysis::condition::{Extremes, LaunchCondition, Terms};
use crate::analysis::linear::{Linear, MAX_TERMS, Unknown};
use crate::element::ElementType;
use crate::ir::{Expression, Handle, Symbol};
use crate::limits::MAX_COUNT;

/// An operation of two numbers.
type Operation = fn(&mut Terms, &Linear, &Linear, &dyn Fn(Unknown) -> (i128, i128)) -> Option<Linear>;

impl Ranges<'_> {
    /// Whether the host knows the value of a symbol in a launch.
    fn is_number(&self, symbol: Symbol) -> bool {
        self.of_launch
            && match symbol {
                Symbol::Extent { .. } | Symbol::Stride { .. } | Symbol::NumPrograms(_) => true,
                Symbol::Count(position) => self.kernel.bindings.device(position).is_none(),
                Symbol::ProgramId(_) => false,
            }
    }

    /// A value that is a sum of numbers of the launch, and never negative, as that sum. Of what is multiplied less is known than of
    /// the number itself.
    pub(super) fn exact_number(&self, value: Handle<Expression>) -> Option<Linear> {
        let facts = self.facts(value);
        let is_exact = |bound: &&Bound| {
            bound.under.is_always()
                && facts.upper.contains(bound)
                && bound.form.terms() > 0
                && bound.form.unknowns().all(|unknown| match unknown {
                    Unknown::Computed(computed) => self.terms.borrow().is_sum(computed),
                    _ => self.is_of_launch(unknown),
                })
        };
        let exact = facts.lower.iter().filter(is_exact).map(|bound| &bound.form);
        let shortest = exact.min_by_key(|form| form.terms())?;
        self.extremes(shortest).is_at_least(0).then(|| shortest.clone())
    }

    /// Whether it is the same number in all programs of a launch, and the host knows it.
    fn is_of_launch(&self, unknown: Unknown) -> bool {
        match unknown {
            Unknown::Symbol(symbol) => self.is_number(symbol),
            Unknown::Computed(_) => true,
            Unknown::Member(..) | Unknown::Value(_) => false,
        }
    }

    /// The smallest and largest value that an unknown has in any launch.
    fn in_every_launch(&self, unknown: Unknown) -> (i128, i128) {
        let most = MAX_COUNT as i128;
        match unknown {
            Unknown::Symbol(symbol) => {
                let (low, high) = match symbol {
                    Symbol::Extent { .. } | Symbol::Count(_) => (0, most),
                    // A program that runs is one of at least one and at most 2^31 - 1.
                    Symbol::NumPrograms(_) => (1, i32::MAX as i128),
                    Symbol::ProgramId(axis) => match self.symbol(Symbol::NumPrograms(axis)).as_constant() {
                        Some(programs) => (0, programs - 1),
                        None => (
                            0,
                            self.in_every_launch(Unknown::Symbol(Symbol::NumPrograms(axis))).1 - 1,
                        ),
                    },
                    Symbol::Stride { .. } => (-most, most),
                };
                match self.required.get(&symbol) {
                    Some(facts) => (facts.least(low), facts.most(high)),
                    None => (low, high),
                }
            }
            Unknown::Member(symbol @ Symbol::Extent { .. }, ..) => {
                // No tensor of the list has more.
                let most = self.symbol(symbol);
                (
                    0,
                    most.maximum(|most| self.in_every_launch(most))
                        .unwrap_or(MAX_COUNT as i128),
                )
            }
            Unknown::Member(..) => (-most, most),
            Unknown::Value(value) => element_range(self.kernel.ty(value).element),
            // What is known of it is kept with it.
            Unknown::Computed(_) => (i128::MIN, i128::MAX),
        }
    }

    /// The smallest and largest value that an unknown has where this is, in any launch. A value may have been tested since others
    /// were made of it.
    fn here(&self, unknown: Unknown) -> (i128, i128) {
        let (low, high) = self.in_every_launch(unknown);
        match unknown {
            Unknown::Value(value) => match &self.facts[value.index()] {
                Some(facts) => (facts.least(low), facts.most(high)),
                None => (low, high),
            },
            _ => (low, high),
        }
    }

    /// The smallest and largest value of an unknown where this is, in numbers of the launch.
    fn range(&self, unknown: Unknown) -> (Linear, Linear) {
        let itself = || (Linear::unknown(unknown), Linear::unknown(unknown));
        let from_zero = |most: Linear| (Linear::constant(0), most);
        match unknown {
            Unknown::Computed(_) => return itself(),
            Unknown::Symbol(symbol) if self.is_number(symbol) => return itself(),
            Unknown::Symbol(Symbol::ProgramId(axis)) if self.of_launch => {
                if let Some(last) = self.symbol(Symbol::NumPrograms(axis)).offset(-1) {
                    return from_zero(last);
                }
            }
            Unknown::Member(symbol @ Symbol::Extent { .. }, ..) if self.of_launch => {
                return from_zero(self.symbol(symbol));
            }
            _ => {}
        }
        let (low, high) = self.here(unknown);
        (Linear::constant(low), Linear::constant(high))
    }

    /// The smallest value of a form, in numbers of the launch.
    pub(super) fn minimum(&self, form: &Linear) -> Option<Linear> {
        if !self.of_launch {
            return form.minimum(|unknown| self.here(unknown)).map(Linear::constant);
        }
        let mut terms = form.iter();
        terms.try_fold(Linear::constant(form.constant), |sum, (unknown, factor)| {
            let (low, high) = self.range(unknown);
            sum.add(&(if factor > 0 { low } else { high }).scale(factor)?)
        })
    }

    /// The largest value of a form, in numbers of the launch.
    pub(super) fn maximum(&self, form: &Linear) -> Option<Linear> {
        self.minimum(&form.scale(-1)?)?.scale(-1)
    }

    /// The smallest and largest value that `value` can have, in numbers of the launch.
    pub(super) fn numeric(&self, value: Handle<Expression>) -> (Linear, Linear) {
        self.numeric_of(&self.facts(value), self.kernel.ty(value).element)
    }

    fn numeric_of(&self, facts: &Facts, element: ElementType) -> (Linear, Linear) {
        let (low, high) = element_range(element);
        let negated = |bound: &Bound| bound.map(|form| form.scale(-1));
        let lower: Bounds = facts.lower.iter().filter_map(negated).collect();
        let low = self.tightest(&lower, -low);
        let negative = low
            .scale(-1)
            .unwrap_or_else(|| Linear::constant(element_range(element).0));
        (negative, self.tightest(&facts.upper, high))
    }

    /// The smallest of the largest values that upper bounds allow, and `most`.
    fn tightest(&self, bounds: &Bounds, most: i128) -> Linear {
        let constants = bounds.iter().filter_map(Bound::as_constant);
        let mut tightest = Linear::constant(constants.fold(most, i128::min));
        for bound in bounds.iter().filter(|bound| bound.as_constant().is_none()) {
            let number = self
                .maximum(&bound.form)
                .and_then(|number| self.under(&number, bound.under));
            if let Some(tighter) = number.and_then(|number| self.operation(Terms::tightest, &tightest, &number)) {
                tightest = tighter;
            }
        }
        tightest
    }

    /// When a value with these bounds is one of its type.
    pub(super) fn fits(&self, facts: &Facts, element: ElementType) -> LaunchCondition {
        let (low, high) = element_range(element);
        let type_range = Facts::between(low, high);
        self.both(
            self.is_at_most(&Facts::both(Linear::constant(low)), facts, 0),
            self.is_at_most(
                facts,
                &Facts {
                    upper: type_range.upper,
                    lower: [Linear::constant(high).into()].into_iter().collect(),
                },
                0,
            ),
        )
    }

    fn with_terms<T>(&self, with: impl FnOnce(&mut Terms, &dyn Fn(Unknown) -> (i128, i128)) -> T) -> T {
        with(&mut self.terms.borrow_mut(), &|unknown| self.in_every_launch(unknown))
    }

    fn operation(&self, operation: Operation, left: &Linear, right: &Linear) -> Option<Linear> {
        self.with_terms(|terms, known| operation(terms, left, right, known))
    }

    pub(super) fn extremes(&self, number: &Linear) -> Extremes {
        self.with_terms(|terms, known| terms.extremes(number, known))
    }

    pub(super) fn smaller(&self, left: &Linear, right: &Linear) -> Option<Linear> {
        self.operation(Terms::smaller, left, right)
    }

    pub(super) fn larger(&self, left: &Linear, right: &Linear) -> Option<Linear> {
        self.operation(Terms::larger, left, right)
    }

    /// The facts of a sum. Where it is half as long as a form can be, a number of the launch has a name as well: sums of sums, such
    /// as where the programs of fused calls begin, stay short, and what two of them differ by is still seen.
    pub(super) fn of_sum(&self, mut facts: Facts) -> Facts {
        let exact = facts.lower.iter().filter(|bound| {
            bound.under.is_always()
                && facts.upper.contains(bound)
                && bound.form.unknowns().all(|unknown| self.is_of_launch(unknown))
        });
        let shortest = exact.map(|bound| &bound.form).min_by_key(|form| form.terms());
        if let Some(form) = shortest.filter(|form| form.terms() >= MAX_TERMS / 2)
            && let Some(name) = self.with_terms(|terms, known| terms.named(form, known))
        {
            push_front(&mut facts.lower, name.clone().into());
            push_front(&mut facts.upper, name.into());
        }
        facts
    }

    pub(super) fn quotient(&self, left: &Linear, right: &Linear) -> Option<Linear> {
        self.operation(Terms::quotient, left, right)
    }

    pub(super) fn shifted(&self, number: &Linear, by: u32) -> Option<Linear> {
        self.with_terms(|terms, known| terms.shifted(number, by, known))
    }

    /// The smallest and largest product of a value in each range.
    pub(super) fn products(&self, left: &(Linear, Linear), right: &(Linear, Linear)) -> Option<(Linear, Linear)> {
        let product = |l: &Linear, r: &Linear| self.operation(Terms::product, l, r);
        if self.extremes(&left.0).is_at_least(0) && self.extremes(&right.0).is_at_least(0) {
            return Some((product(&left.0, &right.0)?, product(&left.1, &right.1)?));
        }
        let corners = [
            product(&left.0, &right.0)?,
            product(&left.0, &right.1)?,
            product(&left.1, &right.0)?,
            product(&left.1, &right.1)?,
        ];
        let among = |of: &dyn Fn(&Linear, &Linear) -> Option<Linear>| {
            let [first, rest @ ..] = &corners;
            rest.iter().try_fold(first.clone(), |one, other| of(&one, other))
        };
        Some((among(&|l, r| self.smaller(l, r))?, among(&|l, r| self.larger(l, r))?))
    }

    /// A number that has a value only under a condition.
    fn under(&self, number: &Linear, condition: LaunchCondition) -> Option<Linear> {
        self.with_terms(|terms, known| terms.under(number, condition, known))
    }

    pub(super) fn is_always_at_most(&self, left: &Linear, right: &Linear) -> bool {
        self.with_terms(|terms, known| {
            terms.extremes(right, known).total
                && right
                    .subtract(left)
                    .is_some_and(|difference| terms.extremes(&difference, known).low >= 0)
        })
    }

    pub(super) fn not_negative(&self, number: &Linear) -> LaunchCondition {
        self.with_terms(|terms, known| terms.not_negative(number, known))
    }

    pub(super) fn both(&self, left: LaunchCondition, right: LaunchCondition) -> LaunchCondition {
        self.terms.borrow_mut().both(left, right)
    }

    pub(super) fn either(&self, left: LaunchCondition, right: LaunchCondition) -> LaunchCondition {
        self.terms.borrow_mut().either(left, right)
    }

    /// The combination of two bounds, where both hold.
    pub(super) fn combined(
        &self,
        combine: fn(&Linear, &Linear) -> Option<Linear>,
    ) -> impl Fn(&Bound, &Bound) -> Option<Bound> + '_ {
        move |left, right| {
            Some(Bound {
                form: combine(&left.form, &right.form)?,
                under: self.both(left.under, right.under),
            })
        }
    }

    /// Bounds that hold only under a condition.
    pub(super) fn facts_under(&self, mut facts: Facts, condition: LaunchCondition) -> Facts {
        let bounds = facts.lower.iter_mut().chain(&mut facts.upper);
        bounds.for_each(|bound| bound.under = self.both(bound.under, condition));
        facts
    }
}
