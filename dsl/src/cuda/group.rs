//! The loop over the elements of one store or assignment: which form it takes, and the coordinates and rows that the forms
//! share.

use std::collections::BTreeMap;

use super::access::Row;
use super::leaves::{Group, INNER, LeafKind, Leaves, Sink};
use super::pull::{Point, start_of};
use super::writer::Writer;
use crate::ir::{Access, Expression, Handle, Shape};

impl Writer<'_> {
    /// Writes a group.
    pub(super) fn group(&mut self, group: &Group<'_>) {
        let mut leaves = self.leaves(group);
        let exchange = !leaves.exchanged.is_empty();
        if exchange {
            self.open("{");
            self.exchange(&leaves);
        }
        if let Sink::InOrder(_) = group.sink {
            self.in_order_group(group);
        } else if leaves.has_registers() || matches!(group.sink, Sink::Registers(_)) {
            self.register_group(group, &mut leaves);
        } else if let Sink::Store(access) = group.sink.clone() {
            self.stream_group(group, access, &mut leaves);
        } else {
            self.effect_group(group);
        }
        if exchange {
            self.close();
        }
    }

    /// Threads that share a group's elements.
    pub(super) fn workers(&self) -> u64 {
        self.schedule.threads as u64 * self.schedule.splits as u64
    }

    /// Defines the outer coordinates of row number `row`.
    pub(super) fn outer_coordinates(&mut self, shape: Shape, row: &str) {
        match shape.extents() {
            [_, _] => self.line(format!("const int i0 = {row};")),
            [_, middle, _] => {
                self.line(format!("const int i0 = {row} / {middle};"));
                self.line(format!("const int i1 = {row} - i0 * {middle};"));
            }
            _ => {}
        }
    }

    pub(super) fn line_zero_coordinates(&mut self, shape: Shape) {
        for axis in 0..shape.rank() - 1 {
            self.line(format!("const int i{axis} = 0;"));
        }
    }

    /// The coordinates of the element at a row-major position.
    pub(super) fn coordinates_of(&self, shape: Shape, position: &str) -> Point {
        let coordinates = match *shape.extents() {
            [_] => vec![position.to_owned()],
            [_, n] => vec![format!("({position} / {n})"), format!("({position} % {n})")],
            [_, m, n] => vec![
                format!("({position} / {})", m as u64 * n as u64),
                format!("({position} / {n} % {m})"),
                format!("({position} % {n})"),
            ],
            _ => Vec::new(),
        };
        Point {
            coordinates,
            register: None,
        }
    }

    /// The rows of a group's store and of the loads that move along them, at the outer coordinates in scope.
    pub(super) fn rows(&mut self, group: &Group<'_>, access: &Access, axis: usize, leaves: &Leaves) -> Rows {
        let start = Self::symbolic_point(group.shape, "0");
        let store = self.row(access, axis, &start, group.shape, group.span);
        Rows {
            store,
            loads: self.rows_of_leaves(leaves),
        }
    }

    pub(super) fn rows_of_leaves(&mut self, leaves: &Leaves) -> BTreeMap<Handle<Expression>, Row> {
        let mut rows = BTreeMap::new();
        for (&load, leaf) in &leaves.loads {
            if let LeafKind::Adjacent { axis, .. } = leaf.kind {
                let mut start = leaf.point.clone();
                for coordinate in &mut start.coordinates {
                    if let Some((first, _)) = start_of(coordinate, INNER) {
                        *coordinate = if first == "0" {
                            first.to_owned()
                        } else {
                            format!("({first})")
                        };
                    }
                }
                let span = self.kernel.spans[load.index()];
                rows.insert(load, self.row(&leaf.access, axis, &start, leaf.shape, span));
            }
        }
        rows
    }
}

/// The rows that a vector loop moves along.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) store: Row,
    pub(super) loads: BTreeMap<Handle<Expression>, Row>,
}
