//! The value of a tile at a coordinate.

use super::prelude::Need;
use super::scalar;
use super::types::{c_type, literal};
use super::writer::{Placed, SlotOrder, Writer};
use crate::analysis::contiguity::{broadcast_axis, reshape_axis};
use crate::ir::{Expression, Handle, Shape, Type};

/// Where in a tile a value is wanted.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// A C++ int for each axis.
    pub(super) coordinates: Vec<String>,
    /// The register of this thread that holds this element, if the thread holds it: its number in the layout of the
    /// tile's element count.
    pub(super) register: Option<String>,
}

impl Point {
    /// The only point of a scalar.
    pub(super) fn scalar() -> Self {
        Self {
            coordinates: Vec::new(),
            register: None,
        }
    }

    /// The first element, whichever thread holds it.
    pub(super) fn first(shape: Shape) -> Self {
        Self {
            coordinates: vec!["0".to_owned(); shape.rank()],
            register: None,
        }
    }

    /// The point of an index or mask of shape `own` for an access of shape `shape`.
    pub(super) fn aligned_with(&self, own: Shape, shape: Shape) -> Point {
        let point = self.before_broadcast(own, shape);
        let register = if own == shape { self.register.clone() } else { None };
        Point { register, ..point }
    }

    /// The same point of the tile that was broadcast from `from` to `to`.
    pub(super) fn before_broadcast(&self, from: Shape, to: Shape) -> Point {
        let mut coordinates = vec!["0".to_owned(); from.rank()];
        for axis in 0..to.rank() {
            if let Some(own) = broadcast_axis(from, to, axis) {
                coordinates[own] = self.coordinates[axis].clone();
            }
        }
        let register = if from.elements() == to.elements() {
            self.register.clone()
        } else {
            None
        };
        Point { coordinates, register }
    }

    /// The same element of the tile of shape `from` that was reshaped to `to`.
    pub(super) fn before_reshape(&self, from: Shape, to: Shape) -> Point {
        let mut coordinates = vec!["0".to_owned(); from.rank()];
        let long = |shape: Shape| {
            shape
                .extents()
                .iter()
                .copied()
                .filter(|&e| e != 1)
                .collect::<Vec<u32>>()
        };
        if long(from) == long(to) {
            for axis in 0..to.rank() {
                if to.extents()[axis] != 1
                    && let Some(own) = reshape_axis(from, to, axis)
                {
                    coordinates[own] = self.coordinates[axis].clone();
                }
            }
        } else {
            let mut rest = linear(&self.coordinates, to);
            for (axis, &extent) in from.extents().iter().enumerate().rev() {
                if axis == 0 {
                    coordinates[0] = format!("({rest})");
                } else {
                    coordinates[axis] = format!("(({rest}) % {extent})");
                    rest = format!("({rest}) / {extent}");
                }
            }
        }
        Point {
            coordinates,
            register: self.register.clone(),
        }
    }
}

/// The row-major position of a coordinate.
pub(super) fn linear(coordinates: &[String], shape: Shape) -> String {
    let mut text = String::from("0");
    for (coordinate, extent) in coordinates.iter().zip(shape.extents()) {
        text = if text == "0" {
            coordinate.clone()
        } else {
            format!("(({text}) * {extent} + {coordinate})")
        };
    }
    text
}

