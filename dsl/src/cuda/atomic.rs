//! Atomic operations: who does one, how its value reaches the other threads, and the instruction.
//!
//! A scalar operation is done by the first thread of a program, and its value, where something uses it, is handed to the
//! others through shared memory. Of a tile each thread does the elements that it owns, and keeps their values in registers.
//! Everything is inline PTX: `red` where no value is wanted, `atom` elsewhere, and a loop of `cas` for what has no
//! instruction.

use super::leaves::{Group, Sink};
use super::lower::Order;
use super::prelude::Need;
use super::pull::Point;
use super::scalar;
use super::types::c_type;
use super::writer::{Placed, Writer};
use crate::element::{ElementKind, ElementType};
use crate::ir::{Atomic, AtomicOp, AtomicUpdate, BinaryOp, Expression, Handle, MemoryOrder, MemoryScope, Shape};

impl Writer<'_> {
    /// Does the operation `value` here.
    pub(super) fn define_atomic(&mut self, value: Handle<Expression>, atomic: &Atomic, order: &mut Order) {
        self.mark_atomic(atomic, value);
        let ty = self.kernel.ty(value);
        let used = self.effects.atomics.used.contains(&value);
        let ordering = self.effects.atomics.ordering.contains(&value);
        let (before, after) = (ordering && atomic.order.releases(), ordering && atomic.order.acquires());
        // What other threads of the program have done before is part of what is released.
        if before || (used && ty.is_scalar()) {
            self.barrier(order);
        } else {
            self.before_atomic(atomic.access.tensor, order);
        }
        if ty.is_scalar() && used {
            let (name, element) = (self.fresh("v"), c_type(ty.element));
            self.declare_shared(element, ty.element.size(), &format!("{name}_shared"), 1);
            self.open("if (worker == 0) {");
            let old = self.atomic_element(value, atomic, &Point::scalar(), ty.shape);
            self.line(format!("{name}_shared[0] = {old};"));
            self.close();
            self.barrier(order);
            self.line(format!("const {element} {name} = {name}_shared[0];"));
            self.placed.insert(value, Placed::Scalar(name));
        } else if ty.is_scalar() {
            self.open("if (worker == 0) {");
            self.atomic_element(value, atomic, &Point::scalar(), ty.shape);
            self.close();
            self.placed.insert(value, Placed::Lazy);
        } else {
            let registers = used.then(|| self.declare_registers(value));
            let group = Group {
                value,
                shape: ty.shape,
                sink: registers.clone().map_or(Sink::Effect, Sink::Registers),
                span: self.kernel.spans[value.index()],
            };
            self.group(&group);
            self.placed
                .insert(value, registers.map_or(Placed::Lazy, Placed::Registers));
        }
        match (ty.is_scalar() && used, after) {
            // Handing the value on was the barrier.
            (true, _) => {}
            (false, true) => self.barrier(order),
            (false, false) => order.changed_atomically(atomic.access.tensor, &self.effects),
        }
    }

    /// Does one element of an operation; returns its old value if something uses it.
    pub(super) fn atomic_element(
        &mut self,
        value: Handle<Expression>,
        atomic: &Atomic,
        point: &Point,
        shape: Shape,
    ) -> String {
        let element = self.element(atomic.access.tensor);
        let operands: Vec<_> = atomic.update.operands().collect();
        let operands: Vec<String> = operands.into_iter().map(|operand| self.pull(operand, point)).collect();
        let (place, condition) = self.place(&atomic.access, point, shape, self.kernel.spans[value.index()]);
        let used = self.effects.atomics.used.contains(&value);
        let old = used.then(|| {
            let name = self.fresh("old");
            self.line(format!("{} {name} = {};", c_type(element), Self::zero(element)));
            name
        });
        self.open(condition.map_or("{".to_owned(), |condition| format!("if ({condition}) {{")));
        let address = self.define("at", &format!("{}*", c_type(element)), &format!("&{place}"));
        let instruction = Instruction {
            element,
            order: self.emitted_order(value, atomic),
            scope: atomic.scope,
            address,
            old: old.clone(),
        };
        match (atomic.update, operands.as_slice()) {
            (AtomicUpdate::Combine { op, .. }, [value]) => self.combine(op, &instruction, value),
            (AtomicUpdate::CompareExchange { .. }, [current, new]) => {
                let line = instruction.text("cas", "b", &[current, new]);
                self.line(line);
            }
            // An update has as many operands as its kind says.
            _ => {}
        }
        self.close();
        old.unwrap_or_else(|| "0".to_owned())
    }

    /// The order that the instruction needs: none where nothing on the device can tell.
    fn emitted_order(&self, value: Handle<Expression>, atomic: &Atomic) -> MemoryOrder {
        if self.effects.atomics.ordering.contains(&value) || atomic.scope == MemoryScope::System {
            atomic.order
        } else {
            MemoryOrder::Relaxed
        }
    }

    fn combine(&mut self, op: AtomicOp, instruction: &Instruction, value: &str) {
        let element = instruction.element;
        let by_sign = match element.kind() {
            ElementKind::Signed => "s",
            _ => "u",
        };
        match (op, element) {
            (AtomicOp::Add, ElementType::BF16) => {
                self.line("#if __CUDA_ARCH__ >= 900");
                self.line(instruction.text("add.noftz", "bf", &[value]));
                self.line("#else");
                self.compare_and_swap(BinaryOp::Add, instruction, value);
                self.line("#endif");
            }
            (AtomicOp::Add, ElementType::F16) => self.line(instruction.text("add.noftz", "f", &[value])),
            (AtomicOp::Add, ElementType::F32) => self.line(instruction.text("add", "f", &[value])),
            (AtomicOp::Add, ElementType::F64) => self.add_doubles(instruction, value),
            // The sum is the same for both signs, and only one of the 64-bit ones exists.
            (AtomicOp::Add, _) => self.line(instruction.text("add", "u", &[value])),
            (AtomicOp::Min, ElementType::F32 | ElementType::F64) => {
                self.compare_and_swap(BinaryOp::Min, instruction, value);
            }
            (AtomicOp::Max, ElementType::F32 | ElementType::F64) => {
                self.compare_and_swap(BinaryOp::Max, instruction, value);
            }
            (AtomicOp::Min, _) => self.line(instruction.text("min", by_sign, &[value])),
            (AtomicOp::Max, _) => self.line(instruction.text("max", by_sign, &[value])),
            (AtomicOp::And, _) => self.line(instruction.text("and", "b", &[value])),
            (AtomicOp::Or, _) => self.line(instruction.text("or", "b", &[value])),
            (AtomicOp::Xor, _) => self.line(instruction.text("xor", "b", &[value])),
            (AtomicOp::Exchange, _) => self.line(instruction.text("exch", "b", &[value])),
        }
    }

    /// The instruction, and the one NaN after it: unlike those for the other floats, it keeps the bits of an operand's.
    fn add_doubles(&mut self, instruction: &Instruction, value: &str) {
        let old = instruction.old.clone().unwrap_or_else(|| {
            let name = self.fresh("old");
            self.line(format!("double {name};"));
            name
        });
        let address = instruction.address.clone();
        let line = Instruction {
            old: Some(old.clone()),
            address: address.clone(),
            ..*instruction
        }
        .text("add", "f", &[value]);
        self.line(line);
        self.need(Need::SettleNan);
        let sum = self.define("sum", "double", &format!("{old} + {value}"));
        self.line(format!("if ({sum} != {sum}) tw_settle_nan({address});"));
    }

    /// Replaces the element by its combination with `value`, once nothing came between reading and writing it.
    fn compare_and_swap(&mut self, op: BinaryOp, instruction: &Instruction, value: &str) {
        let element = instruction.element;
        let (bits, carrier, scope) = (element.bits(), instruction.carrier("b"), instruction.scope());
        let (address, order) = (&instruction.address, instruction.order.name());
        let (seen, found) = (self.fresh("seen"), self.fresh("found"));
        self.line(format!("{} {seen}, {found};", c_type(element)));
        let (written, read) = (carrier.output(&seen), carrier.output(&found));
        self.line(format!(
            "asm volatile(\"ld.relaxed.{scope}.global.b{bits} %0, [%1];\" : {written} : \"l\"({address}) : \"memory\");"
        ));
        self.open("while (true) {");
        let text = self.text(scalar::binary(op, element, &seen, value));
        let next = self.define("next", c_type(element), &text);
        self.line(format!(
            "asm volatile(\"atom.{order}.{scope}.global.cas.b{bits} %0, [%1], %2, %3;\" : {read} : \"l\"({address}), {}, {} : \"memory\");",
            carrier.input(&seen),
            carrier.input(&next)
        ));
        self.line(format!(
            "if ({} == {}) break;",
            carrier.bits(&found),
            carrier.bits(&seen)
        ));
        self.line(format!("{seen} = {found};"));
        self.close();
        if let Some(old) = &instruction.old {
            self.line(format!("{old} = {seen};"));
        }
    }
}

