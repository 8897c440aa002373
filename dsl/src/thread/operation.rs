//! What a value is computed by.

use super::{Argument, Load, Register, Type, Use};
use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, CompareOp, Handle, UnaryOp};

/// What a value is computed by. The typing rule of each is the last sentence of its description; *lane by lane* means
/// that the operands have the result's number of lanes, or one lane, which then stands for each.
///
/// There is nothing here that hardware only approximates: floats are f32 and f64, each operation is rounded once to
/// nearest even and never fused with another, subnormal numbers are kept, and **a NaN that an operation makes may have
/// any bits** until [`Operation::Canonical`] gives it the ones that `arithmetic` says. Floats of 16 and 8 bits are
/// moved and cast.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A scalar argument. Of its type.
    Argument(Handle<Argument>),
    /// What a register holds now. Of its type.
    Read(Handle<Register>),
    /// The time now, in nanoseconds since some moment, which is the same for all threads. A u64 of one lane.
    Timer,
    /// What is in memory now. [`Load::ty`].
    Load(Load),
    /// An operation of one operand: [`accepts_unary`]. Lane by lane; the operand's type.
    Unary {
        /// Which.
        op: UnaryOp,
        /// Of what.
        value: Use,
    },
    /// An operation of two operands: [`accepts_binary`]. Lane by lane; both have one element type, which is the
    /// result's.
    Binary {
        /// Which.
        op: BinaryOp,
        /// The left operand.
        left: Use,
        /// The right operand.
        right: Use,
    },
    /// `left * right + addend`, rounded once. Lane by lane; f32 or f64, all of one element type, which is the result's.
    MulAdd {
        /// The first factor.
        left: Use,
        /// The second factor.
        right: Use,
        /// What is added to the product.
        addend: Use,
    },
    /// A comparison; with NaN only `!=` holds. Lane by lane; both have one element type, a bool, an integer, f32 or
    /// f64, and bool is only compared for equality. Bool.
    Compare {
        /// Which.
        op: CompareOp,
        /// The left operand.
        left: Use,
        /// The right operand.
        right: Use,
    },
    /// One of two, both of which are known. Lane by lane; the condition is bool, and both have one element type, which
    /// is the result's.
    Select {
        /// Which one.
        condition: Use,
        /// Where the condition holds.
        accept: Use,
        /// Where it does not.
        reject: Use,
    },
    /// Another element type: [`accepts_cast`]. As [`crate::arithmetic::cast`] says, except that with [`Rounding::Zero`]
    /// what is rounded is rounded toward zero. As a float of less than 32 bits a NaN is the canonical one. Lane by lane; the
    /// element type `to`.
    Cast {
        /// Of what.
        value: Use,
        /// The type.
        to: ElementType,
        /// Which way.
        rounding: Rounding,
    },
    /// The same bytes as another type. Neither has bools, and both have as many bytes; the type `to`.
    Bitcast {
        /// Of what.
        value: Use,
        /// The type.
        to: Type,
    },
    /// The same value, but of every NaN the canonical one. f32 or f64; the operand's type.
    Canonical(Use),
    /// The low 32 bits of the 64 bits of `high` and `low`, shifted toward the low ones by `by` modulo 32. Lane by lane;
    /// all are u32.
    Funnel {
        /// The low half.
        low: Use,
        /// The high half.
        high: Use,
        /// How far.
        by: Use,
    },
    /// One packet of several, the lanes of the first one first. All have one element type, which is the result's, and
    /// their lanes are the result's.
    Join(Vec<Use>),
    /// Some neighbouring lanes of a packet. The operand's element type, `lanes` lanes.
    Part {
        /// Of what.
        value: Use,
        /// From which lane on.
        first: u8,
        /// How many.
        lanes: u8,
    },
    /// One element in every lane. The operand's element type, `lanes` lanes.
    Repeat {
        /// Which element.
        value: Use,
        /// How often.
        lanes: u8,
    },
    /// What another thread of the group has for `value`; all threads of the group are here. One lane, which is no bool;
    /// the operand's type.
    Shuffle {
        /// Which one.
        kind: Shuffle,
        /// What each of them has.
        value: Use,
        /// A u32 of one lane, below `group`: how far, or which.
        by: Use,
        /// How many threads, a power of two up to 32: those whose number divided by it is the same.
        group: u32,
    },
    /// What the threads of the group find together; all of them are here that have not ended. For [`Vote::Ballot`] a u32, else a bool, of
    /// one lane.
    Vote {
        /// What is found.
        kind: Vote,
        /// A bool of one lane.
        condition: Use,
        /// How many threads, as with [`Operation::Shuffle`].
        group: u32,
    },
    /// What the threads of a warp have, combined: each of them has it, and all of them are here. The operand's type, of one lane,
    /// which [`accepts_warp_reduce`] with the operator.
    WarpReduce {
        /// By what.
        op: BinaryOp,
        /// What each of them has.
        value: Use,
    },
}

