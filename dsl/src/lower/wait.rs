//! Waiting for flags: each by a thread of its own, which looks at it until it has come so far or the time is over. The others
//! wait for these at a barrier, and where the time was over, all of them end there.

use super::point::Point;
use super::report::TrapFault;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{Access, Atomic, BinaryOp, CompareOp, Expression, Handle, Literal, Shape};
use crate::thread::{self, Label, Load, Operation, Order, Place, Register, Type, Unroll, Use};

/// How often a thread looks at a flag before it looks at the time again.
const LOOKS: u32 = 4;

/// What a program waits for.
#[derive(Clone, Copy)]
struct Awaited {
    epoch: Handle<Expression>,
    limit: Handle<Expression>,
    /// Where a wait that ended is reported.
    site: u32,
    /// The word of the program that says that one has.
    over: Place,
}

impl Lower<'_> {
    /// Waits for every flag of an operation.
    pub(super) fn wait(
        &mut self,
        value: Handle<Expression>,
        atomic: &Atomic,
        epoch: Handle<Expression>,
        limit: Handle<Expression>,
    ) -> Result<(), LowerError> {
        let ty = self.kernel.ty(value);
        let shape = ty.shape;
        self.access_span = self.kernel.spans[value.index()];
        let tensor = atomic.access.tensor;
        let site = self.site(self.span, TrapFault::Wait { tensor });
        let operands: Vec<_> = atomic.operands().collect();
        // Behind it everybody sees what was released, and whether to go on.
        self.end_if_found(|lower, over| {
            let awaited = Awaited {
                epoch,
                limit,
                site,
                over,
            };
            lower.with_others(&operands, |lower| {
                lower.each(shape.elements(), |lower, e| {
                    let point = lower.at_position(e, shape);
                    lower.wait_for(atomic, awaited, &point, shape)
                })
            })
        })?;
        let zero: Use = Literal::zero(ty.element).into();
        match ty.is_scalar() {
            true => drop(self.scalars.insert(value, zero)),
            false => {
                let held = self.hold(ty, |_, _, _| Ok(zero))?;
                self.held.insert(value, held);
            }
        }
        Ok(())
    }

    /// Waits for one flag.
    fn wait_for(&mut self, atomic: &Atomic, awaited: Awaited, point: &Point, shape: Shape) -> Result<(), LowerError> {
        let Awaited {
            epoch,
            limit,
            site,
            over,
        } = awaited;
        let (epoch, limit) = (self.pull(epoch, point)?, self.scalar(limit)?);
        let placed = self.place(&atomic.access, point, shape)?;
        let rank = self.first_index(&atomic.access, point, shape)?;
        let register = self.b.register("seen", Type::scalar(ElementType::U32));
        let flag = Load {
            place: placed.place,
            ty: Type::scalar(ElementType::U32),
            order: Order::Strong(atomic.order, atomic.scope),
            cache: None,
            read_only: false,
            predicate: None,
        };
        self.b.enter();
        let label = self.b.label();
        let start = self.b.emit(Operation::Timer);
        self.b.enter();
        // Looks are many for each time that is read.
        (0..LOOKS).for_each(|_| self.look(flag, epoch, register, label));
        let now = self.b.emit(Operation::Timer);
        let waited = self.b.binary(BinaryOp::Subtract, now, start);
        let is_over = self.b.compare(CompareOp::GreaterEqual, waited, limit);
        let is_over = self.b.condition(is_over);
        self.b.enter();
        self.report_wait(site, register, epoch, rank);
        self.say_over(over);
        self.b.push(thread::Statement::Leave(label));
        let accept = self.b.leave();
        self.b.push(thread::Statement::If {
            condition: is_over,
            accept,
            reject: thread::Block::new(),
        });
        let body = self.b.leave();
        let unroll = Unroll::Never;
        self.b.push(thread::Statement::Loop { label, unroll, body });
        let accept = self.b.leave();
        self.b.push(thread::Statement::If {
            condition: placed.condition,
            accept,
            reject: thread::Block::new(),
        });
        Ok(())
    }

    /// Looks at a flag, and leaves if it has come so far.
    fn look(&mut self, flag: Load, epoch: Use, register: Handle<Register>, label: Label) {
        let seen = self.b.load(flag);
        self.b.assign(register, seen);
        let behind = self.b.binary(BinaryOp::Subtract, seen, epoch);
        let half = Literal::new(1u32 << 31).into();
        let reached = self.b.compare(CompareOp::Less, behind, half);
        let reached = self.b.condition(reached);
        self.b.when(reached, |b| b.push(thread::Statement::Leave(label)));
    }

    /// Reports what was seen, above what was waited for, and whose flag it is.
    fn report_wait(&mut self, site: u32, seen: Handle<Register>, epoch: Use, rank: Use) {
        let seen = self.b.read(seen);
        let (seen, epoch) = (self.wide(seen), self.wide(epoch));
        let seen = self.b.binary(BinaryOp::ShiftLeft, seen, Literal::new(32u64).into());
        let both = self.b.binary(BinaryOp::Or, seen, epoch);
        let both = self.b.element_cast(both, ElementType::I64);
        let always = self.b.indices().always(true);
        self.report(site, both, rank, always);
    }

    fn wide(&mut self, value: Use) -> Use {
        self.b.element_cast(value, ElementType::U64)
    }

    /// The first index of a flag: its rank.
    fn first_index(&mut self, access: &Access, point: &Point, shape: Shape) -> Result<Use, LowerError> {
        let is_listed = self
            .kernel
            .tensor(access.tensor)
            .is_some_and(|tensor| tensor.list.is_some());
        let index = self.index_at(access, usize::from(is_listed), point, shape)?;
        Ok(self.b.element_cast(index.into(), ElementType::U64))
    }
}
