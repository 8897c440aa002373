//! Atomic operations: every element in one step, among programs that run on several threads.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::InterpretError;
use super::access::Run;
use super::elementwise::Operand;
use super::program::Machine;
use super::value::{Value, get, padded, put};
use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{
    Atomic, AtomicOp, AtomicUpdate, BinaryOp, Expression, Handle, Literal, MemoryOrder, MemoryScope, Span,
};

impl Machine<'_> {
    /// Does `atomic` in row-major order; gives what each element held before.
    pub(super) fn atomic(
        &mut self,
        atomic: &Atomic,
        handle: Handle<Expression>,
        span: Span,
    ) -> Result<Value, InterpretError> {
        let ty = self.launch.kernel.ty(handle);
        let (element, size, extents) = (ty.element, ty.element.size(), padded(ty.shape));
        let access = &atomic.access;
        let Some((place, tensor)) = self.target(access, extents, span)? else {
            return Ok(Value::Uniform(0));
        };
        let mut old = vec![0u8; extents.iter().product::<usize>() * size];
        let operand = |value: Handle<Expression>| Operand::new(&self.values[value.index()], element, extents);
        let update = match atomic.update {
            AtomicUpdate::Combine { op, value } => Update::Combine(op, operand(value)),
            AtomicUpdate::CompareExchange { current, new } => Update::CompareExchange(operand(current), operand(new)),
        };
        let mut log = std::mem::take(&mut self.log);
        let touch = self.launch.noted(self.launch.races.of_atomic(atomic));
        let order = ordering(atomic.order);
        // Without its value, no program can tell what came before.
        let acquires = atomic.order.acquires() && self.launch.races.is_used(handle);
        let may_release = atomic.order.releases();
        let orders = atomic.scope != MemoryScope::Block && (acquires || may_release);
        let turns = self.launch.turns.as_ref().filter(|_| orders);
        let visit = |run: Run| {
            for k in 0..run.count {
                let (at, i) = (run.address + k as i64 * run.step, run.element + k);
                if let Some(touch) = touch {
                    log.push(self.touched(place, at, size, touch, span));
                }
                let change = |bits| update.apply(i, Literal { element, bits });
                // Held over the operation, so that turns are in the order in which an element changes.
                let mut turns = turns.map(|turns| turns.lock().unwrap_or_else(PoisonError::into_inner));
                let before = tensor.memory.update(at as u64, size, order, change);
                debug_assert!(before.is_ok(), "tensors are inside their memory");
                let before = before.unwrap_or(0);
                if let Some(turns) = &mut turns {
                    let releases = may_release && update.succeeds(i, before);
                    log.take_turn(self.number as u32, turns, (place, at), acquires, releases);
                }
                put(&mut old, size, i, before);
            }
        };
        let outside = self.walk(access, tensor, extents, visit);
        drop(update);
        self.log = log;
        self.judge(outside, access, place, span)?;
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
}

impl Update<'_> {
    /// Whether element `i`, which held `old`, is written, be it with what it held.
    fn succeeds(&self, i: usize, old: u64) -> bool {
        match self {
            Self::Combine(..) => true,
            Self::CompareExchange(current, _) => old == current.bits(i),
        }
    }

    /// The bits of element `i` after the update.
    fn apply(&self, i: usize, old: Literal) -> u64 {
        let element = old.element;
        match self {
            Self::Combine(op, value) => {
                let bits = value.bits(i);
                combine(*op, old, Literal { element, bits }).map_or(old.bits, |new| new.bits)
            }
            Self::CompareExchange(current, new) if old.bits == current.bits(i) => new.bits(i),
            Self::CompareExchange(..) => old.bits,
        }
    }
}

/// An element combined with a value; `None` if the type does not have the operation.
fn combine(op: AtomicOp, old: Literal, value: Literal) -> Option<Literal> {
    let plain = |op| arithmetic::binary(op, old, value);
    match op {
        AtomicOp::Add => arithmetic::binary(BinaryOp::Add, flushed(old), flushed(value)).map(flushed),
        AtomicOp::Min => plain(BinaryOp::Min),
        AtomicOp::Max => plain(BinaryOp::Max),
        AtomicOp::And => plain(BinaryOp::And),
        AtomicOp::Or => plain(BinaryOp::Or),
        AtomicOp::Xor => plain(BinaryOp::Xor),
        AtomicOp::Exchange => Some(value),
    }
}

/// An f32 that is subnormal as the zero of its sign; anything else as it is.
fn flushed(value: Literal) -> Literal {
    const EXPONENT: u64 = 0x7f80_0000;
    const SIGN: u64 = 0x8000_0000;
    if value.element == ElementType::F32 && value.bits & EXPONENT == 0 {
        Literal {
            bits: value.bits & SIGN,
            ..value
        }
    } else {
        value
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_f32_take_subnormal_numbers_for_zero() {
        let sum = |a: f32, b: f32| {
            let sum = combine(AtomicOp::Add, Literal::new(a), Literal::new(b)).unwrap();
            f32::from_bits(sum.bits as u32)
        };
        let tiny = f32::MIN_POSITIVE / 2.0;
        assert_eq!(sum(1.5, 2.25), 3.75);
        assert_eq!(sum(tiny, tiny).to_bits(), 0);
        assert_eq!(sum(-tiny, -0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(
            sum(f32::MIN_POSITIVE, -1.5 * f32::MIN_POSITIVE).to_bits(),
            (-0.0f32).to_bits()
        );
        // Of f64 nothing is lost.
        let tiny = f64::MIN_POSITIVE / 2.0;
        assert_eq!(
            combine(AtomicOp::Add, Literal::new(tiny), Literal::new(tiny)),
            Some(Literal::new(f64::MIN_POSITIVE))
        );
    }

    #[test]
    fn what_a_type_has_no_operation_for_is_none() {
        assert_eq!(combine(AtomicOp::And, Literal::new(1f32), Literal::new(1f32)), None);
        assert_eq!(
            combine(AtomicOp::Max, Literal::new(-3i64), Literal::new(2i64)),
            Some(Literal::new(2i64))
        );
    }
}
