//! Values: what an expression is and which type each kind has.

use std::fmt;

use arrayvec::ArrayVec;

use super::{
    Atomic, BinaryOp, CacheHint, Combine, CompareOp, Handle, Literal, Local, MAX_RANK, Ptx, Reduction, Shape, UnaryOp,
};
use crate::element::ElementType;

/// A value of a kernel. The typing rule of each kind is the last sentence of its description.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// A constant. A scalar of the literal's type.
    Literal(Literal),
    /// An integer fixed for the launch, or for the program. A scalar i64.
    Symbol(Symbol),
    /// The extent or stride of one tensor of a list, on an axis of its tensors: as the list shares it, as it follows from
    /// the layout, or read from where the list is. Reading it of a tensor that the list does not have gives 0, or follows
    /// the policy of the access. A scalar i64.
    Member {
        /// What it is of the list.
        symbol: Symbol,
        /// Which tensor: an access with the first index only, which is a scalar i64.
        access: Access,
    },
    /// The scalar parameter at this position. A scalar of the parameter's type.
    Argument(u32),
    /// The value of the loop whose induction value this is. A scalar integer: the type of the loop's bounds.
    Induction(ElementType),
    /// `0, 1, …, extent - 1`. i64 of shape `[extent]`.
    Arange(u32),
    /// `value` stretched to `shape`. The element type of `value`; its shape must broadcast to exactly `shape`.
    Broadcast {
        /// A scalar or tile.
        value: Handle<Expression>,
        /// The shape to stretch to.
        shape: Shape,
    },
    /// The elements of `value` in the same row-major order under another shape. Equal element counts.
    Reshape {
        /// A tile or scalar.
        value: Handle<Expression>,
        /// The new shape.
        shape: Shape,
    },
    /// The elements of `value` under reordered axes: axis `i` of the result is axis `axes[i]` of `value`. The element type
    /// of `value`.
    Permute {
        /// A tile.
        value: Handle<Expression>,
        /// Each axis of `value`, once.
        axes: ArrayVec<u8, MAX_RANK>,
    },
    /// Elements `start`, `start + step`, … of an axis of `value`, `extent` of them, all of which it has. The element type
    /// of `value`; its shape with that extent.
    Slice {
        /// A tile.
        value: Handle<Expression>,
        /// The axis.
        axis: u8,
        /// The first element.
        start: u32,
        /// From one element to the next; may be negative.
        step: i32,
        /// How many elements.
        extent: u32,
    },
    /// `left` and then `right` along an axis. Both have one element type, which is the result's, and the same other
    /// extents.
    Concatenate {
        /// A tile.
        left: Handle<Expression>,
        /// A tile.
        right: Handle<Expression>,
        /// The axis.
        axis: u8,
    },
    /// Elements of an axis of `value` by index: on that axis element `i` of the result is element `index[i]` of `value`,
    /// the nearest there is if there is none. `index` is of i64 and has the extents of `value` on the other axes; the
    /// element type of `value`, the shape of `index`.
    Take {
        /// A tile.
        value: Handle<Expression>,
        /// Where on the axis.
        index: Handle<Expression>,
        /// The axis.
        axis: u8,
    },
    /// What [`Reduction`] leaves of an axis: the shape of `value` without it. The element type of `value`, or i64 for an
    /// index.
    ///
    /// The order is a matter of the extent alone, not of the schedule: the axis is cut into chunks of
    /// [`Expression::CHUNK`] elements, each combined by halves (element `i` with `i + h` for `h` = 4, 2, 1); chunks that
    /// are a multiple of [`Expression::LEAVES`] apart are combined one after the other; what is left is combined by
    /// halves, beginning with half the next power of two.
    Reduce {
        /// A tile.
        value: Handle<Expression>,
        /// The axis.
        axis: u8,
        /// What becomes of it.
        reduction: Reduction,
    },
    /// Each element of an axis combined with all before it. The type of `value`.
    ///
    /// The order is a matter of the extent alone: within chunks of [`Expression::CHUNK`] elements one after the other;
    /// over the chunks' totals in groups of 32, and over the groups' totals in groups of 32, by doubling distances
    /// (`i - d` with `i` for `d` = 1, 2, 4, 8, 16); groups of groups one after the other.
    Scan {
        /// A tile.
        value: Handle<Expression>,
        /// The axis.
        axis: u8,
        /// How.
        combine: Combine,
    },
    /// The indices that put an axis into order: smallest (or largest) element first, NaN as the largest, equal elements
    /// by index. i64 of the shape of `value`.
    ArgSort {
        /// A tile.
        value: Handle<Expression>,
        /// The axis.
        axis: u8,
        /// Whether the largest comes first.
        descending: bool,
    },
    /// How often each of `0, 1, …, bins - 1` is in a tile; other values count for nothing. i32 of shape `[bins]`.
    Histogram {
        /// A tile of integers.
        value: Handle<Expression>,
        /// A bool of the tile's shape; elements where it is false are left out.
        mask: Option<Handle<Expression>>,
        /// How many values are counted.
        bins: u32,
    },
    /// An operation on each element. See [`UnaryOp`]; the type of `value`.
    Unary {
        /// What to compute.
        op: UnaryOp,
        /// The operand.
        value: Handle<Expression>,
    },
    /// An operation on each pair of elements. Both operands have one type, which is the result's.
    Binary {
        /// What to compute.
        op: BinaryOp,
        /// The left operand.
        left: Handle<Expression>,
        /// The right operand.
        right: Handle<Expression>,
    },
    /// `left * right + addend` of each triple of elements, rounded once; of f16 and bf16 in f32, whose result is rounded
    /// again. Floats; the three operands have one type, which is the result's.
    MulAdd {
        /// The first factor.
        left: Handle<Expression>,
        /// The second factor.
        right: Handle<Expression>,
        /// What is added to the product.
        addend: Handle<Expression>,
    },
    /// A comparison of each pair of elements. Both operands have one type; bool of that shape.
    Compare {
        /// What to test.
        op: CompareOp,
        /// The left operand.
        left: Handle<Expression>,
        /// The right operand.
        right: Handle<Expression>,
    },
    /// `accept` where `condition` holds, `reject` elsewhere. `condition` is bool of the operands' shape; the operands
    /// have one type, which is the result's.
    Select {
        /// Which operand to take.
        condition: Handle<Expression>,
        /// Taken where the condition is true.
        accept: Handle<Expression>,
        /// Taken where the condition is false.
        reject: Handle<Expression>,
    },
    /// Each element converted as [`crate::arithmetic::cast`] says. The shape of `value`.
    Cast {
        /// The operand.
        value: Handle<Expression>,
        /// The element type to convert to.
        to: ElementType,
    },
    /// The bits of each element read as another type of the same size; neither is bool. The shape of `value`.
    Bitcast {
        /// The operand.
        value: Handle<Expression>,
        /// The element type to read the bits as.
        to: ElementType,
    },
    /// `value`, every element of which its author claims to be a multiple of `by`; a [`Check`](super::Statement::Check) tests
    /// it. The type of `value`, which is an integer type that `by`, at least 1, fits.
    MultipleOf {
        /// The operand.
        value: Handle<Expression>,
        /// What divides it.
        by: u32,
    },
    /// What the author's own instructions compute. The type of the output, in the shape of the inputs; 8-bit types and 8-bit
    /// floats have no registers.
    Ptx(Box<Ptx>),
    /// The present value of a local. The local's type.
    Local(Handle<Local>),
    /// Elements read from a tensor. The tensor's element type; the shape its indices share.
    Load(Access),
    /// Elements of a tensor before an atomic operation changes them. The tensor's element type; the shape its indices
    /// share. Evaluated exactly once, where it is defined, whether anything uses it or not.
    Atomic(Atomic),
}

