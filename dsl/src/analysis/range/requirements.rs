//! What a kernel requires of its arguments, as bounds.
//!
//! The host has computed the conditions before the launch, exactly: one that overflows is refused. So their arithmetic can be
//! solved for what it is made of.

use super::bounds::{Bound, Bounds, Facts, Side};
use super::{Ranges, inequalities};
use crate::analysis::linear::Linear;
use crate::ir::{BinaryOp, Expression, Handle, UnaryOp};
use crate::stack::room;

impl Ranges<'_> {
    /// Learns all that the kernel requires.
    pub(super) fn learn_requirements(&mut self) {
        if self.kernel.requirements.is_empty() {
            return;
        }
        let values = self.kernel.requirement_values();
        for &value in &values {
            if !self.kernel.expressions[value].is_global() {
                self.facts[value.index()] = Some(self.exact(value).into());
            }
        }
        for requirement in &self.kernel.requirements {
            self.require(requirement.condition);
            // Where every use of a symbol sees it.
            let mut required = std::mem::take(&mut self.required);
            for &value in &values {
                if let Expression::Symbol(symbol) = self.kernel.expressions[value]
                    && let Some(facts) = self.facts[value.index()].take()
                {
                    required.insert(symbol, Facts::clone(&facts));
                }
            }
            self.required = required;
        }
    }

    /// Bounds of a value that the host has computed.
    fn exact(&self, value: Handle<Expression>) -> Facts {
        match self.kernel.expressions[value] {
            Expression::Binary {
                op: BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply,
                ..
            }
            | Expression::Unary {
                op: UnaryOp::Negate, ..
            } if self.kernel.ty(value).element.is_integer() => self.structural(value),
            _ => self.derive(value),
        }
    }

    fn require(&mut self, condition: Handle<Expression>) {
        self.assume(condition, true);
        match self.kernel.expressions[condition] {
            Expression::Binary {
                op: BinaryOp::And,
                left,
                right,
            } => {
                room(|| self.require(left));
                room(|| self.require(right));
            }
            Expression::Compare { op, left, right } if self.kernel.ty(left).element.is_integer() => {
                for (smaller, larger, offset) in inequalities(op, left, right) {
                    self.solve(smaller, larger, offset);
                }
            }
            _ => {}
        }
    }

    /// Learns what `smaller <= larger + offset` says about the terms of a sum or difference on either side.
    fn solve(&mut self, smaller: Handle<Expression>, larger: Handle<Expression>, offset: i128) {
        let (s, l) = (self.facts(smaller), self.facts(larger));
        let most = shifted(&l.upper, offset);
        let least = shifted(&s.lower, -offset);
        if let Some((op, left, right)) = self.terms(smaller) {
            let (a, b) = (self.facts(left), self.facts(right));
            if op == BinaryOp::Add {
                self.learn_side(left, Side::Upper, &self.combinations(&most, &b.lower, Linear::subtract));
                self.learn_side(
                    right,
                    Side::Upper,
                    &self.combinations(&most, &a.lower, Linear::subtract),
                );
            } else {
                self.learn_side(left, Side::Upper, &self.combinations(&most, &b.upper, Linear::add));
                self.learn_side(
                    right,
                    Side::Lower,
                    &self.combinations(&a.lower, &most, Linear::subtract),
                );
            }
        }
        if let Some((op, left, right)) = self.terms(larger) {
            let (a, b) = (self.facts(left), self.facts(right));
            if op == BinaryOp::Add {
                self.learn_side(
                    left,
                    Side::Lower,
                    &self.combinations(&least, &b.upper, Linear::subtract),
                );
                self.learn_side(
                    right,
                    Side::Lower,
                    &self.combinations(&least, &a.upper, Linear::subtract),
                );
            } else {
                self.learn_side(left, Side::Lower, &self.combinations(&least, &b.lower, Linear::add));
                self.learn_side(
                    right,
                    Side::Upper,
                    &self.combinations(&a.upper, &least, Linear::subtract),
                );
            }
        }
    }

    /// The simplest combinations of a bound of each side.
    fn combinations(&self, left: &Bounds, right: &Bounds, combine: fn(&Linear, &Linear) -> Option<Linear>) -> Bounds {
        let combine = self.combined(combine);
        let pairs = left.iter().flat_map(|l| right.iter().map(move |r| (l, r)));
        let mut all: Vec<Bound> = pairs.filter_map(|(l, r)| combine(l, r)).collect();
        all.sort_by_key(|bound| bound.form.terms());
        all.dedup();
        all.into_iter().take(MAX_COMBINED).collect()
    }

    /// The two terms of a sum or difference.
    fn terms(&self, value: Handle<Expression>) -> Option<(BinaryOp, Handle<Expression>, Handle<Expression>)> {
        match self.kernel.expressions[value] {
            Expression::Binary {
                op: op @ (BinaryOp::Add | BinaryOp::Subtract),
                left,
                right,
            } => Some((op, left, right)),
            _ => None,
        }
    }
}

fn shifted(bounds: &Bounds, by: i128) -> Bounds {
    bounds.iter().filter_map(|bound| bound.offset(by)).collect()
}

/// How many bounds are worth learning from one condition.
const MAX_COMBINED: usize = 3;
