//! What can go wrong with a launch.

use tilewright_dsl::analysis::races::{Touch, advice};
use tilewright_dsl::call::{MAX_COUNT, MAX_FUSED, MAX_PARAMETERS};
use tilewright_dsl::interpret::{GridError, InterpretError, RequirementError};
use tilewright_dsl::ir::{CheckKind, Span};
use tilewright_dsl::lang::TraceError;
use tilewright_dsl::lower::{LowerError, NarrowError};
use tilewright_dsl::transform::Proof;

use super::DeviceError;
use crate::compile::CompileError;

/// A number as far as 64 bits hold it.
fn saturated(value: i64) -> String {
    match value {
        i64::MAX => format!("{value} or more"),
        _ => value.to_string(),
    }
}

/// Why a call was not launched, or what a launched kernel reported.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaunchError {
    /// The kernel cannot be recorded for these extents, or its body panicked.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The kernel cannot be lowered under its schedule.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// A compiler is missing, or rejects the kernel's text.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The CPU device found the kernel at fault.
    #[error(transparent)]
    Interpret(Box<InterpretError>),
    /// The arguments are not what the kernel [requires](tilewright_dsl::lang::require).
    #[error(transparent)]
    Requirement(#[from] RequirementError),
    /// More parameters than a kernel may have.
    #[error(
        "kernel `{kernel}` was called with {found} arguments: at most {MAX_PARAMETERS}, arrays counted by their elements and a `TensorList` as one"
    )]
    TooManyParameters {
        /// The kernel.
        kernel: &'static str,
        /// The number of arguments.
        found: usize,
    },
    /// More calls in one, or more arguments of them together, than a kernel may have.
    #[error(
        "{calls} fused calls with {found} arguments: one launch takes at most {MAX_FUSED} calls with {MAX_PARAMETERS} arguments, which is what CUDA passes to a kernel; launch them as several"
    )]
    TooManyFused {
        /// The number of calls.
        calls: usize,
        /// The number of arguments of all of them.
        found: usize,
    },
    /// The arguments are not those of the kernel's parameters.
    #[error("kernel `{kernel}`: the arguments do not fit its parameters: {reason}")]
    WrongArguments {
        /// The kernel.
        kernel: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// A tensor or count lies in memory of another device.
    #[error("kernel `{kernel}`: {parameter} is on {found}, and the launch is on {expected}: move one to the other")]
    OtherDevice {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        parameter: String,
        /// The device whose memory it is.
        found: String,
        /// The device of the launch.
        expected: String,
    },
    /// A tensor or count lies in memory that this runtime does not manage.
    #[error("kernel `{kernel}`: {parameter} is memory of another runtime: copy it to a tensor of {expected}")]
    ForeignMemory {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        parameter: String,
        /// The device of the launch.
        expected: String,
    },
    /// A count, or an extent, is out of range.
    #[error("kernel `{kernel}`: {parameter} is {}, and a count is 0 to 2^40 ({MAX_COUNT})", saturated(*value))]
    CountOutOfRange {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        parameter: String,
        /// The value, saturated.
        value: i64,
    },
    /// A tensor that the kernel may write shares memory with another tensor of the launch.
    #[error(
        "kernel `{kernel}`: {written}, which it may write, shares memory with {other}: give it memory of its own, or views \
         that do not overlap"
    )]
    Overlap {
        /// The kernel.
        kernel: &'static str,
        /// The mutable parameter.
        written: String,
        /// The other parameter.
        other: String,
    },
    /// Tensors of a list have different extents on an axis that the kernel needs to be of one extent in all of them.
    #[error(
        "kernel `{kernel}`: the tensors of `{parameter}` differ in extent({axis}): `{parameter}[{a}]` has {} and \
         `{parameter}[{b}]` has {}; the kernel needs one extent there: pass those of each extent in a launch of their own",
        extents[0], extents[1], a = tensors[0], b = tensors[1]
    )]
    TensorsDiffer {
        /// The kernel.
        kernel: &'static str,
        /// The list.
        parameter: String,
        /// The axis.
        axis: usize,
        /// Two of the tensors, by their numbers.
        tensors: [usize; 2],
        /// Their extents.
        extents: [u64; 2],
    },
    /// The first element of a tensor is not where an element may be.
    #[error(
        "kernel `{kernel}`: {parameter} begins at address {address:#x}, which is no multiple of its element size, \
         {element_bytes} bytes"
    )]
    Misaligned {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        parameter: String,
        /// The address.
        address: u64,
        /// Bytes of one element.
        element_bytes: usize,
    },
    /// An access of a kernel that is marked `deny_guarded` can neither be proved to be in bounds nor be checked by the host.
    #[error(
        "kernel `{kernel}` denies bounds checks, and one is left for this launch: {proof}\n  = help: bound the index with an `if` or `assume`, pass tensors whose extents fit, or leave out `deny_guarded`"
    )]
    Guarded {
        /// The kernel.
        kernel: String,
        /// The access.
        proof: Proof,
    },
    /// An access of a kernel that is marked `deny_narrow` is narrow, and does not say that it may be.
    #[error(transparent)]
    Narrow(Box<NarrowError>),
    /// A launch is to overlap the one before it, and its kernel does not begin with waiting for that one.
    #[error(
        "kernel `{kernel}` cannot overlap the launch before it, because it may touch memory before it waits\n  --> {span}\n  = help: make `wait_for_previous_launch()` the first line of its body, or leave out `overlapping()`"
    )]
    NotWaiting {
        /// The kernel.
        kernel: String,
        /// What may come before the wait; the kernel itself if it never waits.
        span: Span,
    },
    /// The grid cannot be computed for these arguments, or has too many programs.
    #[error("{error}{advice}", error = .0, advice = grid_advice(.0))]
    Grid(GridError),
    /// The launch would have to wait until a variant is built, and the device is sealed or the launch goes into a graph.
    #[error(
        "kernel `{kernel}` was not warmed up for this launch, which must not wait for a compiler: {key}{}\n  = help: warm such a call up before `seal()` or before the capture",
        nearest_text(.nearest.as_deref())
    )]
    Sealed {
        /// The kernel.
        kernel: &'static str,
        /// What the launch is told apart by.
        key: String,
        /// In what it differs from the nearest that was warmed up; `None` if none of the kernel was.
        nearest: Option<String>,
    },
    /// Launches that keep their tensors were asked for over memory that others own.
    #[error(
        "kernel `{kernel}`: {parameter} lies in memory that is only borrowed, which launches that are bound to it cannot keep\n  = help: prepare the launch and give it the tensors each time, or use `bind_borrowing`, which is unsafe, and keep the memory"
    )]
    BorrowedMemory {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        parameter: String,
    },
    /// A call that is launched through a [`Prepared`](crate::Prepared) or [`Bound`](crate::Bound) of another class.
    #[error(
        "this call of kernel `{kernel}` is not what was {}, which is of `{prepared}`: {reason}\n  = help: {} such a call too, or launch it as it is",
        if *.is_bound { "bound" } else { "prepared" },
        if *.is_bound { "bind" } else { "prepare" }
    )]
    OtherClass {
        /// The kernel.
        kernel: &'static str,
        /// The kernel that was prepared or bound.
        prepared: String,
        /// Whether it was bound.
        is_bound: bool,
        /// What differs.
        reason: String,
    },
    /// A launch in a graph that cannot be updated to another one.
    #[error("the launch in the graph cannot be updated to this one of kernel `{kernel}`: {reason}")]
    NotUpdated {
        /// The kernel of the call.
        kernel: &'static str,
        /// What stands against it.
        reason: String,
    },
    /// A warm-up over more literals than the device keeps variants.
    #[error(
        "kernel `{kernel}`: the policy reaches {keys} keys in this range, and the device keeps {most} variants: let fewer counts be literals, or raise the limit with `set_code_limits`"
    )]
    TooManyKeys {
        /// The kernel.
        kernel: &'static str,
        /// How many keys there are.
        keys: u64,
        /// How many variants are kept.
        most: u64,
    },
    /// More blocks than a launch can have.
    #[error(
        "kernel `{kernel}`: {programs} programs take {blocks} CUDA blocks, and a launch has at most 2^31 - 1: launch a part at a time"
    )]
    TooManyBlocks {
        /// The kernel.
        kernel: &'static str,
        /// The number of programs.
        programs: u64,
        /// The number of blocks they take.
        blocks: u64,
    },
    /// More arguments than a CUDA kernel can take.
    #[error(
        "kernel `{kernel}` needs {found} CUDA arguments, and {most} are supported: bind its extents as literals with `exact_extents()`, or fuse fewer calls"
    )]
    TooManyCudaArguments {
        /// The kernel.
        kernel: &'static str,
        /// How many it needs: one each, and for a short list as many as there are words of it.
        found: usize,
        /// How many there can be.
        most: usize,
    },
    /// A kernel that was launched earlier met an index that is out of range, under the policy *trap* or where the launch asked
    /// for reports.
    #[error(
        "kernel `{kernel}`: index {index} is out of range on axis {axis} of `{parameter}`, in program {program}\n  --> {span}"
    )]
    Trapped {
        /// The kernel.
        kernel: String,
        /// The tensor.
        parameter: String,
        /// The axis, outermost first.
        axis: usize,
        /// Where the access was written.
        span: Span,
        /// The program, counted with the innermost grid axis fastest.
        program: u64,
        /// The index.
        index: i64,
    },
    /// In a checked build that was launched earlier on a GPU, two accesses to one element did not go together. The CPU device
    /// says so at once: [`InterpretError::Conflict`](tilewright_dsl::interpret::InterpretError::Conflict).
    #[error("kernel `{kernel}`: element {element} of `{parameter}`, counted in row-major order, is {}", met(.accesses))]
    Conflict {
        /// The kernel.
        kernel: String,
        /// The tensor.
        parameter: String,
        /// The row-major position of the element; of a list, counted from the first element of its first tensor.
        element: i64,
        /// Both accesses, the one that found the other first; one access twice where two of its elements are in one place.
        accesses: Box<[MarkedAccess; 2]>,
    },
    /// A kernel that was launched earlier waited for a flag, which did not come so far within the limit of the wait. The
    /// program ended there.
    #[error(
        "kernel `{kernel}`: waited in `{parameter}` for rank {rank} to reach epoch {epoch}, and it is at {seen}, in program {program}\n  --> {span}\n  = help: see what rank {rank} says; it may have failed, not have launched the same, or take longer than the limit"
    )]
    WaitEnded {
        /// The kernel.
        kernel: String,
        /// The tensor of flags.
        parameter: String,
        /// The first index of the flag: the rank that raises it.
        rank: u64,
        /// What the program waited for.
        epoch: u32,
        /// What the flag was.
        seen: u32,
        /// Where the wait was written.
        span: Span,
        /// The program, counted with the innermost grid axis fastest.
        program: u64,
    },
    /// An assertion or an assumption of a kernel that was launched earlier did not hold.
    #[error("kernel `{kernel}`: {} failed: {message}, in program {program}\n  --> {span}", check_name(*.kind))]
    CheckFailed {
        /// The kernel.
        kernel: String,
        /// Who says that it holds.
        kind: CheckKind,
        /// What the author says about it.
        message: String,
        /// Where it was written.
        span: Span,
        /// The program, counted with the innermost grid axis fastest.
        program: u64,
    },
}

