//! Tiles that threads keep in registers, and exchange through shared memory.

use super::leaves::{Group, INNER, LeafKind, Leaves, Sink};
use super::types::{c_type, memory_type};
use super::writer::{Placed, Writer};
use crate::analysis::contiguity::{Walk, walk};
use crate::ir::Shape;

impl Writer<'_> {
    /// Tiles of registers: each thread does the elements that it holds.
    pub(super) fn register_group(&mut self, group: &Group<'_>, leaves: &mut Leaves) {
        let shape = group.shape;
        let elements = shape.elements();
        let lanes = self.lanes_of(elements);
        let n = shape.innermost() as u64;
        let threads = self.schedule.threads as u64;
        let store = match &group.sink {
            Sink::Store(access) => match walk(self.kernel, access, shape.rank() - 1) {
                Walk::Adjacent(axis) if lanes > 1 && self.is_row(access, axis, shape.rank() - 1) => {
                    let bytes = (lanes * self.element(access.tensor).size() as u64).min(16);
                    (self.row_alignment(access, axis) >= bytes).then_some((*access, axis))
                }
                _ => None,
            },
            Sink::Registers(_)
            | Sink::Effect
            | Sink::Check(_)
            | Sink::Mark(_)
            | Sink::Prefetch(_)
            | Sink::InOrder(_) => None,
        };
        // Where the innermost axis has extent 1, a thread's neighbouring elements lie along an outer one.
        let along_outer = n == 1 && lanes > 1;
        for leaf in leaves.loads.values_mut() {
            if along_outer {
                leaf.kind = LeafKind::Scattered;
            } else if let LeafKind::Adjacent { axis, .. } = leaf.kind {
                let bytes = (lanes * self.element(leaf.access.tensor).size() as u64).min(16);
                let direct = lanes > 1 && n.is_multiple_of(lanes) && self.leaf_alignment(leaf, axis) >= bytes;
                leaf.kind = if direct {
                    LeafKind::Adjacent { axis, aligned: true }
                } else {
                    LeafKind::Scattered
                };
            }
        }
        let trips = elements.div_ceil(threads * lanes);
        self.line("#pragma unroll");
        self.open(format!("for (int k = 0; k < {trips}; ++k) {{"));
        self.line(format!("const int first = (k * {threads} + worker) * {lanes};"));
        // What is the same along a row, and the row itself, is found at its first element here.
        self.line(format!("const int r = k * {lanes};"));
        let partial = !elements.is_multiple_of(threads * lanes);
        if partial {
            self.open(format!("if (first < {elements}) {{"));
        }
        if !along_outer {
            self.coordinates(shape, "first");
        }
        let rows = self.rows_of_leaves(leaves);
        let mut substitutes = self.vector_leaves(leaves, &rows, lanes);
        let out = store.map(|(access, _)| {
            let name = self.fresh("out");
            self.line(format!(
                "tw_vec<{}, {lanes}> {name};",
                memory_type(self.element(access.tensor))
            ));
            name
        });
        self.line("#pragma unroll");
        self.open(format!("for (int v = 0; v < {lanes}; ++v) {{"));
        let mut lane = if along_outer {
            self.coordinates(shape, "(first + v)");
            Self::symbolic_point(shape, INNER)
        } else {
            Self::symbolic_point(shape, &format!("({INNER} + v)"))
        };
        lane.register = Some(format!("k * {lanes} + v"));
        std::mem::swap(&mut self.substitutes, &mut substitutes);
        match (&group.sink, &out) {
            (Sink::Registers(name), _) => {
                let value = self.pull(group.value, &lane);
                self.line(format!("{name}[k * {lanes} + v] = {value};"));
            }
            (Sink::Store(_), Some(out)) => {
                let value = self.pull(group.value, &lane);
                self.line(format!("{out}.e[v] = {value};"));
            }
            (Sink::Store(access), None) => {
                let value = self.pull(group.value, &lane);
                self.store_element(access, &value, &lane, shape, group.span);
            }
            (Sink::Effect | Sink::Check(_) | Sink::Mark(_) | Sink::Prefetch(_) | Sink::InOrder(_), _) => {
                self.element_effect(group, &lane)
            }
        }
        std::mem::swap(&mut self.substitutes, &mut substitutes);
        self.close();
        if let (Some((access, axis)), Some(out)) = (store, out) {
            let start = Self::symbolic_point(shape, "0");
            let row = self.row(access, axis, &start, shape, group.span);
            self.store_vector(access, &row, lanes, &out);
        }
        if partial {
            self.close();
        }
        self.close();
    }

    /// Defines the coordinates of the element at a row-major position.
    fn coordinates(&mut self, shape: Shape, position: &str) {
        let point = self.coordinates_of(shape, position);
        for (axis, coordinate) in point.coordinates.iter().enumerate() {
            let name = if axis + 1 == shape.rank() {
                INNER.to_owned()
            } else {
                format!("i{axis}")
            };
            self.line(format!("const int {name} = {coordinate};"));
        }
    }

    /// Puts tiles of which threads read each other's elements into shared memory.
    pub(super) fn exchange(&mut self, leaves: &Leaves) {
        for &value in &leaves.exchanged {
            let ty = self.kernel.ty(value);
            let Some(Placed::Registers(name)) = self.placed.get(&value).cloned() else {
                continue;
            };
            let shared = format!("{name}_shared");
            self.declare_shared(c_type(ty.element), ty.element.size(), &shared, ty.shape.elements());
        }
        self.synchronize();
        for &value in &leaves.exchanged {
            let ty = self.kernel.ty(value);
            let Some(Placed::Registers(name)) = self.placed.get(&value).cloned() else {
                continue;
            };
            let (elements, threads) = (ty.shape.elements(), self.schedule.threads as u64);
            let lanes = self.lanes_of(elements);
            self.line("#pragma unroll");
            self.open(format!(
                "for (int r = 0; r < {}; ++r) {{",
                elements.div_ceil(threads * lanes) * lanes
            ));
            self.line(format!(
                "const int e = (r / {lanes} * {threads} + worker) * {lanes} + r % {lanes};"
            ));
            self.line(format!("if (e < {elements}) {name}_shared[e] = {name}[r];"));
            self.close();
        }
        self.synchronize();
    }

    /// Elements that a thread holds side by side of a tile of `elements` elements in registers.
    pub(super) fn lanes_of(&self, elements: u64) -> u64 {
        self.lanes.get(&elements).copied().unwrap_or(1) as u64
    }

    /// Registers that a thread holds of a tile of `elements` elements.
    pub(super) fn registers_of(&self, elements: u64) -> u64 {
        let lanes = self.lanes_of(elements);
        elements.div_ceil(self.schedule.threads as u64 * lanes) * lanes
    }
}
