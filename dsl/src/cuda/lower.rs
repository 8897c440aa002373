//! Statements, in order.

use std::collections::BTreeSet;

use super::leaves::{Group, Sink};
use super::pull::Point;
use super::types::c_type;
use super::writer::{Placed, Writer, plain};
use super::{LowerError, Module};
use crate::analysis::effects::Effects;
use crate::backend::Text;
use crate::ir::{Block, Conflict, Expression, Handle, Kernel, Span, Statement, verify};
use crate::schedule::Schedule;
use crate::stack::room;

/// The most shared memory that a block has without asking.
const SHARED_BYTES: u64 = 48 << 10;

/// Prints `kernel`, spread as `schedule` says, as CUDA C++.
///
/// # Errors
/// If the kernel breaks the rules of the IR, the schedule does not fit it, or its threads would have to exchange a tile
/// larger than shared memory.
pub fn lower(kernel: &Kernel, schedule: &Schedule) -> Result<Module, LowerError> {
    let name = || kernel.name.clone();
    verify::verify(kernel).map_err(|e| LowerError::Malformed {
        kernel: name(),
        message: e.to_string(),
    })?;
    schedule
        .fits(kernel)
        .map_err(|source| LowerError::Schedule { kernel: name(), source })?;
    if let Some(what) = not_carried(kernel) {
        return Err(LowerError::NotCarried { kernel: name(), what });
    }
    let mut writer = Writer::new(kernel, schedule);
    writer.choose_lanes();
    writer.declare_locals();
    let mut order = Order::default();
    writer.block(&kernel.body, &mut order)?;
    let entry = entry_name(&kernel.name);
    let in_order = writer.effects.in_order;
    let (source, arguments, traps) = writer.finish(&entry);
    Ok(Module {
        text: Text::Cuda(source),
        entry,
        arguments,
        schedule: *schedule,
        threads: [schedule.threads, schedule.programs_per_block, 1],
        traps,
        in_order,
        dynamic_shared: 0,
    })
}

/// What is new since there is another way to code.
fn not_carried(kernel: &Kernel) -> Option<&'static str> {
    use crate::ir::AtomicUpdate::{Load, Store, Wait};
    if (0..kernel.parameters.len() as u32).any(|tensor| kernel.is_of_peers(tensor)) {
        return Some("a list of peers' tensors");
    }
    kernel.expressions.iter().find_map(|(_, node)| match node {
        Expression::Atomic(atomic) => match atomic.update {
            Load => Some("an atomic load"),
            Store { .. } => Some("an atomic store"),
            Wait { .. } => Some("a wait for a flag"),
            _ => None,
        },
        _ => None,
    })
}

fn entry_name(name: &str) -> String {
    format!("tilewright_{}", plain(name))
}

/// Tensors on which order matters that have been touched since the last barrier.
#[derive(Clone, Default)]
pub(super) struct Order {
    read: BTreeSet<u32>,
    written: BTreeSet<u32>,
    /// Changed by atomic operations, which need no barrier among themselves.
    atomic: BTreeSet<u32>,
}

impl Order {
    fn union(&mut self, other: &Order) {
        self.read.extend(&other.read);
        self.written.extend(&other.written);
        self.atomic.extend(&other.atomic);
    }

    pub(super) fn changed_atomically(&mut self, tensor: u32, effects: &Effects) {
        if effects.ordered.contains(&tensor) {
            self.atomic.insert(tensor);
        }
    }
}