/// One atomic instruction on one element.
struct Instruction {
    element: ElementType,
    order: MemoryOrder,
    scope: MemoryScope,
    /// The name of the pointer.
    address: String,
    /// The variable for the old value, if it is wanted.
    old: Option<String>,
}

impl Instruction {
    fn scope(&self) -> &'static str {
        match self.scope {
            MemoryScope::Block => "cta",
            MemoryScope::Device => "gpu",
            MemoryScope::System => "sys",
        }
    }

    /// The statement, for an operation on values of `kind`: `b`its, `u`nsigned, `s`igned, `f`loat or `bf`loat.
    fn text(&self, op: &str, kind: &str, values: &[&str]) -> String {
        let (order, scope, bits, address) = (self.order.name(), self.scope(), self.element.bits(), &self.address);
        let carrier = self.carrier(kind);
        let inputs: Vec<String> = values.iter().map(|value| carrier.input(value)).collect();
        let inputs = inputs.join(", ");
        let reduces = self.old.is_none() && !self.order.acquires() && !matches!(op, "exch" | "cas");
        if reduces {
            return format!(
                "asm volatile(\"red.{order}.{scope}.global.{op}.{kind}{bits} [%0], %1;\" :: \"l\"({address}), {inputs} : \"memory\");"
            );
        }
        let places = if values.len() == 2 { "%2, %3" } else { "%2" };
        let atom = format!("atom.{order}.{scope}.global.{op}.{kind}{bits} %0, [%1], {places};");
        let (declared, old) = match &self.old {
            Some(old) => (String::new(), old.as_str()),
            None => (format!("{} unused; ", c_type(self.element)), "unused"),
        };
        let output = carrier.output(old);
        format!("{declared}asm volatile(\"{atom}\" : {output} : \"l\"({address}), {inputs} : \"memory\");")
    }

    fn carrier(&self, kind: &str) -> Carrier {
        Carrier {
            element: self.element,
            float: kind == "f",
        }
    }
}

