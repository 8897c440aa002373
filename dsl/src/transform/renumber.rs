//! Other names for the items of a kernel: positions in another one.

use crate::ir::{Access, Block, Expression, Handle, Kernel, Local, Requirement, Statement, Symbol};
use crate::stack::room;

/// Where the items of a kernel are in another one.
pub(super) struct Renumber {
    /// By the position of each expression. What has no place keeps its handle.
    pub(super) expressions: Vec<Option<Handle<Expression>>>,
    /// By the position of each local.
    pub(super) locals: Vec<Option<Handle<Local>>>,
    /// Where the parameters begin.
    first_parameter: u32,
}

impl Renumber {
    /// Nothing has a place yet. Parameters begin at `first_parameter`.
    pub(super) fn new(kernel: &Kernel, first_parameter: u32) -> Self {
        Self {
            expressions: vec![None; kernel.expressions.len()],
            locals: vec![None; kernel.locals.len()],
            first_parameter,
        }
    }

    pub(super) fn expression(&self, old: Handle<Expression>) -> Handle<Expression> {
        self.expressions[old.index()].unwrap_or(old)
    }

    fn local(&self, old: Handle<Local>) -> Handle<Local> {
        self.locals[old.index()].unwrap_or(old)
    }

    /// An expression made of what its operands have become.
    pub(super) fn node(&self, mut node: Expression) -> Expression {
        node.map_operands(|operand| self.expression(operand));
        match &mut node {
            Expression::Local(local) => *local = self.local(*local),
            Expression::Argument(position) => *position += self.first_parameter,
            Expression::Symbol(symbol) => *symbol = self.symbol(*symbol),
            other => {
                if let Expression::Member { symbol, .. } = other {
                    *symbol = self.symbol(*symbol);
                }
                if let Some(access) = other.access_mut() {
                    access.tensor += self.first_parameter;
                }
            }
        }
        node
    }

    pub(super) fn requirements(&self, requirements: &[Requirement]) -> Vec<Requirement> {
        let renumbered = requirements.iter().map(|&Requirement { condition, span }| Requirement {
            condition: self.expression(condition),
            span,
        });
        renumbered.collect()
    }

    pub(super) fn symbol(&self, symbol: Symbol) -> Symbol {
        let first = self.first_parameter;
        match symbol {
            Symbol::Extent { tensor, axis } => Symbol::Extent {
                tensor: tensor + first,
                axis,
            },
            Symbol::Stride { tensor, axis } => Symbol::Stride {
                tensor: tensor + first,
                axis,
            },
            Symbol::Count(position) => Symbol::Count(position + first),
            Symbol::ProgramId(_) | Symbol::NumPrograms(_) => symbol,
        }
    }

    fn access(&self, mut access: Access) -> Access {
        access.map_operands(|operand| self.expression(operand));
        access.tensor += self.first_parameter;
        access
    }

    pub(super) fn block(&self, block: Block) -> Block {
        block
            .into_iter()
            .map(|(statement, span)| (room(|| self.statement(statement)), span))
            .collect()
    }

    fn statement(&self, statement: Statement) -> Statement {
        match statement {
            Statement::Let(value) => Statement::Let(self.expression(value)),
            Statement::Store {
                access,
                value,
                conflict,
            } => Statement::Store {
                access: self.access(access),
                value: self.expression(value),
                conflict,
            },
            Statement::Check {
                condition,
                kind,
                message,
            } => Statement::Check {
                condition: self.expression(condition),
                kind,
                message,
            },
            Statement::Assign { local, value } => Statement::Assign {
                local: self.local(local),
                value: self.expression(value),
            },
            Statement::If {
                condition,
                accept,
                reject,
            } => Statement::If {
                condition: self.expression(condition),
                accept: self.block(accept),
                reject: self.block(reject),
            },
            Statement::While {
                header,
                condition,
                body,
            } => Statement::While {
                header: self.block(header),
                condition: self.expression(condition),
                body: self.block(body),
            },
            Statement::For {
                induction,
                start,
                end,
                step,
                body,
            } => Statement::For {
                induction: self.expression(induction),
                start: self.expression(start),
                end: self.expression(end),
                step,
                body: self.block(body),
            },
            Statement::Print { format, values } => Statement::Print {
                format,
                values: values.into_iter().map(|value| self.expression(value)).collect(),
            },
            Statement::Prefetch(access) => Statement::Prefetch(self.access(access)),
            leave @ (Statement::GridDependency(_) | Statement::Break | Statement::Continue | Statement::Return) => {
                leave
            }
        }
    }
}
