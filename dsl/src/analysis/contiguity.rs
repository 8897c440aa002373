//! How values and accesses change along one axis of a tile.

use std::collections::HashMap;

use crate::element::ElementType;
use crate::ir::{Access, BinaryOp, Expression, Handle, Kernel, Layout, Shape, UnaryOp};
use crate::stack::room;

/// How much `value` grows from one element to the next along `axis`, if it is the same everywhere; 0 where it does not
/// change.
pub fn step(kernel: &Kernel, value: Handle<Expression>, axis: usize) -> Option<i64> {
    known_step(kernel, value, axis, &mut HashMap::new())
}

/// The steps found so far, so that values used often are looked at once.
type Known = HashMap<(Handle<Expression>, usize), Option<i64>>;

fn known_step(kernel: &Kernel, value: Handle<Expression>, axis: usize, known: &mut Known) -> Option<i64> {
    if let Some(step) = known.get(&(value, axis)) {
        return *step;
    }
    let step = room(|| find_step(kernel, value, axis, known));
    known.insert((value, axis), step);
    step
}

fn find_step(kernel: &Kernel, value: Handle<Expression>, axis: usize, known: &mut Known) -> Option<i64> {
    let ty = kernel.ty(value);
    if ty.shape.extents().get(axis).is_none_or(|&extent| extent == 1) {
        return Some(0);
    }
    let node = &kernel.expressions[value];
    match node {
        Expression::Arange(_) => Some(1),
        Expression::Broadcast { value, .. } => match broadcast_axis(kernel.ty(*value).shape, ty.shape, axis) {
            Some(axis) => known_step(kernel, *value, axis, known),
            None => Some(0),
        },
        Expression::MultipleOf { value, .. } => known_step(kernel, *value, axis, known),
        Expression::Reshape { value, .. } => known_step(
            kernel,
            *value,
            reshape_axis(kernel.ty(*value).shape, ty.shape, axis)?,
            known,
        ),
        Expression::Binary {
            op: BinaryOp::Add,
            left,
            right,
        } if exact(ty.element) => {
            known_step(kernel, *left, axis, known)?.checked_add(known_step(kernel, *right, axis, known)?)
        }
        Expression::Binary {
            op: BinaryOp::Subtract,
            left,
            right,
        } if exact(ty.element) => {
            known_step(kernel, *left, axis, known)?.checked_sub(known_step(kernel, *right, axis, known)?)
        }
        Expression::Binary {
            op: BinaryOp::Multiply,
            left,
            right,
        } if exact(ty.element) => match (constant(kernel, *left), constant(kernel, *right)) {
            (_, Some(by)) => known_step(kernel, *left, axis, known)?.checked_mul(by),
            (Some(by), _) => known_step(kernel, *right, axis, known)?.checked_mul(by),
            _ => unchanging(kernel, node, axis, known),
        },
        Expression::Unary {
            op: UnaryOp::Negate,
            value,
        } if exact(ty.element) => known_step(kernel, *value, axis, known)?.checked_neg(),
        Expression::Cast { value, to } if *to == ElementType::I64 && kernel.ty(*value).element.is_integer() => {
            known_step(kernel, *value, axis, known)
        }
        Expression::Permute { value, axes } => known_step(kernel, *value, *axes.get(axis)? as usize, known),
        Expression::Slice {
            value,
            axis: sliced,
            step: by,
            ..
        } => {
            let own = known_step(kernel, *value, axis, known)?;
            if *sliced as usize == axis {
                own.checked_mul(i64::from(*by))
            } else {
                Some(own)
            }
        }
        // Every element of a variable, or of what elements met in, may differ; so may what equal atomic operations find.
        Expression::Local(_)
        | Expression::Atomic(_)
        | Expression::Concatenate { .. }
        | Expression::Take { .. }
        | Expression::Reduce { .. }
        | Expression::Scan { .. }
        | Expression::ArgSort { .. }
        | Expression::Histogram { .. } => None,
        _ => unchanging(kernel, node, axis, known),
    }
}

/// Arithmetic in i64 does not wrap for indices of memory that exists; narrower types may.
fn exact(element: ElementType) -> bool {
    element == ElementType::I64
}

