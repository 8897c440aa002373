//! Operations in which the elements of a tile meet.

use tilewright::dsl::element::{ElementKind, ElementType};
use tilewright::dsl::ir::{
    Arena, BinaryOp, Combine, CompareOp, Expression, Function, Handle, Reduction, Shape, Type, UnaryOp,
};

use super::Generator;
use super::builder::Value;
use super::table::Rule;
use super::values::literal;

/// Bytes of shared memory that one tile may take, so that most kernels can be lowered.
const SHARED: u64 = 24 << 10;

impl Generator {
    pub fn collective(&mut self, rule: Rule, ty: Type, depth: u32) -> Option<Value> {
        let (shape, axis) = match rule {
            Rule::Reduce | Rule::ArgReduce => self.expanded(ty.shape)?,
            Rule::Histogram => (self.tile_shape()?, 0),
            _ => (ty.shape, self.rng.usize(..ty.shape.rank())),
        };
        let element = match rule {
            Rule::Reduce | Rule::Scan => ty.element,
            Rule::Histogram => self.element_where(ElementType::is_integer)?,
            _ => self.element_where(is_ordered)?,
        };
        // A sort keeps indices beside the elements.
        let size = element.size() as u64 + if rule == Rule::ArgSort { 8 } else { 0 };
        if shape.elements() * size > SHARED {
            return None;
        }
        let combine = match rule {
            Rule::Reduce | Rule::Scan => Some(self.combine(element)?),
            _ => None,
        };
        let value = self.value(Type { element, shape }, depth);
        let axis = axis as u8;
        let expression = match (rule, combine) {
            (Rule::Reduce, Some(combine)) => Expression::Reduce {
                value,
                axis,
                reduction: Reduction::Combine(combine),
            },
            (Rule::Scan, Some(combine)) => Expression::Scan { value, axis, combine },
            (Rule::ArgReduce, _) => Expression::Reduce {
                value,
                axis,
                reduction: self.rng.choice([Reduction::ArgMin, Reduction::ArgMax])?,
            },
            (Rule::ArgSort, _) => Expression::ArgSort {
                value,
                axis,
                descending: self.rng.bool(),
            },
            _ => Expression::Histogram {
                value,
                mask: self.rng.bool().then(|| {
                    let element = ElementType::Bool;
                    self.value(Type { element, shape }, depth)
                }),
                bins: ty.shape.extents()[0],
            },
        };
        Some(self.b.emit(expression, ty))
    }

    fn tile_shape(&mut self) -> Option<Shape> {
        let shapes: Vec<_> = self.shapes.iter().copied().filter(|shape| shape.rank() > 0).collect();
        self.rng.choice(shapes)
    }

    fn element_where(&mut self, fits: impl Fn(ElementType) -> bool) -> Option<ElementType> {
        let elements: Vec<_> = self.elements.iter().copied().filter(|&element| fits(element)).collect();
        self.rng.choice(elements)
    }

    fn combine(&mut self, element: ElementType) -> Option<Combine> {
        if self.rng.u8(..3) == 0 {
            return Some(Combine::Function(self.function(element)));
        }
        let fits = |op: &BinaryOp| op.is_associative() && op.accepts(element);
        let operators: Vec<_> = BinaryOp::ALL.into_iter().filter(fits).collect();
        match self.rng.choice(operators) {
            Some(op) => Some(Combine::Operator(op)),
            // 8-bit floats have no operators.
            None => Some(Combine::Function(self.function(element))),
        }
    }

    /// Any function: the order in which elements are combined is that of the extent.
    fn function(&mut self, element: ElementType) -> Function {
        let mut f = Body::default();
        let ty = Type::scalar(element);
        for position in 0..2 {
            f.push(Expression::Argument(position), ty);
        }
        for _ in 0..self.rng.u8(1..=5) {
            let (left, right) = (f.any(&mut self.rng, ty), f.any(&mut self.rng, ty));
            let storage = element.kind() == ElementKind::Storage;
            match self.rng.u8(..8) {
                0 => f.push(Expression::Literal(literal(&mut self.rng, element)), ty),
                1 => {
                    let op = self.rng.choice(UnaryOp::ALL).unwrap_or(UnaryOp::Not);
                    if op.accepts(element) {
                        f.push(Expression::Unary { op, value: left }, ty);
                    }
                }
                2 if element.is_float() => {
                    let addend = f.any(&mut self.rng, ty);
                    f.push(Expression::MulAdd { left, right, addend }, ty);
                }
                3 if !storage => {
                    let op = if element == ElementType::Bool {
                        CompareOp::Equal
                    } else {
                        CompareOp::Less
                    };
                    let condition = Expression::Compare { op, left, right };
                    f.push(condition, Type::CONDITION);
                    let condition = f.last();
                    let (accept, reject) = (f.any(&mut self.rng, ty), f.any(&mut self.rng, ty));
                    let select = Expression::Select {
                        condition,
                        accept,
                        reject,
                    };
                    f.push(select, ty);
                }
                4 | 5 => {
                    // By way of another type.
                    let to = self.element();
                    f.push(Expression::Cast { value: left, to }, Type::scalar(to));
                    let (value, to) = (f.last(), element);
                    f.push(Expression::Cast { value, to }, ty);
                }
                6 if element != ElementType::Bool => {
                    let same = |e: &ElementType| e.is_integer() && e.size() == element.size();
                    let to = ElementType::ALL.into_iter().find(same).unwrap_or(element);
                    f.push(Expression::Bitcast { value: left, to }, Type::scalar(to));
                    let (value, to) = (f.last(), element);
                    f.push(Expression::Bitcast { value, to }, ty);
                }
                _ => {
                    let op = self.rng.choice(BinaryOp::ALL).unwrap_or(BinaryOp::Or);
                    if op.accepts(element) {
                        f.push(Expression::Binary { op, left, right }, ty);
                    }
                }
            }
        }
        let results = f.types.iter().rposition(|&found| found == ty).unwrap_or(0);
        Function {
            element,
            expressions: f.expressions,
            types: f.types,
            result: Handle::from_index(results),
        }
    }
}

#[derive(Default)]
struct Body {
    expressions: Arena<Expression>,
    types: Vec<Type>,
}

impl Body {
    fn push(&mut self, expression: Expression, ty: Type) {
        self.expressions.append(expression);
        self.types.push(ty);
    }

    fn last(&self) -> Value {
        Handle::from_index(self.types.len() - 1)
    }

    /// Any value of this type, usually a late one.
    fn any(&self, rng: &mut fastrand::Rng, ty: Type) -> Value {
        let fitting: Vec<_> = (0..self.types.len()).filter(|&i| self.types[i] == ty).collect();
        let late = fitting.len().saturating_sub(3);
        let chosen = if rng.bool() { &fitting[late..] } else { &fitting[..] };
        Handle::from_index(rng.choice(chosen).copied().unwrap_or(0))
    }
}

fn is_ordered(element: ElementType) -> bool {
    element.is_integer() || element.is_float()
}
