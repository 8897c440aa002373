//! Operations in which elements of a tile meet. All threads of the program's one block take part; results are in shared
//! memory, where every thread finds them, or, of a whole tile, in a variable of every thread.
//!
//! Nothing here depends on the number of threads but the time it takes: the order in which elements are combined is the
//! one that [`Expression::Reduce`] and [`Expression::Scan`] state.

mod line;
mod reduce;
mod scan;
mod sort;

use line::Line;

use super::pull::Point;
use super::scalar;
use super::types::{c_type, literal};
use super::writer::{Placed, Writer};
use crate::element::ElementType;
use crate::ir::{Combine, Expression, Function, Handle, Shape};

impl Writer<'_> {
    /// Writes the collective operation that defines `value`.
    pub(super) fn collective(&mut self, value: Handle<Expression>) {
        let kernel = self.kernel;
        let ty = kernel.ty(value);
        let placed = match &kernel.expressions[value] {
            Expression::Reduce {
                value: operand,
                axis,
                reduction,
            } => self.reduce(Line::new(kernel, *operand, *axis), reduction, ty),
            Expression::Scan {
                value: operand,
                axis,
                combine,
            } => self.scan(Line::new(kernel, *operand, *axis), combine),
            Expression::ArgSort {
                value: operand,
                axis,
                descending,
            } => self.argsort(Line::new(kernel, *operand, *axis), *descending),
            Expression::Histogram { value, mask, bins } => self.histogram(*value, *mask, *bins),
            _ => return,
        };
        self.placed.insert(value, placed);
    }

    fn histogram(&mut self, value: Handle<Expression>, mask: Option<Handle<Expression>>, bins: u32) -> Placed {
        let ty = self.kernel.ty(value);
        let (elements, threads) = (ty.shape.elements(), self.schedule.threads);
        let name = self.fresh("counts");
        self.declare_shared("int", 4, &name, bins.into());
        self.open("{");
        let operands: Vec<_> = std::iter::once(value).chain(mask).collect();
        self.exchange_operands(&operands, ty.shape);
        self.barrier_in_loop();
        self.line(format!(
            "for (int e = worker; e < {bins}; e += {threads}) {name}[e] = 0;"
        ));
        self.synchronize();
        self.open(format!("for (int e = worker; e < {elements}; e += {threads}) {{"));
        let point = self.coordinates_of(ty.shape, "e");
        if let Some(mask) = mask {
            let mask = self.pull(mask, &point);
            self.line(format!("if (!{mask}) continue;"));
        }
        let bin = self.pull(value, &point);
        let below = match ty.element.is_signed() {
            true => format!("{bin} >= 0 && {bin} < {bins}"),
            false => format!("{bin} < {bins}U"),
        };
        self.line(format!("if ({below}) atomicAdd(&{name}[(int){bin}], 1);"));
        self.close();
        self.synchronize();
        self.close();
        Placed::Shared(name)
    }

    /// Puts tiles in registers that `values` read into shared memory, each once.
    fn exchange_operands(&mut self, values: &[Handle<Expression>], shape: Shape) {
        let point = Point {
            register: None,
            ..Self::symbolic_point(shape, super::leaves::INNER)
        };
        let leaves = self.leaves_at(values, &point);
        if !leaves.exchanged.is_empty() {
            self.exchange(&leaves);
        }
    }

    /// What shared memory held in the trip before has been read.
    fn barrier_in_loop(&mut self) {
        if self.loops > 0 {
            self.synchronize();
        }
    }

    /// The text of `left` and `right` combined; what it takes is defined in lines before.
    fn combined(&mut self, combine: &Combine, element: ElementType, left: &str, right: &str) -> String {
        match combine {
            Combine::Operator(op) => self.text(scalar::binary(*op, element, left, right)),
            Combine::Function(function) => self.applied(function, left, right),
        }
    }

    fn applied(&mut self, function: &Function, left: &str, right: &str) -> String {
        let mut names: Vec<String> = Vec::with_capacity(function.expressions.len());
        for (handle, expression) in function.expressions.iter() {
            let element = |operand: Handle<Expression>| function.types[operand.index()].element;
            let name = |operand: Handle<Expression>| names[operand.index()].clone();
            let text = match expression {
                Expression::Literal(constant) => literal(*constant),
                Expression::Argument(0) => left.to_owned(),
                Expression::Argument(_) => right.to_owned(),
                // The verifier lets nothing else than operations into a function.
                operation => {
                    scalar::operation(operation, element, name).map_or_else(String::new, |text| self.text(text))
                }
            };
            let ty = c_type(function.types[handle.index()].element);
            names.push(self.define("f", ty, &text));
        }
        names.swap_remove(function.result.index())
    }
}
