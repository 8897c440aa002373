//! The part of offsets that several accesses share is computed once, ahead of them: what is left of each is a constant.
//!
//! Only offsets that are as well known with the name in them: what is known of an address and an offset together, as of
//! rows that are rounded up to a multiple of 16 bytes, would be hidden.

use std::collections::HashMap;

use crate::ir::Handle;
use crate::stack::room;
use crate::thread::statement::Mention;
use crate::thread::{Block, Builder, Index, Kernel, Operation, Place, Statement};

pub(super) fn run(kernel: &mut Kernel) {
    let (b, body) = Builder::over(std::mem::take(kernel));
    let mut name = Name {
        b,
        named: vec![HashMap::new()],
    };
    name.block(body);
    *kernel = name.b.finish();
}

struct Name {
    b: Builder,
    /// The names of offsets without their constants, innermost block last; none for those that are not worth one.
    named: Vec<HashMap<Handle<Index>, Option<Handle<Index>>>>,
}

impl Name {
    /// An offset without its constant, and the constant.
    fn apart(&mut self, offset: Handle<Index>) -> (Handle<Index>, i64) {
        let constant = match self.b.kernel().indices.get(offset) {
            Index::Sum(sum) => sum.constant,
            _ => 0,
        };
        (self.b.indices().offset(offset, constant.wrapping_neg()), constant)
    }

    /// How often the statements of a block, not counting those inside them, have each offset.
    fn count(&mut self, block: &Block) -> HashMap<Handle<Index>, usize> {
        let mut offsets = Vec::new();
        for (statement, _) in block {
            statement.for_each_mention(|mention| {
                if let Mention::Place(place) = mention {
                    offsets.push(place.offset);
                }
            });
        }
        let mut counts = HashMap::new();
        for offset in offsets {
            let (rest, _) = self.apart(offset);
            *counts.entry(rest).or_insert(0) += 1;
        }
        counts
    }

    fn block(&mut self, block: Block) {
        let counts = self.count(&block);
        for (mut statement, span) in block {
            self.b.at(span);
            if let Some((place, bytes)) = accessed(&mut statement, self.b.kernel()) {
                *place = self.place(*place, bytes, &counts);
            }
            room(|| self.statement(statement));
        }
    }

    fn inside(&mut self, block: Block) -> Block {
        self.b.enter();
        self.named.push(HashMap::new());
        self.block(block);
        self.named.pop();
        self.b.leave()
    }

    fn statement(&mut self, statement: Statement) {
        let statement = statement.map_blocks(|block| self.inside(block));
        self.b.push(statement);
    }

    fn place(&mut self, place: Place, bytes: u32, counts: &HashMap<Handle<Index>, usize>) -> Place {
        let (rest, constant) = self.apart(place.offset);
        let is_name = matches!(self.b.kernel().indices.get(rest), Index::Atom(_));
        if is_name || self.b.kernel().indices.as_constant(rest).is_some() {
            return place;
        }
        let known = self.named.iter().rev().find_map(|scope| scope.get(&rest)).copied();
        let named = match known {
            Some(named) => named,
            None if counts.get(&rest).is_some_and(|count| *count > 1) => {
                let named = Some(self.b.name(rest));
                if let Some(scope) = self.named.last_mut() {
                    scope.insert(rest, named);
                }
                named
            }
            None => None,
        };
        let Some(named) = named else { return place };
        let offset = self.b.indices().offset(named, constant);
        let renamed = Place { offset, ..place };
        // An address that is only known together with its offset stays as it is.
        match self.b.kernel().divisor_of(renamed) >= bytes.into() {
            true => renamed,
            false => place,
        }
    }
}

/// The place that a statement accesses, whose offset may be named, and the bytes of the access.
pub(super) fn accessed<'s>(statement: &'s mut Statement, kernel: &Kernel) -> Option<(&'s mut Place, u32)> {
    match statement {
        Statement::Let {
            operation: Operation::Load(load),
            ..
        } => Some((&mut load.place, load.ty.bytes())),
        Statement::Store(store) => Some((&mut store.place, kernel.ty(store.value).bytes())),
        Statement::Atomic(atomic) => Some((&mut atomic.place, atomic.element.size() as u32)),
        _ => None,
    }
}
