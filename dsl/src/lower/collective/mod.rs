//! Operations in which elements of a tile meet. All threads of the program take part. Results are in shared memory, where
//! every thread finds them; the only one of a line that is reduced every thread has.
//!
//! Nothing here depends on the number of threads but the time it takes: the order in which elements are combined is the
//! one that [`Expression::Reduce`] and [`Expression::Scan`] state.

mod across;
mod count;
mod keys;
mod long;
mod network;
mod partial;
mod reduce;
mod scan;
mod select;
mod sort;
mod warp;

use super::access::memory_type;
use super::held::{Held, MOST_REGISTERS};
use super::layout::LEAST_CHUNK;
use super::point::Point;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{AtomicOp, Combine, Expression, Handle, Literal, MemoryOrder, MemoryScope, Reduction, Shape};
use crate::schedule::{VECTOR_BYTES, WARP};
use crate::thread::{self, Buffer, Index, Operation, Predicate, Shuffle, Unroll, Update, Use};

/// Elements that are combined first.
const CHUNK: i64 = Expression::CHUNK as i64;

/// Trips of a loop that are written one after the other.
const MOST_TRIPS: i64 = 4;

/// Bytes that a thread loads at most before it counts what they are; with more its registers are too few for blocks beside each other.
const MOST_AHEAD_BYTES: u64 = 112;

/// Elements in shared memory, and the type that they have there.
type Kept = (Handle<Buffer>, ElementType);

/// A tile, seen as lines along one axis: one for each *place* on the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    value: Handle<Expression>,
    element: ElementType,
    shape: Shape,
    axis: usize,
    /// Elements of a line.
    extent: i64,
    /// How many lines.
    places: i64,
    /// Elements that are combined first: as many as [`Expression::Reduce`] says, or those of a packet where any order will do.
    chunk: i64,
}

/// The line that a thread works on, its number among those who do, and whether it does.
#[derive(Debug, Clone, Copy)]
struct Standing {
    place: Handle<Index>,
    lane: Handle<Index>,
    here: Handle<Predicate>,
}

impl Line {
    /// Elements that are combined first.
    pub(super) fn chunk(&self) -> u8 {
        self.chunk as u8
    }

    /// Chunks of a line.
    fn chunks(&self) -> i64 {
        (self.extent + self.chunk - 1) / self.chunk
    }

    /// Partial results that are combined by halves, at most.
    fn most_leaves(&self) -> i64 {
        Expression::LEAVES as i64 * CHUNK / self.chunk
    }
}

