//! What the host computes before a launch: how many programs there are, and whether the arguments are what they have to be.

use std::collections::{BTreeSet, HashMap};

use arrayvec::ArrayVec;

use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{BinaryOp, Expression, Handle, Kernel, Literal, Requirement, Span, Symbol, UnaryOp};

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
    Steps::of(kernel, kernel.grid_values()).grid(kernel, known)
}

/// Whether the arguments of a launch are what the kernel [requires](crate::lang::require).
///
/// # Errors
/// The first condition that does not hold, or that depends on what the host does not know.
pub fn check_requirements(kernel: &Kernel, known: &impl Known) -> Result<(), RequirementError> {
    let check = |requirement| Steps::of_requirement(kernel, requirement).require(kernel, requirement, known);
    kernel.requirements.iter().try_for_each(check)
}

/// How many programs a grid has, if a launch can have so many.
pub(crate) fn check_programs(kernel: &Kernel, grid: [u64; 3]) -> Result<u64, GridError> {
    programs(grid).ok_or_else(|| GridError::TooLarge {
        kernel: kernel.name.clone(),
        grid,
    })
}

fn programs(grid: [u64; 3]) -> Option<u64> {
    let programs = if grid.contains(&0) {
        0
    } else {
        grid.iter().fold(1u64, |all, &n| all.saturating_mul(n))
    };
    (programs <= MAX_PROGRAMS).then_some(programs)
}

/// The grid and the requirements of one kernel, as what is computed at each launch of it.
#[derive(Debug, Clone)]
pub(crate) struct HostProgram {
    quick_grid: Option<QuickGrid>,
    grid: Steps,
    /// In the order of the kernel's.
    requirements: Vec<Steps>,
}

impl HostProgram {
    pub fn new(kernel: &Kernel) -> Self {
        let requirements = kernel.requirements.iter();
        let grid = Steps::of(kernel, kernel.grid_values());
        Self {
            quick_grid: QuickGrid::of(kernel, &grid),
            grid,
            requirements: requirements
                .map(|requirement| Steps::of_requirement(kernel, requirement))
                .collect(),
        }
    }

    /// As [`grid`].
    #[inline]
    pub fn grid(&self, kernel: &Kernel, known: &impl Known) -> Result<[u64; 3], GridError> {
        let quick = self.quick_grid.as_ref().and_then(|grid| grid.evaluate(known));
        quick.map_or_else(|| self.grid.grid(kernel, known), Ok)
    }

    /// As [`check_requirements`].
    #[inline]
    pub fn check_requirements(&self, kernel: &Kernel, known: &impl Known) -> Result<(), RequirementError> {
        let mut all = kernel.requirements.iter().zip(&self.requirements);
        all.try_for_each(|(requirement, steps)| steps.require(kernel, requirement, known))
    }
}

/// A grid of sums, differences and products, as most are, where nothing overflows or is unknown.
#[derive(Debug, Clone)]
struct QuickGrid {
    steps: Vec<QuickStep>,
    /// Where the extents are.
    extents: ArrayVec<usize, 3>,
}

#[derive(Debug, Clone, Copy)]
enum QuickStep {
    Constant(i64),
    Symbol(Symbol),
    Add(usize, usize),
    Subtract(usize, usize),
    Multiply(usize, usize),
}

impl QuickGrid {
    fn of(kernel: &Kernel, grid: &Steps) -> Option<Self> {
        let step = |(value, expression): &(Handle<Expression>, Option<Expression>)| {
            let step = match expression.as_ref()? {
                Expression::Literal(literal) => QuickStep::Constant(literal.get::<i64>()?),
                Expression::Symbol(symbol) => QuickStep::Symbol(*symbol),
                Expression::Binary { op, left, right } => {
                    let (left, right) = (left.index(), right.index());
                    match op {
                        BinaryOp::Add => QuickStep::Add(left, right),
                        BinaryOp::Subtract => QuickStep::Subtract(left, right),
                        BinaryOp::Multiply => QuickStep::Multiply(left, right),
                        _ => return None,
                    }
                }
                _ => return None,
            };
            let ty = kernel.expressions.get(*value).map(|_| kernel.ty(*value))?;
            (ty.is_scalar() && ty.element == ElementType::I64).then_some(step)
        };
        let place = |extent| grid.steps.binary_search_by_key(extent, |(value, _)| *value).ok();
        let is_grid = (1..=3).contains(&kernel.grid.len()) && grid.steps.len() <= FEW_STEPS;
        let steps = grid.steps.iter().map(step).collect::<Option<_>>().filter(|_| is_grid)?;
        let extents = kernel.grid.iter().map(place).collect::<Option<_>>()?;
        Some(Self { steps, extents })
    }

    #[inline]
    fn evaluate(&self, known: &impl Known) -> Option<[u64; 3]> {
        let mut values = ArrayVec::<i64, FEW_STEPS>::new();
        for step in &self.steps {
            values.push(match *step {
                QuickStep::Constant(value) => value,
                QuickStep::Symbol(symbol) => known.symbol(symbol)?,
                QuickStep::Add(left, right) => values[left].checked_add(values[right])?,
                QuickStep::Subtract(left, right) => values[left].checked_sub(values[right])?,
                QuickStep::Multiply(left, right) => values[left].checked_mul(values[right])?,
            });
        }
        let mut grid = [1u64; 3];
        for (extent, &place) in grid.iter_mut().zip(&self.extents) {
            *extent = values[place].max(0) as u64;
        }
        programs(grid).map(|_| grid)
    }
}

/// Expressions that the host computes, operands before their users.
#[derive(Debug, Clone)]
struct Steps {
    /// The expressions by their names in the kernel, and with operands that are positions among these; nothing for what the
    /// kernel does not have.
    steps: Vec<(Handle<Expression>, Option<Expression>)>,
}

