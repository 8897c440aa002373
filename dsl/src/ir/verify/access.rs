//! Loads and stores.

use super::Fault;
use crate::element::ElementType;
use crate::ir::{Access, Bounds, CacheHint, Expression, Handle, Kernel, ParameterKind, Shape, TensorParameter, Type};

/// The tensor parameter at `position` and its name.
pub(super) fn tensor(kernel: &Kernel, position: u32) -> Result<(&str, &TensorParameter), Fault> {
    let parameter = kernel.parameters.get(position as usize);
    match parameter.map(|p| (&p.name, &p.kind)) {
        Some((name, ParameterKind::Tensor(tensor))) => Ok((name, tensor)),
        _ => Err(Fault::ParameterKind {
            position,
            expected: "tensor",
        }),
    }
}

/// The type of what `access` reads or writes.
pub(super) fn infer(kernel: &Kernel, access: &Access) -> Result<Type, Fault> {
    if let Some(&index) = access.indices.first()
        && let (name, TensorParameter { list: Some(_), .. }) = tensor(kernel, access.tensor)?
        && !kernel.ty(index).is_scalar()
    {
        return Err(Fault::ListIndex {
            tensor: name.to_owned(),
            shape: kernel.ty(index).shape,
        });
    }
    of_any(kernel, access)
}

/// As [`infer`], of an access that may be to several tensors of a list.
pub(super) fn of_any(kernel: &Kernel, access: &Access) -> Result<Type, Fault> {
    let (name, tensor) = tensor(kernel, access.tensor)?;
    let named = || name.to_owned();
    if access.indices.len() != tensor.rank as usize {
        return Err(Fault::IndexCount {
            tensor: named(),
            rank: tensor.rank,
            found: access.indices.len(),
        });
    }
    if access.guards.len() != tensor.rank as usize {
        return Err(Fault::GuardCount {
            tensor: named(),
            rank: tensor.rank,
            found: access.guards.len(),
        });
    }
    if access.bounds == Bounds::Unchecked && access.is_guarded() {
        return Err(Fault::UncheckedGuards(named()));
    }
    let mut shape = Shape::SCALAR;
    for (axis, &index) in access.indices.iter().enumerate() {
        let ty = kernel.ty(index);
        if !ty.element.is_integer() {
            return Err(Fault::IndexElement {
                tensor: named(),
                axis,
                element: ty.element,
            });
        }
        let fault = || Fault::IndexShapes {
            tensor: named(),
            left: shape,
            right: ty.shape,
        };
        shape = shape.broadcast(ty.shape).ok_or_else(fault)?;
    }
    super::shapes::shape(shape)?;
    if let Some(mask) = access.mask {
        let mask = kernel.ty(mask);
        if mask
            != (Type {
                element: ElementType::Bool,
                shape,
            })
        {
            return Err(Fault::MaskType {
                tensor: named(),
                mask,
                shape,
            });
        }
    }
    Ok(Type {
        element: tensor.element,
        shape,
    })
}

/// Checks an access that names one tensor of a list, and none of its elements.
pub(super) fn member(kernel: &Kernel, access: &Access) -> Result<(), Fault> {
    let tensor = || tensor(kernel, access.tensor).map(|(name, _)| name.to_owned());
    let (found, plain) = (access.indices.len(), access.mask.is_none() && access.cache.is_none());
    match (access.indices.as_slice(), access.guards.as_slice()) {
        (&[index], [_]) if plain => match kernel.ty(index) {
            Type::INDEX if access.bounds == Bounds::Unchecked && access.is_guarded() => {
                Err(Fault::UncheckedGuards(tensor()?))
            }
            Type::INDEX => Ok(()),
            found => Err(Fault::MemberIndex(found)),
        },
        _ => Err(Fault::MemberAccess {
            tensor: tensor()?,
            found,
        }),
    }
}

/// Checks that an access of this kind can have its cache hint.
pub(super) fn cache(
    kernel: &Kernel,
    access: &Access,
    what: &'static str,
    has: fn(CacheHint) -> bool,
) -> Result<(), Fault> {
    match access.cache {
        Some(hint) if !has(hint) => Err(Fault::CacheHint(
            what,
            tensor(kernel, access.tensor)?.0.to_owned(),
            hint,
        )),
        _ => Ok(()),
    }
}

/// Checks a store of `value` through `access`.
pub(super) fn store(kernel: &Kernel, access: &Access, value: Handle<Expression>) -> Result<(), Fault> {
    let expected = infer(kernel, access)?;
    cache(kernel, access, "store", CacheHint::is_for_stores)?;
    let (name, tensor) = tensor(kernel, access.tensor)?;
    if !tensor.mutable {
        return Err(Fault::ImmutableStore(name.to_owned()));
    }
    let value = kernel.ty(value);
    if value != expected {
        return Err(Fault::StoreType {
            tensor: name.to_owned(),
            value,
            expected,
        });
    }
    Ok(())
}