impl Lower<'_> {
    /// The collective operation that defines `value`.
    pub(super) fn collective(&mut self, value: Handle<Expression>) -> Result<(), LowerError> {
        self.keep_for(value)?;
        let kernel = self.kernel;
        let (ty, node) = (kernel.ty(value), &kernel.expressions[value]);
        let result = self.result_of(value)?;
        let top = self.shared_top;
        if result.is_some() {
            self.before_shared();
        }
        let mut operands = Vec::new();
        node.for_each_operand(|operand| operands.push(operand));
        let held = self.with_others(&operands, |lower| {
            lower.pulled.push(Default::default());
            let held = lower.collected(value, result);
            lower.pulled.pop();
            held
        })?;
        self.shared_top = top;
        match held {
            Held::Everywhere(only) if ty.is_scalar() => drop(self.scalars.insert(value, only)),
            held => {
                if matches!(held, Held::Lines(_)) {
                    self.order.unmet.insert(value);
                    if !self.meets_once(value) {
                        self.barrier();
                    }
                }
                self.held.insert(value, held);
            }
        }
        Ok(())
    }

    /// The operation, done to see what it takes.
    pub(super) fn collective_once(&mut self, value: Handle<Expression>) -> Result<(), LowerError> {
        let result = self.result_of(value)?;
        self.collected(value, result).map(drop)
    }

    /// Shared memory for what becomes of an operation, unless it is one element or stays with the threads.
    fn result_of(&mut self, value: Handle<Expression>) -> Result<Option<Kept>, LowerError> {
        let ty = self.kernel.ty(value);
        let (stored, elements) = match &self.kernel.expressions[value] {
            Expression::Reduce { .. } if ty.shape.elements() == 1 => return Ok(None),
            Expression::Scan { value, axis, .. } if self.scans_own(&self.line(*value, *axis)) => return Ok(None),
            Expression::ArgSort { value: of, axis, .. } => self.kept_of_sort(value, &self.line(*of, *axis)),
            Expression::Reduce {
                reduction: Reduction::ArgMin | Reduction::ArgMax,
                ..
            } => (ElementType::I32, ty.shape.elements()),
            _ => (memory_type(ty.element), ty.shape.elements()),
        };
        let buffer = self.shared(stored, elements)?;
        Ok(Some((buffer, stored)))
    }

    fn collected(&mut self, value: Handle<Expression>, result: Option<Kept>) -> Result<Held, LowerError> {
        let kernel = self.kernel;
        match (&kernel.expressions[value], result) {
            (
                Expression::Reduce {
                    value: of,
                    axis,
                    reduction,
                },
                None,
            ) => {
                let line = self.line_to_reduce(*of, *axis, reduction);
                let decides = self.uses.decides(value);
                return self.reduce_to_one(&line, reduction, decides);
            }
            (Expression::Reduce { value, axis, reduction }, Some(result)) => {
                let line = self.line_to_reduce(*value, *axis, reduction);
                return self.reduce(&line, reduction, result);
            }
            (Expression::Scan { value, axis, combine }, result) => {
                let line = self.line(*value, *axis);
                match result {
                    Some((buffer, _)) => self.scan(&line, combine, buffer)?,
                    None => return self.scan_own(&line, combine),
                }
            }
            (
                Expression::ArgSort {
                    value: of,
                    axis,
                    descending,
                },
                Some(result),
            ) => {
                let line = self.line(*of, *axis);
                self.argsort(value, &line, *descending, result)?;
            }
            (Expression::Histogram { value, mask, bins }, Some((buffer, _))) => {
                self.histogram(*value, *mask, (*bins).into(), buffer)?;
            }
            _ => return self.defect("this operation"),
        }
        match result {
            Some((buffer, stored)) => Ok(Held::Shared(buffer, stored)),
            None => self.defect("a tile that is nowhere"),
        }
    }

    fn line(&self, value: Handle<Expression>, axis: u8) -> Line {
        let ty = self.kernel.ty(value);
        let extent = i64::from(ty.shape.extents()[usize::from(axis)]);
        Line {
            value,
            element: ty.element,
            shape: ty.shape,
            axis: axis.into(),
            extent,
            places: ty.shape.elements() as i64 / extent,
            chunk: CHUNK,
        }
    }

    /// A line that is reduced.
    pub(super) fn line_to_reduce(&self, value: Handle<Expression>, axis: u8, reduction: &Reduction) -> Line {
        let line = self.line(value, axis);
        let lanes = i64::from(self.layout(line.shape).lanes);
        let is_innermost = line.axis + 1 == line.shape.rank();
        match is_innermost && reduction.takes_any_order(line.element) && (LEAST_CHUNK.into()..CHUNK).contains(&lanes) {
            true => Line { chunk: lanes, ..line },
            false => line,
        }
    }

    fn histogram(
        &mut self,
        value: Handle<Expression>,
        mask: Option<Handle<Expression>>,
        bins: i64,
        result: Handle<Buffer>,
    ) -> Result<(), LowerError> {
        let ty = self.kernel.ty(value);
        // A short tile is on its way while the bins are emptied.
        let layout = self.layout(ty.shape);
        let bytes = layout.elements() * ty.element.size() as u64;
        let is_short = layout.elements() <= MOST_REGISTERS && bytes <= MOST_AHEAD_BYTES;
        let mut ahead = Vec::new();
        if is_short {
            self.each_packet(ty, |lower, _, point| {
                ahead.push(lower.packet_to_count(value, mask, point)?);
                Ok(())
            })?;
        }
        self.empty_bins(bins, result)?;
        self.barrier();
        let mut ahead = ahead.into_iter();
        self.each_packet(ty, |lower, _, point| {
            let (counted, mask) = match ahead.next() {
                Some(packet) => packet,
                None => lower.packet_to_count(value, mask, point)?,
            };
            for lane in 0..layout.lanes {
                let element = lower.lane_of(counted, lane);
                let counts = mask.map(|mask| lower.lane_of(mask, lane));
                lower.count(element, counts, bins, result);
            }
            Ok(())
        })?;
        self.barrier();
        Ok(())
    }

    /// A packet, and which of its elements count.
    fn packet_to_count(
        &mut self,
        value: Handle<Expression>,
        mask: Option<Handle<Expression>>,
        point: &Point,
    ) -> Result<(Use, Option<Use>), LowerError> {
        let counted = self.pull(value, point)?;
        let mask = mask.map(|mask| self.pull(mask, point)).transpose()?;
        Ok((counted, mask))
    }

    fn empty_bins(&mut self, bins: i64, result: Handle<Buffer>) -> Result<(), LowerError> {
        let most = i64::from(VECTOR_BYTES) / ElementType::I32.size() as i64;
        let lanes = if bins % most == 0 { most } else { 1 };
        self.together(bins / lanes, |lower, packet, here| {
            let at = lower.packet_at(packet, lanes as u8);
            let place = lower.element_place(result, at, ElementType::I32);
            let none = lower.in_lanes(Literal::new(0i32).into(), lanes as u8);
            lower.where_needed(here, |lower| {
                lower.put(place, none);
                Ok(())
            })
        })
    }

    /// Counts an element where it is needed and, if that is said, counts.
    fn count(&mut self, element: Use, counts: Option<Use>, bins: i64, result: Handle<Buffer>) {
        let (bin, end) = (self.b.index(element), self.b.constant(bins));
        let mut conditions = vec![self.b.indices().within(bin, end)];
        conditions.extend(counts.map(|counts| self.b.condition(counts)));
        conditions.extend(self.needed);
        let here = self.b.indices().all(conditions);
        let place = self.element_place(result, bin, ElementType::I32);
        let atomic = thread::Atomic {
            place,
            element: ElementType::I32,
            update: Update::Combine {
                op: AtomicOp::Add,
                value: Literal::new(1i32).into(),
            },
            order: MemoryOrder::Relaxed,
            scope: MemoryScope::Block,
            result: None,
            predicate: Some(here),
        };
        self.b.atomic(atomic, false);
    }

    /// `body` for each of so many items, by some thread each, all threads as often: they may meet in it. It is told
    /// whether there is an item for the thread.
    fn together(
        &mut self,
        items: i64,
        mut body: impl FnMut(&mut Self, Handle<Index>, Handle<Predicate>) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let threads = i64::from(self.schedule.threads);
        let trips = (items + threads - 1) / threads;
        self.so_often(trips, |lower, trip| {
            let first = lower.b.indices().scale(trip, threads);
            let item = lower.b.indices().add(first, lower.worker);
            let end = lower.b.constant(items);
            let here = lower.b.indices().less(item, end);
            body(lower, item, here)
        })
    }

    /// `body` so often, by all threads; a few times it is written one after the other.
    fn so_often(
        &mut self,
        trips: i64,
        mut body: impl FnMut(&mut Self, Handle<Index>) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        if trips <= MOST_TRIPS {
            return (0..trips).try_for_each(|trip| {
                let trip = self.b.constant(trip);
                body(self, trip)
            });
        }
        self.looped(trips, body)
    }

    /// `body` so often, by all threads, written once.
    fn looped(
        &mut self,
        trips: i64,
        body: impl FnOnce(&mut Self, Handle<Index>) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let (start, end) = (self.b.constant(0), self.b.constant(trips));
        match trips {
            0 => Ok(()),
            1 => body(self, start),
            _ => self.counted(start, end, 1, Unroll::Never, body),
        }
    }

    /// The element `along` the line at a place.
    fn on_line(&mut self, line: &Line, place: Handle<Index>, along: Handle<Index>) -> Point {
        let mut others = line.shape.extents().to_vec();
        others.remove(line.axis);
        let mut point = match Shape::new(&others) {
            Some(outer) if outer.rank() > 0 => self.at_position(place, outer),
            _ => Point::new(),
        };
        point.insert(line.axis, along);
        point
    }

    /// The elements of a chunk, and where each is on the line; beyond the line's end there is none.
    fn chunk(
        &mut self,
        line: &Line,
        place: Handle<Index>,
        chunk: Handle<Index>,
    ) -> Result<Vec<(Handle<Index>, Use)>, LowerError> {
        let first = self.b.indices().scale(chunk, line.chunk);
        let lanes = (line.extent as u64).next_power_of_two().min(line.chunk as u64) as u8;
        let lane = self.b.lane(lanes);
        let along = self.b.indices().add(first, lane);
        let there = match line.extent % i64::from(lanes) {
            0 => self.b.indices().always(true),
            _ => {
                let extent = self.b.constant(line.extent);
                self.b.indices().less(along, extent)
            }
        };
        let point = self.on_line(line, place, along);
        let packet = self.where_needed(there, |lower| lower.pull(line.value, &point))?;
        let element = |lane| {
            let along = self.b.indices().offset(first, i64::from(lane));
            (along, self.lane_of(packet, lane))
        };
        Ok((0..lanes).map(element).collect())
    }

    /// Two elements as one.
    fn combined(&mut self, combine: &Combine, left: Use, right: Use) -> Result<Use, LowerError> {
        let function = match combine {
            Combine::Operator(op) => return Ok(self.binary(*op, left, right)),
            Combine::Function(function) => function,
        };
        let mut values: Vec<Use> = Vec::with_capacity(function.expressions.len());
        for (_, expression) in function.expressions.iter() {
            let value = match expression {
                Expression::Literal(literal) => self.literal(*literal),
                Expression::Argument(0) => left,
                Expression::Argument(_) => right,
                operation => self.applied(operation, |_, operand| Ok(values[operand.index()]))?,
            };
            values.push(value);
        }
        Ok(values.swap_remove(function.result.index()))
    }

    /// What another thread of the group has for a value.
    pub(in crate::lower) fn shuffled(&mut self, kind: Shuffle, value: Use, by: i64, group: i64) -> Use {
        self.shuffled_by(kind, value, Literal::new(by as u32).into(), group)
    }

    fn shuffled_by(&mut self, kind: Shuffle, value: Use, by: Use, group: i64) -> Use {
        let element = self.b.element(value);
        let value = self.as_stored(value);
        let operation = Operation::Shuffle {
            kind,
            value,
            by,
            group: group as u32,
        };
        let found = self.b.emit(operation);
        match element {
            ElementType::Bool => {
                let holds = self.b.is_not_zero(found);
                self.as_index(holds)
            }
            _ => found,
        }
    }

    /// Threads of the program that are in one warp.
    pub(in crate::lower) fn together_in_warp(&self) -> i64 {
        i64::from(self.schedule.threads).min(Self::warp())
    }

    /// Threads that meet without a barrier.
    const fn warp() -> i64 {
        WARP as i64
    }
}
