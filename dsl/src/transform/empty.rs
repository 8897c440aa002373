//! Tiles without elements: there is nothing to do for them, so no kernel holds one.

use super::renumber::Renumber;
use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{
    Access, Arena, BinaryOp, Block, Combine, Expression, Handle, Kernel, Literal, Local, Reduction, Shape, Statement,
    Type,
};
use crate::stack::room;

/// `kernel` without tiles and variables that have no element, and without what is done with them: loads, stores, atomic
/// operations and checks. What is made of none but has elements is a constant:
///
/// * a reduction over no element is what leaves another operand as it is: 0 of a sum, 1 of a product, of the smallest (largest)
///   the largest (smallest) value of the type, infinities included; `false` of any and `true` of all. The index of the smallest
///   or largest is 0, and what a function of the author's would combine is zero;
/// * a histogram of nothing counts nothing, and an element taken from an axis without elements is zero;
/// * of two tiles one behind the other the one that has elements is the result.
pub(crate) fn without_empty_tiles(kernel: Kernel) -> Kernel {
    let tiles = kernel
        .types
        .iter()
        .chain(kernel.locals.iter().map(|(_, local)| &local.ty));
    if tiles.into_iter().all(|ty| !is_empty(*ty)) {
        return kernel;
    }
    let mut removal = Removal {
        map: Renumber::new(&kernel, 0),
        target: Kernel {
            expressions: Arena::new(),
            types: Vec::new(),
            spans: Vec::new(),
            locals: Arena::new(),
            ..kernel.clone()
        },
        defined: vec![false; kernel.expressions.len()],
        source: &kernel,
    };
    for (handle, local) in kernel.locals.iter() {
        if !is_empty(local.ty) {
            removal.map.locals[handle.index()] = Some(removal.target.locals.append(local.clone()));
        }
    }
    for (handle, expression) in kernel.expressions.iter() {
        if !is_empty(kernel.ty(handle)) {
            removal.expression(handle, expression);
        }
    }
    let body = removal.pruned(&kernel.body);
    let Removal { map, mut target, .. } = removal;
    target.grid = kernel.grid.iter().map(|&extent| map.expression(extent)).collect();
    target.requirements = map.requirements(&kernel.requirements);
    target.body = map.block(body);
    target
}

fn is_empty(ty: Type) -> bool {
    ty.shape.extents().contains(&0)
}

struct Removal<'a> {
    source: &'a Kernel,
    target: Kernel,
    map: Renumber,
    /// The values of the source that its `Let` still defines.
    defined: Vec<bool>,
}

impl Removal<'_> {
    fn is_empty(&self, value: Handle<Expression>) -> bool {
        is_empty(self.source.ty(value))
    }

    /// Finds a place for an expression that has elements.
    fn expression(&mut self, handle: Handle<Expression>, expression: &Expression) {
        let (ty, span) = (self.source.ty(handle), self.source.spans[handle.index()]);
        let constant = match expression {
            Expression::Reduce { value, reduction, .. } if self.is_empty(*value) => {
                Some(of_nothing(reduction, ty.element))
            }
            Expression::Histogram { value, .. } | Expression::Take { value, .. } if self.is_empty(*value) => {
                Some(Literal::zero(ty.element))
            }
            Expression::Concatenate { left, right, .. } if self.is_empty(*left) || self.is_empty(*right) => {
                let other = if self.is_empty(*left) { *right } else { *left };
                self.map.expressions[handle.index()] = Some(self.map.expression(other));
                return;
            }
            _ => None,
        };
        let place = match constant {
            Some(literal) => {
                let scalar = Type::scalar(literal.element);
                let value = self.target.append(Expression::Literal(literal), scalar, span);
                if ty.shape == Shape::SCALAR {
                    self.map.expressions[handle.index()] = Some(value);
                    return;
                }
                let shape = ty.shape;
                self.target.append(Expression::Broadcast { value, shape }, ty, span)
            }
            None => self.target.append(self.map.node(expression.clone()), ty, span),
        };
        self.map.expressions[handle.index()] = Some(place);
        self.defined[handle.index()] = true;
    }

    /// The statements that do something, still in the names of the source.
    fn pruned(&self, block: &Block) -> Block {
        let kept = block.iter().filter(|(statement, _)| self.does_something(statement));
        kept.map(|(statement, span)| (self.nested(statement), *span)).collect()
    }

    fn does_something(&self, statement: &Statement) -> bool {
        let touches = |access: &Access| access.indices.iter().all(|&index| !self.is_empty(index));
        match statement {
            Statement::Let(value) => self.defined[value.index()],
            Statement::Store { value, .. } => !self.is_empty(*value),
            Statement::Check { condition, .. } => !self.is_empty(*condition),
            Statement::Prefetch(access) => touches(access),
            Statement::Assign { local, .. } => !is_empty(self.local(*local)),
            Statement::If { .. }
            | Statement::While { .. }
            | Statement::For { .. }
            | Statement::GridDependency(_)
            | Statement::Print { .. }
            | Statement::Break
            | Statement::Continue
            | Statement::Return => true,
        }
    }

    fn local(&self, local: Handle<Local>) -> Type {
        self.source.locals[local].ty
    }

    fn nested(&self, statement: &Statement) -> Statement {
        let mut statement = statement.clone();
        match &mut statement {
            Statement::If { accept, reject, .. } => {
                *accept = room(|| self.pruned(accept));
                *reject = room(|| self.pruned(reject));
            }
            Statement::While { header, body, .. } => {
                *header = room(|| self.pruned(header));
                *body = room(|| self.pruned(body));
            }
            Statement::For { body, .. } => *body = room(|| self.pruned(body)),
            _ => {}
        }
        statement
    }
}

/// What a reduction over no element gives.
fn of_nothing(reduction: &Reduction, element: ElementType) -> Literal {
    let Reduction::Combine(Combine::Operator(op)) = reduction else {
        return Literal::zero(element);
    };
    let number = |value: i128| match element.integer_range() {
        Some(_) => Literal::wrap(element, value),
        None => arithmetic::cast(Literal::new(value as f64), element).unwrap_or(Literal::zero(element)),
    };
    let extreme = |largest: bool| match element.integer_range() {
        Some((least, most)) => Literal::wrap(element, if largest { most } else { least }),
        None => {
            let infinity = if largest { f64::INFINITY } else { f64::NEG_INFINITY };
            arithmetic::cast(Literal::new(infinity), element).unwrap_or(Literal::zero(element))
        }
    };
    match op {
        BinaryOp::Multiply => number(1),
        BinaryOp::Min | BinaryOp::Minimum => extreme(true),
        BinaryOp::Max | BinaryOp::Maximum => extreme(false),
        BinaryOp::And if element == ElementType::Bool => Literal::new(true),
        BinaryOp::And => number(-1),
        // Of a sum, an exclusive and an inclusive or; no other operator combines.
        _ => Literal::zero(element),
    }
}
