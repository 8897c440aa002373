//! Rebuilding a kernel with some symbols as literals, folding as it goes.

use std::collections::HashMap;

use super::{dead_code, fold};
use crate::ir::{
    Access, Bindings, Block, Expression, Handle, Kernel, Layout, Literal, Local, Requirement, Shape, Span, Statement,
    Symbol, Type,
};
use crate::stack::room;

/// The variant of `kernel` in which the symbols of `bindings.exact` are literals and the counts of `bindings.device`
/// are read from memory.
///
/// Everything that follows from the literals is folded, equal values become one, and what nothing uses is gone.
pub fn bind(kernel: &Kernel, bindings: &Bindings) -> Kernel {
    let mut exact = bindings.exact.clone();
    exact.sort_unstable();
    exact.dedup();
    let mut device = bindings.device.clone();
    device.sort_unstable();
    let mut folder = Folder::new(kernel, Bindings { exact, device });
    let mut known = HashMap::new();
    folder.target.grid = kernel
        .grid
        .iter()
        .map(|&extent| folder.global(extent, &mut known))
        .collect();
    for &Requirement { condition, span } in &kernel.requirements {
        let condition = folder.global(condition, &mut known);
        if !folder.is_true(condition) {
            folder.target.requirements.push(Requirement { condition, span });
        }
    }
    folder.scopes.push(HashMap::new());
    let body = folder.block(&kernel.body);
    folder.target.body = body;
    dead_code::eliminate(folder.target)
}

/// How many operations a reshape moves past, so that no chain of them takes all of the stack.
const MAX_RESHAPES: usize = 64;

struct Folder<'a> {
    source: &'a Kernel,
    target: Kernel,
    /// What each source expression has become.
    values: Vec<Option<Handle<Expression>>>,
    /// Equal pure expressions in scope, innermost scope last; the first scope holds those that are in scope everywhere.
    scopes: Vec<HashMap<(Expression, Type), Handle<Expression>>>,
    /// The locals that are assigned once, with the value while that is in scope.
    single: HashMap<Handle<Local>, Option<Handle<Expression>>>,
    /// Of those, the ones that were assigned in the block being built, inside those it is nested in.
    assigned: Vec<Vec<Handle<Local>>>,
    /// Statements emitted for the block being built.
    output: Vec<Block>,
    /// Operations that a reshape is moving past.
    reshaping: usize,
}

impl<'a> Folder<'a> {
    fn new(source: &'a Kernel, bindings: Bindings) -> Self {
        let target = Kernel {
            name: source.name.clone(),
            span: source.span,
            parameters: source.parameters.clone(),
            expressions: Default::default(),
            types: Vec::new(),
            spans: Vec::new(),
            locals: source.locals.clone(),
            grid: Vec::new(),
            requirements: Vec::new(),
            body: Block::new(),
            bindings,
            checked: source.checked,
            reports: source.reports,
            denies_guards: source.denies_guards,
        };
        let mut assignments: HashMap<Handle<Local>, usize> = HashMap::new();
        source.body.walk(&mut |statement, _| {
            if let Statement::Assign { local, .. } = statement {
                *assignments.entry(*local).or_default() += 1;
            }
        });
        let single = assignments
            .into_iter()
            .filter(|(_, count)| *count == 1)
            .map(|(local, _)| (local, None))
            .collect();
        Self {
            source,
            target,
            values: vec![None; source.expressions.len()],
            scopes: vec![HashMap::new()],
            single,
            assigned: vec![Vec::new()],
            output: Vec::new(),
            reshaping: 0,
        }
    }

    /// A grid extent or a requirement: everything it is made of is in scope everywhere and never defined by a statement. `known` is what
    /// parts of them have become.
    fn global(
        &mut self,
        expression: Handle<Expression>,
        known: &mut HashMap<Handle<Expression>, Handle<Expression>>,
    ) -> Handle<Expression> {
        if let Some(value) = known.get(&expression) {
            return *value;
        }
        let mut node = self.source.expressions[expression].clone();
        node.map_operands(|operand| room(|| self.global(operand, known)));
        let value = self.emit(node, self.source.ty(expression), self.source.spans[expression.index()]);
        known.insert(expression, value);
        value
    }

