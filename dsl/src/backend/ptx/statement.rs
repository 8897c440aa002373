//! Statements, in order, and control flow.

use super::register::Class;
use super::value::Held;
use super::writer::Writer;
use crate::ir::{GridDependency, Handle, Span};
use crate::stack::room;
use crate::thread::{Block, Index, Label, Load, Operation, Register, Statement, Unroll, Use, Variable};

/// Where control goes on behind a loop or scope.
fn behind(label: Label) -> String {
    format!("$leave{}", label.0)
}

/// Where control goes on with the next trip of a loop.
fn next(label: Label) -> String {
    format!("$next{}", label.0)
}

/// The instruction that goes away.
fn jump_of(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Leave(label) => Some(format!("bra\t{};", behind(*label))),
        Statement::Next(label) => Some(format!("bra\t{};", next(*label))),
        Statement::Exit => Some("exit;".to_owned()),
        _ => None,
    }
}

/// The instruction that goes away, of a block that does nothing else.
fn jump(block: &Block) -> Option<String> {
    let mut statements = block.iter();
    let (first, _) = statements.next()?;
    jump_of(first).filter(|_| statements.next().is_none())
}

/// The register that a block's last statements load, as for the ends of rows. Nothing else can mention the loaded value, and what was
/// read of the register before was copied.
fn loaded_last(block: &Block) -> Option<(Handle<Register>, &Load, Span)> {
    let mut backwards = block.iter().rev();
    match (backwards.next()?, backwards.next()?) {
        (
            (Statement::Assign { register, value }, _),
            (
                Statement::Let {
                    value: loaded,
                    operation: Operation::Load(load),
                },
                span,
            ),
        ) if *value == Use::Value(*loaded) => Some((*register, load, *span)),
        _ => None,
    }
}

