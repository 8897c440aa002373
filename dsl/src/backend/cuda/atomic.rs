//! Atomic operations: `red` where no value is wanted, `atom` elsewhere, and a loop of `cas` for the one that older GPUs
//! lack.

use super::Writer;
use super::memory::scope_name;
use super::packet::Lane;
use super::prelude::Need;
use super::types::{bits_of, c_type, constraint, of_bits, unsigned_type};
use crate::element::{ElementKind, ElementType};
use crate::ir::AtomicOp;
use crate::thread::{Atomic, Update, Use};

/// How an instruction takes the elements.
#[derive(Clone, Copy)]
enum Taken {
    /// As bits.
    Bits,
    /// As floats, if they are such.
    Float,
}

impl Writer<'_> {
    pub(super) fn atomic(&mut self, atomic: &Atomic) {
        let element = atomic.element;
        let (op, taken, operands) = match atomic.update {
            Update::Combine { op, value } => {
                let (op, taken) = combine(op, element);
                (op, taken, vec![value])
            }
            Update::CompareExchange { current, new } => {
                (format!("cas.b{}", element.bits()), Taken::Bits, vec![current, new])
            }
        };
        let predicate = atomic.predicate.map(|predicate| self.condition(predicate));
        let (space, address) = self.address(atomic.place);
        let as_float = matches!(taken, Taken::Float) && matches!(element, ElementType::F32 | ElementType::F64);
        let (ty, register) = match as_float {
            true => (c_type(element), constraint(element)),
            false => (
                unsigned_type(element.size()),
                ["h", "r", "l"][element.size().ilog2() as usize - 1],
            ),
        };
        let mut inputs = vec![address.clone()];
        for operand in operands {
            let value = self.lane(operand, 0);
            let value = if as_float { value } else { bits_of(element, &value) };
            inputs.push(format!("\"{register}\"({value})"));
        }
        let wanted = atomic.result.is_some();
        let reduces = !wanted
            && !atomic.order.acquires()
            && matches!(atomic.update, Update::Combine { op, .. } if op != AtomicOp::Exchange);
        // What it was before; 0 where nothing is done.
        let before = format!("a{}", self.names);
        self.names += 1;
        if !reduces {
            self.line(format!("{ty} {before} = 0;"));
        }
        self.open(predicate.map_or("{".to_owned(), |predicate| format!("if ({predicate}) {{")));
        let (order, scope, space) = (atomic.order.name(), scope_name(atomic.scope), space.name());
        let how = format!("{order}.{scope}.{space}");
        let by_loop = element == ElementType::BF16 && op.starts_with("add");
        if by_loop {
            self.line("#if __CUDA_ARCH__ >= 900");
        }
        match (reduces, inputs.len()) {
            (true, _) => self.instruction(&format!("red.{how}.{op} [%0], %1;"), &inputs),
            (false, count) => {
                let places = if count == 3 { "%2, %3" } else { "%2" };
                self.line(format!(
                    "asm volatile(\"atom.{how}.{op} %0, [%1], {places};\" : \"={register}\"({before}) : {} : \"memory\");",
                    inputs.join(", ")
                ));
            }
        }
        if by_loop && let Update::Combine { value, .. } = atomic.update {
            self.line("#else");
            self.add_by_loop(
                &how,
                &format!("relaxed.{scope}.{space}"),
                &address,
                value,
                (!reduces).then_some(&before),
            );
            self.line("#endif");
        }
        self.close("}");
        if let Some(result) = atomic.result {
            let text = if as_float { before } else { of_bits(element, &before) };
            self.alias(result, vec![Lane::Whole(text)]);
        }
    }

    /// Adds to a bf16: replaces it by the sum, once nothing came between reading and writing it.
    fn add_by_loop(&mut self, how: &str, read: &str, address: &str, value: Use, before: Option<&String>) {
        self.need(Need::BF16);
        let value = self.lane(value, 0);
        self.line("unsigned short seen, found;");
        self.line(format!(
            "asm volatile(\"ld.{read}.b16 %0, [%1];\" : \"=h\"(seen) : {address} : \"memory\");"
        ));
        self.open("while (true) {");
        self.line(format!(
            "const unsigned short next = tw_f32_to_bf16(tw_bf16_to_f32(seen) + tw_bf16_to_f32({value}));"
        ));
        self.line(format!(
            "asm volatile(\"atom.{how}.cas.b16 %0, [%1], %2, %3;\" : \"=h\"(found) : {address}, \"h\"(seen), \"h\"(next) : \"memory\");"
        ));
        self.line("if (found == seen) break;");
        self.line("seen = found;");
        self.close("}");
        if let Some(before) = before {
            self.line(format!("{before} = seen;"));
        }
    }
}

/// The end of an instruction's name, and how it takes its operands.
fn combine(op: AtomicOp, element: ElementType) -> (String, Taken) {
    let bits = element.bits();
    let by_sign = match element.kind() {
        ElementKind::Signed => "s",
        _ => "u",
    };
    let (name, kind, taken) = match (op, element) {
        (AtomicOp::Add, ElementType::BF16) => ("add.noftz", "bf", Taken::Bits),
        (AtomicOp::Add, ElementType::F16) => ("add.noftz", "f", Taken::Bits),
        (AtomicOp::Add, ElementType::F32 | ElementType::F64) => ("add", "f", Taken::Float),
        // The sum is the same for both signs, and only one of the 64-bit ones exists.
        (AtomicOp::Add, _) => ("add", "u", Taken::Bits),
        (AtomicOp::Min, _) => ("min", by_sign, Taken::Bits),
        (AtomicOp::Max, _) => ("max", by_sign, Taken::Bits),
        (AtomicOp::And, _) => ("and", "b", Taken::Bits),
        (AtomicOp::Or, _) => ("or", "b", Taken::Bits),
        (AtomicOp::Xor, _) => ("xor", "b", Taken::Bits),
        (AtomicOp::Exchange, _) => ("exch", "b", Taken::Bits),
    };
    (format!("{name}.{kind}{bits}"), taken)
}
