//! What registers hold a value, and how it is taken apart and put together.
//!
//! * A bool is a predicate, and a packet of bools one for each lane.
//! * An element of 4 or 8 bytes is a register, and so is each lane of a packet of them.
//! * An element of less is 32 bits, to which integers are extended by their sign and anything else by zeros. A packet of them
//!   is *packed*: words of 32 bits as memory has them, zero behind the last lane.
//!
//! So loads, stores, bitcasts, joins and parts of packets are registers as they are, and what computes with the lanes of
//! packed ones takes them out and puts the results together again.

use super::number;
use super::register::{Class, Reg};
use super::writer::Writer;
use crate::element::ElementType;
use crate::ir::{Handle, Literal};
use crate::thread::{Type, Use, Value};

/// The registers of a value.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) ty: Type,
    pub(super) registers: Vec<Reg>,
}

/// Whether lanes share registers.
pub(super) const fn is_packed(ty: Type) -> bool {
    ty.lanes > 1 && ty.element.size() < 4 && !matches!(ty.element, ElementType::Bool)
}

/// The class of the registers of a type.
pub(super) const fn class_of(element: ElementType) -> Class {
    match (element, element.size()) {
        (ElementType::Bool, _) => Class::Predicate,
        (_, 8) => Class::Double,
        _ => Class::Word,
    }
}

/// How many registers a type has.
pub(super) const fn count_of(ty: Type) -> usize {
    match is_packed(ty) {
        true => ty.bytes().div_ceil(4) as usize,
        false => ty.lanes as usize,
    }
}

/// What `prmt` takes from a word, so that lane `lane` of `element` stands alone.
fn selector(element: ElementType, lane: usize) -> String {
    let size = element.size();
    let first = lane * size % 4;
    let last = first + size - 1;
    let byte = |at: usize| match (at < size, element.is_signed()) {
        (true, _) => first + at,
        // The sign of the last byte, again and again; or a byte of the other word, which is zero.
        (false, true) => 8 | last,
        (false, false) => 4,
    };
    (0..4).rev().map(|at| format!("{:x}", byte(at))).collect()
}

