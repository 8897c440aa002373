//! Which elements of a tile a thread holds.
//!
//! Packets of neighbours go round the threads: packet `k` of a thread is the tile's number `k * threads + thread`. Tiles
//! of as many elements have one layout, so that what is computed from several meets in a thread. A packet is as wide as an
//! access, or as a chunk of what is combined: then a thread holds what it combines first. Only of a line that threads hand each
//! other the last packet may be of fewer elements.

use std::collections::{BTreeMap, BTreeSet};

use super::Lower;
use crate::analysis::lines::handed_over;
use crate::ir::{Expression, Handle, Kernel, Reduction, Shape, Statement};
use crate::schedule::VECTOR_BYTES;
use crate::thread::{Index, Predicate};

/// Elements of a packet that are worth combining first, where any order will do.
pub(super) const LEAST_CHUNK: u32 = 4;

/// How the elements of a tile are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Elements of a packet.
    pub(super) lanes: u8,
    /// Packets of the tile.
    pub(super) packets: u64,
    /// Packets that a thread holds at most.
    pub(super) own: u64,
}

impl Layout {
    /// Elements that a thread holds at most.
    pub(super) fn elements(self) -> u64 {
        self.own * u64::from(self.lanes)
    }

    /// Whether the last packet has no element in some of its lanes.
    pub(super) fn has_rest(self, shape: Shape) -> bool {
        self.packets * u64::from(self.lanes) > shape.elements()
    }
}

/// Elements of a packet, by the elements of tiles: as many as every tile of so many elements has rows for.
pub(super) fn choose_lanes(kernel: &Kernel) -> BTreeMap<u64, u8> {
    let tiles = || {
        let types = kernel.expressions.iter().map(|(handle, _)| kernel.ty(handle));
        types.filter(|ty| !ty.is_scalar())
    };
    let sizes = tiles().map(|ty| ty.element.size() as u32).filter(|size| *size > 1);
    let widest = VECTOR_BYTES / sizes.min().unwrap_or(4).clamp(2, VECTOR_BYTES);
    let chunk = Expression::CHUNK as u32;
    let stored = stored(kernel);
    // What is stored besides stays with those who combined it.
    let in_order = |value: Handle<Expression>, reduction: &Reduction| {
        let ty = kernel.ty(value);
        let takes_packets = (LEAST_CHUNK..chunk).contains(&widest) && ty.shape.innermost().is_multiple_of(widest);
        !takes_packets || !reduction.takes_any_order(ty.element) || stored.contains(&ty.shape.elements())
    };
    let combined: BTreeSet<u64> = kernel
        .expressions
        .iter()
        .filter_map(|(_, node)| match *node {
            Expression::Reduce {
                value,
                axis,
                ref reduction,
            } => in_order(value, reduction).then_some((value, axis)),
            Expression::Scan { value, axis, .. } => Some((value, axis)),
            _ => None,
        })
        .filter(|(value, axis)| usize::from(*axis) + 1 == kernel.ty(*value).shape.rank())
        .map(|(value, _)| kernel.ty(value).shape.elements())
        .collect();
    let in_chunks = handed_over(kernel);
    let mut chosen: BTreeMap<u64, u8> = BTreeMap::new();
    for shape in tiles().map(|ty| ty.shape) {
        // An axis of extent 1 says nothing about how the elements lie.
        if shape.innermost() == 1 && shape.elements() > 1 {
            continue;
        }
        let elements = shape.elements();
        if in_chunks.contains(&elements) {
            chosen.insert(elements, chunk as u8);
            continue;
        }
        let mut lanes = match combined.contains(&elements) && shape.innermost().is_multiple_of(chunk) {
            true => chunk,
            false => widest,
        };
        while !shape.innermost().is_multiple_of(lanes) {
            lanes /= 2;
        }
        let all = chosen.entry(elements).or_insert(lanes as u8);
        *all = (*all).min(lanes as u8);
    }
    chosen
}

/// The elements of tiles that are stored.
fn stored(kernel: &Kernel) -> BTreeSet<u64> {
    let mut stored = BTreeSet::new();
    kernel.body.walk(&mut |statement, _| {
        if let Statement::Store { value, .. } = statement {
            stored.insert(kernel.ty(*value).shape.elements());
        }
    });
    stored
}

impl Lower<'_> {
    /// How a tile of this shape is held.
    pub(super) fn layout(&self, shape: Shape) -> Layout {
        let elements = shape.elements();
        let lanes = self.lanes.get(&elements).copied().unwrap_or(1);
        let packets = elements.div_ceil(lanes.into());
        Layout {
            lanes,
            packets,
            own: packets.div_ceil(self.workers()),
        }
    }

    /// Whether an element of a packet, by its number, is one of the tile's: the last packet may be of fewer.
    pub(super) fn is_in_tile(&mut self, e: Handle<Index>, shape: Shape) -> Handle<Predicate> {
        match self.layout(shape).has_rest(shape) {
            true => {
                let end = self.b.constant(shape.elements() as i64);
                self.b.indices().less(e, end)
            }
            false => self.b.indices().always(true),
        }
    }

    /// The elements of a packet of so many, by their number.
    pub(super) fn packet_at(&mut self, packet: Handle<Index>, lanes: u8) -> Handle<Index> {
        let first = self.b.indices().scale(packet, lanes.into());
        match lanes {
            1 => first,
            _ => {
                let lane = self.b.lane(lanes);
                self.b.indices().add(first, lane)
            }
        }
    }

    /// Of an element by its number: which of its packets that is for this thread, and where in it the element is; where
    /// another thread holds it, no place in a packet.
    pub(super) fn in_packet(&mut self, element: Handle<Index>, lanes: u8) -> (Handle<Index>, Handle<Index>) {
        let first = self.b.indices().scale(self.worker, lanes.into());
        let all = self.workers() as i64 * i64::from(lanes);
        let (beyond, all) = (self.b.indices().subtract(element, first), self.b.constant(all));
        let slot = self.b.indices().quotient(beyond, all);
        (slot, self.b.indices().remainder(beyond, all))
    }
}
