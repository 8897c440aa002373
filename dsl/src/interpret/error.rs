//! What can go wrong in a run.

use std::fmt;

use arrayvec::ArrayVec;

use super::{GridError, RequirementError};
use crate::analysis::races::{Touch, advice};
use crate::element::ElementType;
use crate::ir::verify::VerifyError;
use crate::ir::{CheckKind, Layout, Span, Symbol};

/// Why a kernel did not run, or did not run as it should.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InterpretError {
    /// The kernel breaks a rule of the IR. Nothing ran.
    #[error("kernel `{kernel}` is malformed: {error} ({})", error.span)]
    Malformed {
        /// The kernel.
        kernel: String,
        /// The rule.
        error: VerifyError,
    },
    /// There is no grid to run. Nothing ran.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The arguments are not what the kernel requires. Nothing ran.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
    /// The number of arguments is not the number of parameters. Nothing ran.
    #[error("kernel `{kernel}` takes {expected} arguments and got {found}")]
    ArgumentCount {
        /// The kernel.
        kernel: String,
        /// The number of parameters.
        expected: usize,
        /// The number of arguments.
        found: usize,
    },
    /// An argument does not fit its parameter. Nothing ran.
    #[error("argument `{parameter}` of kernel `{kernel}` {fault}")]
    Argument {
        /// The kernel.
        kernel: String,
        /// The parameter.
        parameter: String,
        /// What is wrong with the argument.
        fault: ArgumentFault,
    },
    /// An access with the policy `Trap` or `Unchecked` left its tensor; of several, the first in program order. After
    /// `Trap` the other accesses have run.
    #[error("out of bounds: {0}")]
    OutOfBounds(Box<BadAccess>),
    /// An access left its axis on a side whose guard had been removed as proved: a defect of this crate.
    #[error(
        "the bounds check of an access was removed, and the access is out of bounds (a defect of the compiler): {0}"
    )]
    UnsoundProof(Box<BadAccess>),
    /// A program came to instructions of its author's own that only a GPU can run.
    #[error(
        "kernel `{kernel}` runs the PTX {text:?}, and the CPU device does not know what it means: give `inline_ptx` a closure that computes it ({span})"
    )]
    NoMeaning {
        /// The kernel.
        kernel: String,
        /// Where they were written.
        span: Span,
        /// The instructions.
        text: String,
    },
    /// A check did not hold; of several, the first in program order. The program ended there, and the others have run.
    #[error(transparent)]
    CheckFailed(Box<FailedCheck>),
    /// A wait took longer than its limit; of several, the first in program order. The program ended there, and the others
    /// have run.
    #[error(transparent)]
    WaitEnded(Box<EndedWait>),
    /// Two accesses to one element do not go together. The memory has been written.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// Two accesses of different ranks to one element do not go together. The memory has been written.
    #[error(transparent)]
    RankConflict(Box<RankConflict>),
    /// A program took more steps than allowed.
    #[error("program {program:?} of kernel `{kernel}` took more than {limit} steps ({span})")]
    StepLimit {
        /// The kernel.
        kernel: String,
        /// Where the program was.
        span: Span,
        /// The program's coordinates, innermost grid axis first.
        program: [u64; 3],
        /// The number of steps allowed.
        limit: u64,
    },
}

