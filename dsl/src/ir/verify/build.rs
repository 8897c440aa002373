//! Kernels built by hand, for tests.

use super::{VerifyError, values, verify};
use crate::element::{Element, ElementType};
use crate::ir::{
    Access, Arena, Atomic, AtomicOp, AtomicUpdate, BinaryOp, Bindings, Block, Bounds, CompareOp, Conflict, Expression,
    Guard, Handle, Kernel, Layout, List, Literal, Local, MemoryOrder, MemoryScope, Parameter, ParameterKind, Shape,
    Span, Statement, Symbol, TensorParameter, Type,
};

pub(crate) type Value = Handle<Expression>;

/// A kernel under construction. Each statement gets a line of its own in `kernel.rs`.
pub(crate) struct Builder {
    pub kernel: Kernel,
    blocks: Vec<Block>,
    line: u32,
    /// The policy of the accesses that follow.
    pub bounds: Bounds,
    /// What the stores that follow do where elements meet.
    pub conflict: Option<Conflict>,
}

impl Builder {
    pub fn new(name: &str) -> Self {
        let kernel = Kernel {
            name: name.to_owned(),
            span: Span {
                file: "kernel.rs",
                line: 1,
                column: 1,
            },
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
            reports: false,
            denies_guards: false,
        };
        Self {
            kernel,
            blocks: vec![Block::new()],
            line: 1,
            bounds: Bounds::default(),
            conflict: None,
        }
    }

    pub fn parameter(&mut self, name: &str, kind: ParameterKind) -> u32 {
        self.kernel.parameters.push(Parameter {
            name: name.to_owned(),
            kind,
        });
        self.kernel.parameters.len() as u32 - 1
    }

    /// A strided, mutable tensor.
    pub fn tensor(&mut self, name: &str, element: ElementType, rank: u8) -> u32 {
        let alignment = element.size() as u32;
        let tensor = TensorParameter {
            element,
            rank,
            list: None,
            mutable: true,
            layout: Layout::Strided,
            alignment,
        };
        self.parameter(name, ParameterKind::Tensor(tensor))
    }

    /// A list of tensors of this rank.
    pub fn list(&mut self, name: &str, element: ElementType, rank: u8) -> u32 {
        let list = self.tensor(name, element, rank + 1);
        self.tensor_mut(list).list = Some(List::default());
        list
    }

    /// An extent or stride of one tensor of a list.
    pub fn of_member(&mut self, symbol: Symbol, list: u32, member: Value) -> Value {
        let access = self.access(list, &[member]);
        self.emit(Expression::Member { symbol, access })
    }

    pub fn tensor_mut(&mut self, tensor: u32) -> &mut TensorParameter {
        match &mut self.kernel.parameters[tensor as usize].kind {
            ParameterKind::Tensor(tensor) => tensor,
            _ => panic!("parameter {tensor} is no tensor"),
        }
    }

    pub fn count(&mut self, name: &str) -> Value {
        let position = self.parameter(name, ParameterKind::Count);
        self.symbol(Symbol::Count(position))
    }

    pub fn scalar(&mut self, name: &str, element: ElementType) -> Value {
        let position = self.parameter(name, ParameterKind::Scalar(element));
        self.emit(Expression::Argument(position))
    }

    /// A new line of the imagined source.
    pub fn span(&mut self) -> Span {
        self.line += 1;
        Span {
            file: "kernel.rs",
            line: self.line,
            column: 5,
        }
    }

    pub fn push(&mut self, statement: Statement) {
        let span = self.span();
        self.blocks.last_mut().unwrap().push(statement, span);
    }

    /// Appends an expression of the type its rule gives (a scalar i64 if it gives none) without defining it.
    pub fn append(&mut self, expression: Expression) -> Value {
        let ty = values::infer(&self.kernel, &expression).unwrap_or(Type::INDEX);
        let span = Span {
            file: "kernel.rs",
            line: self.line + 1,
            column: 5,
        };
        self.kernel.append(expression, ty, span)
    }

    /// Appends an expression and defines it here if it needs a definition.
    pub fn emit(&mut self, expression: Expression) -> Value {
        let global = expression.is_global();
        let value = self.append(expression);
        if !global {
            self.push(Statement::Let(value));
        }
        value
    }

    pub fn literal<T: Element>(&mut self, value: T) -> Value {
        self.emit(Expression::Literal(Literal::new(value)))
    }

    pub fn index(&mut self, value: i64) -> Value {
        self.literal(value)
    }

    pub fn symbol(&mut self, symbol: Symbol) -> Value {
        self.emit(Expression::Symbol(symbol))
    }

    pub fn program(&mut self, axis: u8) -> Value {
        self.symbol(Symbol::ProgramId(axis))
    }

    pub fn extent(&mut self, tensor: u32, axis: u8) -> Value {
        self.symbol(Symbol::Extent { tensor, axis })
    }

    pub fn arange(&mut self, extent: u32) -> Value {
        self.emit(Expression::Arange(extent))
    }

    pub fn shape(&self, value: Value) -> Shape {
        self.kernel.ty(value).shape
    }

    pub fn stretch(&mut self, value: Value, shape: Shape) -> Value {
        if self.shape(value) == shape {
            value
        } else {
            self.emit(Expression::Broadcast { value, shape })
        }
    }

    pub fn reshape(&mut self, value: Value, extents: &[u32]) -> Value {
        let shape = Shape::new(extents).unwrap();
        self.emit(Expression::Reshape { value, shape })
    }

    fn unify(&mut self, left: Value, right: Value) -> (Value, Value) {
        let shape = self.shape(left).broadcast(self.shape(right)).unwrap();
        (self.stretch(left, shape), self.stretch(right, shape))
    }