    fn block(&mut self, block: &Block) -> Block {
        self.output.push(Block::new());
        self.scopes.push(HashMap::new());
        self.assigned.push(Vec::new());
        for (statement, span) in block {
            room(|| self.statement(statement, *span));
            if self.output.last().is_some_and(Block::diverges) {
                break;
            }
        }
        self.scopes.pop();
        for local in self.assigned.pop().unwrap_or_default() {
            self.single.insert(local, None);
        }
        self.output.pop().unwrap_or_default()
    }

    /// Continues the block being built with the statements of `block`, in a scope of its own.
    fn inline(&mut self, block: &Block) {
        let inner = self.block(block);
        if let Some(output) = self.output.last_mut() {
            output.append(inner);
        }
    }

    fn push(&mut self, statement: Statement, span: Span) {
        if let Some(output) = self.output.last_mut() {
            output.push(statement, span);
        }
    }

    fn statement(&mut self, statement: &Statement, span: Span) {
        match statement {
            Statement::Let(expression) => {
                self.define(*expression);
            }
            Statement::Store {
                access,
                value,
                conflict,
            } => {
                let (mut access, conflict) = (access.clone(), *conflict);
                access.map_operands(|operand| self.value(operand));
                let value = self.value(*value);
                self.push(
                    Statement::Store {
                        access,
                        value,
                        conflict,
                    },
                    span,
                );
            }
            Statement::Print { format, values } => {
                let values = values.iter().map(|&value| self.value(value)).collect();
                let format = format.clone();
                self.push(Statement::Print { format, values }, span);
            }
            Statement::Prefetch(access) => {
                let mut access = access.clone();
                access.map_operands(|operand| self.value(operand));
                self.push(Statement::Prefetch(access), span);
            }
            Statement::Check {
                condition,
                kind,
                message,
            } => {
                let condition = self.value(*condition);
                if self.is_true(condition) {
                    return;
                }
                let (kind, message) = (*kind, message.clone());
                self.push(
                    Statement::Check {
                        condition,
                        kind,
                        message,
                    },
                    span,
                );
            }
            Statement::Assign { local, value } => {
                let value = self.value(*value);
                if let Some(single) = self.single.get_mut(local) {
                    *single = Some(value);
                    self.assigned
                        .last_mut()
                        .into_iter()
                        .for_each(|block| block.push(*local));
                }
                self.push(Statement::Assign { local: *local, value }, span);
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let condition = self.value(*condition);
                match self.literal(condition) {
                    Some(literal) => self.inline(if literal.as_bool() { accept } else { reject }),
                    None => {
                        let (accept, reject) = (self.block(accept), self.block(reject));
                        self.push(
                            Statement::If {
                                condition,
                                accept,
                                reject,
                            },
                            span,
                        );
                    }
                }
            }
            Statement::While {
                header,
                condition,
                body,
            } => {
                // What the header defines is in scope in the body, so both are built in one scope.
                self.output.push(Block::new());
                self.scopes.push(HashMap::new());
                for (statement, span) in header {
                    room(|| self.statement(statement, *span));
                }
                let header = self.output.pop().unwrap_or_default();
                let condition = self.value(*condition);
                let body = match self.literal(condition) {
                    Some(literal) if !literal.as_bool() => None,
                    _ => Some(self.block(body)),
                };
                self.scopes.pop();
                match body {
                    Some(body) => self.push(
                        Statement::While {
                            header,
                            condition,
                            body,
                        },
                        span,
                    ),
                    None => {
                        if let Some(output) = self.output.last_mut() {
                            output.append(header);
                        }
                    }
                }
            }
            Statement::For {
                induction,
                start,
                end,
                step,
                body,
            } => {
                let (start, end) = (self.value(*start), self.value(*end));
                let bounds = self.literal(start).zip(self.literal(end));
                if let Some((Some(s), Some(e))) = bounds.map(|(s, e)| (s.as_integer(), e.as_integer()))
                    && ((*step > 0 && s >= e) || (*step < 0 && s <= e))
                {
                    return;
                }
                let node = self.source.expressions[*induction].clone();
                let fresh = self
                    .target
                    .append(node, self.source.ty(*induction), self.source.spans[induction.index()]);
                self.values[induction.index()] = Some(fresh);
                let body = self.block(body);
                self.push(
                    Statement::For {
                        induction: fresh,
                        start,
                        end,
                        step: *step,
                        body,
                    },
                    span,
                );
            }
            Statement::GridDependency(_) | Statement::Break | Statement::Continue | Statement::Return => {
                self.push(statement.clone(), span)
            }
        }
    }

