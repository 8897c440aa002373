//! What has to be known of a kernel's accesses so that races are found: programs that touch one element, at least one of
//! them to change it, in no order.

use std::collections::BTreeSet;
use std::fmt;

use super::effects::Effects;
use crate::ir::{Atomic, Conflict, Expression, Handle, Kernel, MemoryScope, Statement};

/// What an access does to an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Touch {
    /// It loads it.
    Read,
    /// It changes it in one step.
    Atomic,
    /// It stores it, in a scatter that promises that no other one does.
    Disjoint,
    /// It stores it.
    Write,
}

impl Touch {
    /// What a store does; `None` if its order is part of what it means.
    pub fn of_store(conflict: Option<Conflict>) -> Option<Self> {
        match conflict {
            None => Some(Self::Write),
            Some(Conflict::Disjoint) => Some(Self::Disjoint),
            Some(Conflict::LastWins) => None,
        }
    }

    /// Whether two programs may do this to one element in any order.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Read | Self::Atomic)
    }
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Atomic => "changed atomically",
            Self::Disjoint => "written in a scatter that is declared disjoint",
            Self::Write => "written",
        })
    }
}

/// What may order the programs of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// Nothing does.
    Free,
    /// Atomic operations that acquire and release do, as far as a run comes to them.
    Locks,
    /// They run one after the other.
    InOrder,
}

/// Which accesses of a kernel can be part of a race.
#[derive(Debug, Clone)]
pub struct Races {
    /// What may order its programs.
    pub sequence: Sequence,
    /// Tensors that are changed.
    changing: BTreeSet<u32>,
    /// Tensors that are changed atomically, and plainly loaded or stored as well.
    mixed: BTreeSet<u32>,
    /// Atomic operations whose value something uses.
    used: BTreeSet<Handle<Expression>>,
}

impl Races {
    /// The races of a kernel with these effects.
    pub fn of(kernel: &Kernel, effects: &Effects) -> Self {
        let Effects { loaded, stored, .. } = effects;
        let atomic = &effects.atomics.tensors;
        let is_mixed = |tensor: &&u32| loaded.contains(tensor) || stored.contains(tensor);
        Self {
            sequence: match effects.in_order {
                true => Sequence::InOrder,
                false if has_locks(kernel, effects) => Sequence::Locks,
                false => Sequence::Free,
            },
            changing: stored.union(atomic).copied().collect(),
            mixed: atomic.iter().filter(is_mixed).copied().collect(),
            used: effects.atomics.used.clone(),
        }
    }

    /// What a load from `tensor` does, if that matters: if something changes it.
    pub fn of_load(&self, tensor: u32) -> Option<Touch> {
        self.changing.contains(&tensor).then_some(Touch::Read)
    }

    /// Whether something uses the value of this atomic operation.
    pub fn is_used(&self, atomic: Handle<Expression>) -> bool {
        self.used.contains(&atomic)
    }

    /// What an atomic operation does, if that matters.
    pub fn of_atomic(&self, atomic: &Atomic) -> Option<Touch> {
        match atomic.scope {
            // Within a block is no single step for another program: there it is a plain store.
            MemoryScope::Block => Some(Touch::Write),
            MemoryScope::Device | MemoryScope::System => {
                self.mixed.contains(&atomic.access.tensor).then_some(Touch::Atomic)
            }
        }
    }
}

/// Whether the programs of `kernel` may wait for each other: something acquires and its value is used, without which no
/// program can tell what came before, and something releases.
fn has_locks(kernel: &Kernel, effects: &Effects) -> bool {
    let (mut acquires, mut releases) = (false, false);
    kernel.body.walk(&mut |statement, _| {
        if let Statement::Let(value) = statement
            && let Expression::Atomic(atomic) = &kernel.expressions[*value]
            && atomic.scope != MemoryScope::Block
        {
            acquires |= atomic.order.acquires() && effects.atomics.used.contains(value);
            releases |= atomic.order.releases();
        }
    });
    acquires && releases
}
