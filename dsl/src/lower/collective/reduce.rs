//! Reductions: chunks in a thread, then the partial results of a line in a warp, each of the warps that need them.

use super::super::access::memory_type;
use super::super::held::{Held, Lines};
use super::super::{Lower, LowerError};
use super::warp::neutral;
use super::{Kept, Line, MOST_TRIPS, Standing};
use crate::element::ElementType;
use crate::ir::{BinaryOp, Combine, CompareOp, Handle, Reduction};
use crate::thread::{Index, Predicate, Shuffle, Type, Unroll, Use};

/// Chunks that a thread has on their way at once where it combines one after the other, and their bytes.
///
/// Measured on an H200 with L2 cold against one at a time: up to 64 rows of 16,384 to 131,072 elements are combined in 0.47 to 0.84 of
/// the time, 264 and more in 0.89 to 0.98.
const MOST_AHEAD: i64 = 8;
const AHEAD_BYTES: i64 = 128;

/// Threads whose exchanges take longer than what a warp does at once.
const LEAST_AT_ONCE: i64 = 8;

/// A partial result: the element, and for an index where it is on the line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partial {
    pub(super) value: Use,
    pub(super) at: Option<Use>,
}

impl Partial {
    /// What the reduction is after.
    fn found(self) -> Use {
        self.at.unwrap_or(self.value)
    }
}

/// What the threads of a group have found.
#[derive(Debug, Clone, Copy)]
struct Total {
    total: Partial,
    /// Whether each of them has it, and not only the first.
    in_group: bool,
}

/// How the elements of which two partial results were made lie on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// All of the second one behind those of the first.
    Behind,
    Any,
}

impl Order {
    /// Of a leaf and one behind it: unless each has chunks from everywhere.
    fn of_leaves(line: &Line) -> Self {
        match line.chunks() <= line.most_leaves() {
            true => Self::Behind,
            false => Self::Any,
        }
    }
}

/// How threads share the lines.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Threads that work on a line.
    group: i64,
    /// Lines at a time.
    lines: i64,
    /// Partial results of a line.
    leaves: i64,
}

impl Share {
    /// A power of two of threads for each line, or as many for the only one as it has chunks. Lines that a warp combines, or less, share
    /// out all threads, of however many.
    fn of(line: &Line, threads: i64) -> Self {
        let power = |number: i64| (number as u64).next_power_of_two() as i64;
        let usable = power(threads + 1) / 2;
        let leaves = line.chunks().min(line.most_leaves());
        match line.places == 1 && leaves <= threads {
            true => Self {
                group: power(leaves),
                lines: 1,
                leaves,
            },
            false => {
                let group = power(leaves).min(usable);
                let shared = if group <= Lower::warp() { threads } else { usable };
                let lines = (shared / group).min(line.places);
                Self { group, lines, leaves }
            }
        }
    }

    /// Threads that have something to do.
    fn active(self) -> i64 {
        self.lines * self.group
    }
}

