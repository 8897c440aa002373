//! The value of a tile at a point.

use super::point::Point;
use super::{Lower, LowerError};
use crate::ir::{Expression, Handle, Type};
use crate::stack::room;
use crate::thread::{Facts, Operation, Rounding, Use};

impl Lower<'_> {
    /// The element of `value` at `point`, computed here unless it has been; several if the point moves with the lane.
    pub(super) fn pull(&mut self, value: Handle<Expression>, point: &Point) -> Result<Use, LowerError> {
        if self.kernel.ty(value).is_scalar() {
            return self.scalar(value);
        }
        let key = (value, point.clone(), self.needed, self.quiet);
        if let Some(known) = self.pulled.iter().rev().find_map(|scope| scope.get(&key)) {
            return Ok(*known);
        }
        let operand = match self.held.get(&value).cloned() {
            Some(held) => self.held_at(value, &held, point)?,
            None => room(|| self.compute(value, point))?,
        };
        if let Some(scope) = self.pulled.last_mut() {
            scope.insert(key, operand);
        }
        Ok(operand)
    }

    /// A scalar that is defined here.
    pub(super) fn scalar_here(&mut self, value: Handle<Expression>) -> Result<Use, LowerError> {
        match &self.kernel.expressions[value] {
            // What is reshaped from one element.
            Expression::Reshape { value, .. } | Expression::Broadcast { value, .. } => {
                let zero = self.b.constant(0);
                let rank = self.kernel.ty(*value).shape.rank();
                self.pull(*value, &(0..rank).map(|_| zero).collect())
            }
            _ => self.compute(value, &Point::new()),
        }
    }

    fn compute(&mut self, value: Handle<Expression>, point: &Point) -> Result<Use, LowerError> {
        let kernel = self.kernel;
        let Type { element, shape } = kernel.ty(value);
        let of = |value: Handle<Expression>| kernel.ty(value).shape;
        match &kernel.expressions[value] {
            Expression::Arange(_) => Ok(point[0].into()),
            Expression::Broadcast { value, .. } => {
                let point = self.before_broadcast(point, of(*value), shape);
                self.pull(*value, &point)
            }
            Expression::Reshape { value, .. } => {
                let point = self.before_reshape(point, of(*value), shape);
                self.pull(*value, &point)
            }
            Expression::Permute { value, axes } => {
                let mut before = point.clone();
                for (axis, &from) in axes.iter().enumerate() {
                    before[from as usize] = point[axis];
                }
                self.pull(*value, &before)
            }
            Expression::Slice {
                value,
                axis,
                start,
                step,
                ..
            } => {
                let mut before = point.clone();
                let at = &mut before[*axis as usize];
                *at = self.b.indices().scale(*at, (*step).into());
                *at = self.b.indices().offset(*at, (*start).into());
                self.pull(*value, &before)
            }
            Expression::Concatenate { left, right, axis } => self.concatenated(*left, *right, *axis, point),
            Expression::Take { value, index, axis } => {
                let index = self.pull(*index, point)?;
                let index = self.b.index(index);
                let last = of(*value).extents()[*axis as usize] - 1;
                let (zero, last) = (self.b.constant(0), self.b.constant(last.into()));
                let above = self.b.indices().maximum(index, zero);
                let mut before = point.clone();
                before[*axis as usize] = self.b.indices().minimum(above, last);
                self.pull(*value, &before)
            }
            Expression::MultipleOf { value: claimed, by } => {
                let operand = self.pull(*claimed, point)?;
                match self.b.kernel().ty(operand).lanes > 1 {
                    true => Ok(operand),
                    false => self.claimed(operand, (*by).into()),
                }
            }
            Expression::Load(access) => {
                let span = std::mem::replace(&mut self.access_span, kernel.spans[value.index()]);
                let loaded = self.load_element(access, point, shape);
                self.access_span = span;
                loaded
            }
            Expression::Local(local) => match self.registers.get(local).copied() {
                Some(register) => {
                    let value = self.b.read(register);
                    Ok(match element {
                        crate::element::ElementType::I64 => self.b.index(value).into(),
                        crate::element::ElementType::Bool => self.b.condition(value).into(),
                        _ => value,
                    })
                }
                None => self.defect("a variable that is read where it is not defined"),
            },
            operation @ (Expression::Unary { .. }
            | Expression::Binary { .. }
            | Expression::MulAdd { .. }
            | Expression::Compare { .. }
            | Expression::Select { .. }
            | Expression::Cast { .. }
            | Expression::Bitcast { .. }) => match self.shortened(operation, point)? {
                Some(found) => Ok(found),
                None => self.operation(operation, point),
            },
            Expression::Ptx(code) => self.ptx(code, point),
            Expression::Member { symbol, access } => self.member(*symbol, access),
            Expression::Atomic(_) => self.defect("an atomic operation"),
            Expression::Reduce { .. }
            | Expression::Scan { .. }
            | Expression::ArgSort { .. }
            | Expression::Histogram { .. } => self.defect("an operation in which elements meet"),
            // What every thread has is no tile's.
            Expression::Literal(_) | Expression::Symbol(_) | Expression::Argument(_) | Expression::Induction(_) => {
                self.scalar(value)
            }
        }
    }

    /// The element of one of two tiles: each is only needed where the element is its own.
    fn concatenated(
        &mut self,
        left: Handle<Expression>,
        right: Handle<Expression>,
        axis: u8,
        point: &Point,
    ) -> Result<Use, LowerError> {
        let axis = axis as usize;
        let extent = i64::from(self.kernel.ty(left).shape.extents()[axis]);
        let limit = self.b.constant(extent);
        let is_left = self.b.indices().less(point[axis], limit);
        let is_right = self.b.indices().not(is_left);
        let mut behind = point.clone();
        behind[axis] = self.b.indices().offset(point[axis], -extent);
        match self.b.kernel().indices.is_known(is_left) {
            Some(true) => self.pull(left, point),
            Some(false) => self.pull(right, &behind),
            None => {
                let l = self.where_needed(is_left, |lower| lower.pull(left, point))?;
                let r = self.where_needed(is_right, |lower| lower.pull(right, &behind))?;
                self.chosen(is_left.into(), l, r)
            }
        }
    }

    /// A value of which its author claims that a number divides it.
    fn claimed(&mut self, operand: Use, by: u64) -> Result<Use, LowerError> {
        let element = self.b.element(operand);
        let known = match operand {
            Use::Index(index) => self.b.kernel().indices.facts(index),
            _ => Facts::of_element(element),
        };
        let facts = known.with_divisor(by);
        if facts == known {
            return Ok(operand);
        }
        let operation = Operation::Cast {
            value: operand,
            to: element,
            rounding: Rounding::NearestEven,
        };
        let value = self.b.known(operation, Some(facts));
        Ok(match element {
            crate::element::ElementType::I64 => self.b.index(value).into(),
            _ => value,
        })
    }
}
