//! The typing rules of expressions.

use std::collections::BTreeSet;

use super::{Fault, VerifyError, access, atomic, shapes, tiles};
use crate::element::ElementType;
use crate::ir::{CacheHint, Expression, Kernel, List, Literal, ParameterKind, Ptx, Shape, Symbol, Type};

/// How much is shown of what stands where the name of an operand should.
const MAX_NAME: usize = 32;

pub(super) fn check(kernel: &Kernel) -> Result<(), VerifyError> {
    for (handle, expression) in kernel.expressions.iter() {
        let actual = infer(kernel, expression).map_err(|fault| fault.of(kernel, handle))?;
        let recorded = kernel.ty(handle);
        if actual != recorded {
            return Err(Fault::RecordedType { recorded, actual }.of(kernel, handle));
        }
    }
    Ok(())
}

/// The type that the typing rule of `expression` gives. Its operands exist and their recorded types are right.
pub(super) fn infer(kernel: &Kernel, expression: &Expression) -> Result<Type, Fault> {
    match expression {
        Expression::Literal(value) => literal(*value),
        Expression::Symbol(value) if kernel.bindings.exact(*value).is_some() => Err(Fault::BoundSymbol(*value)),
        Expression::Symbol(value) => symbol(kernel, *value).map(|()| Type::INDEX),
        Expression::Member { symbol: value, access } => {
            member_symbol(kernel, *value, access.tensor)?;
            access::member(kernel, access).map(|()| Type::INDEX)
        }
        Expression::Argument(position) => match kernel.parameters.get(*position as usize).map(|p| &p.kind) {
            Some(ParameterKind::Scalar(element)) => Ok(Type::scalar(*element)),
            _ => Err(Fault::ParameterKind {
                position: *position,
                expected: "scalar",
            }),
        },
        Expression::Induction(element) if element.is_integer() => Ok(Type::scalar(*element)),
        Expression::Induction(element) => Err(Fault::InductionElement(*element)),
        Expression::Arange(extent) => {
            let shape = Shape::new(&[*extent]).unwrap_or(Shape::SCALAR);
            shapes::shape(shape)?;
            Ok(Type {
                element: ElementType::I64,
                shape,
            })
        }
        Expression::Broadcast { value, shape } => {
            let ty = kernel.ty(*value);
            shapes::shape(*shape)?;
            match ty.shape.broadcast(*shape) {
                Some(common) if common == *shape => Ok(Type { shape: *shape, ..ty }),
                _ => Err(Fault::Broadcast {
                    from: ty.shape,
                    to: *shape,
                }),
            }
        }
        Expression::Reshape { value, shape } => {
            let ty = kernel.ty(*value);
            shapes::shape(*shape)?;
            if ty.shape.elements() != shape.elements() {
                return Err(Fault::Reshape {
                    from: ty.shape,
                    to: *shape,
                });
            }
            Ok(Type { shape: *shape, ..ty })
        }
        Expression::Permute { .. }
        | Expression::Slice { .. }
        | Expression::Concatenate { .. }
        | Expression::Take { .. } => tiles::rearranged(kernel, expression),
        Expression::Reduce { .. }
        | Expression::Scan { .. }
        | Expression::ArgSort { .. }
        | Expression::Histogram { .. } => tiles::collective(kernel, expression),
        Expression::Unary { op, value } => {
            let ty = kernel.ty(*value);
            defined(op.accepts(ty.element), op.name(), ty.element)?;
            Ok(ty)
        }
        Expression::Binary { op, left, right } => {
            let ty = equal(op.name(), kernel.ty(*left), kernel.ty(*right))?;
            defined(op.accepts(ty.element), op.name(), ty.element)?;
            Ok(ty)
        }
        Expression::MulAdd { left, right, addend } => {
            let product = equal("fma", kernel.ty(*left), kernel.ty(*right))?;
            let ty = equal("fma", product, kernel.ty(*addend))?;
            defined(ty.element.is_float(), "fma", ty.element)?;
            Ok(ty)
        }
        Expression::Compare { op, left, right } => {
            let ty = equal(op.name(), kernel.ty(*left), kernel.ty(*right))?;
            defined(op.accepts(ty.element), op.name(), ty.element)?;
            Ok(ty.with_element(ElementType::Bool))
        }
        Expression::Select {
            condition,
            accept,
            reject,
        } => {
            let operands = equal("select", kernel.ty(*accept), kernel.ty(*reject))?;
            let condition = kernel.ty(*condition);
            if condition != operands.with_element(ElementType::Bool) {
                return Err(Fault::SelectCondition { condition, operands });
            }
            Ok(operands)
        }
        Expression::Cast { value, to } => {
            let ty = kernel.ty(*value);
            Ok(ty.with_element(*to))
        }
        Expression::Bitcast { value, to } => {
            let ty = kernel.ty(*value);
            let bool = ty.element == ElementType::Bool || *to == ElementType::Bool;
            if bool || ty.element.size() != to.size() {
                return Err(Fault::Bitcast {
                    from: ty.element,
                    to: *to,
                });
            }
            Ok(ty.with_element(*to))
        }
        Expression::MultipleOf { value, by } => {
            let ty = kernel.ty(*value);
            match ty.element.integer_range() {
                Some((_, most)) if *by > 0 && i128::from(*by) <= most => Ok(ty),
                _ => Err(Fault::MultipleOf(ty, *by)),
            }
        }
        Expression::Ptx(code) => ptx(kernel, code),
        Expression::Local(local) => match kernel.locals.get(*local) {
            Some(local) => Ok(local.ty),
            None => Err(Fault::UnknownLocal(local.index())),
        },
        Expression::Load(load) => {
            access::cache(kernel, load, "load", CacheHint::is_for_loads)?;
            access::infer(kernel, load)
        }
        Expression::Atomic(operation) => atomic::infer(kernel, operation),
    }
}

