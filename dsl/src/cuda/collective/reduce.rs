//! Reductions: chunks in a thread, lines over the threads of a warp or of several.

use super::super::prelude::Need;
use super::super::scalar;
use super::super::types::c_type;
use super::super::writer::{Placed, Writer};
use super::line::{CHUNK, Line};
use crate::element::ElementType;
use crate::ir::{CompareOp, Expression, Reduction, Type};
use crate::schedule::WARP;

/// Partial results that are combined by halves.
const LEAVES: u64 = Expression::LEAVES as u64;

/// How threads share the lines.
struct Share {
    /// Threads that work on a line.
    group: u64,
    /// Partial results of each.
    leaves: u64,
    /// Lines at a time.
    lines: u64,
    /// Whether every group does the one line that there is, so that all have the result.
    replicated: bool,
}

/// A partial result: the element, and for an index where it is.
#[derive(Clone)]
struct Partial {
    value: String,
    index: Option<String>,
}

impl Partial {
    fn at(&self, index: impl std::fmt::Display) -> Partial {
        let of = |name: &String| format!("{name}[{index}]");
        Partial {
            value: of(&self.value),
            index: self.index.as_ref().map(of),
        }
    }
}

impl Share {
    fn of(line: &Line, threads: u64) -> Self {
        let usable = if threads.is_power_of_two() {
            threads
        } else {
            threads.next_power_of_two() / 2
        };
        let leaves = line.chunks().next_power_of_two().min(LEAVES);
        let group = leaves.min(usable);
        Self {
            group,
            leaves: leaves / group,
            lines: usable / group,
            replicated: line.places == 1 && group <= WARP.into(),
        }
    }
}

