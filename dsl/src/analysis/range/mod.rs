//! Bounds of integer values.
//!
//! Each value has a few lower and a few upper bounds, each a [`Linear`] form that holds on its own: one of them may be
//! numeric, another may mention the extent that an index is compared with. Bounds come from what a value is made of and
//! from the conditions it is used under, the requirements of the kernel first. Of unknowns only their range is known, so
//! `index < extent` is proved when `extent - 1 - bound` has a minimum of at least 0 for some upper bound of the index.
//!
//! What is a number in a launch (extents, strides, counts that the host knows, the grid) is either an unknown like any other,
//! and what is proved holds in every launch; or it is kept as what it is, and what is proved is a [`LaunchCondition`] on the launch.

mod apart;
mod bounds;
mod numbers;
mod operations;
mod requirements;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use arrayvec::ArrayVec;

pub use self::apart::Reach;
use self::bounds::{Bound, Bounds, Facts, Side, element_range, push_front};
use super::condition::{LaunchCondition, Terms};
use super::linear::{Linear, Unknown};
use crate::element::ElementType;
use crate::ir::{Access, BinaryOp, Block, CompareOp, Expression, Handle, Kernel, Local, Statement, Symbol, UnaryOp};
use crate::stack::room;

/// What is known at one place of a kernel about the values in scope there.
pub struct Ranges<'a> {
    kernel: &'a Kernel,
    /// Whether the numbers of a launch are kept as what they are.
    of_launch: bool,
    /// What is computed of them.
    terms: RefCell<Terms>,
    /// What the kernel's requirements say about symbols, beside what a symbol is.
    required: BTreeMap<Symbol, Facts>,
    /// The extents of the grid, where they are sums of what the host knows of a launch.
    grid: [Option<Linear>; 3],
    facts: Vec<Option<Rc<Facts>>>,
    /// The value that each local now holds.
    locals: Vec<Option<Handle<Expression>>>,
    /// Of each read of a local, the value that it found.
    found: Vec<Option<Handle<Expression>>>,
    /// What has been replaced so far, the last at the end: so that what is known in a branch can be taken back without
    /// a copy of all that is known.
    replaced: Vec<Entry>,
}

/// What is, or was, known in one place.
#[derive(Clone)]
enum Entry {
    Facts(Handle<Expression>, Option<Rc<Facts>>),
    Local(Handle<Local>, Option<Handle<Expression>>),
    Found(Handle<Expression>, Option<Handle<Expression>>),
}

impl<'a> Ranges<'a> {
    /// What is known at the start of a program in every launch.
    pub fn of_every_launch(kernel: &'a Kernel) -> Self {
        Self::new(kernel, false)
    }

    /// What is known at the start of a program, in terms of the numbers of its launch.
    pub fn of_a_launch(kernel: &'a Kernel) -> Self {
        Self::new(kernel, true)
    }

    fn new(kernel: &'a Kernel, of_launch: bool) -> Self {
        let mut ranges = Self {
            kernel,
            of_launch,
            terms: RefCell::default(),
            required: BTreeMap::new(),
            grid: [const { None }; 3],
            facts: vec![None; kernel.expressions.len()],
            locals: vec![None; kernel.locals.len()],
            found: vec![None; kernel.expressions.len()],
            replaced: Vec::new(),
        };
        // No statement defines what the grid is made of.
        for value in kernel.grid_values() {
            if !kernel.expressions[value].is_global() {
                ranges.facts[value.index()] = Some(ranges.derive(value).into());
            }
        }
        ranges.learn_requirements();
        for (axis, &extent) in kernel.grid.iter().enumerate().take(3) {
            ranges.grid[axis] = ranges.exact_number(extent);
        }
        ranges
    }

    /// Replaces an entry. Gives the one that was there.
    fn swap(&mut self, entry: Entry) -> Entry {
        use std::mem::replace;
        match entry {
            Entry::Facts(value, facts) => Entry::Facts(value, replace(&mut self.facts[value.index()], facts)),
            Entry::Local(local, held) => Entry::Local(local, replace(&mut self.locals[local.index()], held)),
            Entry::Found(value, found) => Entry::Found(value, replace(&mut self.found[value.index()], found)),
        }
    }

    /// Replaces an entry until what was known before is known again.
    fn set(&mut self, entry: Entry) {
        let before = self.swap(entry);
        self.replaced.push(before);
    }

    fn set_facts(&mut self, value: Handle<Expression>, facts: Rc<Facts>) {
        self.set(Entry::Facts(value, Some(facts)));
    }

