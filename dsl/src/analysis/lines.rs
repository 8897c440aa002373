//! Lines of elements that are combined: which take long to compute, and which threads hand each other.

use std::collections::BTreeSet;

use crate::ir::{BinaryOp, Expression, Handle, Kernel, Shape, Statement, UnaryOp};

/// The elements of lines that are held in chunks although they are no whole number of them: those that take long to compute, which
/// threads hand each other when these are stored. All tiles of as many elements are lines, and nothing is loaded as one that the
/// kernel writes: aligned packets of these have elements of others' lines.
pub(crate) fn handed_over(kernel: &Kernel) -> BTreeSet<u64> {
    if !only_reduces(kernel) || kernel.locals.iter().any(|(_, local)| !local.ty.is_scalar()) {
        return BTreeSet::new();
    }
    let is_line = |shape: Shape| shape.rank() == 1 && !shape.innermost().is_multiple_of(Expression::CHUNK as u32);
    let costly = kernel.expressions.iter().filter_map(|(_, node)| match node {
        Expression::Reduce { value, .. } if is_costly(kernel, *value) => Some(kernel.ty(*value).shape),
        _ => None,
    });
    let mut lines: BTreeSet<u64> = costly
        .filter(|shape| is_line(*shape))
        .map(|shape| shape.elements())
        .collect();
    let shapes = kernel.expressions.iter().map(|(handle, _)| kernel.ty(handle).shape);
    shapes.filter(|shape| shape.rank() != 1).for_each(|shape| {
        lines.remove(&shape.elements());
    });
    for (value, node) in kernel.expressions.iter() {
        if let Expression::Load(access) = node
            && kernel.tensor(access.tensor).is_none_or(|tensor| tensor.mutable)
        {
            lines.remove(&kernel.ty(value).shape.elements());
        }
    }
    lines
}

/// Whether elements of a kernel meet in reductions and nowhere else.
pub(crate) fn only_reduces(kernel: &Kernel) -> bool {
    kernel.expressions.iter().all(|(_, node)| match node {
        Expression::Reduce { .. } => true,
        Expression::Atomic(_) => false,
        _ => !node.is_collective(),
    })
}

/// Whether all tiles of a kernel are lines of so many elements as one another, whose elements keep their places until they are
/// stored, and some are reduced to one element, which decides nothing.
pub(crate) fn reduces_lines(kernel: &Kernel) -> bool {
    let mut lines = kernel.expressions.iter().map(|(value, _)| kernel.ty(value).shape);
    let Some(line) = lines.find(|shape| shape.elements() > 1) else {
        return false;
    };
    let are_lines = kernel.expressions.iter().all(|(value, node)| {
        let shape = kernel.ty(value).shape;
        let is_line = shape.elements() == 1
            || (shape.elements() == line.elements() && u64::from(shape.innermost()) == line.elements());
        let stays = match node {
            Expression::Permute { .. }
            | Expression::Slice { .. }
            | Expression::Concatenate { .. }
            | Expression::Take { .. }
            | Expression::Ptx(_)
            | Expression::Local(_)
            | Expression::Atomic(_) => false,
            Expression::Reduce { .. } => shape.elements() == 1,
            _ => !node.is_collective(),
        };
        is_line && stays
    });
    let is_straight = |statement: &Statement| {
        matches!(
            statement,
            Statement::Let(_) | Statement::Store { .. } | Statement::GridDependency(_)
        )
    };
    are_lines && kernel.body.iter().all(|(statement, _)| is_straight(statement))
}

/// Whether elements take longer to compute than to hand to another thread.
pub(crate) fn is_costly(kernel: &Kernel, value: Handle<Expression>) -> bool {
    let is_function = |inner| match &kernel.expressions[inner] {
        Expression::Unary { op, .. } => matches!(
            op,
            UnaryOp::Exp | UnaryOp::Exp2 | UnaryOp::Ln | UnaryOp::Log2 | UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tanh
        ),
        Expression::Binary { op, .. } => *op == BinaryOp::Power,
        _ => false,
    };
    let is_tile = |inner| !kernel.ty(inner).is_scalar() && !kernel.expressions[inner].is_collective();
    kernel.is_made_of(value, is_tile, |inner| is_tile(inner) && is_function(inner))
}