impl Writer<'_> {
    /// Writes a reduction whose result has type `ty`.
    pub(super) fn reduce(&mut self, line: Line, reduction: &Reduction, ty: Type) -> Placed {
        let share = Share::of(&line, self.schedule.threads.into());
        let (name, result) = (self.fresh("reduced"), c_type(ty.element));
        if share.replicated {
            self.line(format!("{result} {name};"));
        } else {
            self.declare_shared(result, ty.element.size(), &name, line.places);
        }
        self.need(Need::Shuffle);
        self.open("{");
        let (leaves, lanes) = self.line_leaves(&line);
        if !share.replicated && share.group <= WARP.into() {
            self.barrier_in_loop();
        }
        let Share { group, lines, .. } = share;
        self.line(format!("const int lane = worker % {group};"));
        let step = if share.replicated { 1 } else { lines };
        self.open(format!("for (int base = 0; base < {}; base += {step}) {{", line.places));
        if share.replicated {
            self.line("const int place = base;");
        } else {
            self.line(format!("const int place = base + worker / {group};"));
        }
        let partial = self.declare_partials("acc", &line, reduction, share.leaves);
        let all_active = share.replicated || (lines == 1 && group == u64::from(self.schedule.threads));
        // Threads beyond a power of two would do the next lines a second time.
        let within = if !share.replicated && lines * group < self.schedule.threads.into() {
            format!(" && worker < {}", lines * group)
        } else {
            String::new()
        };
        if !all_active {
            self.open(format!("if (place < {}{within}) {{", line.places));
        }
        self.at_place(&line, "place");
        self.line("#pragma unroll");
        self.open(format!("for (int l = 0; l < {}; ++l) {{", share.leaves));
        self.line(format!("const int leaf = l * {group} + lane;"));
        self.open(format!("if (leaf < {}) {{", line.chunks()));
        let long = line.chunks() > LEAVES;
        if long {
            self.open(format!(
                "for (int chunk = leaf; chunk < {}; chunk += {LEAVES}) {{",
                line.chunks()
            ));
        } else {
            self.line("const int chunk = leaf;");
        }
        self.line(format!("const int first = chunk * {CHUNK};"));
        self.read_chunk(&line, &leaves, lanes, "first");
        let chunk = self.reduce_chunk(&line, reduction);
        if long {
            self.open("if (chunk == leaf) {");
            self.assign(&partial.at("l"), &chunk);
            self.otherwise();
            self.accumulate(&line, reduction, &partial.at("l"), &chunk);
            self.close();
            self.close();
        } else {
            self.assign(&partial.at("l"), &chunk);
        }
        self.close();
        self.close();
        self.halve_leaves(&line, reduction, &share, &partial);
        if !all_active {
            self.close();
        }
        let total = self.across_threads(&line, reduction, &share, &partial.at(0));
        let total = total.index.unwrap_or(total.value);
        if share.replicated {
            self.line(format!(
                "{name} = tw_shuffle({total}, worker % {WARP} / {group} * {group});"
            ));
            self.close();
        } else {
            self.line(format!(
                "if (lane == 0 && place < {}{within}) {name}[place] = {total};",
                line.places
            ));
            // What the next lines exchange has been read by then.
            if group > WARP.into() && line.places > lines {
                self.synchronize();
            }
            self.close();
            self.synchronize();
        }
        self.close();
        match (ty.is_scalar(), share.replicated) {
            (true, true) => Placed::Scalar(name),
            (true, false) => {
                let element = format!("{name}[0]");
                Placed::Scalar(self.define("v", result, &element))
            }
            // One line of a tile with axes of extent 1.
            (false, true) => Placed::Repeated(name),
            (false, false) => Placed::Shared(name),
        }
    }

    fn declare_partials(&mut self, name: &str, line: &Line, reduction: &Reduction, count: u64) -> Partial {
        self.line(format!("{} {name}[{count}] = {{}};", line.ty()));
        let index = match reduction {
            Reduction::Combine(_) => None,
            Reduction::ArgMin | Reduction::ArgMax => {
                self.line(format!("long long {name}_at[{count}] = {{}};"));
                Some(format!("{name}_at"))
            }
        };
        Partial {
            value: name.to_owned(),
            index,
        }
    }

    /// Combines the elements `x` of a chunk by halves.
    fn reduce_chunk(&mut self, line: &Line, reduction: &Reduction) -> Partial {
        let index = match reduction {
            Reduction::Combine(_) => None,
            Reduction::ArgMin | Reduction::ArgMax => {
                self.line(format!("long long at[{CHUNK}];"));
                self.line("#pragma unroll");
                self.line(format!("for (int i = 0; i < {CHUNK}; ++i) at[i] = first + i;"));
                Some("at".to_owned())
            }
        };
        let x = Partial {
            value: "x".to_owned(),
            index,
        };
        let mut half = CHUNK / 2;
        while half > 0 {
            // A line shorter than a chunk needs no combining with what no line has.
            for i in (0..half).filter(|i| i + half < line.extent) {
                if line.is_ragged() {
                    self.open(format!("if (first + {} < {}) {{", i + half, line.extent));
                }
                self.accumulate(line, reduction, &x.at(i), &x.at(i + half));
                if line.is_ragged() {
                    self.close();
                }
            }
            half /= 2;
        }
        x.at(0)
    }

    /// Combines the partial results of each thread.
    fn halve_leaves(&mut self, line: &Line, reduction: &Reduction, share: &Share, partial: &Partial) {
        let mut half = share.leaves / 2;
        while half > 0 {
            self.line("#pragma unroll");
            self.open(format!("for (int l = 0; l < {half}; ++l) {{"));
            self.open(format!(
                "if ((l + {half}) * {} + lane < {}) {{",
                share.group,
                line.chunks().min(LEAVES)
            ));
            self.accumulate(line, reduction, &partial.at("l"), &partial.at(format!("l + {half}")));
            self.close();
            self.close();
            half /= 2;
        }
    }

    /// Combines the results of the threads of a group; the first of them has the total.
    fn across_threads(&mut self, line: &Line, reduction: &Reduction, share: &Share, own: &Partial) -> Partial {
        let chunks = line.chunks().min(LEAVES);
        let warp = u64::from(WARP);
        let group = share.group;
        if group > warp {
            let (value, index) = (self.fresh("partial"), self.fresh("partial_at"));
            self.declare_shared(line.ty(), line.element.size(), &value, share.lines * group);
            let shared = Partial {
                value,
                index: own.index.as_ref().map(|_| index),
            };
            if let Some(index) = &shared.index {
                self.declare_shared("long long", ElementType::I64.size(), index, share.lines * group);
            }
            self.open(format!("if (worker < {}) {{", share.lines * group));
            self.assign(&shared.at("worker"), own);
            self.close();
            self.synchronize();
            // The first warp of the group takes the results of the others' same lanes.
            self.open(format!("if (lane < {warp} && worker < {}) {{", share.lines * group));
            let rows = group / warp;
            let parts = self.declare_partials("part", line, reduction, rows);
            self.line("#pragma unroll");
            self.open(format!("for (int k = 0; k < {rows}; ++k) {{"));
            self.assign(&parts.at("k"), &shared.at(format!("worker + k * {warp}")));
            self.close();
            let mut half = rows / 2;
            while half > 0 {
                self.line("#pragma unroll");
                self.open(format!("for (int k = 0; k < {half}; ++k) {{"));
                self.open(format!("if ((k + {half}) * {warp} + lane < {chunks}) {{"));
                self.accumulate(line, reduction, &parts.at("k"), &parts.at(format!("k + {half}")));
                self.close();
                self.close();
                half /= 2;
            }
            self.assign(own, &parts.at(0));
            self.close();
        }
        let mut half = group.min(warp) / 2;
        while half > 0 {
            self.open("{");
            let other = Partial {
                value: self.define("other", line.ty(), &format!("tw_shuffle_down({}, {half})", own.value)),
                index: own
                    .index
                    .as_ref()
                    .map(|index| self.define("other_at", "long long", &format!("tw_shuffle_down({index}, {half})"))),
            };
            self.open(format!("if (lane < {half} && lane + {half} < {chunks}) {{"));
            self.accumulate(line, reduction, own, &other);
            self.close();
            self.close();
            half /= 2;
        }
        own.clone()
    }

    fn assign(&mut self, to: &Partial, from: &Partial) {
        self.line(format!("{} = {};", to.value, from.value));
        if let (Some(to), Some(from)) = (&to.index, &from.index) {
            self.line(format!("{to} = {from};"));
        }
    }

    /// `to` becomes `to` combined with `from`.
    fn accumulate(&mut self, line: &Line, reduction: &Reduction, to: &Partial, from: &Partial) {
        let better = match reduction {
            Reduction::Combine(combine) => {
                let text = self.combined(combine, line.element, &to.value, &from.value);
                return self.line(format!("{} = {text};", to.value));
            }
            Reduction::ArgMin => CompareOp::Less,
            Reduction::ArgMax => CompareOp::Greater,
        };
        let (Some(to_at), Some(from_at)) = (&to.index, &from.index) else {
            return;
        };
        let (l, r) = (&to.value, &from.value);
        let beats = self.text(scalar::compare(better, line.element, r, l));
        let equal = self.text(scalar::compare(CompareOp::Equal, line.element, l, r));
        let first = format!("{from_at} < {to_at}");
        let condition = if line.element.is_float() {
            let l_is_nan = self.text(scalar::compare(CompareOp::NotEqual, line.element, l, l));
            let r_is_nan = self.text(scalar::compare(CompareOp::NotEqual, line.element, r, r));
            // Numbers before NaN; of two NaN the first.
            format!("{l_is_nan} ? !{r_is_nan} || {first} : {beats} || ({equal} && {first})")
        } else {
            format!("{beats} || ({equal} && {first})")
        };
        self.open(format!("if ({condition}) {{"));
        self.assign(to, from);
        self.close();
    }
}