/// An integer that is known to the host at launch, or to a program at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Symbol {
    /// This program's coordinate on a grid axis.
    ProgramId(u8),
    /// The grid's extent on an axis.
    NumPrograms(u8),
    /// The extent of the tensor parameter `tensor` on `axis`; of a list, how many tensors there are, and on the other axes the
    /// largest extent of any.
    Extent {
        /// Position of the tensor among the parameters.
        tensor: u32,
        /// The axis, outermost first.
        axis: u8,
    },
    /// The distance, in elements, between neighbours on `axis` of the tensor parameter `tensor`, which is no list.
    Stride {
        /// Position of the tensor among the parameters.
        tensor: u32,
        /// The axis, outermost first.
        axis: u8,
    },
    /// The count parameter at this position.
    Count(u32),
}

/// Where a load reads or a store writes: one index per axis of the tensor. Of a list, the first one is a scalar that says
/// which tensor, and the bounds of the others are that tensor's.
///
/// Each index is an integer scalar or tile; they broadcast to one shape, the shape of the access. Element `e` of the
/// access is the tensor's element at the indices' values at `e`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// Position of the tensor among the parameters.
    pub tensor: u32,
    /// One index per axis.
    pub indices: ArrayVec<Handle<Expression>, 4>,
    /// What happens to an index outside its axis.
    pub bounds: Bounds,
    /// Which checks are still needed on each axis. Recorded as all; removed where proved.
    pub guards: ArrayVec<Guard, 4>,
    /// A bool of the access's shape; where it is false, a load reads zero and a store writes nothing.
    pub mask: Option<Handle<Expression>>,
    /// What it asks of the caches, if its author says so; else the schedule does.
    pub cache: Option<CacheHint>,
    /// Of a load or store, whether a launch is refused in which a thread does not do as many neighbours at once as it might.
    pub must_be_wide: bool,
}

