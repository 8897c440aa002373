//! What nothing needs is left out.

use std::collections::HashSet;

use crate::ir::Handle;
use crate::stack::room;
use crate::thread::statement::Mention;
use crate::thread::{Atom, Block, Buffer, BufferKind, Kernel, Order, Register, Statement, Store, Value, Variable};

pub(super) fn run(kernel: &mut Kernel) {
    let mut live = Live {
        kernel,
        values: HashSet::new(),
        variables: HashSet::new(),
        registers: HashSet::new(),
        buffers: HashSet::new(),
    };
    // What a register or a block's memory holds is needed if it is read anywhere: until nothing more is.
    let mut body = live.kernel.body.clone();
    loop {
        let before = (live.registers.len(), live.buffers.len());
        (live.values, live.variables) = (HashSet::new(), HashSet::new());
        let kept = live.block(&body);
        if (live.registers.len(), live.buffers.len()) == before {
            body = kept;
            break;
        }
    }
    kernel.body = body;
}

struct Live<'a> {
    kernel: &'a Kernel,
    values: HashSet<Handle<Value>>,
    variables: HashSet<Handle<Variable>>,
    registers: HashSet<Handle<Register>>,
    /// What is read of memory.
    buffers: HashSet<Handle<Buffer>>,
}

impl Live<'_> {
    /// The statements that are needed, found from the last one on: uses come after definitions.
    fn block(&mut self, block: &Block) -> Block {
        let mut kept = Vec::new();
        for (statement, span) in block.iter().rev() {
            if let Some(statement) = room(|| self.statement(statement)) {
                kept.push((statement, *span));
            }
        }
        kept.into_iter().rev().collect()
    }

    fn statement(&mut self, statement: &Statement) -> Option<Statement> {
        let kept = match statement {
            Statement::Let { value, .. } => self.values.contains(value).then(|| statement.clone()),
            Statement::Name { variable, .. } => self.variables.contains(variable).then(|| statement.clone()),
            Statement::Assign { register, .. } => self.registers.contains(register).then(|| statement.clone()),
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let (accept, reject) = (self.block(accept), self.block(reject));
                let empty = accept.is_empty() && reject.is_empty();
                (!empty).then_some(Statement::If {
                    condition: *condition,
                    accept,
                    reject,
                })
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
                let body = self.block(body);
                (!body.is_empty()).then_some(Statement::For {
                    label: *label,
                    variable: *variable,
                    start: *start,
                    end: *end,
                    step: *step,
                    unroll: *unroll,
                    body,
                })
            }
            Statement::Loop { label, unroll, body } => {
                let body = self.block(body);
                Some(Statement::Loop {
                    label: *label,
                    unroll: *unroll,
                    body,
                })
            }
            Statement::Scope { label, body } => {
                let body = self.block(body);
                (!body.is_empty()).then_some(Statement::Scope { label: *label, body })
            }
            Statement::Store(store) => self.is_read(store).then(|| statement.clone()),
            // Instructions of the author's compute and do nothing else.
            Statement::Ptx(ptx) => {
                let wanted = ptx.outputs.iter().any(|output| self.values.contains(output));
                wanted.then(|| statement.clone())
            }
            other => Some(other.clone()),
        };
        if let Some(kept) = &kept {
            kept.for_each_mention(|mention| self.mention(mention, kept));
        }
        kept
    }

    /// Whether somebody may read what is stored.
    fn is_read(&self, store: &Store) -> bool {
        let buffer = store.place.buffer;
        let is_own = matches!(
            self.kernel.buffers[buffer].kind,
            BufferKind::Shared { .. } | BufferKind::Local { .. }
        );
        !is_own || store.order != Order::Weak || self.buffers.contains(&buffer)
    }

    fn mention(&mut self, mention: Mention, by: &Statement) {
        if let Mention::Place(place) = mention
            && !matches!(by, Statement::Store(_))
        {
            self.buffers.insert(place.buffer);
        }
        match mention {
            Mention::Register(register) => {
                if !matches!(by, Statement::Assign { .. }) {
                    self.registers.insert(register);
                }
            }
            mention => mention.for_each_atom(&self.kernel.indices, |atom| match atom {
                Atom::Value(value) => drop(self.values.insert(value)),
                Atom::Variable(variable) => drop(self.variables.insert(variable)),
                _ => {}
            }),
        }
    }
}
