//! Sorting lines that are too long for registers: a bitonic network over keys and their indices in shared memory.

use super::super::access::memory_type;
use super::super::{Lower, LowerError};
use super::Line;
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Handle, Literal};
use crate::thread::{Buffer, Facts, Index, Operation, Place, Predicate, Unroll, Use};

/// Pairs that a thread reads at once.
const PAIRS: i64 = 2;

/// Two elements, each with its key and its number.
struct Pair {
    places: [(Place, Place); 2],
    elements: [(Use, Use); 2],
    /// Not zero if their piece falls.
    piece: Use,
}

impl Lower<'_> {
    /// The indices that sort each line.
    pub(super) fn sort_long(
        &mut self,
        line: &Line,
        descending: bool,
        result: Handle<Buffer>,
    ) -> Result<(), LowerError> {
        let padded = line.padded() as u64;
        let stored = memory_type(line.element);
        let keys = self.shared(stored, padded)?;
        let order = match line.places {
            1 => result,
            _ => self.shared(ElementType::I32, padded)?,
        };
        self.looped(line.places, |lower, place| {
            lower.each(padded, |lower, e| {
                let number = lower.integer(e, ElementType::I32);
                let to = lower.element_place(order, e, ElementType::I32);
                lower.put(to, number);
                let end = lower.b.constant(line.extent);
                let there = lower.b.indices().less(e, end);
                let point = lower.on_line(line, place, e);
                let to = lower.element_place(keys, e, stored);
                lower.where_needed(there, |lower| {
                    let key = lower.pull(line.value, &point)?;
                    lower.put(to, key);
                    Ok(())
                })
            })?;
            lower.barrier();
            // Sorted pieces of two elements, of four, and so on; of each, pairs ever closer together.
            lower.looped(padded.ilog2().into(), |lower, log| {
                let (zero, log) = (lower.b.constant(0), lower.b.indices().offset(log, 1));
                lower.counted(zero, log, 1, Unroll::Never, |lower, closer| {
                    let apart = lower.b.indices().subtract(log, closer);
                    let apart = lower.b.indices().offset(apart, -1);
                    lower.sort_step(line, descending, [keys, order], [log, apart])?;
                    lower.barrier();
                    Ok(())
                })
            })?;
            if order == result {
                return Ok(());
            }
            lower.each(line.extent as u64, |lower, e| {
                let from = lower.element_place(order, e, ElementType::I32);
                let index = lower.fetch(from, ElementType::I32, ElementType::I32);
                let point = lower.on_line(line, place, e);
                let position = lower.position(&point, line.shape);
                let to = lower.element_place(result, position, ElementType::I32);
                lower.put(to, index);
                Ok(())
            })?;
            lower.barrier();
            Ok(())
        })
    }

    /// Puts pairs of elements into order that are 2^`apart` apart, of pieces of 2^`log`.
    fn sort_step(
        &mut self,
        line: &Line,
        descending: bool,
        [keys, order]: [Handle<Buffer>; 2],
        [log, apart]: [Handle<Index>; 2],
    ) -> Result<(), LowerError> {
        let padded = line.padded();
        let word = |number: u32| Use::from(Literal::new(number));
        let power = |lower: &mut Self, log| {
            let log = lower.integer(log, ElementType::U32);
            lower.b.binary(BinaryOp::ShiftLeft, word(1), log)
        };
        let (distance, size) = (power(self, apart), power(self, log));
        let below = self.b.binary(BinaryOp::Subtract, distance, word(1));
        // Pairs of a thread that are read before the first of them is written.
        let (threads, pairs) = (i64::from(self.schedule.threads), padded / 2);
        let own = (pairs + threads - 1) / threads;
        let batch = own.min(PAIRS);
        self.looped((own + batch - 1) / batch, |lower, trip| {
            let first = lower.b.indices().scale(trip, batch * threads);
            let first = lower.b.indices().add(first, lower.worker);
            let end = lower.b.constant(pairs);
            let mut read = Vec::with_capacity(batch as usize);
            for k in 0..batch {
                let pair = lower.b.indices().offset(first, k * threads);
                let here = lower.b.indices().less(pair, end);
                let step = [distance, below, size];
                let pair = lower.where_needed(here, |lower| lower.read_pair(line, [keys, order], pair, step))?;
                read.push((here, pair));
            }
            for (here, pair) in read {
                lower.where_needed(here, |lower| lower.swap_pair(line, descending, pair))?;
            }
            Ok(())
        })
    }

    /// A pair by its number: where it is, and what is there.
    fn read_pair(
        &mut self,
        line: &Line,
        [keys, order]: [Handle<Buffer>; 2],
        pair: Handle<Index>,
        [distance, below, size]: [Use; 3],
    ) -> Result<Pair, LowerError> {
        let padded = line.padded();
        let stored = memory_type(line.element);
        // The first of a pair has no bit of the distance: the pair's number with a gap there.
        let pair = self.integer(pair, ElementType::U32);
        let within = self.b.binary(BinaryOp::And, pair, below);
        let twice = self.b.binary(BinaryOp::Add, pair, pair);
        let mut known = |op, left, right| {
            let whole = Facts::between(0, padded - 1);
            self.b.known(Operation::Binary { op, left, right }, Some(whole))
        };
        let left = known(BinaryOp::Subtract, twice, within);
        let right = known(BinaryOp::Or, left, distance);
        let piece = self.b.binary(BinaryOp::And, left, size);
        let places = [left, right].map(|at| {
            let at = self.b.index(at);
            (
                self.element_place(keys, at, stored),
                self.element_place(order, at, ElementType::I32),
            )
        });
        let elements = places.map(|(key, number)| {
            (
                self.fetch(key, stored, line.element),
                self.fetch(number, ElementType::I32, ElementType::I32),
            )
        });
        Ok(Pair {
            places,
            elements,
            piece,
        })
    }

    /// Puts a pair into order.
    fn swap_pair(&mut self, line: &Line, descending: bool, pair: Pair) -> Result<(), LowerError> {
        let padded = line.padded();
        let [(a, l), (b, r)] = pair.elements;
        let (less, more) = if descending { (b, a) } else { (a, b) };
        let (before, after) = (self.comes_before(less, more), self.comes_before(more, less));
        let extent: Use = Literal::new(line.extent as i32).into();
        let mut holds = |op, left, right| {
            let holds = self.compared(op, left, right);
            self.b.condition(holds)
        };
        let later = holds(CompareOp::Greater, l, r);
        let ascending = holds(CompareOp::Equal, pair.piece, Literal::new(0u32).into());
        // What fills up to a power of two comes last.
        let beyond = match line.extent < padded {
            true => Some([l, r].map(|number| holds(CompareOp::GreaterEqual, number, extent))),
            false => None,
        };
        let indices = self.b.indices();
        let not_before = indices.not(before);
        let tie = indices.all([not_before, later]);
        let mut swapped = indices.any([after, tie]);
        if let Some(beyond) = beyond {
            let beyond = indices.any(beyond);
            let inside = indices.not(beyond);
            let by_key = indices.all([inside, swapped]);
            let by_number = indices.all([beyond, later]);
            swapped = indices.any([by_key, by_number]);
        }
        let (not_swapped, falling) = (indices.not(swapped), indices.not(ascending));
        let up = indices.all([ascending, swapped]);
        let down = indices.all([falling, not_swapped]);
        let swap = indices.any([up, down]);
        self.where_needed(swap, |lower| {
            let [(key_left, number_left), (key_right, number_right)] = pair.places;
            lower.put(key_left, b);
            lower.put(number_left, r);
            lower.put(key_right, a);
            lower.put(number_right, l);
            Ok(())
        })
    }

    /// Whether `left` comes before `right`: smaller, or a number before NaN.
    fn comes_before(&mut self, left: Use, right: Use) -> Handle<Predicate> {
        let element = self.b.element(left);
        if element == ElementType::Bool {
            let (left, right) = (self.b.condition(left), self.b.condition(right));
            let not_left = self.b.indices().not(left);
            return self.b.indices().all([not_left, right]);
        }
        let mut holds = |op, left, right| {
            let holds = self.compared(op, left, right);
            self.b.condition(holds)
        };
        let less = holds(CompareOp::Less, left, right);
        if !element.is_float() {
            return less;
        }
        let nan = holds(CompareOp::NotEqual, right, right);
        let number = holds(CompareOp::Equal, left, left);
        let indices = self.b.indices();
        let before_nan = indices.all([nan, number]);
        indices.any([less, before_nan])
    }
}
