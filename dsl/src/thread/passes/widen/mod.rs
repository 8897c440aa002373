//! Accesses that move with the lane, as accesses of 1 to 16 bytes.
//!
//! The lanes of an access are where its offset is for each: index expressions say how far they are apart, and what
//! divides the first one. Of lanes whose distances are known, in whatever order and however often each element is read,
//! those that are neighbours are accessed together, as wide as their address allows. A load of 16 bytes whose address
//! is not known to be a multiple of 16 is two aligned ones, shifted together; each of the words that is read has at
//! least one byte that is asked for, so no page is touched that is not the tensor's.
//!
//! Where the condition of an access moves with the lane, all lanes are accessed together if it holds for all, and one
//! by one elsewhere.

mod each;
mod lanes;
mod load;
mod realign;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use super::{Narrow, Why};
use crate::ir::{Handle, Span};
use crate::stack::room;
use crate::thread::{Atom, Block, Builder, Index, Kernel, Operation, Place, Statement, Type, Use, Value};

/// The bytes of one access at most.
const WIDEST: i64 = 16;

pub(super) fn run(kernel: &mut Kernel) -> Vec<Narrow> {
    let (b, body) = Builder::over(std::mem::take(kernel));
    let mut widen = Widen {
        b,
        values: BTreeMap::new(),
        loaded: BTreeSet::new(),
        narrow: Vec::new(),
        span: Span::UNKNOWN,
    };
    widen.block(body);
    *kernel = widen.b.finish();
    widen.narrow
}

struct Widen {
    b: Builder,
    /// What packets that were loaded have become.
    values: BTreeMap<Handle<Value>, Use>,
    /// Packets that were loaded, and those that are computed from them.
    loaded: BTreeSet<Handle<Value>>,
    narrow: Vec<Narrow>,
    span: Span,
}

impl Widen {
    fn block(&mut self, block: Block) {
        for (statement, span) in block {
            self.span = span;
            self.b.at(span);
            room(|| self.statement(statement));
        }
    }

    fn inside(&mut self, block: Block) -> Block {
        self.b.enter();
        self.block(block);
        self.b.leave()
    }

    fn statement(&mut self, statement: Statement) {
        if let Statement::Let { value, operation } = &statement
            && self.is_loaded(operation)
        {
            self.loaded.insert(*value);
        }
        match statement {
            Statement::Let {
                value,
                operation: Operation::Load(load),
            } => self.load(value, load),
            Statement::Let {
                value,
                operation:
                    Operation::Select {
                        condition: Use::Predicate(condition),
                        accept,
                        reject,
                    },
            } => self.select(value, condition, accept, reject),
            Statement::Let { value, mut operation } => {
                operation.map_operands(|operand| self.packet(operand));
                self.b.push(Statement::Let { value, operation });
            }
            Statement::Store(store) => self.store(store),
            Statement::Assign { register, value } => {
                let value = self.packet(value);
                self.b.push(Statement::Assign { register, value });
            }
            outer @ (Statement::If { .. }
            | Statement::For { .. }
            | Statement::Loop { .. }
            | Statement::Scope { .. }) => {
                let statement = outer.map_blocks(|block| self.inside(block));
                self.b.push(statement);
            }
            Statement::Report(report) => self.report(report),
            Statement::Ptx(ptx) => self.ptx(ptx),
            // Of these everything has one lane.
            other @ (Statement::Name { .. }
            | Statement::Atomic(_)
            | Statement::AsyncCopy(_)
            | Statement::AsyncCommit
            | Statement::AsyncWait(_)
            | Statement::Prefetch { .. }
            | Statement::Barrier { .. }
            | Statement::Fence { .. }
            | Statement::GridDependency(_)
            | Statement::Print { .. }
            | Statement::Leave(_)
            | Statement::Next(_)
            | Statement::Exit) => self.b.push(other),
        }
    }

    /// Whether an operation is a load, or computes something from what was loaded.
    fn is_loaded(&self, operation: &Operation) -> bool {
        let of = |atoms: &[Atom]| {
            let mut values = atoms.iter();
            values.any(|atom| matches!(atom, Atom::Value(value) if self.loaded.contains(value)))
        };
        let indices = &self.b.kernel().indices;
        let mut found = matches!(operation, Operation::Load(_));
        operation.for_each_operand(|operand| {
            found |= match operand {
                Use::Value(value) => self.loaded.contains(&value),
                Use::Literal(_) => false,
                Use::Index(index) => of(indices.atoms(index)),
                Use::Predicate(condition) => of(indices.condition_atoms(condition)),
            }
        });
        found
    }

    /// Why it is not known how far the elements at an offset are apart.
    pub(super) fn why_unknown(&self, offset: Handle<Index>) -> Why {
        super::why_unknown(self.b.kernel(), offset, |value| self.loaded.contains(&value))
    }

    pub(super) fn note(&mut self, place: Place, is_store: bool, bytes: i64, ty: Type, why: Why) {
        let buffer = self.b.kernel().buffers[place.buffer].name.clone();
        let narrow = Narrow {
            span: self.span,
            buffer,
            is_store,
            bytes: bytes as u32,
            wanted: ty.bytes().min(WIDEST as u32),
            why,
        };
        if !self.narrow.contains(&narrow) {
            self.narrow.push(narrow);
        }
    }
}

/// The largest power of two that is no more, up to the bytes of one access.
fn largest_power(bytes: i64) -> i64 {
    (1 << bytes.ilog2()).min(WIDEST)
}
