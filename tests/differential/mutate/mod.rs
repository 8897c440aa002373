//! Random damage to kernels, and kernels of random parts.

mod tiles;

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{
    Access, BinaryOp, Block, Bounds, CacheHint, CheckKind, CompareOp, Conflict, Expression, GridDependency, Guard,
    Handle, Kernel, Layout, List, Literal, Local, Parameter, ParameterKind, Requirement, Shape, Span, Statement,
    Symbol, TensorParameter, Type, UnaryOp,
};

use crate::generate::literal;

pub struct Mutator<'r> {
    pub rng: &'r mut fastrand::Rng,
    /// How many items the arenas have, so that handles are usually of something.
    expressions: usize,
    locals: usize,
    parameters: usize,
}

impl<'r> Mutator<'r> {
    pub fn new(rng: &'r mut fastrand::Rng, kernel: &Kernel) -> Self {
        Self {
            rng,
            expressions: kernel.expressions.len(),
            locals: kernel.locals.len(),
            parameters: kernel.parameters.len(),
        }
    }

    /// Changes one thing.
    pub fn mutate(&mut self, kernel: &mut Kernel) {
        match self.rng.u8(..22) {
            20 => kernel.checked = !kernel.checked,
            21 => match self.rng.bool() {
                true => kernel.reports = !kernel.reports,
                false => kernel.denies_guards = !kernel.denies_guards,
            },
            0..=5 => self.mutate_expression(kernel),
            6..=11 => {
                let mut body = std::mem::take(&mut kernel.body);
                self.mutate_block(&mut body, 0);
                kernel.body = body;
            }
            12 => {
                if let Some(index) = self.position(kernel.types.len()) {
                    kernel.types[index] = self.ty();
                }
            }
            13 => {
                // A new expression that takes the place of none.
                let (expression, ty) = (self.expression(), self.ty());
                kernel.append(expression, ty, Span::UNKNOWN);
                self.expressions += 1;
            }
            14 => match self.rng.u8(..3) {
                0 => drop(kernel.grid.pop()),
                1 => kernel.grid.push(self.value()),
                _ => {
                    if let Some(index) = self.position(kernel.grid.len()) {
                        kernel.grid[index] = self.value();
                    }
                }
            },
            15 => match self.rng.u8(..3) {
                0 => kernel.bindings.exact.push((self.symbol(), self.rng.i64(-2..100))),
                1 => kernel.bindings.device.push((self.rng.u32(..6), self.element())),
                _ => kernel.bindings.exact.clear(),
            },
            16 => {
                let parameter = self.parameter();
                match self.position(kernel.parameters.len()) {
                    Some(index) => kernel.parameters[index] = parameter,
                    None => kernel.parameters.push(parameter),
                }
            }
            17 => {
                let (name, ty) = ("x".to_owned(), self.ty());
                match self.position(kernel.locals.len()) {
                    Some(index) => kernel.locals[Handle::from_index(index)].ty = ty,
                    None => drop(kernel.locals.append(Local { name, ty })),
                }
            }
            18 => drop(kernel.types.pop()),
            19 => self.require(kernel),
            _ => kernel.spans.push(Span::UNKNOWN),
        }
    }

    /// A kernel of random parts.
    pub fn garbage(&mut self, kernel: &mut Kernel) {
        for _ in 0..self.rng.usize(..4) {
            kernel.parameters.push(self.parameter());
        }
        self.parameters = kernel.parameters.len();
        for _ in 0..self.rng.usize(..3) {
            let (name, ty) = ("x".to_owned(), self.ty());
            kernel.locals.append(Local { name, ty });
        }
        self.locals = kernel.locals.len();
        for _ in 0..self.rng.usize(..12) {
            self.expressions = kernel.expressions.len();
            let (expression, ty) = (self.expression(), self.ty());
            kernel.append(expression, ty, Span::UNKNOWN);
        }
        self.expressions = kernel.expressions.len();
        for _ in 0..self.rng.usize(..5) {
            let statement = self.statement(0);
            kernel.body.push(statement, Span::UNKNOWN);
        }
        kernel.grid.extend((0..self.rng.usize(..5)).map(|_| self.value()));
        if self.rng.u8(..3) == 0 {
            self.require(kernel);
        }
    }

    fn require(&mut self, kernel: &mut Kernel) {
        let (condition, span) = (self.value(), Span::UNKNOWN);
        kernel.requirements.push(Requirement { condition, span });
    }

    pub fn position(&mut self, length: usize) -> Option<usize> {
        (length > 0).then(|| self.rng.usize(..length))
    }

