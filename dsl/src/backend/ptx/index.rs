//! IndexArena and conditions: integers in 32 bits where they fit, in 64 elsewhere.

use super::element::Division;
use super::register::{Class, Reg};
use super::writer::{Known, Once, Writer};
use crate::element::ElementType;
use crate::ir::Handle;
use crate::stack::room;
use crate::thread::{ArgumentKind, Atom, Facts, Index, Predicate, Sum, Term};

/// Whether facts say that an integer fits 32 bits with its sign.
fn fits(facts: Facts) -> bool {
    i32::try_from(facts.low).is_ok() && i32::try_from(facts.high).is_ok()
}

impl Writer<'_> {
    /// Whether an index is computed in 32 bits, and is what its sign makes of them.
    pub(super) fn is_narrow(&self, index: Handle<Index>) -> bool {
        let indices = &self.kernel.indices;
        let mut narrow = indices.is_narrow(index);
        match indices.get(index) {
            // Its parts' low bits are enough.
            Index::Sum(_) | Index::Low { .. } => narrow,
            Index::Atom(_) => narrow,
            _ => {
                indices.for_each_operand(index, |operand| narrow &= indices.is_narrow(operand));
                narrow
            }
        }
    }

    /// The low 32 bits of an index.
    pub(super) fn narrow(&mut self, index: Handle<Index>) -> Reg {
        self.known(Known::Narrow(index), |w| room(|| w.compute_narrow(index)))
    }

    /// All bits of an index.
    pub(super) fn wide(&mut self, index: Handle<Index>) -> Reg {
        self.known(Known::Wide(index), |w| room(|| w.compute_wide(index)))
    }

    fn compute_narrow(&mut self, index: Handle<Index>) -> Reg {
        match self.kernel.indices.get(index) {
            Index::Atom(atom) => {
                let (register, _) = self.atom(*atom);
                match register.class {
                    Class::Double => self.compute(Class::Word, "cvt.u32.u64", register),
                    _ => register,
                }
            }
            Index::Sum(sum) => self.sum(Class::Word, sum.constant, &sum.terms),
            _ if self.is_narrow(index) => self.compute_in(index, Class::Word),
            _ => {
                let wide = self.wide(index);
                self.compute(Class::Word, "cvt.u32.u64", wide)
            }
        }
    }

    fn compute_wide(&mut self, index: Handle<Index>) -> Reg {
        if let Index::Atom(atom) = self.kernel.indices.get(index) {
            let (register, is_signed) = self.atom(*atom);
            return match (register.class, is_signed) {
                (Class::Double, _) => register,
                (_, true) => self.compute(Class::Double, "cvt.s64.s32", register),
                (_, false) => self.compute(Class::Double, "cvt.u64.u32", register),
            };
        }
        if self.is_narrow(index) && self.kernel.indices.as_constant(index).is_none() {
            let narrow = self.narrow(index);
            return self.compute(Class::Double, "cvt.s64.s32", narrow);
        }
        match self.kernel.indices.get(index) {
            Index::Sum(sum) => self.sum(Class::Double, sum.constant, &sum.terms),
            _ => self.compute_in(index, Class::Double),
        }
    }

    /// An index as an operand of an instruction of a width, which is a number if it is known.
    pub(super) fn index_operand(&mut self, index: Handle<Index>, class: Class) -> String {
        match self.kernel.indices.as_constant(index) {
            Some(constant) if class == Class::Word => (constant as i32).to_string(),
            Some(constant) => constant.to_string(),
            None => self.in_class(index, class).to_string(),
        }
    }

    fn in_class(&mut self, index: Handle<Index>, class: Class) -> Reg {
        match class {
            Class::Word => self.narrow(index),
            _ => self.wide(index),
        }
    }

    /// An index that is no atom and no sum, in the width that it is computed in.
    fn compute_in(&mut self, index: Handle<Index>, class: Class) -> Reg {
        let bits = class.bits();
        let indices = &self.kernel.indices;
        match *indices.get(index) {
            Index::Quotient { value, by } => self.divide_index(value, by, class, true),
            Index::Remainder { value, by } => self.divide_index(value, by, class, false),
            Index::Low { value, bits: low } => {
                let (value, mask) = (self.in_class(value, class), (1i64 << low) - 1);
                let mask = if class == Class::Word { mask & 0xffff_ffff } else { mask };
                self.compute(class, format_args!("and.b{bits}"), format_args!("{value}, {mask}"))
            }
            Index::Minimum(left, right) => self.smaller("min", left, right, class),
            Index::Maximum(left, right) => self.smaller("max", left, right, class),
            Index::Select {
                condition,
                accept,
                reject,
            } => {
                let condition = self.holds(condition);
                let (accept, reject) = (self.index_operand(accept, class), self.index_operand(reject, class));
                self.compute(
                    class,
                    format_args!("selp.b{bits}"),
                    format_args!("{accept}, {reject}, {condition}"),
                )
            }
            Index::Atom(_) | Index::Sum(_) => self.in_class(index, class),
        }
    }

    fn smaller(&mut self, name: &str, left: Handle<Index>, right: Handle<Index>, class: Class) -> Reg {
        // A constant is the second operand.
        let (left, right) = match self.kernel.indices.as_constant(left) {
            Some(_) => (right, left),
            None => (left, right),
        };
        let (left, right) = (self.in_class(left, class), self.index_operand(right, class));
        self.compute(
            class,
            format_args!("{name}.s{}", class.bits()),
            format_args!("{left}, {right}"),
        )
    }

    fn divide_index(&mut self, value: Handle<Index>, by: Handle<Index>, class: Class, quotient: bool) -> Reg {
        let indices = &self.kernel.indices;
        let (known, divisor) = (indices.facts(value), indices.facts(by));
        let constant = indices.as_constant(by);
        let power = constant.filter(|by| *by > 0 && by.count_ones() == 1);
        let dividend = self.in_class(value, class);
        if let Some(power) = power.filter(|_| known.low >= 0) {
            let (bits, shift) = (class.bits(), power.trailing_zeros());
            return match quotient {
                true => self.compute(class, format_args!("shr.u{bits}"), format_args!("{dividend}, {shift}")),
                false => self.compute(
                    class,
                    format_args!("and.b{bits}"),
                    format_args!("{dividend}, {}", power - 1),
                ),
            };
        }
        let may_be = |value: i64| divisor.low <= value && value <= divisor.high;
        let by = self.index_operand(by, class);
        self.divide(
            class,
            Division {
                quotient,
                signed: known.low < 0 || divisor.low < 0,
                by_zero: may_be(0),
                by_minus_one: may_be(-1),
            },
            dividend,
            &by,
        )
    }

    /// The product of the factors of a term, in 32 bits.
    fn narrow_product(&mut self, term: &Term) -> Reg {
        let mut factors = term.factors.iter();
        let first = factors.next().map(|factor| self.narrow(*factor));
        let product = factors.fold(first, |product, factor| {
            let factor = self.narrow(*factor);
            product.map(|product| self.compute(Class::Word, "mul.lo.s32", format_args!("{product}, {factor}")))
        });
        // A term has a factor.
        product.unwrap_or_else(|| self.compute(Class::Word, "mov.b32", 1))
    }

    /// A sum in 32 or 64 bits. Those that differ by a constant share the rest.
    fn sum(&mut self, class: Class, constant: i64, terms: &[Term]) -> Reg {
        let bits = class.bits();
        let number = |constant: i64| match class {
            Class::Word => i64::from(constant as i32),
            _ => constant,
        };
        if terms.is_empty() {
            return self.compute(class, format_args!("mov.b{bits}"), number(constant));
        }
        let sum = self.known(Known::Terms(class, terms.into()), |w| match class {
            Class::Word => w.narrow_sum(None, terms),
            _ => w.wide_sum(None, terms),
        });
        match number(constant) {
            0 => sum,
            constant => self.compute(class, format_args!("add.s{bits}"), format_args!("{sum}, {constant}")),
        }
    }

    /// The sum of terms in 32 bits, on top of a register if there is one.
    pub(super) fn narrow_sum(&mut self, base: Option<Reg>, terms: &[Term]) -> Reg {
        let mut sum = base;
        for term in self.order.sorted(&self.kernel.indices, terms) {
            let product = self.narrow_product(term);
            let coefficient = term.coefficient as i32;
            sum = Some(match (sum, coefficient) {
                (None, 1) => product,
                (None, -1) => self.compute(Class::Word, "neg.s32", product),
                (None, _) => self.compute(Class::Word, "mul.lo.s32", format_args!("{product}, {coefficient}")),
                (Some(sum), 1) => self.compute(Class::Word, "add.s32", format_args!("{sum}, {product}")),
                (Some(sum), -1) => self.compute(Class::Word, "sub.s32", format_args!("{sum}, {product}")),
                (Some(sum), _) => self.compute(
                    Class::Word,
                    "mad.lo.s32",
                    format_args!("{product}, {coefficient}, {sum}"),
                ),
            });
        }
        // There is one.
        sum.unwrap_or_else(|| self.compute(Class::Word, "mov.b32", 0))
    }

    /// The sum of terms in 64 bits, on top of a register if there is one.
    pub(super) fn wide_sum(&mut self, base: Option<Reg>, terms: &[Term]) -> Reg {
        let sorted = self.order.sorted(&self.kernel.indices, terms);
        let ahead = base.map_or(0, |_| self.order.ahead_of_argument(&self.kernel.indices, &sorted));
        let (ahead, others) = sorted.split_at(ahead);
        let before = ahead.iter().fold(None, |sum, term| Some(self.add_wide(sum, term)));
        let mut sum = match (before, base) {
            (Some(before), Some(base)) => {
                Some(self.compute(Class::Double, "add.s64", format_args!("{base}, {before}")))
            }
            (before, base) => before.or(base),
        };
        for term in others {
            sum = Some(self.add_wide(sum, term));
        }
        sum.unwrap_or_else(|| self.compute(Class::Double, "mov.b64", 0))
    }

    /// Multiplies and adds one after the other; the assembler makes one instruction of both where that is good. Of `mad.wide`
    /// ptxas (13.0) keeps products that all threads have in common in uniform registers, from which addresses are longer in coming.
    fn add_wide(&mut self, sum: Option<Reg>, term: &Term) -> Reg {
        let coefficient = term.coefficient;
        let (product, is_negative) = match *term.factors {
            // One factor of 32 bits and one that is known: a product of 64 bits in one step.
            [factor]
                if self.is_narrow(factor) && coefficient.unsigned_abs() > 1 && i32::try_from(coefficient).is_ok() =>
            {
                let factor = self.narrow(factor);
                let operands = format_args!("{factor}, {coefficient}");
                (self.compute(Class::Double, "mul.wide.s32", operands), false)
            }
            _ => self.wide_product(term),
        };
        match (sum, is_negative) {
            (None, false) => product,
            (None, true) => self.compute(Class::Double, "neg.s64", product),
            (Some(sum), false) => self.compute(Class::Double, "add.s64", format_args!("{sum}, {product}")),
            (Some(sum), true) => self.compute(Class::Double, "sub.s64", format_args!("{sum}, {product}")),
        }
    }

    /// The product of a term in 64 bits, and whether its sign is still to be changed.
    fn wide_product(&mut self, term: &Term) -> (Reg, bool) {
        let mut factors = term.factors.iter();
        let first = factors.next().map(|factor| self.wide(*factor));
        let product = factors.fold(first, |product, factor| {
            let factor = self.wide(*factor);
            product.map(|product| self.compute(Class::Double, "mul.lo.s64", format_args!("{product}, {factor}")))
        });
        let product = product.unwrap_or_else(|| self.compute(Class::Double, "mov.b64", 1));
        match term.coefficient {
            1 => (product, false),
            -1 => (product, true),
            coefficient => {
                let operands = format_args!("{product}, {coefficient}");
                (self.compute(Class::Double, "mul.lo.s64", operands), false)
            }
        }
    }

    /// The register of an atom, and whether its 32 bits are extended by their sign.
    fn atom(&mut self, atom: Atom) -> (Reg, bool) {
        match atom {
            Atom::Thread => (self.thread(), true),
            Atom::Block => {
                let block = self.once(Once::Block, |w| w.compute(Class::Word, "mov.u32", "%ctaid.x"));
                (block, true)
            }
            Atom::Argument(argument) => {
                let signed = match self.kernel.arguments[argument].kind {
                    ArgumentKind::Scalar(element) => element != ElementType::U32,
                    ArgumentKind::Pointer | ArgumentKind::Bytes { .. } => true,
                };
                (self.argument(argument), signed)
            }
            Atom::Address(buffer) => (self.base_of_buffer(buffer), true),
            Atom::Variable(variable) => match self.variables[variable.index()] {
                Some(register) => (register, true),
                None => self.undefined(),
            },
            Atom::Value(value) => {
                let signed = self.kernel.values[value].ty.element != ElementType::U32;
                (self.register_of(value), signed)
            }
            Atom::Lane(_) => self.undefined(),
        }
    }

    fn undefined(&mut self) -> (Reg, bool) {
        self.refuse("index of what is not defined");
        (self.compute(Class::Word, "mov.b32", 0), true)
    }

    pub(super) fn thread(&mut self) -> Reg {
        self.once(Once::Thread, |w| w.compute(Class::Word, "mov.u32", "%tid.x"))
    }

    // Conditions.

    /// A condition in a predicate.
    pub(super) fn holds(&mut self, condition: Handle<Predicate>) -> Reg {
        self.known(Known::Holds(condition), |w| room(|| w.compute_condition(condition)))
    }

    /// The guard that lets an instruction happen where a condition holds, or where it does not.
    pub(super) fn guard(&mut self, condition: Handle<Predicate>, wanted: bool) -> String {
        match *self.kernel.indices.condition(condition) {
            Predicate::Not(other) => room(|| self.guard(other, !wanted)),
            _ => {
                let holds = self.holds(condition);
                format!("@{}{holds}", if wanted { "" } else { "!" })
            }
        }
    }

    fn compute_condition(&mut self, condition: Handle<Predicate>) -> Reg {
        match self.kernel.indices.condition(condition) {
            Predicate::Constant(holds) => self.compute(Class::Predicate, "mov.pred", u32::from(*holds)),
            Predicate::Value(value) => self.register_of(*value),
            Predicate::Positive(index) => match self.kernel.indices.both_sides(*index) {
                Some((more, less)) => self.compare_sums(&more, &less),
                None => self.against_zero("gt", *index),
            },
            Predicate::Zero(index) => self.against_zero("eq", *index),
            Predicate::Less(left, right) => self.compare_indices("s", *left, *right),
            Predicate::Within(value, limit) => self.compare_indices("u", *value, *limit),
            Predicate::Not(other) => {
                let other = self.holds(*other);
                self.compute(Class::Predicate, "not.pred", other)
            }
            Predicate::All(all) => self.joined("and.pred", all),
            Predicate::Any(any) => self.joined("or.pred", any),
        }
    }

    fn joined(&mut self, instruction: &str, conditions: &[Handle<Predicate>]) -> Reg {
        let mut joined = None;
        for condition in conditions {
            let next = self.holds(*condition);
            joined = Some(match joined {
                None => next,
                Some(before) => self.compute(Class::Predicate, instruction, format_args!("{before}, {next}")),
            });
        }
        // There are two or more.
        joined.unwrap_or_else(|| self.compute(Class::Predicate, "mov.pred", 1))
    }

    fn against_zero(&mut self, comparison: &str, index: Handle<Index>) -> Reg {
        let class = self.width_of(&[index]);
        let register = self.in_class(index, class);
        self.compute(
            Class::Predicate,
            format_args!("setp.{comparison}.s{}", class.bits()),
            format_args!("{register}, 0"),
        )
    }

    /// Whether one sum is more than another, both of which are exact.
    fn compare_sums(&mut self, more: &Sum, less: &Sum) -> Reg {
        let indices = &self.kernel.indices;
        let class = match indices.is_narrow_sum(more) && indices.is_narrow_sum(less) {
            true => Class::Word,
            false => Class::Double,
        };
        // A constant is the second operand.
        let (comparison, first, second) = match more.terms.is_empty() {
            true => ("lt", less, more),
            false => ("gt", more, less),
        };
        let first = self.sum(class, first.constant, &first.terms);
        let second = match second.terms.is_empty() {
            true => second.constant.to_string(),
            false => self.sum(class, second.constant, &second.terms).to_string(),
        };
        self.compute(
            Class::Predicate,
            format_args!("setp.{comparison}.s{}", class.bits()),
            format_args!("{first}, {second}"),
        )
    }

    fn compare_indices(&mut self, sign: &str, left: Handle<Index>, right: Handle<Index>) -> Reg {
        let class = self.width_of(&[left, right]);
        let (left, right) = (self.in_class(left, class), self.index_operand(right, class));
        self.compute(
            Class::Predicate,
            format_args!("setp.lt.{sign}{}", class.bits()),
            format_args!("{left}, {right}"),
        )
    }

    /// The width in which all of these are what they are.
    pub(super) fn width_of(&self, indices: &[Handle<Index>]) -> Class {
        match indices.iter().all(|index| self.kernel.indices.is_narrow(*index)) {
            true => Class::Word,
            false => Class::Double,
        }
    }

    /// Whether a sum without its constant is narrow, of which the whole is known.
    pub(super) fn is_narrow_without(&self, index: Handle<Index>, constant: i64) -> bool {
        let facts = self.kernel.indices.facts(index);
        let without = |value: i64| value.checked_sub(constant);
        match (without(facts.low), without(facts.high)) {
            (Some(low), Some(high)) => fits(Facts { low, high, ..facts }),
            _ => false,
        }
    }
}
