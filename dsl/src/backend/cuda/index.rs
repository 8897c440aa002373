//! IndexArena and conditions as expressions.
//!
//! Every index that is no atom gets a name where it is first mentioned in a block, so that the text is as long as the
//! indices are many. Of sums it is the terms that get it: those that differ by a constant share them, and accesses that
//! do are one address and what is added to it.

use super::Writer;
use super::prelude::Need;
use super::types::{narrow, wide};
use crate::element::ElementType;
use crate::ir::Handle;
use crate::stack::room;
use crate::thread::{ArgumentKind, Atom, Index, Predicate, Sum, Term};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Index(Handle<Index>),
    Terms(Box<[Term]>),
    Predicate(Handle<Predicate>),
}

/// An expression without operators outside of parentheses, but for casts.
#[derive(Debug, Clone)]
pub(super) struct Number {
    pub(super) text: String,
    /// Whether it is an `int`, and no `long long`.
    pub(super) narrow: bool,
}

impl Number {
    fn constant(value: i64) -> Self {
        match i32::try_from(value) {
            Ok(small) => Self {
                text: narrow(small),
                narrow: true,
            },
            Err(_) => Self {
                text: wide(value),
                narrow: false,
            },
        }
    }

    /// As a `long long`.
    pub(super) fn wide(&self) -> String {
        match self.narrow {
            true => format!("(long long){}", self.text),
            false => self.text.clone(),
        }
    }

    /// As an unsigned integer of 32 or 64 bits.
    fn unsigned(&self, narrow: bool) -> String {
        match narrow {
            true => format!("(unsigned int){}", self.text),
            false => format!("(unsigned long long){}", self.text),
        }
    }
}

/// An expression of a width as a number of another one.
fn converted(text: &str, from_narrow: bool, to_narrow: bool) -> String {
    match (from_narrow, to_narrow) {
        (false, true) => format!("(int)({text})"),
        (true, false) => format!("(long long)({text})"),
        _ => text.to_owned(),
    }
}