/// Which way a cast rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To the nearest; of two that are equally near, to the even one.
    NearestEven,
    /// Toward zero. Of integers and f64 to f32 only.
    Zero,
}

/// Which thread of its group a value comes from. A thread that there is not stands for the one that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shuffle {
    /// The one `by` before.
    Up,
    /// The one `by` after.
    Down,
    /// The one whose number in the group differs in the bits of `by`.
    Exchange,
    /// The one whose number in the group is `by`.
    From,
}

/// What the threads of a group find together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vote {
    /// Whether the condition holds for all.
    All,
    /// Whether it holds for one at least.
    Any,
    /// For which it holds: a bit for each, the lowest for the first of the group.
    Ballot,
}

/// Whether there is such an operation on elements of this type.
pub const fn accepts_unary(op: UnaryOp, element: ElementType) -> bool {
    let exact = match op {
        UnaryOp::Negate
        | UnaryOp::Not
        | UnaryOp::Abs
        | UnaryOp::CountOnes
        | UnaryOp::LeadingZeros
        | UnaryOp::TrailingZeros
        | UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round
        | UnaryOp::Trunc
        | UnaryOp::Sqrt => true,
        // One divided by a square root is said so; the others are sequences of operations.
        UnaryOp::Rsqrt
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Ln
        | UnaryOp::Log2
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh => false,
    };
    exact && is_computed(element) && op.accepts(element)
}

/// Whether there is such an operation on elements of this type.
pub const fn accepts_binary(op: BinaryOp, element: ElementType) -> bool {
    let exact = !matches!(op, BinaryOp::Power);
    exact && is_computed(element) && op.accepts(element)
}

/// Whether a warp combines elements of this type by the operator in one step.
pub const fn accepts_warp_reduce(op: BinaryOp, element: ElementType) -> bool {
    let is_word = matches!(element, ElementType::I32 | ElementType::U32);
    let is_any_order = matches!(
        op,
        BinaryOp::Add | BinaryOp::Min | BinaryOp::Max | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor
    );
    is_word && is_any_order
}

/// Whether an element type is converted to another so, in one step:
///
/// * bool and integers to one another, to f32 and to f64;
/// * f32 and f64 to bool, to integers, and to one another;
/// * f32 to f16, bf16 and the 8-bit floats, and these to f32.
///
/// Toward zero go integers and f64 to f32 alone.
pub const fn accepts_cast(from: ElementType, to: ElementType, rounding: Rounding) -> bool {
    match (is_integral(from), is_integral(to)) {
        _ if matches!(rounding, Rounding::Zero) => {
            matches!(to, ElementType::F32)
                && ((is_integral(from) && !matches!(from, ElementType::Bool)) || matches!(from, ElementType::F64))
        }
        (true, true) => true,
        (true, false) => matches!(to, ElementType::F32 | ElementType::F64),
        (false, true) => matches!(from, ElementType::F32 | ElementType::F64),
        (false, false) => matches!(from, ElementType::F32) || matches!(to, ElementType::F32),
    }
}

