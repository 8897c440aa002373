//! Operations on each element of a tile. What they compute is said by [`crate::arithmetic`].

use std::borrow::Cow;

use super::value::{Extents, Value, get, put};
use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Literal, Meaning, Ptx, UnaryOp};

/// The elements of an operand, ready to be read one by one in row-major order.
pub(super) enum Operand<'a> {
    Uniform(u64),
    Elements(Cow<'a, [u8]>, usize),
}

impl<'a> Operand<'a> {
    pub(super) fn new(value: &'a Value, element: ElementType, extents: Extents) -> Self {
        match value {
            Value::Uniform(bits) => Self::Uniform(*bits),
            _ => Self::Elements(value.elements(element.size(), extents), element.size()),
        }
    }

    pub(super) fn bits(&self, index: usize) -> u64 {
        match self {
            Self::Uniform(bits) => *bits,
            Self::Elements(bytes, size) => get(bytes, *size, index),
        }
    }
}

/// A tile whose element `i` has the bits `compute(i)`.
pub(super) fn tile(element: ElementType, extents: Extents, mut compute: impl FnMut(usize) -> u64) -> Value {
    let size = element.size();
    let mut bytes = vec![0; extents.iter().product::<usize>() * size];
    match size {
        1 => bytes.iter_mut().enumerate().for_each(|(i, to)| *to = compute(i) as u8),
        2 => bytes
            .chunks_exact_mut(2)
            .enumerate()
            .for_each(|(i, to)| put(to, 2, 0, compute(i))),
        4 => bytes
            .chunks_exact_mut(4)
            .enumerate()
            .for_each(|(i, to)| put(to, 4, 0, compute(i))),
        _ => bytes
            .chunks_exact_mut(8)
            .enumerate()
            .for_each(|(i, to)| put(to, 8, 0, compute(i))),
    }
    Value::dense(bytes, extents)
}

/// The bits of a result. The verifier has established that there is one.
fn bits(result: Option<Literal>) -> u64 {
    result.map_or(0, |literal| literal.bits)
}

/// `op` on each element.
pub(super) fn unary(op: UnaryOp, element: ElementType, extents: Extents, value: &Value) -> Value {
    let apply = |bits: u64| self::bits(arithmetic::unary(op, Literal { element, bits }));
    match (op, value) {
        (_, Value::Uniform(bits)) => Value::Uniform(apply(*bits)),
        (UnaryOp::Negate, Value::Affine { start, steps }) => Value::Affine {
            start: start.wrapping_neg(),
            steps: steps.map(i64::wrapping_neg),
        },
        _ => {
            let value = Operand::new(value, element, extents);
            tile(element, extents, |i| apply(value.bits(i)))
        }
    }
}

/// `op` on each pair of elements.
pub(super) fn binary(op: BinaryOp, element: ElementType, extents: Extents, left: &Value, right: &Value) -> Value {
    let apply = |l: u64, r: u64| {
        bits(arithmetic::binary(
            op,
            Literal { element, bits: l },
            Literal { element, bits: r },
        ))
    };
    if let (Value::Uniform(left), Value::Uniform(right)) = (left, right) {
        return Value::Uniform(apply(*left, *right));
    }
    if let Some(value) = affine(op, element, left, right) {
        return value;
    }
    let (left, right) = (
        Operand::new(left, element, extents),
        Operand::new(right, element, extents),
    );
    // The operation is a constant in each arm, so that it is not chosen anew for every element.
    macro_rules! specialised {
        ($($element:ident: $($op:ident)*;)*) => {
            match (element, op) {
                $($((ElementType::$element, BinaryOp::$op) => tile(element, extents, |i| {
                    let operand = |bits| Literal { element: ElementType::$element, bits };
                    bits(arithmetic::binary(BinaryOp::$op, operand(left.bits(i)), operand(right.bits(i))))
                }),)*)*
                _ => tile(element, extents, |i| apply(left.bits(i), right.bits(i))),
            }
        };
    }
    specialised! {
        I64: Add Subtract Multiply;
        F32: Add Subtract Multiply;
    }
}

/// The product of the first two operands, plus the third, of each three elements.
pub(super) fn mul_add(element: ElementType, extents: Extents, operands: [&Value; 3]) -> Value {
    let apply = |operands: [u64; 3]| {
        let [left, right, addend] = operands.map(|bits| Literal { element, bits });
        bits(arithmetic::mul_add(left, right, addend))
    };
    if let [Value::Uniform(left), Value::Uniform(right), Value::Uniform(addend)] = operands {
        return Value::Uniform(apply([*left, *right, *addend]));
    }
    let operands = operands.map(|value| Operand::new(value, element, extents));
    tile(element, extents, |i| {
        apply(operands.each_ref().map(|operand| operand.bits(i)))
    })
}

