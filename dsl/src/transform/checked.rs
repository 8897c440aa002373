//! Builds that test what they would otherwise believe.

use crate::ir::{Access, Block, Bounds, Guard, Kernel, Statement};
use crate::stack::room;

/// `kernel` with nothing left to its author's word: unchecked accesses are checked and trap, and what the author claims
/// (assumptions, multiples, disjoint scatters) is tested by generated code.
pub fn checked(mut kernel: Kernel) -> Kernel {
    kernel.checked = true;
    let values: Vec<_> = kernel.expressions.iter().map(|(value, _)| value).collect();
    for value in values {
        kernel.expressions[value].access_mut().into_iter().for_each(check);
    }
    let mut body = std::mem::take(&mut kernel.body);
    stores(&mut body);
    kernel.body = body;
    kernel
}

fn check(access: &mut Access) {
    if access.bounds == Bounds::Unchecked {
        access.bounds = Bounds::Trap;
        access.guards.iter_mut().for_each(|guard| *guard = Guard::FULL);
    }
}

fn stores(block: &mut Block) {
    for (statement, _) in block.iter_mut() {
        match statement {
            Statement::Store { access, .. } => check(access),
            Statement::If { accept, reject, .. } => {
                room(|| stores(accept));
                room(|| stores(reject));
            }
            Statement::While { header, body, .. } => {
                room(|| stores(header));
                room(|| stores(body));
            }
            Statement::For { body, .. } => room(|| stores(body)),
            Statement::Let(_)
            | Statement::Check { .. }
            | Statement::Prefetch(_)
            | Statement::GridDependency(_)
            | Statement::Print { .. }
            | Statement::Assign { .. }
            | Statement::Break
            | Statement::Continue
            | Statement::Return => {}
        }
    }
}
