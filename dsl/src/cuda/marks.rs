//! Marks of who touched an element last, by which checked builds find accesses that do not go together.
//!
//! Every element of a tensor that is marked has one mark for who changed it, and one more for who read it where programs both
//! read and change it and nothing orders them. A mark says which program it was, at which place of the text, and in which of
//! its stores, so that a program may come back to what it has written, and a store may not.

use super::TrapFault;
use super::effect::trap;
use super::leaves::{Group, Sink};
use super::prelude::Need;
use super::pull::Point;
use super::writer::{ArgumentOrder, Writer};
use crate::analysis::races::{Sequence, Touch};
use crate::ir::{Access, Atomic, Conflict, Expression, Handle, Shape, Span};
use crate::lower::mark::{ATOMIC, DISJOINT, NO_SITE, NO_STORE, SITE};

/// What is marked at the elements of an access.
#[derive(Clone, Copy)]
pub(super) struct Mark<'a> {
    pub(super) access: &'a Access,
    touch: Touch,
    /// Where what does not go together is reported from.
    site: usize,
    /// Whether elements of the access must not meet each other.
    apart: bool,
}

impl Writer<'_> {
    /// Marks what a store is about to write.
    pub(super) fn mark_store(
        &mut self,
        access: &Access,
        value: Handle<Expression>,
        conflict: Option<Conflict>,
        span: Span,
    ) {
        let Some(touch) = Touch::of_store(conflict).filter(|_| self.kernel.checked) else {
            return;
        };
        self.marks_stores = true;
        self.line(format!("stores += stores < {NO_STORE}U;"));
        self.mark(access, self.kernel.ty(value).shape, touch, true, value, span);
    }

    /// Marks what a load is about to read.
    pub(super) fn mark_load(&mut self, access: &Access, value: Handle<Expression>) {
        let touch = self.races.of_load(access.tensor).filter(|_| self.marks_all());
        if let Some(touch) = touch {
            let span = self.kernel.spans[value.index()];
            self.mark(access, self.kernel.ty(value).shape, touch, false, value, span);
        }
    }

    /// Marks what an atomic operation is about to change.
    pub(super) fn mark_atomic(&mut self, atomic: &Atomic, value: Handle<Expression>) {
        let touch = self.races.of_atomic(atomic).filter(|_| self.marks_all());
        if let Some(touch) = touch {
            let span = self.kernel.spans[value.index()];
            self.mark(&atomic.access, self.kernel.ty(value).shape, touch, false, value, span);
        }
    }

    /// Whether accesses of different programs are compared. Where something orders programs, marks cannot tell, and only
    /// what goes together in no order is found.
    fn marks_all(&self) -> bool {
        self.kernel.checked && self.races.sequence == Sequence::Free
    }

    fn mark(
        &mut self,
        access: &Access,
        shape: Shape,
        touch: Touch,
        apart: bool,
        value: Handle<Expression>,
        span: Span,
    ) {
        let tensor = access.tensor;
        let site = self.trap_site(span, TrapFault::Conflict { tensor, touch });
        let mark = Mark {
            access,
            touch,
            site,
            apart,
        };
        if shape.rank() == 0 {
            self.open("if (worker == 0) {");
            self.mark_element(&mark, &Point::scalar(), shape, span);
            self.close();
            return;
        }
        let sink = Sink::Mark(mark);
        self.group(&Group {
            value,
            shape,
            sink,
            span,
        });
    }

    pub(super) fn mark_element(&mut self, mark: &Mark<'_>, point: &Point, shape: Shape, span: Span) {
        let tensor = mark.access.tensor;
        let (subject, indices, condition) = self.indices(mark.access, point, shape, span);
        let mut element = String::from("0LL");
        for (axis, index) in &indices {
            let extent = self.extent(&subject, *axis);
            element = format!("({element} * {extent} + (long long){index})");
        }
        let before = self.elements_before(&subject);
        if before != "0LL" {
            element = format!("({before} + {element})");
        }
        self.need(Need::Mark);
        let free = self.marks_all();
        let words = 1 + u32::from(free && self.races.of_load(tensor).is_some());
        self.arguments.insert(ArgumentOrder::Marks { tensor, words });
        let marks = format!("marks_{}", self.parameters[tensor as usize]);
        let flags = match mark.touch {
            Touch::Disjoint => DISJOINT,
            Touch::Atomic => ATOMIC,
            Touch::Read | Touch::Write => 0,
        };
        let fixed = (mark.site as u64).min(NO_SITE) << SITE | flags;
        let own = match mark.apart {
            true => format!("tw_mark(program, {fixed}ULL | stores)"),
            false => format!("tw_mark(program, {}ULL)", fixed | NO_STORE),
        };
        self.open(condition.map_or("{".to_owned(), |condition| format!("if ({condition}) {{")));
        let element = self.define("element", "long long", &element);
        let at = format!("{marks} + {element} * {words}");
        let met = match mark.touch {
            Touch::Read => format!("tw_mark_read({at}, {own})"),
            _ => format!("tw_mark_write<{free}, {}>({at}, {own})", words > 1),
        };
        let met = self.define("met", "unsigned long long", &met);
        let report = trap(mark.site, &element, &met);
        self.line(format!("if ({met}) {report}"));
        self.close();
    }
}
