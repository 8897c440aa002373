//! Marks of who touched an element last, by which checked builds find accesses that do not go together.
//!
//! Every element of a tensor that is marked has one mark for who changed it, and one more for who read it where programs
//! both read and change it and nothing orders them. A mark says, from the highest bit: the number of the program and one,
//! the place of the text, whether the store promises to be disjoint, whether it was an atomic operation, and which of the
//! program's stores, so that a program may come back to what it has written, and a store may not. Of several programs
//! that change an element atomically it names none. That of a reader names the first of several, and has the bit of a
//! promise if there were others.
//!
//! A reader marks first and looks for a writer then, and a writer the other way around, so that one of them sees the
//! other.

use super::access::Located;
use super::point::Point;
use super::{KernelArgument, Lower, LowerError, TrapFault};
use crate::analysis::races::{Sequence, Touch};
use crate::element::ElementType;
use crate::ir::{
    Access, Atomic, BinaryOp, CompareOp, Conflict, Expression, Handle, Literal, MemoryOrder, MemoryScope, Shape, Span,
};
use crate::thread::{
    self, Buffer, BufferKind, FenceOrder, Index, Load, Order, Place, Register, Sharing, Type, Unroll, Update, Use,
};

/// What is marked at the elements of an access.
#[derive(Clone, Copy)]
struct Mark<'a> {
    access: &'a Access,
    shape: Shape,
    touch: Touch,
    /// Where what does not go together is reported from.
    site: u32,
    /// Whether elements of the access must not meet each other.
    apart: bool,
    /// Words for each element: two where loads are marked too.
    words: u32,
}

/// A mark, as a report hands it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedBy {
    /// The program, counted with the innermost grid axis fastest; `None` for one of several that are not known.
    pub program: Option<u64>,
    /// The number of the [place](super::TrapSite), if it is known.
    pub site: Option<usize>,
}

/// The first bit of the place, whose field ends where the number of the program begins; all ones stand for none.
pub(crate) const SITE: u32 = 22;
pub(crate) const NO_SITE: u64 = (1 << (PROGRAM - SITE)) - 1;
const PROGRAM: u32 = 32;
const NO_PROGRAM: u64 = u32::MAX as u64;
/// What stands for others that are not known.
const NOBODY: u64 = NO_PROGRAM << PROGRAM | NO_SITE << SITE;
pub(crate) const DISJOINT: u64 = 1 << 21;
pub(crate) const ATOMIC: u64 = 1 << 20;
/// The number of a store that may meet itself, and of those after the last that has one; all bits of the number.
pub(crate) const NO_STORE: u64 = (1 << 20) - 1;

const MARK: Type = Type::scalar(ElementType::U64);

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

fn word(bits: u64) -> Use {
    Literal::new(bits).into()
}

