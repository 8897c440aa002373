//! Random values of a wanted type.

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{Expression, Literal, ParameterKind, Shape, Symbol, Type};

use super::Generator;
use super::builder::Value;
use super::table::{OPERATIONS, Operation, Rule};
use crate::case::Argument;

impl Generator {
    /// A value of type `ty`, of at most `depth` new operations in a row.
    pub fn value(&mut self, ty: Type, depth: u32) -> Value {
        if self.rng.u8(..10) < 4
            && let Some(value) = self.existing(ty)
        {
            return value;
        }
        if depth > 0 && self.rng.u8(..8) > 0 {
            let usable = || OPERATIONS.iter().filter(|operation| operation.rule.gives(ty));
            let total: u32 = usable().map(|operation| operation.weight).sum();
            let mut at = self.rng.u32(..total.max(1));
            let chosen = usable().find(|operation| {
                let here = at < operation.weight;
                at = at.saturating_sub(operation.weight);
                here
            });
            if let Some(value) = chosen.and_then(|operation| self.operation(operation, ty, depth - 1)) {
                return value;
            }
        }
        self.leaf(ty)
    }

    pub fn scalar(&mut self, element: ElementType, depth: u32) -> Value {
        self.value(Type::scalar(element), depth)
    }

    /// A value in scope, or the present value of a variable in scope.
    fn existing(&mut self, ty: Type) -> Option<Value> {
        if self.rng.u8(..3) == 0 {
            let fitting = |local: &_| self.b.kernel.locals[*local].ty == ty;
            let locals: Vec<_> = self.b.locals.iter().copied().filter(fitting).collect();
            if let Some(local) = self.rng.choice(locals) {
                return Some(self.b.read(local));
            }
        }
        let fitting: Vec<_> = self.b.values.iter().copied().filter(|&v| self.b.ty(v) == ty).collect();
        self.rng.choice(fitting)
    }

    fn operation(&mut self, operation: &Operation, ty: Type, depth: u32) -> Option<Value> {
        let value = match operation.rule {
            Rule::Unary(op) => {
                let value = self.value(ty, depth);
                self.b.unary(op, value)
            }
            Rule::Binary(op) => {
                let (left, right) = (self.value(ty, depth), self.value(ty, depth));
                self.b.binary(op, left, right)
            }
            Rule::Compare(op) => {
                let elements: Vec<_> = self.elements.iter().copied().filter(|&e| op.accepts(e)).collect();
                let element = self.rng.choice(elements)?;
                let operands = ty.with_element(element);
                let (left, right) = (self.value(operands, depth), self.value(operands, depth));
                self.b.compare(op, left, right)
            }
            Rule::Select => {
                let condition = self.value(ty.with_element(ElementType::Bool), depth);
                let (accept, reject) = (self.value(ty, depth), self.value(ty, depth));
                let select = Expression::Select {
                    condition,
                    accept,
                    reject,
                };
                self.b.emit(select, ty)
            }
            Rule::MulAdd => {
                let [left, right, addend] = [(); 3].map(|()| self.value(ty, depth));
                self.b.emit(Expression::MulAdd { left, right, addend }, ty)
            }
            Rule::Bitcast => {
                let same = |e: &ElementType| *e != ElementType::Bool && e.size() == ty.element.size();
                let from = self
                    .rng
                    .choice(ElementType::ALL.into_iter().filter(same).collect::<Vec<_>>())?;
                let value = self.value(ty.with_element(from), depth);
                self.b.emit(Expression::Bitcast { value, to: ty.element }, ty)
            }
            Rule::MultipleOf => self.multiple(ty, depth),
            Rule::Ptx => self.ptx(ty, depth)?,
            Rule::Cast => {
                let mut from = self.elements.clone();
                from.retain(|element| *element != ty.element);
                let from = self.rng.choice(from)?;
                let value = self.value(ty.with_element(from), depth);
                self.b.cast(value, ty.element)
            }
            Rule::Broadcast => {
                let stretches = |s: &Shape| *s != ty.shape && s.broadcast(ty.shape) == Some(ty.shape);
                let from = self.shape_where(stretches)?;
                let value = self.value(Type { shape: from, ..ty }, depth);
                self.b.broadcast(value, ty.shape)
            }
            Rule::Reshape => {
                let from = self.shape_where(|s| *s != ty.shape && s.elements() == ty.shape.elements())?;
                let value = self.value(Type { shape: from, ..ty }, depth);
                self.b.reshape(value, ty.shape)
            }
            Rule::Load => self.load(ty, depth)?,
            Rule::Permute
            | Rule::Slice
            | Rule::Concatenate
            | Rule::Take
            | Rule::Reduce
            | Rule::ArgReduce
            | Rule::Scan
            | Rule::ArgSort
            | Rule::Histogram => self.tile_operation(operation.rule, ty, depth)?,
        };
        self.ulps = self.ulps.max(operation.ulps);
        Some(value)
    }