/// The results of some steps, the first ones without an allocation.
#[derive(Default)]
struct Results {
    few: ArrayVec<Literal, FEW_STEPS>,
    more: Vec<Literal>,
}

/// How many steps have results that need no allocation.
const FEW_STEPS: usize = 64;

impl Results {
    fn push(&mut self, value: Literal) {
        if let Err(full) = self.few.try_push(value) {
            self.more.push(full.element());
        }
    }

    fn get(&self, at: usize) -> Option<Literal> {
        match at.checked_sub(FEW_STEPS) {
            None => self.few.get(at).copied(),
            Some(at) => self.more.get(at).copied(),
        }
    }
}

impl Steps {
    fn of_requirement(kernel: &Kernel, requirement: &Requirement) -> Self {
        Self::of(kernel, kernel.made_of([requirement.condition]))
    }

    fn of(kernel: &Kernel, values: BTreeSet<Handle<Expression>>) -> Self {
        let mut places = HashMap::new();
        let steps = values.into_iter().enumerate().map(|(at, value)| {
            let mut expression = kernel.expressions.get(value).cloned();
            let mut complete = true;
            if let Some(node) = &mut expression {
                node.map_operands(|operand| match places.get(&operand) {
                    Some(&place) => Handle::from_index(place),
                    None => {
                        complete = false;
                        operand
                    }
                });
                if let Expression::Symbol(symbol) = *node
                    && let Some(value) = kernel.bindings.exact(symbol)
                {
                    *node = Expression::Literal(Literal::index(value));
                }
            }
            places.insert(value, at);
            (value, expression.filter(|_| complete))
        });
        Self { steps: steps.collect() }
    }

    /// Puts the values into `results`. The error is the symbol or argument that has none; nothing, if no host can compute what
    /// is asked for.
    fn run(&self, known: &impl Known, results: &mut Results) -> Result<(), Option<Handle<Expression>>> {
        for (value, expression) in &self.steps {
            let result = match expression.as_ref().ok_or(None)? {
                Expression::Symbol(symbol) => Literal::index(known.symbol(*symbol).ok_or(Some(*value))?),
                Expression::Argument(position) => known.scalar(*position).ok_or(Some(*value))?,
                operation => arithmetic::evaluate(operation, |operand| results.get(operand.index())).ok_or(None)?,
            };
            results.push(result);
        }
        Ok(())
    }

    /// The result of an expression of the kernel.
    fn result(&self, results: &Results, value: Handle<Expression>) -> Option<Literal> {
        let at = self.steps.binary_search_by_key(&value, |(value, _)| *value).ok()?;
        results.get(at)
    }

    fn grid(&self, kernel: &Kernel, known: &impl Known) -> Result<[u64; 3], GridError> {
        let malformed = || GridError::Malformed {
            kernel: kernel.name.clone(),
        };
        if !(1..=3).contains(&kernel.grid.len()) {
            return Err(malformed());
        }
        let mut results = Results::default();
        self.run(known, &mut results).map_err(|unknown| match unknown {
            Some(value) => GridError::Unknown {
                kernel: kernel.name.clone(),
                unknown: kernel.text_of(value),
            },
            None => malformed(),
        })?;
        if let Some(overflowing) = self.overflowing(&results) {
            return Err(GridError::Overflow {
                kernel: kernel.name.clone(),
                overflowing: kernel.text_of(overflowing),
            });
        }
        let mut grid = [1u64; 3];
        for (axis, &extent) in kernel.grid.iter().enumerate() {
            let value = self.result(&results, extent).filter(|v| v.element == ElementType::I64);
            let value = value.and_then(|v| v.get::<i64>());
            grid[axis] = value.ok_or_else(malformed)?.max(0) as u64;
        }
        check_programs(kernel, grid)?;
        Ok(grid)
    }

    fn require(&self, kernel: &Kernel, requirement: &Requirement, known: &impl Known) -> Result<(), RequirementError> {
        let &Requirement { condition, span } = requirement;
        let text = || kernel.text_of(condition);
        let mut results = Results::default();
        self.run(known, &mut results)
            .map_err(|unknown| RequirementError::Unknown {
                kernel: kernel.name.clone(),
                condition: text(),
                unknown: kernel.text_of(unknown.unwrap_or(condition)),
                span,
            })?;
        if let Some(overflowing) = self.overflowing(&results) {
            return Err(RequirementError::Overflow {
                kernel: kernel.name.clone(),
                condition: text(),
                overflowing: kernel.text_of(overflowing),
                span,
            });
        }
        if self.result(&results, condition).is_some_and(|value| value.as_bool()) {
            return Ok(());
        }
        let sides = match kernel.expressions.get(condition) {
            Some(Expression::Compare { left, right, .. }) => {
                self.result(&results, *left).zip(self.result(&results, *right))
            }
            _ => None,
        };
        Err(RequirementError::Broken {
            kernel: kernel.name.clone(),
            condition: text(),
            values: sides.map(|(left, right)| [left, right]),
            span,
        })
    }

    /// The first integer operation whose exact result is none of its type's.
    fn overflowing(&self, results: &Results) -> Option<Handle<Expression>> {
        let exact = |expression: &Expression| {
            let integer = |operand: Handle<Expression>| results.get(operand.index())?.as_integer();
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
        let mut steps = self.steps.iter().enumerate();
        steps.find_map(|(at, (value, expression))| {
            let exact = exact(expression.as_ref()?)?;
            (results.get(at)?.as_integer() != Some(exact)).then_some(*value)
        })
    }
}
