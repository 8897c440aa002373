//! The rules of the thread IR.
//!
//! [`verify`] tests them. Its promise: **no printer fails on a kernel that it accepts**, and what is printed is
//! accepted by the compiler that takes it. Printers rely on every rule and test none; passes keep them.
//!
//! The list is [`Rule`]: each variant is a rule, and its description says what holds.

mod access;
mod assigned;
mod body;
mod declarations;
mod handles;
#[cfg(test)]
pub(crate) mod tests;
pub(super) mod typing;
mod uniform;

pub(super) use uniform::met_by_warps;

use std::fmt;

use super::Kernel;
use crate::ir::Span;

/// The most threads of a block.
pub const MAX_THREADS: u32 = 1024;

/// The most blocks of a cluster on every GPU that has clusters.
pub const MAX_CLUSTER: u32 = 8;

/// The most shared memory of a block that any GPU has, with what it has to be asked for.
pub const MAX_SHARED_BYTES: u32 = 227 << 10;

/// The most bytes of all arguments together.
pub const MAX_ARGUMENT_BYTES: u32 = 4 << 10;

/// The most groups of more than a warp that meet at barriers of their own, those of all sizes together: a block has as many barriers.
pub const MAX_GROUPS: u32 = 16;

/// A rule of the thread IR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// Every handle is of something that the kernel has, in operands, indices and conditions as well.
    Handle,
    /// A block has 1 to [`MAX_THREADS`] threads, and over 32 a multiple of 32. A cluster has 1 to [`MAX_CLUSTER`] blocks; the threads of
    /// several are a multiple of 32.
    Threads,
    /// Names of the kernel, of arguments and of buffers are letters, digits and `_`, at least one; no two arguments
    /// have one name, and no two buffers. The comment has one line.
    Name,
    /// Arguments of several bytes have an alignment that is a power of two up to 16 and divides their bytes, of which
    /// there is one at least; all arguments have [`MAX_ARGUMENT_BYTES`] at most.
    Argument,
    /// A buffer's alignment is a power of two; that of tables is up to 8, that of parameters up to their argument's,
    /// any other up to 16 in shared and local memory. A buffer in global memory has a pointer, a parameter's argument
    /// has bytes, and a table has words. Buffers of shared memory begin at multiples of their alignment; they and local
    /// ones have a byte at least.
    Buffer,
    /// Shared memory is [`MAX_SHARED_BYTES`] at most.
    SharedMemory,
    /// Where anything reports, the record is a pointer argument that no buffer has; sites are counted.
    Record,
    /// A value, variable or condition is mentioned only where it has been defined: after its definition, in the same
    /// block or one inside it.
    Scope,
    /// Values, variables and labels are defined once.
    Once,
    /// A register is read only where it has been set, whichever way control came.
    Assigned,
    /// Operations have the types that [`Operation`](super::Operation) says, and statements those that
    /// [`Statement`](super::Statement) says. Packets have 1 to [`MAX_LANES`](super::MAX_LANES) lanes.
    Type,
    /// Nothing moves with [`Atom::Lane`](super::Atom::Lane); addresses are those of buffers in global memory with a
    /// pointer, values are integers of one lane, in conditions also bools, and arguments are integers.
    Atom,
    /// An access has 1, 2, 4, 8 or 16 bytes, and no bools; its place is in a space that has it: nothing is stored or
    /// changed where nobody writes, atomic operations are of global and shared memory, prefetches of global, copies
    /// from global to shared memory. A place of a listed buffer has a pointer, any other has none.
    Access,
    /// An access is where its bytes divide the address: [`Kernel::divisor_of`] its place says so.
    Alignment,
    /// Orders beside [`Order::Weak`](super::Order::Weak) are of global and shared memory, loads are relaxed or acquire
    /// and stores relaxed or release, and what is not relaxed has one lane. What may go the read-only way is weak, in
    /// global memory, and written by nobody.
    Order,
    /// Another block that is stored to is one of the cluster, of several, and what is stored to its shared memory.
    Cluster,
    /// Cache hints are of accesses to global memory that they are for, which are weak, except
    /// [`NoAllocate`](crate::ir::CacheHint::NoAllocate), [`EvictFirst`](crate::ir::CacheHint::EvictFirst) and
    /// [`EvictLast`](crate::ir::CacheHint::EvictLast), which relaxed ones may have too.
    Cache,
    /// A statement leaves or continues only what is around it, continues only loops, and is the last one of its block.
    Label,
    /// A loop's step is at least 1, and the value after its last one does not wrap. The facts of a variable hold of its
    /// index or its loop.
    Loop,
    /// A group of threads that meet is a power of two up to 32, or a multiple of 32, of which the block is a multiple, with
    /// [`MAX_GROUPS`] groups of more than a warp at most, those of all sizes together; or all of a cluster. Shuffles and votes have groups
    /// up to 32.
    Group,
    /// Where threads of a group meet, all of them are: what control depends on is the same in the whole group. A load
    /// gives the threads that read one place together one value; what atomic operations give, and the author's
    /// instructions of what differs, differs.
    Uniform,
    /// The format of a print has a `{}` for each value. Instructions of the author's have an output at least and
    /// mention no operand that there is not.
    Text,
}

/// A rule that a kernel breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which rule.
    pub rule: Rule,
    /// Where, if it is a line's.
    pub span: Span,
    /// What breaks it.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the thread IR breaks the rule `{:?}`: {}", self.rule, self.what)?;
        match self.span.is_known() {
            true => write!(f, "\n  --> {}", self.span),
            false => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// Tests all rules.
///
/// # Errors
/// The first rule that is broken.
pub fn verify(kernel: &Kernel) -> Result<(), Fault> {
    // Handles first: everything after goes where they point.
    handles::verify(kernel)?;
    declarations::verify(kernel)?;
    body::verify(kernel)?;
    assigned::verify(kernel)?;
    uniform::verify(kernel)
}

fn fault<T>(rule: Rule, span: Span, what: impl fmt::Display) -> Result<T, Fault> {
    let what = what.to_string();
    Err(Fault { rule, span, what })
}
