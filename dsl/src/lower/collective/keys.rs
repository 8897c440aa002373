//! Entries of a sort: words whose order is that of the elements, and behind them that of their indices.

use super::super::{Lower, LowerError};
use super::Line;
use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, CompareOp, Handle, Literal};
use crate::thread::{Index, Predicate, Type, Use};

/// Bits of an index that share a word with a short key.
const SHORT_INDEX: u32 = 16;

/// What entries are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The element alone.
    Keys,
    /// The element, of which those that are equal are one.
    Alike,
    /// The element, and its index on the line.
    Numbered,
}

/// An element that is sorted, as unsigned words: the first one that differs decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) words: Vec<Use>,
}

impl Lower<'_> {
    /// The entries of elements of a line; those beyond its end come last.
    pub(super) fn entries(
        &mut self,
        line: &Line,
        kind: Kind,
        descending: bool,
        elements: &[(Handle<Index>, Use)],
    ) -> Vec<Entry> {
        let end = self.b.constant(line.extent);
        let entry = |(along, element): &(Handle<Index>, Use)| {
            let words = self.words_of(line, kind, descending, *along, *element);
            let there = self.b.indices().less(*along, end);
            let within = |lower: &mut Self, word| match lower.b.kernel().indices.is_known(there) {
                Some(true) => word,
                _ => {
                    let last = last_word(lower.b.element(word));
                    lower.b.select(there.into(), word, last)
                }
            };
            Entry {
                words: words.into_iter().map(|word| within(self, word)).collect(),
            }
        };
        elements.iter().map(entry).collect()
    }

    fn words_of(&mut self, line: &Line, kind: Kind, descending: bool, along: Handle<Index>, element: Use) -> Vec<Use> {
        let key = self.key(line.element, kind, descending, element);
        if kind != Kind::Numbered {
            return vec![key];
        }
        let number = self.integer(along, ElementType::U32);
        match line.element.size() {
            8 => vec![key, number],
            4 => {
                let (key, number) = (self.cast(key, ElementType::U64), self.cast(number, ElementType::U64));
                let high = self.b.binary(BinaryOp::ShiftLeft, key, Literal::new(32u64).into());
                vec![self.b.binary(BinaryOp::Or, high, number)]
            }
            _ => {
                let high = self
                    .b
                    .binary(BinaryOp::ShiftLeft, key, Literal::new(SHORT_INDEX).into());
                vec![self.b.binary(BinaryOp::Or, high, number)]
            }
        }
    }

    /// A word, of u32 or u64, whose order is that of elements. Unless they are [`Kind::Keys`], all NaN have one, which is the last,
    /// and both zeros.
    fn key(&mut self, element: ElementType, kind: Kind, descending: bool, value: Use) -> Use {
        let bits = 8 * element.size() as u32;
        let word = if bits == 64 { ElementType::U64 } else { ElementType::U32 };
        let number = |bits: u64| Use::from(Literal { element: word, bits });
        let all = u64::MAX >> (64 - bits);
        let top = 1u64 << (bits - 1);
        let mut key = self.bits_of(element, value, word);
        match element.kind() {
            ElementKind::Bool | ElementKind::Unsigned => {}
            ElementKind::Signed => key = self.b.binary(BinaryOp::Xor, key, number(top)),
            _ => {
                if kind != Kind::Keys {
                    let zero = Literal::zero(element).into();
                    let is_zero = self.b.element_compare(CompareOp::Equal, value, zero);
                    key = self.b.select(is_zero, number(0), key);
                }
                // Of negative ones all bits are turned, of others the sign.
                let negative = self.b.compare(CompareOp::GreaterEqual, key, number(top));
                let turned = self.b.select(negative, number(all), number(top));
                key = self.b.binary(BinaryOp::Xor, key, turned);
                if kind != Kind::Keys {
                    let is_nan = self.b.element_compare(CompareOp::NotEqual, value, value);
                    key = self.b.select(is_nan, number(all), key);
                }
            }
        }
        match descending {
            true => self.b.binary(BinaryOp::Xor, key, number(all)),
            false => key,
        }
    }

    fn bits_of(&mut self, element: ElementType, value: Use, word: ElementType) -> Use {
        // What is an index has no bits to be looked at.
        if element == ElementType::I64 {
            return self.cast(value, word);
        }
        let bits = self.b.bitcast(value, Type::scalar(unsigned(element)));
        self.cast(bits, word)
    }

    /// The element of an entry of keys.
    pub(super) fn sorted_element(&mut self, line: &Line, descending: bool, entry: &Entry) -> Use {
        let element = line.element;
        let bits = 8 * element.size() as u32;
        let word = if bits == 64 { ElementType::U64 } else { ElementType::U32 };
        let number = |bits: u64| Use::from(Literal { element: word, bits });
        let all = u64::MAX >> (64 - bits);
        let top = 1u64 << (bits - 1);
        let mut key = entry.words[0];
        if descending {
            key = self.b.binary(BinaryOp::Xor, key, number(all));
        }
        match element.kind() {
            ElementKind::Bool | ElementKind::Unsigned => {}
            ElementKind::Signed => key = self.b.binary(BinaryOp::Xor, key, number(top)),
            _ => {
                let positive = self.b.compare(CompareOp::GreaterEqual, key, number(top));
                let turned = self.b.select(positive, number(top), number(all));
                key = self.b.binary(BinaryOp::Xor, key, turned);
            }
        }
        let narrow = self.cast(key, unsigned(element));
        self.b.bitcast(narrow, Type::scalar(element))
    }

    /// The index of a numbered entry, as i32.
    pub(super) fn number_of(&mut self, entry: &Entry) -> Use {
        let last = entry.words[entry.words.len() - 1];
        let number = match (entry.words.len(), self.b.element(last)) {
            (1, ElementType::U32) => {
                let all = (1u32 << SHORT_INDEX) - 1;
                self.b.binary(BinaryOp::And, last, Literal::new(all).into())
            }
            _ => self.cast(last, ElementType::U32),
        };
        self.cast(number, ElementType::I32)
    }

    /// Whether an element may have another of the same order that is not the same.
    pub(super) fn may_differ(&mut self, value: Use) -> Handle<Predicate> {
        let element = self.b.element(value);
        let is_nan = self.b.element_compare(CompareOp::NotEqual, value, value);
        let is_nan = self.b.condition(is_nan);
        let word = unsigned(element);
        let bits = self.b.bitcast(value, Type::scalar(word));
        let negative_zero = Literal {
            element: word,
            bits: 1 << (8 * element.size() - 1),
        };
        let is_zero = self.b.compare(CompareOp::Equal, bits, negative_zero.into());
        let is_zero = self.b.condition(is_zero);
        self.b.indices().any([is_nan, is_zero])
    }

    /// Whether `left` comes before `right`.
    pub(super) fn is_before(&mut self, left: &Entry, right: &Entry) -> Handle<Predicate> {
        let mut before = None;
        for (&l, &r) in left.words.iter().zip(&right.words).rev() {
            let less = self.b.compare(CompareOp::Less, l, r);
            let less = self.b.condition(less);
            before = Some(match before {
                None => less,
                Some(behind) => {
                    let equal = self.b.compare(CompareOp::Equal, l, r);
                    let equal = self.b.condition(equal);
                    let tie = self.b.indices().all([equal, behind]);
                    self.b.indices().any([less, tie])
                }
            });
        }
        before.unwrap_or_else(|| self.b.indices().always(false))
    }

    /// One of two entries.
    pub(super) fn chosen_entry(
        &mut self,
        condition: Handle<Predicate>,
        accept: &Entry,
        reject: &Entry,
    ) -> Result<Entry, LowerError> {
        let words = accept.words.iter().zip(&reject.words);
        let words = words.map(|(&accept, &reject)| self.chosen(condition.into(), accept, reject));
        Ok(Entry {
            words: words.collect::<Result<_, _>>()?,
        })
    }

    /// Whether an entry is one word of 32 bits, of which two are put in order by two operations.
    pub(super) fn is_word(&self, entry: &Entry) -> bool {
        matches!(entry.words.as_slice(), [word] if self.b.element(*word) == ElementType::U32)
    }

    /// The one that comes first, and the other one.
    pub(super) fn in_order_pair(&mut self, left: &Entry, right: &Entry) -> Result<[Entry; 2], LowerError> {
        if let ([l], [r]) = (left.words.as_slice(), right.words.as_slice())
            && self.b.element(*l) == ElementType::U32
        {
            let pair = [BinaryOp::Min, BinaryOp::Max].map(|op| Entry {
                words: vec![self.b.binary(op, *l, *r)],
            });
            return Ok(pair);
        }
        let swapped = self.is_before(right, left);
        Ok([
            self.chosen_entry(swapped, right, left)?,
            self.chosen_entry(swapped, left, right)?,
        ])
    }
}

/// The word that no other one comes behind.
pub(super) fn last_word(element: ElementType) -> Use {
    let bits = u64::MAX >> (64 - 8 * element.size());
    Literal { element, bits }.into()
}

fn unsigned(element: ElementType) -> ElementType {
    match element.size() {
        1 => ElementType::U8,
        2 => ElementType::U16,
        4 => ElementType::U32,
        _ => ElementType::U64,
    }
}