impl Writer<'_> {
    /// From here on a value is held.
    pub(super) fn define(&mut self, value: Handle<Value>, held: Held) {
        self.values[value.index()] = Some(held);
        self.order.value(value);
    }

    // Operands.

    pub(super) fn held(&mut self, operand: Use) -> Held {
        let ty = self.kernel.ty(operand);
        let one = |register| Held {
            ty,
            registers: vec![register],
        };
        match operand {
            Use::Value(value) => match &self.values[value.index()] {
                Some(held) => held.clone(),
                None => {
                    self.refuse("value that is not defined");
                    self.fresh_held(ty)
                }
            },
            Use::Literal(literal) => one(self.literal(literal)),
            Use::Index(index) => one(self.wide(index)),
            Use::Predicate(condition) => one(self.holds(condition)),
        }
    }

    fn literal(&mut self, literal: Literal) -> Reg {
        match class_of(literal.element) {
            Class::Predicate => self.compute(Class::Predicate, "mov.pred", u32::from(literal.as_bool())),
            class => self.compute(
                class,
                format_args!("mov.{}", number::bit_type(literal.element)),
                number::bits(literal),
            ),
        }
    }

    /// The register of a value of one lane.
    pub(super) fn register_of(&mut self, value: Handle<Value>) -> Reg {
        self.register(value.into())
    }

    /// The register of an operand of one lane.
    pub(super) fn register(&mut self, operand: Use) -> Reg {
        let held = self.held(operand);
        held.registers.first().copied().unwrap_or(Reg {
            class: Class::Word,
            number: 0,
        })
    }

    /// Registers for a value that is still to come.
    pub(super) fn fresh_held(&mut self, ty: Type) -> Held {
        let class = class_of(ty.element);
        let registers = (0..count_of(ty)).map(|_| self.fresh(class)).collect();
        Held { ty, registers }
    }

    // Lanes.

    /// A register for each lane.
    pub(super) fn lanes(&mut self, held: &Held) -> Vec<Reg> {
        if !is_packed(held.ty) {
            return held.registers.clone();
        }
        (0..usize::from(held.ty.lanes))
            .map(|lane| self.lane(held, lane))
            .collect()
    }

    /// The register of one lane.
    fn lane(&mut self, held: &Held, lane: usize) -> Reg {
        let element = held.ty.element;
        if !is_packed(held.ty) {
            return held.registers[lane];
        }
        let word = held.registers[lane * element.size() / 4];
        self.compute(
            Class::Word,
            "prmt.b32",
            format_args!("{word}, 0, 0x{}", selector(element, lane)),
        )
    }

    /// A register for each of so many lanes; a single lane stands for each.
    pub(super) fn spread(&mut self, operand: Use, lanes: u8) -> Vec<Reg> {
        let held = self.held(operand);
        let registers = self.lanes(&held);
        match *registers {
            [one] => vec![one; lanes.into()],
            _ => registers,
        }
    }

    /// A value of lanes that have a register each.
    pub(super) fn gather(&mut self, ty: Type, lanes: Vec<Reg>) -> Held {
        if !is_packed(ty) {
            return Held { ty, registers: lanes };
        }
        let per_word = 4 / ty.element.size();
        let registers = lanes
            .chunks(per_word)
            .map(|lanes| self.word(ty.element, lanes))
            .collect();
        Held { ty, registers }
    }

    /// Lanes side by side in a word.
    fn word(&mut self, element: ElementType, lanes: &[Reg]) -> Reg {
        let permute = |w: &mut Self, low: Reg, high: Reg, selector: &str| {
            w.compute(Class::Word, "prmt.b32", format_args!("{low}, {high}, {selector}"))
        };
        let alone = |w: &mut Self, lane: Reg| match element.is_signed() {
            // Without its sign.
            true => {
                let mask = (1u32 << element.bits()) - 1;
                w.compute(Class::Word, "and.b32", format_args!("{lane}, {mask}"))
            }
            false => lane,
        };
        match *lanes {
            [low, high] if element.size() == 2 => permute(self, low, high, "0x5410"),
            [a, b, c, d] => {
                let low = permute(self, a, b, "0x0040");
                let high = permute(self, c, d, "0x0040");
                permute(self, low, high, "0x5410")
            }
            [a, b, c] => {
                let low = permute(self, a, b, "0x0040");
                let high = alone(self, c);
                permute(self, low, high, "0x5410")
            }
            [a, b] => {
                let high = alone(self, b);
                // The second byte from the other word, and its zeros above.
                permute(self, a, high, "0x6540")
            }
            [one] => alone(self, one),
            _ => self.compute(Class::Word, "mov.b32", 0),
        }
    }

    // Bytes.

    /// The bytes of a value without bools, as words that are zero behind the last one.
    fn words(&mut self, held: &Held) -> Vec<Reg> {
        let element = held.ty.element;
        match element.size() {
            8 => held
                .registers
                .iter()
                .flat_map(|register| {
                    let halves = [self.fresh(Class::Word), self.fresh(Class::Word)];
                    self.line(format!("mov.b64\t{{{}, {}}}, {register};", halves[0], halves[1]));
                    halves
                })
                .collect(),
            size if size < 4 && held.ty.lanes == 1 => vec![self.word(element, &held.registers)],
            _ => held.registers.clone(),
        }
    }

    /// A value of these bytes.
    fn of_words(&mut self, ty: Type, words: Vec<Reg>) -> Held {
        let registers = match ty.element.size() {
            8 => words
                .chunks(2)
                .map(|halves| match *halves {
                    [low, high] => self.compute(Class::Double, "mov.b64", format_args!("{{{low}, {high}}}")),
                    _ => self.fresh(Class::Double),
                })
                .collect(),
            size if size < 4 && ty.lanes == 1 && ty.element.is_signed() => {
                words.into_iter().map(|word| self.wrap(ty.element, word)).collect()
            }
            _ => words,
        };
        Held { ty, registers }
    }

    pub(super) fn bitcast(&mut self, value: Use, to: Type) -> Held {
        let held = self.held(value);
        if held.ty.element.size() == to.element.size() && (held.ty.lanes > 1 || to.element.size() >= 4) {
            return Held { ty: to, ..held };
        }
        let words = self.words(&held);
        self.of_words(to, words)
    }

    pub(super) fn join(&mut self, ty: Type, parts: &[Use]) -> Held {
        let parts: Vec<Held> = parts.iter().map(|part| self.held(*part)).collect();
        if !is_packed(ty) {
            let registers = parts.into_iter().flat_map(|part| part.registers).collect();
            return Held { ty, registers };
        }
        // Words as they are, where each part but the last one ends with one.
        let whole = |part: &Held| part.ty.bytes().is_multiple_of(4);
        if parts.split_last().is_some_and(|(_, before)| before.iter().all(whole)) {
            let registers = parts.iter().flat_map(|part| self.words(part)).collect();
            return Held { ty, registers };
        }
        let lanes = parts.iter().flat_map(|part| self.lanes(part)).collect();
        self.gather(ty, lanes)
    }

    pub(super) fn part(&mut self, value: Use, first: u8, lanes: u8) -> Held {
        let held = self.held(value);
        let ty = held.ty.with_lanes(lanes);
        let (first, lanes) = (usize::from(first), usize::from(lanes));
        let from = first * held.ty.element.size();
        if is_packed(held.ty) && from.is_multiple_of(4) && ty.bytes().is_multiple_of(4) {
            let words = from / 4..from / 4 + ty.bytes() as usize / 4;
            return Held {
                ty,
                registers: held.registers[words].to_vec(),
            };
        }
        let lanes = (first..first + lanes).map(|lane| self.lane(&held, lane)).collect();
        self.gather(ty, lanes)
    }

    pub(super) fn repeat(&mut self, value: Use, lanes: u8) -> Held {
        let held = self.held(value);
        let ty = held.ty.with_lanes(lanes);
        let Some(&one) = held.registers.first() else {
            return held;
        };
        if !is_packed(ty) || !ty.bytes().is_multiple_of(4) {
            return self.gather(ty, vec![one; lanes.into()]);
        }
        let selector = if ty.element.size() == 2 { "0x1010" } else { "0x0000" };
        let word = self.compute(Class::Word, "prmt.b32", format_args!("{one}, 0, {selector}"));
        Held {
            ty,
            registers: vec![word; count_of(ty)],
        }
    }

    /// The low bits of a register as an element, which is extended to 32 again.
    pub(super) fn wrap(&mut self, element: ElementType, register: Reg) -> Reg {
        match element {
            ElementType::I8 => self.compute(Class::Word, "cvt.s32.s8", register),
            ElementType::I16 => self.compute(Class::Word, "cvt.s32.s16", register),
            _ if element.size() < 4 => {
                let mask = (1u32 << element.bits()) - 1;
                self.compute(Class::Word, "and.b32", format_args!("{register}, {mask}"))
            }
            _ => register,
        }
    }
}
