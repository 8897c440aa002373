//! What a program does before it waits for the launches before its own.

use crate::ir::{GridDependency, Kernel, Span, Statement};

/// How a program begins that touches no memory before it waits for the launches before its own: the triggers ahead of the
/// wait, and the wait. Values and variables may stand between them, as long as nothing is loaded for them.
///
/// Such a kernel may begin while the launch before it runs.
///
/// # Errors
/// The place of the first thing that may touch memory; the kernel's own if it never waits.
pub fn opening(kernel: &Kernel) -> Result<Vec<GridDependency>, Span> {
    let mut dependencies = Vec::new();
    for (statement, span) in &kernel.body {
        match statement {
            Statement::GridDependency(dependency) => {
                dependencies.push(*dependency);
                if *dependency == GridDependency::Wait {
                    return Ok(dependencies);
                }
            }
            Statement::Let(value) if kernel.expressions[*value].access().is_none() => {}
            Statement::Assign { .. } => {}
            // Checks and prints write to memory where they have something to say; loops and branches may do anything.
            _ => return Err(*span),
        }
    }
    Err(kernel.span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementType;
    use crate::ir::CheckKind;
    use crate::ir::verify::build::Builder;

    /// The opening of a kernel that does `first`, waits, and stores.
    fn after(first: impl FnOnce(&mut Builder)) -> Result<Vec<GridDependency>, Span> {
        let mut b = Builder::new("waiting");
        first(&mut b);
        b.push(Statement::GridDependency(GridDependency::Wait));
        b.push(Statement::GridDependency(GridDependency::Trigger));
        opening(&b.launch(4))
    }

    #[test]
    fn values_and_triggers_may_stand_before_the_wait() {
        use GridDependency::{Trigger, Wait};
        assert_eq!(after(|_| {}), Ok(vec![Wait]));
        let triggered = after(|b| {
            b.push(Statement::GridDependency(Trigger));
            b.arange(8);
        });
        assert_eq!(triggered, Ok(vec![Trigger, Wait]));
    }

    #[test]
    fn nothing_that_touches_memory_may_stand_before_the_wait() {
        let firsts: [fn(&mut Builder); 4] = [
            |b| {
                let src = b.tensor("src", ElementType::I64, 1);
                let row = b.program(0);
                b.load(src, &[row]);
            },
            |b| {
                let src = b.tensor("src", ElementType::I64, 1);
                let row = b.program(0);
                let access = b.access(src, &[row]);
                b.push(Statement::Prefetch(access));
            },
            |b| {
                let condition = b.literal(true);
                b.push(Statement::Check {
                    condition,
                    kind: CheckKind::Assert,
                    message: String::new(),
                });
            },
            |b| {
                let condition = b.literal(true);
                b.if_else(condition, |b| b.push(Statement::Return), |_| {});
            },
        ];
        for first in firsts {
            assert!(after(first).is_err());
        }
    }

    #[test]
    fn a_kernel_that_never_waits_is_at_fault_as_a_whole() {
        let kernel = Builder::new("hasty").launch(4);
        assert_eq!(opening(&kernel), Err(kernel.span));
    }
}
