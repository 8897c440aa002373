//! What a warp finds in one step: the smallest or largest of 32-bit words, their sum or their bits together.
//!
//! In which order elements are combined is all the same to these. Floats are made words of the same order, as which NaN and both
//! zeros stand where the operation has them.

use super::super::{Lower, LowerError};
use super::keys::{Entry, last_word};
use super::partial::Partial;
use crate::arithmetic;
use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, Combine, CompareOp, Handle, Literal, Reduction};
use crate::thread::{Index, Operation, Predicate, Type, Use, accepts_warp_reduce};

/// What is as good as nothing where the smallest or the largest word is sought.
const fn nothing(op: BinaryOp) -> i32 {
    match op {
        BinaryOp::Min => i32::MAX,
        _ => i32::MIN,
    }
}

impl Lower<'_> {
    /// What the threads of a warp have, of whom `count` have something, combined, if a warp does that: each of them has it.
    pub(super) fn reduced_by_warp(
        &mut self,
        reduction: &Reduction,
        own: Partial,
        lane: Handle<Index>,
        count: i64,
    ) -> Result<Option<Partial>, LowerError> {
        let end = self.b.constant(count);
        let there = self.b.indices().less(lane, end);
        let element = self.b.element(own.value);
        let is_float = element.is_float() && element.size() <= 4;
        match (reduction, own.at) {
            (Reduction::Combine(Combine::Operator(op)), _) if is_float => self.end_of_floats(*op, own.value, there),
            (Reduction::Combine(Combine::Operator(op)), _) if accepts_warp_reduce(*op, element) => {
                let Some(neutral) = neutral(*op, element) else {
                    return Ok(None);
                };
                let value = self.chosen(there.into(), own.value, neutral.into())?;
                let value = self.warp_reduce(*op, value);
                Ok(Some(Partial { value, at: None }))
            }
            (Reduction::ArgMin | Reduction::ArgMax, Some(at)) if is_float || element == ElementType::I32 => {
                let op = match reduction {
                    Reduction::ArgMin => BinaryOp::Min,
                    _ => BinaryOp::Max,
                };
                self.place_of_end(op, own.value, at, there).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The smallest or largest float: of some operators it is a NaN if there is one, of others a number.
    fn end_of_floats(
        &mut self,
        op: BinaryOp,
        value: Use,
        there: Handle<Predicate>,
    ) -> Result<Option<Partial>, LowerError> {
        let (word_op, nan) = match op {
            BinaryOp::Min => (op, nothing(op)),
            BinaryOp::Max => (op, nothing(op)),
            BinaryOp::Minimum => (BinaryOp::Min, i32::MIN),
            BinaryOp::Maximum => (BinaryOp::Max, i32::MAX),
            _ => return Ok(None),
        };
        let element = self.b.element(value);
        let value = self.cast(value, ElementType::F32);
        let word = self.ordered_word(value, nan);
        let word = self.chosen(there.into(), word, Literal::new(nothing(word_op)).into())?;
        let found = self.warp_reduce(word_op, word);
        let found = self.of_ordered_word(found);
        let found = self.b.emit(Operation::Canonical(found));
        let value = self.cast(found, element);
        Ok(Some(Partial { value, at: None }))
    }

    /// The smallest or largest element and the first place that has it; numbers before NaN.
    fn place_of_end(
        &mut self,
        op: BinaryOp,
        value: Use,
        at: Use,
        there: Handle<Predicate>,
    ) -> Result<Partial, LowerError> {
        let element = self.b.element(value);
        let word = match element {
            ElementType::I32 => value,
            _ => {
                // Both zeros are one.
                let zero = Literal::new(0f32).into();
                let value = self.cast(value, ElementType::F32);
                let value = self.b.binary(BinaryOp::Add, value, zero);
                self.ordered_word(value, nothing(op))
            }
        };
        let word = self.chosen(there.into(), word, Literal::new(nothing(op)).into())?;
        let found = self.warp_reduce(op, word);
        let has_it = self.b.compare(CompareOp::Equal, word, found);
        let has_it = self.b.condition(has_it);
        let has_it = self.b.indices().all([has_it, there]);
        let at = self.chosen(has_it.into(), at, Literal::new(i32::MAX).into())?;
        let at = self.warp_reduce(BinaryOp::Min, at);
        let value = match element {
            ElementType::I32 => found,
            _ => {
                let found = self.of_ordered_word(found);
                self.cast(found, element)
            }
        };
        Ok(Partial { value, at: Some(at) })
    }

    /// The first of what the threads of a warp have, each an entry of one word, and whether it is this thread's.
    pub(super) fn first_in_warp(&mut self, own: &Entry) -> (Entry, Handle<Predicate>) {
        let word = own.words[0];
        if self.b.element(word) == ElementType::U32 {
            let first = self.warp_reduce(BinaryOp::Min, word);
            let is_own = self.b.compare(CompareOp::Equal, word, first);
            return (Entry { words: vec![first] }, self.b.condition(is_own));
        }
        // The high words decide, of equal ones the low ones.
        let half = Literal::new(32u64).into();
        let high = self.b.binary(BinaryOp::ShiftRight, word, half);
        let (high, low) = (self.cast(high, ElementType::U32), self.cast(word, ElementType::U32));
        let first_high = self.warp_reduce(BinaryOp::Min, high);
        let is_first = self.b.compare(CompareOp::Equal, high, first_high);
        let low = self.b.select(is_first, low, last_word(ElementType::U32));
        let first_low = self.warp_reduce(BinaryOp::Min, low);
        let is_own = self.b.compare(CompareOp::Equal, low, first_low);
        let (first, low) = (
            self.cast(first_high, ElementType::U64),
            self.cast(first_low, ElementType::U64),
        );
        let first = self.b.binary(BinaryOp::ShiftLeft, first, half);
        let first = self.b.binary(BinaryOp::Or, first, low);
        (Entry { words: vec![first] }, self.b.condition(is_own))
    }

    fn warp_reduce(&mut self, op: BinaryOp, value: Use) -> Use {
        self.b.emit(Operation::WarpReduce { op, value })
    }

    /// The i32 whose order is that of f32, -0 before +0; `nan` for every NaN.
    fn ordered_word(&mut self, value: Use, nan: i32) -> Use {
        let is_nan = self.b.compare(CompareOp::NotEqual, value, value);
        let bits = self.b.bitcast(value, Type::scalar(ElementType::I32));
        let word = self.turned(bits);
        self.b.select(is_nan, Literal::new(nan).into(), word)
    }

    /// The f32 of such a word: a NaN of words that no number has.
    fn of_ordered_word(&mut self, word: Use) -> Use {
        let bits = self.turned(word);
        self.b.bitcast(bits, Type::scalar(ElementType::F32))
    }

    /// Of negative ones all bits but the sign turned over: done twice it is undone.
    fn turned(&mut self, word: Use) -> Use {
        let sign = self.b.binary(BinaryOp::ShiftRight, word, Literal::new(31i32).into());
        let turned = self.b.binary(BinaryOp::And, sign, Literal::new(i32::MAX).into());
        self.b.binary(BinaryOp::Xor, word, turned)
    }
}

/// The element with which any other one is combined to that one.
pub(super) fn neutral(op: BinaryOp, element: ElementType) -> Option<Literal> {
    let zero = Literal::zero(element);
    let most = u64::MAX >> (64 - 8 * element.size());
    let sign = most / 2 + 1;
    let of = |bits| Some(Literal { element, bits });
    match (element.kind(), op) {
        (ElementKind::Bool, BinaryOp::And) => of(1),
        (ElementKind::Bool, _) => of(0),
        (ElementKind::Signed | ElementKind::Unsigned, BinaryOp::And) => of(most),
        (ElementKind::Signed, BinaryOp::Min) => of(sign - 1),
        (ElementKind::Signed, BinaryOp::Max) => of(sign),
        (ElementKind::Unsigned, BinaryOp::Min) => of(most),
        (ElementKind::Signed | ElementKind::Unsigned, BinaryOp::Max | BinaryOp::Add | BinaryOp::Or | BinaryOp::Xor) => {
            Some(zero)
        }
        // -0 leaves +0 as it is, and itself.
        (ElementKind::Float, BinaryOp::Add) => of(sign),
        // Of a number and a NaN it is the number.
        (ElementKind::Float, BinaryOp::Min | BinaryOp::Max) => Some(arithmetic::from_f32(element, f32::NAN)),
        (ElementKind::Float, BinaryOp::Minimum) => Some(arithmetic::from_f32(element, f32::INFINITY)),
        (ElementKind::Float, BinaryOp::Maximum) => Some(arithmetic::from_f32(element, f32::NEG_INFINITY)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also of f64, whose numbers are not those of f32.
    #[test]
    fn what_is_combined_with_the_neutral_element_stays_as_it_is() {
        let ops = [
            BinaryOp::Add,
            BinaryOp::Min,
            BinaryOp::Max,
            BinaryOp::Minimum,
            BinaryOp::Maximum,
            BinaryOp::And,
            BinaryOp::Or,
            BinaryOp::Xor,
        ];
        let mut found = 0;
        for element in ElementType::ALL {
            let numbers = [-3.0f32, -0.0, 0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY];
            let some: Vec<Literal> = match element.kind() {
                ElementKind::Float => numbers.map(|number| arithmetic::from_f32(element, number)).to_vec(),
                ElementKind::Bool => [0, 1].map(|bits| Literal { element, bits }).to_vec(),
                ElementKind::Signed | ElementKind::Unsigned => {
                    let all = u64::MAX >> (64 - 8 * element.size());
                    let bits = [0, 1, all / 2, all / 2 + 1, all];
                    bits.map(|bits| Literal { element, bits }).to_vec()
                }
                ElementKind::Storage => continue,
            };
            for op in ops {
                let Some(neutral) = neutral(op, element) else { continue };
                for &one in &some {
                    for (left, right) in [(neutral, one), (one, neutral)] {
                        let Some(both) = arithmetic::binary(op, left, right) else {
                            continue;
                        };
                        assert_eq!(both, one, "{op:?} of {left:?} and {right:?}");
                        found += 1;
                    }
                }
            }
        }
        assert!(found > 500, "{found}");
    }
}