    fn mutate_expression(&mut self, kernel: &mut Kernel) {
        let Some(index) = self.position(kernel.expressions.len()) else {
            return;
        };
        let handle = Handle::from_index(index);
        match self.rng.u8(..6) {
            0 => kernel.expressions[handle] = self.expression(),
            1 | 2 => {
                // Another operand, usually an earlier one.
                let mut operands = 0;
                kernel.expressions[handle].for_each_operand(|_| operands += 1);
                let Some(chosen) = self.position(operands) else { return };
                let other = if self.rng.u8(..8) == 0 {
                    self.value()
                } else {
                    Handle::from_index(self.rng.usize(..=index))
                };
                let mut at = 0;
                kernel.expressions[handle].map_operands(|operand| {
                    at += 1;
                    if at == chosen + 1 { other } else { operand }
                });
            }
            _ => match &mut kernel.expressions[handle] {
                Expression::Literal(value) => {
                    *value = match self.rng.u8(..4) {
                        0 => Literal {
                            element: self.element(),
                            bits: self.rng.u64(..),
                        },
                        _ => literal(self.rng, value.element),
                    };
                }
                Expression::Symbol(symbol) => *symbol = self.symbol(),
                Expression::Argument(position) => *position = self.rng.u32(..8),
                Expression::Induction(element) => *element = self.element(),
                Expression::Arange(extent) => *extent = self.rng.u32(..40),
                Expression::Broadcast { shape, .. } | Expression::Reshape { shape, .. } => *shape = self.shape(),
                Expression::Unary { op, .. } => *op = self.unary(),
                Expression::Binary { op, .. } => *op = self.binary(),
                Expression::Compare { op, .. } => *op = self.compare(),
                Expression::Cast { to, .. } => *to = self.element(),
                Expression::Local(local) => *local = Handle::from_index(self.rng.usize(..=self.locals)),
                Expression::Load(access) => self.mutate_access(access),
                other => self.mutate_tiles(other),
            },
        }
    }

    pub fn mutate_access(&mut self, access: &mut Access) {
        match self.rng.u8(..9) {
            8 => access.cache = self.hint(),
            0 => access.tensor = self.rng.u32(..8),
            1 => drop(access.indices.pop()),
            2 => drop(access.indices.try_push(self.value())),
            3 => drop(access.guards.pop()),
            4 => access.bounds = self.bounds(),
            5 => access.mask = self.rng.bool().then(|| self.value()),
            6 => {
                if let Some(index) = self.position(access.guards.len()) {
                    access.guards[index] = self.guard();
                }
            }
            _ => {
                if let Some(index) = self.position(access.indices.len()) {
                    access.indices[index] = self.value();
                }
            }
        }
    }

    fn mutate_block(&mut self, block: &mut Block, depth: u32) {
        let Some(chosen) = self.position(block.len()) else {
            let statement = self.statement(depth);
            return block.push(statement, Span::UNKNOWN);
        };
        let mut items: Vec<_> = std::mem::take(block).into_iter().collect();
        match self.rng.u8(..8) {
            0 => drop(items.remove(chosen)),
            1 => items.insert(chosen, items[chosen].clone()),
            2 => {
                let other = self.rng.usize(..items.len());
                items.swap(chosen, other);
            }
            3 => items.insert(chosen, (self.statement(depth), Span::UNKNOWN)),
            _ => self.mutate_statement(&mut items[chosen].0, depth),
        }
        *block = items.into_iter().collect();
    }

