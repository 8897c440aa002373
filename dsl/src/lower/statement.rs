//! Statements, in order.

use std::collections::HashMap;

use super::{Lower, LowerError};
use crate::ir::{Block, Expression, Handle, Span, Statement};
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

    fn block(&mut self, block: &Block) -> Result<(), LowerError> {
        block
            .iter()
            .try_for_each(|(statement, span)| room(|| self.statement(statement, *span)))
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
            } => {
                if conflict.is_some() && self.kernel.checked {
                    return self.not_carried("a checked store");
                }
                self.store(access, *value)
            }
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
                self.b.push(thread::Statement::Exit);
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
        let (start, end) = (self.scalar(start)?, self.scalar(end)?);
        let (start, end) = (self.b.index(start), self.b.index(end));
        let Some(trips) = self.trips(start, end, step) else {
            return self.not_carried("a loop whose trips may be more than 64 bits count");
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

    /// How many trips there are, if the distance is known not to wrap.
    fn trips(&mut self, start: Handle<Index>, end: Handle<Index>, step: i128) -> Option<Handle<Index>> {
        let by = i64::try_from(step.unsigned_abs()).ok()?;
        let (from, to) = if step > 0 { (start, end) } else { (end, start) };
        let (first, last) = (self.b.kernel().indices.facts(from), self.b.kernel().indices.facts(to));
        i64::try_from(i128::from(last.high) - i128::from(first.low)).ok()?;
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
            Expression::Load(access) if !kernel.ty(value).is_scalar() && self.effects.is_changing(access.tensor) => {
                return match self.is_deferred(value) {
                    true => Ok(()),
                    false => self.hold_load(value, access),
                };
            }
            Expression::Load(access) => self.before_read(access.tensor),
            _ => {}
        }
        if kernel.ty(value).is_scalar() {
            let operand = self.with_others(&[value], |lower| lower.scalar_here(value))?;
            self.scalars.insert(value, operand);
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
