//! What a kernel takes, and the memory that its threads read and write.

use super::{Index, Predicate, Type, Use, Value};
use crate::element::ElementType;
use crate::ir::{AtomicOp, CacheHint, Handle, MemoryOrder, MemoryScope};

/// Shared memory that a block has without asking. What a kernel takes beyond is *dynamic*: its launch says how much.
pub const STATIC_SHARED_BYTES: u32 = 48 << 10;

/// One argument of the kernel, in the order of the launch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Argument {
    /// What it is called in texts: letters, digits and `_`, and no other argument's. Printers see to it that it is no
    /// word of their language.
    pub name: String,
    /// What is passed.
    pub kind: ArgumentKind,
}

/// What is passed for an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArgumentKind {
    /// An element; a bool as one byte, 0 or 1.
    Scalar(ElementType),
    /// The address of a [`Buffer`] in global memory, or of the report record.
    Pointer,
    /// So many bytes, which a [`BufferKind::Parameter`] reads.
    Bytes {
        /// How many: 1 to 4,095.
        bytes: u32,
        /// The power of two, up to 16, that divides the address.
        alignment: u32,
    },
}

/// Memory that is one object: two buffers of a kernel share no byte, except read-only ones in global memory and those
/// in shared memory whose bytes meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// What it is called in texts: letters, digits and `_`, and no other buffer's.
    pub name: String,
    /// The power of two that divides the address of its first byte; for [`BufferKind::Listed`], of each tensor's.
    pub alignment: u32,
    /// Where it is.
    pub kind: BufferKind,
}

/// Where a buffer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BufferKind {
    /// In global memory, where an argument points.
    Global {
        /// The pointer.
        argument: Handle<Argument>,
        /// Who writes it.
        sharing: Sharing,
    },
    /// In global memory, in several pieces: every [`Place`] names the pointer to one.
    Listed {
        /// Who writes it.
        sharing: Sharing,
    },
    /// In shared memory, from `offset` of the block's on.
    Shared {
        /// A multiple of the buffer's alignment.
        offset: u32,
        /// How many.
        bytes: u32,
    },
    /// The thread's own memory.
    Local {
        /// How many.
        bytes: u32,
    },
    /// Numbers that the module brings with it.
    Table {
        /// Which.
        table: Handle<Table>,
    },
    /// An argument of several bytes.
    Parameter {
        /// The argument, an [`ArgumentKind::Bytes`].
        argument: Handle<Argument>,
    },
}

/// Numbers that are there from the start, and that nobody changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// At least one, in little-endian words of 8 bytes.
    pub words: Vec<u64>,
}

/// Who writes memory of the GPU while a kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sharing {
    /// Nobody, from before the kernel began.
    ReadOnly,
    /// This kernel alone, and no thread reads or writes what another one has written.
    Private,
    /// Other threads, or kernels that are waited for, so that barriers, fences and waits matter.
    Shared,
}

/// The kinds of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// The GPU's, or what is mapped there: of the host, or of another GPU.
    Global,
    /// The block's.
    Shared,
    /// The thread's.
    Local,
    /// The module's own tables.
    Table,
    /// The arguments.
    Parameter,
}

/// Bytes of a buffer, from an offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which buffer.
    pub buffer: Handle<Buffer>,
    /// Of a [`BufferKind::Listed`], the address of the piece: a u64 of one lane. Of any other there is none.
    pub pointer: Option<Handle<Value>>,
    /// How many bytes behind the first one.
    pub offset: Handle<Index>,
}

/// How an access is ordered with those of other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// By barriers alone. Nobody else may touch the bytes meanwhile.
    Weak,
    /// As one step of its scope, each lane or, of 16 bytes, each word of 4 by itself; loads are relaxed or acquire,
    /// stores relaxed or release, and what is not relaxed is of one lane.
    Strong(MemoryOrder, MemoryScope),
}

