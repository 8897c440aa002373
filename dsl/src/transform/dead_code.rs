//! Removing what nothing observes, and renumbering what is left.

use super::renumber::Renumber;
use crate::ir::{Arena, Block, Expression, Handle, Kernel, Statement};

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
        let mut live = Self {
            expressions: vec![false; kernel.expressions.len()],
            locals: vec![false; kernel.locals.len()],
        };
        for &extent in &kernel.grid {
            live.mark(kernel, extent);
        }
        for requirement in &kernel.requirements {
            live.mark(kernel, requirement.condition);
        }
        // A variable is read by expressions, which are only live if something uses them; its assignments then make
        // their values live, which can make further reads live.
        loop {
            let before = live.count();
            kernel.body.walk(&mut |statement, _| match statement {
                Statement::Assign { local, .. } if !live.locals[local.index()] => {}
                Statement::For { induction, .. } => {
                    live.mark(kernel, *induction);
                    statement.for_each_use(|value| live.mark(kernel, value));
                }
                Statement::Let(value) if kernel.expressions[*value].has_effect() => live.mark(kernel, *value),
                _ => statement.for_each_use(|value| live.mark(kernel, value)),
            });
            if live.count() == before {
                return live;
            }
        }
    }

    fn count(&self) -> usize {
        self.expressions
            .iter()
            .chain(&self.locals)
            .filter(|live| **live)
            .count()
    }

    fn mark(&mut self, kernel: &Kernel, expression: Handle<Expression>) {
        if std::mem::replace(&mut self.expressions[expression.index()], true) {
            return;
        }
        let node = &kernel.expressions[expression];
        if let Expression::Local(local) = node {
            self.locals[local.index()] = true;
        }
        node.for_each_operand(|operand| self.mark(kernel, operand));
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
                    let (accept, reject) = (sweep(accept, live, changed), sweep(reject, live, changed));
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
                    let (header, body) = (sweep(header, live, changed), sweep(body, live, changed));
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
                    let body = sweep(body, live, changed);
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