/// Whether there is arithmetic on the type here: floats of less than 32 bits are cast first.
pub const fn is_computed(element: ElementType) -> bool {
    is_integral(element) || matches!(element, ElementType::F32 | ElementType::F64)
}

const fn is_integral(element: ElementType) -> bool {
    matches!(
        element.kind(),
        ElementKind::Bool | ElementKind::Signed | ElementKind::Unsigned
    )
}

impl Operation {
    /// Whether it may give something else of the same operands elsewhere: by what a register holds, when it is, or which threads
    /// come by. A load does by the memory, which others know.
    pub(super) fn depends_on_its_place(&self) -> bool {
        self.meets() || matches!(self, Self::Read(_) | Self::Timer)
    }

    /// Whether threads find it together, so that each waits for the others.
    pub(super) fn meets(&self) -> bool {
        matches!(self, Self::Shuffle { .. } | Self::Vote { .. } | Self::WarpReduce { .. })
    }

    /// Calls `visit` with every operand, in order.
    pub fn for_each_operand(&self, mut visit: impl FnMut(Use)) {
        match self {
            Self::Argument(_) | Self::Read(_) | Self::Timer | Self::Load(_) => {}
            Self::Unary { value, .. }
            | Self::Cast { value, .. }
            | Self::Bitcast { value, .. }
            | Self::Canonical(value)
            | Self::Part { value, .. }
            | Self::Repeat { value, .. }
            | Self::WarpReduce { value, .. } => visit(*value),
            Self::Binary { left, right, .. } | Self::Compare { left, right, .. } => {
                visit(*left);
                visit(*right);
            }
            Self::MulAdd { left, right, addend } => [*left, *right, *addend].into_iter().for_each(visit),
            Self::Select {
                condition,
                accept,
                reject,
            } => [*condition, *accept, *reject].into_iter().for_each(visit),
            Self::Funnel { low, high, by } => [*low, *high, *by].into_iter().for_each(visit),
            Self::Join(parts) => parts.iter().copied().for_each(visit),
            Self::Shuffle { value, by, .. } => {
                visit(*value);
                visit(*by);
            }
            Self::Vote { condition, .. } => visit(*condition),
        }
    }

    /// Replaces every operand by what `map` gives for it.
    pub fn map_operands(&mut self, mut map: impl FnMut(Use) -> Use) {
        match self {
            Self::Argument(_) | Self::Read(_) | Self::Timer | Self::Load(_) => {}
            Self::Unary { value, .. }
            | Self::Cast { value, .. }
            | Self::Bitcast { value, .. }
            | Self::Canonical(value)
            | Self::Part { value, .. }
            | Self::Repeat { value, .. }
            | Self::WarpReduce { value, .. } => *value = map(*value),
            Self::Binary { left, right, .. } | Self::Compare { left, right, .. } => {
                *left = map(*left);
                *right = map(*right);
            }
            Self::MulAdd { left, right, addend } => [left, right, addend].into_iter().for_each(|of| *of = map(*of)),
            Self::Select {
                condition,
                accept,
                reject,
            } => [condition, accept, reject].into_iter().for_each(|of| *of = map(*of)),
            Self::Funnel { low, high, by } => [low, high, by].into_iter().for_each(|of| *of = map(*of)),
            Self::Join(parts) => parts.iter_mut().for_each(|of| *of = map(*of)),
            Self::Shuffle { value, by, .. } => {
                *value = map(*value);
                *by = map(*by);
            }
            Self::Vote { condition, .. } => *condition = map(*condition),
        }
    }
}

impl Rounding {
    /// The name that texts have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NearestEven => "nearest",
            Self::Zero => "zero",
        }
    }
}

impl Shuffle {
    /// The name that texts have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Exchange => "exchange",
            Self::From => "from",
        }
    }
}

impl Vote {
    /// The name that texts have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
            Self::Ballot => "ballot",
        }
    }
}
