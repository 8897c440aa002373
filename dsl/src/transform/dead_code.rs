//! Removing what nothing observes, and renumbering what is left.

use super::renumber::Renumber;
use crate::ir::{Arena, Block, Expression, Handle, Kernel, Statement};
use crate::stack::room;

/// `kernel` without values that nothing uses, variables that nothing reads and branches that do nothing.
pub(super) fn eliminate(kernel: Kernel) -> Kernel {
    let mut kernel = kernel;
    loop {
        let live = Live::of(&kernel);
        let body = std::mem::take(&mut kernel.body);
        let mut changed = false;
        kernel.body = sweep(body, &live, &mut changed);
        if !changed {
            return compact(kernel, &live);
        }
    }
}

/// What is used.
struct Live {
    expressions: Vec<bool>,
    locals: Vec<bool>,
}

impl Live {
    fn of(kernel: &Kernel) -> Self {
        // What each local is given: live if the local is.
        let mut given: Vec<Vec<Handle<Expression>>> = vec![Vec::new(); kernel.locals.len()];
        let mut open = kernel.grid.clone();
        open.extend(kernel.requirements.iter().map(|requirement| requirement.condition));
        kernel.body.walk(&mut |statement, _| match statement {
            Statement::Assign { local, value } => given[local.index()].push(*value),
            Statement::Let(value) if kernel.expressions[*value].has_effect() => open.push(*value),
            Statement::For { induction, .. } => {
                open.push(*induction);
                statement.for_each_use(|value| open.push(value));
            }
            _ => statement.for_each_use(|value| open.push(value)),
        });
        let mut live = Self {
            expressions: vec![false; kernel.expressions.len()],
            locals: vec![false; kernel.locals.len()],
        };
        while let Some(value) = open.pop() {
            if std::mem::replace(&mut live.expressions[value.index()], true) {
                continue;
            }
            let node = &kernel.expressions[value];
            if let Expression::Local(local) = node {
                live.locals[local.index()] = true;
                open.append(&mut given[local.index()]);
            }
            node.for_each_operand(|operand| open.push(operand));
        }
        live
    }
}

fn sweep(block: Block, live: &Live, changed: &mut bool) -> Block {
    let before = block.len();
    let swept: Block = block
        .into_iter()
        .filter_map(|(statement, span)| {
            let kept = match statement {
                Statement::Let(expression) => {
                    live.expressions[expression.index()].then_some(Statement::Let(expression))
                }
                Statement::Assign { local, value } => {
                    live.locals[local.index()].then_some(Statement::Assign { local, value })
                }
                Statement::If {
                    condition,
                    accept,
                    reject,
                } => {
                    let (accept, reject) = (
                        room(|| sweep(accept, live, changed)),
                        room(|| sweep(reject, live, changed)),
                    );
                    (!accept.is_empty() || !reject.is_empty()).then_some(Statement::If {
                        condition,
                        accept,
                        reject,
                    })
                }
                Statement::While {
                    header,
                    condition,
                    body,
                } => {
                    let (header, body) = (
                        room(|| sweep(header, live, changed)),
                        room(|| sweep(body, live, changed)),
                    );
                    Some(Statement::While {
                        header,
                        condition,
                        body,
                    })
                }
                Statement::For {
                    induction,
                    start,
                    end,
                    step,
                    body,
                } => {
                    let body = room(|| sweep(body, live, changed));
                    (!body.is_empty()).then_some(Statement::For {
                        induction,
                        start,
                        end,
                        step,
                        body,
                    })
                }
                other @ (Statement::Store { .. }
                | Statement::Check { .. }
                | Statement::Prefetch(_)
                | Statement::GridDependency(_)
                | Statement::Print { .. }
                | Statement::Break
                | Statement::Continue
                | Statement::Return) => Some(other),
            };
            kept.map(|statement| (statement, span))
        })
        .collect();
    *changed |= swept.len() != before;
    swept
}

/// Drops dead items from the arenas, keeping the order of the rest.
fn compact(kernel: Kernel, live: &Live) -> Kernel {
    let mut map = Renumber::new(&kernel, 0);
    let mut compacted = Kernel {
        expressions: Arena::new(),
        types: Vec::new(),
        spans: Vec::new(),
        locals: Arena::new(),
        ..kernel.clone()
    };
    for (handle, local) in kernel.locals.iter() {
        if live.locals[handle.index()] {
            map.locals[handle.index()] = Some(compacted.locals.append(local.clone()));
        }
    }
    for (handle, node) in kernel.expressions.iter() {
        if live.expressions[handle.index()] {
            let node = map.node(node.clone());
            let place = compacted.append(node, kernel.ty(handle), kernel.spans[handle.index()]);
            map.expressions[handle.index()] = Some(place);
        }
    }
    compacted.grid = kernel.grid.iter().map(|&extent| map.expression(extent)).collect();
    compacted.requirements = map.requirements(&kernel.requirements);
    compacted.body = map.block(kernel.body);
    compacted
}