    fn mutate_statement(&mut self, statement: &mut Statement, depth: u32) {
        match statement {
            Statement::Let(value) => *value = self.value(),
            Statement::Store {
                access,
                value,
                conflict,
            } => match self.rng.u8(..5) {
                0 => *value = self.value(),
                1 => *conflict = self.conflict(),
                _ => self.mutate_access(access),
            },
            Statement::Assign { local, value } => match self.rng.bool() {
                true => *local = Handle::from_index(self.rng.usize(..=self.locals)),
                false => *value = self.value(),
            },
            Statement::If {
                condition,
                accept,
                reject,
            } => match self.rng.u8(..4) {
                0 => *condition = self.value(),
                1 => std::mem::swap(accept, reject),
                2 => self.mutate_block(reject, depth + 1),
                _ => self.mutate_block(accept, depth + 1),
            },
            Statement::While {
                header,
                condition,
                body,
            } => match self.rng.u8(..4) {
                0 => *condition = self.value(),
                1 => std::mem::swap(header, body),
                2 => self.mutate_block(header, depth + 1),
                _ => self.mutate_block(body, depth + 1),
            },
            Statement::For {
                induction,
                start,
                end,
                step,
                body,
            } => match self.rng.u8(..6) {
                0 => *induction = self.value(),
                1 => *start = self.value(),
                2 => *end = self.value(),
                3 => {
                    *step = self
                        .rng
                        .choice([0, 1, -1, 1 << 63, -(1 << 64), i128::MIN, 7])
                        .unwrap_or(0)
                }
                _ => self.mutate_block(body, depth + 1),
            },
            Statement::Check {
                condition,
                kind,
                message,
            } => match self.rng.u8(..3) {
                0 => *condition = self.value(),
                1 => *kind = self.check(),
                _ => message.push_str(["\"", "\\", "\n", "é"][self.rng.usize(..4)]),
            },
            Statement::Prefetch(access) => self.mutate_access(access),
            Statement::Print { format, values } => match self.rng.u8(..3) {
                0 => values.push(self.value()),
                1 => format.push_str("{} %d \\ \" \n"),
                _ => {
                    format.push_str("{}");
                    values.push(self.value());
                }
            },
            other @ (Statement::GridDependency(_) | Statement::Break | Statement::Continue | Statement::Return) => {
                *other = self.statement(depth);
            }
        }
    }

    fn statement(&mut self, depth: u32) -> Statement {
        let kinds = if depth < 4 { 13 } else { 10 };
        match self.rng.u8(..kinds) {
            0 => Statement::Let(self.value()),
            1 => Statement::Store {
                access: self.access(),
                value: self.value(),
                conflict: self.conflict(),
            },
            2 => Statement::Assign {
                local: Handle::from_index(self.rng.usize(..=self.locals)),
                value: self.value(),
            },
            3 => Statement::Break,
            4 => Statement::Continue,
            5 => Statement::Return,
            6 => Statement::Check {
                condition: self.value(),
                kind: self.check(),
                message: "a\\ \"%s\"\n".to_owned(),
            },
            7 => Statement::Prefetch(self.access()),
            8 => Statement::GridDependency(match self.rng.bool() {
                true => GridDependency::Wait,
                false => GridDependency::Trigger,
            }),
            9 => Statement::Print {
                format: "a {} {}".to_owned(),
                values: (0..self.rng.usize(1..4)).map(|_| self.value()).collect(),
            },
            10 => Statement::If {
                condition: self.value(),
                accept: self.block(depth),
                reject: self.block(depth),
            },
            11 => Statement::While {
                header: self.block(depth),
                condition: self.value(),
                body: self.block(depth),
            },
            _ => Statement::For {
                induction: self.value(),
                start: self.value(),
                end: self.value(),
                step: self.rng.i128(-2..=2),
                body: self.block(depth),
            },
        }
    }

    fn block(&mut self, depth: u32) -> Block {
        (0..self.rng.usize(..3))
            .map(|_| (self.statement(depth + 1), Span::UNKNOWN))
            .collect()
    }

    /// A handle, rarely of nothing.
    pub fn value(&mut self) -> Handle<Expression> {
        Handle::from_index(match self.rng.u8(..40) {
            0 => u32::MAX as usize,
            1 => self.expressions,
            _ => self.position(self.expressions).unwrap_or(0),
        })
    }

    pub fn expression(&mut self) -> Expression {
        match self.rng.u8(..20) {
            0 => {
                let element = self.element();
                Expression::Literal(literal(self.rng, element))
            }
            1 => Expression::Symbol(self.symbol()),
            2 => Expression::Argument(self.rng.u32(..8)),
            3 => Expression::Induction(self.element()),
            4 => Expression::Arange(self.rng.choice([0, 1, 2, 5, 33, u32::MAX]).unwrap_or(1)),
            5 => Expression::Broadcast {
                value: self.value(),
                shape: self.shape(),
            },
            6 => Expression::Reshape {
                value: self.value(),
                shape: self.shape(),
            },
            7 => Expression::Unary {
                op: self.unary(),
                value: self.value(),
            },
            8 => Expression::Binary {
                op: self.binary(),
                left: self.value(),
                right: self.value(),
            },
            9 => Expression::Compare {
                op: self.compare(),
                left: self.value(),
                right: self.value(),
            },
            10 => Expression::Select {
                condition: self.value(),
                accept: self.value(),
                reject: self.value(),
            },
            11 => Expression::Cast {
                value: self.value(),
                to: self.element(),
            },
            12 => match self.rng.u8(..3) {
                0 => Expression::Member {
                    symbol: self.symbol(),
                    access: self.access(),
                },
                1 => Expression::Local(Handle::from_index(self.rng.usize(..=self.locals))),
                _ => Expression::Load(self.access()),
            },
            _ => self.tiles(),
        }
    }

