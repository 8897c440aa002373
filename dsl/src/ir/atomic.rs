//! Atomic operations: reading and changing an element in one step, and waiting until others have changed it.

use super::{Access, Expression, Handle};
use crate::element::ElementType;

/// An atomic operation on every element of an access.
///
/// Each element is done exactly once, where the operation's [`Let`](super::Statement::Let) stands. The elements of one
/// operation are in no order among themselves. The value is what each element held before; zero where the access is
/// masked or out of bounds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Atomic {
    /// Which elements.
    pub access: Access,
    /// What becomes of each.
    pub update: AtomicUpdate,
    /// How the operation is ordered with the program's other accesses.
    pub order: MemoryOrder,
    /// Who sees it as one step.
    pub scope: MemoryScope,
}

/// What an atomic operation makes of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtomicUpdate {
    /// The element combined with a value.
    Combine {
        /// How.
        op: AtomicOp,
        /// With what: the tensor's element type and the access's shape.
        value: Handle<Expression>,
    },
    /// `new` where the element equals `current`, and no change elsewhere. Integers only.
    CompareExchange {
        /// What the element must be; the tensor's element type and the access's shape.
        current: Handle<Expression>,
        /// What it becomes then; the tensor's element type and the access's shape.
        new: Handle<Expression>,
    },
    /// Nothing: it is only read.
    Load,
    /// A value. What it was before is not looked at: the operation's value is zero.
    Store {
        /// The tensor's element type and the access's shape.
        value: Handle<Expression>,
    },
    /// Nothing: it is read again and again until it has [reached](reached) an epoch. Where it has not after the limit, that
    /// is reported, and the program ends. The operation's value is zero. u32 only.
    Wait {
        /// The epoch; a u32 of the access's shape.
        epoch: Handle<Expression>,
        /// The limit in nanoseconds; a scalar u64.
        limit: Handle<Expression>,
    },
}

/// Whether a count that wraps at 2^32 has come to `epoch`: it is less than 2^31 steps behind it.
pub const fn reached(seen: u32, epoch: u32) -> bool {
    seen.wrapping_sub(epoch).cast_signed() >= 0
}

/// How an atomic operation combines an element with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    /// The sum. Integers wrap; f16 and bf16 round once; f32 takes subnormal numbers, operands and sums, for zero of their
    /// sign, as the memory of a GPU does.
    Add,
    /// The smaller; of floats, the other one if one is NaN.
    Min,
    /// The larger; of floats, the other one if one is NaN.
    Max,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// The value alone.
    Exchange,
}

/// How an atomic operation is ordered with the other accesses of its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MemoryOrder {
    /// Not at all, not even with earlier and later atomic operations: for counting.
    Relaxed,
    /// What the program does after it sees everything that was done before the release that it reads from: for taking a
    /// lock.
    Acquire,
    /// Whoever acquires what it writes sees everything that the program did before it: for giving a lock back.
    Release,
    /// Both.
    #[default]
    AcquireRelease,
}

/// Among whom an atomic operation is one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MemoryScope {
    /// The threads of the same program. Two programs must not meet on an element.
    Block,
    /// All programs of the device.
    #[default]
    Device,
    /// The host and other devices too.
    System,
}

impl AtomicUpdate {
    /// The values that it takes.
    pub fn operands(&self) -> impl Iterator<Item = Handle<Expression>> {
        let (first, second) = match *self {
            Self::Combine { value, .. } | Self::Store { value } => (Some(value), None),
            Self::CompareExchange { current, new } => (Some(current), Some(new)),
            Self::Load => (None, None),
            Self::Wait { epoch, limit } => (Some(epoch), Some(limit)),
        };
        first.into_iter().chain(second)
    }