/// How values enter and leave an instruction: as floats, or as bits.
struct Carrier {
    element: ElementType,
    float: bool,
}

impl Carrier {
    fn constraint(&self) -> &'static str {
        match (self.element, self.float) {
            (ElementType::F32, true) => "f",
            (ElementType::F64, true) => "d",
            _ => match self.element.size() {
                2 => "h",
                4 => "r",
                _ => "l",
            },
        }
    }

    fn is_reinterpreted(&self) -> bool {
        matches!(self.element, ElementType::F32 | ElementType::F64) && !self.float
    }

    fn input(&self, value: &str) -> String {
        format!(
            "\"{}\"({})",
            self.constraint(),
            if self.float { value.to_owned() } else { self.bits(value) }
        )
    }

    /// An output operand that is the variable `name`.
    fn output(&self, name: &str) -> String {
        let constraint = self.constraint();
        match self.element {
            ElementType::F32 if self.is_reinterpreted() => format!("\"={constraint}\"(*(int*)&{name})"),
            ElementType::F64 if self.is_reinterpreted() => format!("\"={constraint}\"(*(long long*)&{name})"),
            _ => format!("\"={constraint}\"({name})"),
        }
    }

    /// The bits of a value, as an integer.
    fn bits(&self, value: &str) -> String {
        match self.element {
            ElementType::F32 => format!("__float_as_int({value})"),
            ElementType::F64 => format!("__double_as_longlong({value})"),
            _ => value.to_owned(),
        }
    }
}
