//! Parameters and how their symbols are bound.

use std::collections::BTreeSet;

use super::{Fault, VerifyError, values};
use crate::element::ElementType;
use crate::ir::{Kernel, Layout, List, ParameterKind, Symbol};

pub(super) fn check(kernel: &Kernel) -> Result<(), VerifyError> {
    let mut names = BTreeSet::new();
    for (position, parameter) in kernel.parameters.iter().enumerate() {
        let name = || parameter.name.clone();
        if !names.insert(&parameter.name) {
            return Err(Fault::DuplicateParameter(name()).at(kernel.span));
        }
        let ParameterKind::Tensor(tensor) = &parameter.kind else {
            continue;
        };
        let fault = if !(1..=4).contains(&tensor.rank) {
            Fault::TensorRank {
                name: name(),
                rank: tensor.rank,
            }
        } else if let Some(List { shared, .. }) = tensor.list
            && (tensor.rank < 2
                || (0..)
                    .zip(shared)
                    .any(|(axis, shared)| shared && !(1..tensor.rank).contains(&axis)))
        {
            Fault::List {
                name: name(),
                rank: tensor.rank,
                shared,
            }
        } else if tensor.list.is_some_and(|list| list.peers)
            && kernel.parameters.get(position + 1).map(|next| &next.kind) != Some(&ParameterKind::Count)
        {
            Fault::PeersWithoutRank(name())
        } else if !tensor.alignment.is_power_of_two() || (tensor.alignment as usize) < tensor.element.size() {
            Fault::Alignment {
                name: name(),
                element: tensor.element,
                alignment: tensor.alignment,
            }
        } else if matches!(tensor.layout, Layout::Rows { multiple: 0 }) {
            Fault::RowMultiple {
                name: name(),
                layout: tensor.layout,
            }
        } else {
            continue;
        };
        return Err(fault.at(kernel.span));
    }
    bindings(kernel).map_err(|fault| fault.at(kernel.span))
}

fn bindings(kernel: &Kernel) -> Result<(), Fault> {
    let mut bound = BTreeSet::new();
    for &(symbol, value) in &kernel.bindings.exact {
        values::symbol(kernel, symbol)?;
        match symbol {
            Symbol::ProgramId(_) | Symbol::NumPrograms(_) => return Err(Fault::Binding(symbol)),
            Symbol::Extent { .. } | Symbol::Count(_) if value < 0 => {
                return Err(Fault::NegativeBinding { symbol, value });
            }
            Symbol::Extent { .. } | Symbol::Count(_) | Symbol::Stride { .. } => {}
        }
        if !bound.insert(symbol) {
            return Err(Fault::Binding(symbol));
        }
    }
    for &(position, element) in &kernel.bindings.device {
        let symbol = Symbol::Count(position);
        values::symbol(kernel, symbol)?;
        if !matches!(element, ElementType::I32 | ElementType::I64) {
            return Err(Fault::DeviceCount(element));
        }
        if !bound.insert(symbol) {
            return Err(Fault::Binding(symbol));
        }
    }
    Ok(())
}
