//! Atomic operations: every element in one step, among programs that run on several threads.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::access::Run;
use super::elementwise::Operand;
use super::program::Machine;
use super::ranks::{Kind, Turn};
use super::value::{Value, get, padded, put};
use super::{HostMemory, InterpretError};
use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{Atomic, AtomicOp, AtomicUpdate, Expression, Handle, Literal, MemoryOrder, MemoryScope, Span};

impl Machine<'_> {
    /// Does `atomic` in row-major order; gives what each element held before.
    pub(super) fn atomic(
        &mut self,
        atomic: &Atomic,
        handle: Handle<Expression>,
        span: Span,
    ) -> Result<Value, InterpretError> {
        if let AtomicUpdate::Wait { epoch, limit } = atomic.update {
            return self.wait(atomic, handle, epoch, limit, span);
        }
        let ty = self.launch.kernel.ty(handle);
        let (element, size, extents) = (ty.element, ty.element.size(), padded(ty.shape));
        let access = &atomic.access;
        let mut old = vec![0u8; extents.iter().product::<usize>() * size];
        let touch = self.launch.noted(self.launch.races.of_atomic(atomic));
        // Without its value, no program can tell what came before.
        let acquires = atomic.order.acquires() && self.launch.races.is_used(handle);
        let may_release = atomic.order.releases();
        let orders = atomic.scope != MemoryScope::Block && (acquires || may_release);
        let turns = self.launch.turns.as_ref().filter(|_| orders);
        // Beyond the device only what is done at the scope of the system is one step.
        let kind = match (atomic.scope, atomic.update.changes()) {
            (MemoryScope::System, true) => Kind::AtomicWrite,
            (MemoryScope::System, false) => Kind::AtomicRead,
            (MemoryScope::Device | MemoryScope::Block, true) => Kind::Write,
            (MemoryScope::Device | MemoryScope::Block, false) => Kind::Read,
        };
        for (place, tensor, mask) in self.targets(access, extents, span)? {
            let operand = |value: Handle<Expression>| Operand::new(&self.values[value.index()], element, extents);
            let update = match atomic.update {
                AtomicUpdate::Combine { op, value } => Update::Combine(op, operand(value)),
                AtomicUpdate::CompareExchange { current, new } => {
                    Update::CompareExchange(operand(current), operand(new))
                }
                AtomicUpdate::Store { value } => Update::Store(operand(value)),
                AtomicUpdate::Load | AtomicUpdate::Wait { .. } => Update::Load,
            };
            let ranks = self.launch.ranks.as_ref();
            let ranks = ranks.and_then(|ranks| Some((ranks, ranks.base(place)?)));
            let (mut log, mut sight) = (std::mem::take(&mut self.log), std::mem::take(&mut self.sight));
            let mut met = None;
            let visit = |run: Run| {
                for k in 0..run.count {
                    let (at, i) = (run.address + k as i64 * run.step, run.element + k);
                    if let Some(touch) = touch {
                        log.push(self.touched(place, at, size, touch, span));
                    }
                    if ranks.is_some() {
                        self.note_among_ranks(&sight, place, at, size, kind, span, &mut met);
                    }
                    let (mut before, mut releases) = (0, false);
                    let mut change = || {
                        // Held over the operation, so that turns are in the order in which an element changes.
                        let mut turns = turns.map(|turns| turns.lock().unwrap_or_else(PoisonError::into_inner));
                        before = update.done(i, element, tensor.memory, at as u64, atomic.order);
                        releases = may_release && update.succeeds(i, before);
                        if let Some(turns) = &mut turns {
                            log.take_turn(self.number as u32, turns, (place, at), acquires, releases);
                        }
                        Turn {
                            acquires: acquires && atomic.scope == MemoryScope::System,
                            releases: releases && atomic.scope == MemoryScope::System,
                            continues: !matches!(update, Update::Store(_)),
                            value: (update.succeeds(i, before) && atomic.update.changes())
                                .then(|| update.apply(i, Literal { element, bits: before }) as u32),
                        }
                    };
                    match ranks {
                        Some((ranks, base)) => {
                            ranks.change(&mut sight, self.number as u32, base + at as usize, change);
                        }
                        None => drop(change()),
                    }
                    put(&mut old, size, i, before);
                }
            };
            let outside = self.walk_where(access, mask.as_ref(), tensor, extents, visit);
            drop(update);
            (self.log, self.sight) = (log, sight);
            self.meet(met);
            self.judge(outside, access, place, span)?;
        }
        // What a store found, nobody gets to know.
        if matches!(atomic.update, AtomicUpdate::Store { .. }) {
            return Ok(Value::Uniform(0));
        }
        Ok(if old.len() == size {
            Value::Uniform(get(&old, size, 0))
        } else {
            Value::dense(old, extents)
        })
    }
}

/// An update with the values of all elements.
enum Update<'v> {
    Combine(AtomicOp, Operand<'v>),
    CompareExchange(Operand<'v>, Operand<'v>),
    Load,
    Store(Operand<'v>),
}

impl Update<'_> {
    /// Does it to element `i`, which is at an address; returns what it was before.
    fn done(&self, i: usize, element: ElementType, memory: &HostMemory, at: u64, order: MemoryOrder) -> u64 {
        let change = |bits| self.apply(i, Literal { element, bits });
        let before = memory.update(at, element.size(), ordering(order), change);
        debug_assert!(before.is_ok(), "tensors are inside their memory");
        before.unwrap_or(0)
    }

    /// Whether element `i`, which held `old`, is written, be it with what it held.
    fn succeeds(&self, i: usize, old: u64) -> bool {
        match self {
            Self::Combine(..) | Self::Store(_) => true,
            Self::CompareExchange(current, _) => old == current.bits(i),
            Self::Load => false,
        }
    }

    /// The bits of element `i` after the update.
    fn apply(&self, i: usize, old: Literal) -> u64 {
        let element = old.element;
        match self {
            Self::Combine(op, value) => {
                let bits = value.bits(i);
                arithmetic::atomic(*op, old, Literal { element, bits }).map_or(old.bits, |new| new.bits)
            }
            Self::CompareExchange(current, new) if old.bits == current.bits(i) => new.bits(i),
            Self::CompareExchange(..) | Self::Load => old.bits,
            Self::Store(value) => value.bits(i),
        }
    }
}

fn ordering(order: MemoryOrder) -> Ordering {
    match order {
        MemoryOrder::Relaxed => Ordering::Relaxed,
        MemoryOrder::Acquire => Ordering::Acquire,
        MemoryOrder::Release => Ordering::Release,
        MemoryOrder::AcquireRelease => Ordering::AcqRel,
    }
}
