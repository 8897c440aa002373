//! Loads that wait for nothing are done before threads first meet.
//!
//! Behind a barrier, or where threads hand one another something, they would begin when the last thread has come, and with them
//! everything that needs them. Ahead of it they are on their way meanwhile. What is loaded under a condition is loaded ahead under
//! the same one, if nobody writes it. They pass no loop, nothing that orders memory and nothing that ends a program, which may be
//! why an address is one of memory.

use std::collections::{BTreeSet, HashMap};

use super::hoist::may_end;
use super::loaded;
use crate::ir::{CacheHint, Handle};
use crate::stack::room;
use crate::thread::statement::Mention;
use crate::thread::{
    Atom, Block, Buffer, IndexArena, Kernel, Load, Operation, Order, Predicate, Sharing, Statement, Use, Value,
};

/// Bytes that a thread loads at most before it needs them.
const MOST_BYTES: u32 = 64;

/// Under which condition something is done, if under one.
type When = Option<Handle<Predicate>>;

pub(super) fn run(kernel: &mut Kernel) {
    let mut left = MOST_BYTES;
    // Loads may stand behind a loop that parts the first barrier from what meets before.
    let meetings: [fn(&Statement) -> bool; 2] = [Statement::meets, is_barrier];
    for is_meeting in meetings {
        let body = std::mem::take(&mut kernel.body);
        kernel.body = match body.iter().position(|(statement, _)| is_meeting(statement)) {
            Some(first) => moved(kernel, body, first, &mut left),
            None => body,
        };
    }
}

/// The statements, with loads ahead of the first that meets.
fn moved(kernel: &mut Kernel, body: Block, first: usize, left: &mut u32) -> Block {
    // What one thread has been told of before, the others learn there.
    let tells = |statement: &Statement| orders(statement) && !matches!(statement, Statement::GridDependency(_));
    if body.iter().take(first).any(|(statement, _)| tells(statement)) {
        return body;
    }
    let mut statements = body.into_iter();
    let mut before: Block = statements.by_ref().take(first).collect();
    let behind: Block = statements.collect();
    let mut segment = Segment {
        kernel,
        left,
        defined: HashMap::new(),
        written: BTreeSet::new(),
        ahead: HashMap::new(),
    };
    for (statement, _) in &before {
        segment.note_written(statement);
    }
    segment.find(&behind, None);
    let ahead = segment.ahead;
    let behind = parted(behind, &ahead, &mut kernel.indices, &mut before);
    before.into_iter().chain(behind).collect()
}

/// What of a block stays where it is; the rest is done before.
fn parted(block: Block, ahead: &HashMap<Handle<Value>, When>, indices: &mut IndexArena, before: &mut Block) -> Block {
    let mut stays = Block::new();
    for (mut statement, span) in block {
        if let Statement::Let { value, operation } = &mut statement
            && let Some(when) = ahead.get(value)
        {
            if let Operation::Load(load) = operation {
                load.predicate = both(indices, *when, load.predicate);
            }
            before.push(statement, span);
        } else {
            let statement = statement.map_blocks(|block| room(|| parted(block, ahead, indices, before)));
            stays.push(statement, span);
        }
    }
    stays
}

fn both(indices: &mut IndexArena, one: When, other: When) -> When {
    match (one, other) {
        (Some(one), Some(other)) => Some(indices.all([one, other])),
        _ => one.or(other),
    }
}

/// What loads may pass.
struct Segment<'s> {
    kernel: &'s mut Kernel,
    /// Bytes that may still be loaded ahead.
    left: &'s mut u32,
    /// Which statement defines a value, and when it is done.
    defined: HashMap<Handle<Value>, (&'s Statement, When)>,
    /// What has been written up to here, from the start.
    written: BTreeSet<Handle<Buffer>>,
    /// What is done ahead, and when.
    ahead: HashMap<Handle<Value>, When>,
}