    pub fn binary(&mut self, op: BinaryOp, left: Value, right: Value) -> Value {
        let (left, right) = self.unify(left, right);
        self.emit(Expression::Binary { op, left, right })
    }

    pub fn add(&mut self, left: Value, right: Value) -> Value {
        self.binary(BinaryOp::Add, left, right)
    }

    pub fn mul(&mut self, left: Value, right: Value) -> Value {
        self.binary(BinaryOp::Multiply, left, right)
    }

    pub fn compare(&mut self, op: CompareOp, left: Value, right: Value) -> Value {
        let (left, right) = self.unify(left, right);
        self.emit(Expression::Compare { op, left, right })
    }

    pub fn cast(&mut self, value: Value, to: ElementType) -> Value {
        self.emit(Expression::Cast { value, to })
    }

    /// Adds to elements by a relaxed atomic operation, and returns what they were.
    pub fn atomic_add(&mut self, tensor: u32, indices: &[Value], value: Value, scope: MemoryScope) -> Value {
        let access = self.access(tensor, indices);
        self.emit(Expression::Atomic(Atomic {
            access,
            update: AtomicUpdate::Combine {
                op: AtomicOp::Add,
                value,
            },
            order: MemoryOrder::Relaxed,
            scope,
        }))
    }

    pub fn access(&self, tensor: u32, indices: &[Value]) -> Access {
        let guard = if self.bounds == Bounds::Unchecked {
            Guard::NONE
        } else {
            Guard::FULL
        };
        Access {
            tensor,
            indices: indices.iter().copied().collect(),
            bounds: self.bounds,
            guards: indices.iter().map(|_| guard).collect(),
            mask: None,
            cache: None,
            must_be_wide: false,
        }
    }

    pub fn load(&mut self, tensor: u32, indices: &[Value]) -> Value {
        let access = self.access(tensor, indices);
        self.emit(Expression::Load(access))
    }

    pub fn load_where(&mut self, tensor: u32, indices: &[Value], mask: Value) -> Value {
        let access = Access {
            mask: Some(mask),
            ..self.access(tensor, indices)
        };
        self.emit(Expression::Load(access))
    }

    pub fn store(&mut self, tensor: u32, indices: &[Value], value: Value) {
        let access = self.access(tensor, indices);
        let shape = indices
            .iter()
            .fold(Shape::SCALAR, |shape, &i| shape.broadcast(self.shape(i)).unwrap());
        let value = self.stretch(value, shape);
        self.push(Statement::Store {
            access,
            value,
            conflict: self.conflict,
        });
    }

    pub fn store_where(&mut self, tensor: u32, indices: &[Value], value: Value, mask: Value) {
        let access = Access {
            mask: Some(mask),
            ..self.access(tensor, indices)
        };
        self.push(Statement::Store {
            access,
            value,
            conflict: self.conflict,
        });
    }

    pub fn declare(&mut self, name: &str, ty: Type) -> Handle<Local> {
        self.kernel.locals.append(Local {
            name: name.to_owned(),
            ty,
        })
    }

    /// Declares a local with a first value.
    pub fn variable(&mut self, name: &str, value: Value) -> Handle<Local> {
        let ty = self.kernel.ty(value);
        let local = self.declare(name, ty);
        self.assign(local, value);
        local
    }

    pub fn assign(&mut self, local: Handle<Local>, value: Value) {
        self.push(Statement::Assign { local, value });
    }

    pub fn read(&mut self, local: Handle<Local>) -> Value {
        self.emit(Expression::Local(local))
    }

    /// What `fill` records, as a block of its own.
    pub fn block(&mut self, fill: impl FnOnce(&mut Self)) -> Block {
        self.open();
        fill(self);
        self.close()
    }

    /// Opens a block: statements go there until [`Builder::close`].
    pub fn open(&mut self) {
        self.blocks.push(Block::new());
    }

    /// Closes the innermost block that was opened.
    pub fn close(&mut self) -> Block {
        self.blocks.pop().unwrap()
    }

    pub fn if_else(&mut self, condition: Value, accept: impl FnOnce(&mut Self), reject: impl FnOnce(&mut Self)) {
        let accept = self.block(accept);
        let reject = self.block(reject);
        self.push(Statement::If {
            condition,
            accept,
            reject,
        });
    }

    pub fn while_loop(&mut self, condition: impl FnOnce(&mut Self) -> Value, body: impl FnOnce(&mut Self)) {
        let mut value = None;
        let header = self.block(|b| value = Some(condition(b)));
        let body = self.block(body);
        self.push(Statement::While {
            header,
            condition: value.unwrap(),
            body,
        });
    }

    pub fn for_loop(&mut self, start: Value, end: Value, step: i128, body: impl FnOnce(&mut Self, Value)) {
        let element = self.kernel.ty(start).element;
        let induction = self.append(Expression::Induction(element));
        let body = self.block(|b| body(b, induction));
        self.push(Statement::For {
            induction,
            start,
            end,
            step,
            body,
        });
    }

    /// The kernel with this grid, checked.
    pub fn verified(mut self, grid: &[Value]) -> Result<Kernel, VerifyError> {
        self.kernel.grid = grid.to_vec();
        self.kernel.body = self.blocks.pop().unwrap();
        verify(&self.kernel).map(|()| self.kernel)
    }

    /// The kernel with this grid, which is well-formed.
    pub fn finish(self, grid: &[Value]) -> Kernel {
        self.verified(grid).unwrap()
    }

    /// The kernel with a grid of `programs`.
    pub fn launch(mut self, programs: i64) -> Kernel {
        let grid = self.index(programs);
        self.finish(&[grid])
    }
}