    /// Takes back everything since so many entries were replaced, and gives it, the first at the end.
    fn take_back(&mut self, mark: usize) -> Vec<Entry> {
        let since = self.replaced.split_off(mark);
        since.into_iter().rev().map(|before| self.swap(before)).collect()
    }

    /// The numbers and conditions that have been made.
    pub(crate) fn into_terms(self) -> Terms {
        self.terms.into_inner()
    }

    /// When `value` (every element of it) is at least 0.
    pub fn is_non_negative(&self, value: Handle<Expression>) -> LaunchCondition {
        let zero = Facts::both(Linear::constant(0));
        self.is_at_most(&zero, &self.facts(value), 0)
    }

    /// Whether `value` may be any negative number of its type, so that nothing that the host knows of a launch bounds it: it
    /// comes from memory, say, and is not tested.
    pub fn may_be_any_negative(&self, value: Handle<Expression>) -> bool {
        let least = [ElementType::I8, ElementType::I16, ElementType::I32, ElementType::I64].map(|e| element_range(e).0);
        let facts = self.facts(value);
        // A scalar is its own bound, which says nothing.
        let itself = Linear::unknown(Unknown::Value(value));
        let mut bounds = facts.lower.iter().filter(|bound| bound.form != itself);
        bounds.all(|bound| bound.as_constant().is_some_and(|low| least.contains(&low)))
    }

    /// When an index of `access` (every element of it) is below the extent of its axis.
    pub fn is_below_extent(&self, access: &Access, axis: usize) -> LaunchCondition {
        let (tensor, number) = (access.tensor, axis as u8);
        let symbol = Symbol::Extent { tensor, axis: number };
        let extent = match self.kernel.differs(tensor, number) {
            true => Facts::both(member(symbol, access)),
            false => self.of_symbol(symbol),
        };
        self.is_at_most(&self.facts(access.indices[axis]), &extent, -1)
    }

    /// When the comparison of two integers (every pair of elements) is bound to hold, and when to fail.
    pub fn decide(&self, op: CompareOp, left: Handle<Expression>, right: Handle<Expression>) -> [LaunchCondition; 2] {
        let (l, r) = (self.facts(left), self.facts(right));
        let below = |a: &Facts, b: &Facts| self.is_at_most(a, b, -1);
        let at_most = |a: &Facts, b: &Facts| self.is_at_most(a, b, 0);
        match op {
            CompareOp::Less => [below(&l, &r), at_most(&r, &l)],
            CompareOp::LessEqual => [at_most(&l, &r), below(&r, &l)],
            CompareOp::Greater => [below(&r, &l), at_most(&l, &r)],
            CompareOp::GreaterEqual => [at_most(&r, &l), below(&l, &r)],
            CompareOp::Equal => [
                self.both(at_most(&l, &r), at_most(&r, &l)),
                self.either(below(&l, &r), below(&r, &l)),
            ],
            CompareOp::NotEqual => {
                let [equal, different] = self.decide(CompareOp::Equal, left, right);
                [different, equal]
            }
        }
    }

    /// When what `smaller` tells of is always at most what `larger` tells of, plus `offset`.
    fn is_at_most(&self, smaller: &Facts, larger: &Facts, offset: i128) -> LaunchCondition {
        let mut slacks: Vec<Bound> = Vec::new();
        for (upper, lower) in smaller
            .upper
            .iter()
            .flat_map(|u| larger.lower.iter().map(move |l| (u, l)))
        {
            let slack = lower.form.subtract(&upper.form).and_then(|slack| slack.offset(offset));
            let Some(form) = slack.and_then(|slack| self.minimum(&slack)) else {
                continue;
            };
            let under = self.both(lower.under, upper.under);
            if self.both(self.not_negative(&form), under).is_always() {
                return LaunchCondition::ALWAYS;
            }
            // One that holds wherever another does is enough.
            let covers = |other: &Bound, form: &Linear, under: LaunchCondition| {
                (other.under == under || other.under.is_always()) && self.is_always_at_most(form, &other.form)
            };
            if slacks.iter().any(|other| covers(other, &form, under)) {
                continue;
            }
            let slack = Bound { form, under };
            slacks.retain(|other| !covers(&slack, &other.form, other.under));
            slacks.push(slack);
        }
        slacks.iter().fold(LaunchCondition::NEVER, |condition, slack| {
            self.either(condition, self.both(self.not_negative(&slack.form), slack.under))
        })
    }

    /// A symbol as a linear form: its literal if it has one in this variant.
    fn symbol(&self, symbol: Symbol) -> Linear {
        match self.kernel.bindings.exact(symbol) {
            Some(value) => Linear::constant(value as i128),
            None => self
                .grid_extent(symbol)
                .cloned()
                .unwrap_or_else(|| Linear::unknown(Unknown::Symbol(symbol))),
        }
    }

