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

/// A mark, as a report hands it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedBy {
    /// The program, counted with the innermost grid axis fastest; `None` for one of several that are not known.
    pub program: Option<u64>,
    /// The number of the place in [`Module::traps`](super::Module::traps), if it is known.
    pub site: Option<usize>,
}

/// The first bit of the place, whose field ends where the number of the program begins; all ones stand for none.
const SITE: u32 = 22;
const NO_SITE: u64 = (1 << (PROGRAM - SITE)) - 1;
const PROGRAM: u32 = 32;
const NO_PROGRAM: u64 = u32::MAX as u64;
/// What the prelude calls by these names.
const DISJOINT: u64 = 1 << 21;
const ATOMIC: u64 = 1 << 20;
/// The number of a store that may meet itself, and of those after the last that has one.
const NO_STORE: u64 = (1 << 20) - 1;

impl MarkedBy {
    /// What the word of a mark says.
    pub fn of(mark: u64) -> Self {
        let (program, site) = (mark >> PROGRAM, mark >> SITE & NO_SITE);
        Self {
            program: (program != NO_PROGRAM).then(|| program.saturating_sub(1)),
            site: (site != NO_SITE).then_some(site as usize),
        }
    }
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
