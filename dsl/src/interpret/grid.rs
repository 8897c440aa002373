//! How many programs a launch has.

use std::collections::BTreeMap;

use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{Expression, Kernel, Literal, Symbol};

/// The most programs of a launch.
pub const MAX_PROGRAMS: u64 = (1 << 31) - 1;

/// Why there is no grid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// A symbol the grid depends on has no value.
    #[error("the grid of kernel `{kernel}` depends on {symbol:?}, which has no value")]
    Unknown {
        /// The kernel.
        kernel: String,
        /// The symbol.
        symbol: Symbol,
    },
    /// The grid is not made of what a host can compute; the verifier refuses such a kernel.
    #[error("the grid of kernel `{kernel}` cannot be computed by the host")]
    Malformed {
        /// The kernel.
        kernel: String,
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

/// The extents of the grid of a launch, innermost first; missing axes have extent 1.
///
/// `symbol` gives the values of extents, strides and counts. A negative extent counts as 0.
///
/// # Errors
/// If a symbol has no value or there are more than [`MAX_PROGRAMS`] programs.
pub fn grid(kernel: &Kernel, symbol: &dyn Fn(Symbol) -> Option<i64>) -> Result<[u64; 3], GridError> {
    let malformed = || GridError::Malformed {
        kernel: kernel.name.clone(),
    };
    if !(1..=3).contains(&kernel.grid.len()) {
        return Err(malformed());
    }
    let mut values = BTreeMap::new();
    for handle in kernel.grid_values() {
        let expression = kernel.expressions.get(handle).ok_or_else(malformed)?;
        let value = match expression {
            Expression::Symbol(s) => match kernel.bindings.exact(*s).or_else(|| symbol(*s)) {
                Some(value) => Some(Literal::index(value)),
                None => {
                    return Err(GridError::Unknown {
                        kernel: kernel.name.clone(),
                        symbol: *s,
                    });
                }
            },
            operation => arithmetic::evaluate(operation, |operand| values.get(&operand).copied()),
        };
        values.insert(handle, value.ok_or_else(malformed)?);
    }
    let mut grid = [1u64; 3];
    for (axis, extent) in kernel.grid.iter().enumerate() {
        let value = values
            .get(extent)
            .filter(|v| v.element == ElementType::I64)
            .and_then(|v| v.get::<i64>());
        grid[axis] = value.ok_or_else(malformed)?.max(0) as u64;
    }
    let programs = if grid.contains(&0) {
        0
    } else {
        grid.iter().fold(1u64, |all, &n| all.saturating_mul(n))
    };
    if programs > MAX_PROGRAMS {
        return Err(GridError::TooLarge {
            kernel: kernel.name.clone(),
            grid,
        });
    }
    Ok(grid)
}
