//! What statements do: all threads that are at one do it before the next one.

use super::memory::Touch;
use super::{Fault, Machine, Reported};
use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{AtomicOp, Literal};
use crate::stack::room;
use crate::thread::{Atomic, Block, Label, Order, Place, Statement, Store, Update, Use, Value};

/// The threads that are at a statement, by number.
type Active = Vec<u32>;

impl Machine<'_> {
    /// Runs a block; returns the threads that come to its end.
    pub(super) fn block(&mut self, block: &Block, mut active: Active) -> Result<Active, Fault> {
        for (statement, span) in block {
            if active.is_empty() {
                break;
            }
            self.span = *span;
            self.steps += 1;
            if self.steps > super::MAX_STEPS {
                return self.fault(active[0], "it does not end");
            }
            active = room(|| self.statement(statement, active))?;
        }
        Ok(active)
    }

    fn statement(&mut self, statement: &Statement, active: Active) -> Result<Active, Fault> {
        let kernel = self.kernel;
        match statement {
            Statement::Let { value, operation } => {
                let Value { ty, is_fraction, .. } = kernel.values[*value];
                for &thread in &active {
                    let packet = self.compute(operation, ty, thread, &active)?;
                    let mut floats = packet.iter().map(|bits| f32::from_bits(*bits as u32));
                    if is_fraction && floats.any(|float| !float.is_nan() && !(0.0..=1.0).contains(&float)) {
                        return self.fault(thread, format!("v{} is not from 0 to 1", value.index()));
                    }
                    self.values[value.index()].set(thread, &packet);
                }
            }
            Statement::Name { variable, index } => {
                for &thread in &active {
                    self.variables[variable.index()][thread as usize] = self.index(*index, thread, 0);
                }
            }
            Statement::Assign { register, value } => {
                for &thread in &active {
                    let packet = self.operand(*value, thread);
                    self.registers[register.index()].set(thread, &packet);
                }
            }
            Statement::Store(store) => active.iter().try_for_each(|&thread| self.store(store, thread))?,
            Statement::Atomic(atomic) => active.iter().try_for_each(|&thread| self.atomic(atomic, thread))?,
            Statement::AsyncCopy(copy) => {
                for &thread in &active {
                    for byte in 0..usize::from(copy.bytes) {
                        let here = copy.predicate.is_none_or(|holds| self.condition(holds, thread, 0));
                        let bits = match here {
                            true => self.read(copy.from, ElementType::U8, thread, byte, Touch::Read)?,
                            false => 0,
                        };
                        self.write((copy.to, None), ElementType::U8, bits, thread, byte, Touch::Write)?;
                    }
                }
            }
            Statement::Barrier { group } => {
                for &thread in &active {
                    self.are_all_here(*group, thread, &active)?;
                }
                self.touched.meet(&active, *group);
            }
            Statement::Report(report) => {
                for &thread in &active {
                    if report.predicate.is_none_or(|holds| self.condition(holds, thread, 0)) {
                        let reported = Reported {
                            site: report.site,
                            program: self.index(report.program, thread, 0),
                            value: self.scalar(report.value, thread) as i64,
                            met: self.scalar(report.met, thread),
                        };
                        self.outcome.reports.push(reported);
                    }
                }
            }
            Statement::Print { format, values } => {
                for &thread in &active {
                    let line = self.line(format, values, thread);
                    self.outcome.lines.push(line);
                }
            }
            Statement::Ptx(ptx) => {
                for &thread in &active {
                    let inputs: Vec<u64> = ptx.inputs.iter().map(|input| self.scalar(*input, thread)).collect();
                    let mut outputs = vec![0; ptx.outputs.len()];
                    match &ptx.meaning {
                        Some(meaning) => meaning.compute(&inputs, &mut outputs),
                        None => return self.fault(thread, "instructions without a meaning"),
                    }
                    for (output, bits) in ptx.outputs.iter().zip(outputs) {
                        self.values[output.index()].set(thread, &[bits]);
                    }
                }
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let (accepted, rejected): (Active, Active) = active
                    .into_iter()
                    .partition(|thread| self.condition(*condition, *thread, 0));
                let accepted = self.block(accept, accepted)?;
                let rejected = self.block(reject, rejected)?;
                return Ok(together(accepted, rejected));
            }
            Statement::For {
                label,
                variable,
                start,
                end,
                step,
                body,
                ..
            } => {
                let number = variable.index();
                let mut ends = vec![0; kernel.cluster_threads() as usize];
                for &thread in &active {
                    self.variables[number][thread as usize] = self.index(*start, thread, 0);
                    ends[thread as usize] = self.index(*end, thread, 0);
                }
                let mut done = Active::new();
                let mut inside = active;
                loop {
                    let (more, less): (Active, Active) = inside
                        .into_iter()
                        .partition(|&thread| self.variables[number][thread as usize] < ends[thread as usize]);
                    done = together(done, less);
                    if more.is_empty() {
                        break;
                    }
                    inside = self.trip(*label, body, more)?;
                    for &thread in &inside {
                        let value = &mut self.variables[number][thread as usize];
                        *value = value.wrapping_add(*step);
                    }
                }
                return Ok(together(done, self.left.remove(label).unwrap_or_default()));
            }
            Statement::Loop { label, body, .. } => {
                let mut inside = active;
                while !inside.is_empty() {
                    self.steps += 1;
                    if self.steps > super::MAX_STEPS {
                        return self.fault(inside[0], "it does not end");
                    }
                    inside = self.trip(*label, body, inside)?;
                }
                return Ok(self.left.remove(label).unwrap_or_default());
            }
            Statement::Scope { label, body } => {
                let through = self.block(body, active)?;
                return Ok(together(through, self.left.remove(label).unwrap_or_default()));
            }
            Statement::Leave(label) => {
                let left = self.left.remove(label).unwrap_or_default();
                self.left.insert(*label, together(left, active));
                return Ok(Active::new());
            }
            Statement::Next(label) => {
                let next = self.next.remove(label).unwrap_or_default();
                self.next.insert(*label, together(next, active));
                return Ok(Active::new());
            }
            Statement::Exit => {
                self.ended.extend(active);
                return Ok(Active::new());
            }
            Statement::Prefetch { place, predicate } => {
                for &thread in &active {
                    if predicate.is_none_or(|holds| self.condition(holds, thread, 0)) {
                        self.prefetch(*place, thread)?;
                    }
                }
            }
            Statement::AsyncCommit
            | Statement::AsyncWait(_)
            | Statement::Fence { .. }
            | Statement::GridDependency(_) => {}
        }
        Ok(active)
    }

    /// One trip of a loop; returns the threads that are to make another one.
    fn trip(&mut self, label: Label, body: &Block, active: Active) -> Result<Active, Fault> {
        let through = self.block(body, active)?;
        Ok(together(through, self.next.remove(&label).unwrap_or_default()))
    }

    fn store(&mut self, store: &Store, thread: u32) -> Result<(), Fault> {
        let ty = self.kernel.ty(store.value);
        let packet = self.operand(store.value, thread);
        let lanes = usize::from(ty.lanes.max(self.kernel.lanes_of(store.place.offset).unwrap_or(1)));
        let touch = match store.order {
            Order::Weak => Touch::Write,
            Order::Strong(..) => Touch::Atomic,
        };
        for lane in 0..lanes {
            if store
                .predicate
                .is_some_and(|holds| !self.condition(holds, thread, lane))
            {
                continue;
            }
            if lane == 0 && !self.is_aligned(store.place, ty.bytes(), thread) {
                return self.fault(thread, format!("{ty} is stored to where it cannot be"));
            }
            let bits = packet[if packet.len() == 1 { 0 } else { lane }];
            let block = store.block.map(|block| self.index(block, thread, 0) as u32);
            self.write((store.place, block), ty.element, bits, thread, lane, touch)?;
        }
        Ok(())
    }

    fn atomic(&mut self, atomic: &Atomic, thread: u32) -> Result<(), Fault> {
        let element = atomic.element;
        let here = atomic.predicate.is_none_or(|holds| self.condition(holds, thread, 0));
        let mut old = 0;
        if here {
            old = self.read(atomic.place, element, thread, 0, Touch::Atomic)?;
            let new = match atomic.update {
                Update::Combine { op, value } => self.updated(op, element, old, value, thread),
                Update::CompareExchange { current, new } => match self.scalar(current, thread) == old {
                    true => self.scalar(new, thread),
                    false => old,
                },
            };
            self.change(atomic.place, element, new, thread)?;
        }
        if let Some(result) = atomic.result {
            self.values[result.index()].set(thread, &[old]);
        }
        Ok(())
    }

    fn updated(&self, op: AtomicOp, element: ElementType, old: u64, value: Use, thread: u32) -> u64 {
        let literal = |bits| Literal { element, bits };
        let value = self.scalar(value, thread);
        arithmetic::atomic(op, literal(old), literal(value)).map_or(old, |new| new.bits)
    }

    fn change(&mut self, place: Place, element: ElementType, bits: u64, thread: u32) -> Result<(), Fault> {
        self.write((place, None), element, bits, thread, 0, Touch::Atomic)
    }

    fn line(&self, format: &str, values: &[Use], thread: u32) -> String {
        let mut line = String::new();
        for (number, part) in format.split("{}").enumerate() {
            if let Some(&value) = number.checked_sub(1).and_then(|number| values.get(number)) {
                let literal = Literal {
                    element: self.kernel.ty(value).element,
                    bits: self.scalar(value, thread),
                };
                line += &match (literal.element, literal.as_integer()) {
                    (ElementType::Bool, _) => literal.as_bool().to_string(),
                    (_, Some(integer)) => integer.to_string(),
                    (ElementType::F64, None) => f64::from_bits(literal.bits).to_string(),
                    (_, None) => f32::from_bits(literal.bits as u32).to_string(),
                };
            }
            line += part;
        }
        line
    }
}

/// The threads of both, in order.
fn together(mut one: Active, other: Active) -> Active {
    one.extend(other);
    one.sort_unstable();
    one
}
