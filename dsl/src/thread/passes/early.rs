//! Loads that wait for nothing are done before threads first meet.
//!
//! Behind a barrier they would begin when the last thread has come, and with them everything that needs them. Ahead of it they are
//! on their way meanwhile. They pass nothing else: what a program finds out before may be why an address is one of memory.

use std::collections::{BTreeSet, HashMap};

use super::hoist::may_end;
use crate::ir::{Handle, Span};
use crate::thread::statement::Mention;
use crate::thread::{Atom, Block, Buffer, Kernel, Load, Operation, Order, Space, Statement, Value};

/// Bytes that a thread loads at most before it needs them.
const MOST_BYTES: u32 = 64;

pub(super) fn run(kernel: &mut Kernel) {
    let statements: Vec<_> = std::mem::take(&mut kernel.body).into_iter().collect();
    let meets = |(statement, _): &(Statement, Span)| matches!(statement, Statement::Barrier { .. });
    kernel.body = match statements.iter().position(meets) {
        Some(first) => moved(kernel, statements, first),
        None => statements.into_iter().collect(),
    };
}

/// The statements, with loads ahead of the first that meets.
fn moved(kernel: &Kernel, statements: Vec<(Statement, Span)>, first: usize) -> Block {
    // What one thread has been told of before, the others learn there.
    let tells = |statement: &Statement| orders(statement) && !matches!(statement, Statement::GridDependency(_));
    if statements[..first].iter().any(|(statement, _)| tells(statement)) {
        return statements.into_iter().collect();
    }
    let stops = |statement: &Statement| {
        let is_long = matches!(
            statement,
            Statement::For { .. } | Statement::Loop { .. } | Statement::Scope { .. }
        );
        is_long || orders(statement) || may_end(statement)
    };
    let passed = statements[first..]
        .iter()
        .take_while(|(statement, _)| !stops(statement));
    let mut segment = Segment {
        kernel,
        statements: passed.map(|(statement, _)| statement).collect(),
        defined: HashMap::new(),
        written: BTreeSet::new(),
        ahead: BTreeSet::new(),
    };
    for (statement, _) in &statements[..first] {
        segment.note_written(statement);
    }
    segment.find();
    let ahead: BTreeSet<usize> = segment.ahead.into_iter().map(|at| first + at).collect();
    let (mut before, mut behind) = (Block::new(), Block::new());
    for (at, (statement, span)) in statements.into_iter().enumerate() {
        match at < first || ahead.contains(&at) {
            true => before.push(statement, span),
            false => behind.push(statement, span),
        }
    }
    before.into_iter().chain(behind).collect()
}

/// What loads may pass.
struct Segment<'k> {
    kernel: &'k Kernel,
    statements: Vec<&'k Statement>,
    /// Which statement defines a value.
    defined: HashMap<Handle<Value>, usize>,
    /// What has been written up to here, from the start.
    written: BTreeSet<Handle<Buffer>>,
    /// What is done ahead.
    ahead: BTreeSet<usize>,
}

impl Segment<'_> {
    fn find(&mut self) {
        let mut left = MOST_BYTES;
        for at in 0..self.statements.len() {
            let statement = self.statements[at];
            if self.loaded(at) > 0
                && let Some(needed) = self.needed(at)
                && let Some(rest) = left.checked_sub(needed.iter().map(|at| self.loaded(*at)).sum())
            {
                left = rest;
                self.ahead.extend(needed);
            }
            statement.for_each_mention(|mention| {
                if let Mention::Defines(value) = mention {
                    self.defined.insert(value, at);
                }
            });
            self.note_written(statement);
        }
    }

    /// How many bytes of the GPU's memory a statement loads.
    fn loaded(&self, at: usize) -> u32 {
        match self.statements[at] {
            Statement::Let {
                operation: Operation::Load(load),
                ..
            } if self.kernel.buffers[load.place.buffer].space() == Space::Global => load.ty.bytes(),
            _ => 0,
        }
    }

    /// Notes which memory a statement writes.
    fn note_written(&mut self, statement: &Statement) {
        let mut note = |statement: &Statement| {
            self.written.extend(match statement {
                Statement::Store(store) => Some(store.place.buffer),
                Statement::Atomic(atomic) => Some(atomic.place.buffer),
                Statement::AsyncCopy(copy) => Some(copy.to.buffer),
                _ => None,
            });
        };
        note(statement);
        statement.for_each_block(|block| block.walk(&mut |inner, _| note(inner)));
    }

    /// A statement and all that it needs of those before it, if they may be done ahead.
    fn needed(&self, at: usize) -> Option<BTreeSet<usize>> {
        let (mut needed, mut open) = (BTreeSet::new(), vec![at]);
        while let Some(at) = open.pop() {
            if self.ahead.contains(&at) || !needed.insert(at) {
                continue;
            }
            let Statement::Let { operation, .. } = self.statements[at] else {
                return None;
            };
            if !self.may_move(operation) {
                return None;
            }
            let mut moves = true;
            let mut needs = |atom| match atom {
                Atom::Value(value) => open.extend(self.defined.get(&value)),
                // Of a loop around, and there is none.
                Atom::Variable(_) => moves = false,
                Atom::Thread | Atom::Block | Atom::Argument(_) | Atom::Address(_) | Atom::Lane(_) => {}
            };
            self.statements[at].for_each_mention(|mention| mention.for_each_atom(&self.kernel.indices, &mut needs));
            if !moves {
                return None;
            }
        }
        Some(needed)
    }

    fn may_move(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Load(Load { place, order, .. }) => {
                // What others write they have not been asked about yet.
                *order == Order::Weak && !self.written.contains(&place.buffer)
            }
            other => !other.depends_on_its_place(),
        }
    }
}

/// Whether a statement, or one in it, [orders](Statement::orders) memory.
fn orders(statement: &Statement) -> bool {
    let mut found = statement.orders();
    statement.for_each_block(|block| block.walk(&mut |inner, _| found |= inner.orders()));
    found
}
