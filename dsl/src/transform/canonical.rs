//! The form of a kernel that decides its code, and nothing else.

use std::collections::BTreeSet;

use super::dead_code;
use crate::analysis::contiguity;
use crate::element::ElementType;
use crate::ir::{Access, Bounds, CompareOp, Expression, Handle, Kernel, Layout, Span, Statement, Symbol, Type};
use crate::stack::room;

/// `kernel` with everything left out that does not change its code: the grid and the requirements, which are the host's, and
/// the literals
/// that no address and no check refers to. Two launches whose canonical kernels are equal share a binary.
///
/// Where the grid depends on a device-resident count, the host launches as many programs as its maximum asks for, and
/// the canonical kernel begins by ending those that the present count does not ask for.
pub fn canonical(kernel: Kernel) -> Kernel {
    let mut kernel = kernel;
    let relevant = relevant(&kernel);
    kernel.bindings.exact.retain(|(symbol, _)| relevant.contains(symbol));
    kernel.requirements.clear();
    let grid = std::mem::take(&mut kernel.grid);
    let mut exits = Vec::new();
    for (axis, &extent) in grid.iter().enumerate() {
        if depends_on_device_count(&kernel, extent) {
            end_surplus_programs(&mut kernel, axis as u8, extent, &mut exits);
        }
    }
    exits.extend(std::mem::take(&mut kernel.body));
    kernel.body = exits.into_iter().collect();
    kernel.grid = (0..grid.len())
        .map(|axis| {
            kernel.append(
                Expression::Symbol(Symbol::NumPrograms(axis as u8)),
                Type::INDEX,
                Span::UNKNOWN,
            )
        })
        .collect();
    dead_code::eliminate(kernel)
}

/// The symbols whose literal values addresses and checks refer to.
fn relevant(kernel: &Kernel) -> BTreeSet<Symbol> {
    let mut relevant = BTreeSet::new();
    let mut access = |access: &Access| {
        let Some(tensor) = kernel.tensor(access.tensor) else {
            return;
        };
        // How it is passed.
        if kernel.short_list(access.tensor).is_some() {
            relevant.insert(Symbol::Extent {
                tensor: access.tensor,
                axis: 0,
            });
        }
        for axis in 0..tensor.rank {
            let guarded = access.guards.get(axis as usize).is_some_and(|g| g.any());
            // A stride is multiplied by the index, unless that is always 0.
            let index = access.indices.get(axis as usize);
            let moves = tensor.list.is_none() || axis > 0;
            let used = moves && index.is_some_and(|&index| contiguity::constant(kernel, index) != Some(0));
            let extent = |axis| Symbol::Extent {
                tensor: access.tensor,
                axis,
            };
            // What differs between the tensors of a list is no literal.
            let same = |axis: &u8| !kernel.differs(access.tensor, *axis);
            if (guarded || access.bounds == Bounds::Clamp) && same(&axis) {
                relevant.insert(extent(axis));
            }
            match tensor.layout {
                Layout::Contiguous if used => {
                    relevant.extend((axis + 1..tensor.rank).filter(same).map(extent));
                }
                Layout::Rows { .. } | Layout::Strided if used => {
                    relevant.insert(Symbol::Stride {
                        tensor: access.tensor,
                        axis,
                    });
                }
                _ => {}
            }
        }
    };
    kernel.body.walk(&mut |statement, _| match statement {
        Statement::Let(value) => {
            kernel.expressions[*value].access().into_iter().for_each(&mut access);
        }
        Statement::Store { access: store, .. } => access(store),
        _ => {}
    });
    relevant
}

fn depends_on_device_count(kernel: &Kernel, value: Handle<Expression>) -> bool {
    let in_memory = |value| match kernel.expressions[value] {
        Expression::Symbol(Symbol::Count(count)) => kernel.bindings.device(count).is_some(),
        _ => false,
    };
    kernel.is_made_of(value, |_| true, in_memory)
}

/// Appends to `exits` what ends the programs whose coordinate on `axis` is not below `extent`.
fn end_surplus_programs(kernel: &mut Kernel, axis: u8, extent: Handle<Expression>, exits: &mut Vec<(Statement, Span)>) {
    let span = kernel.span;
    define(kernel, extent, exits);
    let left = kernel.append(Expression::Symbol(Symbol::ProgramId(axis)), Type::INDEX, span);
    let compare = Expression::Compare {
        op: CompareOp::GreaterEqual,
        left,
        right: extent,
    };
    let condition = kernel.append(compare, Type::scalar(ElementType::Bool), span);
    exits.push((Statement::Let(condition), span));
    let accept = std::iter::once((Statement::Return, span)).collect();
    exits.push((
        Statement::If {
            condition,
            accept,
            reject: Default::default(),
        },
        span,
    ));
}

/// Defines what a grid extent is made of: in the grid it needed no definition.
fn define(kernel: &Kernel, value: Handle<Expression>, exits: &mut Vec<(Statement, Span)>) {
    let defined = |s: &(Statement, Span)| s.0 == Statement::Let(value);
    if kernel.expressions[value].is_global() || exits.iter().any(defined) {
        return;
    }
    kernel.expressions[value].for_each_operand(|operand| room(|| define(kernel, operand, exits)));
    exits.push((Statement::Let(value), kernel.span));
}
