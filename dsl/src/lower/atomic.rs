//! Atomic operations: a scalar one is done by the program's first thread, and its value, where something uses it, is handed
//! to the others through shared memory; of a tile each thread does some elements.

use super::held::Held;
use super::point::Point;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{
    Atomic, AtomicOp, AtomicUpdate, BinaryOp, CompareOp, Expression, Handle, Literal, MemoryOrder, MemoryScope, Shape,
};
use crate::thread::{self, Load, Operation, Order, Place, Store, Type, Unroll, Update, Use};

impl Lower<'_> {
    pub(super) fn atomic(&mut self, value: Handle<Expression>, atomic: &Atomic) -> Result<(), LowerError> {
        if let AtomicUpdate::Wait { epoch, limit } = atomic.update {
            return self.wait(value, atomic, epoch, limit);
        }
        let tensor = atomic.access.tensor;
        let ty = self.kernel.ty(value);
        let used = self.effects.atomics.used.contains(&value);
        let ordering = self.effects.atomics.ordering.contains(&value);
        self.mark_atomic(atomic, value)?;
        let (before, after) = (ordering && atomic.order.releases(), ordering && atomic.order.acquires());
        // What other threads of the program have done before is part of what is released.
        match before || used {
            true => self.barrier(),
            false => self.before_atomic(tensor),
        }
        let order = match ordering || atomic.scope == MemoryScope::System {
            true => atomic.order,
            false => MemoryOrder::Relaxed,
        };
        self.access_span = self.kernel.spans[value.index()];
        let operands: Vec<_> = atomic.operands().collect();
        if used && !ty.is_scalar() {
            // Each thread keeps what it finds.
            let own = self.own(ty)?;
            self.with_others(&operands, |lower| {
                lower.each_element(ty, |lower, own_number, point| {
                    let kept = lower.element_place(own, own_number, ty.element);
                    lower.atomic_element(atomic, order, point, ty.shape, Some(kept))
                })
            })?;
            self.held.insert(value, Held::Own(own));
            match after {
                true => self.barrier(),
                false => self.changed_atomically(tensor),
            }
            return Ok(());
        }
        if used {
            // The first thread hands its value on, and handing it on is the barrier behind.
            let top = self.shared_top;
            self.before_shared();
            let kept = self.kept(ty.element)?;
            self.once(|lower| lower.atomic_element(atomic, order, &Point::new(), ty.shape, Some(kept)))?;
            self.barrier();
            let old = self.b.load(Load {
                place: kept,
                ty: Type::scalar(ty.element),
                order: Order::Weak,
                cache: None,
                read_only: false,
                predicate: None,
            });
            self.reads_shared(kept.buffer);
            self.shared_top = top;
            self.scalars.insert(value, old);
            return Ok(());
        }
        if ty.is_scalar() {
            self.once(|lower| lower.atomic_element(atomic, order, &Point::new(), ty.shape, None))?;
        } else {
            self.with_others(&operands, |lower| {
                lower.each(ty.shape.elements(), |lower, e| {
                    let point = lower.at_position(e, ty.shape);
                    lower.atomic_element(atomic, order, &point, ty.shape, None)
                })
            })?;
        }
        match after {
            true => self.barrier(),
            false => self.changed_atomically(tensor),
        }
        Ok(())
    }

    /// Shared memory for one element.
    fn kept(&mut self, element: ElementType) -> Result<Place, LowerError> {
        let buffer = self.shared(element, 1)?;
        let start = self.b.constant(0);
        Ok(self.element_place(buffer, start, element))
    }

    /// Writes what an operation found to where it is kept.
    fn keep(&mut self, kept: Option<Place>, value: Use) {
        if let Some(place) = kept {
            self.b.store(Store {
                place,
                block: None,
                value,
                order: Order::Weak,
                cache: None,
                predicate: None,
            });
        }
    }

    fn atomic_element(
        &mut self,
        atomic: &Atomic,
        order: MemoryOrder,
        point: &Point,
        shape: Shape,
        kept: Option<Place>,
    ) -> Result<(), LowerError> {
        let mut operands = Vec::with_capacity(2);
        for operand in atomic.update.operands() {
            operands.push(self.pull(operand, point)?);
        }
        let element = self
            .kernel
            .tensor(atomic.access.tensor)
            .map_or(ElementType::U32, |tensor| tensor.element);
        let placed = self.place(&atomic.access, point, shape)?;
        let predicate = match self.b.kernel().indices.is_known(placed.condition) {
            Some(true) => None,
            Some(false) | None => Some(placed.condition),
        };
        if let AtomicUpdate::Load = atomic.update {
            let found = self.b.load(Load {
                place: placed.place,
                ty: Type::scalar(element),
                order: Order::Strong(order, atomic.scope),
                cache: None,
                read_only: false,
                predicate,
            });
            self.keep(kept, found);
            return Ok(());
        }
        let Some(&first) = operands.first() else {
            return Ok(());
        };
        if let AtomicUpdate::Store { .. } = atomic.update {
            self.b.store(Store {
                place: placed.place,
                block: None,
                value: first,
                order: Order::Strong(order, atomic.scope),
                cache: None,
                predicate,
            });
            self.keep(kept, Literal::zero(element).into());
            return Ok(());
        }
        let one = thread::Atomic {
            place: placed.place,
            element,
            update: Update::Combine {
                op: AtomicOp::Add,
                value: first,
            },
            order,
            scope: atomic.scope,
            result: None,
            predicate,
        };
        let is_float = matches!(element, ElementType::F32 | ElementType::F64);
        let with = |update| thread::Atomic { update, ..one };
        match (atomic.update, operands.as_slice()) {
            (AtomicUpdate::CompareExchange { .. }, &[current, new]) => {
                self.plain(with(Update::CompareExchange { current, new }), kept);
            }
            (AtomicUpdate::Combine { op, .. }, &[value]) => match op {
                AtomicOp::Min if is_float => self.swapped(&one, BinaryOp::Min, value, kept),
                AtomicOp::Max if is_float => self.swapped(&one, BinaryOp::Max, value, kept),
                AtomicOp::Add if element == ElementType::F64 => self.settled(&one, value, kept),
                _ => self.plain(with(Update::Combine { op, value }), kept),
            },
            // An update has as many operands as its kind says.
            _ => {}
        }
        Ok(())
    }

    /// One instruction.
    fn plain(&mut self, atomic: thread::Atomic, kept: Option<Place>) {
        if let Some(old) = self.b.atomic(atomic, kept.is_some()) {
            self.keep(kept, old);
        }
    }

    /// Does `body` where the predicate of an operation holds, and without it; elsewhere zero was found.
    fn under(&mut self, atomic: &thread::Atomic, kept: Option<Place>, body: impl FnOnce(&mut Self, &thread::Atomic)) {
        self.keep(kept, Literal::zero(atomic.element).into());
        let always = self.b.indices().always(true);
        let condition = atomic.predicate.unwrap_or(always);
        self.b.enter();
        let unconditional = thread::Atomic {
            predicate: None,
            ..*atomic
        };
        body(self, &unconditional);
        let accept = self.b.leave();
        self.b.push(thread::Statement::If {
            condition,
            accept,
            reject: thread::Block::new(),
        });
    }

    /// Replaces a float by its combination with `value`, once nothing came between reading and writing it.
    fn swapped(&mut self, atomic: &thread::Atomic, op: BinaryOp, value: Use, kept: Option<Place>) {
        self.under(atomic, kept, |lower, atomic| {
            let (float, bits) = (Type::scalar(atomic.element), bits_of(atomic.element));
            let register = lower.b.register("seen", bits);
            let first = lower.relaxed(atomic.place, bits, atomic.scope);
            lower.b.assign(register, first);
            let label = lower.b.label();
            lower.b.enter();
            let seen = lower.b.read(register);
            let old = lower.b.bitcast(seen, float);
            let next = lower.b.binary(op, old, value);
            let next = lower.b.emit(Operation::Canonical(next));
            let next = lower.b.bitcast(next, bits);
            let update = Update::CompareExchange {
                current: seen,
                new: next,
            };
            let found = lower.exchange(atomic, update, bits, atomic.order);
            lower.b.assign(register, found);
            let same = lower.b.compare(CompareOp::Equal, found, seen);
            let same = lower.b.condition(same);
            lower.b.when(same, |b| b.push(thread::Statement::Leave(label)));
            let body = lower.b.leave();
            let unroll = Unroll::Free;
            lower.b.push(thread::Statement::Loop { label, unroll, body });
            let seen = lower.b.read(register);
            let old = lower.b.bitcast(seen, float);
            lower.keep(kept, old);
        });
    }

    /// A sum of f64, and the one NaN after it: unlike those for the other floats, the instruction keeps the bits of an
    /// operand's. Once an element is NaN every later sum is, so the canonical one may come a moment later.
    fn settled(&mut self, atomic: &thread::Atomic, value: Use, kept: Option<Place>) {
        self.under(atomic, kept, |lower, atomic| {
            let bits = bits_of(atomic.element);
            let update = Update::Combine {
                op: AtomicOp::Add,
                value,
            };
            let Some(old) = lower.b.atomic(thread::Atomic { update, ..*atomic }, true) else {
                return;
            };
            lower.keep(kept, old);
            let sum = lower.b.binary(BinaryOp::Add, old, value);
            let lost = lower.b.compare(CompareOp::NotEqual, sum, sum);
            let lost = lower.b.condition(lost);
            lower.b.enter();
            let register = lower.b.register("seen", bits);
            let first = lower.relaxed(atomic.place, bits, MemoryScope::System);
            lower.b.assign(register, first);
            let label = lower.b.label();
            lower.b.enter();
            let canonical: Use = Literal::new(0x7fff_ffff_ffff_ffffu64).into();
            let seen = lower.b.read(register);
            let magnitude = lower.b.binary(BinaryOp::And, seen, canonical);
            let infinity = Literal::new(0x7ff0_0000_0000_0000u64).into();
            let is_nan = lower.b.compare(CompareOp::Greater, magnitude, infinity);
            let differs = lower.b.compare(CompareOp::NotEqual, seen, canonical);
            let (is_nan, differs) = (lower.b.condition(is_nan), lower.b.condition(differs));
            let open = lower.b.indices().all([is_nan, differs]);
            let done = lower.b.indices().not(open);
            lower.b.when(done, |b| b.push(thread::Statement::Leave(label)));
            let update = Update::CompareExchange {
                current: seen,
                new: canonical,
            };
            let found = lower.exchange(atomic, update, bits, MemoryOrder::Relaxed);
            lower.b.assign(register, found);
            let same = lower.b.compare(CompareOp::Equal, found, seen);
            let same = lower.b.condition(same);
            lower.b.when(same, |b| b.push(thread::Statement::Leave(label)));
            let body = lower.b.leave();
            let unroll = Unroll::Free;
            lower.b.push(thread::Statement::Loop { label, unroll, body });
            let accept = lower.b.leave();
            lower.b.push(thread::Statement::If {
                condition: lost,
                accept,
                reject: thread::Block::new(),
            });
        });
    }

    fn relaxed(&mut self, place: Place, ty: Type, scope: MemoryScope) -> Use {
        self.b.load(Load {
            place,
            ty,
            order: Order::Strong(MemoryOrder::Relaxed, scope),
            cache: None,
            read_only: false,
            predicate: None,
        })
    }

    fn exchange(&mut self, atomic: &thread::Atomic, update: Update, bits: Type, order: MemoryOrder) -> Use {
        let element = bits.element;
        let exchange = thread::Atomic {
            update,
            element,
            order,
            ..*atomic
        };
        self.b.atomic(exchange, true).unwrap_or(Literal::zero(element).into())
    }
}

/// The bits of a float.
fn bits_of(element: ElementType) -> Type {
    match element {
        ElementType::F64 => Type::scalar(ElementType::U64),
        _ => Type::scalar(ElementType::U32),
    }
}