    fn grid_extent(&self, symbol: Symbol) -> Option<&Linear> {
        match symbol {
            Symbol::NumPrograms(axis) => self.grid.get(usize::from(axis))?.as_ref(),
            _ => None,
        }
    }

    fn facts(&self, value: Handle<Expression>) -> Rc<Facts> {
        match &self.facts[value.index()] {
            Some(facts) => facts.clone(),
            None => room(|| self.derive(value)).into(),
        }
    }

    /// Learns that `condition` is `truth` from here on.
    pub fn assume(&mut self, condition: Handle<Expression>, truth: bool) {
        match self.kernel.expressions[condition].clone() {
            Expression::Binary {
                op: BinaryOp::And,
                left,
                right,
            } if truth => {
                room(|| self.assume(left, true));
                room(|| self.assume(right, true));
            }
            Expression::Binary {
                op: BinaryOp::Or,
                left,
                right,
            } if !truth => {
                room(|| self.assume(left, false));
                room(|| self.assume(right, false));
            }
            Expression::Unary {
                op: UnaryOp::Not,
                value,
            } => room(|| self.assume(value, !truth)),
            Expression::Compare { op, left, right } if self.kernel.ty(left).element.is_integer() => {
                let op = if truth { op } else { op.negated() };
                for (smaller, larger, offset) in inequalities(op, left, right) {
                    self.assume_at_most(smaller, larger, offset);
                }
            }
            _ => {}
        }
    }

    /// Learns that `smaller <= larger + offset`.
    fn assume_at_most(&mut self, smaller: Handle<Expression>, larger: Handle<Expression>, offset: i128) {
        let (s, l) = (self.facts(smaller), self.facts(larger));
        let (mut below, mut above) = (Facts::clone(&s), Facts::clone(&l));
        self.learn_bounds(&mut below.upper, smaller, &l.upper, offset);
        self.learn_bounds(&mut above.lower, larger, &s.lower, -offset);
        self.learn(smaller, below.into());
        self.learn(larger, above.into());
    }

    /// Learns that `bounds` bound `value` from below or above.
    fn learn_side(&mut self, value: Handle<Expression>, side: Side, bounds: &Bounds) {
        let mut facts = Facts::clone(&self.facts(value));
        let known = match side {
            Side::Lower => &mut facts.lower,
            Side::Upper => &mut facts.upper,
        };
        self.learn_bounds(known, value, bounds, 0);
        self.learn(value, facts.into());
    }

    /// Puts `learnt` before what was known of one side of `value`. That a value bounds itself is never forgotten.
    fn learn_bounds(&self, bounds: &mut Bounds, value: Handle<Expression>, learnt: &Bounds, offset: i128) {
        for bound in learnt.iter().rev().filter_map(|bound| bound.offset(offset)) {
            push_front(bounds, bound);
        }
        if let Some(itself) = self.itself(value) {
            bounds.retain(|bound| bound.form != itself);
            push_front(bounds, itself.into());
        }
    }

    /// A scalar as a bound of itself.
    fn itself(&self, value: Handle<Expression>) -> Option<Linear> {
        match self.kernel.expressions[value] {
            Expression::Literal(_) => None,
            Expression::Symbol(symbol) => Some(self.symbol(symbol)),
            Expression::Member { symbol, ref access } => Some(member(symbol, access)),
            _ => self
                .kernel
                .ty(value)
                .is_scalar()
                .then(|| Linear::unknown(Unknown::Value(value))),
        }
    }

    /// Replaces the facts of a value and of the value that it is a copy of.
    fn learn(&mut self, value: Handle<Expression>, facts: Rc<Facts>) {
        // Not what the variable holds by now.
        if let Some(found) = self.found[value.index()] {
            self.set_facts(found, facts.clone());
        }
        self.set_facts(value, facts);
    }

