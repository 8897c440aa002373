//! Vectors: neighbouring elements that one access moves.

use std::collections::BTreeMap;

use super::access::Row;
use super::group::Rows;
use super::leaves::{Group, INNER, Leaf, LeafKind, Leaves};
use super::prelude::Need;
use super::pull::Point;
use super::types::memory_type;
use super::writer::Writer;
use crate::element::ElementType;
use crate::ir::{Access, Expression, Handle};

impl Writer<'_> {
    /// Computes the vector at innermost coordinate `c` into `target`.
    pub(super) fn vector_value(&mut self, group: &Group<'_>, leaves: &Leaves, rows: &Rows, lanes: u64, target: &str) {
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
    pub(super) fn vector_leaves(
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
                    let value = self.pull(load, &leaf.point);
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
        let load = match self.hinted_load(&leaf.access) {
            // Only aligned accesses keep a hint of their author's: others are done one by one.
            Some(function) => format!("{target} = {function}<{ty}, {lanes}>({} + {INNER});", row.pointer),
            None => {
                let function = if aligned { "tw_load" } else { "tw_load_any" };
                format!(
                    "{target} = {function}<{hint}, {ty}, {lanes}>({} + {INNER});",
                    row.pointer
                )
            }
        };
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
                let read = self.read(&leaf.access, &format!("{}[{INNER} + v]", row.pointer));
                self.line(format!(
                    "if ({INNER} + v >= {low} && {INNER} + v < {high}) {target}.e[v] = {read};"
                ));
                self.close();
                self.close();
            }
        }
        if row.condition.is_some() {
            self.close();
        }
    }

    pub(super) fn store_vector(&mut self, access: &Access, row: &Row, lanes: u64, source: &str) {
        let ty = memory_type(self.element(access.tensor));
        let hint = self.store_hint();
        self.need(Need::Store);
        let function = match self.hinted_store(access) {
            Some(function) => format!("{function}<{ty}, {lanes}>"),
            None => format!("tw_store<{hint}, {ty}, {lanes}>"),
        };
        let store = format!("{function}({} + {INNER}, {source});", row.pointer);
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
                let place = format!("{}[{INNER} + v]", row.pointer);
                let write = self.written(access, &place, &format!("{source}.e[v]"));
                self.line(format!("if ({INNER} + v >= {low} && {INNER} + v < {high}) {write}"));
                self.close();
                self.close();
            }
        }
        if row.condition.is_some() {
            self.close();
        }
    }
}
