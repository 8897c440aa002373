//! The elements of a store, emitted as its distribution says: all loads of a thread's accesses in flight before its
//! first store.

use super::distribution::SECTOR;
use super::point::Point;
use super::{Distribution, Form, LINE_BYTES, Lower, LowerError};
use crate::ir::{Access, Block, Conflict, Expression, Handle, Literal, Shape, Statement};
use crate::schedule::VECTOR_BYTES;
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
        let held = self.are_made_of_held(&operands) && !self.is_handed_over(access, value);
        let (distribution, why) = match held {
            _ if conflict == Some(Conflict::LastWins) && !self.is_apart(access) => {
                (self.distribute_in_order(shape), Some(Why::InOrder))
            }
            true if !self.schedule.wide => (self.distribute_held(shape), Some(Why::Scheduled)),
            true => (self.distribute_held(shape), Some(Why::Held)),
            false => match self.distribute_lines(access, value) {
                Some(distribution) => (distribution, Some(Why::Found)),
                None => self.distribute(access, value)?,
            },
        };
        self.distributions.push((self.span, distribution.clone()));
        let is_alone = match distribution.form {
            Form::Elements { .. } | Form::Lines { .. } | Form::InOrder { .. } => true,
            Form::Packets { .. } => held && !self.schedule.wide,
            Form::Alone | Form::Rows { .. } => false,
        };
        let before = std::mem::replace(&mut self.alone, why.filter(|_| is_alone));
        self.hinted = match distribution.form {
            Form::Packets { .. } | Form::Rows { .. } => true,
            // The schedule knows of single elements where it is what wants them.
            Form::Elements { .. } => !self.schedule.wide,
            Form::Alone | Form::Lines { .. } | Form::InOrder { .. } => false,
        };
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
                self.rounds(group, count, |lower, q| {
                    let point = lower.packet_point(group.shape, lanes, q);
                    let here = group.held.then(|| {
                        let e = lower.packet_at(q, lanes);
                        lower.is_in_tile(e, group.shape)
                    });
                    Ok(Item { point, here })
                })
            }
            Form::Lines { lines, group: threads } => {
                let (line, lane) = self.split(self.worker, threads as i64);
                let (zero, end) = (self.b.constant(0), self.b.constant(lines as i64));
                let (first, exists) = (self.b.indices().equal(lane, zero), self.b.indices().less(line, end));
                let here = self.b.indices().all([first, exists]);
                let point = self.at_position(line, group.shape);
                let value = self.where_needed(here, |lower| lower.pull(group.value, &point))?;
                self.store_at(group, &point, value, here)
            }
            Form::Elements { elements } => {
                let count = self.b.constant(elements as i64);
                self.rounds(group, count, |lower, q| Ok(Item::of(lower.at_position(q, group.shape))))
            }
            Form::Rows {
                lanes,
                rows,
                packets,
                by_lines,
                by_sectors,
                aligned,
                together,
            } => {
                let peeled = Peeled {
                    lanes: lanes.into(),
                    rows,
                    packets,
                    by_lines,
                    unit: if by_sectors { SECTOR as i64 } else { 1 },
                    aligned,
                };
                if rows == 1 || together {
                    return self.rows_together(group, &peeled);
                }
                let (zero, end) = (self.b.constant(0), self.b.constant(rows as i64));
                // A row is long enough: many of them one after the other would only be more text.
                let unroll = if rows > MOST_ROWS { Unroll::Never } else { Unroll::Free };
                self.counted(zero, end, 1, unroll, |lower, row| lower.row(group, &peeled, row))
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

    /// Packets of all rows, shared out together, and then all that is before and behind them.
    fn rows_together(&mut self, group: &Group<'_>, peeled: &Peeled) -> Result<(), LowerError> {
        let Peeled {
            lanes,
            rows,
            packets,
            unit,
            ..
        } = *peeled;
        let most = self.b.constant(packets as i64);
        let in_packets = |lower: &mut Self| {
            let count = lower.b.constant((rows * packets) as i64);
            lower.rounds(group, count, |lower, item| {
                let (row, nth) = lower.row_and_rest(item, rows, most);
                let row = lower.peeled_row(group, peeled, row)?;
                let here = Some(lower.b.indices().less(nth, row.packets));
                let point = lower.packet_of_row(group, peeled, &row, nth);
                Ok(Item { point, here })
            })
        };
        // As many of each row as there can be, a power of two.
        let ends = 2 * (unit * lanes) as u64;
        let end_of = |lower: &mut Self, item: Handle<Index>| {
            let width = lower.b.constant(ends as i64);
            let (row, e) = lower.row_and_rest(item, rows, width);
            let row = lower.peeled_row(group, peeled, row)?;
            let here = Some(lower.b.indices().less(e, row.rest));
            let point = lower.end_of_row(group, peeled, &row, e);
            Ok(Item { point, here })
        };
        let (workers, all) = (group.distribution.workers, self.b.constant((rows * ends) as i64));
        if rows * ends > workers {
            in_packets(self)?;
            let (start, step) = (self.worker, workers as i64);
            return self.counted(start, all, step, Unroll::Never, |lower, item| {
                let Item { point, here } = end_of(lower, item)?;
                let block = lower.inside(|lower| lower.element(group, point))?;
                here.into_iter().for_each(|here| lower.when(here, block.clone()));
                Ok(())
            });
        }
        // What is loaded for the ends is under way before anything is stored.
        let worker = self.worker;
        // Of one row, what is not of its ends is no item either.
        let is_one = self.b.indices().less(worker, all);
        let Item { point, here } = self.where_needed(is_one, |lower| end_of(lower, worker))?;
        let here = self
            .b
            .indices()
            .all(here.into_iter().chain((rows > 1).then_some(is_one)));
        // Behind a branch, compilers have what is loaded for the ends arrive before packets are asked for. But what is computed for
        // them would be computed by all threads.
        if matches!(self.kernel.expressions[group.value], Expression::Load(_)) {
            let end = self.where_needed(here, |lower| lower.pull(group.value, &point))?;
            in_packets(self)?;
            return self.store_at(group, &point, end, here);
        }
        let mut register = None;
        let block = self.inside(|lower| {
            let value = lower.pull(group.value, &point)?;
            let value = lower.as_stored(value);
            let ty = lower.b.kernel().ty(value);
            let end = lower.b.register("end", ty);
            lower.b.assign(end, value);
            register = Some(end);
            Ok(())
        })?;
        if let Some(end) = register {
            let zero = Literal::zero(self.b.kernel().registers[end].ty.element);
            self.b.assign(end, zero.into());
        }
        self.when(here, block);
        in_packets(self)?;
        let block = self.inside(|lower| match register {
            Some(end) => {
                let value = lower.b.read(end);
                let always = lower.b.indices().always(true);
                lower.store_at(group, &point, value, always)
            }
            None => Ok(()),
        })?;
        self.when(here, block);
        Ok(())
    }

    /// One row whose ends are no multiples of 16 bytes, by all threads.
    fn row(&mut self, group: &Group<'_>, peeled: &Peeled, row: Handle<Index>) -> Result<(), LowerError> {
        let row = self.peeled_row(group, peeled, row)?;
        self.rounds(group, row.packets, |lower, nth| {
            Ok(Item::of(lower.packet_of_row(group, peeled, &row, nth)))
        })?;
        let (start, step) = (self.worker, group.distribution.workers as i64);
        self.counted(start, row.rest, step, Unroll::Never, |lower, e| {
            let point = lower.end_of_row(group, peeled, &row, e);
            lower.element(group, point)
        })
    }

    /// Which row an item is of, and which one of it, where each row has so many.
    fn row_and_rest(&mut self, item: Handle<Index>, rows: u64, each: Handle<Index>) -> (Handle<Index>, Handle<Index>) {
        match rows {
            1 => (self.b.constant(0), item),
            _ => (
                self.b.indices().quotient(item, each),
                self.b.indices().remainder(item, each),
            ),
        }
    }

    /// Where a row begins, and how much of it is in packets.
    fn peeled_row(&mut self, group: &Group<'_>, peeled: &Peeled, row: Handle<Index>) -> Result<PeeledRow, LowerError> {
        let zero = self.b.constant(0);
        let (head, lead) = match peeled.aligned {
            true => (zero, None),
            // An element's address is a multiple of its size, so a whole number of elements precedes the boundary.
            false => {
                let start = self.in_row(group, peeled, row, zero);
                let quiet = std::mem::replace(&mut self.quiet, true);
                let place = self.place(group.access, &start, group.shape);
                self.quiet = quiet;
                let place = place?.place;
                let at = self.b.address_of(place);
                let negative = self.b.indices().scale(at, -1);
                let boundary = VECTOR_BYTES * peeled.unit as u32;
                let bytes = self.b.indices().low(negative, boundary.ilog2() as u8);
                let size = self.b.constant(self.size_of(group.access.tensor) as i64);
                let head = self.b.indices().quotient(bytes, size);
                let lead = peeled.by_lines.then(|| {
                    let first = self.b.indices().add(at, bytes);
                    let in_line = self.b.indices().low(first, LINE_BYTES.ilog2() as u8);
                    let packet = self.b.constant(VECTOR_BYTES.into());
                    self.b.indices().quotient(in_line, packet)
                });
                (head, lead)
            }
        };
        let columns = group.shape.elements() / peeled.rows;
        let width = self.b.constant(peeled.lanes * peeled.unit);
        let all = self.b.constant(columns as i64);
        let behind = self.b.indices().subtract(all, head);
        let units = self.b.indices().quotient(behind, width);
        let packets = self.b.indices().scale(units, peeled.unit);
        // The ends, which are fewer than two packets, or two sectors.
        let whole = self.b.indices().scale(packets, peeled.lanes);
        let rest = self.b.indices().subtract(all, whole);
        Ok(PeeledRow {
            row,
            head,
            lead,
            packets,
            whole,
            rest,
        })
    }

    /// The point so far in a row.
    fn in_row(&mut self, group: &Group<'_>, peeled: &Peeled, row: Handle<Index>, at: Handle<Index>) -> Point {
        if peeled.rows == 1 {
            return self.at_position(at, group.shape);
        }
        let mut point = self.outer_point(group.shape, row);
        point.push(at);
        point
    }

    /// The point of the nth packet of a row that is done. By lines, the line that its first one is in begins with the first thread,
    /// and those threads that have nothing in it do the last of the row.
    fn packet_of_row(&mut self, group: &Group<'_>, peeled: &Peeled, row: &PeeledRow, nth: Handle<Index>) -> Point {
        let q = match row.lead {
            Some(lead) => {
                let in_line = self.b.indices().subtract(nth, lead);
                let is_before = self.b.indices().less(nth, lead);
                let last = self.b.indices().add(in_line, row.packets);
                self.b.indices().select(is_before, last, in_line)
            }
            None => nth,
        };
        let first = self.b.indices().scale(q, peeled.lanes);
        let lane = self.b.lane(peeled.lanes as u8);
        let inner = self.b.indices().add(first, lane);
        let at = self.b.indices().add(row.head, inner);
        self.in_row(group, peeled, row.row, at)
    }

    /// The point of an element before or behind the packets of a row.
    fn end_of_row(&mut self, group: &Group<'_>, peeled: &Peeled, row: &PeeledRow, e: Handle<Index>) -> Point {
        let before = self.b.indices().less(e, row.head);
        let beyond = self.b.indices().add(e, row.whole);
        let at = self.b.indices().select(before, e, beyond);
        self.in_row(group, peeled, row.row, at)
    }

    /// One element, by whoever is here.
    fn element(&mut self, group: &Group<'_>, point: Point) -> Result<(), LowerError> {
        let value = self.pull(group.value, &point)?;
        let always = self.b.indices().always(true);
        self.store_at(group, &point, value, always)
    }

    /// All items, of which `item` says where the elements of the one with a number are: so many in flight, as often as the
    /// distribution says.
    fn rounds(
        &mut self,
        group: &Group<'_>,
        count: Handle<Index>,
        item: impl Fn(&mut Self, Handle<Index>) -> Result<Item, LowerError>,
    ) -> Result<(), LowerError> {
        let Distribution {
            in_flight,
            rounds,
            workers,
            ..
        } = *group.distribution;
        let zero = self.b.constant(0);
        let fetches_ends = !group.held && self.fetches_ends(group.access, group.value);
        if rounds == 1 {
            return self.round(group, count, zero, fetches_ends, &item);
        }
        if fetches_ends {
            self.prefetch_ends(group.access, group.shape)?;
        }
        let end = self.b.constant(rounds as i64);
        self.counted(zero, end, 1, Unroll::Never, |lower, round| {
            let base = lower.b.indices().scale(round, (in_flight * workers) as i64);
            lower.round(group, count, base, false, &item)
        })
    }

    fn round(
        &mut self,
        group: &Group<'_>,
        count: Handle<Index>,
        base: Handle<Index>,
        fetches_ends: bool,
        item: &impl Fn(&mut Self, Handle<Index>) -> Result<Item, LowerError>,
    ) -> Result<(), LowerError> {
        let first = self.b.indices().add(base, self.worker);
        let held = match group.distribution.form {
            Form::Packets { lanes, .. } if group.held => Some(lanes),
            _ => None,
        };
        let by_pairs = held.is_some_and(|lanes| self.stores_by_pairs(group, lanes));
        let mut loaded: Vec<(Handle<Index>, Point, Use, Handle<Predicate>)> = Vec::new();
        for u in 0..group.distribution.in_flight {
            let q = self.b.indices().offset(first, (u * group.distribution.workers) as i64);
            let here = self.b.indices().less(q, count);
            if self.b.kernel().indices.is_known(here) == Some(false) {
                continue;
            }
            let Item { point, here: own } = self.where_needed(here, |lower| item(lower, q))?;
            let here = self.b.indices().all([here].into_iter().chain(own));
            let value = self.where_needed(here, |lower| lower.pull(group.value, &point))?;
            loaded.push((q, point, value, here));
        }
        // Behind the loads, which need not wait for where the row goes.
        if fetches_ends {
            self.prefetch_ends(group.access, group.shape)?;
        }
        for (q, point, value, here) in loaded {
            match held {
                Some(lanes) if !self.schedule.wide => {
                    for lane in 0..lanes {
                        let point = self.point_at_lane(&point, lanes, lane);
                        let (value, here) = (self.lane_of(value, lane), self.condition_at_lane(here, lanes, lane));
                        self.store_at(group, &point, value, here)?;
                    }
                }
                Some(lanes) if by_pairs => self.store_pair(group, q, count, value, lanes)?,
                _ => self.store_at(group, &point, value, here)?,
            }
        }
        Ok(())
    }

    pub(super) fn store_at(
        &mut self,
        group: &Group<'_>,
        point: &Point,
        value: Use,
        here: Handle<Predicate>,
    ) -> Result<(), LowerError> {
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
        if self.uses.stores_into(access.tensor) != 1 {
            return false;
        }
        let made_of = |value| kernel.is_made_of(value, |_| true, |inner| inner == load);
        let (mut changes, mut others) = (false, false);
        kernel.body.walk(&mut |statement, _| match statement {
            Statement::Store { access: to, value, .. } => {
                let in_place = to == access && self.is_apart(to) && !to.operands().any(made_of);
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
        !changes && !others && has_both(&kernel.body, &of)
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

/// Elements that a thread does at once.
struct Item {
    point: Point,
    /// Whether there are any, if that is not known.
    here: Option<Handle<Predicate>>,
}

impl Item {
    fn of(point: Point) -> Self {
        Self { point, here: None }
    }
}

/// Rows whose ends may be no multiples of 16 bytes.
struct Peeled {
    /// Elements of a packet.
    lanes: i64,
    rows: u64,
    /// Packets of a row at most.
    packets: u64,
    /// Whether the line of the caches that its first one is in begins with the first thread.
    by_lines: bool,
    /// Packets of which all are done or none: one, or those of a sector.
    unit: i64,
    /// Whether rows are known to begin at a multiple of 16 bytes.
    aligned: bool,
}

/// One of them.
struct PeeledRow {
    row: Handle<Index>,
    /// Elements before its first packet,
    head: Handle<Index>,
    /// packets by which that one is behind the beginning of a line of the caches, if it is done by lines,
    lead: Option<Handle<Index>>,
    /// packets,
    packets: Handle<Index>,
    /// elements in these,
    whole: Handle<Index>,
    /// and before and behind them.
    rest: Handle<Index>,
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