    /// The name the IR prints.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Combine { op, .. } => op.name(),
            Self::CompareExchange { .. } => "compare_exchange",
            Self::Load => "load",
            Self::Store { .. } => "store",
            Self::Wait { .. } => "wait",
        }
    }

    /// Whether it may change the element.
    pub const fn changes(&self) -> bool {
        !matches!(self, Self::Load | Self::Wait { .. })
    }

    /// The order that it has if its author names none.
    pub const fn default_order(&self) -> MemoryOrder {
        match self {
            Self::Combine { .. } | Self::CompareExchange { .. } => MemoryOrder::AcquireRelease,
            Self::Load | Self::Wait { .. } => MemoryOrder::Acquire,
            Self::Store { .. } => MemoryOrder::Release,
        }
    }

    /// Whether the operation has this order and scope: what only reads releases nothing, what only writes acquires
    /// nothing, and a wait is for others than the program itself, whose work is seen behind it.
    pub const fn has(&self, order: MemoryOrder, scope: MemoryScope) -> bool {
        match self {
            Self::Combine { .. } | Self::CompareExchange { .. } => true,
            Self::Load => !order.releases(),
            Self::Store { .. } => !order.acquires(),
            Self::Wait { .. } => matches!(order, MemoryOrder::Acquire) && !matches!(scope, MemoryScope::Block),
        }
    }

    /// Whether the operation is defined on `element`.
    pub const fn accepts(&self, element: ElementType) -> bool {
        match self {
            Self::Combine { op, .. } => op.accepts(element),
            // On floats it would compare bits, and so tell equal numbers apart.
            Self::CompareExchange { .. } => element.is_integer() && element.size() >= 4,
            Self::Load | Self::Store { .. } => AtomicOp::Exchange.accepts(element),
            Self::Wait { .. } => matches!(element, ElementType::U32),
        }
    }

    fn map_operands(&mut self, mut map: impl FnMut(Handle<Expression>) -> Handle<Expression>) {
        match self {
            Self::Combine { value, .. } | Self::Store { value } => *value = map(*value),
            Self::CompareExchange { current, new } => {
                *current = map(*current);
                *new = map(*new);
            }
            Self::Load => {}
            Self::Wait { epoch, limit } => {
                *epoch = map(*epoch);
                *limit = map(*limit);
            }
        }
    }
}

impl Atomic {
    /// Whether the program waits in it for others.
    pub const fn waits(&self) -> bool {
        matches!(self.update, AtomicUpdate::Wait { .. })
    }

    /// The indices, the mask and the values, in this order.
    pub fn operands(&self) -> impl Iterator<Item = Handle<Expression>> + '_ {
        self.access.operands().chain(self.update.operands())
    }

    /// Replaces every index, the mask and the values by what `map` gives for them.
    pub fn map_operands(&mut self, mut map: impl FnMut(Handle<Expression>) -> Handle<Expression>) {
        self.access.map_operands(&mut map);
        self.update.map_operands(map);
    }
}

impl AtomicOp {
    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Min => "min",
            Self::Max => "max",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
            Self::Exchange => "exchange",
        }
    }

    /// Whether the operation is defined on `element`.
    pub const fn accepts(self, element: ElementType) -> bool {
        let wide = element.size() >= 4;
        match self {
            Self::Add => (wide && element.is_integer()) || element.is_float(),
            Self::Min | Self::Max | Self::Exchange => wide && (element.is_integer() || element.is_float()),
            Self::And | Self::Or | Self::Xor => wide && element.is_integer(),
        }
    }
}

impl MemoryOrder {
    /// The name the IR and PTX use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed",
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::AcquireRelease => "acq_rel",
        }
    }

    /// Whether what comes after waits for it.
    pub const fn acquires(self) -> bool {
        matches!(self, Self::Acquire | Self::AcquireRelease)
    }

    /// Whether it waits for what comes before.
    pub const fn releases(self) -> bool {
        matches!(self, Self::Release | Self::AcquireRelease)
    }
}

impl MemoryScope {
    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Device => "device",
            Self::System => "system",
        }
    }
}
