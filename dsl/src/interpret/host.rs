//! What the host computes before a launch: how many programs there are, and whether the arguments are what they have to be.

use std::collections::{BTreeMap, BTreeSet};

use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{BinaryOp, Expression, Handle, Kernel, Literal, Span, Symbol, UnaryOp};

/// The most programs of a launch.
pub const MAX_PROGRAMS: u64 = (1 << 31) - 1;

/// What the host knows of the arguments of a launch.
pub trait Known {
    /// The value of an extent, a stride or a count.
    fn symbol(&self, symbol: Symbol) -> Option<i64>;
    /// The scalar argument at a position.
    fn scalar(&self, position: u32) -> Option<Literal>;
}

/// Of a launch without scalar arguments, the values of symbols are enough.
impl<F: Fn(Symbol) -> Option<i64>> Known for F {
    fn symbol(&self, symbol: Symbol) -> Option<i64> {
        self(symbol)
    }

    fn scalar(&self, _: u32) -> Option<Literal> {
        None
    }
}

/// Why there is no grid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// Something that the grid depends on has no value.
    #[error("the grid of kernel `{kernel}` depends on `{unknown}`, which has no value")]
    Unknown {
        /// The kernel.
        kernel: String,
        /// An extent, a stride, or a parameter.
        unknown: String,
    },
    /// The grid is not made of what a host can compute; the verifier refuses such a kernel.
    #[error("the grid of kernel `{kernel}` cannot be computed by the host")]
    Malformed {
        /// The kernel.
        kernel: String,
    },
    /// The grid cannot be told: a sum, difference or product in it is more than an i64 holds.
    #[error("the grid of kernel `{kernel}` cannot be told, since `{overflowing}` overflows here")]
    Overflow {
        /// The kernel.
        kernel: String,
        /// What overflows.
        overflowing: String,
    },
    /// Too many programs.
    #[error("the grid {grid:?} of kernel `{kernel}` has more than {MAX_PROGRAMS} programs")]
    TooLarge {
        /// The kernel.
        kernel: String,
        /// The extents, innermost first.
        grid: [u64; 3],
    },
}

/// Why the arguments of a launch are refused by the kernel's own conditions on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// A condition does not hold.
    #[error("kernel `{kernel}` requires `{condition}`{}\n  --> {span}", found(.values))]
    Broken {
        /// The kernel.
        kernel: String,
        /// The condition.
        condition: String,
        /// The values of the two sides, if it compares two.
        values: Option<[Literal; 2]>,
        /// Where it was written.
        span: Span,
    },
    /// A condition cannot be told: a sum, difference or product in it is more than its type holds.
    #[error("kernel `{kernel}` requires `{condition}`, and `{overflowing}` overflows here\n  --> {span}")]
    Overflow {
        /// The kernel.
        kernel: String,
        /// The condition.
        condition: String,
        /// What overflows.
        overflowing: String,
        /// Where it was written.
        span: Span,
    },
    /// A condition depends on something that the host does not know in this launch.
    #[error(
        "kernel `{kernel}` requires `{condition}`, and the host does not know `{unknown}` in this launch\n  --> {span}\n  = help: pass a count as `Exact` or `Runtime`; one in device memory is tested in the kernel, with `device_assert`"
    )]
    Unknown {
        /// The kernel.
        kernel: String,
        /// The condition.
        condition: String,
        /// What is not known.
        unknown: String,
        /// Where it was written.
        span: Span,
    },
}

fn found(values: &Option<[Literal; 2]>) -> String {
    let text = |literal: &Literal| match literal.as_integer() {
        Some(value) if literal.element != ElementType::Bool => value.to_string(),
        _ => literal.to_string(),
    };
    match values {
        Some([left, right]) => format!(
            ", and here the left side is {} and the right side {}",
            text(left),
            text(right)
        ),
        None => ", which does not hold here".to_owned(),
    }
}

/// The extents of the grid of a launch, innermost first; missing axes have extent 1. A negative extent counts as 0.
///
/// # Errors
/// If a symbol has no value, an operation overflows or there are more than [`MAX_PROGRAMS`] programs.
pub fn grid(kernel: &Kernel, known: &impl Known) -> Result<[u64; 3], GridError> {
    let malformed = || GridError::Malformed {
        kernel: kernel.name.clone(),
    };
    if !(1..=3).contains(&kernel.grid.len()) {
        return Err(malformed());
    }
    let values = evaluate(kernel, kernel.grid_values(), known).map_err(|unknown| match unknown {
        Some(value) => GridError::Unknown {
            kernel: kernel.name.clone(),
            unknown: kernel.text_of(value),
        },
        None => malformed(),
    })?;
    if let Some(overflowing) = overflowing(kernel, &values) {
        return Err(GridError::Overflow {
            kernel: kernel.name.clone(),
            overflowing: kernel.text_of(overflowing),
        });
    }
    let mut grid = [1u64; 3];
    for (axis, extent) in kernel.grid.iter().enumerate() {
        let value = values
            .get(extent)
            .filter(|v| v.element == ElementType::I64)
            .and_then(|v| v.get::<i64>());
        grid[axis] = value.ok_or_else(malformed)?.max(0) as u64;
    }
    check_programs(kernel, grid)?;
    Ok(grid)
}

