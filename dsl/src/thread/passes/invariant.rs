//! The part of offsets that is the same in all trips of a loop is computed ahead of it.
//!
//! A compiler that puts sums into another order finds it by itself. What assembles instructions does not: it moves whole ones,
//! and an offset whose counter is added in the middle is computed anew in each trip.

use std::collections::HashMap;

use super::hoist::Defined;
use super::name::accessed;
use crate::ir::Handle;
use crate::stack::room;
use crate::thread::{Block, Builder, Index, Kernel, Place, Statement};

/// Names such parts ahead of loops.
pub fn name_invariants(kernel: Kernel) -> Kernel {
    let (b, body) = Builder::over(kernel);
    let mut pass = NameInvariants { b };
    pass.block(body);
    pass.b.finish()
}

struct NameInvariants {
    b: Builder,
}

/// What is named ahead of a loop, and what is defined in it.
struct Ahead {
    defined: Defined,
    names: HashMap<Handle<Index>, Handle<Index>>,
}

impl NameInvariants {
    fn block(&mut self, block: Block) {
        for (statement, span) in block {
            self.b.at(span);
            room(|| self.statement(statement));
        }
    }

    fn statement(&mut self, mut statement: Statement) {
        if let Statement::For { .. } | Statement::Loop { .. } = &statement {
            let mut ahead = Ahead {
                defined: Defined::of(&statement),
                names: HashMap::new(),
            };
            statement = statement.map_blocks(|body| self.rewritten(body, &mut ahead));
        }
        let statement = statement.map_blocks(|block| {
            self.b.enter();
            self.block(block);
            self.b.leave()
        });
        self.b.push(statement);
    }

    /// The block with its offsets counted from what is named ahead of the loop that it is of.
    fn rewritten(&mut self, block: Block, ahead: &mut Ahead) -> Block {
        let mut rewritten = Block::new();
        for (mut statement, span) in block {
            if let Statement::Name { index, .. } = &mut statement {
                *index = self.counted_from_ahead(*index, ahead);
            }
            if let Some((place, bytes)) = accessed(&mut statement, self.b.kernel()) {
                let offset = self.counted_from_ahead(place.offset, ahead);
                let renamed = Place { offset, ..*place };
                // As of all names: an address that is only known together with its offset stays as it is.
                if self.b.kernel().divisor_of(renamed) >= bytes.into() {
                    *place = renamed;
                }
            }
            let statement = statement.map_blocks(|inner| room(|| self.rewritten(inner, ahead)));
            rewritten.push(statement, span);
        }
        rewritten
    }

    fn counted_from_ahead(&mut self, index: Handle<Index>, ahead: &mut Ahead) -> Handle<Index> {
        let Some((fixed, moving)) = self.b.indices().split(index, |atom| !ahead.defined.has(atom)) else {
            return index;
        };
        let named = match ahead.names.get(&fixed) {
            Some(named) => *named,
            None => {
                let named = self.b.name(fixed);
                ahead.names.insert(fixed, named);
                named
            }
        };
        self.b.indices().add(named, moving)
    }
}
