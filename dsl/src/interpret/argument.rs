//! The arguments of a run.

use arrayvec::ArrayVec;

use super::{ArgumentFault, HostMemory, InterpretError, Known};
use crate::call::canonical_strides;
use crate::element::ElementType;
use crate::ir::{Kernel, Layout, Literal, Parameter, ParameterKind, Symbol, TensorParameter};

/// The argument of one parameter.
#[derive(Debug, Clone)]
pub enum Binding<'a> {
    /// A tensor.
    Tensor {
        /// The memory it lies in.
        memory: &'a HostMemory,
        /// Bytes from the start of the memory to the first element.
        offset: u64,
        /// The extents, outermost first.
        extents: ArrayVec<u64, 4>,
        /// The distance in elements between neighbours on each axis.
        strides: ArrayVec<i64, 4>,
    },
    /// A count.
    Count(i64),
    /// Any other scalar.
    Scalar(Literal),
}

impl<'a> Binding<'a> {
    /// A row-major tensor without gaps at the start of `memory`; extents after the fourth are left out.
    pub fn contiguous(memory: &'a HostMemory, extents: &[u64]) -> Self {
        let extents: ArrayVec<u64, 4> = extents.iter().copied().take(4).collect();
        let strides = row_major(&extents);
        Self::Tensor {
            memory,
            offset: 0,
            extents,
            strides,
        }
    }

    /// The value that this argument gives a symbol of its parameter.
    fn symbol(&self, symbol: Symbol) -> Option<i64> {
        match (self, symbol) {
            (Self::Tensor { extents, .. }, Symbol::Extent { axis, .. }) => extents
                .get(axis as usize)
                .map(|&extent| extent.min(i64::MAX as u64) as i64),
            (Self::Tensor { strides, .. }, Symbol::Stride { axis, .. }) => strides.get(axis as usize).copied(),
            (Self::Count(count), Symbol::Count(_)) => Some(*count),
            _ => None,
        }
    }
}

/// The strides of a row-major tensor without gaps.
fn row_major(extents: &[u64]) -> ArrayVec<i64, 4> {
    let mut strides: ArrayVec<i64, 4> = extents.iter().map(|_| 1).take(4).collect();
    for axis in (1..strides.len()).rev() {
        let extent = extents[axis].min(i64::MAX as u64) as i64;
        strides[axis - 1] = strides[axis].saturating_mul(extent);
    }
    strides
}

/// A tensor argument that fits its parameter: every element is inside the memory.
#[derive(Debug, Clone)]
pub(super) struct Tensor<'a> {
    pub memory: &'a HostMemory,
    /// The byte where the first element starts.
    pub origin: i64,
    /// The byte where the lowest element starts.
    pub lowest: i64,
    pub extents: ArrayVec<i64, 4>,
    /// Bytes between neighbours on each axis; 0 for an axis that has no two elements.
    pub strides: ArrayVec<i64, 4>,
}

impl Tensor<'_> {
    /// The index of the element that contains the byte at `address`; where elements overlap, of one of them.
    pub fn element(&self, address: i64) -> ArrayVec<u64, 4> {
        let mut axes: ArrayVec<usize, 4> = (0..self.extents.len()).collect();
        axes.sort_by_key(|&axis| std::cmp::Reverse(self.strides[axis].unsigned_abs()));
        let mut rest = address.saturating_sub(self.lowest).max(0) as u64;
        let mut element: ArrayVec<u64, 4> = self.extents.iter().map(|_| 0).collect();
        for axis in axes {
            let stride = self.strides[axis].unsigned_abs();
            let last = (self.extents[axis] as u64).saturating_sub(1);
            let steps = rest.checked_div(stride).unwrap_or(0).min(last);
            rest -= steps * stride;
            element[axis] = if self.strides[axis] < 0 { last - steps } else { steps };
        }
        element
    }
}