    /// What `expression` has become; expressions in scope everywhere are built on first use.
    fn value(&mut self, expression: Handle<Expression>) -> Handle<Expression> {
        match self.values[expression.index()] {
            Some(value) => value,
            None => self.define(expression),
        }
    }

    fn define(&mut self, expression: Handle<Expression>) -> Handle<Expression> {
        let mut node = self.source.expressions[expression].clone();
        node.map_operands(|operand| self.value(operand));
        let ty = self.source.ty(expression);
        let span = self.source.spans[expression.index()];
        let value = match node {
            Expression::Local(local) => match self.single.get(&local) {
                Some(Some(value)) => *value,
                _ => self.append(node, ty, span),
            },
            // What memory holds may differ from one place to the next.
            Expression::Load(_) | Expression::Atomic(_) => self.append(node, ty, span),
            _ => self.emit(node, ty, span),
        };
        self.values[expression.index()] = Some(value);
        value
    }

    /// Whether every element is known to be true.
    fn is_true(&self, value: Handle<Expression>) -> bool {
        match self.target.expressions[value] {
            Expression::Broadcast { value, .. } | Expression::Reshape { value, .. } => room(|| self.is_true(value)),
            _ => self.literal(value).is_some_and(Literal::as_bool),
        }
    }

    fn literal(&self, value: Handle<Expression>) -> Option<Literal> {
        match self.target.expressions[value] {
            Expression::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    /// Appends a pure expression, folded; an equal one in scope is used instead.
    fn emit(&mut self, node: Expression, ty: Type, span: Span) -> Handle<Expression> {
        let node = match node {
            Expression::Symbol(symbol) => return self.symbol(symbol, span),
            Expression::Member { symbol, access } => return self.member(symbol, access, span),
            node => node,
        };
        if let Expression::Reshape { value, shape } = node
            && shape != self.target.ty(value).shape
            && let Some(node) = self.reshaped_operands(value, shape, span)
        {
            return self.emit(node, ty, span);
        }
        match fold::fold(&self.target, &node, ty) {
            Some(fold::Folded::Value(value)) => value,
            Some(fold::Folded::Literal(literal)) => {
                self.interned(Expression::Literal(literal), Type::scalar(literal.element), span)
            }
            Some(fold::Folded::Expression(node)) => self.emit(node, ty, span),
            Some(fold::Folded::Uniform(scalar)) => {
                let value = self.emit(scalar, Type::scalar(ty.element), span);
                self.emit(Expression::Broadcast { value, shape: ty.shape }, ty, span)
            }
            None => self.interned(node, ty, span),
        }
    }

    /// An element-wise operation on tiles, on its operands reshaped: reshapes move towards loads, where they vanish or tell
    /// how rows lie.
    fn reshaped_operands(&mut self, value: Handle<Expression>, shape: Shape, span: Span) -> Option<Expression> {
        if self.reshaping >= MAX_RESHAPES
            || self.target.ty(value).is_scalar()
            || shape.rank() == 0
            || !self.target.expressions[value].is_elementwise()
        {
            return None;
        }
        let mut node = self.target.expressions[value].clone();
        self.reshaping += 1;
        node.map_operands(|operand| {
            let ty = self.target.ty(operand).with_shape(shape);
            room(|| self.emit(Expression::Reshape { value: operand, shape }, ty, span))
        });
        self.reshaping -= 1;
        Some(node)
    }

    /// A symbol as what this variant knows of it.
    fn symbol(&mut self, symbol: Symbol, span: Span) -> Handle<Expression> {
        if let Some(value) = self.target.bindings.exact(symbol) {
            return self.interned(Expression::Literal(Literal::index(value)), Type::INDEX, span);
        }
        if let Symbol::Stride { tensor, axis } = symbol
            && let Some(parameter) = self.target.tensor(tensor).cloned()
        {
            let last = axis + 1 == parameter.rank;
            if last && parameter.layout != Layout::Strided {
                return self.interned(Expression::Literal(Literal::index(1)), Type::INDEX, span);
            }
            if parameter.layout == Layout::Contiguous {
                // The stride of an axis is the product of the extents inside it.
                let (op, inner) = (crate::ir::BinaryOp::Multiply, axis + 1);
                let left = self.emit(
                    Expression::Symbol(Symbol::Extent { tensor, axis: inner }),
                    Type::INDEX,
                    span,
                );
                let right = self.emit(
                    Expression::Symbol(Symbol::Stride { tensor, axis: inner }),
                    Type::INDEX,
                    span,
                );
                return self.emit(Expression::Binary { op, left, right }, Type::INDEX, span);
            }
        }
        self.interned(Expression::Symbol(symbol), Type::INDEX, span)
    }

    /// An extent or stride of one tensor of a list, as what this variant knows of all of them.
    fn member(&mut self, symbol: Symbol, access: Access, span: Span) -> Handle<Expression> {
        match symbol {
            Symbol::Extent { tensor, axis } if !self.target.differs(tensor, axis) => return self.symbol(symbol, span),
            Symbol::Stride { tensor, axis } => {
                let known = self.target.tensor(tensor).map(|list| (list.layout, list.rank));
                match known {
                    Some((Layout::Contiguous | Layout::Rows { .. }, rank)) if axis + 1 == rank => {
                        return self.interned(Expression::Literal(Literal::index(1)), Type::INDEX, span);
                    }
                    Some((Layout::Contiguous, _)) => {
                        let (op, axis) = (crate::ir::BinaryOp::Multiply, axis + 1);
                        let left = self.member(Symbol::Extent { tensor, axis }, access.clone(), span);
                        let right = self.member(Symbol::Stride { tensor, axis }, access, span);
                        return self.emit(Expression::Binary { op, left, right }, Type::INDEX, span);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        self.interned(Expression::Member { symbol, access }, Type::INDEX, span)
    }

    fn interned(&mut self, node: Expression, ty: Type, span: Span) -> Handle<Expression> {
        let key = (node, ty);
        if let Some(value) = self.scopes.iter().rev().find_map(|scope| scope.get(&key)) {
            return *value;
        }
        let global = key.0.is_global();
        let value = self.append(key.0.clone(), ty, span);
        // Outside a block, in the grid and the requirements, everything is in scope for them only.
        let scope = if global {
            self.scopes.first_mut()
        } else {
            self.scopes.last_mut()
        };
        if let Some(scope) = scope
            && (global || !self.output.is_empty())
        {
            scope.insert(key, value);
        }
        value
    }

    fn append(&mut self, node: Expression, ty: Type, span: Span) -> Handle<Expression> {
        let global = node.is_global();
        let value = self.target.append(node, ty, span);
        if !global {
            self.push(Statement::Let(value), span);
        }
        value
    }
}
