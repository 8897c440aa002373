//! Elements that are done for their effect: atomic operations without a value, checks, marks, and stores in row-major order.

use super::leaves::{Group, Sink};
use super::prelude::Need;
use super::pull::{Point, linear};
use super::writer::{ArgumentOrder, Writer};
use super::{TrapFault, TrapSite};
use crate::analysis::contiguity::{access_shape, broadcast_axis, step};
use crate::ir::{Access, Bounds, CheckKind, Expression, Handle, Span};

impl Writer<'_> {
    /// A loop over the elements of a tile, each of which some thread does.
    pub(super) fn effect_group(&mut self, group: &Group<'_>) {
        let (elements, workers) = (group.shape.elements(), self.workers());
        self.keep_rolled();
        self.open(format!("for (int e = worker; e < {elements}; e += {workers}) {{"));
        let point = self.coordinates_of(group.shape, "e");
        self.element_effect(group, &point);
        self.close();
    }

    /// Does one element of a group whose elements go nowhere.
    pub(super) fn element_effect(&mut self, group: &Group<'_>, point: &Point) {
        match &group.sink {
            Sink::Store(_) | Sink::Registers(_) => {}
            Sink::Effect => drop(self.pull(group.value, point)),
            Sink::Check(site) => {
                let holds = self.pull(group.value, point);
                let at = linear(&point.coordinates, group.shape);
                self.line(format!(
                    "if (!{holds}) {}",
                    trap(*site, &format!("(long long){at}"), "0ULL")
                ));
            }
            Sink::Mark(mark) => self.mark_element(mark, point, group.shape, group.span),
            Sink::Prefetch(access) => self.prefetch_element(access, point, group.shape, group.span),
            Sink::InOrder(access) => {
                let value = self.pull(group.value, point);
                self.store_element(access, &value, point, group.shape, group.span);
            }
        }
    }

    /// A loop of one thread over all elements of a store, in row-major order.
    pub(super) fn in_order_group(&mut self, group: &Group<'_>) {
        self.open("if (worker == 0) {");
        self.keep_rolled();
        self.open(format!("for (int e = 0; e < {}; ++e) {{", group.shape.elements()));
        let point = self.coordinates_of(group.shape, "e");
        self.element_effect(group, &point);
        self.close();
        self.close();
    }

    /// Whether no two elements of an access are in one place: then it does not matter which thread stores which.
    pub(super) fn is_distinct(&self, access: &Access) -> bool {
        let Some(shape) = access_shape(self.kernel, access) else {
            return false;
        };
        let long: Vec<usize> = (0..shape.rank()).filter(|&axis| shape.extents()[axis] > 1).collect();
        // Clamping brings elements together.
        let clamped = access.bounds == Bounds::Clamp && access.is_guarded();
        let advances = |axis: usize| {
            access.indices.iter().any(|&index| {
                let own = broadcast_axis(self.kernel.ty(index).shape, shape, axis);
                own.and_then(|own| step(self.kernel, index, own))
                    .is_some_and(|by| by != 0)
            })
        };
        match long.as_slice() {
            [] => true,
            [axis] => !clamped && advances(*axis),
            _ => false,
        }
    }

    /// Tests a condition.
    pub(super) fn check(&mut self, condition: Handle<Expression>, kind: CheckKind, message: &str, span: Span) {
        if kind == CheckKind::Assume && !self.kernel.checked {
            return;
        }
        let message = message.to_owned();
        let site = self.trap_site(span, TrapFault::Check { kind, message });
        let shape = self.kernel.ty(condition).shape;
        if shape.rank() == 0 {
            let holds = self.scalar(condition);
            self.open(format!("if (!{holds}) {{"));
            self.line(format!("if (worker == 0) {}", trap(site, "0LL", "0ULL")));
            self.line("return;");
            self.close();
            return;
        }
        let sink = Sink::Check(site);
        self.group(&Group {
            value: condition,
            shape,
            sink,
            span,
        });
    }

    /// The number by which something that traps reports.
    pub(super) fn trap_site(&mut self, span: Span, fault: TrapFault) -> usize {
        self.traps.push(TrapSite { span, fault });
        self.arguments.insert(ArgumentOrder::Trap);
        self.need(Need::Trap);
        self.traps.len() - 1
    }
}

/// The statement that reports `value` from a place, and what it met there.
pub(super) fn trap(site: usize, value: &str, met: &str) -> String {
    format!("tw_trap(trap_record, {site}ULL, program, {value}, {met});")
}
