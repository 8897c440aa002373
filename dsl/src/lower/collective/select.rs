//! The first few elements of an order, without the rest of it: each thread sorts its own entries, and then the first of all
//! is found again and again, which its thread takes away.

use super::super::{Lower, LowerError};
use super::keys::Entry;
use super::sort::Team;
use super::{Line, Standing};
use crate::element::ElementType;
use crate::ir::Handle;
use crate::thread::{Buffer, Shuffle, Unroll};

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
        let mut found = self.first_of_warp(team.in_warp(), first, entries)?;
        let mut lane = standing.lane;
        if team.threads > Self::warp() {
            found = self.first_of_warps(team, first, &found)?;
            lane = self.worker;
        }
        let end = self.b.constant(first);
        let has = self.b.indices().less(lane, end);
        let needed = self.b.indices().all([standing.here, has]);
        let point = self.on_line(line, standing.place, lane);
        let position = self.position(&point, line.shape);
        let to = self.element_place(result, position, ElementType::I32);
        let number = self.number_of(&found);
        self.where_needed(needed, |lower| {
            lower.put(to, number);
            Ok(())
        })
    }

    /// The first entries of each group of threads of a warp, one in each thread.
    fn first_of_warp(&mut self, group: i64, first: i64, mut entries: Vec<Entry>) -> Result<Entry, LowerError> {
        let rows = self.first_own(&mut entries, first as usize)?;
        let queue = self.cells("first", &rows);
        let nothing = self.last_entry(&rows[0]);
        let found = self.cells("found", std::slice::from_ref(&nothing));
        let together = self.together_in_warp();
        let (_, lane) = self.split(self.worker, group);
        let (zero, end) = (self.b.constant(0), self.b.constant(first));
        self.counted(zero, end, 1, Unroll::Never, |lower, trip| {
            let mut rows = lower.entries_in(&queue);
            let head = rows[0].clone();
            let mut best = head.clone();
            let mut apart = group / 2;
            while apart > 0 {
                let words = best.words.iter();
                let words = words.map(|word| lower.shuffled(Shuffle::Exchange, *word, apart, together));
                let other = Entry { words: words.collect() };
                let [before, _] = lower.in_order_pair(&best, &other)?;
                best = before;
                apart /= 2;
            }
            let before = lower.entries_in(&found);
            let is_own = lower.b.indices().equal(lane, trip);
            let now = lower.chosen_entry(is_own, &best, &before[0])?;
            lower.set_cells(&found, &[now]);
            // No two entries are equal.
            let is_taken = {
                let behind = lower.is_before(&best, &head);
                lower.b.indices().not(behind)
            };
            rows.push(nothing);
            let mut moved = Vec::with_capacity(rows.len());
            for pair in rows.windows(2) {
                moved.push(lower.chosen_entry(is_taken, &pair[1], &pair[0])?);
            }
            lower.set_cells(&queue, &moved);
            Ok(())
        })?;
        Ok(self.entries_in(&found).swap_remove(0))
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

    /// The first entries of all warps of a program, one in each thread of each warp: of those that every warp has found.
    fn first_of_warps(&mut self, team: Team, first: i64, found: &Entry) -> Result<Entry, LowerError> {
        let warp = Self::warp();
        let all = team.threads / warp * first;
        let own = (all + warp - 1) / warp;
        let elements: Vec<ElementType> = found.words.iter().map(|word| self.b.element(*word)).collect();
        self.beside_shared();
        let mut memory = Vec::with_capacity(elements.len());
        for &element in &elements {
            memory.push((self.shared(element, all as u64)?, element));
        }
        let (which, lane) = self.split(self.worker, warp);
        let at = self.b.indices().scale(which, first);
        let at = self.b.indices().add(at, lane);
        let (end, works) = (self.b.constant(first), self.in_team(team));
        let has = self.b.indices().less(lane, end);
        let has = self.b.indices().all([works, has]);
        self.where_needed(has, |lower| {
            for (&word, &(buffer, stored)) in found.words.iter().zip(&memory) {
                let to = lower.element_place(buffer, at, stored);
                lower.put(to, word);
            }
            Ok(())
        })?;
        self.barrier();
        memory.iter().for_each(|(buffer, _)| self.reads_shared(*buffer));
        let nothing = self.last_entry(found);
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
        self.first_of_warp(warp, first, entries)
    }
}
