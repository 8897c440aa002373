//! Tiles that are computed and stored on the way, without a place of their own.
//!
//! A store whose innermost axis is adjacent in memory moves 16 bytes at a time. Where the rows are not known to begin at
//! a multiple of 16 bytes, the elements before the first such address and after the last whole vector are peeled, and
//! loads whose rows begin elsewhere are realigned from aligned words. All loads of a thread's accesses in flight come
//! before its first store.

use super::leaves::{Group, INNER, LeafKind, Leaves};
use super::types::{c_type, memory_type};
use super::writer::Writer;
use crate::analysis::contiguity::{Walk, walk};
use crate::ir::Access;
use crate::schedule::VECTOR_BYTES;

impl Writer<'_> {
    pub(super) fn stream_group(&mut self, group: &Group<'_>, access: &Access, leaves: &mut Leaves) {
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
            return self.flat(group, access);
        };
        let aligned = self.row_alignment(access, axis) >= VECTOR_BYTES as u64;
        for leaf in leaves.loads.values_mut() {
            if let LeafKind::Adjacent { axis, .. } = leaf.kind {
                let size = self.element(leaf.access.tensor).size();
                let direct = aligned && self.leaf_alignment(leaf, axis) >= (lanes * size as u64).min(16);
                leaf.kind = match (direct, size == element.size()) {
                    (true, _) => LeafKind::Adjacent { axis, aligned: true },
                    (false, true) if leaf.access.cache.is_none() => LeafKind::Adjacent { axis, aligned: false },
                    (false, _) => LeafKind::Scattered,
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
        self.keep_rolled();
        self.open(format!("for (int e = worker; e < rest; e += {workers}) {{"));
        self.line(format!("const int {INNER} = e < head ? e : e + vectors * {lanes};"));
        let point = Self::symbolic_point(group.shape, INNER);
        let value = self.pull(group.value, &point);
        self.store_element(access, &value, &point, group.shape, group.span);
        self.close();
        self.close();
    }

    /// One element at a time.
    fn flat(&mut self, group: &Group<'_>, access: &Access) {
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
            self.keep_rolled();
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
