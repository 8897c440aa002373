//! Whether every register has been set where it is read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fault, Rule, fault};
use crate::ir::{Handle, Span};
use crate::stack::room;
use crate::thread::{Block, Kernel, Label, Operation, Register, Statement};

/// The registers that have been set for certain; `None` where control does not come.
type Set = Option<BTreeSet<Handle<Register>>>;

pub(super) fn verify(kernel: &Kernel) -> Result<(), Fault> {
    let mut flow = Flow { left: BTreeMap::new() };
    flow.block(&kernel.body, Some(BTreeSet::new())).map(drop)
}

struct Flow {
    /// What has been set where a loop or scope is left.
    left: BTreeMap<Label, Set>,
}

fn both(one: Set, other: Set) -> Set {
    match (one, other) {
        (None, set) | (set, None) => set,
        (Some(one), Some(other)) => Some(one.intersection(&other).copied().collect()),
    }
}

impl Flow {
    fn block(&mut self, block: &Block, mut set: Set) -> Result<Set, Fault> {
        for (statement, span) in block {
            set = room(|| self.statement(statement, *span, set))?;
        }
        Ok(set)
    }

    fn statement(&mut self, statement: &Statement, span: Span, set: Set) -> Result<Set, Fault> {
        Ok(match statement {
            Statement::Let {
                operation: Operation::Read(register),
                ..
            } => match &set {
                Some(known) if !known.contains(register) => {
                    return fault(
                        Rule::Assigned,
                        span,
                        format!("register {register:?} may not have been set"),
                    );
                }
                _ => set,
            },
            Statement::Assign { register, .. } => set.map(|mut known| {
                known.insert(*register);
                known
            }),
            Statement::If { accept, reject, .. } => {
                let accepted = self.block(accept, set.clone())?;
                let rejected = self.block(reject, set)?;
                both(accepted, rejected)
            }
            // There may be no trip, and then nothing is set.
            Statement::For { label, body, .. } => {
                self.left.insert(*label, None);
                self.block(body, set.clone())?;
                self.left.remove(label);
                set
            }
            Statement::Loop { label, body, .. } => {
                self.left.insert(*label, None);
                self.block(body, set)?;
                self.left.remove(label).flatten()
            }
            Statement::Scope { label, body } => {
                self.left.insert(*label, None);
                let through = self.block(body, set)?;
                both(through, self.left.remove(label).flatten())
            }
            Statement::Leave(label) => {
                let before = self.left.remove(label).flatten();
                self.left.insert(*label, both(before, set));
                None
            }
            Statement::Next(_) | Statement::Exit => None,
            Statement::Let { .. }
            | Statement::Name { .. }
            | Statement::Store(_)
            | Statement::Atomic(_)
            | Statement::AsyncCopy(_)
            | Statement::AsyncCommit
            | Statement::AsyncWait(_)
            | Statement::Prefetch { .. }
            | Statement::Barrier { .. }
            | Statement::Fence { .. }
            | Statement::GridDependency(_)
            | Statement::Report(_)
            | Statement::Print { .. }
            | Statement::Ptx(_) => set,
        })
    }
}
