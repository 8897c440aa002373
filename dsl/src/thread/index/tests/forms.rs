//! Which form an index has.

use super::super::{Atom, Facts, Index, IndexArena, Predicate};
use crate::ir::Handle;

struct Example {
    indices: IndexArena,
    /// 0 to 255.
    thread: Handle<Index>,
    /// 0 to 1000.
    q: Handle<Index>,
    /// 0 to 7.
    lane: Handle<Index>,
    /// Any.
    row: Handle<Index>,
}

fn example() -> Example {
    let mut indices = IndexArena::new();
    let variable = |number| Atom::Variable(Handle::from_index(number));
    Example {
        thread: indices.atom(Atom::Thread, Facts::between(0, 255)),
        q: indices.atom(variable(0), Facts::between(0, 1000)),
        lane: indices.atom(Atom::Lane(8), Facts::between(0, 7)),
        row: indices.atom(variable(1), Facts::NONE),
        indices,
    }
}

impl Example {
    /// `8 * q + lane + constant`.
    fn column(&mut self, constant: i64) -> Handle<Index> {
        let (q, lane) = (self.indices.scale(self.q, 8), self.lane);
        let column = self.indices.add(q, lane);
        self.indices.offset(column, constant)
    }

    fn constant(&mut self, value: i64) -> Handle<Index> {
        self.indices.constant(value)
    }
}

#[test]
fn sums_of_products_are_one_however_they_are_written() {
    let mut s = example();
    let i = &mut s.indices;
    let (one, other) = (i.add(s.row, s.q), i.add(s.thread, s.lane));
    let product = i.multiply(one, other);
    let mut parts = i.constant(0);
    for (a, b) in [(s.lane, s.q), (s.q, s.thread), (s.row, s.lane), (s.thread, s.row)] {
        let part = i.multiply(a, b);
        parts = i.add(part, parts);
    }
    assert_eq!(product, parts);
    assert_eq!(i.difference(product, parts), Some(0));
}

#[test]
fn lanes_leave_quotients_and_remainders_of_their_number() {
    let mut s = example();
    let (column, eight) = (s.column(0), s.constant(8));
    assert_eq!(s.indices.quotient(column, eight), s.q);
    assert_eq!(s.indices.remainder(column, eight), s.lane);
    // The rows of a tile of 64 columns.
    let (columns, seven) = (s.constant(64), s.constant(7));
    let row = s.indices.quotient(column, columns);
    assert!(!s.indices.moves(row, Atom::Lane(8)));
    assert_eq!(row, {
        let eight = s.constant(8);
        s.indices.quotient(s.q, eight)
    });
    let place = s.indices.remainder(column, columns);
    assert_eq!(s.indices.step(place, Atom::Lane(8)), Some(1));
    // 7 does not divide 8.
    let ragged = s.indices.quotient(column, seven);
    assert!(s.indices.moves(ragged, Atom::Lane(8)));
}

#[test]
fn what_is_taken_apart_comes_together_again() {
    let mut s = example();
    for by in [7, 64, 896] {
        let by = s.constant(by);
        let (quotient, remainder) = (s.indices.quotient(s.q, by), s.indices.remainder(s.q, by));
        let whole = s.indices.multiply(quotient, by);
        assert_eq!(s.indices.add(whole, remainder), s.q);
        // And in an offset in bytes: row * 14336 + column * 16.
        let (sixteen, row) = (s.constant(16), s.indices.multiply(whole, s.thread));
        let beside = s.indices.multiply(remainder, s.thread);
        let (row, beside) = (s.indices.multiply(row, sixteen), s.indices.multiply(beside, sixteen));
        let offset = s.indices.add(row, beside);
        let product = s.indices.multiply(s.q, s.thread);
        assert_eq!(offset, s.indices.scale(product, 16));
    }
}

#[test]
fn a_comparison_with_a_multiple_of_the_lanes_does_not_move_with_them() {
    let mut s = example();
    let (column, limit) = (s.column(0), s.constant(512));
    let below = s.indices.less(column, limit);
    assert!(!s.indices.condition_moves(below, Atom::Lane(8)));
    let sixty_four = s.constant(64);
    assert_eq!(below, s.indices.less(s.q, sixty_four));
    // Between the lanes of one packet it does.
    let (column, limit) = (s.column(0), s.constant(516));
    let below = s.indices.less(column, limit);
    assert!(s.indices.condition_moves(below, Atom::Lane(8)));
    // With an unknown limit that is a multiple too.
    let many = s.indices.atom(Atom::Block, Facts::between(0, 1 << 20));
    let (column, limit) = (s.column(0), s.indices.scale(many, 16));
    let below = s.indices.less(column, limit);
    assert!(!s.indices.condition_moves(below, Atom::Lane(8)));
}