/// What is wrong with an argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentFault {
    /// It is of another kind than the parameter.
    #[error("must be a {0}")]
    Kind(&'static str),
    /// A scalar of another type.
    #[error("must be of type {expected} and is of type {found}")]
    Element {
        /// The parameter's type.
        expected: ElementType,
        /// The argument's type.
        found: ElementType,
    },
    /// A tensor of another rank, or with another number of strides than extents.
    #[error("must be a tensor of rank {expected} and has {extents} extents and {strides} strides")]
    Rank {
        /// The parameter's rank.
        expected: u8,
        /// The number of extents.
        extents: usize,
        /// The number of strides.
        strides: usize,
    },
    /// Tensors of a list whose extents differ on an axis that the kernel needs them to share.
    #[error("has tensors that differ in extent({axis}): {one} and {other}")]
    Shared {
        /// The axis of the tensors.
        axis: usize,
        /// The extent of one.
        one: i64,
        /// The extent of another.
        other: i64,
    },
    /// A count below 0 or an extent above `i64::MAX`.
    #[error("has the count or extent {0}, which is out of range")]
    Count(i128),
    /// Strides that the kernel's variant does not serve.
    #[error("has strides that the layout `{0}` of this variant does not allow")]
    Layout(Layout),
    /// A first element that is not naturally aligned in its memory.
    #[error("starts at byte {offset}, which is not a multiple of the element size {size}")]
    Misaligned {
        /// The offset of the first element.
        offset: u64,
        /// The size of an element.
        size: usize,
    },
    /// Some element is outside of the memory.
    #[error("reaches from byte {first} to {end} of a memory of {available} bytes")]
    OutsideMemory {
        /// The first byte of the lowest element.
        first: i128,
        /// The byte after the highest element.
        end: i128,
        /// The size of the memory.
        available: u64,
    },
    /// A symbol that this variant binds to another literal.
    #[error("gives {symbol:?} the value {found}, and this variant is for {expected}")]
    Bound {
        /// The symbol.
        symbol: Symbol,
        /// The variant's literal.
        expected: i64,
        /// The argument's value.
        found: i64,
    },
}

/// An access whose index is outside of its axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAccess {
    /// The kernel.
    pub kernel: String,
    /// Where the access was written.
    pub span: Span,
    /// The tensor parameter.
    pub tensor: String,
    /// The axis, outermost first.
    pub axis: usize,
    /// The index.
    pub index: i64,
    /// The extent of the axis.
    pub extent: u64,
    /// The program's coordinates, innermost grid axis first.
    pub program: [u64; 3],
}

impl fmt::Display for BadAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel,
            span,
            tensor,
            axis,
            index,
            extent,
            program,
        } = self;
        write!(
            f,
            "kernel `{kernel}`, program {program:?}: index {index} of axis {axis} of `{tensor}`, whose extent is {extent} ({span})"
        )
    }
}

/// A condition that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCheck {
    /// The kernel.
    pub kernel: String,
    /// Where the check was written.
    pub span: Span,
    /// Who said that it holds.
    pub kind: CheckKind,
    /// What the author says about it.
    pub message: String,
    /// The program's coordinates, innermost grid axis first.
    pub program: [u64; 3],
}

impl fmt::Display for FailedCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel,
            span,
            kind,
            message,
            program,
        } = self;
        let what = match kind {
            CheckKind::Assert => "assertion",
            CheckKind::Assume => "assumption",
        };
        write!(
            f,
            "kernel `{kernel}`, program {program:?}: {what} failed: {message} ({span})"
        )
    }
}

impl std::error::Error for FailedCheck {}

/// A flag that did not reach an epoch within the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedWait {
    /// The kernel.
    pub kernel: String,
    /// Where the wait was written.
    pub span: Span,
    /// The tensor of flags.
    pub tensor: String,
    /// The first index of the flag: the rank that raises it.
    pub rank: u64,
    /// What the program waited for.
    pub epoch: u32,
    /// What the flag is.
    pub seen: u32,
    /// The program's coordinates, innermost grid axis first.
    pub program: [u64; 3],
}

impl fmt::Display for EndedWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel,
            span,
            tensor,
            rank,
            epoch,
            seen,
            program,
        } = self;
        write!(
            f,
            "kernel `{kernel}`, program {program:?}: waited in `{tensor}` for rank {rank} to reach epoch {epoch}, and it is at {seen} ({span})"
        )
    }
}

impl std::error::Error for EndedWait {}