/// The arguments of a run, checked against the parameters.
pub(super) struct Arguments<'k, 'a> {
    kernel: &'k Kernel,
    bindings: Vec<Binding<'a>>,
    tensors: Vec<Option<Tensor<'a>>>,
}

impl<'k, 'a> Arguments<'k, 'a> {
    pub fn check(kernel: &'k Kernel, bindings: &[Binding<'a>]) -> Result<Self, InterpretError> {
        if bindings.len() != kernel.parameters.len() {
            return Err(InterpretError::ArgumentCount {
                kernel: kernel.name.clone(),
                expected: kernel.parameters.len(),
                found: bindings.len(),
            });
        }
        let fault = |parameter: &Parameter, fault| InterpretError::Argument {
            kernel: kernel.name.clone(),
            parameter: parameter.name.clone(),
            fault,
        };
        let mut bindings = bindings.to_vec();
        let mut tensors = Vec::with_capacity(bindings.len());
        for (parameter, binding) in kernel.parameters.iter().zip(&mut bindings) {
            tensors.push(check(&parameter.kind, binding).map_err(|f| fault(parameter, f))?);
        }
        for &(symbol, expected) in &kernel.bindings.exact {
            let position = match symbol {
                Symbol::Extent { tensor, .. } | Symbol::Stride { tensor, .. } => tensor,
                Symbol::Count(position) => position,
                Symbol::ProgramId(_) | Symbol::NumPrograms(_) => continue,
            } as usize;
            let Some((binding, parameter)) = bindings.get(position).zip(kernel.parameters.get(position)) else {
                continue;
            };
            // The stride of an axis without neighbours means nothing.
            let free = match (symbol, binding) {
                (Symbol::Stride { axis, .. }, Binding::Tensor { extents, .. }) => {
                    extents.get(axis as usize).is_some_and(|&extent| extent <= 1)
                }
                _ => false,
            };
            match binding.symbol(symbol) {
                Some(found) if found != expected && !free => {
                    return Err(fault(
                        parameter,
                        ArgumentFault::Bound {
                            symbol,
                            expected,
                            found,
                        },
                    ));
                }
                _ => {}
            }
        }
        Ok(Self {
            kernel,
            bindings,
            tensors,
        })
    }

    /// The tensor argument at `position`.
    pub fn tensor(&self, position: u32) -> Option<&Tensor<'a>> {
        self.tensors.get(position as usize)?.as_ref()
    }

    /// The name of the parameter at `position`.
    pub fn name(&self, position: u32) -> String {
        self.kernel
            .parameters
            .get(position as usize)
            .map(|p| p.name.clone())
            .unwrap_or_default()
    }
}

impl Known for Arguments<'_, '_> {
    fn symbol(&self, symbol: Symbol) -> Option<i64> {
        let position = match symbol {
            Symbol::Extent { tensor, .. } | Symbol::Stride { tensor, .. } => tensor,
            Symbol::Count(position) => position,
            Symbol::ProgramId(_) | Symbol::NumPrograms(_) => return None,
        };
        self.bindings.get(position as usize)?.symbol(symbol)
    }

    fn scalar(&self, position: u32) -> Option<Literal> {
        match self.bindings.get(position as usize) {
            Some(Binding::Scalar(literal)) => Some(*literal),
            _ => None,
        }
    }
}