impl Writer<'_> {
    /// Gives a number a name that all of the block know.
    fn name(&mut self, key: Key, text: &str, narrow: bool) -> Number {
        let ty = if narrow { "int" } else { "long long" };
        let name = format!("x{}", self.names);
        self.names += 1;
        self.line(format!("const {ty} {name} = {text};"));
        self.remember(key, Number { text: name, narrow })
    }

    fn remember(&mut self, key: Key, number: Number) -> Number {
        if let Some(scope) = self.named.last_mut() {
            scope.insert(key, number.clone());
        }
        number
    }

    fn known(&self, key: &Key) -> Option<Number> {
        self.named.iter().rev().find_map(|scope| scope.get(key)).cloned()
    }

    /// An index.
    pub(super) fn index(&mut self, index: Handle<Index>) -> Number {
        let indices = &self.kernel.indices;
        let node = indices.get(index);
        let key = Key::Index(index);
        if let Some(known) = self.known(&key) {
            return known;
        }
        let to_narrow = indices.is_narrow(index);
        let (text, from_narrow) = match node {
            Index::Atom(atom) => return self.atom(*atom, index),
            Index::Sum(sum) => return self.sum(sum),
            Index::Quotient { value, by } => self.divided(*value, *by, '/', "tw_div"),
            Index::Remainder { value, by } => self.divided(*value, *by, '%', "tw_rem"),
            Index::Low { value, bits } => {
                let value = self.inner(*value);
                let mask = (1u64 << bits) - 1;
                match *bits < 32 {
                    true => (format!("(int)({} & {mask}U)", value.unsigned(true)), true),
                    false => (format!("(long long)({} & {mask}ULL)", value.unsigned(false)), false),
                }
            }
            Index::Minimum(left, right) | Index::Maximum(left, right) => {
                let comparison = if matches!(node, Index::Minimum(..)) { '<' } else { '>' };
                let (left, right) = (self.inner(*left), self.inner(*right));
                let text = format!("{0} {comparison} {1} ? {0} : {1}", left.text, right.text);
                (text, left.narrow && right.narrow)
            }
            Index::Select {
                condition,
                accept,
                reject,
            } => {
                let condition = self.condition(*condition);
                let (accept, reject) = (self.inner(*accept), self.inner(*reject));
                let text = format!("{condition} ? {} : {}", accept.text, reject.text);
                (text, accept.narrow && reject.narrow)
            }
        };
        self.name(key, &converted(&text, from_narrow, to_narrow), to_narrow)
    }

    fn inner(&mut self, index: Handle<Index>) -> Number {
        room(|| self.index(index))
    }

    /// A quotient or remainder, and whether it is an `int`.
    fn divided(&mut self, value: Handle<Index>, by: Handle<Index>, operator: char, checked: &str) -> (String, bool) {
        let indices = &self.kernel.indices;
        let (facts, divisor) = (indices.facts(value), indices.facts(by));
        let (value, by) = (self.inner(value), self.inner(by));
        let is_narrow = value.narrow && by.narrow;
        let ty = if is_narrow { "int" } else { "long long" };
        let text = match (facts.low >= 0 && divisor.low > 0, divisor.low > 0 || divisor.high < -1) {
            (true, _) => {
                let (value, by) = (value.unsigned(is_narrow), by.unsigned(is_narrow));
                format!("({ty})({value} {operator} {by})")
            }
            (_, true) => format!("{} {operator} {}", value.text, by.text),
            _ => {
                self.need(Need::Division);
                format!("{checked}<{ty}>({}, {})", value.text, by.text)
            }
        };
        (text, is_narrow)
    }

    fn atom(&mut self, atom: Atom, index: Handle<Index>) -> Number {
        let is_narrow = self.kernel.indices.is_narrow(index);
        let as_index = |text: String, element: ElementType| match (is_narrow, element) {
            (true, ElementType::I32) | (false, ElementType::I64) => text,
            (true, _) => format!("(int){text}"),
            (false, _) => format!("(long long){text}"),
        };
        let text = match atom {
            Atom::Thread => "thread".to_owned(),
            Atom::Block => "block".to_owned(),
            // A kernel that can be printed has none.
            Atom::Lane(_) => "0".to_owned(),
            Atom::Argument(argument) => {
                let element = match self.kernel.arguments[argument].kind {
                    ArgumentKind::Scalar(element) => element,
                    ArgumentKind::Pointer | ArgumentKind::Bytes { .. } => ElementType::U64,
                };
                as_index(self.argument(argument), element)
            }
            Atom::Address(buffer) => format!("(long long){}", self.base(buffer, None)),
            Atom::Variable(variable) => {
                return Number {
                    text: format!("i{}", variable.index()),
                    narrow: self.narrow[variable.index()],
                };
            }
            Atom::Value(value) => as_index(self.lane(value.into(), 0), self.kernel.values[value].ty.element),
        };
        // What is known of the address of a buffer is never that it is small.
        let is_narrow = match atom {
            Atom::Thread | Atom::Block | Atom::Lane(_) => true,
            Atom::Address(_) => false,
            _ => is_narrow,
        };
        Number {
            text,
            narrow: is_narrow,
        }
    }

    /// A sum of products.
    fn sum(&mut self, sum: &Sum) -> Number {
        let Some(terms) = self.terms(&sum.terms) else {
            return Number::constant(sum.constant);
        };
        if sum.constant == 0 {
            return terms;
        }
        let is_narrow = terms.narrow && self.kernel.indices.is_narrow_sum(sum);
        let constant = match is_narrow {
            true => format!("{}U", sum.constant as u32),
            false => format!("{}ULL", sum.constant as u64),
        };
        let ty = if is_narrow { "int" } else { "long long" };
        Number {
            text: format!("({ty})({} + {constant})", terms.unsigned(is_narrow)),
            narrow: is_narrow,
        }
    }

    /// The sum of all terms, if there are any.
    fn terms(&mut self, terms: &[Term]) -> Option<Number> {
        match terms {
            [] => return None,
            [
                Term {
                    coefficient: 1,
                    factors,
                },
            ] if factors.len() == 1 => return Some(self.inner(factors[0])),
            _ => {}
        }
        let key = Key::Terms(terms.into());
        if let Some(known) = self.known(&key) {
            return Some(known);
        }
        let is_narrow = self.kernel.indices.is_narrow_sum(&Sum {
            constant: 0,
            terms: terms.into(),
        });
        let mut text = String::new();
        for Term { coefficient, factors } in terms {
            let mut product: Vec<String> = Vec::new();
            for &factor in factors {
                product.push(self.inner(factor).unsigned(is_narrow));
            }
            // Of the smallest integer the magnitude wraps to itself.
            let magnitude = coefficient.unsigned_abs();
            if magnitude != 1 {
                let suffix = if is_narrow { "U" } else { "ULL" };
                let magnitude = if is_narrow {
                    magnitude & u64::from(u32::MAX)
                } else {
                    magnitude
                };
                product.push(format!("{magnitude}{suffix}"));
            }
            text += match (text.is_empty(), *coefficient < 0) {
                (true, true) => "0U - ",
                (true, false) => "",
                (false, true) => " - ",
                (false, false) => " + ",
            };
            text += &product.join(" * ");
        }
        let ty = if is_narrow { "int" } else { "long long" };
        Some(self.name(key, &format!("({ty})({text})"), is_narrow))
    }

    /// An address or offset of 64 or 32 bits, `index` bytes behind `base`.
    pub(super) fn behind(&mut self, base: &str, index: Handle<Index>, narrow: bool) -> String {
        let Index::Sum(sum) = self.kernel.indices.get(index) else {
            let offset = self.index(index).unsigned(narrow);
            return format!("{base} + {offset}");
        };
        let mut text = base.to_owned();
        if let Some(terms) = self.terms(&sum.terms) {
            text += &format!(" + {}", terms.unsigned(narrow));
        }
        match (sum.constant, narrow) {
            (0, _) => {}
            (constant, true) => text += &format!(" + {}U", constant as u32),
            (constant, false) => text += &format!(" + {}ULL", constant as u64),
        }
        text
    }

    /// A condition, as an expression without operators outside of parentheses, but for `!`.
    pub(super) fn condition(&mut self, condition: Handle<Predicate>) -> String {
        match self.kernel.indices.condition(condition) {
            Predicate::Constant(holds) => holds.to_string(),
            Predicate::Value(value) => self.lane((*value).into(), 0),
            Predicate::Positive(index) => self.positive(*index),
            Predicate::Zero(index) => match self.kernel.indices.get(*index) {
                // Whatever wraps, it is the same on both sides.
                Index::Sum(sum) if !sum.terms.is_empty() => {
                    let opposite = Number::constant(sum.constant.wrapping_neg());
                    let terms = self.terms(&sum.terms).unwrap_or_else(|| Number::constant(0));
                    format!("({} == {})", terms.text, opposite.text)
                }
                _ => format!("({} == 0)", self.index(*index).text),
            },
            Predicate::Less(left, right) => {
                let (left, right) = (self.index(*left), self.index(*right));
                format!("({} < {})", left.text, right.text)
            }
            Predicate::Within(value, limit) => {
                let (value, limit) = (self.index(*value), self.index(*limit));
                let narrow = value.narrow && limit.narrow;
                format!("({} < {})", value.unsigned(narrow), limit.unsigned(narrow))
            }
            Predicate::Not(other) => {
                let other = room(|| self.condition(*other));
                format!("!{other}")
            }
            Predicate::All(all) => self.joined(condition, all, " && "),
            Predicate::Any(any) => self.joined(condition, any, " || "),
        }
    }

    fn joined(&mut self, condition: Handle<Predicate>, parts: &[Handle<Predicate>], operator: &str) -> String {
        let key = Key::Predicate(condition);
        if let Some(known) = self.known(&key) {
            return known.text;
        }
        let parts: Vec<String> = parts.iter().map(|part| room(|| self.condition(*part))).collect();
        let name = format!("c{}", self.names);
        self.names += 1;
        self.line(format!("const bool {name} = {};", parts.join(operator)));
        let number = Number {
            text: name,
            narrow: true,
        };
        self.remember(key, number).text
    }

    /// `index > 0`, with what is taken away on the other side where nothing wraps.
    fn positive(&mut self, index: Handle<Index>) -> String {
        match self.kernel.indices.both_sides(index) {
            Some((more, less)) => {
                let (more, less) = (self.sum(&more), self.sum(&less));
                format!("({} > {})", more.text, less.text)
            }
            None => format!("({} > 0)", self.index(index).text),
        }
    }
}