/// Two accesses of launches that ran on different ranks, to one element, that do not go together: one writes what the other
/// one reads or writes, and no flag orders them. What orders is a release at the scope of the system
/// ([`PeerTensors::raise`](crate::lang::PeerTensors::raise)) and a wait behind it for what it wrote ([`PeerTensors::wait`](crate::lang::PeerTensors::wait));
/// all launches of one rank are in order.
///
/// Whether it is found does not depend on who came first: a wait is taken to see no more than the earliest release that could
/// have ended it. The launch that comes second reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankConflict {
    /// The tensor parameter of the second launch.
    pub tensor: String,
    /// The element's index, one per axis.
    pub element: ArrayVec<u64, 4>,
    /// Both accesses, the one that came second last.
    pub accesses: [RankAccess; 2],
}

/// One access of a [`RankConflict`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankAccess {
    /// The rank.
    pub rank: u32,
    /// The kernel.
    pub kernel: String,
    /// The program's coordinates, innermost grid axis first.
    pub program: [u64; 3],
    /// Where the access was written.
    pub span: Span,
    /// What it does to the element.
    pub touch: Touch,
}

impl fmt::Display for RankConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tensor,
            element,
            accesses: [first, second],
        } = self;
        write!(f, "kernel `{}`: `{tensor}`{element:?} is ", second.kernel)?;
        for (access, rest) in [(first, " and "), (second, ", and no flag orders the two")] {
            let RankAccess {
                rank,
                kernel,
                program,
                span,
                touch,
            } = access;
            write!(
                f,
                "{touch} by rank {rank} (`{kernel}`, program {program:?}, {span}){rest}"
            )?;
        }
        f.write_str(
            "\n  = help: raise the flag behind what it stands for, wait for it ahead of what needs it, let epochs grow, and \
             write the other half of the buffer while slower ranks read this one",
        )
    }
}

impl std::error::Error for RankConflict {}

/// Two accesses to one element that do not go together, so that what is left there, or what was read, is a matter of chance:
///
/// * of two programs, a write of an element that the other one reads or writes, whatever the values are; an atomic operation
///   is a write, except for another atomic operation. Unless an order keeps them apart: the programs of a kernel in which the
///   last write wins run one after the other, and what a program did before a release comes before what another does once it
///   has acquired from the same element, directly or through other programs, and has used the value that it found there;
/// * of one program, two elements of one store that are in one place, whatever the values are, unless the last write is
///   declared to win;
/// * two writes of one element by scatters that are declared disjoint, of one program or of two, in any order.
///
/// What a program does to an element one after the other goes together. Every run finds the conflicts of its own arguments;
/// where programs order each other by atomic operations, those of the order in which they came.
/// [`Call::checked`](crate::call::Call::checked) says what each device and build sees of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The kernel.
    pub kernel: String,
    /// The tensor parameter.
    pub tensor: String,
    /// The element's index, one per axis.
    pub element: ArrayVec<u64, 4>,
    /// Both accesses, that of the lower program first; one access twice where two of its elements are in one place.
    pub accesses: [ConflictingAccess; 2],
}

/// One access of a [`Conflict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConflictingAccess {
    /// The program's coordinates, innermost grid axis first.
    pub program: [u64; 3],
    /// Where the access was written.
    pub span: Span,
    /// What it does to the element.
    pub touch: Touch,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel,
            tensor,
            element,
            accesses: [first, second],
        } = self;
        write!(f, "kernel `{kernel}`: `{tensor}`{element:?} is ")?;
        let of_one_program = first.program == second.program;
        let (program, span) = (second.program, second.span);
        match second.touch {
            Touch::Disjoint if of_one_program => {
                write!(
                    f,
                    "written twice by program {program:?}, in a scatter that is declared disjoint ({span})"
                )?;
            }
            _ if of_one_program => write!(f, "written twice by one store of program {program:?} ({span})")?,
            touch => {
                let ConflictingAccess {
                    program: other,
                    span: place,
                    touch: did,
                } = first;
                write!(
                    f,
                    "{did} by program {other:?} ({place}) and {touch} by program {program:?} ({span})"
                )?;
                f.write_str(", and nothing orders the two")?;
            }
        }
        write!(f, "\n  = help: {}", advice([first.touch, second.touch], of_one_program))
    }
}

impl std::error::Error for Conflict {}
