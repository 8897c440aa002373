//! Reductions: chunks in a thread, then the partial results of a line in one warp.

use super::super::access::memory_type;
use super::super::{Lower, LowerError};
use super::{CHUNK, Line};
use crate::element::ElementType;
use crate::ir::{CompareOp, Expression, Handle, Reduction};
use crate::thread::{self, Buffer, Index, Predicate, Shuffle, Type, Unroll, Use};

/// Partial results that are combined by halves.
const LEAVES: i64 = Expression::LEAVES as i64;

/// A partial result: the element, and for an index where it is on the line.
#[derive(Debug, Clone, Copy)]
struct Partial {
    value: Use,
    at: Option<Use>,
}

/// Partial results in shared memory.
struct Kept {
    values: Handle<Buffer>,
    at: Option<Handle<Buffer>>,
}

impl Lower<'_> {
    pub(super) fn reduce(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        result: Handle<Buffer>,
    ) -> Result<(), LowerError> {
        let leaves = line.chunks().min(LEAVES);
        let group = (leaves as u64).next_power_of_two().min(Self::warp() as u64) as i64;
        if group >= leaves {
            // As many threads for a line as it has chunks.
            return self.together(line.places * group, |lower, item, here| {
                let (place, leaf) = lower.split(item, group);
                let count = lower.b.constant(leaves);
                let within = lower.b.indices().less(leaf, count);
                let needed = lower.b.indices().all([here, within]);
                let own = lower.where_needed(needed, |lower| lower.leaf(line, reduction, place, leaf))?;
                let total = lower.across(reduction, own, leaf, leaves, group)?;
                lower.keep_total(total, place, leaf, here, result)
            });
        }
        let kept = Kept {
            values: self.shared(memory_type(line.element), (line.places * leaves) as u64)?,
            at: match reduction {
                Reduction::Combine(_) => None,
                Reduction::ArgMin | Reduction::ArgMax => {
                    Some(self.shared(ElementType::I32, (line.places * leaves) as u64)?)
                }
            },
        };
        self.each((line.places * leaves) as u64, |lower, item| {
            let (place, leaf) = lower.split(item, leaves);
            let own = lower.leaf(line, reduction, place, leaf)?;
            let stored = memory_type(line.element);
            let to = lower.element_place(kept.values, item, stored);
            lower.put(to, own.value);
            if let (Some(buffer), Some(at)) = (kept.at, own.at) {
                let to = lower.element_place(buffer, item, ElementType::I32);
                lower.put(to, at);
            }
            Ok(())
        })?;
        self.barrier();
        self.together(line.places * group, |lower, item, here| {
            let (place, lane) = lower.split(item, group);
            let first = lower.b.indices().scale(place, leaves);
            let count = lower.b.constant(leaves);
            let rows = (leaves as u64).next_power_of_two() as i64 / group;
            let mut parts = Vec::with_capacity(rows as usize);
            for row in 0..rows {
                let leaf = lower.b.indices().offset(lane, row * group);
                let within = lower.b.indices().less(leaf, count);
                let needed = lower.b.indices().all([here, within]);
                let from = lower.b.indices().add(first, leaf);
                let part = lower.where_needed(needed, |lower| {
                    let stored = memory_type(line.element);
                    let place = lower.element_place(kept.values, from, stored);
                    let value = lower.fetch(place, stored, line.element);
                    let at = kept.at.map(|buffer| {
                        let place = lower.element_place(buffer, from, ElementType::I32);
                        lower.fetch(place, ElementType::I32, ElementType::I32)
                    });
                    Ok(Partial { value, at })
                })?;
                parts.push((leaf, part));
            }
            let mut half = rows as usize / 2;
            while half > 0 {
                for row in 0..half {
                    let (leaf, other) = parts[row + half];
                    let there = lower.b.indices().less(leaf, count);
                    parts[row].1 = lower.better(reduction, parts[row].1, other, there)?;
                }
                half /= 2;
            }
            let total = lower.across(reduction, parts[0].1, lane, leaves, group)?;
            lower.keep_total(total, place, lane, here, result)
        })
    }

    /// The number of an item's group, and its number in it.
    pub(super) fn split(&mut self, item: Handle<Index>, group: i64) -> (Handle<Index>, Handle<Index>) {
        let by = self.b.constant(group);
        let which = self.b.indices().quotient(item, by);
        (which, self.b.indices().remainder(item, by))
    }

    fn keep_total(
        &mut self,
        total: Partial,
        place: Handle<Index>,
        lane: Handle<Index>,
        here: Handle<Predicate>,
        result: Handle<Buffer>,
    ) -> Result<(), LowerError> {
        let zero = self.b.constant(0);
        let first = self.b.indices().equal(lane, zero);
        let kept = self.b.indices().all([here, first]);
        let total = total.at.unwrap_or(total.value);
        let stored = memory_type(self.b.element(total));
        let to = self.element_place(result, place, stored);
        self.where_needed(kept, |lower| {
            lower.put(to, total);
            Ok(())
        })
    }

    /// A partial result: a chunk, with those that are a multiple of the leaves behind it.
    fn leaf(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        place: Handle<Index>,
        leaf: Handle<Index>,
    ) -> Result<Partial, LowerError> {
        let first = self.halved(line, reduction, place, leaf)?;
        if line.chunks() <= LEAVES {
            return Ok(first);
        }
        let value = self.b.register("total", Type::scalar(line.element));
        self.b.assign(value, first.value);
        let at = first.at.map(|at| {
            let register = self.b.register("total_at", Type::scalar(ElementType::I32));
            self.b.assign(register, at);
            register
        });
        let now = |lower: &mut Self| {
            let read = lower.b.read(value);
            Partial {
                value: lower.as_index(read),
                at: at.map(|at| lower.b.read(at)),
            }
        };
        let start = self.b.indices().offset(leaf, LEAVES);
        let (end, label) = (self.b.constant(line.chunks()), self.b.label());
        let (chunk, variable) = self.b.counter(start, end, LEAVES);
        let body = self.inside(|lower| {
            let next = lower.halved(line, reduction, place, chunk)?;
            let (before, always) = (now(lower), lower.b.indices().always(true));
            let total = lower.better(reduction, before, next, always)?;
            lower.b.assign(value, total.value);
            if let (Some(register), Some(at)) = (at, total.at) {
                lower.b.assign(register, at);
            }
            Ok(())
        })?;
        self.b.push(thread::Statement::For {
            label,
            variable,
            start,
            end,
            step: LEAVES,
            unroll: Unroll::Never,
            body,
        });
        Ok(now(self))
    }

    /// The elements of a chunk, combined by halves.
    fn halved(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        place: Handle<Index>,
        chunk: Handle<Index>,
    ) -> Result<Partial, LowerError> {
        let extent = self.b.constant(line.extent);
        let mut parts = Vec::with_capacity(CHUNK as usize);
        for (along, value) in self.chunk(line, place, chunk)? {
            let at = match reduction {
                Reduction::Combine(_) => None,
                Reduction::ArgMin | Reduction::ArgMax => Some(self.integer(along, ElementType::I32)),
            };
            parts.push((along, Partial { value, at }));
        }
        let mut half = CHUNK as usize / 2;
        while half > 0 {
            for i in 0..half {
                let (along, other) = parts[i + half];
                let there = self.b.indices().less(along, extent);
                parts[i].1 = self.better(reduction, parts[i].1, other, there)?;
            }
            half /= 2;
        }
        Ok(parts[0].1)
    }

    /// Combines what the threads of a group have, of whom `count` have something; the first one has the total.
    fn across(
        &mut self,
        reduction: &Reduction,
        mut own: Partial,
        lane: Handle<Index>,
        count: i64,
        group: i64,
    ) -> Result<Partial, LowerError> {
        let mut half = group / 2;
        while half > 0 {
            let other = Partial {
                value: self.shuffled(Shuffle::Down, own.value, half, group),
                at: own.at.map(|at| self.shuffled(Shuffle::Down, at, half, group)),
            };
            let (end, behind, count) = (
                self.b.constant(half),
                self.b.indices().offset(lane, half),
                self.b.constant(count),
            );
            let (first, there) = (self.b.indices().less(lane, end), self.b.indices().less(behind, count));
            let there = self.b.indices().all([first, there]);
            own = self.better(reduction, own, other, there)?;
            half /= 2;
        }
        Ok(own)
    }

    /// `to` combined with `from` where that is there.
    fn better(
        &mut self,
        reduction: &Reduction,
        to: Partial,
        from: Partial,
        there: Handle<Predicate>,
    ) -> Result<Partial, LowerError> {
        if self.b.kernel().indices.is_known(there) == Some(false) {
            return Ok(to);
        }
        let op = match reduction {
            Reduction::Combine(combine) => {
                let both = self.combined(combine, to.value, from.value)?;
                let value = self.chosen(there.into(), both, to.value)?;
                return Ok(Partial { value, at: None });
            }
            Reduction::ArgMin => CompareOp::Less,
            Reduction::ArgMax => CompareOp::Greater,
        };
        let (Some(to_at), Some(from_at)) = (to.at, from.at) else {
            return Ok(to);
        };
        let mut holds = |op, left, right| {
            let holds = self.compared(op, left, right);
            self.b.condition(holds)
        };
        let beats = holds(op, from.value, to.value);
        let equal = holds(CompareOp::Equal, to.value, from.value);
        let first = holds(CompareOp::Less, from_at, to_at);
        let is_number = self.b.element(to.value).is_float().then(|| {
            let mut holds = |value| {
                let holds = self.compared(CompareOp::Equal, value, value);
                self.b.condition(holds)
            };
            (holds(to.value), holds(from.value))
        });
        let indices = self.b.indices();
        let tie = indices.all([equal, first]);
        let mut wins = indices.any([beats, tie]);
        if let Some((to_is, from_is)) = is_number {
            // Numbers before NaN; of two NaN the first.
            let to_is_nan = indices.not(to_is);
            let either = indices.any([from_is, first]);
            let over_nan = indices.all([to_is_nan, either]);
            wins = indices.any([wins, over_nan]);
        }
        let wins = indices.all([wins, there]);
        Ok(Partial {
            value: self.chosen(wins.into(), from.value, to.value)?,
            at: Some(self.chosen(wins.into(), from_at, to_at)?),
        })
    }
}