impl Lower<'_> {
    /// The only element of a line. Where it `decides` which way threads go, all of them are told by one: that each warp has
    /// found the same for itself is not known of it.
    pub(super) fn reduce_to_one(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        decides: bool,
    ) -> Result<Held, LowerError> {
        let threads = self.workers() as i64;
        let share = Share::of(line, threads);
        let group = share.group;
        let zero = self.b.constant(0);
        // Every group does the line, or one does, whose threads hold its elements.
        let everywhere = group <= Self::warp() && !self.are_made_of_held(&[line.value]);
        let standing = match everywhere {
            true => Standing {
                place: zero,
                lane: self.split(self.worker, group).1,
                here: self.b.indices().always(true),
            },
            false => {
                let end = self.b.constant(group);
                Standing {
                    place: zero,
                    lane: self.worker,
                    here: self.b.indices().less(self.worker, end),
                }
            }
        };
        let own = self.leaves(line, reduction, share, standing)?;
        let Total { total, in_group } = match group > Self::warp() {
            true => self.across_warps(line, reduction, share, own, standing)?,
            false if everywhere => self.across_alike(reduction, own, standing.lane, share.leaves, group)?,
            false => self.across(reduction, own, standing.lane, share.leaves, group)?,
        };
        let has_each_warp = everywhere || group > Self::warp();
        let has_each_thread = in_group && (has_each_warp || group == threads) && !decides;
        let found = match threads <= Self::warp() || (has_each_warp && !decides) {
            // Each thread does all of it.
            _ if has_each_thread || (everywhere && group == 1) => total.found(),
            true => self.of_first(total),
            false => self.handed_on(total)?,
        };
        Ok(Held::Everywhere(match reduction {
            Reduction::Combine(_) => found,
            Reduction::ArgMin | Reduction::ArgMax => self.b.index(found).into(),
        }))
    }

    pub(super) fn reduce(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        (result, stored): Kept,
    ) -> Result<Held, LowerError> {
        let share = Share::of(line, self.workers() as i64);
        let Share { group, lines, .. } = share;
        let trips = (line.places + lines - 1) / lines;
        // Where some threads have no line while others have several, whose line is whose differs from what is spread over all.
        let is_spread_alike = trips == 1 || share.active() == self.workers() as i64;
        let mut own_lines = (group <= Self::warp() && trips <= MOST_TRIPS && is_spread_alike).then(Vec::new);
        self.so_often(trips, |lower, trip| {
            let first = lower.b.indices().scale(trip, share.active());
            let item = lower.b.indices().add(first, lower.worker);
            let (place, lane) = lower.split(item, group);
            let (active, places) = (lower.b.constant(share.active()), lower.b.constant(line.places));
            let works = lower.b.indices().less(lower.worker, active);
            let exists = lower.b.indices().less(place, places);
            let here = lower.b.indices().all([works, exists]);
            let standing = Standing { place, lane, here };
            let own = lower.leaves(line, reduction, share, standing)?;
            let Total { total, in_group } = match group > Self::warp() {
                true => lower.across_warps(line, reduction, share, own, standing)?,
                false => lower.across(reduction, own, lane, share.leaves, group)?,
            };
            let zero = lower.b.constant(0);
            let first = lower.b.indices().equal(lane, zero);
            let kept = lower.b.indices().all([here, first]);
            let to = lower.element_place(result, place, stored);
            lower.where_needed(kept, |lower| {
                lower.put(to, total.found());
                Ok(())
            })?;
            if let Some(own) = &mut own_lines {
                let found = match in_group {
                    true => total.found(),
                    false => lower.shuffled(Shuffle::From, total.found(), 0, group),
                };
                own.push(match reduction {
                    Reduction::Combine(_) => found,
                    Reduction::ArgMin | Reduction::ArgMax => lower.b.index(found).into(),
                });
            }
            // What the next lines exchange has been read by then.
            if group > Self::warp() && trips > 1 {
                lower.barrier();
            }
            Ok(())
        })?;
        if let Some(values) = own_lines {
            // Nothing else may be written there until all have met.
            self.reads_shared(result);
            return Ok(Held::Lines(Lines {
                values,
                group,
                at_a_time: lines,
                buffer: result,
                stored,
            }));
        }
        if group <= Self::warp() || trips == 1 {
            self.barrier();
        }
        Ok(Held::Shared(result, stored))
    }

    /// A thread's partial results of a line, combined.
    fn leaves(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        share: Share,
        standing: Standing,
    ) -> Result<Partial, LowerError> {
        let Share { group, leaves, .. } = share;
        let own = (leaves as u64).next_power_of_two() as i64 / group;
        let end = self.b.constant(leaves);
        let mut parts = Vec::with_capacity(own as usize);
        for k in 0..own {
            let leaf = self.b.indices().offset(standing.lane, k * group);
            let within = self.b.indices().less(leaf, end);
            let needed = self.b.indices().all([standing.here, within]);
            if self.b.kernel().indices.is_known(within) == Some(false) {
                break;
            }
            let part = self.where_needed(needed, |lower| lower.leaf(line, reduction, standing.place, leaf))?;
            parts.push((leaf, part));
        }
        self.joined(reduction, parts, own, leaves, Order::of_leaves(line))
    }

    /// Combines what the threads of a group of several warps have: each of its warps does, and the first thread of each
    /// has the total at least. They hand each other what each thread has, or each warp, if a warp finds that at once.
    fn across_warps(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        share: Share,
        own: Partial,
        standing: Standing,
    ) -> Result<Total, LowerError> {
        let Share { group, leaves, .. } = share;
        let (warp, stored) = (Self::warp(), memory_type(line.element));
        let (own, each) = match self.reduced_by_warp(reduction, own, standing.lane, leaves)? {
            Some(of_warp) => (of_warp, warp),
            None => (own, 1),
        };
        let (_, lane) = self.split(self.worker, warp);
        // Of the only line every warp finds the total, also one that has no part of it.
        let (first, reads) = match share.lines {
            1 => (self.b.constant(0), self.b.indices().always(true)),
            _ => {
                let (which, _) = self.split(self.worker, group);
                (self.b.indices().scale(which, group / each), standing.here)
            }
        };
        let count = self.b.constant(leaves);
        let (mine, rest) = self.split(self.worker, each);
        let first_of_own = self.b.indices().subtract(standing.lane, rest);
        let within = self.b.indices().less(first_of_own, count);
        let zero = self.b.constant(0);
        let is_first = self.b.indices().equal(rest, zero);
        let parts = (share.active() / each) as u64;
        self.beside_shared();
        let values = self.shared_in_each(stored, parts)?;
        let at = match own.at {
            Some(_) => Some(self.shared_in_each(ElementType::I32, parts)?),
            None => None,
        };
        // Who tells which block: each thread all of them what is its own, or what is of a warp each block another thread of it.
        let blocks = i64::from(self.b.kernel().cluster);
        let tells = match (blocks, each) {
            (1, _) => vec![(None, is_first)],
            (_, 1) => (0..blocks)
                .map(|block| (Some(self.b.constant(block)), is_first))
                .collect(),
            _ => {
                let end = self.b.constant(blocks);
                vec![(Some(self.split(rest, blocks).1), self.b.indices().less(rest, end))]
            }
        };
        for (block, is_told) in tells {
            let kept = self.b.indices().all([standing.here, within, is_told]);
            self.where_needed(kept, |lower| {
                let to = lower.element_place(values, mine, stored);
                lower.put_in(block, to, own.value);
                if let (Some(buffer), Some(at)) = (at, own.at) {
                    let to = lower.element_place(buffer, mine, ElementType::I32);
                    lower.put_in(block, to, at);
                }
                Ok(())
            })?;
        }
        self.barrier();
        self.reads_shared(values);
        at.into_iter().for_each(|at| self.reads_shared(at));
        let leaves = (leaves.min(group) + each - 1) / each;
        let count = self.b.constant(leaves);
        let rows = (group / each + warp - 1) / warp;
        let mut parts = Vec::with_capacity(rows as usize);
        for row in 0..rows {
            let leaf = self.b.indices().offset(lane, row * warp);
            let within = self.b.indices().less(leaf, count);
            if self.b.kernel().indices.is_known(within) == Some(false) {
                break;
            }
            let needed = self.b.indices().all([reads, within]);
            let from = self.b.indices().add(first, leaf);
            let part = self.where_needed(needed, |lower| {
                let place = lower.element_place(values, from, stored);
                let value = lower.fetch(place, stored, line.element);
                let at = at.map(|buffer| {
                    let place = lower.element_place(buffer, from, ElementType::I32);
                    lower.fetch(place, ElementType::I32, ElementType::I32)
                });
                Ok(Partial { value, at })
            })?;
            parts.push((leaf, part));
        }
        let own = self.joined(reduction, parts, rows, leaves, Order::Any)?;
        self.across(reduction, own, lane, leaves, warp)
    }

    /// Parts and their numbers, of which those below `end` are something: `count`, a power of two, combined by halves. Where the
    /// first of equal ones is told by its place, neighbours are combined instead: halves have each other's elements between
    /// theirs.
    fn joined(
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

    /// What the first thread of the program in a warp has found.
    fn of_first(&mut self, total: Partial) -> Use {
        let together = self.together_in_warp();
        match together {
            1 => total.found(),
            _ => self.shuffled(Shuffle::From, total.found(), 0, together),
        }
    }

    /// What the program's first thread has found, handed to all others.
    fn handed_on(&mut self, total: Partial) -> Result<Use, LowerError> {
        let found = total.found();
        let element = self.b.element(found);
        let stored = memory_type(element);
        self.beside_shared();
        let buffer = self.shared(stored, 1)?;
        let zero = self.b.constant(0);
        let (place, first) = (
            self.element_place(buffer, zero, stored),
            self.b.indices().equal(self.worker, zero),
        );
        self.where_needed(first, |lower| {
            lower.put(place, found);
            Ok(())
        })?;
        self.barrier();
        self.reads_shared(buffer);
        Ok(self.fetch(place, stored, element))
    }

    /// The number of an item's group, and its number in it.
    pub(in crate::lower) fn split(&mut self, item: Handle<Index>, group: i64) -> (Handle<Index>, Handle<Index>) {
        let by = self.b.constant(group);
        let which = self.b.indices().quotient(item, by);
        (which, self.b.indices().remainder(item, by))
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

    /// The same, where all groups of a warp have the same: a warp may find at once what does not change by being taken twice.
    fn across_alike(
        &mut self,
        reduction: &Reduction,
        own: Partial,
        lane: Handle<Index>,
        count: i64,
        group: i64,
    ) -> Result<Total, LowerError> {
        let takes_again = match reduction {
            Reduction::Combine(Combine::Operator(op)) => !matches!(op, BinaryOp::Add | BinaryOp::Xor),
            Reduction::Combine(Combine::Function(_)) => false,
            Reduction::ArgMin | Reduction::ArgMax => true,
        };
        let is_sooner = group >= LEAST_AT_ONCE && takes_again && self.together_in_warp() == Self::warp();
        if is_sooner && let Some(total) = self.reduced_by_warp(reduction, own, lane, count)? {
            return Ok(Total { total, in_group: true });
        }
        self.across(reduction, own, lane, count, group)
    }

    /// Combines what the threads of a group have, of whom `count` have something; the first one has the total at least.
    fn across(
        &mut self,
        reduction: &Reduction,
        mut own: Partial,
        lane: Handle<Index>,
        mut count: i64,
        group: i64,
    ) -> Result<Total, LowerError> {
        if group == Self::warp()
            && self.together_in_warp() == group
            && let Some(total) = self.reduced_by_warp(reduction, own, lane, count)?
        {
            return Ok(Total { total, in_group: true });
        }
        // Both of a pair find the same: no operator that lines are reduced by tells left from right.
        let operator = match reduction {
            Reduction::Combine(Combine::Operator(op)) => Some(*op),
            _ => None,
        };
        if count < group
            && let Some(neutral) = operator.and_then(|op| neutral(op, self.b.element(own.value)))
        {
            let end = self.b.constant(count);
            let there = self.b.indices().less(lane, end);
            own.value = self.chosen(there.into(), own.value, neutral.into())?;
            count = group;
        }
        let is_operator = operator.is_some();
        let in_group = group == 1 || (is_operator && count >= group);
        let kind = if in_group { Shuffle::Exchange } else { Shuffle::Down };
        // All of a warp's threads of the program take part, so that it is known which do; who is told of another group's
        // has no use for it.
        let (mut half, together) = (group / 2, self.together_in_warp());
        while half > 0 {
            let other = Partial {
                value: self.shuffled(kind, own.value, half, together),
                at: own.at.map(|at| self.shuffled(kind, at, half, together)),
            };
            // Those behind the first half have no more use for theirs; of the others all have a partner after the first step.
            let (behind, end) = (self.b.indices().offset(lane, half), self.b.constant(count));
            let there = match half == group / 2 && count < group {
                true => self.b.indices().less(behind, end),
                false => self.b.indices().always(true),
            };
            own = self.better(reduction, own, other, there, Order::Any)?;
            half /= 2;
        }
        Ok(Total { total: own, in_group })
    }

    /// `to` combined with `from` where that is there.
    fn better(
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