impl Writer<'_> {
    /// The name of a scalar.
    pub(super) fn scalar(&mut self, value: Handle<Expression>) -> String {
        match &self.kernel.expressions[value] {
            Expression::Literal(constant) => literal(*constant),
            Expression::Symbol(symbol) => self.symbol(*symbol),
            Expression::Argument(parameter) => {
                self.slots.insert(SlotOrder::Scalar(*parameter));
                self.parameters[*parameter as usize].clone()
            }
            _ => match self.placed.get(&value) {
                Some(Placed::Scalar(name)) => name.clone(),
                // The verifier has seen a definition before every use.
                _ => "0".to_owned(),
            },
        }
    }

    /// The element of `value` at `point`, computed here unless it has been.
    pub(super) fn pull(&mut self, value: Handle<Expression>, point: &Point) -> String {
        let ty = self.kernel.ty(value);
        if ty.is_scalar() {
            return self.scalar(value);
        }
        if let Some(lane) = self.substitutes.get(&value) {
            return lane.clone();
        }
        let key = (value, point.coordinates.clone());
        if let Some(name) = self.pulled.iter().rev().find_map(|scope| scope.get(&key)) {
            return name.clone();
        }
        let text = match self.placed.get(&value) {
            Some(Placed::Registers(name)) => in_registers(name, point, ty),
            _ => self.compute(value, point, ty),
        };
        // What is only a name or a number needs no name of its own.
        let simple = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '[' || c == ']');
        let name = if simple {
            text
        } else {
            self.define("t", c_type(ty.element), &text)
        };
        if let Some(scope) = self.pulled.last_mut() {
            scope.insert(key, name.clone());
        }
        name
    }

    fn compute(&mut self, value: Handle<Expression>, point: &Point, ty: Type) -> String {
        let kernel = self.kernel;
        let element_of = |value: Handle<Expression>| kernel.ty(value).element;
        match &kernel.expressions[value] {
            Expression::Arange(_) if point.coordinates[0] == "0" => "0LL".to_owned(),
            Expression::Arange(_) => format!("(long long){}", point.coordinates[0]),
            Expression::Broadcast { value, .. } => {
                let from = kernel.ty(*value).shape;
                let point = if from.rank() == 0 {
                    Point::scalar()
                } else {
                    point.before_broadcast(from, ty.shape)
                };
                self.pull(*value, &point)
            }
            Expression::Reshape { value, .. } => {
                let from = kernel.ty(*value).shape;
                let point = if from.rank() == 0 {
                    Point::scalar()
                } else {
                    point.before_reshape(from, ty.shape)
                };
                self.pull(*value, &point)
            }
            Expression::Unary { op, value } => {
                let operand = self.pull(*value, point);
                self.text(scalar::unary(*op, element_of(*value), &operand))
            }
            Expression::Binary { op, left, right } => {
                let (l, r) = (self.pull(*left, point), self.pull(*right, point));
                self.text(scalar::binary(*op, element_of(*left), &l, &r))
            }
            Expression::Compare { op, left, right } => {
                let (l, r) = (self.pull(*left, point), self.pull(*right, point));
                self.text(scalar::compare(*op, element_of(*left), &l, &r))
            }
            Expression::Select {
                condition,
                accept,
                reject,
            } => {
                let c = self.pull(*condition, point);
                let (a, b) = (self.pull(*accept, point), self.pull(*reject, point));
                format!("({c} ? {a} : {b})")
            }
            Expression::Cast { value, to } => {
                let operand = self.pull(*value, point);
                self.text(scalar::cast(element_of(*value), *to, &operand))
            }
            Expression::Load(access) => self.load_element(access, value, point, ty.shape),
            // Scalars and placed values do not come here.
            Expression::Literal(_)
            | Expression::Symbol(_)
            | Expression::Argument(_)
            | Expression::Induction(_)
            | Expression::Local(_) => "0".to_owned(),
        }
    }

    /// The text of a scalar that is defined here.
    pub(super) fn scalar_text(&mut self, value: Handle<Expression>) -> String {
        let ty = self.kernel.ty(value);
        match &self.kernel.expressions[value] {
            // A reshape of a single element has no coordinate to keep.
            Expression::Reshape { value, .. } | Expression::Broadcast { value, .. } => {
                let first = Point::first(self.kernel.ty(*value).shape);
                self.pull(*value, &first)
            }
            Expression::Local(local) => self.locals.get(local).cloned().unwrap_or_default(),
            _ => self.compute(value, &Point::scalar(), ty),
        }
    }

    /// Marks the part of the prelude that loads and stores of whole vectors use.
    pub(super) fn needs_vectors(&mut self, store: bool) {
        self.need(if store { Need::Store } else { Need::Load });
    }
}

/// An element of a tile in registers: this thread's own, or another thread's through shared memory, where the group has
/// put it.
fn in_registers(name: &str, point: &Point, ty: Type) -> String {
    match &point.register {
        Some(register) => format!("{name}[{register}]"),
        None => format!("{name}_shared[{}]", linear(&point.coordinates, ty.shape)),
    }
}
