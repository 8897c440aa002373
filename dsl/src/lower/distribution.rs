//! How the elements of a store are spread over the threads of its program: decided before anything is emitted.

use std::fmt;

use super::held::MOST_REGISTERS;
use super::layout::Layout;
use super::point::Point;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{Access, Expression, Handle, Shape};
use crate::schedule::{SECTOR_BYTES, VECTOR_BYTES, WARP};
use crate::thread::passes::{self, Why};
use crate::thread::{self, Atom, Index};

/// How the elements of a store are spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// The shape of the tile.
    pub shape: Shape,
    /// Threads that share it.
    pub workers: u64,
    /// Which of it each does at once.
    pub form: Form,
    /// Accesses that a thread has in flight before its first store.
    pub in_flight: u64,
    /// How often a thread does as many.
    pub rounds: u64,
}

/// What a thread does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One thread does the only element.
    Alone,
    /// Packets of neighbours, all rows end to end: no packet is of two rows, or all rows are one run of neighbours.
    Packets {
        /// Elements of a packet.
        lanes: u8,
        /// How many packets there are.
        packets: u64,
    },
    /// Packets of each row from the first address that 16 divides on, or 32, and what is before and behind one by one. One row may
    /// be all rows of the tile, end to end.
    Rows {
        /// Elements of a packet.
        lanes: u8,
        /// How many rows there are.
        rows: u64,
        /// Packets of a row at most.
        packets: u64,
        /// Whether the line of the caches that a row's first packet is in begins with the first thread, so that each warp stores whole lines.
        /// Not of rows that are shared out together.
        by_lines: bool,
        /// Whether what is in packets is whole sectors of the caches, so that each sector is written at once, or by the ends alone. Only of
        /// one row, whose ends its threads do at once, and L2 is asked for.
        by_sectors: bool,
        /// Whether every row is known to begin at such an address.
        aligned: bool,
        /// Whether the packets of all rows are shared out together, and not those of one row after the other.
        together: bool,
    },
    /// Element by element.
    Elements {
        /// How many there are.
        elements: u64,
    },
    /// Each element by the first of the threads that reduced a line to it.
    Lines {
        /// How many there are.
        lines: u64,
        /// Threads that reduced a line.
        group: u64,
    },
    /// One thread does all, in row-major order.
    InOrder {
        /// How many there are.
        elements: u64,
    },
}

impl Distribution {
    /// What is shared out: packets, of rows that are shared out together, or one row's; or elements. Without the ends of
    /// rows.
    pub fn items(&self) -> u64 {
        match self.form {
            Form::Alone => 1,
            Form::Packets { packets, .. } => packets,
            Form::Rows {
                rows,
                packets,
                together,
                ..
            } => packets * if together { rows } else { 1 },
            Form::Elements { elements } | Form::InOrder { elements } => elements,
            Form::Lines { lines, .. } => lines,
        }
    }

    /// The number of the thread, among those that share a program, that does an item. Of rows by lines, where a row begins with one:
    /// elsewhere its packets move on by up to 7 threads, and its last ones are the first threads'.
    pub fn worker_of(&self, item: u64) -> u64 {
        match self.form {
            Form::Alone | Form::InOrder { .. } => 0,
            Form::Packets { .. } | Form::Rows { .. } | Form::Elements { .. } => item % self.workers.max(1),
            Form::Lines { group, .. } => item * group,
        }
    }

    /// Elements of an item.
    pub fn lanes(&self) -> u64 {
        match self.form {
            Form::Packets { lanes, .. } | Form::Rows { lanes, .. } => lanes.into(),
            Form::Alone | Form::Elements { .. } | Form::Lines { .. } | Form::InOrder { .. } => 1,
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shape,
            workers,
            form,
            in_flight,
            rounds,
        } = self;
        write!(f, "{shape}: ")?;
        match form {
            Form::Alone => return f.write_str("one thread"),
            Form::InOrder { elements } => return write!(f, "{elements} elements in order, one thread"),
            Form::Lines { lines, group } => {
                return write!(
                    f,
                    "{lines} elements, each by the first of {group} threads that found it"
                );
            }
            Form::Packets { lanes, packets } => write!(f, "{packets} packets of {lanes}")?,
            Form::Rows {
                lanes,
                rows,
                packets,
                by_lines,
                by_sectors,
                aligned,
                together,
            } => {
                let ends = if *aligned { "tail" } else { "head and tail" };
                let together = if *together { " together" } else { "" };
                let lines = if *by_lines { " by lines" } else { "" };
                let sectors = if *by_sectors { " by sectors" } else { "" };
                write!(
                    f,
                    "{rows} rows{together} of up to {packets} packets of {lanes}{lines}{sectors}, {ends} one by one"
                )?;
            }
            Form::Elements { elements } => write!(f, "{elements} elements one by one")?,
        }
        write!(f, ", {workers} threads, {in_flight} in flight, {rounds} times")
    }
}

