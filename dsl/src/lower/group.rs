//! The elements of a store, emitted as its distribution says: all loads of a thread's accesses in flight before its
//! first store.

use super::point::Point;
use super::{Distribution, Form, Lower, LowerError};
use crate::ir::{Access, Block, Conflict, Expression, Handle, Shape, Statement};
use crate::stack::room;
use crate::thread::{self, Index, Predicate, Unroll, Use, passes::Why};

/// Rows that may be written one after the other.
const MOST_ROWS: u64 = 4;

impl Lower<'_> {
    pub(super) fn store(
        &mut self,
        access: &Access,
        value: Handle<Expression>,
        conflict: Option<Conflict>,
    ) -> Result<(), LowerError> {
        self.before_write(access.tensor);
        let shape = self.kernel.ty(value).shape;
        // Behind the barrier, or a thread would mark what another has yet to mark for the store before.
        self.mark_store(access, shape, conflict)?;
        self.access_span = self.span;
        let operands: Vec<_> = access.operands().chain([value]).collect();
        let held = self.are_made_of_held(&operands);
        let (distribution, why) = match held {
            _ if conflict == Some(Conflict::LastWins) && !self.is_apart(access) => {
                (self.distribute_in_order(shape), Some(Why::InOrder))
            }
            true => (self.distribute_held(shape), Some(Why::Held)),
            false => self.distribute(access, value)?,
        };
        self.distributions.push((self.span, distribution.clone()));
        let is_alone = matches!(distribution.form, Form::Elements { .. } | Form::InOrder { .. });
        let before = std::mem::replace(&mut self.alone, why.filter(|_| is_alone));
        self.hinted = matches!(distribution.form, Form::Packets { .. } | Form::Rows { .. });
        let group = Group {
            access,
            value,
            shape,
            distribution: &distribution,
            held,
        };
        let result = self.with_others(&operands, |lower| {
            lower.pulled.push(Default::default());
            let result = lower.group(&group);
            lower.pulled.pop();
            result
        });
        self.hinted = false;
        self.alone = before;
        self.has_written(access.tensor);
        result
    }

    fn group(&mut self, group: &Group<'_>) -> Result<(), LowerError> {
        match group.distribution.form {
            Form::Alone => {
                let zero = self.b.constant(0);
                let first = self.b.indices().equal(self.worker, zero);
                let block = self.inside(|lower| lower.element(group, Point::new()))?;
                self.when(first, block);
                Ok(())
            }
            Form::InOrder { elements } => self.once(|lower| {
                let (zero, end) = (lower.b.constant(0), lower.b.constant(elements as i64));
                lower.counted(zero, end, 1, Unroll::Never, |lower, e| {
                    let point = lower.at_position(e, group.shape);
                    lower.element(group, point)
                })
            }),
            Form::Packets { lanes, packets } => {
                let count = self.b.constant(packets as i64);
                self.rounds(group, count, |lower, q| Ok(lower.packet_point(group.shape, lanes, q)))
            }
            Form::Elements { elements } => {
                let count = self.b.constant(elements as i64);
                self.rounds(group, count, |lower, q| Ok(lower.at_position(q, group.shape)))
            }
            Form::Rows { rows, .. } => {
                if rows == 1 {
                    let zero = self.b.constant(0);
                    return self.row(group, zero);
                }
                let (zero, end) = (self.b.constant(0), self.b.constant(rows as i64));
                // A row is long enough: many of them one after the other would only be more text.
                let unroll = if rows > MOST_ROWS { Unroll::Never } else { Unroll::Free };
                self.counted(zero, end, 1, unroll, |lower, row| lower.row(group, row))
            }
        }
    }

    pub(super) fn when(&mut self, condition: Handle<Predicate>, accept: thread::Block) {
        self.b.push(thread::Statement::If {
            condition,
            accept,
            reject: thread::Block::new(),
        });
    }

    /// One row whose ends are no multiples of 16 bytes.
    fn row(&mut self, group: &Group<'_>, row: Handle<Index>) -> Result<(), LowerError> {
        let Form::Rows { lanes, aligned, .. } = group.distribution.form else {
            return Ok(());
        };
        let columns = i64::from(group.shape.innermost());
        let outer = self.outer_point(group.shape, row);
        let zero = self.b.constant(0);
        // An element's address is a multiple of its size, so a whole number of elements precedes the boundary.
        let head = match aligned {
            true => zero,
            false => {
                let mut start = outer.clone();
                start.push(zero);
                let quiet = std::mem::replace(&mut self.quiet, true);
                let place = self.place(group.access, &start, group.shape);
                self.quiet = quiet;
                let place = place?.place;
                let size = self
                    .kernel
                    .tensor(group.access.tensor)
                    .map_or(1, |tensor| tensor.element.size());
                let address = match place.pointer {
                    Some(pointer) => self.b.index(pointer.into()),
                    None => self.b.address(place.buffer),
                };
                let at = self.b.indices().add(address, place.offset);
                let negative = self.b.indices().scale(at, -1);
                let bytes = self.b.indices().low(negative, 4);
                let size = self.b.constant(size as i64);
                self.b.indices().quotient(bytes, size)
            }
        };
        let (all, width) = (self.b.constant(columns), self.b.constant(lanes.into()));
        let behind = self.b.indices().subtract(all, head);
        let packets = self.b.indices().quotient(behind, width);
        self.rounds(group, packets, |lower, q| {
            let first = lower.b.indices().scale(q, lanes.into());
            let lane = lower.b.lane(lanes);
            let inner = lower.b.indices().add(first, lane);
            let mut point = outer.clone();
            point.push(lower.b.indices().add(head, inner));
            Ok(point)
        })?;
        // The ends, which are fewer than two packets.
        let whole = self.b.indices().scale(packets, lanes.into());
        let rest = self.b.indices().subtract(all, whole);
        let hinted = std::mem::replace(&mut self.hinted, false);
        let ends = |lower: &mut Self, e: Handle<Index>| {
            let before = lower.b.indices().less(e, head);
            let beyond = lower.b.indices().add(e, whole);
            let mut point = outer.clone();
            point.push(lower.b.indices().select(before, e, beyond));
            lower.element(group, point)
        };
        if group.distribution.workers >= 2 * u64::from(lanes) {
            let here = self.b.indices().less(self.worker, rest);
            let worker = self.worker;
            let block = self.inside(|lower| ends(lower, worker))?;
            self.when(here, block);
        } else {
            let (start, step) = (self.worker, group.distribution.workers as i64);
            self.counted(start, rest, step, Unroll::Never, ends)?;
        }
        self.hinted = hinted;
        Ok(())
    }

    /// One element, by whoever is here.
    fn element(&mut self, group: &Group<'_>, point: Point) -> Result<(), LowerError> {
        let value = self.pull(group.value, &point)?;
        self.store_at(group, &point, value, None)
    }

    /// All items, `point` of which says where the elements of the one with a number are: so many in flight, as often as
    /// the distribution says.
    fn rounds(
        &mut self,
        group: &Group<'_>,
        count: Handle<Index>,
        point: impl Fn(&mut Self, Handle<Index>) -> Result<Point, LowerError>,
    ) -> Result<(), LowerError> {
        let Distribution {
            in_flight,
            rounds,
            workers,
            ..
        } = *group.distribution;
        let zero = self.b.constant(0);
        if rounds == 1 {
            return self.round(group, count, zero, &point);
        }
        let end = self.b.constant(rounds as i64);
        self.counted(zero, end, 1, Unroll::Never, |lower, round| {
            let base = lower.b.indices().scale(round, (in_flight * workers) as i64);
            lower.round(group, count, base, &point)
        })
    }

    fn round(
        &mut self,
        group: &Group<'_>,
        count: Handle<Index>,
        base: Handle<Index>,
        point: &impl Fn(&mut Self, Handle<Index>) -> Result<Point, LowerError>,
    ) -> Result<(), LowerError> {
        let first = self.b.indices().add(base, self.worker);
        let by_pairs = match group.distribution.form {
            Form::Packets { lanes, .. } if group.held && self.stores_by_pairs(group, lanes) => Some(lanes),
            _ => None,
        };
        let mut loaded: Vec<(Handle<Index>, Point, Use, Handle<Predicate>)> = Vec::new();
        for u in 0..group.distribution.in_flight {
            let q = self.b.indices().offset(first, (u * group.distribution.workers) as i64);
            let here = self.b.indices().less(q, count);
            if self.b.kernel().indices.is_known(here) == Some(false) {
                continue;
            }
            let point = point(self, q)?;
            let value = self.where_needed(here, |lower| lower.pull(group.value, &point))?;
            loaded.push((q, point, value, here));
        }
        for (q, point, value, here) in loaded {
            match by_pairs {
                Some(lanes) => self.store_pair(group, q, count, value, lanes)?,
                None => self.store_at(group, &point, value, Some(here))?,
            }
        }
        Ok(())
    }

    pub(super) fn store_at(
        &mut self,
        group: &Group<'_>,
        point: &Point,
        value: Use,
        here: Option<Handle<Predicate>>,
    ) -> Result<(), LowerError> {
        let here = match here {
            Some(here) => here,
            None => self.b.indices().always(true),
        };
        self.where_needed(here, |lower| {
            lower.store_element(group.access, point, group.shape, value)
        })
    }

    /// The point of packet `q` of all rows end to end.
    fn packet_point(&mut self, shape: Shape, lanes: u8, q: Handle<Index>) -> Point {
        if !shape.innermost().is_multiple_of(lanes.into()) {
            return self.point_in_run(shape, lanes, q);
        }
        let packets = shape.innermost() / u32::from(lanes);
        // Of one row there is nothing to take apart, also where a packet is none of it.
        let (row, column) = match shape.elements() == u64::from(shape.innermost()) {
            true => (self.b.constant(0), q),
            false => {
                let packets = self.b.constant(packets.into());
                let row = self.b.indices().quotient(q, packets);
                (row, self.b.indices().remainder(q, packets))
            }
        };
        let first = self.b.indices().scale(column, lanes.into());
        let lane = self.b.lane(lanes);
        let mut point = self.outer_point(shape, row);
        point.push(self.b.indices().add(first, lane));
        point
    }

    /// The point of packet `q` of a tile whose rows are one run of neighbours.
    pub(super) fn point_in_run(&mut self, shape: Shape, lanes: u8, q: Handle<Index>) -> Point {
        let first = self.b.indices().scale(q, lanes.into());
        let lane = self.b.lane(lanes);
        let position = self.b.indices().add(first, lane);
        self.at_position(position, shape)
    }

    /// The outer coordinates of a row.
    fn outer_point(&mut self, shape: Shape, row: Handle<Index>) -> Point {
        let extents = shape.extents();
        match Shape::new(&extents[..extents.len() - 1]) {
            Some(outer) if outer.rank() > 0 => self.at_position(row, outer),
            _ => Point::new(),
        }
    }

    /// Whether every use of a load from a tensor that the kernel writes is in the one store that writes the same elements of
    /// it, further on in the same block: each thread then reads what only it writes, whenever it does.
    pub(super) fn is_deferred(&self, load: Handle<Expression>) -> bool {
        let kernel = self.kernel;
        let Expression::Load(access) = &kernel.expressions[load] else {
            return false;
        };
        let made_of = |value| kernel.is_made_of(value, |_| true, |inner| inner == load);
        let (mut stores, mut changes, mut others) = (0, false, false);
        kernel.body.walk(&mut |statement, _| match statement {
            Statement::Store { access: to, value, .. } => {
                let in_place = to == access && self.is_apart(to) && !to.operands().any(made_of);
                stores += usize::from(to.tensor == access.tensor);
                others |= (made_of(*value) || to.operands().any(made_of)) && !in_place;
            }
            Statement::Let(value) => {
                changes |= matches!(&kernel.expressions[*value], Expression::Atomic(_));
                // What every thread has is computed where it stands.
                let node = &kernel.expressions[*value];
                let here = kernel.ty(*value).is_scalar() || node.is_collective() || matches!(node, Expression::Load(_));
                others |= *value != load && here && made_of(*value);
            }
            other => other.for_each_use(|value| others |= made_of(value)),
        });
        let of = |statement: &Statement| match statement {
            Statement::Let(value) => *value == load,
            Statement::Store { access: to, .. } => to == access,
            _ => false,
        };
        stores == 1 && !changes && !others && has_both(&kernel.body, &of)
    }

    /// Whether no two elements of an access are in one place: one of its axes has elements, and an index moves with it.
    fn is_apart(&self, access: &Access) -> bool {
        let Some(shape) = crate::analysis::contiguity::access_shape(self.kernel, access) else {
            return false;
        };
        let long: Vec<usize> = (0..shape.rank()).filter(|&axis| shape.extents()[axis] > 1).collect();
        let advances = |axis: usize| {
            access.indices.iter().any(|&index| {
                let own = crate::analysis::contiguity::broadcast_axis(self.kernel.ty(index).shape, shape, axis);
                own.and_then(|own| crate::analysis::contiguity::step(self.kernel, index, own))
                    .is_some_and(|by| by != 0)
            })
        };
        let clamped = access.bounds == crate::ir::Bounds::Clamp && access.is_guarded();
        match long.as_slice() {
            [] => true,
            [axis] => !clamped && advances(*axis),
            _ => false,
        }
    }
}

/// Whether two statements of which `is_one` tells are in one block, not in ones inside it.
fn has_both(block: &Block, is_one: &impl Fn(&Statement) -> bool) -> bool {
    if block.iter().filter(|(statement, _)| is_one(statement)).count() == 2 {
        return true;
    }
    let mut found = false;
    for (statement, _) in block {
        statement.for_each_block(|inner| found |= room(|| has_both(inner, is_one)));
    }
    found
}

/// One store of a tile.
pub(super) struct Group<'a> {
    pub(super) access: &'a Access,
    value: Handle<Expression>,
    pub(super) shape: Shape,
    distribution: &'a Distribution,
    /// Whether threads hold what it is made of.
    held: bool,
}
