//! Sorting: a bitonic network over keys and their indices in shared memory.

use super::super::access::memory_type;
use super::super::{Lower, LowerError};
use super::Line;
use crate::element::ElementType;
use crate::ir::{CompareOp, Handle, Literal};
use crate::thread::{Buffer, Predicate, Use};

impl Lower<'_> {
    /// The indices that sort each line.
    pub(super) fn argsort(&mut self, line: &Line, descending: bool, result: Handle<Buffer>) -> Result<(), LowerError> {
        let padded = (line.extent as u64).next_power_of_two();
        let stored = memory_type(line.element);
        let (keys, order) = (self.shared(stored, padded)?, self.shared(ElementType::I32, padded)?);
        self.so_often(line.places, |lower, place| {
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
            let mut size = 2;
            while size <= padded as i64 {
                let mut distance = size / 2;
                while distance > 0 {
                    lower.sort_step(line, descending, [keys, order], size, distance)?;
                    lower.barrier();
                    distance /= 2;
                }
                size *= 2;
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

    /// Puts pairs of elements that are so far apart into order.
    fn sort_step(
        &mut self,
        line: &Line,
        descending: bool,
        [keys, order]: [Handle<Buffer>; 2],
        size: i64,
        distance: i64,
    ) -> Result<(), LowerError> {
        let stored = memory_type(line.element);
        let pairs = (line.extent as u64).next_power_of_two() / 2;
        self.each(pairs, |lower, pair| {
            // The first of a pair has no bit of the distance.
            let (block, within) = lower.split(pair, distance);
            let first = lower.b.indices().scale(block, 2 * distance);
            let left = lower.b.indices().add(first, within);
            let right = lower.b.indices().offset(left, distance);
            let places = [left, right].map(|at| {
                (
                    lower.element_place(keys, at, stored),
                    lower.element_place(order, at, ElementType::I32),
                )
            });
            let [(a, l), (b, r)] = places.map(|(key, number)| {
                (
                    lower.fetch(key, stored, line.element),
                    lower.fetch(number, ElementType::I32, ElementType::I32),
                )
            });
            let (less, more) = if descending { (b, a) } else { (a, b) };
            let (before, after) = (lower.comes_before(less, more), lower.comes_before(more, less));
            let extent: Use = Literal::new(line.extent as i32).into();
            let mut holds = |op, left, right| {
                let holds = lower.compared(op, left, right);
                lower.b.condition(holds)
            };
            // What fills up to a power of two comes last.
            let beyond_left = holds(CompareOp::GreaterEqual, l, extent);
            let beyond_right = holds(CompareOp::GreaterEqual, r, extent);
            let later = holds(CompareOp::Greater, l, r);
            let (group, _) = lower.split(left, size);
            let two = lower.b.constant(2);
            let odd = lower.b.indices().remainder(group, two);
            let zero = lower.b.constant(0);
            let ascending = lower.b.indices().equal(odd, zero);
            let indices = lower.b.indices();
            let beyond = indices.any([beyond_left, beyond_right]);
            let inside = indices.not(beyond);
            let not_before = indices.not(before);
            let tie = indices.all([not_before, later]);
            let by_key = indices.any([after, tie]);
            let by_key = indices.all([inside, by_key]);
            let by_number = indices.all([beyond, later]);
            let swapped = indices.any([by_key, by_number]);
            let (not_swapped, falling) = (indices.not(swapped), indices.not(ascending));
            let up = indices.all([ascending, swapped]);
            let down = indices.all([falling, not_swapped]);
            let swap = indices.any([up, down]);
            lower.where_needed(swap, |lower| {
                let [(key_left, number_left), (key_right, number_right)] = places;
                lower.put(key_left, b);
                lower.put(number_left, r);
                lower.put(key_right, a);
                lower.put(number_right, l);
                Ok(())
            })
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
