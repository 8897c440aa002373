//! The arguments of a run.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::{ArgumentFault, HostMemory, InterpretError, Known};
use crate::element::ElementType;
use crate::ir::canonical_strides;
use crate::ir::{Kernel, Layout, List, Literal, Parameter, ParameterKind, Symbol, TensorParameter};

/// The argument of one parameter.
#[derive(Debug, Clone)]
pub enum HostArgument<'a> {
    /// A tensor.
    Tensor(HostTensor<'a>),
    /// A list of tensors.
    List(Vec<HostTensor<'a>>),
    /// A count.
    Count(i64),
    /// Any other scalar.
    Scalar(Literal),
}

/// The argument of a tensor parameter, or one tensor of a list.
#[derive(Debug, Clone)]
pub struct HostTensor<'a> {
    /// The memory it lies in.
    pub memory: &'a HostMemory,
    /// Bytes from the start of the memory to the first element.
    pub offset: u64,
    /// The extents, outermost first.
    pub extents: ArrayVec<u64, 4>,
    /// The distance in elements between neighbours on each axis.
    pub strides: ArrayVec<i64, 4>,
}

impl<'a> HostArgument<'a> {
    /// A row-major tensor without gaps at the start of `memory`; extents after the fourth are left out.
    pub fn contiguous(memory: &'a HostMemory, extents: &[u64]) -> Self {
        Self::Tensor(HostTensor::contiguous(memory, extents))
    }

    /// The value that this argument gives a symbol of its parameter.
    fn symbol(&self, symbol: Symbol) -> Option<i64> {
        match (self, symbol) {
            (Self::Tensor(tensor), Symbol::Extent { axis, .. }) => tensor.extent(axis as usize),
            (Self::Tensor(tensor), Symbol::Stride { axis, .. }) => tensor.strides.get(axis as usize).copied(),
            (Self::List(tensors), Symbol::Extent { axis: 0, .. }) => i64::try_from(tensors.len()).ok(),
            (Self::List(tensors), Symbol::Extent { axis, .. }) => {
                let mut extents = tensors.iter().map(|tensor| tensor.extent(axis as usize - 1));
                extents.try_fold(0, |most, extent| Some(extent?.max(most)))
            }
            (Self::Count(count), Symbol::Count(_)) => Some(*count),
            _ => None,
        }
    }
}

impl<'a> HostTensor<'a> {
    /// A row-major tensor without gaps at the start of `memory`; extents after the fourth are left out.
    pub fn contiguous(memory: &'a HostMemory, extents: &[u64]) -> Self {
        let extents: ArrayVec<u64, 4> = extents.iter().copied().take(4).collect();
        Self {
            memory,
            offset: 0,
            strides: row_major(&extents),
            extents,
        }
    }

    fn extent(&self, axis: usize) -> Option<i64> {
        let extent = self.extents.get(axis)?;
        Some((*extent).min(i64::MAX as u64) as i64)
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
    /// The byte behind the highest element; of no elements, where that would start.
    pub end: i64,
    pub extents: ArrayVec<i64, 4>,
    /// Bytes between neighbours on each axis; 0 for an axis that has no two elements.
    pub strides: ArrayVec<i64, 4>,
}

impl Tensor<'_> {
    /// Where its bytes are in the process, if it has elements.
    pub fn bytes(&self) -> Option<Range<usize>> {
        let base = self.memory.as_ptr().addr();
        let range = base + self.lowest as usize..base + self.end as usize;
        (!self.extents.contains(&0)).then_some(range)
    }

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
    bindings: Vec<HostArgument<'a>>,
    /// By place: first those of the parameters, by position, then those of the lists.
    tensors: Vec<Option<Tensor<'a>>>,
    /// Of each parameter that is a list, the places of its tensors.
    lists: Vec<Range<usize>>,
}

impl<'k, 'a> Arguments<'k, 'a> {
    pub fn check(kernel: &'k Kernel, bindings: &[HostArgument<'a>]) -> Result<Self, InterpretError> {
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
        let mut tensors = vec![None; bindings.len()];
        let mut lists = Vec::with_capacity(bindings.len());
        for (position, (parameter, binding)) in kernel.parameters.iter().zip(&mut bindings).enumerate() {
            let first = tensors.len();
            let found = check(&parameter.kind, binding).map_err(|f| fault(parameter, f))?;
            match binding {
                HostArgument::Tensor(_) => tensors[position] = found.into_iter().next(),
                _ => tensors.extend(found.into_iter().map(Some)),
            }
            lists.push(first..tensors.len());
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
                (Symbol::Stride { axis, .. }, HostArgument::Tensor(tensor)) => {
                    tensor.extents.get(axis as usize).is_some_and(|&extent| extent <= 1)
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
            lists,
        })
    }

    /// How many places there are.
    pub fn places(&self) -> u32 {
        self.tensors.len() as u32
    }

    /// The tensor at a place.
    pub fn tensor(&self, place: u32) -> Option<&Tensor<'a>> {
        self.tensors.get(place as usize)?.as_ref()
    }

    /// How many tensors the list at `position` has.
    pub fn members(&self, position: u32) -> usize {
        self.lists.get(position as usize).map_or(0, Range::len)
    }

    /// The place of one tensor of the list at `position`.
    pub fn member(&self, position: u32, index: i64) -> Option<u32> {
        let place = self
            .lists
            .get(position as usize)?
            .clone()
            .nth(usize::try_from(index).ok()?)?;
        u32::try_from(place).ok()
    }

    /// An extent or stride of one tensor of a list.
    pub fn of_member(&self, symbol: Symbol, index: i64) -> Option<i64> {
        let (Symbol::Extent { tensor, axis } | Symbol::Stride { tensor, axis }) = symbol else {
            return None;
        };
        let Some(HostArgument::List(tensors)) = self.bindings.get(tensor as usize) else {
            return None;
        };
        let (member, axis) = (
            tensors.get(usize::try_from(index).ok()?)?,
            usize::from(axis).checked_sub(1)?,
        );
        match symbol {
            Symbol::Stride { .. } => member.strides.get(axis).copied(),
            _ => member.extent(axis),
        }
    }

    /// The name of the parameter that the tensor at a place is the argument of; of one of a list, with its number.
    pub fn name(&self, place: u32) -> String {
        let place = place as usize;
        let list = self.lists.iter().position(|places| places.contains(&place));
        let name = |position: usize| self.kernel.parameters.get(position).map(|p| p.name.clone());
        match list {
            Some(position) => {
                let number = place - self.lists[position].start;
                format!("{}[{number}]", name(position).unwrap_or_default())
            }
            None => name(place).unwrap_or_default(),
        }
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
            Some(HostArgument::Scalar(literal)) => Some(*literal),
            _ => None,
        }
    }
}

