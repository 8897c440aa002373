//! Tiles that are somewhere: each thread holds some elements, or all of them are in shared memory.
//!
//! Which elements a thread holds, `layout` says. Whether one that is wanted is the thread's own is asked of the index
//! expressions; what is wanted of another thread's is found by emitting the use once for nothing, and brought through
//! shared memory before it.

use std::collections::BTreeSet;

use super::access::memory_type;
use super::layout::Layout;
use super::point::Point;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{CompareOp, Expression, Handle, Literal, Local, Type};
use crate::schedule::VECTOR_BYTES;
use crate::thread::verify::MAX_SHARED_BYTES;
use crate::thread::{self, Buffer, BufferKind, Index, Load, Operation, Order, Place, Register, Rounding, Use};
use crate::thread::{Store, Unroll};

/// Elements of a tile that a thread holds in registers; of longer ones they are in its own memory.
pub(super) const MOST_REGISTERS: u64 = 32;

/// Bytes of shared memory that are left alone rather than waited for.
const MOST_BESIDE: u32 = 16 << 10;

/// Where a tile's elements are.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// Each thread's own packets, in order.
    Values(Vec<Use>),
    /// Each thread's own, one after the other in its memory.
    Own(Handle<Buffer>),
    /// All of them, in row-major order, as elements of this type.
    Shared(Handle<Buffer>, ElementType),
    /// The only one, which every thread has.
    Everywhere(Use),
    /// What lines were reduced to.
    Lines(Lines),
}

/// One element for each line of a tile. Each thread of the group that worked on a line has it, and it is in shared memory,
/// where others find it once all have [met](super::barrier::Order::unmet).
#[derive(Debug, Clone)]
pub(super) struct Lines {
    /// Of the lines that a thread worked on, in order.
    pub(super) values: Vec<Use>,
    /// Threads that worked on a line.
    pub(super) group: i64,
    /// Lines at a time.
    pub(super) at_a_time: i64,
    pub(super) buffer: Handle<Buffer>,
    pub(super) stored: ElementType,
}

/// Where a variable keeps a tile: each thread its own elements.
#[derive(Debug, Clone)]
pub(super) enum Variable {
    Registers(Vec<Handle<Register>>),
    Own(Handle<Buffer>),
}

