//! The loop over the elements of one store or assignment.
//!
//! A store whose innermost axis is adjacent in memory moves 16 bytes at a time. Where the rows are not known to begin at
//! a multiple of 16 bytes, the elements before the first such address and after the last whole vector are peeled, and
//! loads whose rows begin elsewhere are realigned from aligned words. All loads of a thread's accesses in flight come
//! before its first store.

use std::collections::{BTreeMap, BTreeSet};

use super::access::Row;
use super::prelude::Need;
use super::pull::Point;
use super::types::{c_type, memory_type};
use super::writer::{Placed, Writer};
use crate::analysis::contiguity::{Walk, step, walk};
use crate::element::ElementType;
use crate::ir::{Access, Bounds, Expression, Handle, Shape, Span};
use crate::schedule::VECTOR_BYTES;

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
    access: Access,
    shape: Shape,
    point: Point,
    kind: LeafKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeafKind {
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
    loads: BTreeMap<Handle<Expression>, Leaf>,
    /// Tiles in registers.
    registers: BTreeSet<Handle<Expression>>,
    /// Tiles in registers of which a thread reads elements that another holds.
    pub(super) exchanged: BTreeSet<Handle<Expression>>,
}

/// The name of the innermost coordinate of the vector at hand.
const INNER: &str = "c";

impl Leaves {
    /// Whether any of it is in registers.
    pub(super) fn has_registers(&self) -> bool {
        !self.registers.is_empty()
    }
}

