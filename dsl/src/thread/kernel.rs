//! A whole kernel.

use super::{
    Argument, Atom, Block, Buffer, BufferKind, Facts, Index, IndexArena, Place, Register, STATIC_SHARED_BYTES,
    Statement, Table, Type, Use, Value, Variable,
};
use crate::ir::{Arena, Handle};

/// What every thread of a kernel does.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    /// What the kernel is called in texts: letters, digits and `_`.
    pub name: String,
    /// What a text says about it at the top; one line.
    pub comment: String,
    /// Threads of a block, all in one row: 1 to 1024.
    pub threads: u32,
    /// Blocks of a cluster: those whose number divided by it is the same are there together, and their threads can meet and store to each
    /// other's shared memory. 1 where each block is on its own, at most [`MAX_CLUSTER`](super::verify::MAX_CLUSTER).
    pub cluster: u32,
    /// Whether a thread may have as many registers as there are. Else assemblers keep it to few, so that more blocks are there at once,
    /// and have it wait for some loads before they issue others (ptxas 13.0).
    pub many_registers: bool,
    /// What it takes, in order.
    pub arguments: Arena<Argument>,
    /// The memory that it reads and writes.
    pub buffers: Arena<Buffer>,
    /// The tables of its module.
    pub tables: Arena<Table>,
    /// All index expressions and conditions.
    pub indices: IndexArena,
    /// All values.
    pub values: Arena<Value>,
    /// All registers.
    pub registers: Arena<Register>,
    /// All named indices.
    pub variables: Arena<Variable>,
    /// The pointer argument through which errors are reported, if any can be: six u64 of the host's memory.
    pub record: Option<Handle<Argument>>,
    /// How many places report errors.
    pub sites: u32,
    /// How many labels there are: each is less.
    pub labels: u32,
    /// What a thread does.
    pub body: Block,
}

impl Kernel {
    /// Threads of all blocks of a cluster. Those of the second block are counted on from those of the first.
    pub const fn cluster_threads(&self) -> u32 {
        self.threads.saturating_mul(self.cluster)
    }

    /// Whether a barrier of so many threads is one of all blocks of a cluster.
    pub(crate) const fn is_of_cluster(&self, group: u32) -> bool {
        group > self.threads
    }

    /// Where the first statement stands in the body ahead of which the blocks of a cluster have to meet, or do not know of each other that
    /// they have begun: it may store to another block's shared memory, or has them meet only somewhere in it. `None` if none does, or
    /// they have met before.
    pub(crate) fn first_told(&self) -> Option<usize> {
        let meet =
            |statement: &Statement| matches!(statement, Statement::Barrier { group } if self.is_of_cluster(*group));
        let tells = |statement: &Statement| matches!(statement, Statement::Store(store) if store.block.is_some());
        for (at, (statement, _)) in self.body.iter().enumerate() {
            if meet(statement) {
                return None;
            }
            let mut found = tells(statement);
            statement.for_each_block(|block| block.walk(&mut |inner, _| found |= tells(inner) || meet(inner)));
            if found {
                return Some(at);
            }
        }
        None
    }

    /// The type of what an operand stands for. What moves with a lane has as many lanes.
    ///
    /// # Panics
    /// Of a value of another kernel.
    pub fn ty(&self, operand: Use) -> Type {
        match operand {
            Use::Value(value) => self.values[value].ty,
            Use::Literal(literal) => Type::scalar(literal.element),
            Use::Index(index) => Type::INDEX.with_lanes(self.lanes_of(index).unwrap_or(1)),
            Use::Predicate(condition) => {
                let lanes = self.lanes_among(self.indices.condition_atoms(condition));
                Type::CONDITION.with_lanes(lanes.unwrap_or(1))
            }
        }
    }

    /// The lanes of the packet that an index moves with, if it does: by the lane, or by a packet that is part of it.
    pub fn lanes_of(&self, index: Handle<Index>) -> Option<u8> {
        self.lanes_among(self.indices.atoms(index))
    }

    /// Whether packets are part of an index.
    pub fn moves_by_values(&self, index: Handle<Index>) -> bool {
        let values = self.indices.atoms(index).iter();
        values
            .copied()
            .any(|atom| matches!(atom, Atom::Value(value) if self.values[value].ty.lanes > 1))
    }

    fn lanes_among(&self, atoms: &[Atom]) -> Option<u8> {
        atoms.iter().find_map(|atom| match atom {
            Atom::Lane(lanes) => Some(*lanes),
            Atom::Value(value) => Some(self.values.get(*value)?.ty.lanes).filter(|lanes| *lanes > 1),
            _ => None,
        })
    }

    /// The power of two that is known to divide the address of a place.
    pub fn divisor_of(&self, place: Place) -> u64 {
        let buffer = &self.buffers[place.buffer];
        let apart = self.indices.facts(place.offset).divisor.min(buffer.alignment.into());
        // Where it takes the address itself into account, both together may be a multiple of more.
        let base = match (buffer.kind, place.pointer) {
            (BufferKind::Listed { .. }, Some(pointer)) => Atom::Value(pointer),
            _ => Atom::Address(place.buffer),
        };
        match self.indices.of_atom(base) {
            Some(base) => apart.max(self.indices.common_divisor(base, place.offset)),
            None => apart,
        }
    }

    /// Bytes of shared memory that a block takes.
    pub fn shared_bytes(&self) -> u32 {
        let end = |buffer: &Buffer| match buffer.kind {
            BufferKind::Shared { offset, bytes } => offset.saturating_add(bytes),
            _ => 0,
        };
        self.buffers.iter().map(|(_, buffer)| end(buffer)).max().unwrap_or(0)
    }

    /// Whether shared memory is dynamic, so that the launch has to say how much: more than every block has.
    pub fn has_dynamic_shared(&self) -> bool {
        self.shared_bytes() > STATIC_SHARED_BYTES
    }

    /// What is known of an integer value as an index.
    pub fn facts_of(&self, value: Handle<Value>) -> Facts {
        let value = &self.values[value];
        value.facts.unwrap_or_else(|| Facts::of_element(value.ty.element))
    }
}
