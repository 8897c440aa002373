//! Places, bounds and masks of loads and stores.

use super::list::Subject;
use super::point::Point;
use super::{Lower, LowerError, TrapFault};
use crate::element::{ElementKind, ElementType};
use crate::ir::{
    Access, Bounds, CacheHint, CompareOp, Expression, Handle, Literal, MemoryOrder, MemoryScope, Shape, Symbol,
};
use crate::schedule::{LoadHint, StoreHint, VECTOR_BYTES};
use crate::thread::passes::{Narrow, Why};
use crate::thread::{self, Index, Load, Order, Place, Predicate, Rounding, Sharing, Store, Type, Use};

/// An element of an access: which it is of its tensor.
pub(super) struct Located {
    pub(super) subject: Subject,
    /// On each axis that is the tensor's, as the access counts axes.
    pub(super) indices: Vec<(usize, Handle<Index>)>,
    /// What must hold for it to be accessed.
    pub(super) condition: Handle<Predicate>,
}

/// An element of an access: where it is.
pub(super) struct Placed {
    pub(super) place: Place,
    /// What must hold for it to be accessed.
    pub(super) condition: Handle<Predicate>,
}

impl Lower<'_> {
    /// Where one element is, and what must hold for it to be accessed.
    pub(super) fn place(&mut self, access: &Access, point: &Point, shape: Shape) -> Result<Placed, LowerError> {
        let Located {
            subject,
            indices,
            condition,
        } = self.locate(access, point, shape)?;
        let mut offset = self.b.constant(0);
        for (axis, index) in indices {
            let stride = self.stride_of(subject, axis);
            let term = self.b.indices().multiply(index, stride);
            offset = self.b.indices().add(offset, term);
        }
        let size = self.element_of(access.tensor).size();
        let offset = self.b.indices().scale(offset, size as i64);
        Ok(Placed {
            place: self.place_in(subject, offset),
            condition,
        })
    }

    /// The indices of one element, and what must hold for it to be accessed.
    pub(super) fn locate(&mut self, access: &Access, point: &Point, shape: Shape) -> Result<Located, LowerError> {
        let mut conditions = Vec::new();
        let mut mask = self.b.indices().always(true);
        if let Some(masked) = access.mask {
            let masked = self.pull(masked, point)?;
            mask = self.b.condition(masked);
            conditions.push(mask);
        }
        let subject = self.subject(access, (point, shape), mask, &mut conditions)?;
        let mut indices = Vec::with_capacity(access.indices.len());
        for axis in subject.axes(access) {
            let index = self.index_at(access, axis, point, shape)?;
            indices.push((
                axis,
                self.checked(access, Some(subject), axis, index, mask, &mut conditions),
            ));
        }
        conditions.extend(self.needed);
        Ok(Located {
            subject,
            indices,
            condition: self.b.indices().all(conditions),
        })
    }

    /// The element type of a tensor.
    pub(super) fn element_of(&self, tensor: u32) -> ElementType {
        self.kernel
            .tensor(tensor)
            .map_or(ElementType::U8, |tensor| tensor.element)
    }

    /// One index of an access at a point of the access's shape.
    pub(super) fn index_at(
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

    /// Applies the bounds policy to one index: collects what must hold, or returns the clamped index. Of the index that
    /// says which tensor of a list it is, there is no subject yet.
    pub(super) fn checked(
        &mut self,
        access: &Access,
        subject: Option<Subject>,
        axis: usize,
        index: Handle<Index>,
        mask: Handle<Predicate>,
        conditions: &mut Vec<Handle<Predicate>>,
    ) -> Handle<Index> {
        let guard = access.guards[axis];
        if !guard.any() {
            return index;
        }
        let extent = match subject {
            Some(subject) => self.extent(subject, axis),
            None => self.symbol(Symbol::Extent {
                tensor: access.tensor,
                axis: axis as u8,
            }),
        };
        // An unsigned index of 64 bits that is no extent has a sign here.
        let lower = guard.lower || self.kernel.ty(access.indices[axis]).element == ElementType::U64;
        let (zero, one) = (self.b.constant(0), self.b.constant(1));
        let inside = match (lower, guard.upper) {
            (true, true) => self.b.indices().within(index, extent),
            (true, false) => self.b.indices().at_most(zero, index),
            (false, _) => self.b.indices().less(index, extent),
        };
        if self.kernel.reports(access) && !self.quiet {
            self.report_outside(access, axis, index, inside, mask);
        }
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
        conditions.push(inside);
        index
    }

    fn report_outside(
        &mut self,
        access: &Access,
        axis: usize,
        index: Handle<Index>,
        inside: Handle<Predicate>,
        mask: Handle<Predicate>,
    ) {
        let tensor = access.tensor;
        let outside = self.b.indices().not(inside);
        let when = self.b.indices().all([mask, outside].into_iter().chain(self.needed));
        if self.b.kernel().indices.is_known(when) == Some(false) {
            return;
        }
        // Which tensor of a list it is.
        let list = self
            .kernel
            .tensor(tensor)
            .is_some_and(|parameter| parameter.list.is_some());
        let which = list.then(|| self.scalar(access.indices[0]).ok()).flatten();
        let met = match which {
            Some(which) => {
                let which = self.b.index(which);
                self.integer(which, ElementType::U64)
            }
            None => self.nothing(),
        };
        let axis = axis as u8;
        let site = self.site(self.access_span, TrapFault::OutOfBounds { tensor, axis });
        self.report(site, index.into(), met, when);
    }

    /// One element of a load, or several that move with the lane: zero where the access is masked or out of bounds.
    pub(super) fn load_element(&mut self, access: &Access, point: &Point, shape: Shape) -> Result<Use, LowerError> {
        let Placed { place, condition } = self.place(access, point, shape)?;
        let element = self.element_of(access.tensor);
        let predicate = self.predicate(condition);
        if self.b.kernel().indices.is_known(condition) == Some(false) {
            return Ok(self.literal(Literal::zero(element)));
        }
        let lanes = [place.offset.into()].into_iter().chain(predicate.map(Use::Predicate));
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
        if lanes == 1 && !point.iter().any(|&index| self.b.kernel().lanes_of(index).is_some()) {
            self.note_alone(access, load.place, shape, false);
        }
        // Of the line where it is loaded, and not of the one where that is needed.
        let span = self.b.at(self.access_span);
        let loaded = self.b.load(load);
        self.b.at(span);
        Ok(match element {
            ElementType::Bool => self
                .b
                .compare(CompareOp::NotEqual, loaded, Literal::zero(memory).into()),
            _ => loaded,
        })
    }

    /// A load from a tensor that the kernel changes: each thread keeps its elements as they are now.
    pub(super) fn hold_load(&mut self, value: Handle<Expression>, access: &Access) -> Result<(), LowerError> {
        self.before_read(access.tensor);
        let ty = self.kernel.ty(value);
        let operands: Vec<_> = access.operands().collect();
        self.access_span = self.kernel.spans[value.index()];
        let held = self.with_others(&operands, |lower| {
            lower.hold(ty, |lower, _, point| lower.load_element(access, point, ty.shape))
        })?;
        self.has_read(access.tensor);
        self.held.insert(value, held);
        Ok(())
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
            (None, hint @ (LoadHint::Early | LoadHint::EarlyCached)) => {
                load.order = Order::Strong(MemoryOrder::Relaxed, MemoryScope::Device);
                load.cache = (hint == LoadHint::Early).then_some(CacheHint::NoAllocate);
            }
        }
    }

    /// Stores one element, or several that move with the lane, unless it is masked or out of bounds.
    pub(super) fn store_element(
        &mut self,
        access: &Access,
        point: &Point,
        shape: Shape,
        value: Use,
    ) -> Result<(), LowerError> {
        let Placed { place, condition } = self.place(access, point, shape)?;
        if self.b.kernel().indices.is_known(condition) == Some(false) {
            return Ok(());
        }
        let value = self.as_stored(value);
        let cache = match (access.cache, self.schedule.store) {
            (Some(hint), _) => Some(hint),
            (None, StoreHint::Streaming) if self.hinted => Some(CacheHint::Streaming),
            (None, StoreHint::Streaming | StoreHint::Cached | StoreHint::Fetched) => None,
        };
        let predicate = self.predicate(condition);
        if !point.iter().any(|&index| self.b.kernel().lanes_of(index).is_some()) {
            self.note_alone(access, place, shape, true);
        }
        self.b.store(Store {
            place,
            block: None,
            value,
            order: Order::Weak,
            cache,
            predicate,
        });
        Ok(())
    }

    /// Notes an access of one element where the others of its tile are accessed one by one as well.
    fn note_alone(&mut self, access: &Access, place: Place, shape: Shape, is_store: bool) {
        let size = self.size_of(access.tensor);
        let wanted = (u64::from(shape.innermost()) * size).min(VECTOR_BYTES.into());
        let Some(why) = self.alone.filter(|_| shape.rank() > 0 && size < wanted) else {
            return;
        };
        let why = match (is_store, why, self.why_by_values(access)) {
            (true, ..) | (_, Why::Held, _) => why,
            (false, _, Why::Loaded) => Why::Loaded,
            (false, ..) => Why::Beside,
        };
        let narrow = Narrow {
            span: self.access_span,
            buffer: self.b.kernel().buffers[place.buffer].name.clone(),
            is_store,
            bytes: size as u32,
            wanted: wanted as u32,
            why,
        };
        if !self.narrow.contains(&narrow) {
            self.narrow.push(narrow);
        }
    }

    fn predicate(&self, condition: Handle<Predicate>) -> Option<Handle<Predicate>> {
        match self.b.kernel().indices.is_known(condition) {
            Some(true) => None,
            _ => Some(condition),
        }
    }

    /// What `compute` does is needed where a condition holds.
    pub(super) fn where_needed<R>(
        &mut self,
        condition: Handle<Predicate>,
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
pub(super) fn memory_type(element: ElementType) -> ElementType {
    match element {
        ElementType::Bool => ElementType::U8,
        other => other,
    }
}

impl Lower<'_> {
    /// A constant: of indices and conditions, as such.
    pub(super) fn literal(&mut self, literal: Literal) -> Use {
        match (literal.element, literal.as_integer()) {
            (ElementType::I64, Some(value)) => self.b.constant(value as i64).into(),
            (ElementType::Bool, _) => self.b.indices().always(literal.as_bool()).into(),
            _ => Use::Literal(literal),
        }
    }

    /// An index as a value of an integer type.
    pub(super) fn integer(&mut self, index: Handle<Index>, to: ElementType) -> Use {
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
