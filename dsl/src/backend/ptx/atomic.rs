//! Atomic operations.

use super::memory::scope;
use super::number::bit_type;
use super::register::Class;
use super::value::{Held, class_of};
use super::writer::Writer;
use crate::element::ElementType;
use crate::ir::AtomicOp;
use crate::thread::{Atomic, Space, Type, Update};

impl Writer<'_> {
    pub(super) fn atomic(&mut self, atomic: &Atomic) {
        let element = atomic.element;
        let (operation, operands) = match atomic.update {
            Update::Combine { op, value } => (combination(op, element), vec![value]),
            Update::CompareExchange { current, new } => (format!("cas.b{}", element.bits()), vec![current, new]),
        };
        let bf16_sum = element == ElementType::BF16 && !self.target.features().bf16_sums;
        if bf16_sum {
            self.refuse("atomic sum of bf16");
        }
        let is_half = element.size() == 2;
        let mut values = String::new();
        for operand in operands {
            let mut register = self.register(operand);
            if is_half {
                register = self.half(register);
            }
            values += &format!(", {register}");
        }
        let space = match self.kernel.buffers[atomic.place.buffer].space() {
            Space::Shared => "shared",
            _ => "global",
        };
        let qualifiers = format!("{}.{}.{space}.{operation}", atomic.order.name(), scope(atomic.scope));
        let guard = self.guarded(atomic.predicate);
        let address = self.address(atomic.place);
        let is_exchange = matches!(
            atomic.update,
            Update::CompareExchange { .. }
                | Update::Combine {
                    op: AtomicOp::Exchange,
                    ..
                }
        );
        // Without a value there is a shorter one, which waits for nothing.
        if atomic.result.is_none() && !is_exchange && !atomic.order.acquires() {
            self.line(format!("{guard}red.{qualifiers}\t{address}{values};"));
            return;
        }
        let class = if is_half { Class::Half } else { class_of(element) };
        let before = self.fresh(class);
        if atomic.predicate.is_some() && atomic.result.is_some() {
            self.line(format!("mov.b{}\t{before}, 0;", class.bits()));
        }
        self.line(format!("{guard}atom.{qualifiers}\t{before}, {address}{values};"));
        if let Some(result) = atomic.result {
            let register = if is_half { self.of_half(element, before) } else { before };
            let held = Held {
                ty: Type::scalar(element),
                registers: vec![register],
            };
            self.define(result, held);
        }
    }
}

/// The operation and its type. Bits are exchanged, and sums are the same for both signs.
fn combination(op: AtomicOp, element: ElementType) -> String {
    let bits = element.bits();
    match op {
        AtomicOp::Add => match element {
            ElementType::F16 => "add.noftz.f16".to_owned(),
            ElementType::BF16 => "add.noftz.bf16".to_owned(),
            ElementType::F32 | ElementType::F64 => format!("add.f{bits}"),
            _ => format!("add.u{bits}"),
        },
        AtomicOp::Min | AtomicOp::Max => {
            let sign = if element.is_signed() { "s" } else { "u" };
            format!("{}.{sign}{bits}", op.name())
        }
        AtomicOp::And | AtomicOp::Or | AtomicOp::Xor => format!("{}.{}", op.name(), bit_type(element)),
        AtomicOp::Exchange => format!("exch.{}", bit_type(element)),
    }
}