    fn shape_where(&mut self, fits: impl Fn(&Shape) -> bool) -> Option<Shape> {
        let shapes: Vec<_> = self.shapes.iter().copied().filter(fits).collect();
        self.rng.choice(shapes)
    }

    /// A value that needs no other one of its shape.
    fn leaf(&mut self, ty: Type) -> Value {
        if !ty.is_scalar() {
            if ty.element == ElementType::I64 && ty.shape.rank() == 1 && self.rng.bool() {
                return self.b.arange(ty.shape.extents()[0]);
            }
            let value = self.leaf(Type::scalar(ty.element));
            return self.b.broadcast(value, ty.shape);
        }
        match self.rng.u8(..4) {
            0 if ty.element == ElementType::I64 => {
                if self.rng.u8(..3) == 0
                    && let Some(value) = self.of_member()
                {
                    return value;
                }
                let symbol = self.launch_symbol();
                self.b.symbol(symbol)
            }
            1 => match self.argument(ty.element) {
                Some(position) => self.b.emit(Expression::Argument(position), ty),
                None => self.random_literal(ty.element),
            },
            _ => self.random_literal(ty.element),
        }
    }

    fn argument(&mut self, element: ElementType) -> Option<u32> {
        let fits = |kind: &ParameterKind| *kind == ParameterKind::Scalar(element);
        let parameters = self.b.kernel.parameters.iter().enumerate();
        let fitting: Vec<_> = parameters
            .filter(|(_, p)| fits(&p.kind))
            .map(|(i, _)| i as u32)
            .collect();
        self.rng.choice(fitting)
    }

    pub fn launch_symbol(&mut self) -> Symbol {
        let mut symbols = vec![Symbol::ProgramId(self.rng.u8(..3))];
        // Where the grid follows from a count in device memory, more programs start than run.
        if !self.grid_on_device {
            symbols.push(Symbol::NumPrograms(self.rng.u8(..3)));
        }
        for (position, parameter) in (0u32..).zip(&self.b.kernel.parameters) {
            match &parameter.kind {
                ParameterKind::Tensor(tensor) => {
                    let axis = self.rng.u8(..tensor.rank);
                    symbols.push(Symbol::Extent { tensor: position, axis });
                    // The stride of an axis without neighbours means nothing.
                    if tensor.list.is_none() && self.extents(position).iter().all(|&extent| extent > 1) {
                        symbols.push(Symbol::Stride { tensor: position, axis });
                    }
                }
                ParameterKind::Count => symbols.extend([Symbol::Count(position); 3]),
                ParameterKind::Scalar(_) => {}
            }
        }
        self.rng.choice(symbols).unwrap_or(Symbol::ProgramId(0))
    }

    /// The value of a symbol in every program of the launch, if it has one.
    pub fn known(&self, symbol: Symbol) -> Option<i64> {
        let argument = |position: u32| self.arguments.get(position as usize);
        match symbol {
            Symbol::Count(position) => match argument(position) {
                Some(Argument::Count(count)) => Some(count.value()),
                _ => None,
            },
            Symbol::Extent { tensor, axis } => Some(self.extents(tensor)[axis as usize] as i64),
            Symbol::Stride { tensor, axis } => match argument(tensor) {
                Some(Argument::Tensor(tensor)) => Some(tensor.strides[axis as usize]),
                _ => None,
            },
            Symbol::ProgramId(_) | Symbol::NumPrograms(_) => None,
        }
    }

    pub fn random_literal(&mut self, element: ElementType) -> Value {
        let literal = literal(&mut self.rng, element);
        self.b.literal(literal)
    }
}

/// A constant: small, extreme or any.
pub fn literal(rng: &mut fastrand::Rng, element: ElementType) -> Literal {
    let width = u64::MAX >> (64 - element.bits());
    let small = rng.i8(-9..=9);
    let bits = match (rng.u8(..8), element) {
        (_, ElementType::Bool) => return Literal::new(rng.bool()),
        (0, _) => 0,
        (1, _) => width,
        (2, _) => width >> 1,
        (3, _) => (width >> 1) + 1,
        (4, _) => rng.u64(..) & width,
        (_, ElementType::F16) => return Literal::new(half::f16::from_f32(f32::from(small) / 4.0)),
        (_, ElementType::BF16) => return Literal::new(half::bf16::from_f32(f32::from(small) / 4.0)),
        (_, ElementType::F32) => return Literal::new(f32::from(small) / 4.0),
        (_, ElementType::F64) => return Literal::new(f64::from(small) / 4.0),
        _ if element.is_integer() => return Literal::wrap(element, i128::from(small)),
        _ => rng.u64(..) & width,
    };
    Literal { element, bits }
}