impl<'s> Segment<'s> {
    /// Finds what is done ahead, in a block up to what nothing passes.
    fn find(&mut self, block: &'s Block, when: When) {
        for (statement, _) in block.iter().take_while(|(statement, _)| !stops(statement)) {
            statement.for_each_mention(|mention| {
                if let Mention::Defines(value) = mention {
                    self.defined.insert(value, (statement, when));
                }
            });
            self.note_written(statement);
            match statement {
                Statement::Let { value, .. } => self.consider(*value),
                Statement::If {
                    condition,
                    accept,
                    reject,
                } => {
                    let opposite = self.kernel.indices.not(*condition);
                    for (block, condition) in [(accept, *condition), (reject, opposite)] {
                        let when = both(&mut self.kernel.indices, when, Some(condition));
                        room(|| self.find(block, when));
                    }
                }
                _ => {}
            }
        }
    }

    /// Has a value loaded ahead, if it may be and is not too much.
    fn consider(&mut self, value: Handle<Value>) {
        if self.loaded(value) > 0
            && let Some(needed) = self.needed(value)
            && let Some(rest) = self
                .left
                .checked_sub(needed.iter().map(|value| self.loaded(*value)).sum())
        {
            *self.left = rest;
            let defined = &self.defined;
            self.ahead
                .extend(needed.into_iter().map(|value| (value, defined[&value].1)));
        }
    }

    /// How many bytes of the GPU's memory are loaded for a value itself.
    fn loaded(&self, value: Handle<Value>) -> u32 {
        loaded(self.kernel, self.defined[&value].0)
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

    /// A value and all those that it needs of what is computed here, if they may be computed ahead.
    fn needed(&self, value: Handle<Value>) -> Option<BTreeSet<Handle<Value>>> {
        let (mut needed, mut open) = (BTreeSet::new(), vec![value]);
        while let Some(value) = open.pop() {
            let Some((statement, when)) = self.defined.get(&value) else {
                continue;
            };
            if self.ahead.contains_key(&value) || !needed.insert(value) {
                continue;
            }
            let Statement::Let { operation, .. } = statement else {
                return None;
            };
            if !self.may_move(value, operation, *when) {
                return None;
            }
            let mut moves = true;
            let mut needs = |atom| match atom {
                Atom::Value(value) => open.push(value),
                // Of a loop around, and there is none.
                Atom::Variable(_) => moves = false,
                Atom::Thread | Atom::Block | Atom::Argument(_) | Atom::Address(_) | Atom::Lane(_) => {}
            };
            let indices = &self.kernel.indices;
            statement.for_each_atom(indices, &mut needs);
            if let (Operation::Load(_), Some(when)) = (operation, *when) {
                Mention::Use(Use::Predicate(when)).for_each_atom(indices, &mut needs);
            }
            if !moves {
                return None;
            }
        }
        Some(needed)
    }

    fn may_move(&self, value: Handle<Value>, operation: &Operation, when: When) -> bool {
        // What is claimed of a value is claimed where it is.
        if when.is_some() && self.kernel.values[value].facts.is_some() {
            return false;
        }
        match operation {
            Operation::Load(Load {
                place, order, cache, ..
            }) => {
                let sharing = self.kernel.buffers[place.buffer].sharing();
                // What others write they have not been asked about yet.
                *order == Order::Weak
                    && *cache != Some(CacheHint::Volatile)
                    && !self.written.contains(&place.buffer)
                    && (when.is_none() || sharing == Sharing::ReadOnly)
            }
            other => !other.depends_on_its_place(),
        }
    }
}

fn is_barrier(statement: &Statement) -> bool {
    matches!(statement, Statement::Barrier { .. })
}

/// Whether no load passes a statement.
fn stops(statement: &Statement) -> bool {
    let is_long = matches!(
        statement,
        Statement::For { .. } | Statement::Loop { .. } | Statement::Scope { .. }
    );
    is_long || orders(statement) || may_end(statement)
}

/// Whether a statement, or one in it, [orders](Statement::orders) memory.
fn orders(statement: &Statement) -> bool {
    let mut found = statement.orders();
    statement.for_each_block(|block| block.walk(&mut |inner, _| found |= inner.orders()));
    found
}
