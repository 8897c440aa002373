//! Scans: chunks in a thread, 32 chunks in a warp, 32 groups of them in one warp.

use super::super::access::memory_type;
use super::super::{Lower, LowerError};
use super::{CHUNK, Line};
use crate::ir::{Combine, Handle};
use crate::thread::{Buffer, Index, Shuffle, Type, Use};

impl Lower<'_> {
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
            let (count, extent, zero) = (
                lower.b.constant(chunks),
                lower.b.constant(line.extent),
                lower.b.constant(0),
            );
            let within = lower.b.indices().less(chunk, count);
            let needed = lower.b.indices().all([here, within]);
            let elements = lower.where_needed(needed, |lower| lower.chunk(line, place, chunk))?;
            let mut scanned: Vec<(Handle<Index>, Use)> = Vec::with_capacity(CHUNK as usize);
            let mut total = elements[0].1;
            for (along, element) in elements {
                let there = lower.b.indices().less(along, extent);
                let next = match scanned.last() {
                    Some((_, before)) => lower.combined(combine, *before, element)?,
                    None => element,
                };
                total = lower.chosen(there.into(), next, total)?;
                scanned.push((along, next));
            }
            let total = lower.doubled(combine, total, lane)?;
            let before = lower.shuffled(Shuffle::Up, total, 1, warp);
            let later = lower.b.indices().less(zero, lane);
            for (along, own) in scanned {
                let both = lower.combined(combine, before, own)?;
                let value = lower.chosen(later.into(), both, own)?;
                let there = lower.b.indices().less(along, extent);
                let there = lower.b.indices().all([needed, there]);
                let point = lower.on_line(line, place, along);
                let position = lower.position(&point, line.shape);
                let to = lower.element_place(result, position, stored);
                lower.where_needed(there, |lower| {
                    lower.put(to, value);
                    Ok(())
                })?;
            }
            if let Some(totals) = totals {
                // The last one of the group knows its total.
                let (last, end) = (lower.b.constant(warp - 1), lower.b.constant(chunks - 1));
                let (in_group, in_line) = (lower.b.indices().equal(lane, last), lower.b.indices().equal(chunk, end));
                let knows = lower.b.indices().any([in_group, in_line]);
                let knows = lower.b.indices().all([needed, knows]);
                let to = lower.element_place(totals, number, stored);
                lower.where_needed(knows, |lower| {
                    lower.put(to, total);
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        if let Some(totals) = totals {
            self.barrier();
            self.scan_totals(line, combine, groups, totals)?;
            self.barrier();
            self.add_totals(line, combine, groups, totals, result)?;
        }
        Ok(())
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
                let sum = lower.doubled(combine, sum, lane)?;
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

    /// Each thread's value combined with those of the threads before it in the warp, by doubling distances.
    fn doubled(&mut self, combine: &Combine, mut total: Use, lane: Handle<Index>) -> Result<Use, LowerError> {
        let (warp, mut distance) = (Self::warp(), 1);
        while distance < warp {
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