#[test]
fn conditions_are_known_where_ranges_say_so() {
    let mut s = example();
    let limit = s.constant(8008);
    let column = s.column(0);
    let below = s.indices.less(column, limit);
    assert_eq!(s.indices.is_known(below), Some(true));
    let within = s.indices.within(column, limit);
    assert_eq!(s.indices.is_known(within), Some(true));
    // Of any row there is one unsigned comparison.
    let (eighty, row) = (s.constant(80), s.row);
    let within = s.indices.within(row, eighty);
    assert_eq!(s.indices.condition(within), &Predicate::Within(row, eighty));
    let outside = s.indices.not(within);
    let both = s.indices.all([within, outside]);
    assert_eq!(s.indices.is_known(both), Some(false));
    let either = s.indices.any([within, outside]);
    assert_eq!(s.indices.is_known(either), Some(true));
}

#[test]
fn powers_of_two_divide_whatever_wraps() {
    let mut s = example();
    // 14336 * row + 16 * q, of any row.
    let (row, q) = (s.indices.scale(s.row, 14336), s.indices.scale(s.q, 16));
    let offset = s.indices.add(row, q);
    assert_eq!(s.indices.facts(offset).divisor, 16);
    assert_eq!(s.indices.facts(row).divisor, 2048);
    let low = s.indices.low(offset, 4);
    assert_eq!(s.indices.as_constant(low), Some(0));
    // Of a misaligned one what is left says so.
    let (row, q) = (s.indices.scale(s.row, 14334), s.indices.scale(s.q, 16));
    let offset = s.indices.add(row, q);
    let low = s.indices.low(offset, 4);
    let rest = s.indices.scale(s.row, 14);
    assert_eq!(low, s.indices.low(rest, 4));
}

#[test]
fn facts_of_a_choice_know_the_condition() {
    let mut s = example();
    // The column if it is below 512, else the last one: a concatenation's.
    let (limit, last) = (s.constant(512), s.constant(511));
    let below = s.indices.less(s.q, limit);
    let clipped = s.indices.select(below, s.q, last);
    assert_eq!(s.indices.facts(clipped).high, 511);
    let zero = s.constant(0);
    let shifted = s.indices.offset(s.q, -512);
    let rest = s.indices.select(below, zero, shifted);
    assert_eq!(s.indices.facts(rest).low, 0);
}

#[test]
fn integers_that_wrap_are_not_taken_for_what_they_are_not() {
    let mut s = example();
    // row + 1 > row does not hold of the largest one.
    let next = s.indices.offset(s.row, 1);
    let more = s.indices.less(s.row, next);
    assert_eq!(s.indices.is_known(more), None);
    // 2 * row / 2 is not row.
    let (twice, two) = (s.indices.scale(s.row, 2), s.constant(2));
    assert_ne!(s.indices.quotient(twice, two), s.row);
}

#[test]
fn a_step_is_the_same_everywhere_or_unknown() {
    let mut s = example();
    let column = s.column(3);
    assert_eq!(s.indices.step(column, Atom::Lane(8)), Some(1));
    assert_eq!(s.indices.step(s.row, Atom::Lane(8)), Some(0));
    let three = s.constant(3);
    let third = s.indices.quotient(column, three);
    assert_eq!(s.indices.step(third, Atom::Lane(8)), None);
    let both = s.indices.add(column, third);
    assert_eq!(s.indices.step(both, Atom::Lane(8)), None);
}

#[test]
fn rounding_up_to_a_multiple_is_known_to_give_one() {
    let mut s = example();
    // The address of a row of 7167 elements of two bytes, and the elements up to a multiple of 16 bytes.
    let (row, two) = (s.indices.scale(s.row, 14334), s.constant(2));
    let negative = s.indices.scale(row, -1);
    let skipped = s.indices.low(negative, 4);
    let head = s.indices.quotient(skipped, two);
    let start = s.indices.scale(head, 2);
    assert_eq!(start, skipped);
    let start = s.indices.add(row, start);
    let packet = s.indices.scale(s.q, 16);
    let start = s.indices.add(start, packet);
    assert_eq!(s.indices.facts(start).divisor, 16);
    // And down.
    let low = s.indices.low(row, 4);
    let down = s.indices.subtract(row, low);
    assert_eq!(s.indices.facts(down).divisor, 16);
}

#[test]
fn how_two_places_lie_to_one_another_does_not_move_with_what_both_do() {
    let mut s = example();
    // Rows of 1534 bytes, from the beginning of one tensor and from `far` bytes behind that of another, from the first multiple of 32 on.
    let far = s.row;
    let i = &mut s.indices;
    let (from, row) = (i.scale(s.q, 1534), i.scale(s.q, 1534));
    let to = i.add(row, far);
    let negative = i.scale(to, -1);
    let head = i.low(negative, 5);
    let start = i.add(from, head);
    let negative = i.scale(far, -1);
    let beside = i.low(negative, 4);
    assert_eq!(i.low(start, 4), beside);
    // Of more bits it does.
    assert_ne!(i.low(start, 6), i.low(negative, 6));
    // Multiples count for so much more.
    let (four, from) = (i.scale(head, 4), i.scale(from, 4));
    let (start, beside) = (i.add(four, from), i.scale(negative, 4));
    assert_eq!(i.low(start, 7), i.low(beside, 7));
    assert_ne!(i.low(start, 8), i.low(beside, 8));
}
