//! Places, bounds and masks of loads and stores.

use super::point::Point;
use super::{Lower, LowerError};
use crate::element::{ElementKind, ElementType};
use crate::ir::{Access, Bounds, CacheHint, CompareOp, Handle, Literal, MemoryOrder, MemoryScope, Shape, Symbol};
use crate::schedule::{LoadHint, StoreHint};
use crate::thread::{self, Condition, Index, Load, Operand, Operation, Order, Place, Rounding, Sharing, Store, Type};

/// An element of an access.
pub(super) struct Placed {
    pub(super) place: Place,
    /// What must hold for it to be accessed.
    pub(super) condition: Handle<Condition>,
}

impl Lower<'_> {
    /// Where one element is, and what must hold for it to be accessed.
    pub(super) fn place(&mut self, access: &Access, point: &Point, shape: Shape) -> Result<Placed, LowerError> {
        let Some(tensor) = self.kernel.tensor(access.tensor) else {
            return self.not_carried("an access to what is no tensor");
        };
        if tensor.list.is_some() {
            return self.not_carried("an access to a list");
        }
        if self.kernel.reports(access) && access.is_guarded() {
            return self.not_carried("an access that reports what is out of bounds");
        }
        let element = tensor.element;
        let mut conditions = Vec::new();
        if let Some(mask) = access.mask {
            let mask = self.pull(mask, point)?;
            conditions.push(self.b.condition(mask));
        }
        let mut offset = self.b.constant(0);
        for axis in 0..access.indices.len() {
            let index = self.index_at(access, axis, point, shape)?;
            let index = self.checked(access, axis, index, &mut conditions);
            let stride = self.symbol(Symbol::Stride {
                tensor: access.tensor,
                axis: axis as u8,
            });
            let term = self.b.indices().multiply(index, stride);
            offset = self.b.indices().add(offset, term);
        }
        let offset = self.b.indices().scale(offset, element.size() as i64);
        let buffer = self.buffer(access.tensor);
        conditions.extend(self.needed);
        Ok(Placed {
            place: self.b.place(buffer, offset),
            condition: self.b.indices().all(conditions),
        })
    }

    /// One index of an access at a point of the access's shape.
    fn index_at(
        &mut self,
        access: &Access,
        axis: usize,
        point: &Point,
        shape: Shape,
    ) -> Result<Handle<Index>, LowerError> {
        let index = access.indices[axis];
        let own = self.kernel.ty(index).shape;
        let operand = match own.rank() {
            0 => self.scalar(index)?,
            _ => {
                let point = self.before_broadcast(point, own, shape);
                self.pull(index, &point)?
            }
        };
        Ok(self.b.index(operand))
    }

    /// Applies the bounds policy to one index: collects what must hold, or returns the clamped index.
    fn checked(
        &mut self,
        access: &Access,
        axis: usize,
        index: Handle<Index>,
        conditions: &mut Vec<Handle<Condition>>,
    ) -> Handle<Index> {
        let guard = access.guards[axis];
        if !guard.any() {
            return index;
        }
        let extent = self.symbol(Symbol::Extent {
            tensor: access.tensor,
            axis: axis as u8,
        });
        // An unsigned index of 64 bits that is no extent has a sign here.
        let lower = guard.lower || self.kernel.ty(access.indices[axis]).element == ElementType::U64;
        let (zero, one) = (self.b.constant(0), self.b.constant(1));
        if access.bounds == Bounds::Clamp {
            conditions.push(self.b.indices().less(zero, extent));
            let last = self.b.indices().subtract(extent, one);
            let unsigned = self.kernel.ty(access.indices[axis]).element.kind() == ElementKind::Unsigned;
            let negative = self.b.indices().less(index, zero);
            let below = if unsigned && lower { last } else { zero };
            let above = match guard.upper || unsigned {
                true => self.b.indices().minimum(index, last),
                false => index,
            };
            return match lower {
                true => self.b.indices().select(negative, below, above),
                false => above,
            };
        }
        conditions.push(match (lower, guard.upper) {
            (true, true) => self.b.indices().within(index, extent),
            (true, false) => self.b.indices().at_most(zero, index),
            (false, _) => self.b.indices().less(index, extent),
        });
        index
    }

    /// One element of a load, or several that move with the lane: zero where the access is masked or out of bounds.
    pub(super) fn load_element(&mut self, access: &Access, point: &Point, shape: Shape) -> Result<Operand, LowerError> {
        let Placed { place, condition } = self.place(access, point, shape)?;
        let element = self
            .kernel
            .tensor(access.tensor)
            .map_or(ElementType::U8, |tensor| tensor.element);
        let predicate = self.predicate(condition);
        if self.b.kernel().indices.is_known(condition) == Some(false) {
            return Ok(self.literal(Literal::zero(element)));
        }
        let lanes = [place.offset.into()]
            .into_iter()
            .chain(predicate.map(Operand::Condition));
        let lanes = lanes
            .map(|operand| self.b.kernel().ty(operand).lanes)
            .max()
            .unwrap_or(1);
        let memory = memory_type(element);
        let mut load = Load {
            place,
            ty: Type::packet(memory, lanes),
            order: Order::Weak,
            cache: access.cache,
            read_only: false,
            predicate,
        };
        self.hint(access, &mut load);
        let loaded = self.b.load(load);
        Ok(match element {
            ElementType::Bool => self
                .b
                .compare(CompareOp::NotEqual, loaded, Literal::zero(memory).into()),
            _ => loaded,
        })
    }

    /// How a load treats the caches: as its author says, or else the schedule.
    fn hint(&self, access: &Access, load: &mut Load) {
        let unchanging = self.b.kernel().buffers[load.place.buffer].sharing() == Sharing::ReadOnly;
        match (access.cache, self.schedule.load) {
            (Some(hint), _) => load.read_only = unchanging && hint != CacheHint::Volatile,
            _ if !unchanging => {}
            (None, _) if !self.hinted => load.read_only = true,
            (None, LoadHint::Cached) => load.read_only = true,
            (None, LoadHint::Streaming) => {
                load.read_only = true;
                load.cache = Some(CacheHint::NoAllocate);
            }
            // A strong load is not moved below a condition that only the store has.
            (None, LoadHint::Early) => {
                load.order = Order::Strong(MemoryOrder::Relaxed, MemoryScope::Device);
                load.cache = Some(CacheHint::NoAllocate);
            }
        }
    }

    /// Stores one element, or several that move with the lane, unless it is masked or out of bounds.
    pub(super) fn store_element(
        &mut self,
        access: &Access,
        point: &Point,
        shape: Shape,
        value: Operand,
    ) -> Result<(), LowerError> {
        let Placed { place, condition } = self.place(access, point, shape)?;
        if self.b.kernel().indices.is_known(condition) == Some(false) {
            return Ok(());
        }
        let value = match self.b.element(value) {
            ElementType::Bool => self.b.emit(Operation::Cast {
                value,
                to: ElementType::U8,
                rounding: Rounding::NearestEven,
            }),
            _ => value,
        };
        let cache = match (access.cache, self.schedule.store) {
            (Some(hint), _) => Some(hint),
            (None, StoreHint::Streaming) if self.hinted => Some(CacheHint::Streaming),
            (None, StoreHint::Streaming | StoreHint::Cached) => None,
        };
        let predicate = self.predicate(condition);
        self.b.store(Store {
            place,
            value,
            order: Order::Weak,
            cache,
            predicate,
        });
        Ok(())
    }

    fn predicate(&self, condition: Handle<Condition>) -> Option<Handle<Condition>> {
        match self.b.kernel().indices.is_known(condition) {
            Some(true) => None,
            _ => Some(condition),
        }
    }

    /// What `compute` does is needed where a condition holds.
    pub(super) fn where_needed<R>(
        &mut self,
        condition: Handle<Condition>,
        compute: impl FnOnce(&mut Self) -> Result<R, LowerError>,
    ) -> Result<R, LowerError> {
        let before = self.needed;
        let all = self.b.indices().all(before.into_iter().chain([condition]));
        self.needed = match self.b.kernel().indices.is_known(all) {
            Some(true) => None,
            _ => Some(all),
        };
        let result = compute(self);
        self.needed = before;
        result
    }
}

/// The type of an element in memory: a bool is a byte that may hold anything.
fn memory_type(element: ElementType) -> ElementType {
    match element {
        ElementType::Bool => ElementType::U8,
        other => other,
    }
}

impl Lower<'_> {
    /// A constant: of indices and conditions, as such.
    pub(super) fn literal(&mut self, literal: Literal) -> Operand {
        match (literal.element, literal.as_integer()) {
            (ElementType::I64, Some(value)) => self.b.constant(value as i64).into(),
            (ElementType::Bool, _) => self.b.indices().always(literal.as_bool()).into(),
            _ => Operand::Literal(literal),
        }
    }

    /// An index as a value of an integer type.
    pub(super) fn integer(&mut self, index: Handle<Index>, to: ElementType) -> Operand {
        match to {
            ElementType::I64 => index.into(),
            _ => self.b.emit(thread::Operation::Cast {
                value: index.into(),
                to,
                rounding: Rounding::NearestEven,
            }),
        }
    }
}