/// What an access does with an index that is outside its axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Bounds {
    /// A load reads zero, a store writes nothing.
    #[default]
    ReadZeroSkipWrite,
    /// The index becomes the nearest valid one. On an axis of extent 0 a load reads zero and a store writes nothing.
    Clamp,
    /// As [`Bounds::ReadZeroSkipWrite`], and the launch reports the access as an error. A load whose value nothing needs
    /// may be left out, and then is not reported.
    Trap,
    /// The author has promised, in an `unsafe` block, that it does not happen.
    Unchecked,
}

/// Which sides of an axis an index may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guard {
    /// The index may be negative.
    pub lower: bool,
    /// The index may reach or exceed the extent.
    pub upper: bool,
}

impl Guard {
    /// Both sides are to be checked.
    pub const FULL: Guard = Guard {
        lower: true,
        upper: true,
    };
    /// Nothing is to be checked.
    pub const NONE: Guard = Guard {
        lower: false,
        upper: false,
    };

    /// Whether anything is to be checked.
    pub fn any(self) -> bool {
        self.lower || self.upper
    }
}

impl Access {
    /// The indices and the mask.
    pub fn operands(&self) -> impl Iterator<Item = Handle<Expression>> + '_ {
        self.indices.iter().copied().chain(self.mask)
    }

    /// Replaces every index and the mask by what `map` gives for it.
    pub fn map_operands(&mut self, map: impl FnMut(Handle<Expression>) -> Handle<Expression>) {
        let mut map = map;
        self.indices.iter_mut().chain(&mut self.mask).for_each(|i| *i = map(*i));
    }

    /// Whether any axis is still to be checked.
    pub fn is_guarded(&self) -> bool {
        self.guards.iter().any(|g| g.any())
    }
}

impl Expression {
    /// Calls `visit` with every expression this one refers to, in order.
    pub fn for_each_operand(&self, mut visit: impl FnMut(Handle<Expression>)) {
        match self {
            Self::Literal(_)
            | Self::Symbol(_)
            | Self::Argument(_)
            | Self::Induction(_)
            | Self::Arange(_)
            | Self::Local(_) => {}
            Self::Broadcast { value, .. }
            | Self::Reshape { value, .. }
            | Self::Permute { value, .. }
            | Self::Slice { value, .. }
            | Self::Reduce { value, .. }
            | Self::Scan { value, .. }
            | Self::ArgSort { value, .. }
            | Self::Unary { value, .. }
            | Self::MultipleOf { value, .. }
            | Self::Cast { value, .. }
            | Self::Bitcast { value, .. } => visit(*value),
            Self::Binary { left, right, .. }
            | Self::Compare { left, right, .. }
            | Self::Concatenate { left, right, .. } => {
                visit(*left);
                visit(*right);
            }
            Self::Take { value, index, .. } => {
                visit(*value);
                visit(*index);
            }
            Self::Histogram { value, mask, .. } => {
                visit(*value);
                mask.iter().for_each(|&mask| visit(mask));
            }
            Self::MulAdd { left, right, addend } => {
                visit(*left);
                visit(*right);
                visit(*addend);
            }
            Self::Select {
                condition,
                accept,
                reject,
            } => {
                visit(*condition);
                visit(*accept);
                visit(*reject);
            }
            Self::Load(access) | Self::Member { access, .. } => access.operands().for_each(visit),
            Self::Atomic(atomic) => atomic.operands().for_each(visit),
            Self::Ptx(ptx) => ptx.inputs.iter().copied().for_each(visit),
        }
    }

