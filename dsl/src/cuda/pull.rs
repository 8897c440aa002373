//! The value of a tile at a coordinate.

use super::prelude::Need;
use super::scalar;
use super::types::{c_type, literal};
use super::writer::{ArgumentOrder, Placed, Writer};
use crate::analysis::contiguity::{broadcast_axis, reshape_axis};
use crate::analysis::divisibility::EVERYTHING;
use crate::ir::{Expression, Handle, Shape, Type};
use crate::stack::room;

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

    /// The same point with another coordinate on one axis.
    pub(super) fn with(&self, axis: u8, coordinate: String) -> Point {
        let mut coordinates = self.coordinates.clone();
        coordinates[axis as usize] = coordinate;
        Point {
            coordinates,
            register: None,
        }
    }

    /// The same element of the tile whose axes were reordered.
    pub(super) fn before_permute(&self, axes: &[u8]) -> Point {
        let mut coordinates = self.coordinates.clone();
        for (axis, &from) in axes.iter().enumerate() {
            coordinates[from as usize] = self.coordinates[axis].clone();
        }
        Point {
            coordinates,
            register: None,
        }
    }

    /// The same element of the tile that was sliced along `axis`.
    pub(super) fn before_slice(&self, axis: u8, start: u32, step: i32) -> Point {
        let coordinate = &self.coordinates[axis as usize];
        let scaled = match step {
            1 => coordinate.clone(),
            step => format!("({coordinate} * ({step}))"),
        };
        self.with(
            axis,
            match start {
                0 => scaled,
                start => format!("({start} + {scaled})"),
            },
        )
    }

    /// The element of the left and of the right tile of a concatenation along `axis`, the left of which has `extent`
    /// elements there; where the element is the other's, one that exists.
    pub(super) fn before_concatenate(&self, axis: u8, extent: u32) -> [Point; 2] {
        let coordinate = &self.coordinates[axis as usize];
        [
            format!("({coordinate} < {extent} ? {coordinate} : {})", extent - 1),
            format!("({coordinate} < {extent} ? 0 : {coordinate} - {extent})"),
        ]
        .map(|coordinate| self.with(axis, coordinate))
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
                    coordinates[0] = rest.clone();
                } else {
                    coordinates[axis] = format!("({rest} % {extent})");
                    rest = format!("({rest} / {extent})");
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

/// Where a coordinate starts that advances by one with `inner`, and what divides the start: the coordinate is `inner`
/// itself, or what [`linear`] makes of it at the end of longer rows.
pub(super) fn start_of<'c>(coordinate: &'c str, inner: &str) -> Option<(&'c str, u64)> {
    if coordinate == inner {
        return Some(("0", EVERYTHING));
    }
    let head = coordinate
        .strip_prefix('(')?
        .strip_suffix(')')?
        .strip_suffix(inner)?
        .strip_suffix(" + ")?;
    let (outer, extent) = head.rsplit_once(" * ")?;
    let extent: u64 = extent.parse().ok()?;
    let whole = outer.starts_with('(') && outer.ends_with(')') && !mentions(outer, inner);
    whole.then_some((head, 1 << extent.trailing_zeros()))
}

/// Whether a coordinate depends on the variable `inner`.
pub(super) fn mentions(coordinate: &str, inner: &str) -> bool {
    coordinate
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word == inner)
}

impl Writer<'_> {
    /// The name of a scalar.
    pub(super) fn scalar(&mut self, value: Handle<Expression>) -> String {
        match &self.kernel.expressions[value] {
            Expression::Literal(constant) => literal(*constant),
            Expression::Symbol(symbol) => self.symbol(*symbol),
            Expression::Argument(parameter) => {
                self.arguments.insert(ArgumentOrder::Scalar(*parameter));
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
            Some(Placed::Shared(name)) => {
                format!(
                    "({}){name}[{}]",
                    c_type(ty.element),
                    linear(&point.coordinates, ty.shape)
                )
            }
            Some(Placed::Repeated(name)) => name.clone(),
            _ => room(|| self.compute(value, point, ty)),
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
            Expression::Permute { value, axes } => {
                let point = point.before_permute(axes);
                self.pull(*value, &point)
            }
            Expression::Slice {
                value,
                axis,
                start,
                step,
                ..
            } => {
                let point = point.before_slice(*axis, *start, *step);
                self.pull(*value, &point)
            }
            Expression::Concatenate { left, right, axis } => {
                let extent = kernel.ty(*left).shape.extents()[*axis as usize];
                let [l, r] = point.before_concatenate(*axis, extent);
                let (l, r) = (self.pull(*left, &l), self.pull(*right, &r));
                format!("({} < {extent} ? {l} : {r})", point.coordinates[*axis as usize])
            }
            Expression::Take { value, index, axis } => {
                let index = self.pull(*index, point);
                let last = kernel.ty(*value).shape.extents()[*axis as usize] - 1;
                self.need(Need::Clip);
                let index = self.define("at", "int", &format!("tw_clip({index}, {last})"));
                self.pull(*value, &point.with(*axis, index))
            }
            operation @ (Expression::Unary { .. }
            | Expression::Binary { .. }
            | Expression::MulAdd { .. }
            | Expression::Compare { .. }
            | Expression::Select { .. }
            | Expression::Cast { .. }
            | Expression::Bitcast { .. }) => {
                let text = scalar::operation(operation, element_of, |operand| self.pull(operand, point));
                text.map_or_else(|| "0".to_owned(), |text| self.text(text))
            }
            Expression::MultipleOf { value, .. } => self.pull(*value, point),
            Expression::Ptx(code) => self.ptx(code, point),
            Expression::Member { symbol, access } => self.of_member(*symbol, access, kernel.spans[value.index()]),
            Expression::Load(access) => self.load_element(access, value, point, ty.shape),
            Expression::Atomic(atomic) => self.atomic_element(value, atomic, point, ty.shape),
            // Scalars and placed values do not come here.
            Expression::Literal(_)
            | Expression::Symbol(_)
            | Expression::Argument(_)
            | Expression::Induction(_)
            | Expression::Reduce { .. }
            | Expression::Scan { .. }
            | Expression::ArgSort { .. }
            | Expression::Histogram { .. }
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
