//! What does not change in a loop is computed before it.
//!
//! Operations without an effect may be computed where they are not needed; memory that nobody writes is read ahead of a
//! loop only where the loop reads it in any case: in its first trip, which there is, with nothing before that ends the
//! trip.

use std::collections::HashSet;

use crate::ir::{Handle, Span};
use crate::stack::room;
use crate::thread::statement::Mention;
use crate::thread::{Atom, Block, Kernel, Load, Operation, Order, Sharing, Statement, Value, Variable};

pub(super) fn run(kernel: &mut Kernel) {
    let body = std::mem::take(&mut kernel.body);
    let hoist = Hoist { kernel };
    let body = hoist.block(body);
    kernel.body = body;
}

struct Hoist<'a> {
    kernel: &'a Kernel,
}

/// What a loop defines: whatever mentions none of it is the same in every trip.
#[derive(Default)]
pub(super) struct Defined {
    values: HashSet<Handle<Value>>,
    variables: HashSet<Handle<Variable>>,
}

impl Defined {
    /// Of a loop.
    pub(super) fn of(statement: &Statement) -> Self {
        let mut defined = Self::default();
        defined.note(statement);
        statement.for_each_block(|block| block.walk(&mut |statement, _| defined.note(statement)));
        defined
    }

    fn note(&mut self, statement: &Statement) {
        statement.for_each_mention(|mention| match mention {
            Mention::Defines(value) => drop(self.values.insert(value)),
            Mention::Names(variable) => drop(self.variables.insert(variable)),
            _ => {}
        });
    }

    pub(super) fn has(&self, atom: &Atom) -> bool {
        match atom {
            Atom::Value(value) => self.values.contains(value),
            Atom::Variable(variable) => self.variables.contains(variable),
            _ => false,
        }
    }
}

impl Hoist<'_> {
    fn block(&self, block: Block) -> Block {
        let mut done = Block::new();
        for (statement, span) in block {
            room(|| self.statement(statement, span, &mut done));
        }
        done
    }

    fn statement(&self, statement: Statement, span: Span, done: &mut Block) {
        match statement {
            Statement::For {
                label,
                variable,
                start,
                end,
                step,
                unroll,
                body,
            } => {
                let (first, last) = (self.kernel.indices.facts(start), self.kernel.indices.facts(end));
                let (ahead, body) = self.split(self.block(body), Some(variable), first.high < last.low);
                ahead
                    .into_iter()
                    .for_each(|(statement, span)| done.push(statement, span));
                let statement = Statement::For {
                    label,
                    variable,
                    start,
                    end,
                    step,
                    unroll,
                    body,
                };
                done.push(statement, span);
            }
            Statement::Loop { label, unroll, body } => {
                let (ahead, body) = self.split(self.block(body), None, true);
                ahead
                    .into_iter()
                    .for_each(|(statement, span)| done.push(statement, span));
                done.push(Statement::Loop { label, unroll, body }, span);
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let (accept, reject) = (self.block(accept), self.block(reject));
                let statement = Statement::If {
                    condition,
                    accept,
                    reject,
                };
                done.push(statement, span);
            }
            Statement::Scope { label, body } => {
                let body = self.block(body);
                done.push(Statement::Scope { label, body }, span);
            }
            other => done.push(other, span),
        }
    }

    /// What of a loop's body comes before it, and what stays.
    fn split(&self, body: Block, variable: Option<Handle<Variable>>, has_trip: bool) -> (Block, Block) {
        let mut defined = Defined::default();
        defined.variables.extend(variable);
        body.walk(&mut |statement, _| defined.note(statement));
        let (mut ahead, mut stays) = (Block::new(), Block::new());
        // Whether control comes here in every first trip.
        let mut certain = has_trip;
        for (statement, span) in body {
            let moves = match &statement {
                Statement::Let { operation, .. } => {
                    self.may_move(operation, certain) && !self.mentions(&statement, &defined)
                }
                _ => false,
            };
            certain &= !may_end(&statement);
            if !moves {
                stays.push(statement, span);
                continue;
            }
            if let Statement::Let { value, .. } = &statement {
                defined.values.remove(value);
            }
            ahead.push(statement, span);
        }
        (ahead, stays)
    }

    fn may_move(&self, operation: &Operation, certain: bool) -> bool {
        match operation {
            Operation::Load(Load { place, order, .. }) => {
                let buffer = &self.kernel.buffers[place.buffer];
                certain && buffer.sharing() == Sharing::ReadOnly && *order == Order::Weak
            }
            other => !other.depends_on_its_place(),
        }
    }

    /// Whether what a statement takes is defined there.
    fn mentions(&self, statement: &Statement, defined: &Defined) -> bool {
        let mut found = false;
        statement.for_each_atom(&self.kernel.indices, |atom| found |= defined.has(&atom));
        found
    }
}

/// Whether control may leave at or inside a statement.
pub(super) fn may_end(statement: &Statement) -> bool {
    let own = |statement: &Statement| matches!(statement, Statement::Leave(_) | Statement::Next(_) | Statement::Exit);
    let mut found = own(statement);
    statement.for_each_block(|block| block.walk(&mut |inner, _| found |= own(inner)));
    // Nobody knows whether a loop ends.
    found || matches!(statement, Statement::Loop { .. })
}