impl Writer<'_> {
    /// Decides how many neighbouring elements a thread holds of tiles in registers: as many as make wide accesses, where
    /// every tile of that many elements has rows to match.
    fn choose_lanes(&mut self) {
        let kernel = self.kernel;
        let narrowest = kernel
            .expressions
            .iter()
            .map(|(e, _)| kernel.ty(e))
            .filter(|ty| !ty.is_scalar());
        let narrowest = narrowest
            .map(|ty| ty.element.size())
            .filter(|&size| size > 1)
            .min()
            .unwrap_or(4);
        let widest = (16 / narrowest.clamp(2, 16)) as u32;
        for (handle, _) in kernel.expressions.iter() {
            let shape = kernel.ty(handle).shape;
            if shape.rank() == 0 {
                continue;
            }
            let mut lanes = widest;
            while lanes > 1 && !shape.innermost().is_multiple_of(lanes) {
                lanes /= 2;
            }
            // An axis of extent 1 says nothing about how the elements lie.
            if shape.innermost() > 1 || shape.elements() == 1 {
                self.lanes
                    .entry(shape.elements())
                    .and_modify(|l| *l = (*l).min(lanes))
                    .or_insert(lanes);
            }
        }
    }

    fn declare_locals(&mut self) {
        for (handle, local) in self.kernel.locals.iter() {
            let name = self.locals[&handle].clone();
            let ty = c_type(local.ty.element);
            if local.ty.is_scalar() {
                self.line(format!("{ty} {name};"));
            } else {
                let registers = self.registers_of(local.ty.shape.elements());
                self.line(format!("{ty} {name}[{registers}];"));
            }
        }
    }

    fn block(&mut self, block: &Block, order: &mut Order) -> Result<(), LowerError> {
        for (statement, span) in block {
            self.at(*span);
            room(|| self.statement(statement, *span, order))?;
            self.check_shared(*span)?;
        }
        Ok(())
    }

    fn statement(&mut self, statement: &Statement, span: Span, order: &mut Order) -> Result<(), LowerError> {
        match statement {
            Statement::Let(value) => self.define_value(*value, order),
            Statement::Prefetch(access) => self.prefetch(access, span),
            Statement::Print { format, values } => self.print(format, values),
            Statement::GridDependency(dependency) => self.grid_dependency(*dependency),
            Statement::Check {
                condition,
                kind,
                message,
            } => self.check(*condition, *kind, message, span),
            Statement::Store {
                access,
                value,
                conflict,
            } => {
                self.before_write(access.tensor, order);
                // Behind the barrier, or a thread would mark what another has yet to mark for the store before.
                self.mark_store(access, *value, *conflict, span);
                let in_order = *conflict == Some(Conflict::LastWins) && !self.is_distinct(access);
                let shape = self.kernel.ty(*value).shape;
                if shape.rank() == 0 {
                    self.open("if (worker == 0) {");
                    let value = self.scalar(*value);
                    self.store_element(access, &value, &Point::scalar(), shape, span);
                    self.close();
                } else {
                    let group = Group {
                        value: *value,
                        shape,
                        sink: if in_order {
                            Sink::InOrder(access)
                        } else {
                            Sink::Store(access)
                        },
                        span,
                    };
                    self.group(&group);
                }
            }
            Statement::Assign { local, value } => {
                let name = self.locals[local].clone();
                let shape = self.kernel.ty(*value).shape;
                if shape.rank() == 0 {
                    let value = self.scalar(*value);
                    self.line(format!("{name} = {value};"));
                } else {
                    let group = Group {
                        value: *value,
                        shape,
                        sink: Sink::Registers(name),
                        span,
                    };
                    self.group(&group);
                }
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let condition = self.scalar(*condition);
                self.open(format!("if ({condition}) {{"));
                let mut accepted = order.clone();
                self.block(accept, &mut accepted)?;
                let mut rejected = order.clone();
                if !reject.is_empty() {
                    self.otherwise();
                    self.block(reject, &mut rejected)?;
                }
                self.close();
                let leaves = [(accept, accepted), (reject, rejected)];
                *order = Order::default();
                leaves
                    .iter()
                    .filter(|(block, _)| !block.diverges())
                    .for_each(|(_, after)| order.union(after));
            }
            Statement::While {
                header,
                condition,
                body,
            } => {
                order.union(&self.touched(header));
                order.union(&self.touched(body));
                let mut inside = order.clone();
                self.open("while (true) {");
                self.loops += 1;
                self.block(header, &mut inside)?;
                let condition = self.scalar(*condition);
                self.line(format!("if (!{condition}) break;"));
                self.block(body, &mut inside)?;
                self.loops -= 1;
                self.close();
            }
            Statement::For {
                induction,
                start,
                end,
                step,
                body,
            } => {
                // A barrier inside is none for a loop without trips, so what was pending before it still is after it.
                order.union(&self.touched(body));
                let mut inside = order.clone();
                self.for_loop(*induction, *start, *end, *step);
                self.loops += 1;
                self.block(body, &mut inside)?;
                self.loops -= 1;
                self.close();
            }
            Statement::Break => self.line("break;"),
            Statement::Continue => self.line("continue;"),
            Statement::Return => self.line("return;"),
        }
        Ok(())
    }

    /// Opens a counted loop: the number of trips is computed first, so that no value steps past its type's range.
    fn for_loop(
        &mut self,
        induction: Handle<Expression>,
        start: Handle<Expression>,
        end: Handle<Expression>,
        step: i128,
    ) {
        let ty = c_type(self.kernel.ty(induction).element);
        let (start, end) = (self.scalar(start), self.scalar(end));
        let (trips, trip, name) = (self.fresh("trips"), self.fresh("trip"), self.fresh("i"));
        let (before, distance) = if step > 0 {
            (
                format!("{start} < {end}"),
                format!("(unsigned long long){end} - (unsigned long long){start} - 1ULL"),
            )
        } else {
            (
                format!("{start} > {end}"),
                format!("(unsigned long long){start} - (unsigned long long){end} - 1ULL"),
            )
        };
        let by = step.unsigned_abs();
        self.line(format!(
            "const unsigned long long {trips} = {before} ? ({distance}) / {by}ULL + 1ULL : 0ULL;"
        ));
        self.open(format!(
            "for (unsigned long long {trip} = 0; {trip} < {trips}; ++{trip}) {{"
        ));
        let sign = if step > 0 { "+" } else { "-" };
        self.line(format!(
            "const {ty} {name} = ({ty})((unsigned long long){start} {sign} {trip} * {by}ULL);"
        ));
        self.placed.insert(induction, Placed::Scalar(name));
    }

    fn define_value(&mut self, value: Handle<Expression>, order: &mut Order) {
        let kernel = self.kernel;
        let ty = kernel.ty(value);
        match &kernel.expressions[value] {
            Expression::Load(access) => {
                self.mark_load(access, value);
                self.before_read(access.tensor, order);
            }
            Expression::Atomic(atomic) => return self.define_atomic(value, atomic, order),
            _ => {}
        }
        if self.kernel.expressions[value].is_collective() {
            self.collective(value);
            return;
        }
        if ty.is_scalar() {
            let name = self.define_scalar(value, c_type(ty.element));
            self.placed.insert(value, Placed::Scalar(name));
            return;
        }
        match &self.kernel.expressions[value] {
            // What a variable holds now, or memory that may change, is kept.
            Expression::Local(local) => {
                let source = self.locals[local].clone();
                let name = self.declare_registers(value);
                let registers = self.registers_of(ty.shape.elements());
                self.line("#pragma unroll");
                self.line(format!(
                    "for (int r = 0; r < {registers}; ++r) {name}[r] = {source}[r];"
                ));
                self.placed.insert(value, Placed::Registers(name));
            }
            Expression::Load(access) if self.effects.is_changing(access.tensor) => {
                let name = self.declare_registers(value);
                let span = self.kernel.spans[value.index()];
                let group = Group {
                    value,
                    shape: ty.shape,
                    sink: Sink::Registers(name.clone()),
                    span,
                };
                self.group(&group);
                self.placed.insert(value, Placed::Registers(name));
            }
            _ => {
                self.placed.insert(value, Placed::Lazy);
            }
        }
    }

    /// Defines a scalar. One that is the only element of a tile in registers is in one thread only until it is exchanged.
    fn define_scalar(&mut self, value: Handle<Expression>, ty: &str) -> String {
        let leaves = self.leaves_of_scalar(value);
        if leaves.exchanged.is_empty() {
            let text = self.scalar_text(value);
            return self.define("v", ty, &text);
        }
        let name = self.fresh("v");
        self.line(format!("{ty} {name};"));
        self.open("{");
        self.exchange(&leaves);
        let text = self.scalar_text(value);
        self.line(format!("{name} = {text};"));
        self.close();
        name
    }

    pub(super) fn declare_registers(&mut self, value: Handle<Expression>) -> String {
        let ty = self.kernel.ty(value);
        let name = self.fresh("v");
        let registers = self.registers_of(ty.shape.elements());
        self.line(format!("{} {name}[{registers}];", c_type(ty.element)));
        name
    }

    /// Whether what has been written so far fits shared memory.
    fn check_shared(&self, span: Span) -> Result<(), LowerError> {
        if self.shared_bytes > SHARED_BYTES {
            return Err(LowerError::SharedMemory {
                kernel: self.kernel.name.clone(),
                bytes: self.shared_bytes,
                limit: SHARED_BYTES,
                span,
            });
        }
        Ok(())
    }

    /// Every access to a tensor on which order matters in a block and what is nested in it.
    fn touched(&self, block: &Block) -> Order {
        let mut order = Order::default();
        block.walk(&mut |statement, _| match statement {
            Statement::Let(value) => {
                match &self.kernel.expressions[*value] {
                    Expression::Load(access) => order.read.insert(access.tensor),
                    Expression::Atomic(atomic) => order.atomic.insert(atomic.access.tensor),
                    _ => false,
                };
            }
            Statement::Store { access, .. } => {
                order.written.insert(access.tensor);
            }
            _ => {}
        });
        order
    }

    fn before_read(&mut self, tensor: u32, order: &mut Order) {
        if self.effects.ordered.contains(&tensor) {
            if order.written.contains(&tensor) || order.atomic.contains(&tensor) {
                self.barrier(order);
            }
            order.read.insert(tensor);
        }
    }

    fn before_write(&mut self, tensor: u32, order: &mut Order) {
        if self.effects.ordered.contains(&tensor) {
            if order.written.contains(&tensor) || order.read.contains(&tensor) || order.atomic.contains(&tensor) {
                self.barrier(order);
            }
            order.written.insert(tensor);
        }
    }

    pub(super) fn before_atomic(&mut self, tensor: u32, order: &mut Order) {
        if self.effects.ordered.contains(&tensor) && (order.written.contains(&tensor) || order.read.contains(&tensor)) {
            self.barrier(order);
        }
    }

    pub(super) fn barrier(&mut self, order: &mut Order) {
        self.synchronize();
        *order = Order::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementType;
    use crate::ir::verify::build::Builder;
    use crate::schedule::{Machine, choose};

    #[test]
    fn the_only_element_of_a_variable_reaches_every_thread() {
        let mut b = Builder::new("one");
        let out = b.tensor("out", ElementType::I64, 1);
        let tile = b.arange(1);
        let x = b.variable("x", tile);
        let held = b.read(x);
        let only = b.reshape(held, &[]);
        let i = b.arange(40);
        b.store(out, &[i], only);
        let kernel = b.launch(1);
        let source = lower(&kernel, &choose(&kernel, &Machine::H200, 1))
            .unwrap()
            .text
            .as_str()
            .to_owned();
        let (declared, used) = (source.find("__shared__ long long"), source.find("_shared[0]"));
        assert!(declared.is_some() && used.is_some() && declared < used, "{source}");
    }

    #[test]
    fn a_barrier_in_a_loop_is_none_for_what_follows_a_loop_without_trips() {
        let mut b = Builder::new("loops");
        let (out, other) = (
            b.tensor("out", ElementType::I64, 1),
            b.tensor("other", ElementType::I64, 1),
        );
        let (i, n) = (b.arange(100), b.count("n"));
        let (zero, one) = (b.index(0), b.index(1));
        let shifted = b.add(i, one);
        b.store(out, &[i], i);
        b.for_loop(zero, n, 1, |b, _| {
            let moved = b.load(other, &[shifted]);
            b.store(other, &[i], moved);
        });
        b.store(out, &[shifted], i);
        let kernel = b.launch(1);
        let source = lower(&kernel, &choose(&kernel, &Machine::H200, 1))
            .unwrap()
            .text
            .as_str()
            .to_owned();
        // Of the body of the kernel, not of the loop.
        let (loops, barrier) = (
            source.find("for (unsigned long long trip"),
            source.rfind("\n  __syncwarp(); __barrier_sync(0);"),
        );
        assert!(loops.is_some() && loops < barrier, "{source}");
    }

    /// The kernel text of what `fill` records over `out: i64[..]` and 100 indices.
    fn source_of(fill: impl FnOnce(&mut Builder, u32, crate::ir::verify::build::Value)) -> String {
        let mut b = Builder::new("stores");
        let out = b.tensor("out", ElementType::I64, 1);
        let i = b.arange(100);
        fill(&mut b, out, i);
        let kernel = b.launch(1);
        let source = lower(&kernel, &choose(&kernel, &Machine::H200, 1))
            .unwrap()
            .text
            .as_str()
            .to_owned();
        source[source.find("extern").unwrap()..].to_owned()
    }

    #[test]
    fn stores_of_one_place_are_ordered_where_different_threads_make_them() {
        let again = |masked: bool| {
            source_of(|b, out, i| {
                b.store(out, &[i], i);
                let (two, shape) = (b.index(2), b.shape(i));
                let two = b.stretch(two, shape);
                let rest = b.binary(crate::ir::BinaryOp::Remainder, i, two);
                let mask = b.compare(crate::ir::CompareOp::Less, rest, two);
                match masked {
                    true => b.store_where(out, &[i], two, mask),
                    false => b.store(out, &[i], two),
                }
            })
        };
        assert!(again(true).contains("__barrier_sync"));
        assert!(!again(false).contains("__barrier_sync"));
    }

    #[test]
    fn a_store_of_what_an_atomic_operation_found_is_ordered_after_one_of_the_same_places() {
        let source = source_of(|b, out, i| {
            let counter = b.tensor("counter", ElementType::I64, 1);
            b.store(out, &[i], i);
            let old = b.emit(Expression::Atomic(crate::ir::Atomic {
                access: b.access(counter, &[i]),
                update: crate::ir::AtomicUpdate::Combine {
                    op: crate::ir::AtomicOp::Add,
                    value: i,
                },
                order: crate::ir::MemoryOrder::Relaxed,
                scope: Default::default(),
            }));
            // It is in registers, and so in other threads than what is computed on the way.
            b.store(out, &[i], old);
        });
        assert!(source.contains("__barrier_sync"), "{source}");
    }

    #[test]
    fn a_store_before_continue_is_ordered_before_what_follows_the_loop() {
        let source = source_of(|b, out, i| {
            let (zero, one, n) = (b.index(0), b.index(1), b.count("n"));
            b.for_loop(zero, n, 1, |b, _| {
                b.store(out, &[i], i);
                b.push(Statement::Continue);
            });
            let shifted = b.add(i, one);
            b.store(out, &[shifted], i);
        });
        assert!(source.contains("\n  __syncwarp(); __barrier_sync"), "{source}");
    }

    #[test]
    fn the_smallest_index_is_far_below_the_row() {
        // `-index` would be the smallest integer again, and the row would seem to begin inside.
        let mut b = Builder::new("row");
        let out = b.tensor("out", ElementType::I64, 1);
        b.tensor_mut(out).layout = crate::ir::Layout::Contiguous;
        let (i, n) = (b.arange(100), b.scalar("n", ElementType::I64));
        let at = b.add(i, n);
        b.store(out, &[at], i);
        let kernel = b.launch(1);
        let source = lower(&kernel, &choose(&kernel, &Machine::H200, 1))
            .unwrap()
            .text
            .as_str()
            .to_owned();
        assert!(source.contains("100 - tw_clip("), "{source}");
        assert!(!source.contains("tw_clip(-"), "{source}");
    }

    #[test]
    fn a_tile_in_registers_that_a_histogram_and_its_mask_read_is_exchanged_once() {
        let mut b = Builder::new("masked");
        let out = b.tensor("out", ElementType::I32, 1);
        let i = b.arange(100);
        let x = b.variable("x", i);
        let value = b.read(x);
        let mask = b.compare(crate::ir::CompareOp::Less, value, i);
        let counts = b.emit(Expression::Histogram {
            value,
            mask: Some(mask),
            bins: 8,
        });
        let bins = b.arange(8);
        b.store(out, &[bins], counts);
        let kernel = b.launch(1);
        let source = lower(&kernel, &choose(&kernel, &Machine::H200, 1))
            .unwrap()
            .text
            .as_str()
            .to_owned();
        assert_eq!(source.matches("__shared__ long long").count(), 1, "{source}");
    }

    #[test]
    fn what_an_atomic_operation_found_takes_shared_memory_too() {
        let full = |atomic: bool| {
            let mut b = Builder::new("full");
            let out = b.tensor("out", ElementType::I64, 1);
            let (i, zero) = (b.arange(4096), b.index(0));
            // 16 KiB of indices, 16 of keys and 16 of their order.
            let value = b.cast(i, ElementType::I32);
            let sorted = b.emit(Expression::ArgSort {
                value,
                axis: 0,
                descending: true,
            });
            b.store(out, &[i], sorted);
            if atomic {
                let counted = b.emit(Expression::Atomic(crate::ir::Atomic {
                    access: b.access(out, &[zero]),
                    update: crate::ir::AtomicUpdate::Combine {
                        op: crate::ir::AtomicOp::Add,
                        value: zero,
                    },
                    order: Default::default(),
                    scope: Default::default(),
                }));
                b.store(out, &[zero], counted);
            }
            let kernel = b.launch(1);
            lower(&kernel, &choose(&kernel, &Machine::H200, 1)).is_ok()
        };
        assert_eq!([false, true].map(full), [true, false]);
    }
}
