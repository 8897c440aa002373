//! Statements, in order.

use std::collections::HashMap;

use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{BinaryOp, Block, CompareOp, Expression, Handle, Literal, Span, Statement};
use crate::stack::room;
use crate::thread::{self, Index, Label, Unroll, Use};

impl Lower<'_> {
    /// What `fill` emits, as a block of its own.
    pub(super) fn inside(
        &mut self,
        fill: impl FnOnce(&mut Self) -> Result<(), LowerError>,
    ) -> Result<thread::Block, LowerError> {
        self.b.enter();
        self.pulled.push(HashMap::new());
        self.words.push(HashMap::new());
        let top = self.shared_top;
        let result = fill(self);
        self.shared_top = top;
        self.words.pop();
        self.pulled.pop();
        let block = self.b.leave();
        result.map(|()| block)
    }

    /// What `body` emits for `start`, `start + step`, … before `end`.
    pub(super) fn counted(
        &mut self,
        start: Handle<Index>,
        end: Handle<Index>,
        step: i64,
        unroll: Unroll,
        body: impl FnOnce(&mut Self, Handle<Index>) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let label = self.b.label();
        let (number, variable) = self.b.counter(start, end, step);
        let body = self.inside(|lower| body(lower, number))?;
        self.b.push(thread::Statement::For {
            label,
            variable,
            start,
            end,
            step,
            unroll,
            body,
        });
        Ok(())
    }

    fn block(&mut self, block: &Block) -> Result<(), LowerError> {
        let kept = self.kept.len();
        let done = block
            .iter()
            .try_for_each(|(statement, span)| room(|| self.statement(statement, *span)));
        self.keep_no_more(kept);
        done
    }

    pub(super) fn statement(&mut self, statement: &Statement, span: Span) -> Result<(), LowerError> {
        self.span = span;
        self.b.at(span);
        match statement {
            Statement::Let(value) => self.define(*value),
            Statement::Store {
                access,
                value,
                conflict,
            } => self.store(access, *value, *conflict),
            Statement::Assign { local, value } => match self.registers.get(local).copied() {
                Some(register) => {
                    let value = self.scalar(*value)?;
                    self.b.assign(register, value);
                    Ok(())
                }
                None => self.assign_tile(*local, *value),
            },
            Statement::GridDependency(dependency) => {
                self.b.push(thread::Statement::GridDependency(*dependency));
                Ok(())
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let condition = self.scalar(*condition)?;
                let condition = self.b.condition(condition);
                let before = self.order.clone();
                let accepted = self.inside(|lower| lower.block(accept))?;
                let after_accept = std::mem::replace(&mut self.order, before);
                let rejected = self.inside(|lower| lower.block(reject))?;
                let after_reject = std::mem::take(&mut self.order);
                for (block, after) in [(accept, after_accept), (reject, after_reject)] {
                    if !block.diverges() {
                        self.order.union(&after);
                    }
                }
                let (accept, reject) = (accepted, rejected);
                self.b.push(thread::Statement::If {
                    condition,
                    accept,
                    reject,
                });
                Ok(())
            }
            Statement::While {
                header,
                condition,
                body,
            } => {
                let label = self.b.label();
                self.pending_in_loop([header, body]);
                let pending = self.order.clone();
                let body = self.inside(|lower| {
                    lower.loops.push(label);
                    lower.block(header)?;
                    let condition = lower.scalar(*condition)?;
                    let holds = lower.b.condition(condition);
                    let ends = lower.b.indices().not(holds);
                    lower.b.when(ends, |b| b.push(thread::Statement::Leave(label)));
                    lower.block(body)?;
                    lower.loops.pop();
                    Ok(())
                })?;
                self.order = pending;
                let unroll = Unroll::Free;
                self.b.push(thread::Statement::Loop { label, unroll, body });
                Ok(())
            }
            Statement::For {
                induction,
                start,
                end,
                step,
                body,
            } => self.for_loop(*induction, *start, *end, *step, body),
            Statement::Break => self.jump(thread::Statement::Leave),
            Statement::Continue => self.jump(thread::Statement::Next),
            Statement::Return => {
                self.end_program();
                Ok(())
            }
            Statement::Check {
                condition,
                kind,
                message,
            } => self.check(*condition, *kind, message),
            Statement::Prefetch(access) => self.prefetch(access),
            Statement::Print { format, values } => self.print(format, values),
        }
    }

    fn jump(&mut self, to: impl Fn(Label) -> thread::Statement) -> Result<(), LowerError> {
        if let Some(&label) = self.loops.last() {
            self.b.push(to(label));
        }
        Ok(())
    }

    /// A counted loop: trips are counted, so that no value steps past its type's range.
    fn for_loop(
        &mut self,
        induction: Handle<Expression>,
        start: Handle<Expression>,
        end: Handle<Expression>,
        step: i128,
        body: &Block,
    ) -> Result<(), LowerError> {
        let element = self.kernel.ty(induction).element;
        let (first, last) = (self.scalar(start)?, self.scalar(end)?);
        let (start, end) = (self.b.index(first), self.b.index(last));
        let Some(trips) = self.trips(start, end, step) else {
            return self.long_loop(induction, first, last, step, body);
        };
        let (zero, label) = (self.b.constant(0), self.b.label());
        let (trip, variable) = self.b.counter(zero, trips, 1);
        self.pending_in_loop([body]);
        let pending = self.order.clone();
        let body = self.inside(|lower| {
            let by = lower.b.indices().scale(trip, step as i64);
            let value = lower.b.indices().add(start, by);
            let value = lower.integer(value, element);
            lower.scalars.insert(induction, value);
            lower.loops.push(label);
            lower.block(body)?;
            lower.loops.pop();
            Ok(())
        })?;
        self.order = pending;
        self.b.push(thread::Statement::For {
            label,
            variable,
            start: zero,
            end: trips,
            step: 1,
            unroll: Unroll::Free,
            body,
        });
        Ok(())
    }

    /// A counted loop whose trips may be more than an index counts: any two integers of 64 bits are fewer apart than a
    /// u64 holds.
    fn long_loop(
        &mut self,
        induction: Handle<Expression>,
        start: Use,
        end: Use,
        step: i128,
        body: &Block,
    ) -> Result<(), LowerError> {
        const COUNT: ElementType = ElementType::U64;
        let literal = |value: u64| Use::Literal(Literal::new(value));
        let element = self.kernel.ty(induction).element;
        let (from, to) = if step > 0 { (start, end) } else { (end, start) };
        let some = self.compared(CompareOp::Less, from, to);
        let [start, from, to] = [start, from, to].map(|value| self.b.element_cast(value, COUNT));
        let distance = self.b.binary(BinaryOp::Subtract, to, from);
        let distance = self.b.binary(BinaryOp::Subtract, distance, literal(1));
        let by = literal(step.unsigned_abs() as u64);
        let before = self.b.binary(BinaryOp::Divide, distance, by);
        let trips = self.b.binary(BinaryOp::Add, before, literal(1));
        let trips = self.b.select(some, trips, literal(0));
        let [left, at] = ["left", "at"].map(|name| self.b.register(name, thread::Type::scalar(COUNT)));
        self.b.assign(left, trips);
        self.b.assign(at, start);
        let label = self.b.label();
        self.pending_in_loop([body]);
        let pending = self.order.clone();
        let body = self.inside(|lower| {
            let trips = lower.b.read(left);
            let done = lower.b.compare(CompareOp::Equal, trips, literal(0));
            let done = lower.b.condition(done);
            lower.b.when(done, |b| b.push(thread::Statement::Leave(label)));
            let fewer = lower.b.binary(BinaryOp::Subtract, trips, literal(1));
            lower.b.assign(left, fewer);
            let value = lower.b.read(at);
            let next = lower.b.binary(BinaryOp::Add, value, literal(step as u64));
            lower.b.assign(at, next);
            let value = lower.cast(value, element);
            lower.scalars.insert(induction, value);
            lower.loops.push(label);
            lower.block(body)?;
            lower.loops.pop();
            Ok(())
        })?;
        self.order = pending;
        let unroll = Unroll::Free;
        self.b.push(thread::Statement::Loop { label, unroll, body });
        Ok(())
    }

    /// How many trips there are, if the distance is known not to wrap.
    fn trips(&mut self, start: Handle<Index>, end: Handle<Index>, step: i128) -> Option<Handle<Index>> {
        let by = i64::try_from(step.unsigned_abs()).ok()?;
        let (from, to) = if step > 0 { (start, end) } else { (end, start) };
        let (first, last) = (self.b.kernel().indices.facts(from), self.b.kernel().indices.facts(to));
        let far = |to: i64, from: i64| i64::try_from(i128::from(to) - i128::from(from)).ok();
        far(last.high, first.low)?;
        // So far the wrong way that it would wrap, it is none.
        let from = match far(last.low, first.high) {
            Some(_) => from,
            None => self.b.indices().minimum(from, to),
        };
        let distance = self.b.indices().subtract(to, from);
        let (zero, one) = (self.b.constant(0), self.b.constant(1));
        let distance = self.b.indices().maximum(distance, zero);
        let by = self.b.constant(by);
        let whole = self.b.indices().quotient(distance, by);
        let rest = self.b.indices().remainder(distance, by);
        let more = self.b.indices().less(zero, rest);
        let last = self.b.indices().select(more, one, zero);
        Some(self.b.indices().add(whole, last))
    }

    fn define(&mut self, value: Handle<Expression>) -> Result<(), LowerError> {
        let kernel = self.kernel;
        let node = &kernel.expressions[value];
        if node.is_collective() {
            return self.collective(value);
        }
        match node {
            Expression::Atomic(atomic) => return self.atomic(value, atomic),
            Expression::Local(local) if !self.registers.contains_key(local) => {
                let held = self.variable_now(*local, kernel.ty(value))?;
                self.held.insert(value, held);
                return Ok(());
            }
            Expression::Load(access) => self.mark_load(access, value)?,
            _ => {}
        }
        match node {
            Expression::Load(access) if !kernel.ty(value).is_scalar() && self.effects.is_changing(access.tensor) => {
                return match self.is_deferred(value) {
                    true => Ok(()),
                    false => self.hold_load(value, access),
                };
            }
            Expression::Load(access) => self.before_read(access.tensor),
            _ => {}
        }
        if self.is_ahead_of_wait(value)? {
            self.keep_tile(value)?;
        }
        if kernel.ty(value).is_scalar() {
            let operand = self.with_others(&[value], |lower| lower.scalar_here(value))?;
            self.scalars.insert(value, operand);
        }
        if let Expression::Load(access) = node {
            self.has_read(access.tensor);
        }
        Ok(())
    }

    /// The operand that a scalar is.
    pub(super) fn scalar(&mut self, value: Handle<Expression>) -> Result<Use, LowerError> {
        match &self.kernel.expressions[value] {
            Expression::Literal(literal) => Ok(self.literal(*literal)),
            Expression::Symbol(symbol) => Ok(self.symbol(*symbol).into()),
            Expression::Argument(position) => Ok(self.scalar_argument(*position)),
            _ => match self.scalars.get(&value) {
                Some(operand) => Ok(*operand),
                None => self.scalar_here(value),
            },
        }
    }
}