/// Reading memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Load {
    /// From where: a multiple of the bytes of `ty`.
    pub place: Place,
    /// What: 1, 2, 4, 8 or 16 bytes, of no bool.
    pub ty: Type,
    /// How it is ordered.
    pub order: Order,
    /// What it asks of the caches.
    pub cache: Option<CacheHint>,
    /// Whether it may go the way of memory that nobody writes.
    pub read_only: bool,
    /// Where this does not hold nothing is read, and the value is zero.
    pub predicate: Option<Handle<Predicate>>,
}

/// Writing memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Store {
    /// To where: a multiple of the bytes of the value.
    pub place: Place,
    /// Of which block of the cluster the shared memory is, by its number in it; without one it is the thread's own block's. Threads of the
    /// cluster meet behind it.
    pub block: Option<Handle<Index>>,
    /// What: 1, 2, 4, 8 or 16 bytes, of no bool.
    pub value: Use,
    /// How it is ordered.
    pub order: Order,
    /// What it asks of the caches.
    pub cache: Option<CacheHint>,
    /// Where this does not hold nothing is written.
    pub predicate: Option<Handle<Predicate>>,
}

/// Reading and changing one element of global or shared memory in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Atomic {
    /// The element: a multiple of its size.
    pub place: Place,
    /// Its type.
    pub element: ElementType,
    /// What becomes of it.
    pub update: Update,
    /// How it is ordered.
    pub order: MemoryOrder,
    /// Among whom it is one step.
    pub scope: MemoryScope,
    /// What it was before, if that is wanted.
    pub result: Option<Handle<Value>>,
    /// Where this does not hold nothing is done, and what it was before is zero.
    pub predicate: Option<Handle<Predicate>>,
}

/// What an atomic operation makes of an element. It is what hardware does: anything else is a loop around
/// [`Update::CompareExchange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Update {
    /// The element combined with a value of its type. Sums are of i32, u32, i64, u64, f16, bf16, f32 and f64, as
    /// [`AtomicOp::Add`] says, but a NaN of f64 may be any; smaller and larger of the integers among them, and so the
    /// bits; the value alone of all of 4 and 8 bytes.
    Combine {
        /// How.
        op: AtomicOp,
        /// With what.
        value: Use,
    },
    /// `new` where the element equals `current`. Of u16, and of integers of 4 and 8 bytes.
    CompareExchange {
        /// What it must be.
        current: Use,
        /// What it becomes.
        new: Use,
    },
}

/// Copying global memory to shared memory while the thread goes on. The thread waits for it by
/// [`AsyncWait`](super::Statement::AsyncWait), and the others by a barrier after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AsyncCopy {
    /// To where, in shared memory: a multiple of `bytes`.
    pub to: Place,
    /// From where, in global memory: a multiple of `bytes`.
    pub from: Place,
    /// How many: 4, 8 or 16.
    pub bytes: u8,
    /// Where this does not hold nothing is read, and zeros are written.
    pub predicate: Option<Handle<Predicate>>,
}

impl Buffer {
    /// What kind of memory it is in.
    pub const fn space(&self) -> Space {
        match self.kind {
            BufferKind::Global { .. } | BufferKind::Listed { .. } => Space::Global,
            BufferKind::Shared { .. } => Space::Shared,
            BufferKind::Local { .. } => Space::Local,
            BufferKind::Table { .. } => Space::Table,
            BufferKind::Parameter { .. } => Space::Parameter,
        }
    }

    /// Who writes it.
    pub const fn sharing(&self) -> Sharing {
        match self.kind {
            BufferKind::Global { sharing, .. } | BufferKind::Listed { sharing } => sharing,
            BufferKind::Shared { .. } => Sharing::Shared,
            BufferKind::Local { .. } => Sharing::Private,
            BufferKind::Table { .. } | BufferKind::Parameter { .. } => Sharing::ReadOnly,
        }
    }
}

impl Space {
    /// The name that texts have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Shared => "shared",
            Self::Local => "local",
            Self::Table => "table",
            Self::Parameter => "parameter",
        }
    }
}

impl Sharing {
    /// The name that texts have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Private => "private",
            Self::Shared => "shared",
        }
    }
}
