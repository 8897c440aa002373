//! What a program does, in order.

use super::{Access, Expression, GridDependency, Handle, Local, Span};
use crate::stack::room;

/// Statements in the order they run, each with the place its author wrote it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Block {
    items: Vec<(Statement, Span)>,
}

/// One step of a program. Control flow is structured, and its conditions are scalars.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// Defines an expression: from here to the end of the enclosing block it can be used. A load reads memory here.
    Let(Handle<Expression>),
    /// Writes elements to a tensor. `value` has the tensor's element type and the access's shape.
    Store {
        /// Where to write.
        access: Access,
        /// What to write.
        value: Handle<Expression>,
        /// What is said about elements that are written more than once, if anything is.
        conflict: Option<Conflict>,
    },
    /// Tests a condition that the author claims or demands to hold. Where it is tested and does not hold, the program ends.
    Check {
        /// A bool of any shape, which must hold for every element.
        condition: Handle<Expression>,
        /// Who says so.
        kind: CheckKind,
        /// What to report if it does not hold.
        message: String,
    },
    /// Asks for elements to be brought into L2. Nothing happens where the access is masked or out of bounds.
    Prefetch(Access),
    /// Meets the launches before or after this one, on a GPU that has it.
    GridDependency(GridDependency),
    /// Prints a line, once per program.
    Print {
        /// What to print; each `{}` stands for a value.
        format: String,
        /// Scalars that are no 8-bit floats, as many as `{}`.
        values: Vec<Handle<Expression>>,
    },
    /// Gives a local another value, of the local's type.
    Assign {
        /// The local.
        local: Handle<Local>,
        /// Its new value.
        value: Handle<Expression>,
    },
    /// Runs one of two blocks.
    If {
        /// A scalar bool.
        condition: Handle<Expression>,
        /// Runs if the condition holds.
        accept: Block,
        /// Runs if it does not.
        reject: Block,
    },
    /// Runs `header`, then, while `condition` holds, `body` and `header` again. What `header` defines is in scope in
    /// `body`.
    While {
        /// Computes the condition.
        header: Block,
        /// A scalar bool.
        condition: Handle<Expression>,
        /// One trip.
        body: Block,
    },
    /// Runs `body` for `start`, `start + step`, … as long as the value is before `end` (below it for a positive step,
    /// above it for a negative one). The bounds are read once. A step past the type's range ends the loop.
    For {
        /// The [`Expression::Induction`] that is the current value, in scope in `body`.
        induction: Handle<Expression>,
        /// The first value; a scalar of the induction's type.
        start: Handle<Expression>,
        /// The exclusive end; a scalar of the induction's type.
        end: Handle<Expression>,
        /// The distance between values; not 0, and less than 2^64 either way, as every distance between two integers
        /// is.
        step: i128,
        /// One trip.
        body: Block,
    },
    /// Leaves the innermost loop.
    Break,
    /// Starts the next trip of the innermost loop.
    Continue,
    /// Ends the program.
    Return,
}

/// What a store says about elements that it writes more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conflict {
    /// There are none: of all elements that stores with this contract write to a tensor in a launch, no two are in one
    /// place. The author promises it; the CPU device and checked builds test it.
    Disjoint,
    /// The last one stays: in the order of programs (the innermost grid axis fastest), then of the program's statements,
    /// then of the tile in row-major order. The programs of such a kernel run one after the other, in one block of a GPU.
    LastWins,
}

/// Who says that a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// The author demands it: it is tested everywhere, and a program in which it does not hold ends there.
    Assert,
    /// The author claims it, and what follows from it is used: it is tested on the CPU device and in checked builds.
    Assume,
}

impl Conflict {
    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disjoint => "disjoint",
            Self::LastWins => "last_wins",
        }
    }
}

impl CheckKind {
    /// The name the IR prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Assert => "assert",
            Self::Assume => "assume",
        }
    }
}

impl Block {
    /// A block without statements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a statement.
    pub fn push(&mut self, statement: Statement, span: Span) {
        self.items.push((statement, span));
    }

    /// Appends all statements of `other`.
    pub fn append(&mut self, mut other: Block) {
        self.items.append(&mut other.items);
    }

    /// Whether there are no statements.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The number of statements, not counting nested ones.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The statements with their spans.
    pub fn iter(&self) -> std::slice::Iter<'_, (Statement, Span)> {
        self.items.iter()
    }

    /// The statements with their spans, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, (Statement, Span)> {
        self.items.iter_mut()
    }

    /// Calls `visit` with every statement, outer before inner, in order.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Statement, Span)) {
        for (statement, span) in &self.items {
            visit(statement, *span);
            statement.for_each_block(|block| room(|| block.walk(visit)));
        }
    }

    /// Whether the last statement leaves the block, so that nothing after the block's place runs.
    pub fn diverges(&self) -> bool {
        match self.items.last() {
            Some((Statement::Break | Statement::Continue | Statement::Return, _)) => true,
            Some((Statement::If { accept, reject, .. }, _)) => accept.diverges() && reject.diverges(),
            _ => false,
        }
    }
}

impl IntoIterator for Block {
    type Item = (Statement, Span);
    type IntoIter = std::vec::IntoIter<(Statement, Span)>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a> IntoIterator for &'a Block {
    type Item = &'a (Statement, Span);
    type IntoIter = std::slice::Iter<'a, (Statement, Span)>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl FromIterator<(Statement, Span)> for Block {
    fn from_iter<I: IntoIterator<Item = (Statement, Span)>>(iter: I) -> Self {
        Self {
            items: iter.into_iter().collect(),
        }
    }
}

impl Statement {
    /// Calls `visit` with each block directly inside this statement.
    pub fn for_each_block<'a>(&'a self, mut visit: impl FnMut(&'a Block)) {
        match self {
            Self::If { accept, reject, .. } => {
                visit(accept);
                visit(reject);
            }
            Self::While { header, body, .. } => {
                visit(header);
                visit(body);
            }
            Self::For { body, .. } => visit(body),
            Self::Let(_)
            | Self::Store { .. }
            | Self::Check { .. }
            | Self::Prefetch(_)
            | Self::GridDependency(_)
            | Self::Print { .. }
            | Self::Assign { .. }
            | Self::Break
            | Self::Continue
            | Self::Return => {}
        }
    }

    /// Calls `visit` with every expression this statement uses directly (not those of nested blocks, and not the one a
    /// `Let` or a loop defines).
    pub fn for_each_use(&self, mut visit: impl FnMut(Handle<Expression>)) {
        match self {
            Self::Store { access, value, .. } => {
                access.operands().for_each(&mut visit);
                visit(*value);
            }
            Self::Prefetch(access) => access.operands().for_each(visit),
            Self::Print { values, .. } => values.iter().copied().for_each(visit),
            Self::Assign { value, .. } => visit(*value),
            Self::If { condition, .. } | Self::While { condition, .. } | Self::Check { condition, .. } => {
                visit(*condition)
            }
            Self::For { start, end, .. } => {
                visit(*start);
                visit(*end);
            }
            Self::Let(_) | Self::GridDependency(_) | Self::Break | Self::Continue | Self::Return => {}
        }
    }
}