/// Checks one argument, and gives tensors their canonical strides; returns them.
fn check<'a>(kind: &ParameterKind, binding: &mut HostArgument<'a>) -> Result<Vec<Tensor<'a>>, ArgumentFault> {
    match (kind, binding) {
        (ParameterKind::Tensor(parameter @ TensorParameter { list: None, .. }), HostArgument::Tensor(argument)) => {
            Ok(vec![tensor(parameter, parameter.rank, argument)?])
        }
        (
            ParameterKind::Tensor(
                parameter @ TensorParameter {
                    list: Some(List { shared, .. }),
                    ..
                },
            ),
            HostArgument::List(arguments),
        ) => {
            let one = |argument| tensor(parameter, parameter.rank - 1, argument);
            let tensors = arguments.iter_mut().map(one).collect::<Result<Vec<_>, _>>()?;
            for axis in (0..shared.len() - 1).filter(|axis| shared[axis + 1]) {
                let differs = tensors
                    .windows(2)
                    .find(|pair| pair[0].extents[axis] != pair[1].extents[axis]);
                if let Some([one, other]) = differs {
                    let (one, other) = (one.extents[axis], other.extents[axis]);
                    return Err(ArgumentFault::Shared { axis, one, other });
                }
            }
            Ok(tensors)
        }
        (ParameterKind::Count, HostArgument::Count(count)) if *count >= 0 => Ok(Vec::new()),
        (ParameterKind::Count, HostArgument::Count(count)) => Err(ArgumentFault::Count(i128::from(*count))),
        (ParameterKind::Scalar(expected), HostArgument::Scalar(literal)) if literal.element == *expected => {
            // Bits beyond the type's width are no part of the value.
            literal.bits &= u64::MAX >> (64 - expected.bits());
            if *expected == ElementType::Bool {
                literal.bits = u64::from(literal.as_bool());
            }
            Ok(Vec::new())
        }
        (ParameterKind::Scalar(expected), HostArgument::Scalar(literal)) => Err(ArgumentFault::Element {
            expected: *expected,
            found: literal.element,
        }),
        (ParameterKind::Tensor(TensorParameter { list: Some(_), .. }), _) => {
            Err(ArgumentFault::Kind("list of tensors"))
        }
        (ParameterKind::Tensor(_), _) => Err(ArgumentFault::Kind("tensor")),
        (ParameterKind::Count, _) => Err(ArgumentFault::Kind("count")),
        (ParameterKind::Scalar(_), _) => Err(ArgumentFault::Kind("scalar")),
    }
}

fn tensor<'a>(
    parameter: &TensorParameter,
    rank: u8,
    argument: &mut HostTensor<'a>,
) -> Result<Tensor<'a>, ArgumentFault> {
    let HostTensor {
        memory,
        offset,
        extents,
        strides,
    } = argument;
    let (memory, offset, size) = (*memory, *offset, parameter.element.size());
    if extents.len() != rank as usize || strides.len() != rank as usize {
        return Err(ArgumentFault::Rank {
            expected: rank,
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
        end: end as i64,
        extents: extents.iter().map(|&extent| extent as i64).collect(),
        strides: steps,
    })
}

/// Checks that strides are what the variant was compiled for. That of an axis without neighbours is free, but what is made of it, an
/// index beyond the axis is multiplied by.
fn layout(layout: Layout, extents: &[u64], strides: &mut ArrayVec<i64, 4>) -> Result<(), ArgumentFault> {
    let implied = row_major(extents);
    let last = extents.len().saturating_sub(1);
    let empty = extents.contains(&0);
    let allowed = |axis: usize, stride: i64| match layout {
        Layout::Rows { multiple } if axis < last => stride % i64::from(multiple) == 0,
        _ if empty || extents[axis] == 1 => true,
        Layout::Contiguous => stride == implied[axis],
        Layout::Rows { .. } => stride == 1,
        Layout::Strided => true,
    };
    canonical_strides(extents, strides);
    match strides.iter().enumerate().all(|(axis, &stride)| allowed(axis, stride)) {
        true => Ok(()),
        false => Err(ArgumentFault::Layout(layout)),
    }
}
