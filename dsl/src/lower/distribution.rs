//! How the elements of a store are spread over the threads of its program: decided before anything is emitted.

use std::fmt;

use super::held::MOST_REGISTERS;
use super::point::Point;
use super::{Lower, LowerError};
use crate::ir::{Access, Handle, Shape};
use crate::schedule::VECTOR_BYTES;
use crate::thread::{Atom, Index};

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
    /// Packets of neighbours, all rows end to end.
    Packets {
        /// Elements of a packet.
        lanes: u8,
        /// How many packets there are.
        packets: u64,
    },
    /// Row by row: packets of neighbours from the first address that 16 divides on, and what is before and behind one
    /// by one.
    Rows {
        /// Elements of a packet.
        lanes: u8,
        /// How many rows there are.
        rows: u64,
        /// Packets of a row at most.
        packets: u64,
        /// Whether every row is known to begin at such an address.
        aligned: bool,
    },
    /// Element by element.
    Elements {
        /// How many there are.
        elements: u64,
    },
    /// One thread does all, in row-major order.
    InOrder {
        /// How many there are.
        elements: u64,
    },
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
            Form::Packets { lanes, packets } => write!(f, "{packets} packets of {lanes}")?,
            Form::Rows {
                lanes,
                rows,
                packets,
                aligned,
            } => {
                let ends = if *aligned { "tail" } else { "head and tail" };
                write!(
                    f,
                    "{rows} rows of up to {packets} packets of {lanes}, {ends} one by one"
                )?;
            }
            Form::Elements { elements } => write!(f, "{elements} elements one by one")?,
        }
        write!(f, ", {workers} threads, {in_flight} in flight, {rounds} times")
    }
}

impl Lower<'_> {
    /// Decides how a store is spread, by what the index expressions say of where its elements are. What is emitted to
    /// find that out is left out again.
    pub(super) fn distribute(&mut self, access: &Access, shape: Shape) -> Result<Distribution, LowerError> {
        let workers = self.workers();
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
            return Ok(spread(Form::Alone, 1));
        }
        let elements = shape.elements();
        let flat = spread(Form::Elements { elements }, elements);
        let size = self
            .kernel
            .tensor(access.tensor)
            .map_or(1, |tensor| tensor.element.size());
        let lanes = VECTOR_BYTES as usize / size;
        let columns = u64::from(shape.innermost());
        if columns < lanes as u64 {
            return Ok(flat);
        }
        let rows = elements / columns;
        let packets = columns / lanes as u64;
        let form = Form::Packets {
            lanes: lanes as u8,
            packets: rows * packets,
        };
        let whole = spread(form, rows * packets);
        let peeled = |aligned| {
            let form = Form::Rows {
                lanes: lanes as u8,
                rows,
                packets,
                aligned,
            };
            spread(form, packets)
        };
        let (whole, aligned, ragged) = (whole, peeled(true), peeled(false));
        let Some(divisor) = self.divisor_along(access, shape, lanes as u8)? else {
            return Ok(flat);
        };
        Ok(match (divisor >= VECTOR_BYTES.into(), columns % lanes as u64) {
            (true, 0) => whole,
            (true, _) => aligned,
            (false, _) => ragged,
        })
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

    /// How a store is spread that uses tiles which threads hold: each stores the elements that it would hold.
    pub(super) fn distribute_held(&self, shape: Shape) -> Distribution {
        let (workers, elements) = (self.workers(), shape.elements());
        let trips = elements.div_ceil(workers).max(1);
        let in_flight = match trips <= MOST_REGISTERS {
            true => trips,
            false => trips.min(self.schedule.unroll.into()),
        };
        let form = match shape.rank() {
            0 => Form::Alone,
            _ => Form::Elements { elements },
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
    /// innermost axis, and all of a row are accessed under one condition.
    pub(super) fn divisor_along(
        &mut self,
        access: &Access,
        shape: Shape,
        lanes: u8,
    ) -> Result<Option<u64>, LowerError> {
        let operands: Vec<_> = access.operands().collect();
        if self.are_made_of_held(&operands) {
            return Ok(None);
        }
        let mut found = None;
        let (mark, sites) = (self.b.mark(), self.sites.len());
        self.inside(|lower| {
            let point = lower.any_point(shape, lanes);
            let place = lower.place(access, &point, shape)?;
            let size = lower
                .kernel
                .tensor(access.tensor)
                .map_or(1, |tensor| tensor.element.size());
            let lane = Atom::Lane(lanes);
            let step = lower.b.indices().step(place.place.offset, lane);
            let values = lower.b.kernel().moves_by_values(place.place.offset);
            if step == Some(size as i64) && !values {
                let zero = lower.b.constant(0);
                let start = lower.b.indices().substitute(place.place.offset, lane, zero);
                found = Some(lower.b.kernel().divisor_of(crate::thread::Place {
                    offset: start,
                    ..place.place
                }));
            }
            Ok(())
        })?;
        self.b.forget(mark);
        self.sites.truncate(sites);
        Ok(found)
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