/// An operation on values that do not change gives one that does not change.
fn unchanging(kernel: &Kernel, node: &Expression, axis: usize, known: &mut Known) -> Option<i64> {
    let mut same = true;
    let rank = |value: Handle<Expression>| kernel.ty(value).shape.rank();
    node.for_each_operand(|operand| {
        // Indices of a load broadcast: their axes are aligned with the load's from the innermost.
        let offset = match node {
            Expression::Load(access) => access_shape(kernel, access).map_or(0, |shape| shape.rank()) - rank(operand),
            _ => 0,
        };
        same &= axis < offset || known_step(kernel, operand, axis - offset, known) == Some(0);
    });
    same.then_some(0)
}

/// The value that every element of `value` has, if it is a literal.
pub fn constant(kernel: &Kernel, value: Handle<Expression>) -> Option<i64> {
    match &kernel.expressions[value] {
        Expression::Literal(literal) => literal.as_integer().and_then(|v| i64::try_from(v).ok()),
        Expression::Broadcast { value, .. }
        | Expression::Reshape { value, .. }
        | Expression::MultipleOf { value, .. } => room(|| constant(kernel, *value)),
        _ => None,
    }
}

/// The axis of `from` that `axis` of the broadcast shape `to` repeats; `None` if it stretches.
pub fn broadcast_axis(from: Shape, to: Shape, axis: usize) -> Option<usize> {
    let own = (axis + from.rank()).checked_sub(to.rank())?;
    (from.extents()[own] == to.extents()[axis]).then_some(own)
}

/// The axis of `from` that is `axis` of the reshaped `to`, where the two shapes differ in axes of extent 1 only.
pub fn reshape_axis(from: Shape, to: Shape, axis: usize) -> Option<usize> {
    let long = |shape: Shape| {
        shape
            .extents()
            .iter()
            .copied()
            .filter(|&e| e != 1)
            .collect::<arrayvec::ArrayVec<u32, 3>>()
    };
    if long(from) == long(to) {
        let position = to.extents()[..axis].iter().filter(|&&e| e != 1).count();
        return from
            .extents()
            .iter()
            .enumerate()
            .filter(|(_, e)| **e != 1)
            .map(|(i, _)| i)
            .nth(position);
    }
    // Rows of equal length stay rows.
    let innermost = axis + 1 == to.rank() && from.rank() > 0 && from.innermost() == to.innermost();
    innermost.then(|| from.rank() - 1)
}

/// The shape that the indices of an access broadcast to.
pub fn access_shape(kernel: &Kernel, access: &Access) -> Option<Shape> {
    access
        .indices
        .iter()
        .try_fold(Shape::SCALAR, |shape, &index| shape.broadcast(kernel.ty(index).shape))
}

/// How an access moves through memory along one axis of its tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// Every element is the same.
    Still,
    /// Each element is the memory neighbour of the one before, on this axis of the tensor.
    Adjacent(usize),
    /// Anything else.
    Scattered,
}

/// How `access` moves along `axis` of its shape.
pub fn walk(kernel: &Kernel, access: &Access, axis: usize) -> Walk {
    let (Some(shape), Some(tensor)) = (access_shape(kernel, access), kernel.tensor(access.tensor)) else {
        return Walk::Scattered;
    };
    let mut moving = None;
    for (position, &index) in access.indices.iter().enumerate() {
        let own = kernel.ty(index).shape;
        let by = match broadcast_axis(own, shape, axis) {
            Some(own_axis) => step(kernel, index, own_axis),
            None => Some(0),
        };
        match by {
            Some(0) => {}
            Some(1) if moving.is_none() => moving = Some(position),
            _ => return Walk::Scattered,
        }
    }
    match moving {
        None => Walk::Still,
        Some(position) if position + 1 == tensor.rank as usize && unit_stride(kernel, access.tensor) => {
            Walk::Adjacent(position)
        }
        Some(_) => Walk::Scattered,
    }
}

/// Whether neighbours on the innermost axis of a tensor are memory neighbours.
fn unit_stride(kernel: &Kernel, tensor: u32) -> bool {
    let Some(parameter) = kernel.tensor(tensor) else {
        return false;
    };
    let symbol = crate::ir::Symbol::Stride {
        tensor,
        axis: parameter.rank - 1,
    };
    parameter.layout != Layout::Strided || kernel.bindings.exact(symbol) == Some(1)
}