    /// Replaces every expression this one refers to by what `map` gives for it.
    pub fn map_operands(&mut self, mut map: impl FnMut(Handle<Expression>) -> Handle<Expression>) {
        match self {
            Self::Literal(_)
            | Self::Symbol(_)
            | Self::Argument(_)
            | Self::Induction(_)
            | Self::Arange(_)
            | Self::Local(_) => {}
            Self::Broadcast { value, .. }
            | Self::Reshape { value, .. }
            | Self::Permute { value, .. }
            | Self::Slice { value, .. }
            | Self::Reduce { value, .. }
            | Self::Scan { value, .. }
            | Self::ArgSort { value, .. }
            | Self::Unary { value, .. }
            | Self::MultipleOf { value, .. }
            | Self::Cast { value, .. }
            | Self::Bitcast { value, .. } => *value = map(*value),
            Self::Binary { left, right, .. }
            | Self::Compare { left, right, .. }
            | Self::Concatenate { left, right, .. } => {
                *left = map(*left);
                *right = map(*right);
            }
            Self::Take { value, index, .. } => {
                *value = map(*value);
                *index = map(*index);
            }
            Self::Histogram { value, mask, .. } => {
                *value = map(*value);
                mask.iter_mut().for_each(|mask| *mask = map(*mask));
            }
            Self::MulAdd { left, right, addend } => {
                *left = map(*left);
                *right = map(*right);
                *addend = map(*addend);
            }
            Self::Select {
                condition,
                accept,
                reject,
            } => {
                *condition = map(*condition);
                *accept = map(*accept);
                *reject = map(*reject);
            }
            Self::Load(access) | Self::Member { access, .. } => access.map_operands(map),
            Self::Atomic(atomic) => atomic.map_operands(map),
            Self::Ptx(ptx) => ptx.inputs.iter_mut().for_each(|input| *input = map(*input)),
        }
    }

    /// Elements that [`Expression::Reduce`] and [`Expression::Scan`] combine first.
    pub const CHUNK: usize = 8;

    /// Partial results that [`Expression::Reduce`] combines by halves.
    pub const LEAVES: usize = 1024;

    /// Whether each element is computed from the same elements of the operands.
    pub fn is_elementwise(&self) -> bool {
        matches!(
            self,
            Self::Unary { .. }
                | Self::Binary { .. }
                | Self::MulAdd { .. }
                | Self::Compare { .. }
                | Self::Select { .. }
                | Self::Cast { .. }
                | Self::Bitcast { .. }
                | Self::Ptx(_)
        )
    }

    /// Whether elements of the operand meet, so that the threads of a program work on it together.
    pub fn is_collective(&self) -> bool {
        matches!(
            self,
            Self::Reduce { .. } | Self::Scan { .. } | Self::ArgSort { .. } | Self::Histogram { .. }
        )
    }

    /// The memory that it reads or changes, if it does.
    pub fn access(&self) -> Option<&Access> {
        match self {
            Self::Load(access) | Self::Member { access, .. } => Some(access),
            Self::Atomic(atomic) => Some(&atomic.access),
            _ => None,
        }
    }

    /// As [`Expression::access`], to be changed.
    pub fn access_mut(&mut self) -> Option<&mut Access> {
        match self {
            Self::Load(access) | Self::Member { access, .. } => Some(access),
            Self::Atomic(atomic) => Some(&mut atomic.access),
            _ => None,
        }
    }

    /// Whether defining the value does something that others see, so that it must happen even if nothing uses the value.
    pub fn has_effect(&self) -> bool {
        matches!(self, Self::Atomic(_))
    }

    /// Whether the value is in scope everywhere without a [`super::Statement::Let`].
    pub fn is_global(&self) -> bool {
        matches!(self, Self::Literal(_) | Self::Symbol(_) | Self::Argument(_))
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadZeroSkipWrite => "zero",
            Self::Clamp => "clamp",
            Self::Trap => "trap",
            Self::Unchecked => "unchecked",
        })
    }
}