    pub fn access(&mut self) -> Access {
        let rank = self.rng.usize(..=4);
        Access {
            tensor: self.rng.u32(..=self.parameters as u32),
            indices: (0..rank).map(|_| self.value()).collect(),
            bounds: self.bounds(),
            guards: (0..rank).map(|_| self.guard()).collect(),
            mask: (self.rng.u8(..4) == 0).then(|| self.value()),
            cache: self.hint(),
            must_be_wide: self.rng.bool(),
        }
    }

    fn parameter(&mut self) -> Parameter {
        let name = format!("p{}", self.rng.u8(..12));
        let kind = match self.rng.u8(..4) {
            0 => ParameterKind::Count,
            1 => ParameterKind::Scalar(self.element()),
            _ => ParameterKind::Tensor(TensorParameter {
                element: self.element(),
                rank: self.rng.u8(..6),
                list: (self.rng.u8(..4) == 0).then(|| List {
                    shared: std::array::from_fn(|axis| axis > 0 && self.rng.u8(..4) == 0),
                    peers: self.rng.u8(..4) == 0,
                }),
                mutable: self.rng.bool(),
                layout: match self.rng.u8(..3) {
                    0 => Layout::Contiguous,
                    1 => Layout::Rows {
                        multiple: self.rng.u32(..9),
                    },
                    _ => Layout::Strided,
                },
                alignment: self.rng.choice([0, 1, 3, 8, 16, 1 << 31]).unwrap_or(1),
            }),
        };
        Parameter { name, kind }
    }

    fn symbol(&mut self) -> Symbol {
        let (tensor, axis) = (self.rng.u32(..8), self.rng.u8(..5));
        match self.rng.u8(..5) {
            0 => Symbol::ProgramId(axis),
            1 => Symbol::NumPrograms(axis),
            2 => Symbol::Extent { tensor, axis },
            3 => Symbol::Stride { tensor, axis },
            _ => Symbol::Count(tensor),
        }
    }

    pub fn shape(&mut self) -> Shape {
        let extents = [0, 1, 1, 2, 3, 4, 7, 32, 1 << 12, u32::MAX];
        let rank = self.rng.usize(..=3);
        let extents: Vec<u32> = (0..rank).map(|_| self.rng.choice(extents).unwrap_or(1)).collect();
        Shape::new(&extents).unwrap_or(Shape::SCALAR)
    }

    fn ty(&mut self) -> Type {
        Type {
            element: self.element(),
            shape: self.shape(),
        }
    }

    pub fn element(&mut self) -> ElementType {
        self.rng.choice(ElementType::ALL).unwrap_or(ElementType::I64)
    }

    fn bounds(&mut self) -> Bounds {
        let all = [
            Bounds::ReadZeroSkipWrite,
            Bounds::Clamp,
            Bounds::Trap,
            Bounds::Unchecked,
        ];
        self.rng.choice(all).unwrap_or_default()
    }

    fn guard(&mut self) -> Guard {
        Guard {
            lower: self.rng.bool(),
            upper: self.rng.bool(),
        }
    }

    pub fn unary(&mut self) -> UnaryOp {
        self.rng.choice(UnaryOp::ALL).unwrap_or(UnaryOp::Not)
    }

    pub fn binary(&mut self) -> BinaryOp {
        self.rng.choice(BinaryOp::ALL).unwrap_or(BinaryOp::Add)
    }

    fn conflict(&mut self) -> Option<Conflict> {
        let all = [None, Some(Conflict::Disjoint), Some(Conflict::LastWins)];
        self.rng.choice(all).unwrap_or(None)
    }

    fn check(&mut self) -> CheckKind {
        let all = [CheckKind::Assert, CheckKind::Assume];
        self.rng.choice(all).unwrap_or(CheckKind::Assert)
    }

    fn hint(&mut self) -> Option<CacheHint> {
        if self.rng.u8(..4) == 0 {
            self.rng.choice(CacheHint::ALL)
        } else {
            None
        }
    }

    pub fn compare(&mut self) -> CompareOp {
        let all = [CompareOp::Equal, CompareOp::Less, CompareOp::GreaterEqual];
        self.rng.choice(all).unwrap_or(CompareOp::Equal)
    }
}
