//! Tiles that are somewhere: each thread holds some elements, or all of them are in shared memory.
//!
//! A thread holds the elements whose row-major position is its own number and so many times the number of threads more.
//! Whether an element that is wanted is the thread's own is asked of the index expressions; what is wanted of another
//! thread's is found by emitting the use once for nothing, and brought through shared memory before it.

use std::collections::BTreeSet;

use super::access::memory_type;
use super::point::Point;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{CompareOp, Expression, Handle, Literal, Local, Type};
use crate::thread::verify::MAX_SHARED_BYTES;
use crate::thread::{self, Buffer, BufferKind, Index, Load, Operation, Order, Place, Register, Rounding, Use};
use crate::thread::{Store, Unroll};

/// Elements of a tile that a thread holds in registers; of longer ones they are in its own memory.
pub(super) const MOST_REGISTERS: u64 = 32;

/// Where a tile's elements are.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// Each thread's own, in order.
    Values(Vec<Use>),
    /// Each thread's own, one after the other in its memory.
    Own(Handle<Buffer>),
    /// All of them, in row-major order, as elements of this type.
    Shared(Handle<Buffer>, ElementType),
}

/// Where a variable keeps a tile: each thread its own elements.
#[derive(Debug, Clone)]
pub(super) enum Variable {
    Registers(Vec<Handle<Register>>),
    Own(Handle<Buffer>),
}

