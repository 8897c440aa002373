//! Operations that find the elements of one tile at other places of another.

use super::elementwise::{Operand, tile};
use super::value::{Extents, Value, padded};
use crate::element::ElementType;
use crate::ir::{Expression, Handle, Kernel, MAX_RANK, Shape};

/// The value of a permutation, slice, concatenation or take.
pub(super) fn rearrange<'v>(
    kernel: &Kernel,
    handle: Handle<Expression>,
    value: impl Fn(Handle<Expression>) -> &'v Value,
) -> Value {
    let ty = kernel.ty(handle);
    let (element, extents) = (ty.element, padded(ty.shape));
    let operand = |handle: Handle<Expression>| {
        let own = kernel.ty(handle);
        (
            Operand::new(value(handle), own.element, padded(own.shape)),
            padded(own.shape),
        )
    };
    let build = |compute: &dyn Fn(Extents) -> u64| tile(element, extents, |i| compute(coordinates(i, extents)));
    match &kernel.expressions[handle] {
        Expression::Permute { value, axes } => {
            let (from, own) = operand(*value);
            let pad = MAX_RANK - axes.len();
            build(&|at| {
                let mut source = [0; MAX_RANK];
                for (axis, &to) in axes.iter().enumerate() {
                    source[pad + to as usize] = at[pad + axis];
                }
                from.bits(position(source, own))
            })
        }
        Expression::Slice {
            value,
            axis,
            start,
            step,
            ..
        } => {
            let (from, own) = operand(*value);
            let axis = padded_axis(*axis, ty.shape);
            build(&|mut at| {
                let moved = i64::from(*start) + at[axis] as i64 * i64::from(*step);
                // The verifier has seen that every element exists.
                at[axis] = moved.max(0) as usize;
                from.bits(position(at, own))
            })
        }
        Expression::Concatenate { left, right, axis } => {
            let ((l, l_extents), (r, r_extents)) = (operand(*left), operand(*right));
            let axis = padded_axis(*axis, ty.shape);
            build(&|mut at| match at[axis].checked_sub(l_extents[axis]) {
                None => l.bits(position(at, l_extents)),
                Some(beyond) => {
                    at[axis] = beyond;
                    r.bits(position(at, r_extents))
                }
            })
        }
        Expression::Take { value, index, axis } => {
            let ((from, own), (index, by)) = (operand(*value), operand(*index));
            let axis = padded_axis(*axis, ty.shape);
            build(&|mut at| {
                let index = index.bits(position(at, by)) as i64;
                at[axis] = index.clamp(0, own[axis] as i64 - 1) as usize;
                from.bits(position(at, own))
            })
        }
        _ => Value::Uniform(0),
    }
}

/// The axis of padded extents that stands for an axis of a tile.
pub(super) fn padded_axis(axis: u8, shape: Shape) -> usize {
    MAX_RANK - shape.rank() + axis as usize
}

/// The coordinates of an element by its row-major position.
pub(super) fn coordinates(index: usize, extents: Extents) -> Extents {
    let [_, rows, columns] = extents;
    [index / columns / rows, index / columns % rows, index % columns]
}

/// The row-major position of an element.
pub(super) fn position(at: Extents, extents: Extents) -> usize {
    (at[0] * extents[1] + at[1]) * extents[2] + at[2]
}

/// The bits of each element along an axis, for each place on the other axes, in row-major order of the places.
pub(super) fn lines(value: &Value, element: ElementType, extents: Extents, axis: usize) -> Vec<Vec<u64>> {
    let operand = Operand::new(value, element, extents);
    let mut places = extents;
    places[axis] = 1;
    let line = |place: usize| {
        let start = coordinates(place, places);
        let along = (0..extents[axis]).map(|i| {
            let mut at = start;
            at[axis] = i;
            operand.bits(position(at, extents))
        });
        along.collect()
    };
    (0..places.iter().product()).map(line).collect()
}