/// One of two accesses that a checked build found not to go together, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedAccess {
    /// The program, counted with the innermost grid axis fastest; not known of one among several that read the element, or
    /// that changed it atomically.
    pub program: Option<u64>,
    /// Where the access was written, and what it does to the element; not known in a kernel of more than 1023 places that
    /// report, nor of one among several programs that read.
    pub place: Option<(Span, Touch)>,
}

/// What two accesses did to an element, where, and what to do about it.
fn met(accesses: &[MarkedAccess; 2]) -> String {
    let [found, before] = accesses;
    let touches = accesses.map(|access| access.place.map_or(Touch::Write, |(_, touch)| touch));
    let of_one_program = found.program.is_some() && found.program == before.program;
    let did = |access: &MarkedAccess| {
        let touch = access
            .place
            .map_or("touched".to_owned(), |(_, touch)| touch.to_string());
        match access.program {
            Some(program) => format!("{touch} by program {program}"),
            None => format!("{touch} by another program"),
        }
    };
    let text = match found.program.filter(|_| of_one_program) {
        Some(program) if touches[0] == Touch::Disjoint => {
            format!("written twice by program {program}, in a scatter that is declared disjoint")
        }
        Some(program) => format!("written twice by one store of program {program}"),
        None => format!("{} and {}, and nothing orders the two", did(before), did(found)),
    };
    let mut spans: Vec<_> = accesses
        .iter()
        .filter_map(|access| access.place)
        .map(|(span, _)| span)
        .collect();
    spans.dedup();
    let lines: String = spans.iter().map(|span| format!("\n  --> {span}")).collect();
    format!("{text}{lines}\n  = help: {}", advice(touches, of_one_program))
}

fn nearest_text(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("\n  the nearest that was warmed up differs: {nearest}"),
        None => "\n  nothing of this kernel was warmed up".to_owned(),
    }
}

fn check_name(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Assert => "assertion",
        CheckKind::Assume => "assumption",
    }
}

/// What to do about a grid that is no grid.
fn grid_advice(error: &GridError) -> &'static str {
    match error {
        GridError::TooLarge { .. } | GridError::Overflow { .. } => {
            ": check the counts, or launch a part at a time, with views of some rows of the tensors"
        }
        GridError::Unknown { .. } | GridError::Malformed { .. } => "",
    }
}

impl LaunchError {
    /// Whether it says that a variant which serves every launch is not what the kernel's author or the launch wants: one for
    /// less may be.
    pub(crate) fn is_of_resident(&self) -> bool {
        matches!(self, Self::Guarded { .. } | Self::Narrow(_) | Self::NotWaiting { .. })
    }
}

impl From<GridError> for LaunchError {
    fn from(error: GridError) -> Self {
        Self::Grid(error)
    }
}

impl From<InterpretError> for LaunchError {
    fn from(error: InterpretError) -> Self {
        Self::Interpret(Box::new(error))
    }
}
