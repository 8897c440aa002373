//! The typing rules of operations that rearrange tiles or in which elements meet.

use super::{Fault, shapes, values};
use crate::element::{ElementKind, ElementType};
use crate::ir::{
    Bindings, Block, Combine, Expression, Function, Handle, Kernel, Parameter, ParameterKind, Reduction, Shape, Type,
};

/// The type of a permutation, slice, concatenation or take.
pub(super) fn rearranged(kernel: &Kernel, expression: &Expression) -> Result<Type, Fault> {
    match expression {
        Expression::Permute { value, axes } => {
            let ty = kernel.ty(*value);
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..ty.shape.rank() as u8) {
                return Err(Fault::Permutation {
                    axes: axes.to_vec(),
                    shape: ty.shape,
                });
            }
            let extents: Vec<u32> = axes.iter().map(|&axis| ty.shape.extents()[axis as usize]).collect();
            with_extents(ty, &extents)
        }
        Expression::Slice {
            value,
            axis,
            start,
            step,
            extent,
        } => {
            let ty = kernel.ty(*value);
            let own = extent_of(ty.shape, *axis, "slice")?;
            let last = i64::from(*start) + i64::from(*step) * (i64::from(*extent) - 1);
            if *extent == 0 || *start >= own || !(0..i64::from(own)).contains(&last) {
                return Err(Fault::Slice {
                    start: *start,
                    step: *step,
                    extent: *extent,
                    axis: *axis,
                    shape: ty.shape,
                });
            }
            resized(ty, *axis, *extent)
        }
        Expression::Concatenate { left, right, axis } => {
            let (l, r) = (kernel.ty(*left), kernel.ty(*right));
            let fault = || Fault::Concatenate {
                left: l,
                right: r,
                axis: *axis,
            };
            let (own, other) = (
                extent_of(l.shape, *axis, "concatenate")?,
                extent_of(r.shape, *axis, "concatenate")?,
            );
            let sum = own.checked_add(other).ok_or_else(fault)?;
            if l.element != r.element || resized(l, *axis, other)? != r {
                return Err(fault());
            }
            resized(l, *axis, sum)
        }
        Expression::Take { value, index, axis } => {
            let (ty, by) = (kernel.ty(*value), kernel.ty(*index));
            extent_of(ty.shape, *axis, "take")?;
            let along = extent_of(by.shape, *axis, "take")?;
            if by.element != ElementType::I64 || resized(ty, *axis, along)?.shape != by.shape {
                return Err(Fault::Take {
                    value: ty,
                    index: by,
                    axis: *axis,
                });
            }
            Ok(ty.with_shape(by.shape))
        }
        _ => Err(Fault::NotATile),
    }
}

/// The type of a reduction, scan, sort or histogram.
pub(super) fn collective(kernel: &Kernel, expression: &Expression) -> Result<Type, Fault> {
    match expression {
        Expression::Reduce { value, axis, reduction } => {
            let ty = kernel.ty(*value);
            extent_of(ty.shape, *axis, "reduce")?;
            let element = match reduction {
                Reduction::Combine(combine) => {
                    combines(combine, ty.element)?;
                    ty.element
                }
                Reduction::ArgMin | Reduction::ArgMax => {
                    ordered("argmin or argmax", ty.element)?;
                    ElementType::I64
                }
            };
            let mut extents = ty.shape.extents().to_vec();
            extents.remove(*axis as usize);
            with_extents(ty.with_element(element), &extents)
        }
        Expression::Scan { value, axis, combine } => {
            let ty = kernel.ty(*value);
            extent_of(ty.shape, *axis, "scan")?;
            combines(combine, ty.element)?;
            Ok(ty)
        }
        Expression::ArgSort { value, axis, .. } => {
            let ty = kernel.ty(*value);
            extent_of(ty.shape, *axis, "argsort")?;
            ordered("argsort", ty.element)?;
            Ok(ty.with_element(ElementType::I64))
        }
        Expression::Histogram { value, mask, bins } => {
            let ty = kernel.ty(*value);
            if !ty.element.is_integer() || ty.is_scalar() {
                return Err(Fault::HistogramOf(ty));
            }
            if let Some(mask) = mask.map(|mask| kernel.ty(mask))
                && mask != ty.with_element(ElementType::Bool)
            {
                return Err(Fault::HistogramMask { mask, value: ty });
            }
            let shape = Shape::new(&[*bins]).unwrap_or(Shape::SCALAR);
            shapes::shape(shape)?;
            Ok(Type {
                element: ElementType::I32,
                shape,
            })
        }
        _ => Err(Fault::NotATile),
    }
}