impl<'a> Writer<'a> {
    /// The coordinates that the loops of a group define: `i0`, `i1` and the innermost one.
    fn symbolic_point(shape: Shape, inner: &str) -> Point {
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

    fn descend_index(&self, operand: Handle<Expression>, shape: Shape, point: &Point, leaves: &mut Leaves) {
        let own = self.kernel.ty(operand).shape;
        if own.rank() > 0 {
            self.descend(operand, &point.aligned_with(own, shape), leaves);
        }
    }

    fn descend(&self, value: Handle<Expression>, point: &Point, leaves: &mut Leaves) {
        let ty = self.kernel.ty(value);
        if ty.is_scalar() {
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
    fn is_row(&self, access: &Access, tensor_axis: usize, axis: usize) -> bool {
        let guarded = access.guards[tensor_axis].any();
        let skips = match access.bounds {
            Bounds::ReadZeroSkipWrite | Bounds::Unchecked => true,
            Bounds::Clamp => !guarded,
            Bounds::Trap => !access.is_guarded() || (!guarded && access.mask.is_none()),
        };
        skips && self.is_still(access.mask, axis)
    }

    /// Writes a group.
    pub(super) fn group(&mut self, group: &Group<'_>) {
        let mut leaves = self.leaves(group);
        let exchange = !leaves.exchanged.is_empty();
        if exchange {
            self.open("{");
            self.exchange(&leaves);
        }
        if leaves.has_registers() || matches!(group.sink, Sink::Registers(_)) {
            self.register_group(group, &mut leaves);
        } else if let Sink::Store(access) = group.sink.clone() {
            self.stream_group(group, access, &mut leaves);
        }
        if exchange {
            self.close();
        }
    }

    fn stream_group(&mut self, group: &Group<'_>, access: &Access, leaves: &mut Leaves) {
        let shape = group.shape;
        let n = shape.innermost() as u64;
        let element = self.element(access.tensor);
        let lanes = VECTOR_BYTES as u64 / element.size() as u64;
        let last = shape.rank() - 1;
        let adjacent = match walk(self.kernel, access, last) {
            Walk::Adjacent(axis) if self.is_row(access, axis, last) && n >= lanes => Some(axis),
            _ => None,
        };
        let Some(axis) = adjacent else {
            leaves
                .loads
                .values_mut()
                .for_each(|leaf| leaf.kind = leaf.kind.unless_adjacent());
            return self.flat(group, access, leaves);
        };
        let aligned = self.row_alignment(access, axis) >= VECTOR_BYTES as u64;
        for leaf in leaves.loads.values_mut() {
            if let LeafKind::Adjacent { axis, .. } = leaf.kind {
                let size = self.element(leaf.access.tensor).size();
                let direct = aligned && self.row_alignment(&leaf.access, axis) >= (lanes * size as u64).min(16);
                leaf.kind = match (direct, size == element.size()) {
                    (true, _) => LeafKind::Adjacent { axis, aligned: true },
                    (false, true) => LeafKind::Adjacent { axis, aligned: false },
                    (false, false) => LeafKind::Scattered,
                };
            }
        }
        let rows = shape.elements() / n;
        if aligned && n.is_multiple_of(lanes) {
            self.whole_vectors(group, access, axis, leaves, rows, n / lanes, lanes);
        } else {
            self.peeled_rows(group, access, axis, leaves, rows, aligned, lanes);
        }
    }

    /// Rows that are whole numbers of aligned vectors: one loop over all vectors.
    #[allow(clippy::too_many_arguments)] // They are the loop's geometry; a struct for one caller says no more.
    fn whole_vectors(
        &mut self,
        group: &Group<'_>,
        access: &Access,
        axis: usize,
        leaves: &Leaves,
        rows: u64,
        vectors: u64,
        lanes: u64,
    ) {
        let single = rows == 1;
        let setup = |w: &mut Self, q: &str| {
            if !single {
                w.line(format!("const int row = {q} / {vectors};"));
                w.outer_coordinates(group.shape, "row");
            }
        };
        let inner = |q: &str| {
            if single {
                format!("{q} * {lanes}")
            } else {
                format!("({q} - row * {vectors}) * {lanes}")
            }
        };
        self.open("{");
        if single {
            self.line_zero_coordinates(group.shape);
        }
        let shared = single.then(|| self.rows(group, access, axis, leaves));
        let element = memory_type(self.element(access.tensor));
        let out = |u: &str| format!("out[{u}]");
        self.chunks(
            Count::Known(rows * vectors),
            &format!("tw_vec<{element}, {lanes}>"),
            |w, phase, u, q| {
                setup(w, q);
                w.line(format!("const int {INNER} = {};", inner(q)));
                let rows = match &shared {
                    Some(rows) => rows.clone(),
                    None => w.rows(group, access, axis, leaves),
                };
                match phase {
                    Phase::Load => w.vector_value(group, leaves, &rows, lanes, &out(u)),
                    Phase::Store => w.store_vector(access, &rows.store, lanes, &out(u)),
                }
            },
        );
        self.close();
    }

    /// Rows whose ends are not multiples of 16 bytes: peeled one by one.
    #[allow(clippy::too_many_arguments)] // They are the loop's geometry; a struct for one caller says no more.
    fn peeled_rows(
        &mut self,
        group: &Group<'_>,
        access: &Access,
        axis: usize,
        leaves: &Leaves,
        rows: u64,
        aligned: bool,
        lanes: u64,
    ) {
        let n = group.shape.innermost() as u64;
        let element = self.element(access.tensor);
        if rows == 1 {
            self.open("{");
            self.line_zero_coordinates(group.shape);
        } else {
            self.open(format!("for (int row = 0; row < {rows}; ++row) {{"));
            self.outer_coordinates(group.shape, "row");
        }
        let row = self.rows(group, access, axis, leaves);
        if aligned {
            self.line("const int head = 0;");
            self.line(format!("const int vectors = {};", n / lanes));
        } else {
            // An element's address is a multiple of its size, so a whole number of elements precedes the boundary.
            let pointer = &row.store.pointer;
            let bytes = format!("(int)((16U - ((unsigned int)(unsigned long long){pointer} & 15U)) & 15U)");
            self.line(format!("const int head = {bytes} / {};", element.size()));
            self.line(format!("const int vectors = ({n} - head) / {lanes};"));
        }
        let count = if aligned {
            Count::Known(n / lanes)
        } else {
            Count::AtMost("vectors".into(), n / lanes)
        };
        let ty = format!("tw_vec<{}, {lanes}>", memory_type(element));
        self.chunks(count, &ty, |w, phase, u, q| {
            w.line(format!("const int {INNER} = head + {q} * {lanes};"));
            match phase {
                Phase::Load => w.vector_value(group, leaves, &row, lanes, &format!("out[{u}]")),
                Phase::Store => w.store_vector(access, &row.store, lanes, &format!("out[{u}]")),
            }
        });
        let workers = self.workers();
        self.line(format!("const int rest = {n} - vectors * {lanes};"));
        self.line("#pragma unroll 1");
        self.open(format!("for (int e = worker; e < rest; e += {workers}) {{"));
        self.line(format!("const int {INNER} = e < head ? e : e + vectors * {lanes};"));
        let point = Self::symbolic_point(group.shape, INNER);
        let value = self.pull(group.value, &point);
        self.store_element(access, &value, &point, group.shape, group.span);
        self.close();
        self.close();
    }

    /// One element at a time.
    fn flat(&mut self, group: &Group<'_>, access: &Access, leaves: &Leaves) {
        let _ = leaves;
        let elements = group.shape.elements();
        let element = self.element(access.tensor);
        self.open("{");
        self.chunks(Count::Known(elements), c_type(element), |w, phase, u, q| {
            let point = w.coordinates_of(group.shape, q);
            match phase {
                Phase::Load => {
                    let value = w.pull(group.value, &point);
                    w.line(format!("out[{u}] = {value};"));
                }
                Phase::Store => w.store_element(access, &format!("out[{u}]"), &point, group.shape, group.span),
            }
        });
        self.close();
    }

    /// Tiles of registers: each thread does the elements that it holds.
    fn register_group(&mut self, group: &Group<'_>, leaves: &mut Leaves) {
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
            Sink::Registers(_) => None,
        };
        for leaf in leaves.loads.values_mut() {
            if let LeafKind::Adjacent { axis, .. } = leaf.kind {
                let bytes = (lanes * self.element(leaf.access.tensor).size() as u64).min(16);
                let direct = lanes > 1 && n.is_multiple_of(lanes) && self.row_alignment(&leaf.access, axis) >= bytes;
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
        let partial = !elements.is_multiple_of(threads * lanes);
        if partial {
            self.open(format!("if (first < {elements}) {{"));
        }
        let mut point = self.coordinates_of(shape, "first");
        self.line(format!(
            "const int {INNER} = {};",
            point.coordinates.last().cloned().unwrap_or_default()
        ));
        if let Some(last) = point.coordinates.last_mut() {
            *last = INNER.to_owned();
        }
        for (axis, coordinate) in point.coordinates.iter().enumerate().take(shape.rank() - 1) {
            self.line(format!("const int i{axis} = {coordinate};"));
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
        let mut lane = Self::symbolic_point(shape, &format!("({INNER} + v)"));
        lane.register = Some(format!("k * {lanes} + v"));
        std::mem::swap(&mut self.substitutes, &mut substitutes);
        let value = self.pull(group.value, &lane);
        match (&group.sink, &out) {
            (Sink::Registers(name), _) => self.line(format!("{name}[k * {lanes} + v] = {value};")),
            (Sink::Store(_), Some(out)) => self.line(format!("{out}.e[v] = {value};")),
            (Sink::Store(access), None) => self.store_element(access, &value, &lane, shape, group.span),
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

    /// Puts tiles of which threads read each other's elements into shared memory.
    fn exchange(&mut self, leaves: &Leaves) {
        for &value in &leaves.exchanged {
            let ty = self.kernel.ty(value);
            let Some(Placed::Registers(name)) = self.placed.get(&value).cloned() else {
                continue;
            };
            self.line(format!(
                "__shared__ {} {name}_shared[{}];",
                c_type(ty.element),
                ty.shape.elements()
            ));
        }
        self.line("__syncthreads();");
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
        self.line("__syncthreads();");
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

    /// Threads that share a group's elements.
    pub(super) fn workers(&self) -> u64 {
        self.schedule.threads as u64 * self.schedule.splits as u64
    }

    /// Defines the outer coordinates of row number `row`.
    fn outer_coordinates(&mut self, shape: Shape, row: &str) {
        match shape.extents() {
            [_, _] => self.line(format!("const int i0 = {row};")),
            [_, middle, _] => {
                self.line(format!("const int i0 = {row} / {middle};"));
                self.line(format!("const int i1 = {row} - i0 * {middle};"));
            }
            _ => {}
        }
    }

    fn line_zero_coordinates(&mut self, shape: Shape) {
        for axis in 0..shape.rank() - 1 {
            self.line(format!("const int i{axis} = 0;"));
        }
    }

    /// The coordinates of the element at a row-major position.
    fn coordinates_of(&self, shape: Shape, position: &str) -> Point {
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
    fn rows(&mut self, group: &Group<'_>, access: &Access, axis: usize, leaves: &Leaves) -> Rows {
        let start = Self::symbolic_point(group.shape, "0");
        let store = self.row(access, axis, &start, group.shape, group.span);
        Rows {
            store,
            loads: self.rows_of_leaves(leaves),
        }
    }

    fn rows_of_leaves(&mut self, leaves: &Leaves) -> BTreeMap<Handle<Expression>, Row> {
        let mut rows = BTreeMap::new();
        for (&load, leaf) in &leaves.loads {
            if let LeafKind::Adjacent { axis, .. } = leaf.kind {
                let mut start = leaf.point.clone();
                start
                    .coordinates
                    .iter_mut()
                    .filter(|c| *c == INNER)
                    .for_each(|c| *c = "0".to_owned());
                let span = self.kernel.spans[load.index()];
                rows.insert(load, self.row(&leaf.access, axis, &start, leaf.shape, span));
            }
        }
        rows
    }

    /// Computes the vector at innermost coordinate `c` into `target`.
    fn vector_value(&mut self, group: &Group<'_>, leaves: &Leaves, rows: &Rows, lanes: u64, target: &str) {
        // A plain move needs no look at the elements; a bool has to become 0 or 1.
        if let (Some(leaf), Some(row)) = (leaves.loads.get(&group.value), rows.loads.get(&group.value))
            && self.element(leaf.access.tensor) != ElementType::Bool
        {
            return self.load_vector(leaf, row, lanes, target);
        }
        let mut substitutes = self.vector_leaves(leaves, &rows.loads, lanes);
        self.line("#pragma unroll");
        self.open(format!("for (int v = 0; v < {lanes}; ++v) {{"));
        let lane = Point {
            register: None,
            ..Self::symbolic_point(group.shape, &format!("({INNER} + v)"))
        };
        std::mem::swap(&mut self.substitutes, &mut substitutes);
        let value = self.pull(group.value, &lane);
        std::mem::swap(&mut self.substitutes, &mut substitutes);
        self.line(format!("{target}.e[v] = {value};"));
        self.close();
    }

    /// Loads what a vector's lanes share or find side by side; returns what stands for each load in a lane.
    fn vector_leaves(
        &mut self,
        leaves: &Leaves,
        rows: &BTreeMap<Handle<Expression>, Row>,
        lanes: u64,
    ) -> BTreeMap<Handle<Expression>, String> {
        let mut substitutes = BTreeMap::new();
        for (&load, leaf) in &leaves.loads {
            match (leaf.kind, rows.get(&load)) {
                (LeafKind::Adjacent { .. }, Some(row)) => {
                    let element = self.element(leaf.access.tensor);
                    let name = self.fresh("x");
                    self.line(format!("tw_vec<{}, {lanes}> {name};", memory_type(element)));
                    self.load_vector(leaf, row, lanes, &name);
                    let lane = format!("{name}.e[v]");
                    substitutes.insert(
                        load,
                        if element == ElementType::Bool {
                            format!("({lane} != 0)")
                        } else {
                            lane
                        },
                    );
                }
                (LeafKind::Still, _) => {
                    let point = Point {
                        register: None,
                        ..leaf.point.clone()
                    };
                    let value = self.pull(load, &point);
                    substitutes.insert(load, value);
                }
                _ => {}
            }
        }
        substitutes
    }

    fn load_vector(&mut self, leaf: &Leaf, row: &Row, lanes: u64, target: &str) {
        let aligned = matches!(leaf.kind, LeafKind::Adjacent { aligned: true, .. });
        let ty = memory_type(self.element(leaf.access.tensor));
        let hint = self.load_hint(leaf.access.tensor);
        self.need(if aligned { Need::Load } else { Need::Realign });
        let function = if aligned { "tw_load" } else { "tw_load_any" };
        let load = format!(
            "{target} = {function}<{hint}, {ty}, {lanes}>({} + {INNER});",
            row.pointer
        );
        if row.condition.is_none() && row.valid.is_none() {
            return self.line(load);
        }
        self.line(format!("{target} = tw_vec<{ty}, {lanes}>{{}};"));
        if let Some(condition) = &row.condition {
            self.open(format!("if ({condition}) {{"));
        }
        match &row.valid {
            None => self.line(load),
            Some((low, high)) => {
                self.open(format!("if ({INNER} >= {low} && {INNER} + {lanes} <= {high}) {{"));
                self.line(load);
                self.otherwise();
                self.line("#pragma unroll");
                self.open(format!("for (int v = 0; v < {lanes}; ++v) {{"));
                self.line(format!(
                    "if ({INNER} + v >= {low} && {INNER} + v < {high}) {target}.e[v] = {}[{INNER} + v];",
                    row.pointer
                ));
                self.close();
                self.close();
            }
        }
        if row.condition.is_some() {
            self.close();
        }
    }

    fn store_vector(&mut self, access: &Access, row: &Row, lanes: u64, source: &str) {
        let ty = memory_type(self.element(access.tensor));
        let hint = self.store_hint();
        self.need(Need::Store);
        let store = format!("tw_store<{hint}, {ty}, {lanes}>({} + {INNER}, {source});", row.pointer);
        if let Some(condition) = &row.condition {
            self.open(format!("if ({condition}) {{"));
        }
        match &row.valid {
            None => self.line(store),
            Some((low, high)) => {
                self.open(format!("if ({INNER} >= {low} && {INNER} + {lanes} <= {high}) {{"));
                self.line(store);
                self.otherwise();
                self.line("#pragma unroll");
                self.open(format!("for (int v = 0; v < {lanes}; ++v) {{"));
                self.line(format!(
                    "if ({INNER} + v >= {low} && {INNER} + v < {high}) {}[{INNER} + v] = {source}.e[v];",
                    row.pointer
                ));
                self.close();
                self.close();
            }
        }
        if row.condition.is_some() {
            self.close();
        }
    }

    /// A loop over `count` items shared by all workers: `body` is called once to load and once to store, with the number
    /// of the access in flight and of the item.
    fn chunks(&mut self, count: Count, ty: &str, mut body: impl FnMut(&mut Self, Phase, &str, &str)) {
        self.needs_vectors(true);
        let workers = self.workers();
        let (most, text) = match &count {
            Count::Known(count) => (*count, count.to_string()),
            Count::AtMost(text, most) => (*most, text.clone()),
        };
        let trips = most.div_ceil(workers);
        let unroll = trips.min(self.schedule.unroll as u64);
        let exact = matches!(count, Count::Known(count) if count % (workers * unroll) == 0);
        let once = trips <= unroll;
        if once {
            self.open("{");
            self.line("const int base = worker;");
        } else {
            self.open(format!(
                "for (int base = worker; base < {text}; base += {}) {{",
                workers * unroll
            ));
        }
        self.line(format!("{ty} out[{unroll}];"));
        for phase in [Phase::Load, Phase::Store] {
            self.line("#pragma unroll");
            self.open(format!("for (int u = 0; u < {unroll}; ++u) {{"));
            self.line(format!("const int q = base + u * {workers};"));
            if !exact {
                self.open(format!("if (q < {text}) {{"));
            }
            body(self, phase, "u", "q");
            if !exact {
                self.close();
            }
            self.close();
        }
        self.close();
    }
}

/// The rows that a vector loop moves along.
#[derive(Clone)]
struct Rows {
    store: Row,
    loads: BTreeMap<Handle<Expression>, Row>,
}

/// A number of items.
enum Count {
    Known(u64),
    AtMost(String, u64),
}

/// The two halves of a trip.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Load,
    Store,
}

impl LeafKind {
    fn unless_adjacent(self) -> Self {
        if matches!(self, Self::Adjacent { .. }) {
            Self::Scattered
        } else {
            self
        }
    }
}

/// Whether a coordinate depends on the innermost one.
fn mentions_inner(coordinate: &str) -> bool {
    coordinate
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word == INNER)
}