/// Sums, differences and scalar multiples of index tiles stay unevaluated. Wrapping makes them exact.
fn affine(op: BinaryOp, element: ElementType, left: &Value, right: &Value) -> Option<Value> {
    let ((l, l_steps), (r, r_steps)) = (left.as_affine(element)?, right.as_affine(element)?);
    let zip = |f: fn(i64, i64) -> i64| std::array::from_fn(|axis| f(l_steps[axis], r_steps[axis]));
    let scaled = |steps: [i64; 3], by: i64| steps.map(|step| step.wrapping_mul(by));
    let (start, steps) = match op {
        BinaryOp::Add => (l.wrapping_add(r), zip(i64::wrapping_add)),
        BinaryOp::Subtract => (l.wrapping_sub(r), zip(i64::wrapping_sub)),
        BinaryOp::Multiply if r_steps == [0; 3] => (l.wrapping_mul(r), scaled(l_steps, r)),
        BinaryOp::Multiply if l_steps == [0; 3] => (l.wrapping_mul(r), scaled(r_steps, l)),
        _ => return None,
    };
    Some(Value::Affine { start, steps })
}

/// `op` on each pair of elements, a bool.
pub(super) fn compare(op: CompareOp, element: ElementType, extents: Extents, left: &Value, right: &Value) -> Value {
    let apply = |l: u64, r: u64| {
        let result = arithmetic::compare(op, Literal { element, bits: l }, Literal { element, bits: r });
        u64::from(result.unwrap_or(false))
    };
    if let (Value::Uniform(left), Value::Uniform(right)) = (left, right) {
        return Value::Uniform(apply(*left, *right));
    }
    let (left, right) = (
        Operand::new(left, element, extents),
        Operand::new(right, element, extents),
    );
    tile(ElementType::Bool, extents, |i| apply(left.bits(i), right.bits(i)))
}

/// `accept` where `condition` holds, `reject` elsewhere.
pub(super) fn select(
    element: ElementType,
    extents: Extents,
    condition: &Value,
    accept: &Value,
    reject: &Value,
) -> Value {
    if let Value::Uniform(condition) = condition {
        return if *condition != 0 {
            accept.clone()
        } else {
            reject.clone()
        };
    }
    let condition = Operand::new(condition, ElementType::Bool, extents);
    let (accept, reject) = (
        Operand::new(accept, element, extents),
        Operand::new(reject, element, extents),
    );
    tile(element, extents, |i| {
        if condition.bits(i) != 0 {
            accept.bits(i)
        } else {
            reject.bits(i)
        }
    })
}

/// What the instructions mean, for each element.
pub(super) fn ptx(
    code: &Ptx,
    meaning: &Meaning,
    element: ElementType,
    extents: Extents,
    inputs: &[(&Value, ElementType)],
) -> Value {
    let operands: Vec<Operand<'_>> = inputs.iter().map(|(v, e)| Operand::new(v, *e, extents)).collect();
    let mut outputs = vec![0; code.outputs.len()];
    let mut apply = |i: usize| {
        let bits: Vec<u64> = operands.iter().map(|operand| operand.bits(i)).collect();
        meaning.compute(&bits, &mut outputs);
        outputs.get(code.output).copied().unwrap_or(0)
    };
    if operands.iter().all(|operand| matches!(operand, Operand::Uniform(_))) {
        return Value::Uniform(apply(0));
    }
    tile(element, extents, apply)
}

/// Each element converted to `to`.
pub(super) fn cast(from: ElementType, to: ElementType, extents: Extents, value: &Value) -> Value {
    convert(from, to, extents, value, arithmetic::cast)
}

/// The bits of each element as the type `to`.
pub(super) fn bitcast(from: ElementType, to: ElementType, extents: Extents, value: &Value) -> Value {
    convert(from, to, extents, value, arithmetic::bitcast)
}

fn convert(
    from: ElementType,
    to: ElementType,
    extents: Extents,
    value: &Value,
    conversion: impl Fn(Literal, ElementType) -> Option<Literal>,
) -> Value {
    if from == to {
        return value.clone();
    }
    let apply = |bits: u64| self::bits(conversion(Literal { element: from, bits }, to));
    match value {
        Value::Uniform(bits) => Value::Uniform(apply(*bits)),
        _ => {
            let value = Operand::new(value, from, extents);
            tile(to, extents, |i| apply(value.bits(i)))
        }
    }
}
