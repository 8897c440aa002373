//! What is computed twice is computed once, and what comes to something simpler is that.

use std::collections::{HashMap, HashSet};

use super::nan::seen_as_bits;
use crate::element::ElementType;
use crate::ir::Handle;
use crate::stack::room;
use crate::thread::statement::Mention;
use crate::thread::{
    Atom, Block, Builder, Index, Kernel, Load, Operation, Order, Place, Predicate, Sharing, Space, Statement,
    Substitution, Update, Use, Value,
};

pub(super) fn run(kernel: &mut Kernel) {
    let (seen_as_bits, pointers) = (seen_as_bits(kernel), pointers(kernel));
    let (b, body) = Builder::over(std::mem::take(kernel));
    let mut common = Common {
        b,
        known: vec![HashMap::new()],
        changes: 1,
        defined: HashMap::new(),
        replaced: Substitution::default(),
        values: HashMap::new(),
        seen_as_bits,
        pointers,
    };
    common.block(body);
    *kernel = common.b.finish();
}

pub(super) struct Common {
    pub(super) b: Builder,
    /// Values by what computes them, innermost block last; what is loaded from shared memory, with since when that is as it is.
    known: Vec<HashMap<(Operation, u32), Use>>,
    /// How often shared memory may have changed.
    changes: u32,
    /// What computes each value.
    pub(super) defined: HashMap<Handle<Value>, Operation>,
    /// What values have become that are another one.
    values: HashMap<Handle<Value>, Use>,
    replaced: Substitution,
    /// Values of which it matters which NaN they are.
    seen_as_bits: HashSet<Handle<Value>>,
    /// Values that memory is reached by, which nothing but another value can be instead.
    pointers: HashSet<Handle<Value>>,
}

/// The values by which a kernel reaches memory.
fn pointers(kernel: &Kernel) -> HashSet<Handle<Value>> {
    let mut pointers = HashSet::new();
    kernel.body.walk(&mut |statement, _| {
        statement.for_each_mention(|mention| {
            if let Mention::Place(place) = mention {
                pointers.extend(place.pointer);
            }
        });
    });
    pointers
}

impl Common {
    fn block(&mut self, block: Block) {
        for (statement, span) in block {
            self.b.at(span);
            room(|| self.statement(statement));
        }
    }

    fn inside(&mut self, block: Block) -> Block {
        self.b.enter();
        self.known.push(HashMap::new());
        self.block(block);
        self.known.pop();
        self.b.leave()
    }

    /// The body of a loop, which begins again after it has changed what it changes.
    fn repeated(&mut self, body: Block) -> Block {
        self.changes += 1;
        self.inside(body)
    }

    fn operand(&mut self, operand: Use) -> Use {
        match operand {
            Use::Value(value) => self.values.get(&value).copied().unwrap_or(operand),
            Use::Literal(_) => operand,
            Use::Index(index) => self.index(index).into(),
            Use::Predicate(condition) => self.condition(condition).into(),
        }
    }

    fn index(&mut self, index: Handle<Index>) -> Handle<Index> {
        self.b.indices().substitute_all(index, &self.replaced)
    }

    fn condition(&mut self, condition: Handle<Predicate>) -> Handle<Predicate> {
        self.b.indices().substitute_all_in(condition, &self.replaced)
    }

    fn place(&mut self, place: Place) -> Place {
        let pointer = place.pointer.map(|pointer| match self.values.get(&pointer) {
            Some(Use::Value(value)) => *value,
            _ => pointer,
        });
        Place {
            pointer,
            offset: self.index(place.offset),
            ..place
        }
    }

    fn predicate(&mut self, predicate: Option<Handle<Predicate>>) -> Option<Handle<Predicate>> {
        let predicate = self.condition(predicate?);
        match self.b.kernel().indices.is_known(predicate) {
            Some(true) => None,
            _ => Some(predicate),
        }
    }