/// Checks one argument, and gives a tensor its canonical strides.
fn check<'a>(kind: &ParameterKind, binding: &mut Binding<'a>) -> Result<Option<Tensor<'a>>, ArgumentFault> {
    match (kind, binding) {
        (
            ParameterKind::Tensor(parameter),
            Binding::Tensor {
                memory,
                offset,
                extents,
                strides,
            },
        ) => tensor(parameter, memory, *offset, extents, strides).map(Some),
        (ParameterKind::Count, Binding::Count(count)) if *count >= 0 => Ok(None),
        (ParameterKind::Count, Binding::Count(count)) => Err(ArgumentFault::Count(i128::from(*count))),
        (ParameterKind::Scalar(expected), Binding::Scalar(literal)) if literal.element == *expected => {
            // Bits beyond the type's width are no part of the value.
            literal.bits &= u64::MAX >> (64 - expected.bits());
            if *expected == ElementType::Bool {
                literal.bits = u64::from(literal.as_bool());
            }
            Ok(None)
        }
        (ParameterKind::Scalar(expected), Binding::Scalar(literal)) => Err(ArgumentFault::Element {
            expected: *expected,
            found: literal.element,
        }),
        (ParameterKind::Tensor(_), _) => Err(ArgumentFault::Kind("tensor")),
        (ParameterKind::Count, _) => Err(ArgumentFault::Kind("count")),
        (ParameterKind::Scalar(_), _) => Err(ArgumentFault::Kind("scalar")),
    }
}

fn tensor<'a>(
    parameter: &TensorParameter,
    memory: &'a HostMemory,
    offset: u64,
    extents: &ArrayVec<u64, 4>,
    strides: &mut ArrayVec<i64, 4>,
) -> Result<Tensor<'a>, ArgumentFault> {
    let (rank, size) = (parameter.rank as usize, parameter.element.size());
    if extents.len() != rank || strides.len() != rank {
        return Err(ArgumentFault::Rank {
            expected: parameter.rank,
            extents: extents.len(),
            strides: strides.len(),
        });
    }
    if let Some(&extent) = extents.iter().find(|&&extent| i64::try_from(extent).is_err()) {
        return Err(ArgumentFault::Count(i128::from(extent)));
    }
    if !offset.is_multiple_of(size as u64) {
        return Err(ArgumentFault::Misaligned { offset, size });
    }
    layout(parameter.layout, extents, strides)?;
    let empty = extents.contains(&0);
    let (mut first, mut end) = (i128::from(offset), i128::from(offset));
    let mut steps: ArrayVec<i64, 4> = ArrayVec::new();
    for (&extent, &stride) in extents.iter().zip(strides.iter()) {
        let moves = extent > 1 && !empty;
        let reach = if moves {
            (i128::from(extent) - 1).saturating_mul(i128::from(stride) * size as i128)
        } else {
            0
        };
        let edge = if reach < 0 { &mut first } else { &mut end };
        *edge = edge.saturating_add(reach);
        // Inside the memory, as the check below establishes, so it does not wrap where it matters.
        steps.push(if moves { stride.wrapping_mul(size as i64) } else { 0 });
    }
    let end = if empty { end } else { end.saturating_add(size as i128) };
    if !empty && (first < 0 || end > i128::from(memory.len())) {
        return Err(ArgumentFault::OutsideMemory {
            first,
            end,
            available: memory.len(),
        });
    }
    Ok(Tensor {
        memory,
        origin: offset as i64,
        lowest: first as i64,
        extents: extents.iter().map(|&extent| extent as i64).collect(),
        strides: steps,
    })
}

/// Checks that strides are what the variant was compiled for. The stride of an axis without neighbours is free.
fn layout(layout: Layout, extents: &[u64], strides: &mut ArrayVec<i64, 4>) -> Result<(), ArgumentFault> {
    let implied = row_major(extents);
    let last = extents.len().saturating_sub(1);
    let empty = extents.contains(&0);
    let allowed = |axis: usize, stride: i64| {
        empty
            || extents[axis] == 1
            || match layout {
                Layout::Contiguous => stride == implied[axis],
                Layout::Rows { .. } if axis == last => stride == 1,
                Layout::Rows { multiple } => stride % i64::from(multiple) == 0,
                Layout::Strided => true,
            }
    };
    if !strides.iter().enumerate().all(|(axis, &stride)| allowed(axis, stride)) {
        return Err(ArgumentFault::Layout(layout));
    }
    canonical_strides(extents, strides);
    Ok(())
}