fn ptx(kernel: &Kernel, code: &Ptx) -> Result<Type, Fault> {
    let Some(&element) = code.outputs.get(code.output) else {
        return Err(Fault::PtxOutput {
            outputs: code.outputs.len(),
            output: code.output,
        });
    };
    ptx_text(code)?;
    let inputs = code.inputs.iter().map(|&input| kernel.ty(input));
    let mut all = code.outputs.iter().copied().chain(inputs.clone().map(|ty| ty.element));
    if let Some(element) = all.find(|element| element.size() < 2) {
        return Err(Fault::PtxType(element));
    }
    let shape = inputs.clone().next().map_or(Shape::SCALAR, |ty| ty.shape);
    match inputs.map(|ty| ty.shape).find(|&other| other != shape) {
        Some(other) => Err(Fault::PtxShapes(shape, other)),
        None => Ok(Type { element, shape }),
    }
}

/// Checks that the text names operands that there are, and every output.
fn ptx_text(code: &Ptx) -> Result<(), Fault> {
    if code.text.contains('\0') {
        return Err(Fault::PtxZero);
    }
    let operands = code.outputs.len() + code.inputs.len();
    let mut unwritten: BTreeSet<usize> = (0..code.outputs.len()).collect();
    let mut rest = code.text.as_str();
    while let Some((_, behind)) = rest.split_once('%') {
        if let Some(behind) = behind.strip_prefix('%') {
            rest = behind;
            continue;
        }
        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        match behind[..end].parse::<usize>() {
            Ok(number) if number < operands => unwritten.remove(&number),
            _ => {
                let name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
                let found = behind.chars().take_while(name).take(MAX_NAME).collect();
                return Err(Fault::PtxOperand { found, operands });
            }
        };
        rest = &behind[end..];
    }
    match unwritten.first() {
        Some(&output) => Err(Fault::PtxUnwritten(output)),
        None => Ok(()),
    }
}

fn literal(value: Literal) -> Result<Type, Fault> {
    let limit = match value.element {
        ElementType::Bool => 1,
        element => u64::MAX >> (64 - element.bits()),
    };
    if value.bits > limit {
        return Err(Fault::LiteralBits {
            element: value.element,
            bits: value.bits,
        });
    }
    Ok(Type::scalar(value.element))
}

pub(super) fn symbol(kernel: &Kernel, symbol: Symbol) -> Result<(), Fault> {
    match symbol {
        Symbol::ProgramId(axis) | Symbol::NumPrograms(axis) if axis > 2 => Err(Fault::GridAxis(axis)),
        Symbol::ProgramId(_) | Symbol::NumPrograms(_) => Ok(()),
        Symbol::Extent { tensor, axis } => on_axis(kernel, tensor, axis).map(drop),
        Symbol::Stride { tensor, axis } => match on_axis(kernel, tensor, axis)? {
            Some(_) => Err(Fault::ListStride(symbol)),
            None => Ok(()),
        },
        Symbol::Count(position) => match kernel.parameters.get(position as usize).map(|p| &p.kind) {
            Some(ParameterKind::Count) => Ok(()),
            _ => Err(Fault::ParameterKind {
                position,
                expected: "count",
            }),
        },
    }
}

/// What there is of one tensor of a list.
fn member_symbol(kernel: &Kernel, symbol: Symbol, list: u32) -> Result<(), Fault> {
    match symbol {
        Symbol::Extent { tensor, axis } | Symbol::Stride { tensor, axis }
            if axis > 0 && tensor == list && on_axis(kernel, tensor, axis)?.is_some() =>
        {
            Ok(())
        }
        _ => Err(Fault::MemberSymbol(symbol)),
    }
}

/// Whether a tensor that has this axis is a list.
fn on_axis(kernel: &Kernel, tensor: u32, axis: u8) -> Result<Option<List>, Fault> {
    let (name, found) = access::tensor(kernel, tensor)?;
    if axis >= found.rank {
        return Err(Fault::TensorAxis {
            tensor: name.to_owned(),
            axis,
            rank: found.rank,
        });
    }
    Ok(found.list)
}

fn equal(operator: &'static str, left: Type, right: Type) -> Result<Type, Fault> {
    if left == right {
        Ok(left)
    } else {
        Err(Fault::OperandTypes { operator, left, right })
    }
}

fn defined(defined: bool, operator: &'static str, element: ElementType) -> Result<(), Fault> {
    if defined {
        Ok(())
    } else {
        Err(Fault::Operator { operator, element })
    }
}
