//! A whole kernel.

use super::{
    Argument, Block, Buffer, BufferKind, Facts, Indices, Operand, Register, STATIC_SHARED_BYTES, Table, Type, Value,
    Variable,
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
    /// What it takes, in order.
    pub arguments: Arena<Argument>,
    /// The memory that it reads and writes.
    pub buffers: Arena<Buffer>,
    /// The tables of its module.
    pub tables: Arena<Table>,
    /// All index expressions and conditions.
    pub indices: Indices,
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
    /// The type of what an operand stands for.
    ///
    /// # Panics
    /// Of a value of another kernel.
    pub fn ty(&self, operand: Operand) -> Type {
        match operand {
            Operand::Value(value) => self.values[value].ty,
            Operand::Literal(literal) => Type::scalar(literal.element),
            Operand::Index(_) => Type::INDEX,
            Operand::Condition(_) => Type::CONDITION,
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
