//! Scans: chunks in a thread, 32 chunks in a warp, 32 groups of them in one warp.

use super::super::prelude::Need;
use super::super::writer::{Placed, Writer};
use super::line::{CHUNK, Line};
use crate::ir::Combine;
use crate::schedule::WARP;

/// Totals that are combined at once.
const GROUP: u64 = WARP as u64;

impl Writer<'_> {
    /// Writes a scan.
    pub(super) fn scan(&mut self, line: Line, combine: &Combine) -> Placed {
        let name = self.fresh("scanned");
        self.declare_shared(line.ty(), line.element.size(), &name, line.extent * line.places);
        self.need(Need::Shuffle);
        self.open("{");
        let (leaves, lanes) = self.line_leaves(&line);
        self.barrier_in_loop();
        let (chunks, ty) = (line.chunks(), line.ty());
        let groups = chunks.div_ceil(GROUP);
        let warps = u64::from(self.schedule.threads / WARP);
        self.line(format!("const int lane = worker % {WARP};"));
        self.line(format!("const int warp = worker / {WARP};"));
        let totals = (groups > 1).then(|| self.fresh("totals"));
        if let Some(totals) = &totals {
            self.declare_shared(ty, line.element.size(), totals, groups);
            self.open(format!("for (int place = 0; place < {}; ++place) {{", line.places));
        } else {
            // A warp for each line.
            self.open(format!(
                "for (int place = warp; place < {}; place += {warps}) {{",
                line.places
            ));
        }
        self.at_place(&line, "place");
        if totals.is_some() {
            self.open(format!("for (int group = warp; group < {groups}; group += {warps}) {{"));
            self.line(format!("const int chunk = group * {GROUP} + lane;"));
        } else {
            self.line("const int chunk = lane;");
        }
        self.scan_group(&line, combine, lanes, &leaves, &name, totals.as_deref());
        if let Some(totals) = &totals {
            self.close();
            self.synchronize();
            self.scan_totals(&line, combine, groups, totals);
            self.synchronize();
            self.open(format!(
                "for (int e = worker + {}; e < {}; e += {}) {{",
                GROUP * CHUNK,
                line.extent,
                self.schedule.threads
            ));
            let place = format!("{name}[{}]", line.position("e"));
            let before = format!("{totals}[e / {} - 1]", GROUP * CHUNK);
            let text = self.combined(combine, line.element, &before, &place);
            self.line(format!("{place} = {text};"));
            self.close();
            if line.places > 1 {
                self.synchronize();
            }
        }
        self.close();
        self.synchronize();
        self.close();
        Placed::Shared(name)
    }

    /// Scans the chunks of one warp and writes their elements; the last one's total goes to `totals`.
    fn scan_group(
        &mut self,
        line: &Line,
        combine: &Combine,
        lanes: u64,
        leaves: &super::super::leaves::Leaves,
        name: &str,
        totals: Option<&str>,
    ) {
        let (chunks, ty, n) = (line.chunks(), line.ty(), line.extent);
        self.line(format!("const int first = chunk * {CHUNK};"));
        self.line(format!("{ty} scanned[{CHUNK}] = {{}};"));
        self.line(format!("{ty} total = {{}};"));
        self.open(format!("if (chunk < {chunks}) {{"));
        self.read_chunk(line, leaves, lanes, "first");
        self.line("scanned[0] = x[0];");
        self.line("total = x[0];");
        self.line("#pragma unroll");
        self.open(format!("for (int i = 1; i < {CHUNK}; ++i) {{"));
        self.open(format!("if (first + i < {n}) {{"));
        let text = self.combined(combine, line.element, "scanned[i - 1]", "x[i]");
        self.line(format!("scanned[i] = {text};"));
        self.line("total = scanned[i];");
        self.close();
        self.close();
        self.close();
        self.double(line, combine, "total");
        self.line(format!("const {ty} before = tw_shuffle_up(total, 1);"));
        self.line("#pragma unroll");
        self.open(format!("for (int i = 0; i < {CHUNK}; ++i) {{"));
        self.open(format!("if (first + i < {n}) {{"));
        let place = format!("{name}[{}]", line.position("(first + i)"));
        self.open("if (lane > 0) {");
        let text = self.combined(combine, line.element, "before", "scanned[i]");
        self.line(format!("{place} = {text};"));
        self.otherwise();
        self.line(format!("{place} = scanned[i];"));
        self.close();
        self.close();
        self.close();
        if let Some(totals) = totals {
            self.line(format!(
                "if (lane == {} || chunk == {}) {{ if (chunk < {chunks}) {totals}[group] = total; }}",
                GROUP - 1,
                chunks - 1
            ));
        }
    }

    /// Combines, in one warp, the total of each group with those of all before it.
    fn scan_totals(&mut self, line: &Line, combine: &Combine, groups: u64, totals: &str) {
        let ty = line.ty();
        self.open("if (warp == 0) {");
        self.line(format!("{ty} carry = {{}};"));
        self.open(format!("for (int base = 0; base < {groups}; base += {GROUP}) {{"));
        self.line(format!("{ty} sum = {{}};"));
        self.line(format!("if (base + lane < {groups}) sum = {totals}[base + lane];"));
        self.double(line, combine, "sum");
        self.open("if (base > 0) {");
        let text = self.combined(combine, line.element, "carry", "sum");
        self.line(format!("sum = {text};"));
        self.close();
        self.line(format!("if (base + lane < {groups}) {totals}[base + lane] = sum;"));
        self.line(format!("carry = tw_shuffle(sum, {});", GROUP - 1));
        self.close();
        self.close();
    }

    /// Combines each lane's `total` with those of the lanes before it, by doubling distances.
    fn double(&mut self, line: &Line, combine: &Combine, total: &str) {
        let mut distance = 1;
        while distance < GROUP {
            self.open("{");
            let other = self.define("other", line.ty(), &format!("tw_shuffle_up({total}, {distance})"));
            self.open(format!("if (lane >= {distance}) {{"));
            let text = self.combined(combine, line.element, &other, total);
            self.line(format!("{total} = {text};"));
            self.close();
            self.close();
            distance *= 2;
        }
    }
}