impl Lower<'_> {
    pub(super) fn declare_tile(&mut self, handle: Handle<Local>, name: &str, ty: Type) -> Result<(), LowerError> {
        let layout = self.layout(ty.shape);
        let variable = match layout.elements() <= MOST_REGISTERS {
            true => {
                let packet = thread::Type::packet(ty.element, layout.lanes);
                Variable::Registers((0..layout.own).map(|_| self.b.register(name, packet)).collect())
            }
            false => Variable::Own(self.own(ty)?),
        };
        self.variables.insert(handle, variable);
        Ok(())
    }

    /// Memory of a thread for its elements of a tile.
    pub(super) fn own(&mut self, ty: Type) -> Result<Handle<Buffer>, LowerError> {
        let size = memory_type(ty.element).size() as u32;
        let layout = self.layout(ty.shape);
        let Ok(bytes) = u32::try_from(layout.elements() * u64::from(size)) else {
            return self.defect("a tile of more bytes than a thread has");
        };
        let name = format!("own_{}", self.b.kernel().buffers.len());
        let alignment = (size * u32::from(layout.lanes)).min(VECTOR_BYTES);
        Ok(self.b.buffer(name, alignment, BufferKind::Local { bytes }))
    }

    /// Does `body` with each packet that a thread holds: which one of its own it is, and where in the tile.
    pub(super) fn each_packet(
        &mut self,
        ty: Type,
        mut body: impl FnMut(&mut Self, Handle<Index>, &Point) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let layout = self.layout(ty.shape);
        self.each_number(layout, |lower, slot, number| {
            let e = lower.packet_at(number, layout.lanes);
            let point = lower.at_position(e, ty.shape);
            let here = lower.is_in_tile(e, ty.shape);
            lower.where_needed(here, |lower| body(lower, slot, &point))
        })
    }

    /// Does `body` with each element that a thread holds, one by one.
    pub(super) fn each_element(
        &mut self,
        ty: Type,
        mut body: impl FnMut(&mut Self, Handle<Index>, &Point) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let layout = self.layout(ty.shape);
        let lanes = i64::from(layout.lanes);
        self.each_number(layout, |lower, slot, number| {
            let [own, first] = [slot, number].map(|packet| lower.b.indices().scale(packet, lanes));
            (0..lanes).try_for_each(|lane| {
                let [own, e] = [own, first].map(|first| lower.b.indices().offset(first, lane));
                let point = lower.at_position(e, ty.shape);
                body(lower, own, &point)
            })
        })
    }

    /// Does `body` with each packet that a thread holds: which one of its own it is, and which one of the tile.
    fn each_number(
        &mut self,
        layout: Layout,
        mut body: impl FnMut(&mut Self, Handle<Index>, Handle<Index>) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let threads = self.workers() as i64;
        let packets = self.b.constant(layout.packets as i64);
        let mut one = |lower: &mut Self, slot: Handle<Index>| {
            let first = lower.b.indices().scale(slot, threads);
            let number = lower.b.indices().add(first, lower.worker);
            let here = lower.b.indices().less(number, packets);
            lower.where_needed(here, |lower| body(lower, slot, number))
        };
        if layout.elements() <= MOST_REGISTERS {
            for slot in 0..layout.own {
                let slot = self.b.constant(slot as i64);
                one(self, slot)?;
            }
            return Ok(());
        }
        let (start, end) = (self.b.constant(0), self.b.constant(layout.own as i64));
        self.counted(start, end, 1, Unroll::Never, one)
    }

    /// A tile of which each thread computes its own elements.
    pub(super) fn hold(
        &mut self,
        ty: Type,
        mut element: impl FnMut(&mut Self, Handle<Index>, &Point) -> Result<Use, LowerError>,
    ) -> Result<Held, LowerError> {
        let Layout { lanes, .. } = self.layout(ty.shape);
        if self.layout(ty.shape).elements() <= MOST_REGISTERS {
            let mut values = Vec::new();
            self.each_packet(ty, |lower, slot, point| {
                values.push(element(lower, slot, point)?);
                Ok(())
            })?;
            return Ok(Held::Values(values));
        }
        let own = self.own(ty)?;
        self.each_packet(ty, |lower, slot, point| {
            let value = element(lower, slot, point)?;
            let at = lower.packet_at(slot, lanes);
            let place = lower.element_place(own, at, memory_type(ty.element));
            lower.put(place, value);
            Ok(())
        })?;
        Ok(Held::Own(own))
    }

    /// What a variable holds now.
    pub(super) fn variable_now(&mut self, local: Handle<Local>, ty: Type) -> Result<Held, LowerError> {
        let Layout { lanes, .. } = self.layout(ty.shape);
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
                let at = lower.packet_at(slot, lanes);
                let place = lower.element_place(buffer, at, memory_type(ty.element));
                Ok(lower.fetch(place, memory_type(ty.element), ty.element))
            }),
            None => self.defect("a variable that is not declared"),
        }
    }

    /// Sets a variable that holds a tile.
    pub(super) fn assign_tile(&mut self, local: Handle<Local>, value: Handle<Expression>) -> Result<(), LowerError> {
        let ty = self.kernel.ty(value);
        let Layout { lanes, .. } = self.layout(ty.shape);
        self.with_others(&[value], |lower| match lower.variables.get(&local).cloned() {
            Some(Variable::Registers(registers)) => {
                if let Held::Values(values) = lower.hold(ty, |lower, _, point| lower.pull(value, point))? {
                    for (register, value) in registers.into_iter().zip(values) {
                        let value = lower.in_lanes(value, lanes);
                        lower.b.assign(register, value);
                    }
                }
                Ok(())
            }
            Some(Variable::Own(buffer)) => lower.each_packet(ty, |lower, slot, point| {
                let value = lower.pull(value, point)?;
                let at = lower.packet_at(slot, lanes);
                let place = lower.element_place(buffer, at, memory_type(ty.element));
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
        self.put_in(None, place, value);
    }

    /// The same, to shared memory of a block of the cluster.
    pub(super) fn put_in(&mut self, block: Option<Handle<Index>>, place: Place, value: Use) {
        let value = self.as_stored(value);
        self.b.store(Store {
            place,
            block,
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
            Held::Everywhere(only) => return Ok(*only),
            Held::Shared(buffer, stored) => Some((*buffer, *stored)),
            Held::Lines(lines) => match self.own_line(lines, position) {
                Some(own) => return Ok(own),
                None if self.order.unmet.contains(&value) => None,
                None => Some((lines.buffer, lines.stored)),
            },
            _ => self.brought.get(&value).map(|buffer| (*buffer, memory_type(element))),
        };
        if let Some((buffer, stored)) = shared {
            self.reads_shared(buffer);
            let place = self.element_place(buffer, position, stored);
            return Ok(self.fetch(place, stored, element));
        }
        let Layout { lanes, .. } = self.layout(shape);
        let (slot, rest) = self.in_packet(position, lanes);
        // Of an only thread all packets are its own: then each lane may be in another one, if each packet is one element.
        let in_several = self.b.kernel().ty(slot.into()).lanes > 1;
        if (!in_several || lanes == 1)
            && let Some(packet) = self.own_packet(held, slot, lanes, element)
        {
            let is_own = self.b.kernel().indices.as_constant(rest) == Some(0);
            if in_several && is_own {
                return Ok(packet);
            }
            if let Some(own) = self.lanes_at(packet, lanes, rest).filter(|_| !in_several) {
                return Ok(own);
            }
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

    /// A packet of the thread's own, if it is known which, or may be computed.
    fn own_packet(&mut self, held: &Held, slot: Handle<Index>, lanes: u8, element: ElementType) -> Option<Use> {
        match held {
            Held::Values(values) => {
                let slot = self.b.kernel().indices.as_constant(slot)?;
                let own = usize::try_from(slot).ok().and_then(|slot| values.get(slot));
                // Beyond the tile nothing is needed.
                Some(own.copied().unwrap_or(Literal::zero(element).into()))
            }
            Held::Own(buffer) => {
                let at = self.packet_at(slot, lanes);
                let place = self.element_place(*buffer, at, memory_type(element));
                Some(self.fetch(place, memory_type(element), element))
            }
            Held::Shared(..) | Held::Everywhere(_) | Held::Lines(_) => None,
        }
    }

    /// What a line was reduced to, if the thread is known to have worked on it.
    fn own_line(&mut self, lines: &Lines, position: Handle<Index>) -> Option<Use> {
        let (line, _) = self.split(self.worker, lines.group);
        let beyond = self.b.indices().subtract(position, line);
        let beyond = self.b.kernel().indices.as_constant(beyond)?;
        match beyond % lines.at_a_time {
            0 => lines
                .values
                .get(usize::try_from(beyond / lines.at_a_time).ok()?)
                .copied(),
            _ => None,
        }
    }

    /// Whether any of these is computed from a tile of which each thread has its own elements.
    pub(super) fn are_made_of_held(&self, values: &[Handle<Expression>]) -> bool {
        let is_own = |value| matches!(self.held.get(&value), Some(Held::Values(_) | Held::Own(_)));
        self.are_made_of(values, is_own)
    }

    /// Whether any of these may take elements that only other threads have.
    fn may_take_others(&self, values: &[Handle<Expression>]) -> bool {
        self.are_made_of_held(values) || self.are_made_of(values, |value| self.order.unmet.contains(&value))
    }

    fn are_made_of(&self, values: &[Handle<Expression>], what: impl Fn(Handle<Expression>) -> bool) -> bool {
        let through = |inner| !self.scalars.contains_key(&inner) && !self.held.contains_key(&inner);
        values
            .iter()
            .any(|value| self.kernel.is_made_of(*value, through, &what))
    }

    /// Does `body`, which uses these values, once the elements are in shared memory that it needs of other threads.
    pub(super) fn with_others<R>(
        &mut self,
        values: &[Handle<Expression>],
        mut body: impl FnMut(&mut Self) -> Result<R, LowerError>,
    ) -> Result<R, LowerError> {
        if self.wanted.is_some() || !self.may_take_others(values) {
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
        let wanted = self.wanted_by(use_them)?;
        if wanted.is_empty() {
            return Ok(wanted);
        }
        let is_there = |value: &Handle<Expression>| matches!(self.held.get(value), Some(Held::Lines(_)));
        if wanted.iter().all(is_there) {
            self.barrier();
            return Ok(wanted);
        }
        self.before_shared();
        let mut brought = Vec::new();
        for &value in &wanted {
            let (Some(held), ty) = (self.held.get(&value).cloned(), self.kernel.ty(value)) else {
                continue;
            };
            if matches!(held, Held::Lines(_)) {
                continue;
            }
            let buffer = self.shared(memory_type(ty.element), ty.shape.elements())?;
            let Layout { lanes, .. } = self.layout(ty.shape);
            self.each_packet(ty, |lower, slot, point| {
                let Some(own) = lower.own_packet(&held, slot, lanes, ty.element) else {
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

    /// Of which tiles something uses elements that other threads hold; what it emits is left out again.
    pub(super) fn wanted_by(
        &mut self,
        use_them: impl FnOnce(&mut Self) -> Result<(), LowerError>,
    ) -> Result<BTreeSet<Handle<Expression>>, LowerError> {
        let (mark, sites, order) = (self.b.mark(), self.sites.len(), self.order.clone());
        let before = self.wanted.replace(BTreeSet::new());
        let used = self.inside(use_them);
        let wanted = std::mem::replace(&mut self.wanted, before).unwrap_or_default();
        self.b.forget(mark);
        self.sites.truncate(sites);
        self.order = order;
        used.map(|_| wanted)
    }

    /// What was brought is no longer needed, and the shared memory from `top` on is free.
    pub(super) fn let_go(&mut self, brought: &BTreeSet<Handle<Expression>>, top: u32) {
        self.brought.retain(|value, _| !brought.contains(value));
        self.shared_top = top;
    }

    /// Shared memory for so many elements, from where it is free, for threads that are all of one block.
    pub(super) fn shared(&mut self, element: ElementType, elements: u64) -> Result<Handle<Buffer>, LowerError> {
        match self.b.kernel().cluster {
            1 => self.shared_in_each(element, elements),
            _ => self.defect("what blocks of a cluster have no memory for"),
        }
    }

    /// Shared memory for so many elements in each block that works on the program.
    pub(super) fn shared_in_each(&mut self, element: ElementType, elements: u64) -> Result<Handle<Buffer>, LowerError> {
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

    /// Shared memory is read that a buffer is in.
    pub(super) fn reads_shared(&mut self, buffer: Handle<Buffer>) {
        if let BufferKind::Shared { offset, bytes } = self.b.kernel().buffers[buffer].kind {
            let others = (self.schedule.programs_per_block - 1) * self.shared_stride;
            self.order.shared = self.order.shared.max(offset + bytes - others);
        }
    }

    /// Before shared memory is written that may have held something else: everybody has read that.
    pub(super) fn before_shared(&mut self) {
        if self.order.shared > 0 {
            self.barrier();
        }
    }

    /// Before little shared memory is written: as [`Lower::before_shared`], or memory is taken that nobody reads.
    pub(super) fn beside_shared(&mut self) {
        match self.order.shared {
            read if read < MOST_BESIDE => self.shared_top = self.shared_top.max(read),
            _ => self.before_shared(),
        }
    }
}
