//! Scans: chunks in a thread, 32 chunks in a warp, 32 groups of them in one warp, or in each.

use super::super::access::memory_type;
use super::super::held::{Held, MOST_REGISTERS};
use super::super::{Lower, LowerError};
use super::{CHUNK, Line};
use crate::element::ElementType;
use crate::ir::{Combine, Handle};
use crate::schedule::WARP;
use crate::thread::{Buffer, Index, Predicate, Shuffle, Type, Use};

/// Chunks whose groups one warp has the totals of.
const GROUPED: i64 = (WARP * WARP) as i64;

/// What comes before a group, and whether there is something.
type Before = (Use, Handle<Predicate>);

/// What a thread has of a line: its chunk, and what it comes to with all before it in its group of 32 chunks.
struct Scanned {
    /// Where each element is on the line, and the element with all before it in the chunk.
    elements: Vec<(Handle<Index>, Use)>,
    /// What all chunks of the group before come to.
    before: Use,
    /// What they come to with this one.
    total: Use,
    /// Whether there is a chunk for the thread.
    needed: Handle<Predicate>,
}

impl Lower<'_> {
    /// Whether each thread holds the chunks of a line that it scans, so that the result stays with it.
    pub(super) fn scans_own(&self, line: &Line) -> bool {
        let layout = self.layout(line.shape);
        let own = layout.elements() <= MOST_REGISTERS && i64::from(layout.lanes) == CHUNK;
        let threads = self.schedule.threads;
        own && line.places == 1 && line.chunks() <= GROUPED && threads.is_multiple_of(WARP)
    }

    /// Scans a line whose chunks threads hold.
    pub(super) fn scan_own(&mut self, line: &Line, combine: &Combine) -> Result<Held, LowerError> {
        let (warp, threads) = (Self::warp(), i64::from(self.schedule.threads));
        let groups = (line.chunks() + warp - 1) / warp;
        let place = self.b.constant(0);
        let mut own = Vec::new();
        for slot in 0..self.layout(line.shape).own as i64 {
            let chunk = self.b.indices().offset(self.worker, slot * threads);
            let always = self.b.indices().always(true);
            own.push((chunk, self.scan_group(line, combine, [place, chunk], always)?));
        }
        let before = match groups {
            1 => vec![None; own.len()],
            _ if threads == warp => self.before_slots(combine, &own)?,
            _ => {
                let totals = self.all_totals(line, combine, groups, &own)?;
                own.iter()
                    .map(|(chunk, _)| Some(self.before_group(totals, *chunk)))
                    .collect()
            }
        };
        let (_, lane) = self.split(self.worker, warp);
        let mut values = Vec::with_capacity(own.len());
        for ((_, scanned), before) in own.iter().zip(before) {
            let mut parts = Vec::with_capacity(scanned.elements.len());
            for (_, own) in &scanned.elements {
                let mut value = self.behind(combine, scanned.before, *own, lane)?;
                if let Some((before, later)) = before {
                    let both = self.combined(combine, before, value)?;
                    value = self.chosen(later.into(), both, value)?;
                }
                parts.push(value);
            }
            let packet = self.b.join(parts);
            values.push(self.as_index(packet));
        }
        Ok(Held::Values(values))
    }

    /// What the groups before that of each slot come to, where one warp has them all: it has them one after the other.
    fn before_slots(
        &mut self,
        combine: &Combine,
        own: &[(Handle<Index>, Scanned)],
    ) -> Result<Vec<Option<Before>>, LowerError> {
        let (warp, always) = (Self::warp(), self.b.indices().always(true));
        let mut totals: Vec<Use> = own[..own.len() - 1]
            .iter()
            .map(|(_, scanned)| self.shuffled(Shuffle::From, scanned.total, warp - 1, warp))
            .collect();
        let mut distance = 1;
        while distance < totals.len() {
            for at in (distance..totals.len()).rev() {
                totals[at] = self.combined(combine, totals[at - distance], totals[at])?;
            }
            distance *= 2;
        }
        let before = totals.into_iter().map(|total| Some((total, always)));
        Ok(std::iter::once(None).chain(before).collect())
    }

    /// What all groups come to with those before them, each in the lane of its number, in every warp.
    fn all_totals(
        &mut self,
        line: &Line,
        combine: &Combine,
        groups: i64,
        own: &[(Handle<Index>, Scanned)],
    ) -> Result<Use, LowerError> {
        let (warp, stored) = (Self::warp(), memory_type(line.element));
        self.beside_shared();
        let totals = self.shared(stored, groups as u64)?;
        for (chunk, scanned) in own {
            let (group, lane) = self.split(*chunk, warp);
            self.keep_total(line, totals, group, [lane, *chunk], scanned)?;
        }
        self.barrier();
        self.reads_shared(totals);
        let (_, lane) = self.split(self.worker, warp);
        let end = self.b.constant(groups);
        let within = self.b.indices().less(lane, end);
        let place = self.element_place(totals, lane, stored);
        let sum = self.where_needed(within, |lower| Ok(lower.fetch(place, stored, line.element)))?;
        self.doubled(combine, sum, lane, groups)
    }

    /// What the groups before that of a chunk come to, and whether there are any.
    fn before_group(&mut self, totals: Use, chunk: Handle<Index>) -> Before {
        let (group, _) = self.split(chunk, Self::warp());
        let zero = self.b.constant(0);
        let later = self.b.indices().less(zero, group);
        let from = self.b.indices().offset(group, -1);
        let from = self.b.indices().maximum(from, zero);
        let from = self.integer(from, ElementType::U32);
        (self.shuffled_by(Shuffle::From, totals, from, Self::warp()), later)
    }

    pub(super) fn scan(&mut self, line: &Line, combine: &Combine, result: Handle<Buffer>) -> Result<(), LowerError> {
        let (warp, chunks) = (Self::warp(), line.chunks());
        let groups = (chunks + warp - 1) / warp;
        let stored = memory_type(line.element);
        let totals = match groups {
            1 => None,
            _ => Some(self.shared(stored, (line.places * groups) as u64)?),
        };
        self.together(line.places * groups * warp, |lower, item, here| {
            let (number, lane) = lower.split(item, warp);
            let (place, group) = lower.split(number, groups);
            let first = lower.b.indices().scale(group, warp);
            let chunk = lower.b.indices().add(first, lane);
            let scanned = lower.scan_group(line, combine, [place, chunk], here)?;
            let extent = lower.b.constant(line.extent);
            for (along, own) in &scanned.elements {
                let value = lower.behind(combine, scanned.before, *own, lane)?;
                let there = lower.b.indices().less(*along, extent);
                let there = lower.b.indices().all([scanned.needed, there]);
                let point = lower.on_line(line, place, *along);
                let position = lower.position(&point, line.shape);
                let to = lower.element_place(result, position, stored);
                lower.where_needed(there, |lower| {
                    lower.put(to, value);
                    Ok(())
                })?;
            }
            match totals {
                Some(totals) => lower.keep_total(line, totals, number, [lane, chunk], &scanned),
                None => Ok(()),
            }
        })?;
        if let Some(totals) = totals {
            self.barrier();
            self.scan_totals(line, combine, groups, totals)?;
            self.barrier();
            self.add_totals(line, combine, groups, totals, result)?;
        }
        self.barrier();
        Ok(())
    }

    /// Scans the chunks of a group of 32, one in each thread of a warp.
    fn scan_group(
        &mut self,
        line: &Line,
        combine: &Combine,
        [place, chunk]: [Handle<Index>; 2],
        here: Handle<Predicate>,
    ) -> Result<Scanned, LowerError> {
        let (count, extent) = (self.b.constant(line.chunks()), self.b.constant(line.extent));
        let within = self.b.indices().less(chunk, count);
        let needed = self.b.indices().all([here, within]);
        let chunk_elements = self.where_needed(needed, |lower| lower.chunk(line, place, chunk))?;
        let mut elements: Vec<(Handle<Index>, Use)> = Vec::with_capacity(CHUNK as usize);
        let mut total = chunk_elements[0].1;
        for (along, element) in chunk_elements {
            let next = match elements.last() {
                Some((_, before)) => self.combined(combine, *before, element)?,
                None => element,
            };
            let there = self.b.indices().less(along, extent);
            total = match line.extent % CHUNK {
                0 => next,
                _ => self.chosen(there.into(), next, total)?,
            };
            elements.push((along, next));
        }
        let (_, lane) = self.split(chunk, Self::warp());
        let total = self.doubled(combine, total, lane, line.chunks())?;
        let before = self.shuffled(Shuffle::Up, total, 1, Self::warp());
        Ok(Scanned {
            elements,
            before,
            total,
            needed,
        })
    }

    /// An element of a chunk with what comes before the chunk in its group.
    fn behind(&mut self, combine: &Combine, before: Use, own: Use, lane: Handle<Index>) -> Result<Use, LowerError> {
        let zero = self.b.constant(0);
        let later = self.b.indices().less(zero, lane);
        let both = self.combined(combine, before, own)?;
        self.chosen(later.into(), both, own)
    }

    /// The last one of a group knows its total.
    fn keep_total(
        &mut self,
        line: &Line,
        totals: Handle<Buffer>,
        number: Handle<Index>,
        [lane, chunk]: [Handle<Index>; 2],
        scanned: &Scanned,
    ) -> Result<(), LowerError> {
        let (last, end) = (self.b.constant(Self::warp() - 1), self.b.constant(line.chunks() - 1));
        let (in_group, in_line) = (self.b.indices().equal(lane, last), self.b.indices().equal(chunk, end));
        let knows = self.b.indices().any([in_group, in_line]);
        let knows = self.b.indices().all([scanned.needed, knows]);
        let to = self.element_place(totals, number, memory_type(line.element));
        self.where_needed(knows, |lower| {
            lower.put(to, scanned.total);
            Ok(())
        })
    }

    /// Combines the total of each group with those of all before it, a warp for each line.
    fn scan_totals(
        &mut self,
        line: &Line,
        combine: &Combine,
        groups: i64,
        totals: Handle<Buffer>,
    ) -> Result<(), LowerError> {
        let (warp, stored) = (Self::warp(), memory_type(line.element));
        self.together(line.places * warp, |lower, item, here| {
            let (place, lane) = lower.split(item, warp);
            let first = lower.b.indices().scale(place, groups);
            let carry = lower.b.register("carry", Type::scalar(line.element));
            let nothing = lower.literal(crate::ir::Literal::zero(line.element));
            lower.b.assign(carry, nothing);
            lower.so_often((groups + warp - 1) / warp, |lower, segment| {
                let base = lower.b.indices().scale(segment, warp);
                let group = lower.b.indices().add(base, lane);
                let (end, zero) = (lower.b.constant(groups), lower.b.constant(0));
                let within = lower.b.indices().less(group, end);
                let needed = lower.b.indices().all([here, within]);
                let at = lower.b.indices().add(first, group);
                let place = lower.element_place(totals, at, stored);
                let sum = lower.where_needed(needed, |lower| Ok(lower.fetch(place, stored, line.element)))?;
                let sum = lower.doubled(combine, sum, lane, groups)?;
                let before = lower.b.read(carry);
                let before = lower.as_index(before);
                let both = lower.combined(combine, before, sum)?;
                let later = lower.b.indices().less(zero, segment);
                let sum = lower.chosen(later.into(), both, sum)?;
                lower.where_needed(needed, |lower| {
                    lower.put(place, sum);
                    Ok(())
                })?;
                let last = lower.shuffled(Shuffle::From, sum, warp - 1, warp);
                lower.b.assign(carry, last);
                Ok(())
            })
        })
    }

    /// Combines every element with the total of all groups before its own.
    fn add_totals(
        &mut self,
        line: &Line,
        combine: &Combine,
        groups: i64,
        totals: Handle<Buffer>,
        result: Handle<Buffer>,
    ) -> Result<(), LowerError> {
        let (of_group, stored) = (Self::warp() * CHUNK, memory_type(line.element));
        let behind = line.extent - of_group;
        self.each((line.places * behind) as u64, |lower, item| {
            let (place, along) = lower.split(item, behind);
            let (before, _) = lower.split(along, of_group);
            let along = lower.b.indices().offset(along, of_group);
            let first = lower.b.indices().scale(place, groups);
            let at = lower.b.indices().add(first, before);
            let total = lower.element_place(totals, at, stored);
            let total = lower.fetch(total, stored, line.element);
            let point = lower.on_line(line, place, along);
            let position = lower.position(&point, line.shape);
            let to = lower.element_place(result, position, stored);
            let own = lower.fetch(to, stored, line.element);
            let both = lower.combined(combine, total, own)?;
            lower.put(to, both);
            Ok(())
        })
    }

    /// Each thread's value combined with those of the threads before it in the warp, by doubling distances; so many have one.
    fn doubled(
        &mut self,
        combine: &Combine,
        mut total: Use,
        lane: Handle<Index>,
        count: i64,
    ) -> Result<Use, LowerError> {
        let (warp, mut distance) = (Self::warp(), 1);
        while distance < count.min(warp) {
            let other = self.shuffled(Shuffle::Up, total, distance, warp);
            let both = self.combined(combine, other, total)?;
            let from = self.b.constant(distance);
            let there = self.b.indices().at_most(from, lane);
            total = self.chosen(there.into(), both, total)?;
            distance *= 2;
        }
        Ok(total)
    }
}