/// Packets of full width that a row may be of and have no ends.
const SHORT_ROW: u64 = 4;

/// Packets of a row that begins anywhere beyond which threads that move several begin with a line.
///
/// Measured on an H200 with L2 cold, scattered rows of 2880 to 7168 elements of 2 bytes take 0.95 to 0.98 of the time where there are 4096
/// and more, as there are fewer stores that are parts of lines, and 0.98 to 1.01 where there are 300; gathered ones 0.98 to 1.00. Rows
/// of 127 packets take 1.01 to 1.25, and those of which a thread has one packet, where there are up to 300, up to 1.03.
const BY_LINES: u64 = 4 * WARP as u64;

/// Packets of a sector.
pub(super) const SECTOR: u64 = (SECTOR_BYTES / VECTOR_BYTES) as u64;

impl Lower<'_> {
    /// Decides how a store is spread, by what the index expressions say of where its elements are. What is emitted to
    /// find that out is left out again. If it is element by element, also returns why.
    pub(super) fn distribute(
        &mut self,
        access: &Access,
        value: Handle<Expression>,
    ) -> Result<(Distribution, Option<Why>), LowerError> {
        let workers = self.workers();
        let shape = self.kernel.ty(value).shape;
        let spread = |form, items: u64| {
            let trips = items.div_ceil(workers).max(1);
            let in_flight = trips.min(self.schedule.unroll.into());
            Distribution {
                shape,
                workers,
                form,
                in_flight,
                rounds: trips.div_ceil(in_flight),
            }
        };
        if shape.rank() == 0 {
            return Ok((spread(Form::Alone, 1), None));
        }
        let elements = shape.elements();
        let size = self.size_of(access.tensor);
        let lanes = u64::from(VECTOR_BYTES) / size;
        let (columns, rows) = (u64::from(shape.innermost()), elements / u64::from(shape.innermost()));
        let alone = spread(Form::Elements { elements }, elements);
        if !self.schedule.wide {
            return Ok((alone, Some(Why::Scheduled)));
        }
        let packets = |packets| {
            let form = Form::Packets {
                lanes: lanes as u8,
                packets,
            };
            spread(form, packets)
        };
        let (whole, one_run) = (packets(rows * (columns / lanes)), packets(elements / lanes));
        let is_moved = matches!(self.kernel.expressions[value], Expression::Load(_));
        let fetches_ends = self.fetches_ends(access, value);
        let are_warps = workers.is_multiple_of(WARP.into());
        let peeled = |rows: u64, aligned: bool| {
            let packets = elements / rows / lanes;
            // Where one row has something to do for every thread it is one row after the other.
            let together = rows > 1 && packets < workers;
            let form = Form::Rows {
                lanes: lanes as u8,
                rows,
                packets,
                by_lines: !aligned && is_moved && are_warps && packets > BY_LINES && packets > workers,
                by_sectors: !aligned && fetches_ends && 2 * SECTOR * lanes <= workers,
                aligned,
                together,
            };
            spread(form, if together { rows * packets } else { packets })
        };
        let peeled = [(1, true), (1, false), (rows, true), (rows, false)].map(|(rows, aligned)| peeled(rows, aligned));
        let [run, ragged_run, aligned, ragged] = peeled;
        let are_rows_whole = columns.is_multiple_of(lanes);
        if !are_rows_whole
            && rows > 1
            && elements >= lanes
            && let Some(divisor) = self.divisor_of_run(access, value, lanes as u8)?
        {
            let is_aligned = divisor >= VECTOR_BYTES.into();
            let spread = match (is_aligned, elements.is_multiple_of(lanes)) {
                (true, true) => one_run,
                (true, false) => run,
                (false, _) => ragged_run,
            };
            return Ok((spread, None));
        }
        if columns < lanes {
            return Ok((alone, Some(Why::Short(columns * size))));
        }
        let divisor = match self.divisor_along(access, shape, lanes as u8)? {
            Ok(divisor) => divisor,
            Err(why) => return Ok((alone, Some(why))),
        };
        // A short row that is aligned to less is less work in narrower packets than by ends.
        let narrow = (divisor & divisor.wrapping_neg()) / size;
        if divisor < VECTOR_BYTES.into() && narrow > 1 && columns.is_multiple_of(narrow) && columns < SHORT_ROW * lanes
        {
            let packets = elements / narrow;
            let lanes = narrow as u8;
            return Ok((spread(Form::Packets { lanes, packets }, packets), None));
        }
        let spread = match (divisor >= VECTOR_BYTES.into(), are_rows_whole) {
            (true, true) => whole,
            (true, false) => aligned,
            (false, _) => ragged,
        };
        Ok((spread, None))
    }

    /// How a store is spread of which the last one wins: as the elements of one tile may meet, not at all.
    pub(super) fn distribute_in_order(&self, shape: Shape) -> Distribution {
        let elements = shape.elements();
        Distribution {
            shape,
            workers: 1,
            form: Form::InOrder { elements },
            in_flight: 1,
            rounds: elements,
        }
    }

    /// How a store is spread of what lines were reduced to, if threads have one each at most and have not met since: for it none has to
    /// wait for others.
    ///
    /// Measured on an H200, rows of 7168 are quantised so in 0.92 of the time where there is one, and in 0.94 to 0.95 where there are 64 to
    /// 256; with four lines for each thread it takes 1.01 where there are 4096.
    pub(super) fn distribute_lines(&self, access: &Access, value: Handle<Expression>) -> Option<Distribution> {
        let lines = self.own_lines(value)?;
        let is_index = access.operands().any(|operand| self.own_lines(operand).is_some());
        let shape = self.kernel.ty(value).shape;
        let has_one = lines.values.len() == 1 && !is_index;
        // What goes to another device goes in packets.
        let is_far = self.effects.of_peers.contains(&access.tensor);
        (has_one && !is_far && !self.kernel.denies_narrow()).then(|| Distribution {
            shape,
            workers: self.workers(),
            form: Form::Lines {
                lines: shape.elements(),
                group: lines.group as u64,
            },
            in_flight: 1,
            rounds: 1,
        })
    }

    /// How a store is spread that uses tiles which threads hold: each stores the elements that it would hold.
    pub(super) fn distribute_held(&self, shape: Shape) -> Distribution {
        let (workers, layout) = (self.workers(), self.layout(shape));
        let trips = layout.own.max(1);
        let in_flight = match layout.elements() <= MOST_REGISTERS {
            true => trips,
            false => trips.min(self.schedule.unroll.into()),
        };
        let Layout { lanes, packets, .. } = layout;
        let form = match (shape.rank(), lanes) {
            (0, _) => Form::Alone,
            (_, 1) => Form::Elements { elements: packets },
            _ => Form::Packets { lanes, packets },
        };
        Distribution {
            shape,
            workers,
            form,
            in_flight,
            rounds: trips.div_ceil(in_flight),
        }
    }

    /// What divides the address of an access at the beginning of each row, if its elements are neighbours along the
    /// innermost axis; else why they are not.
    pub(super) fn divisor_along(
        &mut self,
        access: &Access,
        shape: Shape,
        lanes: u8,
    ) -> Result<Result<u64, Why>, LowerError> {
        let operands: Vec<_> = access.operands().collect();
        if self.are_made_of_held(&operands) {
            return Ok(Err(Why::Held));
        }
        self.tried(|lower| {
            let point = lower.any_point(shape, lanes);
            lower.divisor_at(access, &point, shape, lanes)
        })
    }

    /// What divides the address of the first element of a tile that is stored, if all of them are one run of neighbours, rows
    /// end to end, and so is what is loaded for them.
    fn divisor_of_run(
        &mut self,
        access: &Access,
        value: Handle<Expression>,
        lanes: u8,
    ) -> Result<Option<u64>, LowerError> {
        let shape = self.kernel.ty(value).shape;
        self.tried(|lower| {
            let packet = lower.any_below(shape.elements() / u64::from(lanes));
            let point = lower.point_in_run(shape, lanes, packet);
            let Ok(divisor) = lower.divisor_at(access, &point, shape, lanes)? else {
                return Ok(None);
            };
            let mut is_run = true;
            let block = lower.inside(|lower| lower.pull(value, &point).map(drop))?;
            for (statement, _) in &block {
                if let thread::Statement::Let {
                    operation: thread::Operation::Load(load),
                    ..
                } = statement
                {
                    let step = lower.b.indices().step(load.place.offset, Atom::Lane(lanes));
                    let values = lower.b.kernel().moves_by_values(load.place.offset);
                    is_run &= !values && (step == Some(0) || step == Some(load.ty.element.size() as i64));
                }
            }
            Ok(is_run.then_some(divisor))
        })
    }

    /// What `look` finds; what it emits for it is left out again. Whatever other threads have is some value.
    fn tried<R>(&mut self, look: impl FnOnce(&mut Self) -> Result<R, LowerError>) -> Result<R, LowerError> {
        let mut found = None;
        self.wanted_by(|lower| {
            found = Some(look(lower)?);
            Ok(())
        })?;
        match found {
            Some(found) => Ok(found),
            None => self.defect("an access that is nowhere"),
        }
    }

    /// What divides the address of an access in the first lane of a point, if its elements are neighbours along the
    /// lanes; else why they are not.
    fn divisor_at(
        &mut self,
        access: &Access,
        point: &Point,
        shape: Shape,
        lanes: u8,
    ) -> Result<Result<u64, Why>, LowerError> {
        let place = self.place(access, point, shape)?.place;
        let lane = Atom::Lane(lanes);
        if self.b.kernel().moves_by_values(place.offset) {
            return Ok(Err(self.why_by_values(access)));
        }
        match self.b.indices().step(place.offset, lane) {
            Some(step) if step == self.size_of(access.tensor) as i64 => {
                let zero = self.b.constant(0);
                let offset = self.b.indices().substitute(place.offset, lane, zero);
                Ok(Ok(self.b.kernel().divisor_of(thread::Place { offset, ..place })))
            }
            Some(step) => Ok(Err(Why::Apart(step))),
            None => Ok(Err(passes::why_unknown(self.b.kernel(), place.offset, |_| false))),
        }
    }

    /// Why the places of an access are values.
    pub(super) fn why_by_values(&self, access: &Access) -> Why {
        let is_tile = |index: Handle<Expression>| !self.kernel.ty(index).is_scalar();
        let is_loaded = |index| {
            let is_load = |inner| is_tile(inner) && matches!(self.kernel.expressions[inner], Expression::Load(_));
            self.kernel.is_made_of(index, is_tile, is_load)
        };
        let mut tiles = access.indices.iter().copied().filter(|index| is_tile(*index));
        match tiles.clone().any(is_loaded) {
            true => Why::Loaded,
            false => Why::Computed(
                tiles
                    .next()
                    .map_or(ElementType::I64, |index| self.kernel.ty(index).element),
            ),
        }
    }

    /// Bytes of an element of a tensor.
    pub(super) fn size_of(&self, tensor: u32) -> u64 {
        self.kernel.tensor(tensor).map_or(1, |tensor| tensor.element.size()) as u64
    }

    /// A point of which nothing is known but that it is the lane of a packet at a multiple of its lanes.
    fn any_point(&mut self, shape: Shape, lanes: u8) -> Point {
        let mut point = Point::new();
        for (axis, &extent) in shape.extents().iter().enumerate() {
            let innermost = axis + 1 == shape.rank();
            let count = if innermost { extent / u32::from(lanes) } else { extent };
            let any = self.any_below(count.max(1).into());
            point.push(match innermost {
                true => {
                    let first = self.b.indices().scale(any, lanes.into());
                    let lane = self.b.lane(lanes);
                    self.b.indices().add(first, lane)
                }
                false => any,
            });
        }
        point
    }

    fn any_below(&mut self, end: u64) -> Handle<Index> {
        let (zero, end) = (self.b.constant(0), self.b.constant(end as i64));
        self.b.counter(zero, end, 1).0
    }
}
