//! What has to be known of a kernel's accesses so that races are found: programs that touch one element, at least one of
//! them to change it, in no order.

use std::collections::BTreeSet;
use std::fmt;

use super::effects::Effects;
use crate::ir::{Atomic, Conflict, Expression, Handle, Kernel, MemoryScope};

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

/// What to do about two accesses that do not go together.
pub fn advice(touches: [Touch; 2], of_one_program: bool) -> &'static str {
    match touches {
        [Touch::Disjoint, _] | [_, Touch::Disjoint] => {
            "make the indices differ, declare `Conflict::LastWins`, or use an atomic operation"
        }
        _ if of_one_program => {
            "make the indices differ, use `scatter` with `Conflict::LastWins`, or an atomic operation"
        }
        _ => {
            "let programs keep to elements of their own, put them in order with a lock, or change the element atomically"
        }
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
    /// Tensors that are loaded from and changed.
    read: BTreeSet<u32>,
    /// Tensors that are changed in one step for all programs, and in other ways as well.
    mixed: BTreeSet<u32>,
    /// Atomic operations whose value something uses.
    used: BTreeSet<Handle<Expression>>,
}

impl Races {
    /// The races of a kernel with these effects.
    pub fn of(kernel: &Kernel, effects: &Effects) -> Self {
        let Effects { loaded, stored, .. } = effects;
        let atomic = &effects.atomics.tensors;
        let within_blocks: BTreeSet<u32> = operations(kernel)
            .filter(|(_, atomic)| atomic.scope == MemoryScope::Block)
            .map(|(_, atomic)| atomic.access.tensor)
            .collect();
        let is_mixed = |tensor: &&u32| {
            [loaded, stored, &within_blocks]
                .iter()
                .any(|other| other.contains(tensor))
        };
        Self {
            sequence: match effects.in_order {
                true => Sequence::InOrder,
                false if has_locks(kernel, effects) => Sequence::Locks,
                false => Sequence::Free,
            },
            read: loaded
                .iter()
                .copied()
                .filter(|&tensor| effects.is_changing(tensor))
                .collect(),
            mixed: atomic.iter().filter(is_mixed).copied().collect(),
            used: effects.atomics.used.clone(),
        }
    }

    /// What a load from `tensor` does, if that matters: if something changes it.
    pub fn of_load(&self, tensor: u32) -> Option<Touch> {
        self.read.contains(&tensor).then_some(Touch::Read)
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
    let between_programs = || operations(kernel).filter(|(_, atomic)| atomic.scope != MemoryScope::Block);
    let used = |value: &Handle<Expression>| effects.atomics.used.contains(value);
    between_programs().any(|(value, atomic)| atomic.order.acquires() && (used(&value) || atomic.waits()))
        && between_programs().any(|(_, atomic)| atomic.order.releases())
}

/// The atomic operations of a kernel.
fn operations(kernel: &Kernel) -> impl Iterator<Item = (Handle<Expression>, &Atomic)> {
    kernel
        .expressions
        .iter()
        .filter_map(|(value, expression)| match expression {
            Expression::Atomic(atomic) => Some((value, atomic)),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementType;
    use crate::ir::verify::build::Builder;
    use crate::ir::{AtomicOp, AtomicUpdate, MemoryOrder};

    /// The races of a kernel with one atomic operation after the other, of these orders and scopes, on one element; where a
    /// value is used, it is stored.
    fn races(operations: &[(MemoryOrder, MemoryScope, bool)]) -> (Races, Vec<Atomic>) {
        let mut b = Builder::new("atomics");
        let (lock, out) = (
            b.tensor("lock", ElementType::I64, 1),
            b.tensor("out", ElementType::I64, 1),
        );
        let zero = b.index(0);
        let mut atomics = Vec::new();
        for &(order, scope, is_used) in operations {
            let atomic = Atomic {
                access: b.access(lock, &[zero]),
                update: AtomicUpdate::Combine {
                    op: AtomicOp::Add,
                    value: zero,
                },
                order,
                scope,
            };
            let value = b.emit(Expression::Atomic(atomic.clone()));
            atomics.push(atomic);
            if is_used {
                b.store(out, &[zero], value);
            }
        }
        let kernel = b.launch(1);
        (Races::of(&kernel, &Effects::of(&kernel)), atomics)
    }

    #[test]
    fn a_lock_acquires_a_value_that_is_used_and_releases() {
        use MemoryOrder::{Acquire, AcquireRelease, Relaxed, Release};
        let all = MemoryScope::Device;
        for (operations, sequence) in [
            (&[(Acquire, all, true), (Release, all, false)][..], Sequence::Locks),
            (&[(AcquireRelease, all, true)], Sequence::Locks),
            (&[(AcquireRelease, all, false)], Sequence::Free),
            (&[(Acquire, all, true), (Relaxed, all, true)], Sequence::Free),
            (&[(Relaxed, all, true), (Release, all, true)], Sequence::Free),
            (&[(AcquireRelease, MemoryScope::Block, true)], Sequence::Free),
            (&[], Sequence::Free),
        ] {
            assert_eq!(races(operations).0.sequence, sequence, "{operations:?}");
        }
    }

    #[test]
    fn atomic_operations_matter_beside_others_that_are_none_for_other_programs() {
        use MemoryOrder::Relaxed;
        use MemoryScope::{Block, Device};
        let touches = |scopes: &[MemoryScope]| {
            let operations: Vec<_> = scopes.iter().map(|&scope| (Relaxed, scope, false)).collect();
            let (races, atomics) = races(&operations);
            atomics.iter().map(|atomic| races.of_atomic(atomic)).collect::<Vec<_>>()
        };
        assert_eq!(touches(&[Device, Device]), [None, None]);
        assert_eq!(touches(&[Device, Block]), [Some(Touch::Atomic), Some(Touch::Write)]);
    }
}
