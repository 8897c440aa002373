//! What the elements of one store or assignment are made of: the loads and registers that a group reads, and how each lies
//! along the group's innermost axis.

use std::collections::{BTreeMap, BTreeSet};

use super::marks::Mark;
use super::pull::{Point, mentions, start_of};
use super::writer::{Placed, Writer};
use crate::analysis::contiguity::{Walk, step, walk};
use crate::analysis::divisibility::EVERYTHING;
use crate::ir::{Access, Bounds, Expression, Handle, Shape, Span, Type};
use crate::stack::room;

/// Where the elements go.
#[derive(Clone)]
pub(super) enum Sink<'a> {
    /// To memory.
    Store(&'a Access),
    /// To the registers of a variable or value.
    Registers(String),
    /// Nowhere: they are computed for what computing them does.
    Effect,
    /// Nowhere: each must be true, or reports from this place.
    Check(usize),
    /// Nowhere: the places of an access are marked.
    Mark(Mark<'a>),
    /// Nowhere: the elements of this access are asked for.
    Prefetch(&'a Access),
    /// To memory, one after the other.
    InOrder(&'a Access),
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
    /// What divides the element of a row at which it is read first.
    pub(super) start: u64,
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
        let mut point = Self::symbolic_point(group.shape, INNER);
        if matches!(group.sink, Sink::InOrder(_)) {
            // One thread needs the elements of all others.
            point.register = None;
        }
        if !matches!(group.sink, Sink::Prefetch(_) | Sink::Mark(_)) {
            self.descend(group.value, &point, &mut leaves);
        }
        if let Sink::Store(access) | Sink::Mark(Mark { access, .. }) | Sink::InOrder(access) | Sink::Prefetch(access) =
            &group.sink
        {
            let operands: Vec<_> = access.operands().collect();
            for operand in operands {
                self.descend_index(operand, group.shape, &point, &mut leaves);
            }
        }
        leaves
    }

    /// What the elements of `values` at `point` are made of.
    pub(super) fn leaves_at(&self, values: &[Handle<Expression>], point: &Point) -> Leaves {
        let mut leaves = Leaves::default();
        values.iter().for_each(|&value| self.descend(value, point, &mut leaves));
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
        if let Some(Placed::Shared(_) | Placed::Repeated(_)) = self.placed.get(&value) {
            return;
        }
        room(|| self.descend_operands(value, ty, point, leaves));
    }

    fn descend_operands(&self, value: Handle<Expression>, ty: Type, point: &Point, leaves: &mut Leaves) {
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
                let starts = point
                    .coordinates
                    .iter()
                    .filter_map(|c| start_of(c, INNER))
                    .map(|(_, start)| start);
                let leaf = leaves.loads.entry(value).or_insert_with(|| Leaf {
                    access: access.clone(),
                    shape: ty.shape,
                    point: point.clone(),
                    kind,
                    start: starts.min().unwrap_or(EVERYTHING),
                });
                // Read at two places: each reads for itself.
                if leaf.point.coordinates != point.coordinates {
                    leaf.kind = LeafKind::Scattered;
                }
                for operand in access.operands() {
                    self.descend_index(operand, ty.shape, point, leaves);
                }
            }
            Expression::Permute { value, axes } => self.descend(*value, &point.before_permute(axes), leaves),
            Expression::Slice {
                value,
                axis,
                start,
                step,
                ..
            } => self.descend(*value, &point.before_slice(*axis, *start, *step), leaves),
            Expression::Concatenate { left, right, axis } => {
                let extent = self.kernel.ty(*left).shape.extents()[*axis as usize];
                let [l, r] = point.before_concatenate(*axis, extent);
                self.descend(*left, &l, leaves);
                self.descend(*right, &r, leaves);
            }
            Expression::Take { value, index, axis } => {
                self.descend(*index, point, leaves);
                // Where an index points is known only where it is read.
                self.descend(*value, &point.with(*axis, format!("take({INNER})")), leaves);
            }
            Expression::Atomic(atomic) => {
                for operand in atomic.access.operands() {
                    self.descend_index(operand, ty.shape, point, leaves);
                }
                atomic
                    .update
                    .operands()
                    .for_each(|operand| self.descend(operand, point, leaves));
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
            .filter(|&axis| mentions(&point.coordinates[axis], INNER))
            .collect();
        match moving.as_slice() {
            [] => LeafKind::Still,
            [axis] if start_of(&point.coordinates[*axis], INNER).is_some() => match walk(self.kernel, access, *axis) {
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

    /// The power of two, up to 16, that divides the address at which a leaf's rows are read first.
    pub(super) fn leaf_alignment(&self, leaf: &Leaf, axis: usize) -> u64 {
        let size = self.element(leaf.access.tensor).size() as u64;
        self.row_alignment(&leaf.access, axis)
            .min(leaf.start.saturating_mul(size))
    }

    fn is_still(&self, mask: Option<Handle<Expression>>, axis: usize) -> bool {
        mask.is_none_or(|mask| step(self.kernel, mask, axis) == Some(0))
    }

    /// Whether an access that is adjacent along `axis` of its tile can be treated as one row: its mask does not change
    /// along it, and where it leaves the tensor elements are just left out.
    pub(super) fn is_row(&self, access: &Access, tensor_axis: usize, axis: usize) -> bool {
        let guarded = access.guards[tensor_axis].any();
        // A report is made where the element is, and not where the mask leaves it out.
        let reported = self.kernel.reports(access) && access.is_guarded() && (guarded || access.mask.is_some());
        let skips = match access.bounds {
            Bounds::ReadZeroSkipWrite | Bounds::Unchecked | Bounds::Trap => !reported,
            Bounds::Clamp => !guarded && !reported,
        };
        skips && self.is_still(access.mask, axis)
    }
}
