//! Loads of rows that begin anywhere are issued before what is put together of the first ones.
//!
//! A packet is put together right behind the two accesses that have it, and loads that need neither stand behind that. Assemblers
//! (ptxas 13.0) leave them there now and then, and load into registers that are waited for. What computes stays where it is: in which
//! order much is loaded matters to memory too.

use std::collections::HashSet;

use super::loaded;
use crate::ir::{CacheHint, Handle, Span};
use crate::stack::room;
use crate::thread::{Atom, Block, Kernel, Operation, Order, Statement, Value};

/// Bytes that a thread has in flight at most before something waits for them: as many as a schedule wants of rows that begin anywhere.
const MOST_BYTES: u32 = 160;

pub(super) fn run(kernel: &mut Kernel) {
    let body = std::mem::take(&mut kernel.body);
    kernel.body = block(kernel, body);
}

fn block(kernel: &Kernel, block: Block) -> Block {
    let mut flight = Flight {
        kernel,
        done: Block::new(),
        bytes: 0,
        unfinished: HashSet::new(),
        waiting: Vec::new(),
    };
    for (statement, span) in block {
        match &statement {
            Statement::Let { value, operation } if has_no_place(operation) => flight.add(*value, statement, span),
            _ => {
                flight.land();
                let statement = statement.map_blocks(|inner| room(|| self::block(kernel, inner)));
                flight.done.push(statement, span);
            }
        }
    }
    flight.land();
    flight.done
}

/// Whether an operation gives the same wherever it stands between others of which this holds. No register is set between them, so
/// what reads one does.
fn has_no_place(operation: &Operation) -> bool {
    match operation {
        Operation::Load(load) => load.order == Order::Weak && load.cache != Some(CacheHint::Volatile),
        other => !other.meets() && !matches!(other, Operation::Timer),
    }
}

/// Whether a statement computes nothing of bits but where they are.
fn arranges(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Let {
            operation: Operation::Part { .. }
                | Operation::Join(_)
                | Operation::Bitcast { .. }
                | Operation::Select { .. }
                | Operation::Funnel { .. },
            ..
        }
    )
}

/// What is in flight at a point of a block.
struct Flight<'a> {
    kernel: &'a Kernel,
    /// What comes before.
    done: Block,
    /// What is loaded.
    bytes: u32,
    /// What is loaded, and what is made of that.
    unfinished: HashSet<Handle<Value>>,
    /// What makes it, in order.
    waiting: Vec<(Statement, Span)>,
}

impl Flight<'_> {
    fn add(&mut self, value: Handle<Value>, statement: Statement, span: Span) {
        let bytes = loaded(self.kernel, &statement);
        if bytes > 0 {
            if self.bytes + bytes > MOST_BYTES {
                self.land();
            }
            self.finish(self.needs(&statement));
            self.bytes += bytes;
            self.unfinished.insert(value);
        } else if !self.needs(&statement).is_empty() {
            if arranges(&statement) {
                self.unfinished.insert(value);
                self.waiting.push((statement, span));
                return;
            }
            self.land();
        }
        self.done.push(statement, span);
    }

    /// What a statement takes of what is in flight.
    fn needs(&self, statement: &Statement) -> HashSet<Handle<Value>> {
        let mut needs = HashSet::new();
        statement.for_each_atom(&self.kernel.indices, |atom| match atom {
            Atom::Value(value) if self.unfinished.contains(&value) => drop(needs.insert(value)),
            _ => {}
        });
        needs
    }

    /// Has these values made, with all that they are made of: who has waited for them once need not again.
    fn finish(&mut self, mut needed: HashSet<Handle<Value>>) {
        if needed.is_empty() {
            return;
        }
        let (mut made, mut waiting) = (Vec::new(), Vec::new());
        for (statement, span) in std::mem::take(&mut self.waiting).into_iter().rev() {
            match &statement {
                Statement::Let { value, .. } if needed.contains(value) => {
                    needed.extend(self.needs(&statement));
                    made.push((statement, span));
                }
                _ => waiting.push((statement, span)),
            }
        }
        self.waiting = waiting.into_iter().rev().collect();
        self.unfinished.retain(|value| !needed.contains(value));
        for (statement, span) in made.into_iter().rev() {
            self.done.push(statement, span);
        }
    }

    /// Has everything made.
    fn land(&mut self) {
        for (statement, span) in std::mem::take(&mut self.waiting) {
            self.done.push(statement, span);
        }
        self.unfinished.clear();
        self.bytes = 0;
    }
}