    fn statement(&mut self, statement: Statement) {
        if statement.orders() || matches!(statement, Statement::Barrier { .. }) {
            self.changes += 1;
        }
        match statement {
            Statement::Let { value, operation } => self.define(value, operation),
            Statement::Name { variable, index } => {
                let index = self.index(index);
                self.b.push(Statement::Name { variable, index });
            }
            Statement::Assign { register, value } => {
                let value = self.operand(value);
                self.b.push(Statement::Assign { register, value });
            }
            Statement::Store(mut store) => {
                store.predicate = self.predicate(store.predicate);
                store.place = self.place(store.place);
                store.block = store.block.map(|block| self.index(block));
                store.value = self.operand(store.value);
                if !self.never(store.predicate) {
                    self.writes(store.place);
                    self.b.push(Statement::Store(store));
                }
            }
            Statement::Atomic(mut atomic) => {
                atomic.predicate = self.predicate(atomic.predicate);
                atomic.place = self.place(atomic.place);
                atomic.update = match atomic.update {
                    Update::Combine { op, value } => Update::Combine {
                        op,
                        value: self.operand(value),
                    },
                    Update::CompareExchange { current, new } => Update::CompareExchange {
                        current: self.operand(current),
                        new: self.operand(new),
                    },
                };
                self.writes(atomic.place);
                self.b.push(Statement::Atomic(atomic));
            }
            Statement::AsyncCopy(mut copy) => {
                copy.predicate = self.predicate(copy.predicate);
                copy.to = self.place(copy.to);
                copy.from = self.place(copy.from);
                self.writes(copy.to);
                self.b.push(Statement::AsyncCopy(copy));
            }
            Statement::Prefetch { place, predicate } => {
                let (place, predicate) = (self.place(place), self.predicate(predicate));
                self.b.push(Statement::Prefetch { place, predicate });
            }
            Statement::Report(mut report) => {
                report.predicate = self.predicate(report.predicate);
                report.program = self.index(report.program);
                report.value = self.operand(report.value);
                report.met = self.operand(report.met);
                if !self.never(report.predicate) {
                    self.b.push(Statement::Report(report));
                }
            }
            Statement::Print { format, values } => {
                let values = values.into_iter().map(|value| self.operand(value)).collect();
                self.b.push(Statement::Print { format, values });
            }
            Statement::Ptx(mut ptx) => {
                ptx.inputs = ptx.inputs.into_iter().map(|input| self.operand(input)).collect();
                self.changes += 1;
                self.b.push(Statement::Ptx(ptx));
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let condition = self.condition(condition);
                match self.b.kernel().indices.is_known(condition) {
                    Some(true) => self.block(accept),
                    Some(false) => self.block(reject),
                    None => {
                        let (accept, reject) = (self.inside(accept), self.inside(reject));
                        self.b.push(Statement::If {
                            condition,
                            accept,
                            reject,
                        });
                    }
                }
            }
            Statement::For {
                label,
                variable,
                start,
                end,
                step,
                unroll,
                body,
            } => {
                let (start, end) = (self.index(start), self.index(end));
                let body = self.repeated(body);
                self.b.push(Statement::For {
                    label,
                    variable,
                    start,
                    end,
                    step,
                    unroll,
                    body,
                });
            }
            Statement::Loop { label, unroll, body } => {
                let body = self.repeated(body);
                self.b.push(Statement::Loop { label, unroll, body });
            }
            Statement::Scope { label, body } => {
                let body = self.inside(body);
                self.b.push(Statement::Scope { label, body });
            }
            other @ (Statement::AsyncCommit
            | Statement::AsyncWait(_)
            | Statement::Barrier { .. }
            | Statement::Fence { .. }
            | Statement::GridDependency(_)
            | Statement::Leave(_)
            | Statement::Next(_)
            | Statement::Exit) => self.b.push(other),
        }
    }

    pub(super) fn never(&self, predicate: Option<Handle<Predicate>>) -> bool {
        predicate.is_some_and(|predicate| self.b.kernel().indices.is_known(predicate) == Some(false))
    }

    fn define(&mut self, value: Handle<Value>, mut operation: Operation) {
        match &mut operation {
            Operation::Load(load) => {
                load.predicate = self.predicate(load.predicate);
                load.place = self.place(load.place);
            }
            operation => operation.map_operands(|operand| self.operand(operand)),
        }
        // What is claimed of a value is claimed where it is.
        let claimed = self.b.kernel().values[value].facts.is_some();
        if !claimed {
            if let Operation::Canonical(any) = operation
                && !self.seen_as_bits.contains(&value)
                && self.b.kernel().ty(any).lanes == self.b.kernel().values[value].ty.lanes
            {
                return self.replace(value, any);
            }
            if let Some(simpler) = self.simplified(&operation)
                && (matches!(simpler, Use::Value(_)) || !self.pointers.contains(&value))
            {
                let lanes = self.b.kernel().values[value].ty.lanes;
                if self.b.kernel().ty(simpler).lanes == lanes {
                    return self.replace(value, simpler);
                }
                // One element stands for all lanes.
                operation = Operation::Repeat { value: simpler, lanes };
            }
            if let Some(since) = self.since(&operation) {
                let key = (operation.clone(), since);
                if let Some(known) = self.known.iter().rev().find_map(|scope| scope.get(&key)) {
                    return self.replace(value, *known);
                }
                if let Some(scope) = self.known.last_mut() {
                    scope.insert(key, value.into());
                }
            }
        }
        self.defined.insert(value, operation.clone());
        self.b.push(Statement::Let { value, operation });
    }

    fn replace(&mut self, value: Handle<Value>, by: Use) {
        self.values.insert(value, by);
        match self.b.element(by) {
            ElementType::Bool if self.b.kernel().ty(by).lanes == 1 => {
                let condition = self.b.condition(by);
                self.replaced.bools.insert(value, condition);
            }
            element if element.is_integer() && self.b.kernel().ty(by).lanes == 1 => {
                let index = self.b.index(by);
                self.replaced.atoms.insert(Atom::Value(value), index);
            }
            _ => {}
        }
    }

    /// Since how many changes an operation gives the same wherever it stands in its scope, if there is anything that it does so
    /// since: zero if it always does.
    fn since(&self, operation: &Operation) -> Option<u32> {
        match operation {
            Operation::Load(Load { order, .. }) if *order != Order::Weak => None,
            Operation::Load(Load { place, .. }) => {
                let buffer = &self.b.kernel().buffers[place.buffer];
                match buffer.space() {
                    Space::Shared => Some(self.changes),
                    _ => (buffer.sharing() == Sharing::ReadOnly).then_some(0),
                }
            }
            other => (!other.depends_on_its_place()).then_some(0),
        }
    }

    /// Notes that something is written.
    fn writes(&mut self, place: Place) {
        if self.b.kernel().buffers[place.buffer].space() == Space::Shared {
            self.changes += 1;
        }
    }
}