impl Writer<'_> {
    /// The statements of a block, and what is known in it.
    pub(super) fn block(&mut self, block: &Block) {
        self.scoped(|w| {
            let last = loaded_last(block);
            let before = block.len() - if last.is_some() { 2 } else { 0 };
            w.statements(&block.iter().as_slice()[..before]);
            // Without a copy, which would wait for the load, and what comes behind with it.
            if let Some((register, load, span)) = last {
                w.at(span);
                let held = w.changing(register);
                w.load_into(&held, load);
            }
        });
    }

    pub(super) fn statements(&mut self, statements: &[(Statement, Span)]) {
        for (statement, span) in statements {
            self.at(*span);
            room(|| self.statement(statement));
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Let { value, operation } => {
                let ty = self.kernel.values[*value].ty;
                let held = self.operation(ty, operation);
                self.define(*value, held);
            }
            Statement::Name { variable, index } => self.name(*variable, *index),
            Statement::Assign { register, value } => self.assign(*register, *value),
            Statement::Store(store) => self.store(store),
            Statement::Atomic(atomic) => self.atomic(atomic),
            Statement::AsyncCopy(copy) => self.copy(copy),
            Statement::AsyncCommit => self.line("cp.async.commit_group;"),
            Statement::AsyncWait(pending) => self.line(format!("cp.async.wait_group\t{pending};")),
            Statement::Prefetch { place, predicate } => self.prefetch(*place, *predicate),
            Statement::Barrier { group } => self.barrier(*group),
            Statement::Fence { order, scope } => self.fence(*order, *scope),
            Statement::GridDependency(dependency) => self.grid_dependency(*dependency),
            Statement::Report(report) => self.report(report),
            Statement::Print { format, values } => self.print(format, values),
            Statement::Ptx(ptx) => self.instructions(ptx),
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                if let Some(jump) = jump(accept).filter(|_| reject.is_empty()) {
                    let guard = self.guard(*condition, true);
                    return self.line(format!("{guard} {jump}"));
                }
                // Straight to what is done, if nothing else is.
                let (first, second, wanted) = match accept.is_empty() {
                    true => (reject, accept, true),
                    false => (accept, reject, false),
                };
                let guard = self.guard(*condition, wanted);
                let other = self.fresh_label();
                self.line(format!("{guard} bra\t{other};"));
                self.block(first);
                if second.is_empty() {
                    self.label(&other);
                    return;
                }
                let end = self.fresh_label();
                if !first.diverges() {
                    self.line(format!("bra\t{end};"));
                }
                self.label(&other);
                self.block(second);
                self.label(&end);
            }
            Statement::For {
                label,
                variable,
                start,
                end,
                step,
                unroll,
                body,
            } => self.count(*label, *variable, [*start, *end], *step, *unroll, body),
            Statement::Loop { label, unroll, body } => {
                self.label(&next(*label));
                self.unroll(*unroll);
                self.order.enter_loop();
                self.block(body);
                self.order.leave_loop();
                if !body.diverges() {
                    self.line(format!("bra\t{};", next(*label)));
                }
                self.label(&behind(*label));
            }
            Statement::Scope { label, body } => {
                self.block(body);
                self.label(&behind(*label));
            }
            Statement::Leave(_) | Statement::Next(_) | Statement::Exit => {
                if let Some(jump) = jump_of(statement) {
                    self.line(jump);
                }
            }
        }
    }

    fn unroll(&mut self, unroll: Unroll) {
        if unroll == Unroll::Never {
            self.line(".pragma \"nounroll\";");
        }
    }

    fn name(&mut self, variable: Handle<Variable>, index: Handle<Index>) {
        let register = match self.is_narrow(index) {
            true => self.narrow(index),
            false => self.wide(index),
        };
        self.variables[variable.index()] = Some(register);
        self.named[variable.index()] = Some(index);
        self.order.variable(variable);
    }

    /// A counted loop, which is tested before its first trip and after each.
    fn count(
        &mut self,
        label: Label,
        variable: Handle<Variable>,
        [start, end]: [Handle<Index>; 2],
        step: i64,
        unroll: Unroll,
        body: &Block,
    ) {
        let facts = self.kernel.variables[variable].facts;
        // What is counted, also behind the last trip.
        let fits = |value: i64| i32::try_from(value).is_ok();
        let narrow = fits(facts.low) && facts.high.checked_add(step).is_some_and(fits);
        let class = match narrow {
            true => self.width_of(&[start, end]),
            false => Class::Double,
        };
        let bits = class.bits();
        let (start, end) = (self.index_operand(start, class), self.index_operand(end, class));
        let counted = self.compute(class, format_args!("mov.b{bits}"), start);
        self.variables[variable.index()] = Some(counted);
        self.order.enter_loop();
        self.order.variable(variable);
        let none = self.compute(
            Class::Predicate,
            format_args!("setp.ge.s{bits}"),
            format_args!("{counted}, {end}"),
        );
        let top = self.fresh_label();
        self.line(format!("@{none} bra\t{};", behind(label)));
        self.label(&top);
        self.unroll(unroll);
        self.block(body);
        self.order.leave_loop();
        self.label(&next(label));
        self.line(format!("add.s{bits}\t{counted}, {counted}, {step};"));
        let more = self.compute(
            Class::Predicate,
            format_args!("setp.lt.s{bits}"),
            format_args!("{counted}, {end}"),
        );
        self.line(format!("@{more} bra\t{top};"));
        self.label(&behind(label));
    }

    fn assign(&mut self, register: Handle<Register>, value: Use) {
        let value = self.held(value);
        let held = self.changing(register);
        for (to, from) in held.registers.iter().zip(&value.registers) {
            self.line(format!("mov.{}\t{to}, {from};", to.class.ty()));
        }
    }

    /// What a register holds now.
    pub(super) fn read(&mut self, register: Handle<Register>) -> Held {
        let held = self.changing(register);
        let now = self.fresh_held(held.ty);
        for (to, from) in now.registers.iter().zip(&held.registers) {
            self.line(format!("mov.{}\t{to}, {from};", to.class.ty()));
        }
        now
    }

    fn changing(&mut self, register: Handle<Register>) -> Held {
        let ty = self.kernel.registers[register].ty;
        match &self.changing[register.index()] {
            Some(held) => held.clone(),
            None => {
                let held = self.fresh_held(ty);
                self.changing[register.index()] = Some(held.clone());
                held
            }
        }
    }

    /// Older GPUs run one launch after the other anyway.
    fn grid_dependency(&mut self, dependency: GridDependency) {
        if self.target.capability() < 90 {
            return;
        }
        self.line(match dependency {
            GridDependency::Wait => "griddepcontrol.wait;",
            GridDependency::Trigger => "griddepcontrol.launch_dependents;",
        });
    }
}
