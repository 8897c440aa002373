//! Sorting: a bitonic network over keys and their indices in shared memory.

use super::super::scalar;
use super::super::writer::{Placed, Writer};
use super::line::Line;
use crate::ir::CompareOp;

impl Writer<'_> {
    /// Writes the indices that sort each line.
    pub(super) fn argsort(&mut self, line: Line, descending: bool) -> Placed {
        let (n, threads) = (line.extent, self.schedule.threads);
        let padded = n.next_power_of_two();
        let (name, keys, order) = (self.fresh("sorted"), self.fresh("keys"), self.fresh("order"));
        self.declare_shared("int", 4, &name, n * line.places);
        self.declare_shared(line.ty(), line.element.size(), &keys, padded);
        self.declare_shared("int", 4, &order, padded);
        self.open("{");
        let _ = self.line_leaves(&line);
        self.barrier_in_loop();
        self.open(format!("for (int place = 0; place < {}; ++place) {{", line.places));
        self.at_place(&line, "place");
        self.open(format!("for (int e = worker; e < {padded}; e += {threads}) {{"));
        self.line(format!("{order}[e] = e;"));
        self.open(format!("if (e < {n}) {{"));
        let key = self.pull(line.value, &line.point("e"));
        self.line(format!("{keys}[e] = {key};"));
        self.close();
        self.close();
        self.synchronize();
        self.keep_rolled();
        self.open(format!("for (int size = 2; size <= {padded}; size *= 2) {{"));
        self.keep_rolled();
        self.open("for (int distance = size / 2; distance > 0; distance /= 2) {");
        self.open(format!("for (int e = worker; e < {padded}; e += {threads}) {{"));
        self.line("const int other = e ^ distance;");
        self.open("if (other > e) {");
        self.line(format!("const int l = {order}[e], r = {order}[other];"));
        self.line(format!("const {} a = {keys}[e], b = {keys}[other];", line.ty()));
        let (less, more) = match descending {
            false => ("a", "b"),
            true => ("b", "a"),
        };
        let (before, after) = (self.is_less(&line, less, more), self.is_less(&line, more, less));
        // What fills up to a power of two comes last.
        self.line(format!(
            "const bool swapped = l >= {n} || r >= {n} ? l > r : {after} || (!{before} && l > r);"
        ));
        self.open("if (swapped == ((e & size) == 0)) {");
        self.line(format!("{order}[e] = r;"));
        self.line(format!("{order}[other] = l;"));
        self.line(format!("{keys}[e] = b;"));
        self.line(format!("{keys}[other] = a;"));
        self.close();
        self.close();
        self.close();
        self.synchronize();
        self.close();
        self.close();
        self.open(format!("for (int e = worker; e < {n}; e += {threads}) {{"));
        self.line(format!("{name}[{}] = {order}[e];", line.position("e")));
        self.close();
        self.synchronize();
        self.close();
        self.close();
        Placed::Shared(name)
    }

    /// Whether `left` comes before `right`: smaller, or a number before NaN.
    fn is_less(&mut self, line: &Line, left: &str, right: &str) -> String {
        let less = self.text(scalar::compare(CompareOp::Less, line.element, left, right));
        if !line.element.is_float() {
            return less;
        }
        let nan = self.text(scalar::compare(CompareOp::NotEqual, line.element, right, right));
        let number = self.text(scalar::compare(CompareOp::Equal, line.element, left, left));
        format!("({less} || ({nan} && {number}))")
    }
}
