//! Where the threads of a program wait for each other: where one touches what another has touched, and the order matters.

use std::collections::BTreeSet;

use super::Lower;
use crate::ir::{Block, Expression, Handle, Statement};
use crate::thread;

/// Tensors on which order matters that have been touched since the last barrier.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    read: BTreeSet<u32>,
    written: BTreeSet<u32>,
    /// Changed by atomic operations, which need no barrier among themselves.
    atomic: BTreeSet<u32>,
    /// Up to where shared memory has been read.
    pub(super) shared: u32,
    /// Tiles in shared memory that some threads have written since, and others may not read yet.
    pub(super) unmet: BTreeSet<Handle<Expression>>,
    /// Whether the word that says that the program ends has been touched.
    pub(super) over: bool,
}

impl Order {
    pub(super) fn union(&mut self, other: &Order) {
        self.read.extend(&other.read);
        self.written.extend(&other.written);
        self.atomic.extend(&other.atomic);
        self.shared = self.shared.max(other.shared);
        self.unmet.extend(&other.unmet);
        self.over |= other.over;
    }
}

impl Lower<'_> {
    /// Lets the threads of the program meet.
    pub(super) fn barrier(&mut self) {
        let group = self.schedule.threads * self.b.kernel().cluster;
        self.b.push(thread::Statement::Barrier { group });
        self.order = Order::default();
    }

    fn is_ordered(&self, tensor: u32) -> bool {
        self.effects.ordered.contains(&tensor)
    }

    /// Before threads read what others have written. That they [have](Self::has_read) is said behind it: they may have to
    /// meet in between, for where it is that they read.
    pub(super) fn before_read(&mut self, tensor: u32) {
        let touched = self.order.written.contains(&tensor) || self.order.atomic.contains(&tensor);
        if self.is_ordered(tensor) && touched {
            self.barrier();
        }
    }

    pub(super) fn has_read(&mut self, tensor: u32) {
        if self.is_ordered(tensor) {
            self.order.read.insert(tensor);
        }
    }

    /// Before threads write what others have touched, and [behind](Self::has_written) it.
    pub(super) fn before_write(&mut self, tensor: u32) {
        let Order {
            read, written, atomic, ..
        } = &self.order;
        let touched = [read, written, atomic].iter().any(|touched| touched.contains(&tensor));
        if self.is_ordered(tensor) && touched {
            self.barrier();
        }
    }

    pub(super) fn has_written(&mut self, tensor: u32) {
        if self.is_ordered(tensor) {
            self.order.written.insert(tensor);
        }
    }

    pub(super) fn before_atomic(&mut self, tensor: u32) {
        let touched = self.order.written.contains(&tensor) || self.order.read.contains(&tensor);
        if self.is_ordered(tensor) && touched {
            self.barrier();
        }
    }

    pub(super) fn changed_atomically(&mut self, tensor: u32) {
        if self.is_ordered(tensor) {
            self.order.atomic.insert(tensor);
        }
    }

    /// What is pending in a loop: what was before it, and what its trips before may have left. A barrier inside is none for a
    /// loop without trips, so all of it still is after the loop.
    pub(super) fn pending_in_loop<'b>(&mut self, blocks: impl IntoIterator<Item = &'b Block>) {
        self.order.shared = u32::MAX;
        for block in blocks {
            let touched = self.touched(block);
            self.order.union(&touched);
        }
    }

    /// Every access to a tensor on which order matters in a block and what is nested in it.
    fn touched(&self, block: &Block) -> Order {
        let mut order = Order::default();
        block.walk(&mut |statement, _| match statement {
            Statement::Let(value) => {
                match &self.kernel.expressions[*value] {
                    Expression::Load(access) => order.read.insert(access.tensor),
                    Expression::Atomic(atomic) => {
                        order.over |= atomic.waits();
                        order.atomic.insert(atomic.access.tensor)
                    }
                    _ => false,
                };
            }
            Statement::Store { access, .. } => {
                order.written.insert(access.tensor);
            }
            statement => order.over |= self.kernel.checks_tile(statement),
        });
        order
    }
}