impl Lower<'_> {
    /// Begins to count the program's stores.
    pub(super) fn count_stores(&mut self) {
        let stores = self.b.register("stores", MARK);
        self.b.assign(stores, word(0));
        self.stores = Some(stores);
    }

    /// Marks what a store is about to write.
    pub(super) fn mark_store(
        &mut self,
        access: &Access,
        shape: Shape,
        conflict: Option<Conflict>,
    ) -> Result<(), LowerError> {
        let (Some(touch), Some(stores)) = (Touch::of_store(conflict), self.stores) else {
            return Ok(());
        };
        let before = self.b.read(stores);
        let next = self.b.binary(BinaryOp::Add, before, word(1));
        let next = self.b.binary(BinaryOp::Min, next, word(NO_STORE));
        self.b.assign(stores, next);
        self.mark(access, shape, touch, true, self.span)
    }

    /// Marks what a load is about to read.
    pub(super) fn mark_load(&mut self, access: &Access, value: Handle<Expression>) -> Result<(), LowerError> {
        let touch = self.races.of_load(access.tensor).filter(|_| self.marks_all());
        self.mark_value(access, value, touch)
    }

    /// Marks what an atomic operation is about to change.
    pub(super) fn mark_atomic(&mut self, atomic: &Atomic, value: Handle<Expression>) -> Result<(), LowerError> {
        let touch = self.races.of_atomic(atomic).filter(|_| self.marks_all());
        self.mark_value(&atomic.access, value, touch)
    }

    fn mark_value(
        &mut self,
        access: &Access,
        value: Handle<Expression>,
        touch: Option<Touch>,
    ) -> Result<(), LowerError> {
        let (span, shape) = (self.kernel.spans[value.index()], self.kernel.ty(value).shape);
        match touch {
            Some(touch) => self.mark(access, shape, touch, false, span),
            None => Ok(()),
        }
    }

    /// Whether accesses of different programs are compared. Where something orders programs, marks cannot tell, and only
    /// what goes together in no order is found.
    fn marks_all(&self) -> bool {
        self.kernel.checked && self.races.sequence == Sequence::Free
    }

    fn mark(&mut self, access: &Access, shape: Shape, touch: Touch, apart: bool, span: Span) -> Result<(), LowerError> {
        let tensor = access.tensor;
        let mark = Mark {
            access,
            shape,
            touch,
            site: self.site(span, TrapFault::Conflict { tensor, touch }),
            apart,
            words: 1 + u32::from(self.marks_all() && self.races.of_load(tensor).is_some()),
        };
        // What is out of bounds the access reports.
        let quiet = std::mem::replace(&mut self.quiet, true);
        let operands: Vec<_> = access.operands().collect();
        let marked = self.with_others(&operands, |lower| {
            lower.each(shape.elements(), |lower, e| {
                let point = lower.at_position(e, shape);
                lower.mark_element(&mark, &point)
            })
        });
        self.quiet = quiet;
        marked
    }

    fn mark_element(&mut self, mark: &Mark<'_>, point: &Point) -> Result<(), LowerError> {
        let Located {
            subject,
            indices,
            condition,
        } = self.locate(mark.access, point, mark.shape)?;
        let marked = self.inside(|lower| {
            let mut element = lower.b.constant(0);
            for (axis, index) in indices {
                let extent = lower.extent(subject, axis);
                element = lower.b.indices().multiply(element, extent);
                element = lower.b.indices().add(element, index);
            }
            let before = lower.elements_before(subject);
            let element = lower.b.indices().add(before, element);
            let own = lower.own_mark(mark);
            let met = match mark.touch {
                Touch::Read => lower.mark_reader(mark, element, own),
                Touch::Atomic | Touch::Disjoint | Touch::Write => lower.mark_writer(mark, element, own),
            };
            let meets = lower.b.is_not_zero(met);
            let meets = lower.b.condition(meets);
            lower.report(mark.site, element.into(), met, meets);
            Ok(())
        })?;
        self.when(condition, marked);
        Ok(())
    }

    /// What is to be marked.
    fn own_mark(&mut self, mark: &Mark<'_>) -> Use {
        let flags = match mark.touch {
            Touch::Disjoint => DISJOINT,
            Touch::Atomic => ATOMIC,
            Touch::Read | Touch::Write => 0,
        };
        let fixed = u64::from(mark.site).min(NO_SITE) << SITE | flags;
        let store = match self.stores.filter(|_| mark.apart) {
            Some(stores) => self.b.read(stores),
            None => word(NO_STORE),
        };
        let program = self.b.indices().offset(self.program, 1);
        let program = self.integer(program, ElementType::U64);
        let program = self.b.binary(BinaryOp::ShiftLeft, program, word(PROGRAM.into()));
        let fixed = self.b.binary(BinaryOp::Or, store, word(fixed));
        self.b.binary(BinaryOp::Or, program, fixed)
    }

    /// Where the marks of an element are: of who changed it, or of who read it.
    fn marks_at(&mut self, mark: &Mark<'_>, element: Handle<Index>, of_readers: bool) -> Place {
        let buffer = self.marks_of(mark);
        let offset = self.b.indices().scale(element, i64::from(8 * mark.words));
        let offset = self.b.indices().offset(offset, 8 * i64::from(of_readers));
        self.b.place(buffer, offset)
    }

    fn marks_of(&mut self, mark: &Mark<'_>) -> Handle<Buffer> {
        let wanted = KernelArgument::Marks {
            tensor: mark.access.tensor,
            words: mark.words,
        };
        let argument = self.argument(wanted);
        let name = self.name_of(wanted);
        let known = self.b.kernel().buffers.iter().find(|(_, buffer)| buffer.name == name);
        match known.map(|(buffer, _)| buffer) {
            Some(buffer) => buffer,
            None => {
                let sharing = Sharing::Shared;
                self.b.buffer(name, 8, BufferKind::Global { argument, sharing })
            }
        }
    }

    /// Marks an element as changed; returns the mark of who was met, if it must not have been, or 0.
    fn mark_writer(&mut self, mark: &Mark<'_>, element: Handle<Index>, own: Use) -> Use {
        let at = self.marks_at(mark, element, false);
        let free = self.marks_all();
        let met = self.b.register("met", MARK);
        self.replaced(at, |lower, before| {
            let b = &mut lower.b;
            let bits = |b: &mut thread::Builder, bits| b.binary(BinaryOp::And, before, word(bits));
            let (is_there, is_same) = (b.is_not_zero(before), same_program(b, before, own));
            let (promised, disjoint) = match mark.touch {
                Touch::Disjoint => {
                    let promised = bits(b, DISJOINT);
                    (Some(b.is_not_zero(promised)), true)
                }
                Touch::Atomic | Touch::Read | Touch::Write => (None, false),
            };
            // By the same program.
            let mut met_same = word(0);
            if mark.apart {
                let (earlier, now) = (bits(b, NO_STORE), b.binary(BinaryOp::And, own, word(NO_STORE)));
                let same = b.compare(CompareOp::Equal, earlier, now);
                let counted = b.compare(CompareOp::NotEqual, now, word(NO_STORE));
                let again = b.binary(BinaryOp::And, same, counted);
                met_same = b.select(again, own, word(0));
            }
            // Of a scatter the place stays, since only another scatter breaks its promise.
            let after_same = match mark.touch {
                Touch::Atomic => before,
                _ if disjoint => own,
                _ => {
                    let promise = bits(b, DISJOINT);
                    let promise = b.is_not_zero(promise);
                    let (place, store) = (bits(b, !NO_STORE), b.binary(BinaryOp::And, own, word(NO_STORE)));
                    let kept = b.binary(BinaryOp::Or, place, store);
                    b.select(promise, kept, own)
                }
            };
            // By another one.
            let (mut met_other, mut after_other) = (if free { before } else { word(0) }, own);
            if mark.touch == Touch::Atomic {
                let atomic = bits(b, ATOMIC);
                let atomic = b.is_not_zero(atomic);
                let several = b.binary(BinaryOp::Or, before, word(NO_PROGRAM << PROGRAM));
                met_other = b.select(atomic, word(0), met_other);
                after_other = b.select(atomic, several, own);
            }
            if let Some(promised) = promised {
                met_same = b.select(promised, before, met_same);
                met_other = b.select(promised, before, met_other);
            }
            let (met_now, after) = (
                b.select(is_same, met_same, met_other),
                b.select(is_same, after_same, after_other),
            );
            let (met_now, after) = (b.select(is_there, met_now, word(0)), b.select(is_there, after, own));
            b.assign(met, met_now);
            after
        });
        if mark.words > 1 {
            self.meet_readers(mark, element, own, met);
        }
        self.b.read(met)
    }

    /// Looks who read an element, if nobody has been met that changed it.
    fn meet_readers(&mut self, mark: &Mark<'_>, element: Handle<Index>, own: Use, met: Handle<Register>) {
        let nobody = self.b.read(met);
        let nobody = self.b.compare(CompareOp::Equal, nobody, word(0));
        let nobody = self.b.condition(nobody);
        self.b.enter();
        let at = self.marks_at(mark, element, true);
        let reader = self.other(at);
        let b = &mut self.b;
        let is_there = b.is_not_zero(reader);
        let (is_same, others) = (
            same_program(b, reader, own),
            b.binary(BinaryOp::And, reader, word(DISJOINT)),
        );
        let others = b.is_not_zero(others);
        let others = b.select(others, word(NOBODY), word(0));
        let found = b.select(is_same, others, reader);
        let found = b.select(is_there, found, word(0));
        b.assign(met, found);
        let accept = self.b.leave();
        self.when(nobody, accept);
    }

    /// Marks an element as read; returns the mark of another program that changed it, or 0.
    fn mark_reader(&mut self, mark: &Mark<'_>, element: Handle<Index>, own: Use) -> Use {
        let at = self.marks_at(mark, element, true);
        self.replaced(at, |lower, before| {
            let b = &mut lower.b;
            let (is_there, is_same) = (b.is_not_zero(before), same_program(b, before, own));
            let several = b.binary(BinaryOp::Or, before, word(DISJOINT));
            let after = b.select(is_same, before, several);
            b.select(is_there, after, own)
        });
        let at = self.marks_at(mark, element, false);
        let writer = self.other(at);
        let is_same = same_program(&mut self.b, writer, own);
        self.b.select(is_same, word(0), writer)
    }

    /// Replaces a mark by what `after` makes of it, once nothing came between reading and writing it. 0 is no mark yet,
    /// which it is first taken for.
    fn replaced(&mut self, at: Place, after: impl FnOnce(&mut Self, Use) -> Use) {
        let before = self.b.register("before", MARK);
        self.b.assign(before, word(0));
        let label = self.b.label();
        self.b.enter();
        let seen = self.b.read(before);
        let next = after(self, seen);
        let exchange = thread::Atomic {
            place: at,
            element: MARK.element,
            update: Update::CompareExchange {
                current: seen,
                new: next,
            },
            order: MemoryOrder::Relaxed,
            scope: MemoryScope::Device,
            result: None,
            predicate: None,
        };
        let found = self.b.atomic(exchange, true).unwrap_or(seen);
        self.b.assign(before, found);
        let same = self.b.compare(CompareOp::Equal, found, seen);
        let same = self.b.condition(same);
        self.b.when(same, |b| b.push(thread::Statement::Leave(label)));
        let body = self.b.leave();
        let unroll = Unroll::Free;
        self.b.push(thread::Statement::Loop { label, unroll, body });
    }

    /// The mark of the other kind, as it is once one's own is there.
    fn other(&mut self, at: Place) -> Use {
        self.b.push(thread::Statement::Fence {
            order: FenceOrder::Sequential,
            scope: MemoryScope::Device,
        });
        self.b.load(Load {
            place: at,
            ty: MARK,
            order: Order::Strong(MemoryOrder::Relaxed, MemoryScope::Device),
            cache: None,
            read_only: false,
            predicate: None,
        })
    }
}

/// Whether two marks name one program.
fn same_program(b: &mut thread::Builder, one: Use, other: Use) -> Use {
    let [one, other] = [one, other].map(|mark| b.binary(BinaryOp::ShiftRight, mark, word(PROGRAM.into())));
    b.compare(CompareOp::Equal, one, other)
}
