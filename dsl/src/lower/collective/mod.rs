//! Operations in which elements of a tile meet. All threads of the program take part, and results are in shared memory,
//! where every thread finds them.
//!
//! Nothing here depends on the number of threads but the time it takes: the order in which elements are combined is the
//! one that [`Expression::Reduce`] and [`Expression::Scan`] state.

mod reduce;
mod scan;
mod sort;

use super::access::memory_type;
use super::held::Held;
use super::point::Point;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{AtomicOp, Combine, Expression, Handle, Literal, MemoryOrder, MemoryScope, Reduction, Shape};
use crate::schedule::WARP;
use crate::thread::{self, Buffer, Index, Operation, Predicate, Shuffle, Unroll, Update, Use};

/// Elements that are combined first.
const CHUNK: i64 = Expression::CHUNK as i64;

/// A tile, seen as lines along one axis: one for each *place* on the others.
#[derive(Debug, Clone, Copy)]
struct Line {
    value: Handle<Expression>,
    element: ElementType,
    shape: Shape,
    axis: usize,
    /// Elements of a line.
    extent: i64,
    /// How many lines.
    places: i64,
}

impl Line {
    /// Chunks of a line.
    fn chunks(&self) -> i64 {
        (self.extent + CHUNK - 1) / CHUNK
    }
}

impl Lower<'_> {
    /// The collective operation that defines `value`.
    pub(super) fn collective(&mut self, value: Handle<Expression>) -> Result<(), LowerError> {
        let kernel = self.kernel;
        let (ty, node) = (kernel.ty(value), &kernel.expressions[value]);
        let stored = match node {
            Expression::Reduce {
                reduction: Reduction::ArgMin | Reduction::ArgMax,
                ..
            }
            | Expression::ArgSort { .. } => ElementType::I32,
            _ => memory_type(ty.element),
        };
        let result = self.shared(stored, ty.shape.elements())?;
        let top = self.shared_top;
        self.before_shared();
        // Elements are read by whoever is about to combine them, which may be anybody.
        let mut operands = Vec::new();
        node.for_each_operand(|operand| operands.push(operand));
        let brought = self.bring(|lower| {
            for &operand in &operands {
                let rank = kernel.ty(operand).shape.rank();
                let point = (0..rank).map(|_| lower.anywhere()).collect();
                lower.pull(operand, &point)?;
            }
            Ok(())
        })?;
        self.pulled.push(Default::default());
        let done = self.collective_into(node, result);
        self.pulled.pop();
        done?;
        self.let_go(&brought, top);
        let held = Held::Shared(result, stored);
        match ty.is_scalar() {
            true => {
                let total = self.held_at(value, &held, &Point::new())?;
                self.scalars.insert(value, total);
            }
            false => drop(self.held.insert(value, held)),
        }
        Ok(())
    }

    fn collective_into(&mut self, node: &Expression, result: Handle<Buffer>) -> Result<(), LowerError> {
        match node {
            Expression::Reduce { value, axis, reduction } => {
                let line = self.line(*value, *axis);
                self.reduce(&line, reduction, result)?;
            }
            Expression::Scan { value, axis, combine } => {
                let line = self.line(*value, *axis);
                self.scan(&line, combine, result)?;
            }
            Expression::ArgSort {
                value,
                axis,
                descending,
            } => {
                let line = self.line(*value, *axis);
                self.argsort(&line, *descending, result)?;
            }
            Expression::Histogram { value, mask, bins } => self.histogram(*value, *mask, (*bins).into(), result)?,
            _ => return self.defect("this operation"),
        }
        self.barrier();
        Ok(())
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
        }
    }

    fn histogram(
        &mut self,
        value: Handle<Expression>,
        mask: Option<Handle<Expression>>,
        bins: i64,
        result: Handle<Buffer>,
    ) -> Result<(), LowerError> {
        let shape = self.kernel.ty(value).shape;
        self.each(bins as u64, |lower, bin| {
            let place = lower.element_place(result, bin, ElementType::I32);
            lower.put(place, Literal::new(0i32).into());
            Ok(())
        })?;
        self.barrier();
        self.each(shape.elements(), |lower, e| {
            let point = lower.at_position(e, shape);
            let counted = lower.pull(value, &point)?;
            let bin = lower.b.index(counted);
            let end = lower.b.constant(bins);
            let mut conditions = vec![lower.b.indices().within(bin, end)];
            if let Some(mask) = mask {
                let mask = lower.pull(mask, &point)?;
                conditions.push(lower.b.condition(mask));
            }
            let here = lower.b.indices().all(conditions);
            let place = lower.element_place(result, bin, ElementType::I32);
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
            lower.b.atomic(atomic, false);
            Ok(())
        })
    }

    /// `body` for each of so many items, by some thread each, all threads as often: they may meet in it. It is told
    /// whether there is an item for the thread.
    fn together(
        &mut self,
        items: i64,
        body: impl FnOnce(&mut Self, Handle<Index>, Handle<Predicate>) -> Result<(), LowerError>,
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

    /// `body` so often, by all threads.
    fn so_often(
        &mut self,
        trips: i64,
        body: impl FnOnce(&mut Self, Handle<Index>) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let (start, end) = (self.b.constant(0), self.b.constant(trips));
        if trips == 1 {
            return body(self, start);
        }
        let label = self.b.label();
        let (trip, variable) = self.b.counter(start, end, 1);
        let body = self.inside(|lower| body(lower, trip))?;
        self.b.push(thread::Statement::For {
            label,
            variable,
            start,
            end,
            step: 1,
            unroll: Unroll::Never,
            body,
        });
        Ok(())
    }

    /// A coordinate of which nothing is known: threads without an item are beyond the tile.
    fn anywhere(&mut self) -> Handle<Index> {
        const FAR: i64 = 1 << 40;
        let (start, end) = (self.b.constant(-FAR), self.b.constant(FAR));
        self.b.counter(start, end, 1).0
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
        let first = self.b.indices().scale(chunk, CHUNK);
        let extent = self.b.constant(line.extent);
        let mut elements = Vec::with_capacity(CHUNK as usize);
        for i in 0..CHUNK {
            let along = self.b.indices().offset(first, i);
            let there = self.b.indices().less(along, extent);
            let point = self.on_line(line, place, along);
            let element = self.where_needed(there, |lower| lower.pull(line.value, &point))?;
            elements.push((along, element));
        }
        Ok(elements)
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
    fn shuffled(&mut self, kind: Shuffle, value: Use, by: i64, group: i64) -> Use {
        let element = self.b.element(value);
        let value = self.as_stored(value);
        let operation = Operation::Shuffle {
            kind,
            value,
            by: Literal::new(by as u32).into(),
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

    /// Threads that meet without a barrier.
    const fn warp() -> i64 {
        WARP as i64
    }
}