fn extent_of(shape: Shape, axis: u8, operation: &'static str) -> Result<u32, Fault> {
    let extent = shape.extents().get(axis as usize);
    extent.copied().ok_or(Fault::Axis { operation, axis, shape })
}

fn with_extents(ty: Type, extents: &[u32]) -> Result<Type, Fault> {
    let shape = Shape::new(extents).unwrap_or(Shape::SCALAR);
    shapes::shape(shape)?;
    Ok(ty.with_shape(shape))
}

/// `ty` with another extent on one of its axes.
fn resized(ty: Type, axis: u8, extent: u32) -> Result<Type, Fault> {
    let mut extents = ty.shape.extents().to_vec();
    if let Some(own) = extents.get_mut(axis as usize) {
        *own = extent;
    }
    with_extents(ty, &extents)
}

fn ordered(operation: &'static str, element: ElementType) -> Result<(), Fault> {
    match element.kind() {
        ElementKind::Signed | ElementKind::Unsigned | ElementKind::Float => Ok(()),
        ElementKind::Bool | ElementKind::Storage => Err(Fault::Operator {
            operator: operation,
            element,
        }),
    }
}

fn combines(combine: &Combine, element: ElementType) -> Result<(), Fault> {
    match combine {
        Combine::Operator(op) if !op.is_associative() => Err(Fault::NotAssociative(op.name())),
        Combine::Operator(op) if op.accepts(element) => Ok(()),
        Combine::Operator(op) => Err(Fault::Operator {
            operator: op.name(),
            element,
        }),
        Combine::Function(function) if function.element == element => self::function(function),
        Combine::Function(function) => Err(Fault::FunctionElement {
            function: function.element,
            element,
        }),
    }
}

/// Checks a combining function as if it were the body of a kernel with two scalar parameters.
fn function(function: &Function) -> Result<(), Fault> {
    let count = function.expressions.len();
    if count > Function::MAX_EXPRESSIONS {
        return Err(Fault::FunctionLength { count });
    }
    if function.types.len() != count || function.result.index() >= count {
        return Err(Fault::FunctionArena);
    }
    let operand = |name: &str| Parameter {
        name: name.to_owned(),
        kind: ParameterKind::Scalar(function.element),
    };
    let body = Kernel {
        name: String::new(),
        span: crate::ir::Span::UNKNOWN,
        parameters: vec![operand("a"), operand("b")],
        expressions: function.expressions.clone(),
        types: function.types.clone(),
        spans: vec![crate::ir::Span::UNKNOWN; count],
        locals: Default::default(),
        grid: Vec::new(),
        requirements: Vec::new(),
        body: Block::new(),
        bindings: Bindings::default(),
        checked: false,
        denies_guards: false,
        reports: false,
    };
    for (handle, expression) in body.expressions.iter() {
        let mut backward = true;
        expression.for_each_operand(|operand: Handle<Expression>| backward &= operand < handle);
        if !backward || !Function::allows(expression) || !body.ty(handle).is_scalar() {
            return Err(Fault::FunctionBody(handle.index()));
        }
        let actual = values::infer(&body, expression)?;
        let recorded = body.ty(handle);
        if actual != recorded {
            return Err(Fault::RecordedType { recorded, actual });
        }
    }
    let result = body.ty(function.result).element;
    if result != function.element {
        return Err(Fault::FunctionResult {
            result,
            element: function.element,
        });
    }
    Ok(())
}
