//! Addresses, bounds and masks of loads and stores.

use std::collections::HashMap;

use super::TrapFault;
use super::effect::trap;
use super::list::Subject;
use super::prelude::Need;
use super::pull::Point;
use super::types::c_type;
use super::writer::Writer;
use crate::analysis::contiguity::{access_shape, broadcast_axis, reshape_axis, step};
use crate::analysis::divisibility::{EVERYTHING, divisor, stride_divisor};
use crate::element::{ElementKind, ElementType};
use crate::ir::{Access, BinaryOp, Bounds, Expression, Handle, Shape, Span, Symbol};
use crate::stack::room;

/// The part of an access that does not change along the innermost axis of its tile.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// A pointer to the element at innermost coordinate 0, which may itself be out of bounds.
    pub(super) pointer: String,
    /// What must hold for any element of the row to be accessed; `None` if nothing.
    pub(super) condition: Option<String>,
    /// The coordinates from which and up to which elements are in bounds; `None` if all are.
    pub(super) valid: Option<(String, String)>,
}

/// What divides values at the start of an axis, if they have one.
type Divisors = HashMap<(Handle<Expression>, Option<usize>), u64>;

impl Writer<'_> {
    /// The zero of an element type, as it is carried in the text.
    pub(super) fn zero(element: ElementType) -> String {
        match element.kind() {
            ElementKind::Bool => "false".to_owned(),
            _ => format!("({})0", c_type(element)),
        }
    }

    /// One element of a load: zero where the access is masked or out of bounds.
    pub(super) fn load_element(
        &mut self,
        access: &Access,
        load: Handle<Expression>,
        point: &Point,
        shape: Shape,
    ) -> String {
        let span = self.kernel.spans[load.index()];
        let (place, condition) = self.place(access, point, shape, span);
        let element = self.element(access.tensor);
        let read = self.read(access, &place);
        let read = if element == ElementType::Bool {
            format!("({read} != 0)")
        } else {
            read
        };
        match condition {
            Some(condition) => format!("({condition} ? {read} : {})", Self::zero(element)),
            None => read,
        }
    }

    /// Stores one element, unless it is masked or out of bounds.
    pub(super) fn store_element(&mut self, access: &Access, value: &str, point: &Point, shape: Shape, span: Span) {
        let (place, condition) = self.place(access, point, shape, span);
        let write = self.written(access, &place, value);
        match condition {
            Some(condition) => self.line(format!("if ({condition}) {write}")),
            None => self.line(write),
        }
    }

    /// The lvalue of one element, and what must hold for it to be accessed.
    pub(super) fn place(
        &mut self,
        access: &Access,
        point: &Point,
        shape: Shape,
        span: Span,
    ) -> (String, Option<String>) {
        let (subject, indices, condition) = self.indices(access, point, shape, span);
        let terms = indices.iter();
        let terms = terms.map(|(axis, index)| self.term(&subject, *axis, index)).collect();
        let pointer = self.pointer(&subject);
        (format!("{pointer}[{}]", sum(terms)), condition)
    }

    /// The tensor of an access, the indices of one element in it, each with its axis, and what must hold for the element to
    /// be accessed.
    pub(super) fn indices(
        &mut self,
        access: &Access,
        point: &Point,
        shape: Shape,
        span: Span,
    ) -> (Subject, Vec<(usize, String)>, Option<String>) {
        let mask = access.mask.map(|mask| self.pull(mask, point));
        let mut conditions: Vec<String> = mask.iter().cloned().collect();
        let mut indices = Vec::new();
        let subject = self.subject(access, span, mask.as_deref(), &mut conditions);
        for axis in subject.axes(access) {
            let index = self.index(access, axis, point, shape);
            let index = self.checked(
                access,
                Some(&subject),
                axis,
                index,
                span,
                mask.as_deref(),
                &mut conditions,
            );
            indices.push((axis, index));
        }
        (subject, indices, join(conditions))
    }

    /// One index of an access at a point of the access's shape.
    fn index(&mut self, access: &Access, axis: usize, point: &Point, shape: Shape) -> String {
        let index = access.indices[axis];
        let own = self.kernel.ty(index).shape;
        if own.rank() == 0 {
            return self.scalar(index);
        }
        self.pull(index, &point.aligned_with(own, shape))
    }

    /// Applies the bounds policy to one index: collects what must hold, or returns the clamped index. Of the index that says
    /// which tensor of a list it is, there is no `subject` yet.
    #[allow(clippy::too_many_arguments)] // They are an index's; a struct for them would be the access itself.
    pub(super) fn checked(
        &mut self,
        access: &Access,
        subject: Option<&Subject>,
        axis: usize,
        index: String,
        span: Span,
        mask: Option<&str>,
        conditions: &mut Vec<String>,
    ) -> String {
        let guard = access.guards[axis];
        if !guard.any() {
            return index;
        }
        let (tensor, number) = (access.tensor, axis as u8);
        let extent = match subject {
            Some(subject) => self.extent(subject, axis),
            None => self.symbol(Symbol::Extent { tensor, axis: number }),
        };
        let unsigned = self.kernel.ty(access.indices[axis]).element.kind() == ElementKind::Unsigned;
        let (as_signed, as_unsigned) = (format!("(long long){index}"), format!("(unsigned long long){index}"));
        let inside = match (guard.lower && !unsigned, guard.upper) {
            (true, false) => format!("{as_signed} >= 0LL"),
            (false, true) if !unsigned => format!("{as_signed} < {extent}"),
            _ => format!("{as_unsigned} < (unsigned long long){extent}"),
        };
        if self.kernel.reports(access) {
            let fault = TrapFault::OutOfBounds { tensor, axis: number };
            let site = self.trap_site(span, fault);
            let masked = mask.map(|mask| format!("{mask} && ")).unwrap_or_default();
            // Which tensor of a list it is.
            let met = match self.kernel.tensor(tensor) {
                Some(parameter) if parameter.list.is_some() => {
                    format!("(unsigned long long)(long long){}", self.scalar(access.indices[0]))
                }
                _ => "0ULL".to_owned(),
            };
            self.line(format!("if ({masked}!({inside})) {}", trap(site, &as_signed, &met)));
        }
        if access.bounds == Bounds::Clamp {
            // An axis without elements has nothing to clamp to.
            conditions.push(format!("{extent} > 0LL"));
            let below = if guard.lower && !unsigned {
                format!("{as_signed} < 0LL ? 0LL : ")
            } else {
                String::new()
            };
            let above = format!("{as_unsigned} >= (unsigned long long){extent} ? {extent} - 1LL : {as_signed}");
            return self.define("i", "long long", &format!("{below}{above}"));
        }
        conditions.push(inside);
        index
    }

    fn term(&mut self, subject: &Subject, axis: usize, index: &str) -> String {
        let stride = self.stride(subject, axis);
        match stride.as_str() {
            "1LL" => index.to_owned(),
            _ => format!("(long long){index} * {stride}"),
        }
    }

    /// The row of an access that is adjacent along the innermost axis of its tile, at a point whose innermost coordinate
    /// is 0. A mask of the access does not change along the row.
    pub(super) fn row(&mut self, access: &Access, adjacent: usize, point: &Point, shape: Shape, span: Span) -> Row {
        let mut terms = Vec::new();
        let mut conditions = Vec::new();
        let mut valid = None;
        let subject = self.subject(access, span, None, &mut conditions);
        for axis in subject.axes(access) {
            let index = self.index(access, axis, point, shape);
            if axis == adjacent {
                let guard = access.guards[axis];
                if guard.any() {
                    let extent = self.extent(&subject, axis);
                    let n = shape.elements();
                    let low = if guard.lower {
                        // The smallest integer has no negative.
                        format!("{n} - tw_clip((long long){index} + {n}LL, {n})")
                    } else {
                        "0".to_owned()
                    };
                    let high = if guard.upper {
                        format!("tw_clip({extent} - (long long){index}, {n})")
                    } else {
                        n.to_string()
                    };
                    self.need(Need::Clip);
                    let low = self.define("low", "int", &low);
                    let high = self.define("high", "int", &high);
                    valid = Some((low, high));
                }
                terms.push(self.term(&subject, axis, &index));
            } else {
                let index = self.checked(access, Some(&subject), axis, index, span, None, &mut conditions);
                terms.push(self.term(&subject, axis, &index));
            }
        }
        if let Some(mask) = access.mask {
            let mask = self.pull(mask, point);
            conditions.push(mask);
        }
        let base = self.pointer(&subject);
        let constant = if self.effects.is_changing(access.tensor) {
            ""
        } else {
            "const "
        };
        let ty = format!("{constant}{}*", super::types::memory_type(self.element(access.tensor)));
        let offset = sum(terms);
        let pointer = self.fresh("row");
        self.line(format!("{ty} const {pointer} = {base} + ({offset});"));
        let condition = join(conditions).map(|condition| self.define("ok", "bool", &condition));
        Row {
            pointer,
            condition,
            valid,
        }
    }

    /// The power of two, up to 16, that divides the address of an access at innermost coordinate 0 of every row.
    pub(super) fn row_alignment(&self, access: &Access, adjacent: usize) -> u64 {
        let (Some(tensor), Some(shape)) = (self.kernel.tensor(access.tensor), access_shape(self.kernel, access)) else {
            return 1;
        };
        let own_axis = |index| broadcast_axis(self.kernel.ty(index).shape, shape, shape.rank().saturating_sub(1));
        let size = tensor.element.size() as u64;
        let offset = access
            .indices
            .iter()
            .enumerate()
            .fold(EVERYTHING, |all, (axis, &index)| {
                let stride = stride_divisor(self.kernel, access.tensor, axis as u8);
                let by = if axis == adjacent {
                    self.start_divisor(index, own_axis(index), &mut HashMap::new())
                } else {
                    divisor(self.kernel, index)
                };
                all.min(by.saturating_mul(stride))
            });
        offset.saturating_mul(size).min(tensor.alignment as u64).min(16)
    }

    /// What divides an index at coordinate 0 of its axis `axis`, along which it advances by one; of an index without such
    /// an axis, what divides it anywhere. `known` are those found so far, so that values used often are looked at once.
    fn start_divisor(&self, index: Handle<Expression>, axis: Option<usize>, known: &mut Divisors) -> u64 {
        if let Some(found) = known.get(&(index, axis)) {
            return *found;
        }
        let found = match axis {
            Some(along) if step(self.kernel, index, along) != Some(0) => {
                room(|| self.moving_start_divisor(index, along, known))
            }
            _ => divisor(self.kernel, index),
        };
        known.insert((index, axis), found);
        found
    }

    fn moving_start_divisor(&self, index: Handle<Expression>, axis: usize, known: &mut Divisors) -> u64 {
        let shape = self.kernel.ty(index).shape;
        let from = |value: &Handle<Expression>| self.kernel.ty(*value).shape;
        let mut of = |value: &Handle<Expression>, axis| self.start_divisor(*value, axis, known);
        match &self.kernel.expressions[index] {
            Expression::Arange(_) => EVERYTHING,
            Expression::Broadcast { value, .. } => of(value, broadcast_axis(from(value), shape, axis)),
            Expression::Reshape { value, .. } => of(value, reshape_axis(from(value), shape, axis)),
            Expression::Cast { value, to } if to.is_integer() => of(value, Some(axis)),
            Expression::MultipleOf { value, .. } => of(value, Some(axis)).max(divisor(self.kernel, index)),
            Expression::Binary {
                op: BinaryOp::Add | BinaryOp::Subtract,
                left,
                right,
            } => of(left, Some(axis)).min(of(right, Some(axis))),
            _ => divisor(self.kernel, index),
        }
    }
}

fn sum(terms: Vec<String>) -> String {
    let terms: Vec<String> = terms.into_iter().filter(|term| term != "0LL" && term != "0").collect();
    if terms.is_empty() {
        "0".to_owned()
    } else {
        terms.join(" + ")
    }
}

/// All conditions at once.
pub(super) fn join(conditions: Vec<String>) -> Option<String> {
    match conditions.len() {
        0 => None,
        1 => conditions.into_iter().next(),
        _ => Some(format!(
            "({})",
            conditions
                .into_iter()
                .map(|c| format!("({c})"))
                .collect::<Vec<_>>()
                .join(" && ")
        )),
    }
}
