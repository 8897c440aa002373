//! Which powers of two divide an integer value, in every program and for every element of a tile.
//!
//! Only powers of two are tracked: they survive wrapping, and alignment needs no others.

use std::collections::HashMap;

use crate::ir::{BinaryOp, Expression, Handle, Kernel, Layout, Symbol, UnaryOp};
use crate::stack::room;

/// What divides zero: more than any alignment that matters.
pub const EVERYTHING: u64 = 1 << 32;

/// The largest power of two, up to [`EVERYTHING`], known to divide `value`.
pub fn divisor(kernel: &Kernel, value: Handle<Expression>) -> u64 {
    known_divisor(kernel, value, &mut HashMap::new())
}

/// As [`divisor`]; `known` are the divisors found so far, so that values used often are looked at once.
fn known_divisor(kernel: &Kernel, value: Handle<Expression>, known: &mut HashMap<Handle<Expression>, u64>) -> u64 {
    if let Some(divisor) = known.get(&value) {
        return *divisor;
    }
    let mut of = |value: &Handle<Expression>| room(|| known_divisor(kernel, *value, known));
    let divisor = match &kernel.expressions[value] {
        Expression::Literal(literal) => literal.as_integer().map_or(1, of_integer),
        Expression::Symbol(symbol) => of_symbol(kernel, *symbol),
        Expression::Member {
            symbol: Symbol::Stride { tensor, axis },
            ..
        } => stride_divisor(kernel, *tensor, *axis),
        Expression::Arange(1) => EVERYTHING,
        Expression::Broadcast { value, .. }
        | Expression::Reshape { value, .. }
        | Expression::Permute { value, .. }
        | Expression::Slice { value, .. }
        | Expression::Take { value, .. } => of(value),
        Expression::MultipleOf { value, by } => of(value).max(of_integer(i128::from(*by))),
        Expression::Concatenate { left, right, .. } => of(left).min(of(right)),
        Expression::Cast { value, to } | Expression::Bitcast { value, to }
            if to.is_integer() && kernel.ty(*value).element.is_integer() =>
        {
            of(value)
        }
        Expression::Unary { op, value } => match op {
            UnaryOp::Negate | UnaryOp::Abs => of(value),
            UnaryOp::Not
            | UnaryOp::CountOnes
            | UnaryOp::LeadingZeros
            | UnaryOp::TrailingZeros
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Trunc
            | UnaryOp::Sqrt
            | UnaryOp::Rsqrt
            | UnaryOp::Exp
            | UnaryOp::Exp2
            | UnaryOp::Ln
            | UnaryOp::Log2
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tanh => 1,
        },
        Expression::Binary { op, left, right } => match op {
            BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Min | BinaryOp::Max | BinaryOp::Or | BinaryOp::Xor => {
                of(left).min(of(right))
            }
            BinaryOp::Multiply => of(left).saturating_mul(of(right)).min(EVERYTHING),
            BinaryOp::And => of(left).max(of(right)),
            BinaryOp::ShiftLeft => match kernel.expressions[*right] {
                Expression::Literal(by) => {
                    let by = by.bits % u64::from(by.element.bits());
                    of(left).saturating_mul(1 << by).min(EVERYTHING)
                }
                _ => of(left),
            },
            BinaryOp::MultiplyHigh
            | BinaryOp::Divide
            | BinaryOp::Remainder
            | BinaryOp::Minimum
            | BinaryOp::Maximum
            | BinaryOp::Power
            | BinaryOp::ShiftRight => 1,
        },
        Expression::Select { accept, reject, .. } => of(accept).min(of(reject)),
        Expression::MulAdd { .. }
        | Expression::Arange(_)
        | Expression::Cast { .. }
        | Expression::Bitcast { .. }
        | Expression::Compare { .. }
        | Expression::Reduce { .. }
        | Expression::Scan { .. }
        | Expression::ArgSort { .. }
        | Expression::Histogram { .. }
        | Expression::Member { .. }
        | Expression::Argument(_)
        | Expression::Induction(_)
        | Expression::Local(_)
        | Expression::Load(_)
        | Expression::Ptx(_)
        | Expression::Atomic(_) => 1,
    };
    known.insert(value, divisor);
    divisor
}

fn of_integer(value: i128) -> u64 {
    if value == 0 {
        EVERYTHING
    } else {
        (1u64 << value.trailing_zeros().min(32)).min(EVERYTHING)
    }
}

fn of_symbol(kernel: &Kernel, symbol: Symbol) -> u64 {
    if let Some(value) = kernel.bindings.exact(symbol) {
        return of_integer(value as i128);
    }
    match symbol {
        // What divides the strides of rows is said of axes that are stepped along, and this may be one of a single element.
        Symbol::Stride { tensor, .. } if matches!(kernel.tensor(tensor), Some(t) if t.layout != Layout::Contiguous) => {
            1
        }
        Symbol::Stride { tensor, axis } => stride_divisor(kernel, tensor, axis),
        Symbol::ProgramId(_) | Symbol::NumPrograms(_) | Symbol::Extent { .. } | Symbol::Count(_) => 1,
    }
}

/// The largest power of two known to divide the stride, in elements, of an axis of a tensor, if it has more than one element: as
/// a factor of an index, that is.
pub fn stride_divisor(kernel: &Kernel, tensor: u32, axis: u8) -> u64 {
    let Some(parameter) = kernel.tensor(tensor) else {
        return 1;
    };
    // Which tensor of a list it is moves no index.
    if parameter.list.is_some() && axis == 0 {
        return EVERYTHING;
    }
    let symbol = Symbol::Stride { tensor, axis };
    if let Some(value) = kernel.bindings.exact(symbol) {
        return of_integer(value as i128);
    }
    let extent = |axis| match kernel.differs(tensor, axis) {
        true => 1,
        false => of_symbol(kernel, Symbol::Extent { tensor, axis }),
    };
    match parameter.layout {
        Layout::Contiguous => (axis + 1..parameter.rank).map(extent).fold(1, |product: u64, divisor| {
            product.saturating_mul(divisor).min(EVERYTHING)
        }),
        Layout::Rows { .. } if axis + 1 == parameter.rank => 1,
        Layout::Rows { multiple } => of_integer(multiple as i128),
        Layout::Strided => 1,
    }
}