    /// Runs over `block`, calling `visit` before every statement with what is known there.
    pub fn walk(&mut self, block: &Block, visit: &mut impl FnMut(&Ranges<'a>, &Statement, crate::ir::Span)) {
        for (statement, span) in block {
            visit(self, statement, *span);
            room(|| self.step(statement, visit));
        }
    }

    fn step(&mut self, statement: &Statement, visit: &mut impl FnMut(&Ranges<'a>, &Statement, crate::ir::Span)) {
        match statement {
            Statement::Let(value) => {
                let facts = self.derive(*value);
                self.set_facts(*value, facts.into());
                if let Expression::Local(local) = self.kernel.expressions[*value] {
                    let held = self.locals[local.index()].unwrap_or(*value);
                    self.set(Entry::Local(local, Some(held)));
                    self.set(Entry::Found(*value, Some(held)));
                }
            }
            Statement::Assign { local, value } => self.set(Entry::Local(*local, Some(*value))),
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let mark = self.replaced.len();
                self.assume(*condition, true);
                self.walk(accept, visit);
                let accepted = self.take_back(mark);
                self.assume(*condition, false);
                self.walk(reject, visit);
                if accept.diverges() {
                    return;
                }
                let rejected = self.take_back(mark);
                if reject.diverges() {
                    accepted.into_iter().rev().for_each(|entry| self.set(entry));
                } else {
                    self.join(&accepted, &rejected);
                }
            }
            Statement::While {
                header,
                condition,
                body,
            } => {
                self.forget_assigned(header);
                self.forget_assigned(body);
                let mark = self.replaced.len();
                self.walk(header, visit);
                self.assume(*condition, true);
                self.walk(body, visit);
                self.take_back(mark);
            }
            Statement::For {
                induction,
                start,
                end,
                step,
                body,
            } => {
                self.forget_assigned(body);
                let mark = self.replaced.len();
                let mut facts = Facts::default();
                let (start, end) = (self.facts(*start), self.facts(*end));
                let shift = |bounds: &Bounds, by| bounds.iter().filter_map(|b| b.offset(by)).collect();
                if *step > 0 {
                    facts.lower = start.lower.clone();
                    facts.upper = shift(&end.upper, -1);
                } else {
                    facts.lower = shift(&end.lower, 1);
                    facts.upper = start.upper.clone();
                }
                self.set_facts(*induction, facts.into());
                self.walk(body, visit);
                self.take_back(mark);
            }
            // A program in which it was tested and does not hold has ended.
            Statement::Check { condition, .. } => self.assume(*condition, true),
            Statement::Store { .. }
            | Statement::Prefetch(_)
            | Statement::GridDependency(_)
            | Statement::Print { .. }
            | Statement::Break
            | Statement::Continue
            | Statement::Return => {}
        }
    }

    /// Keeps what both ways, each with what was known at its end, agree on about the locals.
    fn join(&mut self, accepted: &[Entry], rejected: &[Entry]) {
        let held = |entries: &[Entry]| {
            let locals = entries.iter().rev().filter_map(|entry| match entry {
                Entry::Local(local, held) => Some((*local, *held)),
                Entry::Facts(..) | Entry::Found(..) => None,
            });
            locals.collect::<BTreeMap<_, _>>()
        };
        let (accepted, rejected) = (held(accepted), held(rejected));
        let locals: BTreeSet<_> = accepted.keys().chain(rejected.keys()).copied().collect();
        for local in locals {
            let before = self.locals[local.index()];
            let now = |branch: &BTreeMap<_, _>| branch.get(&local).copied().unwrap_or(before);
            // A value defined in only one of the branches is out of scope now; facts from before still hold.
            let in_scope = |held: &Handle<Expression>| {
                self.facts[held.index()].is_some() || self.kernel.expressions[*held].is_global()
            };
            let held = now(&accepted).filter(|held| now(&rejected) == Some(*held) && in_scope(held));
            self.set(Entry::Local(local, held));
        }
    }

    fn forget_assigned(&mut self, block: &Block) {
        let mut assigned: Vec<Handle<Local>> = Vec::new();
        block.walk(&mut |statement, _| {
            if let Statement::Assign { local, .. } = statement {
                assigned.push(*local);
            }
        });
        for local in assigned {
            self.set(Entry::Local(local, None));
        }
    }
}

/// An extent or stride of the tensor that an access is to.
fn member(symbol: Symbol, access: &Access) -> Linear {
    Linear::unknown(Unknown::Member(
        symbol,
        access.indices[0],
        access.bounds == crate::ir::Bounds::Clamp,
    ))
}

/// What a comparison of integers says, if it holds: of each pair that the first is at most the second and the offset.
fn inequalities<T: Copy>(op: CompareOp, left: T, right: T) -> ArrayVec<(T, T, i128), 2> {
    let (both, offset) = match op {
        CompareOp::Less => ([Some((left, right)), None], -1),
        CompareOp::LessEqual => ([Some((left, right)), None], 0),
        CompareOp::Greater => ([Some((right, left)), None], -1),
        CompareOp::GreaterEqual => ([Some((right, left)), None], 0),
        CompareOp::Equal => ([Some((left, right)), Some((right, left))], 0),
        CompareOp::NotEqual => ([None, None], 0),
    };
    let both = both.into_iter().flatten();
    both.map(|(smaller, larger)| (smaller, larger, offset)).collect()
}
