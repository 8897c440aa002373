//! Atomic operations whose value nothing uses and whose order nothing observes.

use super::point::Point;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{
    Atomic, AtomicOp, AtomicUpdate, BinaryOp, CompareOp, Expression, Handle, Literal, MemoryOrder, MemoryScope, Shape,
};
use crate::thread::{self, Load, Operand, Operation, Order, Place, Type, Unroll, Update};

impl Lower<'_> {
    pub(super) fn atomic(&mut self, value: Handle<Expression>, atomic: &Atomic) -> Result<(), LowerError> {
        let tensor = atomic.access.tensor;
        let atomics = &self.effects.atomics;
        if atomics.used.contains(&value) {
            return self.not_carried("an atomic operation whose value is used");
        }
        if atomics.ordering.contains(&value) || self.effects.ordered.contains(&tensor) || self.kernel.checked {
            return self.not_carried("an atomic operation that is ordered with others");
        }
        let shape = self.kernel.ty(value).shape;
        let order = match atomic.scope {
            MemoryScope::System => atomic.order,
            MemoryScope::Block | MemoryScope::Device => MemoryOrder::Relaxed,
        };
        self.access_span = self.kernel.spans[value.index()];
        if shape.rank() == 0 {
            return self.once(|lower| lower.atomic_element(atomic, order, &Point::new(), shape));
        }
        self.each(shape.elements(), |lower, e| {
            let point = lower.at_position(e, shape);
            lower.atomic_element(atomic, order, &point, shape)
        })
    }

    fn atomic_element(
        &mut self,
        atomic: &Atomic,
        order: MemoryOrder,
        point: &Point,
        shape: Shape,
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
            Some(false) => return Ok(()),
            None => Some(placed.condition),
        };
        let one = thread::Atomic {
            place: placed.place,
            element,
            update: Update::Combine {
                op: AtomicOp::Add,
                value: operands[0],
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
                self.b.atomic(with(Update::CompareExchange { current, new }), false);
            }
            (AtomicUpdate::Combine { op, .. }, &[value]) => match op {
                AtomicOp::Min if is_float => self.swapped(&one, BinaryOp::Min, value),
                AtomicOp::Max if is_float => self.swapped(&one, BinaryOp::Max, value),
                AtomicOp::Add if element == ElementType::F64 => self.settled(&one, value),
                _ => drop(self.b.atomic(with(Update::Combine { op, value }), false)),
            },
            // An update has as many operands as its kind says.
            _ => {}
        }
        Ok(())
    }

    /// Does `body` where the predicate of an operation holds, and without it.
    fn under(&mut self, atomic: &thread::Atomic, body: impl FnOnce(&mut Self, &thread::Atomic)) {
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
    fn swapped(&mut self, atomic: &thread::Atomic, op: BinaryOp, value: Operand) {
        self.under(atomic, |lower, atomic| {
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
        });
    }

    /// A sum of f64, and the one NaN after it: unlike those for the other floats, the instruction keeps the bits of an
    /// operand's. Once an element is NaN every later sum is, so the canonical one may come a moment later.
    fn settled(&mut self, atomic: &thread::Atomic, value: Operand) {
        self.under(atomic, |lower, atomic| {
            let bits = bits_of(atomic.element);
            let update = Update::Combine {
                op: AtomicOp::Add,
                value,
            };
            let Some(old) = lower.b.atomic(thread::Atomic { update, ..*atomic }, true) else {
                return;
            };
            let sum = lower.b.binary(BinaryOp::Add, old, value);
            let lost = lower.b.compare(CompareOp::NotEqual, sum, sum);
            let lost = lower.b.condition(lost);
            lower.b.enter();
            let register = lower.b.register("seen", bits);
            let first = lower.relaxed(atomic.place, bits, MemoryScope::System);
            lower.b.assign(register, first);
            let label = lower.b.label();
            lower.b.enter();
            let canonical: Operand = Literal::new(0x7fff_ffff_ffff_ffffu64).into();
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

    fn relaxed(&mut self, place: Place, ty: Type, scope: MemoryScope) -> Operand {
        self.b.load(Load {
            place,
            ty,
            order: Order::Strong(MemoryOrder::Relaxed, scope),
            cache: None,
            read_only: false,
            predicate: None,
        })
    }

    fn exchange(&mut self, atomic: &thread::Atomic, update: Update, bits: Type, order: MemoryOrder) -> Operand {
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
