//! Short lines: each thread has an element, and finds its place by counting those that come before it.

use super::super::{Lower, LowerError};
use super::keys::Kind;
use super::sort::Team;
use super::{Kept, Line, Standing};
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Handle, Literal};
use crate::schedule::COUNTED;
use crate::thread::{Facts, Index, Operation, Shuffle, Use};

impl Team {
    /// Whether each thread has one entry and compares it with all others.
    pub(super) fn counts(self) -> bool {
        self.own == 1 && (2..=COUNTED as i64).contains(&self.threads)
    }
}

impl Lower<'_> {
    /// Puts the element of a thread where it comes in order, or its index, if it is one of so many first ones.
    pub(super) fn put_in_order_at(
        &mut self,
        line: &Line,
        standing: Standing,
        place: Handle<Index>,
        (along, element): (Handle<Index>, Use),
        (first, are_elements): (i64, bool),
        result: Kept,
    ) -> Result<(), LowerError> {
        // What fills the line up has a place behind its end.
        let first = self.b.constant(first);
        let is_one_of_first = self.b.indices().less(place, first);
        let needed = self.b.indices().all([standing.here, is_one_of_first]);
        let to = self.place_on_line(line, standing, place, result);
        let found = match are_elements {
            true => element,
            false => self.integer(along, ElementType::I32),
        };
        self.where_needed(needed, |lower| {
            lower.put(to, found);
            Ok(())
        })
    }

    /// How many elements of its line come before that of a thread; what fills the line up comes last.
    pub(super) fn place_in_order(
        &mut self,
        line: &Line,
        team: Team,
        standing: Standing,
        descending: bool,
        element: (Handle<Index>, Use),
    ) -> Handle<Index> {
        let together = self.together_in_warp();
        let key = self.entries(line, Kind::Alike, descending, &[element])[0].words[0];
        let number = self.integer(standing.lane, ElementType::U32);
        let [none, one] = [0u32, 1].map(|number| Use::from(Literal::new(number)));
        let mut before = none;
        for apart in 1..team.threads {
            let other = self.shuffled(Shuffle::Exchange, key, apart, together);
            // Of equal ones the first comes first: that of the thread without the highest bit in which both numbers differ.
            let is_behind = self.has_not(number, 1 << apart.ilog2());
            let (less, equal) = (
                self.b.compare(CompareOp::Less, other, key),
                self.b.compare(CompareOp::Equal, other, key),
            );
            let (less, equal) = (self.b.condition(less), self.b.condition(equal));
            let is_before = self.b.indices().not(is_behind);
            let tie = self.b.indices().all([equal, is_before]);
            let comes = self.b.indices().any([less, tie]);
            let counted = self.b.select(comes.into(), one, none);
            let sum = Operation::Binary {
                op: BinaryOp::Add,
                left: before,
                right: counted,
            };
            before = self.b.known(sum, Some(Facts::between(0, apart)));
        }
        self.b.index(before)
    }
}
