//! What atomic operations ask of the threads of a program.

use std::collections::BTreeSet;

use crate::ir::{Atomic, Block, Expression, Handle, Kernel, MemoryOrder, MemoryScope, Statement};
use crate::stack::room;

/// The atomic operations of a kernel.
#[derive(Debug, Clone, Default)]
pub struct Atomics {
    /// The tensors that they change.
    pub tensors: BTreeSet<u32>,
    /// Those whose value something uses, so that every thread of the program has to know it.
    pub used: BTreeSet<Handle<Expression>>,
    /// Those with an order that something can observe: the threads of a program wait for each other around them. The
    /// order of any other operation makes no difference within the device.
    pub ordering: BTreeSet<Handle<Expression>>,
    /// Whether one of them is a single step for the threads of one block only.
    pub within_block: bool,
    /// Whether one of them waits for others.
    pub waits: bool,
}

impl Atomics {
    /// The atomic operations of `kernel`, which plainly loads and stores these tensors.
    pub fn of(kernel: &Kernel, loaded: &BTreeSet<u32>, stored: &BTreeSet<u32>) -> Self {
        let mut found = Found::default();
        found.block(kernel, &kernel.body, false);
        let Found { all, in_loops } = found;
        if all.is_empty() {
            return Self::default();
        }
        let operation = |value: &Handle<Expression>| match &kernel.expressions[*value] {
            Expression::Atomic(atomic) => Some(atomic),
            _ => None,
        };
        let operations = || all.iter().filter_map(operation);
        let tensors: BTreeSet<u32> = operations().map(|atomic| atomic.access.tensor).collect();
        // What one program plainly writes and another reads, or changes atomically.
        let shared = stored.iter().any(|t| loaded.contains(t) || tensors.contains(t))
            || loaded.iter().any(|t| tensors.contains(t));
        let observed = |value: &Handle<Expression>, atomic: &Atomic| {
            shared
                || all.len() > 1
                || in_loops.contains(value)
                || atomic.waits()
                || (atomic.scope == MemoryScope::System && !stored.is_empty())
        };
        let ordering = all
            .iter()
            .copied()
            .filter(|value| operation(value).is_some_and(|a| a.order != MemoryOrder::Relaxed && observed(value, a)));
        Self {
            ordering: ordering.collect(),
            used: used(kernel, &all),
            within_block: operations().any(|atomic| atomic.scope == MemoryScope::Block),
            waits: operations().any(Atomic::waits),
            tensors,
        }
    }

    /// Whether each thread of a program can do its share without waiting for another.
    pub fn threads_are_independent(&self) -> bool {
        self.used.is_empty() && self.ordering.is_empty() && !self.within_block && !self.waits
    }
}

/// The atomic operations in the order of the text.
#[derive(Default)]
struct Found {
    all: Vec<Handle<Expression>>,
    in_loops: BTreeSet<Handle<Expression>>,
}

impl Found {
    fn block(&mut self, kernel: &Kernel, block: &Block, in_loop: bool) {
        for (statement, _) in block {
            if let Statement::Let(value) = statement
                && matches!(kernel.expressions[*value], Expression::Atomic(_))
            {
                self.all.push(*value);
                if in_loop {
                    self.in_loops.insert(*value);
                }
            }
            let in_loop = in_loop || matches!(statement, Statement::While { .. } | Statement::For { .. });
            statement.for_each_block(|inner| room(|| self.block(kernel, inner, in_loop)));
        }
    }
}

/// Those of `atomics` that an expression or statement refers to.
fn used(kernel: &Kernel, atomics: &[Handle<Expression>]) -> BTreeSet<Handle<Expression>> {
    let mut used = BTreeSet::new();
    for (_, expression) in kernel.expressions.iter() {
        expression.for_each_operand(|operand| {
            used.insert(operand);
        });
    }
    kernel.body.walk(&mut |statement, _| {
        statement.for_each_use(|value| {
            used.insert(value);
        });
    });
    atomics.iter().copied().filter(|value| used.contains(value)).collect()
}