/// How many programs a grid has, if a launch can have so many.
pub(super) fn check_programs(kernel: &Kernel, grid: [u64; 3]) -> Result<u64, GridError> {
    let programs = if grid.contains(&0) {
        0
    } else {
        grid.iter().fold(1u64, |all, &n| all.saturating_mul(n))
    };
    match programs {
        0..=MAX_PROGRAMS => Ok(programs),
        _ => Err(GridError::TooLarge {
            kernel: kernel.name.clone(),
            grid,
        }),
    }
}

/// Whether the arguments of a launch are what the kernel [requires](crate::lang::require).
///
/// # Errors
/// The first condition that does not hold, or that depends on what the host does not know.
pub fn check_requirements(kernel: &Kernel, known: &impl Known) -> Result<(), RequirementError> {
    for requirement in &kernel.requirements {
        let (condition, span) = (requirement.condition, requirement.span);
        let text = || kernel.text_of(condition);
        let unknown = |unknown: Option<Handle<Expression>>| RequirementError::Unknown {
            kernel: kernel.name.clone(),
            condition: text(),
            unknown: kernel.text_of(unknown.unwrap_or(condition)),
            span,
        };
        let values = evaluate(kernel, kernel.made_of([condition]), known).map_err(unknown)?;
        if let Some(overflowing) = overflowing(kernel, &values) {
            return Err(RequirementError::Overflow {
                kernel: kernel.name.clone(),
                condition: text(),
                overflowing: kernel.text_of(overflowing),
                span,
            });
        }
        if !values.get(&condition).is_some_and(|value| value.as_bool()) {
            let sides = match kernel.expressions.get(condition) {
                Some(Expression::Compare { left, right, .. }) => values.get(left).zip(values.get(right)),
                _ => None,
            };
            return Err(RequirementError::Broken {
                kernel: kernel.name.clone(),
                condition: text(),
                values: sides.map(|(left, right)| [*left, *right]),
                span,
            });
        }
    }
    Ok(())
}

/// The first integer operation whose exact result is none of its type's.
fn overflowing(kernel: &Kernel, values: &BTreeMap<Handle<Expression>, Literal>) -> Option<Handle<Expression>> {
    let exact = |expression: &Expression| {
        let integer = |operand| values.get(&operand)?.as_integer();
        match *expression {
            Expression::Binary { op, left, right } => {
                let (left, right) = (integer(left)?, integer(right)?);
                match op {
                    BinaryOp::Add => left.checked_add(right),
                    BinaryOp::Subtract => left.checked_sub(right),
                    BinaryOp::Multiply => left.checked_mul(right),
                    _ => None,
                }
            }
            Expression::Unary {
                op: UnaryOp::Negate,
                value,
            } => integer(value)?.checked_neg(),
            _ => None,
        }
    };
    let overflows = |(handle, value): (&Handle<Expression>, &Literal)| {
        let exact = exact(kernel.expressions.get(*handle)?)?;
        (value.as_integer() != Some(exact)).then_some(*handle)
    };
    values.iter().find_map(overflows)
}

/// The values of expressions, operands before their users. The error is the symbol or argument that has none; nothing, if no
/// host can compute what is asked for.
fn evaluate(
    kernel: &Kernel,
    expressions: BTreeSet<Handle<Expression>>,
    known: &impl Known,
) -> Result<BTreeMap<Handle<Expression>, Literal>, Option<Handle<Expression>>> {
    let mut values = BTreeMap::new();
    for handle in expressions {
        let value = match kernel.expressions.get(handle).ok_or(None)? {
            Expression::Symbol(symbol) => {
                let value = kernel.bindings.exact(*symbol).or_else(|| known.symbol(*symbol));
                Some(Literal::index(value.ok_or(Some(handle))?))
            }
            Expression::Argument(position) => Some(known.scalar(*position).ok_or(Some(handle))?),
            operation => arithmetic::evaluate(operation, |operand| values.get(&operand).copied()),
        };
        values.insert(handle, value.ok_or(None)?);
    }
    Ok(values)
}
