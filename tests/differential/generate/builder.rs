//! A kernel under construction: blocks, scopes and the types of what is appended.

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{
    Arena, BinaryOp, Bindings, Block, CompareOp, Expression, Handle, Kernel, Literal, Local, Parameter, ParameterKind,
    Shape, Span, Statement, Symbol, TensorParameter, Type, UnaryOp,
};

pub type Value = Handle<Expression>;

pub struct Builder {
    pub kernel: Kernel,
    blocks: Vec<Block>,
    /// Values in scope, outer ones first.
    pub values: Vec<Value>,
    /// Locals in scope that have a value.
    pub locals: Vec<Handle<Local>>,
    line: u32,
}

/// Where a scope begins.
#[derive(Clone, Copy)]
pub struct Scope {
    values: usize,
    locals: usize,
}

impl Builder {
    pub fn new(name: &str) -> Self {
        let span = Span {
            file: "fuzz",
            line: 1,
            column: 1,
        };
        let kernel = Kernel {
            name: name.to_owned(),
            span,
            parameters: Vec::new(),
            expressions: Arena::new(),
            types: Vec::new(),
            spans: Vec::new(),
            locals: Arena::new(),
            grid: Vec::new(),
            requirements: Vec::new(),
            body: Block::new(),
            bindings: Bindings::default(),
            checked: false,
            denies_guards: false,
            reports: false,
        };
        Self {
            kernel,
            blocks: vec![Block::new()],
            values: Vec::new(),
            locals: Vec::new(),
            line: 1,
        }
    }

    pub fn finish(mut self) -> Kernel {
        self.kernel.body = self.blocks.pop().unwrap_or_default();
        self.kernel
    }

    pub fn parameter(&mut self, kind: ParameterKind) -> u32 {
        let position = self.kernel.parameters.len() as u32;
        let name = format!("p{position}");
        self.kernel.parameters.push(Parameter { name, kind });
        position
    }

    pub fn tensor_mut(&mut self, parameter: u32) -> &mut TensorParameter {
        match &mut self.kernel.parameters[parameter as usize].kind {
            ParameterKind::Tensor(tensor) => tensor,
            _ => panic!("parameter {parameter} is no tensor"),
        }
    }

    pub fn ty(&self, value: Value) -> Type {
        self.kernel.ty(value)
    }

    /// A line of its own for everything, so that reports tell accesses apart.
    fn span(&mut self) -> Span {
        self.line += 1;
        Span {
            file: "fuzz",
            line: self.line,
            column: 1,
        }
    }

    pub fn push(&mut self, statement: Statement) {
        let span = self.span();
        if let Some(block) = self.blocks.last_mut() {
            block.push(statement, span);
        }
    }

    /// Appends a value that something else than a `Let` defines, or that needs no definition.
    pub fn append(&mut self, expression: Expression, ty: Type) -> Value {
        let span = self.span();
        self.kernel.append(expression, ty, span)
    }

    /// Appends a value, defined here.
    pub fn emit(&mut self, expression: Expression, ty: Type) -> Value {
        let global = expression.is_global();
        let value = self.append(expression, ty);
        if !global {
            self.push(Statement::Let(value));
            self.values.push(value);
        }
        value
    }

    pub fn literal(&mut self, literal: Literal) -> Value {
        self.emit(Expression::Literal(literal), Type::scalar(literal.element))
    }

    pub fn index(&mut self, value: i64) -> Value {
        self.literal(Literal::index(value))
    }

    pub fn symbol(&mut self, symbol: Symbol) -> Value {
        self.emit(Expression::Symbol(symbol), Type::INDEX)
    }

    pub fn arange(&mut self, extent: u32) -> Value {
        let shape = Shape::new(&[extent]).unwrap_or(Shape::SCALAR);
        let element = ElementType::I64;
        self.emit(Expression::Arange(extent), Type { element, shape })
    }

    pub fn broadcast(&mut self, value: Value, shape: Shape) -> Value {
        let ty = self.ty(value);
        if ty.shape == shape {
            return value;
        }
        self.emit(Expression::Broadcast { value, shape }, Type { shape, ..ty })
    }

    pub fn reshape(&mut self, value: Value, shape: Shape) -> Value {
        let ty = self.ty(value);
        self.emit(Expression::Reshape { value, shape }, Type { shape, ..ty })
    }

    pub fn unary(&mut self, op: UnaryOp, value: Value) -> Value {
        let ty = self.ty(value);
        self.emit(Expression::Unary { op, value }, ty)
    }

    /// Operands of one type, or a scalar beside a tile of its element type.
    pub fn binary(&mut self, op: BinaryOp, left: Value, right: Value) -> Value {
        let (left, right) = self.alike(left, right);
        let ty = self.ty(left);
        self.emit(Expression::Binary { op, left, right }, ty)
    }

    pub fn compare(&mut self, op: CompareOp, left: Value, right: Value) -> Value {
        let (left, right) = self.alike(left, right);
        let ty = self.ty(left).with_element(ElementType::Bool);
        self.emit(Expression::Compare { op, left, right }, ty)
    }

    pub fn cast(&mut self, value: Value, to: ElementType) -> Value {
        let ty = self.ty(value);
        if ty.element == to {
            return value;
        }
        self.emit(Expression::Cast { value, to }, ty.with_element(to))
    }

    fn alike(&mut self, left: Value, right: Value) -> (Value, Value) {
        let (l, r) = (self.ty(left).shape, self.ty(right).shape);
        match l.broadcast(r) {
            Some(shape) => (self.broadcast(left, shape), self.broadcast(right, shape)),
            None => (left, right),
        }
    }

    pub fn read(&mut self, local: Handle<Local>) -> Value {
        let ty = self.kernel.locals[local].ty;
        self.emit(Expression::Local(local), ty)
    }

    pub fn assign(&mut self, local: Handle<Local>, value: Value) {
        self.push(Statement::Assign { local, value });
    }

    /// A variable with a first value.
    pub fn variable(&mut self, value: Value) -> Handle<Local> {
        let name = format!("x{}", self.kernel.locals.len());
        let ty = self.ty(value);
        let local = self.kernel.locals.append(Local { name, ty });
        self.assign(local, value);
        self.locals.push(local);
        local
    }

    pub fn open(&mut self) -> Scope {
        self.blocks.push(Block::new());
        self.scope()
    }

    pub fn scope(&self) -> Scope {
        Scope {
            values: self.values.len(),
            locals: self.locals.len(),
        }
    }

    /// Ends the innermost block, whose values stay in scope until [`Builder::leave`].
    pub fn close(&mut self) -> Block {
        self.blocks.pop().unwrap_or_default()
    }

    /// Goes on in a block that was closed.
    pub fn reopen(&mut self, block: Block) {
        self.blocks.push(block);
    }

    /// The line of what was written last.
    pub fn line(&self) -> u32 {
        self.line
    }

    pub fn leave(&mut self, scope: Scope) {
        self.values.truncate(scope.values);
        self.locals.truncate(scope.locals);
    }
}
