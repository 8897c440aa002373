//! The first few elements of an order, without the rest of it: each thread sorts its own entries and keeps the first ones, and
//! then those of neighbouring threads become one list, of which each has a smaller part.
//!
//! Of two sorted lists of one length the first half of both together is, of each pair of an entry and the one at the mirrored
//! place of the other list, the first one; it rises and then falls, or the other way round, so that comparing ever closer pairs
//! sorts it. Both threads, or groups of them, find that half, and each goes on with one half of it, until it is one entry. A whole warp
//! finds a few one after the other: the first of what its threads have, as often as one is wanted.

use super::super::{Lower, LowerError};
use super::keys::Entry;
use super::sort::Team;
use super::{Line, Standing};
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Handle, Literal};
use crate::thread::{Buffer, Index, Predicate, Shuffle, Use};

/// The most entries that a warp finds one after the other.
const MOST_STEPS: i64 = 8;

/// One of the first entries, which one it is, and whether this thread is the one to say so.
struct Found {
    at: Handle<Index>,
    needed: Handle<Predicate>,
    entry: Entry,
}

/// Entries of a list of the first ones: what fills it up comes last.
fn padded(first: i64) -> i64 {
    (first as u64).next_power_of_two() as i64
}

impl Lower<'_> {
    /// The indices of so many first elements of a line.
    pub(super) fn select(
        &mut self,
        line: &Line,
        team: Team,
        standing: Standing,
        first: i64,
        entries: Vec<Entry>,
        result: Handle<Buffer>,
    ) -> Result<(), LowerError> {
        let found = match team.threads > Self::warp() {
            true => self.first_of_warps(team, first, entries)?,
            false => self.first_of_warp(team.threads, first, standing.lane, entries)?,
        };
        for Found { at, needed, entry } in found {
            let needed = self.b.indices().all([standing.here, needed]);
            let point = self.on_line(line, standing.place, at);
            let position = self.position(&point, line.shape);
            let to = self.element_place(result, position, ElementType::I32);
            let number = self.number_of(&entry);
            self.where_needed(needed, |lower| {
                lower.put(to, number);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Where each of a thread's entries is among the first ones of its group, and whether it is one of them that no other thread
    /// has: the lowest bit of the thread's number says in which half of the list they are, the next one in which half of that.
    fn places_of_first(&mut self, group: i64, first: i64, lane: Handle<Index>, found: Vec<Entry>) -> Vec<Found> {
        let all = padded(first);
        let mut begin = self.b.constant(0);
        for bit in 0..group.min(all).ilog2() {
            let (_, rest) = self.split(lane, 2 << bit);
            let (half, _) = self.split(rest, 1 << bit);
            let half = self.b.indices().scale(half, all >> (bit + 1));
            begin = self.b.indices().add(begin, half);
        }
        let (threads, end) = (self.b.constant(group.min(all)), self.b.constant(first));
        let alone = self.b.indices().less(lane, threads);
        let place = |(i, entry)| {
            let at = self.b.indices().offset(begin, i as i64);
            let within = self.b.indices().less(at, end);
            let needed = self.b.indices().all([alone, within]);
            Found { at, needed, entry }
        };
        found.into_iter().enumerate().map(place).collect()
    }

    /// The first entries of each group of threads of a warp, in order: each thread has some of them, as its number `lane` says.
    fn first_of_warp(
        &mut self,
        group: i64,
        first: i64,
        lane: Handle<Index>,
        mut entries: Vec<Entry>,
    ) -> Result<Vec<Found>, LowerError> {
        let own = self.first_own(&mut entries, padded(first) as usize)?;
        let is_whole = group == Self::warp() && self.together_in_warp() == group;
        match is_whole && first <= MOST_STEPS && own[0].words.len() == 1 {
            true => self.first_in_steps(first, lane, own),
            false => {
                let found = self.first_by_halves(group, first, own)?;
                Ok(self.places_of_first(group, first, lane, found))
            }
        }
    }

    /// The first entries of a warp, one after the other, each by what its threads have as their own first one.
    fn first_in_steps(
        &mut self,
        first: i64,
        lane: Handle<Index>,
        mut own: Vec<Entry>,
    ) -> Result<Vec<Found>, LowerError> {
        let mut found: Option<Entry> = None;
        for step in 0..first {
            let (next, is_own) = self.first_in_warp(&own[0]);
            let number = self.b.constant(step);
            let here = self.b.indices().equal(lane, number);
            found = Some(match &found {
                None => next,
                Some(found) => self.chosen_entry(here, &next, found)?,
            });
            // Whose it was goes on with the one behind it.
            let left = (first - step - 1) as usize;
            own.push(self.last_entry(&own[0]));
            for at in 0..left.min(own.len() - 1) {
                own[at] = self.chosen_entry(is_own, &own[at + 1], &own[at])?;
            }
            own.truncate(left);
        }
        let end = self.b.constant(first);
        let needed = self.b.indices().less(lane, end);
        let place = |entry| Found {
            at: lane,
            needed,
            entry,
        };
        Ok(found.into_iter().map(place).collect())
    }

    fn first_by_halves(&mut self, group: i64, first: i64, mut own: Vec<Entry>) -> Result<Vec<Entry>, LowerError> {
        let (all, together) = (padded(first), self.together_in_warp());
        own.resize(all as usize, self.last_entry(&own[0]));
        let (_, lane) = self.split(self.worker, group);
        let number = self.integer(lane, ElementType::U32);
        for level in 0..group.ilog2() {
            let block = 1i64 << level;
            let mut others = self.of_thread_apart(&own, (block.min(all) - 1) | block, together);
            others.reverse();
            for (own, other) in own.iter_mut().zip(&others) {
                let [first, _] = self.in_order_pair(own, other)?;
                *own = first;
            }
            // Halves of the list, halves of these, and so on: first those of other threads.
            for bit in 0..level.min(all.ilog2()) {
                let others = self.of_thread_apart(&own, 1 << bit, together);
                let is_first = self.has_not(number, 1 << bit);
                for (own, other) in own.iter_mut().zip(&others) {
                    *own = self.half_of(is_first, own, other)?;
                }
            }
            if own.len() > 1 {
                let is_first = self.has_not(number, 1 << level);
                let (low, high) = own.split_at(own.len() / 2);
                let pairs = low.iter().zip(high);
                own = pairs
                    .map(|(low, high)| self.half_of(is_first, low, high))
                    .collect::<Result<_, _>>()?;
                self.merge_entries(&mut own)?;
            }
        }
        Ok(own)
    }

    /// What the thread has whose number differs in these bits.
    fn of_thread_apart(&mut self, own: &[Entry], bits: i64, together: i64) -> Vec<Entry> {
        let entry = |entry: &Entry| {
            let words = entry.words.iter();
            let words = words.map(|word| self.shuffled(Shuffle::Exchange, *word, bits, together));
            Entry { words: words.collect() }
        };
        own.iter().map(entry).collect()
    }

    /// Whether a number does not have a bit.
    pub(super) fn has_not(&mut self, number: Use, bit: u32) -> Handle<Predicate> {
        let bit = self.b.binary(BinaryOp::And, number, Literal::new(bit).into());
        let has_not = self.b.compare(CompareOp::Equal, bit, Literal::new(0u32).into());
        self.b.condition(has_not)
    }

    /// The first ones of a thread's entries, in order: groups are sorted, and of two the first ones kept.
    fn first_own(&mut self, entries: &mut [Entry], first: usize) -> Result<Vec<Entry>, LowerError> {
        let group = first.next_power_of_two().min(entries.len().next_power_of_two());
        let mut groups: Vec<Vec<Entry>> = Vec::new();
        for part in entries.chunks_mut(group) {
            self.sort_own(part)?;
            groups.push(part.to_vec());
        }
        while groups.len() > 1 {
            let mut merged = Vec::with_capacity(groups.len().div_ceil(2));
            for pair in groups.chunks(2) {
                merged.push(match pair {
                    [left, right] if left.len() == group && right.len() == group => self.first_of_two(left, right)?,
                    [left, right] => {
                        let mut all: Vec<Entry> = left.iter().chain(right).cloned().collect();
                        self.sort_own(&mut all)?;
                        all.truncate(group);
                        all
                    }
                    _ => pair[0].clone(),
                });
            }
            groups = merged;
        }
        let mut rows = groups.swap_remove(0);
        rows.truncate(first);
        Ok(rows)
    }

    /// The first half of two sorted lists, sorted.
    fn first_of_two(&mut self, left: &[Entry], right: &[Entry]) -> Result<Vec<Entry>, LowerError> {
        let mut half = Vec::with_capacity(left.len());
        for (l, r) in left.iter().zip(right.iter().rev()) {
            let [first, _] = self.in_order_pair(l, r)?;
            half.push(first);
        }
        self.merge_entries(&mut half)?;
        Ok(half)
    }

    /// The first entries of all warps of a program, in each warp: of those that every warp has found.
    fn first_of_warps(&mut self, team: Team, first: i64, entries: Vec<Entry>) -> Result<Vec<Found>, LowerError> {
        let warp = Self::warp();
        let (which, lane) = self.split(self.worker, warp);
        let found = self.first_of_warp(warp, first, lane, entries)?;
        let all = team.threads / warp * first;
        let own = (all + warp - 1) / warp;
        let elements: Vec<ElementType> = found[0].entry.words.iter().map(|word| self.b.element(*word)).collect();
        self.beside_shared();
        let mut memory = Vec::with_capacity(elements.len());
        for &element in &elements {
            memory.push((self.shared(element, all as u64)?, element));
        }
        let (begin, works) = (self.b.indices().scale(which, first), self.in_team(team));
        let nothing = self.last_entry(&found[0].entry);
        for Found { at, needed, entry } in found {
            let has = self.b.indices().all([works, needed]);
            let at = self.b.indices().add(begin, at);
            self.where_needed(has, |lower| {
                for (&word, &(buffer, stored)) in entry.words.iter().zip(&memory) {
                    let to = lower.element_place(buffer, at, stored);
                    lower.put(to, word);
                }
                Ok(())
            })?;
        }
        self.barrier();
        memory.iter().for_each(|(buffer, _)| self.reads_shared(*buffer));
        let mut entries = Vec::with_capacity(own as usize);
        for k in 0..own {
            let at = self.b.indices().offset(lane, k * warp);
            let end = self.b.constant(all);
            let there = self.b.indices().less(at, end);
            let entry = self.where_needed(there, |lower| {
                let words = memory.iter().map(|&(buffer, stored)| {
                    let from = lower.element_place(buffer, at, stored);
                    lower.fetch(from, stored, stored)
                });
                Ok(Entry { words: words.collect() })
            })?;
            entries.push(self.chosen_entry(there, &entry, &nothing)?);
        }
        self.first_of_warp(warp, first, self.worker, entries)
    }
}
