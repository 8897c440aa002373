//! Statements, in order.

use std::collections::HashSet;

use super::packet::Lane;
use super::prelude::Need;
use super::types::{c_type, constraint, in_quotes};
use super::{Jump, Writer};
use crate::element::{ElementKind, ElementType};
use crate::ir::{GridDependency, Handle, Span};
use crate::stack::room;
use crate::thread::WARP;
use crate::thread::{Block, FenceOrder, Index, Label, Predicate, Ptx, Report, Statement, Unroll, Use, Variable};

/// Collects the jumps out of a block that C++ has no word for: to what is around the innermost loop, which `inner` is.
pub(super) fn find_jumps(block: &Block, inner: Option<Label>, jumps: &mut HashSet<Jump>) {
    for (statement, _) in block {
        match statement {
            Statement::Leave(label) if inner != Some(*label) => drop(jumps.insert(Jump::Leave(*label))),
            Statement::Next(label) if inner != Some(*label) => drop(jumps.insert(Jump::Next(*label))),
            Statement::For { label, body, .. } | Statement::Loop { label, body, .. } => {
                room(|| find_jumps(body, Some(*label), jumps));
            }
            _ => statement.for_each_block(|block| room(|| find_jumps(block, inner, jumps))),
        }
    }
}

impl Writer<'_> {
    pub(super) fn block(&mut self, block: &Block) {
        self.statements(block.iter().as_slice());
    }

    pub(super) fn statements(&mut self, mut left: &[(Statement, Span)]) {
        while let [(statement, span), rest @ ..] = left {
            self.at(*span);
            let quotients = self.divided_at_once(left);
            left = match quotients.len() {
                0 => {
                    room(|| self.statement(statement));
                    rest
                }
                several => {
                    self.quotients(&quotients);
                    &left[several..]
                }
            };
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Let { value, operation } => self.compute(*value, operation),
            Statement::Name { variable, index } => self.name_index(*variable, *index),
            Statement::Assign { register, value } => self.assign(*register, *value),
            Statement::Store(store) => self.store(store),
            Statement::Atomic(atomic) => self.atomic(atomic),
            Statement::AsyncCopy(copy) => self.copy(copy),
            Statement::AsyncCommit => self.simple("cp.async.commit_group;"),
            Statement::AsyncWait(pending) => self.simple(&format!("cp.async.wait_group {pending};")),
            Statement::Prefetch { place, predicate } => self.prefetch(*place, *predicate),
            Statement::Barrier { group } => self.barrier(*group),
            Statement::Fence { order, scope } => {
                let order = match order {
                    FenceOrder::AcquireRelease => "acq_rel",
                    FenceOrder::Sequential => "sc",
                };
                self.simple(&format!("fence.{order}.{};", super::memory::scope_name(*scope)));
            }
            Statement::GridDependency(dependency) => self.grid_dependency(*dependency),
            Statement::Report(report) => self.report(report),
            Statement::Print { format, values } => self.print(format, values),
            Statement::Ptx(ptx) => self.ptx(ptx),
            Statement::If {
                condition,
                accept,
                reject,
            } => self.branch(*condition, accept, reject),
            Statement::For { label, body, .. } => {
                let header = self.header(statement);
                self.looped(*label, &header, body);
            }
            Statement::Loop { label, unroll, body } => {
                self.unroll(*unroll);
                self.looped(*label, "while (true) {", body);
            }
            Statement::Scope { label, body } => {
                self.open("{");
                self.block(body);
                self.close("}");
                self.end_of(*label);
            }
            Statement::Leave(label) => match self.loops.last() == Some(label) {
                true => self.line("break;"),
                false => self.line(format!("goto leave{};", label.0)),
            },
            Statement::Next(label) => match self.loops.last() == Some(label) {
                true => self.line("continue;"),
                false => self.line(format!("goto next{};", label.0)),
            },
            Statement::Exit => self.line("return;"),
        }
    }

    fn name_index(&mut self, variable: Handle<Variable>, index: Handle<Index>) {
        let number = self.index(index);
        // What is known of it is no more than what is known of the index.
        self.narrow[variable.index()] = number.narrow;
        let ty = if number.narrow { "int" } else { "long long" };
        self.line(format!("const {ty} i{} = {};", variable.index(), number.text));
    }

    /// An instruction without operands.
    pub(super) fn simple(&mut self, instruction: &str) {
        self.line(format!("asm volatile(\"{instruction}\" ::: \"memory\");"));
    }

    /// Threads of a warp meet first, since barriers go wrong in warps that have diverged (NVRTC 13.0): where a thread
    /// was long at stores in order, a barrier in a branch let the others pass on an H200, and one in a loop let some
    /// threads of a warp pass on an H100, after which the kernel never ended.
    fn barrier(&mut self, group: u32) {
        if group <= WARP {
            // A block of less than a warp may have any number of threads.
            return match group.is_power_of_two() && group < self.kernel.threads {
                true => {
                    let (mask, _) = self.group_mask(group);
                    self.line(format!("__syncwarp({mask});"));
                }
                false => self.line("__syncwarp();"),
            };
        }
        if self.kernel.is_of_cluster(group) {
            self.line("__syncwarp();");
            return self.simple("barrier.cluster.arrive; barrier.cluster.wait;");
        }
        let first = self.barriers.get(&group).copied().unwrap_or_default();
        match group == self.kernel.threads {
            true => self.line(format!("__syncwarp(); __barrier_sync({first});")),
            false => self.line(format!(
                "__syncwarp(); __barrier_sync_count({first} + thread / {group}, {group});"
            )),
        }
    }

    /// Older GPUs run one launch after the other anyway.
    fn grid_dependency(&mut self, dependency: GridDependency) {
        self.line("#if __CUDA_ARCH__ >= 900");
        self.simple(match dependency {
            GridDependency::Wait => "griddepcontrol.wait;",
            GridDependency::Trigger => "griddepcontrol.launch_dependents;",
        });
        self.line("#endif");
    }

    fn report(&mut self, report: &Report) {
        self.need(Need::Report);
        let Some(record) = self.kernel.record else { return };
        let when = report.predicate.map(|predicate| self.condition(predicate));
        let when = when.map_or_else(String::new, |when| format!("if ({when}) "));
        let (record, program) = (self.argument(record), self.index(report.program).wide());
        let (value, met) = (self.lane(report.value, 0), self.lane(report.met, 0));
        self.line(format!(
            "{when}tw_report({record}, {}ULL, {program}, {value}, {met});",
            report.site
        ));
    }

    /// Through the function that every GPU program has for it.
    fn print(&mut self, format: &str, values: &[Use]) {
        self.need(Need::Print);
        let (mut text, mut fields, mut arguments) = (String::new(), String::new(), Vec::new());
        for (number, part) in format.split("{}").enumerate() {
            if let Some(&value) = number.checked_sub(1).and_then(|number| values.get(number)) {
                let (element, name) = (self.kernel.ty(value).element, self.lane(value, 0));
                let (place, ty, argument) = match element.kind() {
                    ElementKind::Bool => ("%s", "const char*", format!("{name} ? \"true\" : \"false\"")),
                    ElementKind::Signed => ("%lld", "long long", format!("(long long){name}")),
                    ElementKind::Unsigned | ElementKind::Storage => {
                        ("%llu", "unsigned long long", format!("(unsigned long long){name}"))
                    }
                    ElementKind::Float if element == ElementType::F64 => ("%.17g", "double", name),
                    ElementKind::Float => ("%.9g", "double", format!("(double){name}")),
                };
                text += place;
                fields += &format!("{ty} v{number}; ");
                arguments.push(argument);
            }
            text += &in_quotes(&part.replace('%', "%%"));
        }
        if arguments.is_empty() {
            return self.line(format!("vprintf(\"{text}\\n\", nullptr);"));
        }
        self.open("{");
        self.line(format!("struct {{ {fields}}} line = {{ {} }};", arguments.join(", ")));
        self.line(format!("vprintf(\"{text}\\n\", &line);"));
        self.close("}");
    }

    fn ptx(&mut self, ptx: &Ptx) {
        let element_of = |operand: Use| self.kernel.ty(operand).element;
        let mut inputs = Vec::new();
        for &input in &ptx.inputs {
            let element = element_of(input);
            inputs.push(format!("\"{}\"({})", constraint(element), self.lane(input, 0)));
        }
        let mut outputs = Vec::new();
        for &output in &ptx.outputs {
            let (element, name) = (self.kernel.values[output].ty.element, format!("v{}", output.index()));
            self.line(format!("{} {name};", c_type(element)));
            outputs.push((constraint(element), name.clone()));
            self.alias(output, vec![Lane::Whole(name)]);
        }
        let written = outputs
            .iter()
            .map(|(register, name)| format!("\"={register}\"({name})"));
        // Pure instructions: what nothing uses, or what is computed twice, the compiler may leave out.
        let (written, inputs) = (written.collect::<Vec<_>>().join(", "), inputs.join(", "));
        self.line(format!("asm(\"{{{}}}\" : {written} : {inputs});", in_quotes(&ptx.text)));
        // NVVM 13.0 does not end if a loop decides by one of several outputs; alone, as what nothing came of, each is
        // fine.
        if outputs.len() > 1 {
            for (register, name) in outputs {
                self.line(format!("asm(\"\" : \"+{register}\"({name}));"));
            }
        }
    }

    fn branch(&mut self, condition: Handle<Predicate>, accept: &Block, reject: &Block) {
        let condition = self.condition(condition);
        self.open(format!("if ({condition}) {{"));
        self.block(accept);
        if !reject.is_empty() {
            self.otherwise();
            self.block(reject);
        }
        self.close("}");
    }

    /// What opens a counting loop.
    fn header(&mut self, statement: &Statement) -> String {
        let Statement::For {
            variable,
            start,
            end,
            step,
            unroll,
            ..
        } = statement
        else {
            return String::new();
        };
        let indices = &self.kernel.indices;
        // The value after the last one is counted too.
        let (first, past) = (
            indices.facts(*start).low,
            indices.facts(*end).high.saturating_sub(1).saturating_add(*step),
        );
        let fits = |value: i64| i32::try_from(value).is_ok();
        let (start, end) = (self.index(*start), self.index(*end));
        let narrow = fits(first) && fits(past) && start.narrow;
        self.narrow[variable.index()] = narrow;
        self.unroll(*unroll);
        let (ty, name) = (
            if narrow { "int" } else { "long long" },
            format!("i{}", variable.index()),
        );
        format!(
            "for ({ty} {name} = {}; {name} < {}; {name} += {step}) {{",
            start.text, end.text
        )
    }

    fn unroll(&mut self, unroll: Unroll) {
        if unroll == Unroll::Never {
            self.line("#pragma unroll 1");
        }
    }

    fn looped(&mut self, label: Label, header: &str, body: &Block) {
        self.loops.push(label);
        self.open(header);
        if self.jumps.contains(&Jump::Next(label)) {
            // What the body defines must be over where it is left.
            self.open("{");
            self.block(body);
            self.close("}");
            self.line(format!("next{}:;", label.0));
        } else {
            self.block(body);
        }
        self.close("}");
        self.loops.pop();
        self.end_of(label);
    }

    /// Where those go on that have left from inside of another loop.
    fn end_of(&mut self, label: Label) {
        if self.jumps.contains(&Jump::Leave(label)) {
            self.line(format!("leave{}:;", label.0));
        }
    }
}