impl Lower<'_> {
    /// Elements of a tile that a thread holds.
    fn slots(&self, ty: Type) -> u64 {
        ty.shape.elements().div_ceil(self.schedule.threads.into())
    }

    pub(super) fn declare_tile(&mut self, handle: Handle<Local>, name: &str, ty: Type) -> Result<(), LowerError> {
        let slots = self.slots(ty);
        let variable = match slots <= MOST_REGISTERS {
            true => {
                let one = thread::Type::scalar(ty.element);
                Variable::Registers((0..slots).map(|_| self.b.register(name, one)).collect())
            }
            false => Variable::Own(self.own(ty)?),
        };
        self.variables.insert(handle, variable);
        Ok(())
    }

    /// Memory of a thread for its elements of a tile.
    pub(super) fn own(&mut self, ty: Type) -> Result<Handle<Buffer>, LowerError> {
        let size = memory_type(ty.element).size() as u64;
        let Ok(bytes) = u32::try_from(self.slots(ty) * size) else {
            return self.defect("a tile of more bytes than a thread has");
        };
        let name = format!("own_{}", self.b.kernel().buffers.len());
        Ok(self.b.buffer(name, size as u32, BufferKind::Local { bytes }))
    }

    /// Does `body` with each element that a thread holds: which one of its own it is, and the position in the tile.
    pub(super) fn each_slot(
        &mut self,
        ty: Type,
        mut body: impl FnMut(&mut Self, Handle<Index>, &Point) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let threads = i64::from(self.schedule.threads);
        let elements = self.b.constant(ty.shape.elements() as i64);
        let mut one = |lower: &mut Self, slot: Handle<Index>| {
            let first = lower.b.indices().scale(slot, threads);
            let e = lower.b.indices().add(first, lower.worker);
            let here = lower.b.indices().less(e, elements);
            let point = lower.at_position(e, ty.shape);
            lower.where_needed(here, |lower| body(lower, slot, &point))
        };
        let slots = self.slots(ty) as i64;
        if slots as u64 <= MOST_REGISTERS {
            for slot in 0..slots {
                let slot = self.b.constant(slot);
                one(self, slot)?;
            }
            return Ok(());
        }
        let (start, end, label) = (self.b.constant(0), self.b.constant(slots), self.b.label());
        let (slot, variable) = self.b.counter(start, end, 1);
        let body = self.inside(|lower| one(lower, slot))?;
        self.b.push(thread::Statement::For {
            label,
            variable,
            start,
            end,
            step: 1,
            unroll: Unroll::Never,
            body,
        });
        Ok(())
    }

    /// A tile of which each thread computes its own elements.
    pub(super) fn hold(
        &mut self,
        ty: Type,
        mut element: impl FnMut(&mut Self, Handle<Index>, &Point) -> Result<Use, LowerError>,
    ) -> Result<Held, LowerError> {
        if self.slots(ty) <= MOST_REGISTERS {
            let mut values = Vec::new();
            self.each_slot(ty, |lower, slot, point| {
                values.push(element(lower, slot, point)?);
                Ok(())
            })?;
            return Ok(Held::Values(values));
        }
        let own = self.own(ty)?;
        self.each_slot(ty, |lower, slot, point| {
            let value = element(lower, slot, point)?;
            let place = lower.element_place(own, slot, memory_type(ty.element));
            lower.put(place, value);
            Ok(())
        })?;
        Ok(Held::Own(own))
    }

    /// What a variable holds now.
    pub(super) fn variable_now(&mut self, local: Handle<Local>, ty: Type) -> Result<Held, LowerError> {
        match self.variables.get(&local).cloned() {
            Some(Variable::Registers(registers)) => {
                let read = |register| {
                    let value = self.b.read(register);
                    self.as_index(value)
                };
                Ok(Held::Values(registers.into_iter().map(read).collect()))
            }
            // Later it may hold something else.
            Some(Variable::Own(buffer)) => self.hold(ty, |lower, slot, _| {
                let place = lower.element_place(buffer, slot, memory_type(ty.element));
                Ok(lower.fetch(place, memory_type(ty.element), ty.element))
            }),
            None => self.defect("a variable that is not declared"),
        }
    }

    /// Sets a variable that holds a tile.
    pub(super) fn assign_tile(&mut self, local: Handle<Local>, value: Handle<Expression>) -> Result<(), LowerError> {
        let ty = self.kernel.ty(value);
        self.with_others(&[value], |lower| match lower.variables.get(&local).cloned() {
            Some(Variable::Registers(registers)) => {
                if let Held::Values(values) = lower.hold(ty, |lower, _, point| lower.pull(value, point))? {
                    for (register, value) in registers.into_iter().zip(values) {
                        lower.b.assign(register, value);
                    }
                }
                Ok(())
            }
            Some(Variable::Own(buffer)) => lower.each_slot(ty, |lower, slot, point| {
                let value = lower.pull(value, point)?;
                let place = lower.element_place(buffer, slot, memory_type(ty.element));
                lower.put(place, value);
                Ok(())
            }),
            None => lower.defect("a variable that is not declared"),
        })
    }

    /// The place of an element by its number.
    pub(super) fn element_place(&mut self, buffer: Handle<Buffer>, at: Handle<Index>, element: ElementType) -> Place {
        let mut offset = self.b.indices().scale(at, element.size() as i64);
        if matches!(self.b.kernel().buffers[buffer].kind, BufferKind::Shared { .. }) {
            let own = self.b.indices().scale(self.beside, self.shared_stride.into());
            offset = self.b.indices().add(own, offset);
        }
        self.b.place(buffer, offset)
    }

    /// Writes an element to memory of the block or thread, where it is needed.
    pub(super) fn put(&mut self, place: Place, value: Use) {
        let value = self.as_stored(value);
        self.b.store(Store {
            place,
            value,
            order: Order::Weak,
            cache: None,
            predicate: self.needed,
        });
    }

    /// Reads an element from memory of the block or thread, where it is needed.
    pub(super) fn fetch(&mut self, place: Place, stored: ElementType, element: ElementType) -> Use {
        let lanes = [Use::Index(place.offset)]
            .into_iter()
            .chain(self.needed.map(Use::Predicate))
            .map(|operand| self.b.kernel().ty(operand).lanes)
            .max()
            .unwrap_or(1);
        let loaded = self.b.load(Load {
            place,
            ty: thread::Type::packet(stored, lanes),
            order: Order::Weak,
            cache: None,
            read_only: false,
            predicate: self.needed,
        });
        match element {
            ElementType::Bool => {
                let zero = Literal::zero(stored).into();
                let holds = self.b.compare(CompareOp::NotEqual, loaded, zero);
                self.as_index(holds)
            }
            ElementType::I64 => self.b.index(loaded).into(),
            _ => loaded,
        }
    }

    /// A bool as a byte; anything else as it is.
    pub(super) fn as_stored(&mut self, value: Use) -> Use {
        match self.b.element(value) {
            ElementType::Bool => self.b.emit(Operation::Cast {
                value,
                to: ElementType::U8,
                rounding: Rounding::NearestEven,
            }),
            _ => value,
        }
    }

    /// The element of a tile that is held, at a point.
    pub(super) fn held_at(&mut self, value: Handle<Expression>, held: &Held, point: &Point) -> Result<Use, LowerError> {
        let Type { element, shape } = self.kernel.ty(value);
        let position = self.position(point, shape);
        let shared = match held {
            Held::Shared(buffer, stored) => Some((*buffer, *stored)),
            _ => self.brought.get(&value).map(|buffer| (*buffer, memory_type(element))),
        };
        if let Some((buffer, stored)) = shared {
            self.order.shared = true;
            let place = self.element_place(buffer, position, stored);
            return Ok(self.fetch(place, stored, element));
        }
        let threads = self.b.constant(self.schedule.threads.into());
        let beyond = self.b.indices().subtract(position, self.worker);
        let rest = self.b.indices().remainder(beyond, threads);
        let slot = self.b.indices().quotient(beyond, threads);
        let is_own = self.b.kernel().indices.as_constant(rest) == Some(0);
        if is_own && let Some(own) = self.own_at(held, slot, element) {
            return Ok(own);
        }
        match &mut self.wanted {
            Some(wanted) => {
                wanted.insert(value);
                // Some value, of which nothing is known.
                let unknown = self.b.emit(Operation::Cast {
                    value: Literal::zero(memory_type(element)).into(),
                    to: memory_type(element),
                    rounding: Rounding::NearestEven,
                });
                Ok(match element {
                    ElementType::Bool => {
                        let zero = Literal::zero(ElementType::U8).into();
                        let holds = self.b.compare(CompareOp::NotEqual, unknown, zero);
                        self.as_index(holds)
                    }
                    _ => self.as_index(unknown),
                })
            }
            None => self.defect("an element that another thread holds, which was not foreseen"),
        }
    }

    /// An element of the thread's own, if it is known which, or may be computed.
    fn own_at(&mut self, held: &Held, slot: Handle<Index>, element: ElementType) -> Option<Use> {
        match held {
            Held::Values(values) => {
                let slot = self.b.kernel().indices.as_constant(slot)?;
                let own = usize::try_from(slot).ok().and_then(|slot| values.get(slot));
                // Beyond the tile nothing is needed.
                Some(own.copied().unwrap_or(Literal::zero(element).into()))
            }
            Held::Own(buffer) => {
                let place = self.element_place(*buffer, slot, memory_type(element));
                Some(self.fetch(place, memory_type(element), element))
            }
            Held::Shared(..) => None,
        }
    }

    /// Whether any of these is computed from a tile that is held.
    pub(super) fn are_made_of_held(&self, values: &[Handle<Expression>]) -> bool {
        let made = |&value: &Handle<Expression>| {
            let through = |inner| !self.scalars.contains_key(&inner) && !self.held.contains_key(&inner);
            self.kernel
                .is_made_of(value, through, |inner| self.held.contains_key(&inner))
        };
        values.iter().any(made)
    }

    /// Does `body`, which uses these values, once the elements are in shared memory that it needs of other threads.
    pub(super) fn with_others<R>(
        &mut self,
        values: &[Handle<Expression>],
        mut body: impl FnMut(&mut Self) -> Result<R, LowerError>,
    ) -> Result<R, LowerError> {
        if self.wanted.is_some() || !self.are_made_of_held(values) {
            return body(self);
        }
        let top = self.shared_top;
        let brought = self.bring(|lower| body(lower).map(drop))?;
        let result = body(self);
        self.let_go(&brought, top);
        result
    }

    /// Brings what `use_them` wants of other threads' elements into shared memory; returns which tiles.
    pub(super) fn bring(
        &mut self,
        use_them: impl FnOnce(&mut Self) -> Result<(), LowerError>,
    ) -> Result<BTreeSet<Handle<Expression>>, LowerError> {
        let (mark, sites, order) = (self.b.mark(), self.sites.len(), self.order.clone());
        self.wanted = Some(BTreeSet::new());
        let used = self.inside(use_them);
        let wanted = self.wanted.take().unwrap_or_default();
        self.b.forget(mark);
        self.sites.truncate(sites);
        self.order = order;
        used?;
        if wanted.is_empty() {
            return Ok(wanted);
        }
        self.before_shared();
        let mut brought = Vec::new();
        for &value in &wanted {
            let (Some(held), ty) = (self.held.get(&value).cloned(), self.kernel.ty(value)) else {
                continue;
            };
            let buffer = self.shared(memory_type(ty.element), ty.shape.elements())?;
            self.each_slot(ty, |lower, slot, point| {
                let own = lower.own_at(&held, slot, ty.element);
                let Some(own) = own else {
                    return lower.defect("a tile of which a thread does not hold its elements");
                };
                let position = lower.position(point, ty.shape);
                let place = lower.element_place(buffer, position, memory_type(ty.element));
                lower.put(place, own);
                Ok(())
            })?;
            brought.push((value, buffer));
        }
        self.brought.extend(brought);
        self.barrier();
        Ok(wanted)
    }

    /// What was brought is no longer needed, and the shared memory from `top` on is free.
    pub(super) fn let_go(&mut self, brought: &BTreeSet<Handle<Expression>>, top: u32) {
        self.brought.retain(|value, _| !brought.contains(value));
        self.shared_top = top;
    }

    /// Shared memory for so many elements, from where it is free.
    pub(super) fn shared(&mut self, element: ElementType, elements: u64) -> Result<Handle<Buffer>, LowerError> {
        let offset = self.shared_top.next_multiple_of(16);
        let others = u64::from(self.schedule.programs_per_block - 1) * u64::from(self.shared_stride);
        let own = elements * element.size() as u64;
        let (bytes, limit) = (u64::from(offset) + others + own, MAX_SHARED_BYTES.into());
        if bytes > limit {
            return Err(LowerError::SharedMemory {
                kernel: self.kernel.name.clone(),
                bytes,
                limit,
                span: self.span,
            });
        }
        self.shared_top = offset + own as u32;
        self.shared_most = self.shared_most.max(self.shared_top);
        let name = format!("shared_{}", self.b.kernel().buffers.len());
        // All programs' is one buffer.
        let bytes = (others + own) as u32;
        Ok(self.b.buffer(name, 16, BufferKind::Shared { offset, bytes }))
    }

    /// Before shared memory is written that may have held something else: everybody has read that.
    pub(super) fn before_shared(&mut self) {
        if self.order.shared {
            self.barrier();
        }
    }
}
