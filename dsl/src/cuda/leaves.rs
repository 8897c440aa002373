//! What the elements of one store or assignment are made of: the loads and registers that a group reads, and how each lies
//! along the group's innermost axis.

use std::collections::{BTreeMap, BTreeSet};

use super::pull::Point;
use super::writer::{Placed, Writer};
use crate::analysis::contiguity::{Walk, step, walk};
use crate::ir::{Access, Bounds, Expression, Handle, Shape, Span};

/// Where the elements go.
#[derive(Clone)]
pub(super) enum Sink<'a> {
    /// To memory.
    Store(&'a Access),
    /// To the registers of a variable or value.
    Registers(String),
}

/// One store or assignment of a tile.
pub(super) struct Group<'a> {
    pub(super) value: Handle<Expression>,
    pub(super) shape: Shape,
    pub(super) sink: Sink<'a>,
    pub(super) span: Span,
}

/// A load that a group reads.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) access: Access,
    pub(super) shape: Shape,
    pub(super) point: Point,
    pub(super) kind: LeafKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeafKind {
    /// One element for the whole vector.
    Still,
    /// Neighbours in memory, along this axis of the tensor.
    Adjacent { axis: usize, aligned: bool },
    /// One load per element.
    Scattered,
}

/// What the elements of a group are made of.
#[derive(Default)]
pub(super) struct Leaves {
    pub(super) loads: BTreeMap<Handle<Expression>, Leaf>,
    /// Tiles in registers.
    registers: BTreeSet<Handle<Expression>>,
    /// Tiles in registers of which a thread reads elements that another holds.
    pub(super) exchanged: BTreeSet<Handle<Expression>>,
    /// What has been looked at: values, where, and whether the reading thread holds the element.
    visited: BTreeSet<(Handle<Expression>, Vec<String>, bool)>,
}

/// The name of the innermost coordinate of the vector at hand.
pub(super) const INNER: &str = "c";

impl Leaves {
    /// Whether any of it is in registers.
    pub(super) fn has_registers(&self) -> bool {
        !self.registers.is_empty()
    }
}

impl Writer<'_> {
    /// The coordinates that the loops of a group define: `i0`, `i1` and the innermost one.
    pub(super) fn symbolic_point(shape: Shape, inner: &str) -> Point {
        let rank = shape.rank();
        let coordinates = (0..rank).map(|axis| {
            if axis + 1 == rank {
                inner.to_owned()
            } else {
                format!("i{axis}")
            }
        });
        Point {
            coordinates: coordinates.collect(),
            register: Some("r".to_owned()),
        }
    }

    /// What the elements of a group are made of, by the coordinates at which they are read.
    pub(super) fn leaves(&self, group: &Group<'_>) -> Leaves {
        let mut leaves = Leaves::default();
        let point = Self::symbolic_point(group.shape, INNER);
        self.descend(group.value, &point, &mut leaves);
        if let Sink::Store(access) = &group.sink {
            let operands: Vec<_> = access.operands().collect();
            for operand in operands {
                self.descend_index(operand, group.shape, &point, &mut leaves);
            }
        }
        leaves
    }

    /// What the only element of a tile is made of, that a scalar is reshaped from.
    pub(super) fn leaves_of_scalar(&self, value: Handle<Expression>) -> Leaves {
        let mut leaves = Leaves::default();
        if let Expression::Reshape { value, .. } = &self.kernel.expressions[value] {
            self.descend(*value, &Point::first(self.kernel.ty(*value).shape), &mut leaves);
        }
        leaves
    }

    fn descend_index(&self, operand: Handle<Expression>, shape: Shape, point: &Point, leaves: &mut Leaves) {
        let own = self.kernel.ty(operand).shape;
        if own.rank() > 0 {
            self.descend(operand, &point.aligned_with(own, shape), leaves);
        }
    }

    fn descend(&self, value: Handle<Expression>, point: &Point, leaves: &mut Leaves) {
        let ty = self.kernel.ty(value);
        let place = (value, point.coordinates.clone(), point.register.is_some());
        if ty.is_scalar() || !leaves.visited.insert(place) {
            return;
        }
        if let Some(Placed::Registers(_)) = self.placed.get(&value) {
            leaves.registers.insert(value);
            if point.register.is_none() {
                leaves.exchanged.insert(value);
            }
            return;
        }
        match &self.kernel.expressions[value] {
            Expression::Broadcast { value, .. } => self.descend(
                *value,
                &point.before_broadcast(self.kernel.ty(*value).shape, ty.shape),
                leaves,
            ),
            Expression::Reshape { value, .. } => self.descend(
                *value,
                &point.before_reshape(self.kernel.ty(*value).shape, ty.shape),
                leaves,
            ),
            Expression::Load(access) => {
                let kind = self.leaf_kind(access, point);
                let leaf = leaves.loads.entry(value).or_insert_with(|| Leaf {
                    access: access.clone(),
                    shape: ty.shape,
                    point: point.clone(),
                    kind,
                });
                // Read at two places: each reads for itself.
                if leaf.point.coordinates != point.coordinates {
                    leaf.kind = LeafKind::Scattered;
                }
                for operand in access.operands() {
                    self.descend_index(operand, ty.shape, point, leaves);
                }
            }
            node => {
                let mut operands = Vec::new();
                node.for_each_operand(|operand| operands.push(operand));
                operands
                    .into_iter()
                    .for_each(|operand| self.descend(operand, point, leaves));
            }
        }
    }

    fn leaf_kind(&self, access: &Access, point: &Point) -> LeafKind {
        let moving: Vec<usize> = (0..point.coordinates.len())
            .filter(|&axis| mentions_inner(&point.coordinates[axis]))
            .collect();
        match moving.as_slice() {
            [] => LeafKind::Still,
            [axis] if point.coordinates[*axis] == INNER => match walk(self.kernel, access, *axis) {
                Walk::Still if self.is_still(access.mask, *axis) => LeafKind::Still,
                Walk::Adjacent(tensor_axis) if self.is_row(access, tensor_axis, *axis) => LeafKind::Adjacent {
                    axis: tensor_axis,
                    aligned: false,
                },
                _ => LeafKind::Scattered,
            },
            _ => LeafKind::Scattered,
        }
    }

    fn is_still(&self, mask: Option<Handle<Expression>>, axis: usize) -> bool {
        mask.is_none_or(|mask| step(self.kernel, mask, axis) == Some(0))
    }

    /// Whether an access that is adjacent along `axis` of its tile can be treated as one row: its mask does not change
    /// along it, and where it leaves the tensor elements are just left out.
    pub(super) fn is_row(&self, access: &Access, tensor_axis: usize, axis: usize) -> bool {
        let guarded = access.guards[tensor_axis].any();
        let skips = match access.bounds {
            Bounds::ReadZeroSkipWrite | Bounds::Unchecked => true,
            Bounds::Clamp => !guarded,
            Bounds::Trap => !access.is_guarded() || (!guarded && access.mask.is_none()),
        };
        skips && self.is_still(access.mask, axis)
    }
}

/// Whether a coordinate depends on the innermost one.
fn mentions_inner(coordinate: &str) -> bool {
    coordinate
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word == INNER)
}
