//! Partial results: what one thread finds of chunks of a line, and two of them combined.

use super::super::{Lower, LowerError};
use super::Line;
use crate::element::ElementType;
use crate::ir::{CompareOp, Handle, Reduction};
use crate::thread::{Index, Predicate, Type, Unroll, Use};

/// Chunks that a thread has on their way at once where it combines one after the other, and their bytes.
///
/// Measured on an H200 with L2 cold against one at a time: up to 64 rows of 16,384 to 131,072 elements are combined in 0.47 to 0.84 of
/// the time, 264 and more in 0.89 to 0.98.
const MOST_AHEAD: i64 = 8;
const AHEAD_BYTES: i64 = 128;

/// A partial result: the element, and for an index where it is on the line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partial {
    pub(super) value: Use,
    pub(super) at: Option<Use>,
}

impl Partial {
    /// What the reduction is after.
    pub(super) fn found(self) -> Use {
        self.at.unwrap_or(self.value)
    }
}

/// How the elements of which two partial results were made lie on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// All of the second one behind those of the first.
    Behind,
    Any,
}

impl Order {
    /// Of a leaf and one behind it: unless each has chunks from everywhere.
    pub(super) fn of_leaves(line: &Line) -> Self {
        match line.chunks() <= line.most_leaves() {
            true => Self::Behind,
            false => Self::Any,
        }
    }
}

impl Lower<'_> {
    /// A partial result: a chunk, with those that are a multiple of the leaves behind it.
    pub(super) fn leaf(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        place: Handle<Index>,
        leaf: Handle<Index>,
    ) -> Result<Partial, LowerError> {
        let first = self.halved(line, reduction, place, leaf)?;
        if line.chunks() <= line.most_leaves() {
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
        let leaves = line.most_leaves();
        let ahead = (AHEAD_BYTES / (line.chunk * line.element.size() as i64)).clamp(1, MOST_AHEAD);
        let take = |lower: &mut Self, chunk: Handle<Index>, several: i64| {
            // All of them are loaded before the first one is combined.
            let mut next = Vec::with_capacity(several as usize);
            for number in 0..several {
                let chunk = lower.b.indices().offset(chunk, number * leaves);
                let end = lower.b.constant(line.chunks());
                let there = lower.b.indices().less(chunk, end);
                let packet = lower.where_needed(there, |lower| lower.chunk(line, place, chunk))?;
                next.push((there, packet));
            }
            let mut total = now(lower);
            for (there, packet) in next {
                let chunk = lower.halves(line, reduction, packet)?;
                total = lower.better(reduction, total, chunk, there, Order::Behind)?;
            }
            lower.b.assign(value, total.value);
            if let (Some(register), Some(at)) = (at, total.at) {
                lower.b.assign(register, at);
            }
            Ok(())
        };
        // Of the rest some leaves have one less.
        let others = line.chunks() / leaves - 1;
        let trips = others / ahead;
        let mut start = self.b.indices().offset(leaf, leaves);
        if trips > 0 {
            let step = leaves * ahead;
            let end = self.b.constant(leaves + trips * step);
            self.counted(start, end, step, Unroll::Never, |lower, chunk| {
                take(lower, chunk, ahead)
            })?;
            start = self.b.indices().offset(start, trips * step);
        }
        let rest = (line.chunks() + leaves - 1) / leaves - 1 - trips * ahead;
        if rest > 0 {
            take(self, start, rest)?;
        }
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
        let packet = self.chunk(line, place, chunk)?;
        self.halves(line, reduction, packet)
    }

    /// Elements and where they are on the line, combined by halves.
    fn halves(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        packet: Vec<(Handle<Index>, Use)>,
    ) -> Result<Partial, LowerError> {
        let mut parts = Vec::with_capacity(packet.len());
        for (along, value) in packet {
            let at = match reduction {
                Reduction::Combine(_) => None,
                Reduction::ArgMin | Reduction::ArgMax => Some(self.integer(along, ElementType::I32)),
            };
            parts.push((along, Partial { value, at }));
        }
        let count = parts.len() as i64;
        self.joined(reduction, parts, count, line.extent, Order::Behind)
    }

    /// Parts and their numbers, of which those below `end` are something: `count`, a power of two, combined by halves. Where the
    /// first of equal ones is told by its place, neighbours are combined instead: halves have each other's elements between
    /// theirs.
    pub(super) fn joined(
        &mut self,
        reduction: &Reduction,
        mut parts: Vec<(Handle<Index>, Partial)>,
        count: i64,
        end: i64,
        order: Order,
    ) -> Result<Partial, LowerError> {
        let end = self.b.constant(end);
        let by_place = order == Order::Behind && !matches!(reduction, Reduction::Combine(_));
        let mut half = count as usize / 2;
        while half > 0 {
            let (apart, step) = match by_place {
                true => (count as usize / (2 * half), count as usize / half),
                false => (half, 1),
            };
            for i in (0..half).map(|pair| pair * step) {
                let Some(&(number, other)) = parts.get(i + apart) else {
                    break;
                };
                let there = self.b.indices().less(number, end);
                parts[i].1 = self.better(reduction, parts[i].1, other, there, order)?;
            }
            half /= 2;
        }
        match parts.first() {
            Some((_, whole)) => Ok(*whole),
            None => self.defect("a line without elements"),
        }
    }

    /// `to` combined with `from` where that is there.
    pub(super) fn better(
        &mut self,
        reduction: &Reduction,
        to: Partial,
        from: Partial,
        there: Handle<Predicate>,
        order: Order,
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
        if order == Order::Behind {
            // Of equal ones, and of two NaN, it is the one before.
            let keeps = match op {
                CompareOp::Less => CompareOp::LessEqual,
                _ => CompareOp::GreaterEqual,
            };
            let keeps = holds(keeps, to.value, from.value);
            let mut wins = vec![self.b.indices().not(keeps), there];
            if self.b.element(from.value).is_float() {
                let is_number = self.compared(CompareOp::Equal, from.value, from.value);
                wins.push(self.b.condition(is_number));
            }
            let wins = self.b.indices().all(wins);
            return Ok(Partial {
                value: self.chosen(wins.into(), from.value, to.value)?,
                at: Some(self.chosen(wins.into(), from_at, to_at)?),
            });
        }
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
