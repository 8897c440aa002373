//! Accesses: their width, alignment, space, order and hints.

use super::{Fault, Rule, fault};
use crate::element::ElementType;
use crate::ir::{AtomicOp, CacheHint, MemoryOrder, Span};
use crate::thread::{
    AsyncCopy, Atomic, BufferKind, Facts, Kernel, Load, Order, Place, Sharing, Space, Store, Type, Update,
};

impl Kernel {
    fn verify_place(&self, place: Place, spaces: &[Space], span: Span) -> Result<(), Fault> {
        let buffer = &self.buffers[place.buffer];
        if !spaces.contains(&buffer.space()) {
            return fault(
                Rule::Access,
                span,
                format!("`{}` is in {} memory", buffer.name, buffer.space().name()),
            );
        }
        let listed = matches!(buffer.kind, BufferKind::Listed { .. });
        let pointer = place.pointer.map(|pointer| self.values[pointer].ty);
        match (listed, pointer) {
            (false, None) => Ok(()),
            (true, Some(ty)) if ty == Type::scalar(ElementType::U64) => Ok(()),
            _ => fault(Rule::Access, span, format!("the pointer of `{}`", buffer.name)),
        }
    }

    fn verify_bytes(&self, place: Place, ty: Type, span: Span) -> Result<(), Fault> {
        if ty.element == ElementType::Bool || !matches!(ty.bytes(), 1 | 2 | 4 | 8 | 16) {
            return fault(Rule::Access, span, format!("an access of {ty}"));
        }
        self.verify_alignment(place, ty.bytes(), span)
    }

    fn verify_alignment(&self, place: Place, bytes: u32, span: Span) -> Result<(), Fault> {
        let buffer = &self.buffers[place.buffer];
        let divisor = self.divisor_of(place);
        match divisor >= bytes.into() {
            true => Ok(()),
            false => fault(
                Rule::Alignment,
                span,
                format!("{bytes} bytes of `{}` at a multiple of {divisor}", buffer.name),
            ),
        }
    }

    /// Tests a load by the rules of accesses, before it is part of the kernel.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn verify_load(&self, load: &Load, span: Span) -> Result<(), Fault> {
        let all = [
            Space::Global,
            Space::Shared,
            Space::Local,
            Space::Table,
            Space::Parameter,
        ];
        self.verify_place(load.place, &all, span)?;
        self.verify_bytes(load.place, load.ty, span)?;
        let orders = [MemoryOrder::Relaxed, MemoryOrder::Acquire];
        self.verify_order(load.place, load.ty, load.order, orders, span)?;
        let buffer = &self.buffers[load.place.buffer];
        let unchanging = buffer.space() == Space::Global && buffer.sharing() == Sharing::ReadOnly;
        if load.read_only && !(unchanging && load.order == Order::Weak) {
            return fault(Rule::Order, span, format!("`{}` goes the read-only way", buffer.name));
        }
        self.verify_cache(load.place, load.cache, load.order, CacheHint::is_for_loads, span)
    }

    /// Tests a store by the rules of accesses, before it is part of the kernel.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn verify_store(&self, store: &Store, span: Span) -> Result<(), Fault> {
        let ty = self.ty(store.value);
        self.verify_place(store.place, &[Space::Global, Space::Shared, Space::Local], span)?;
        if let Some(block) = store.block {
            let is_shared = self.buffers[store.place.buffer].space() == Space::Shared;
            let (known, all) = (self.indices.facts(block), i64::from(self.cluster));
            let is_one = known.implies(&Facts::between(0, all - 1)) && self.lanes_of(block).is_none();
            if !is_shared || all == 1 || !is_one || store.order != Order::Weak {
                return fault(Rule::Cluster, span, format!("block {known:?} of {all}"));
            }
        }
        self.verify_written(store.place, span)?;
        self.verify_bytes(store.place, ty, span)?;
        let orders = [MemoryOrder::Relaxed, MemoryOrder::Release];
        self.verify_order(store.place, ty, store.order, orders, span)?;
        self.verify_cache(store.place, store.cache, store.order, CacheHint::is_for_stores, span)
    }

    fn verify_written(&self, place: Place, span: Span) -> Result<(), Fault> {
        let buffer = &self.buffers[place.buffer];
        match buffer.sharing() {
            Sharing::ReadOnly => fault(Rule::Access, span, format!("nobody writes `{}`", buffer.name)),
            Sharing::Private | Sharing::Shared => Ok(()),
        }
    }

    fn verify_order(
        &self,
        place: Place,
        ty: Type,
        order: Order,
        allowed: [MemoryOrder; 2],
        span: Span,
    ) -> Result<(), Fault> {
        let Order::Strong(order, _) = order else { return Ok(()) };
        let space = self.buffers[place.buffer].space();
        let relaxed = order == MemoryOrder::Relaxed;
        let fits =
            allowed.contains(&order) && matches!(space, Space::Global | Space::Shared) && (ty.lanes == 1 || relaxed);
        match fits {
            true => Ok(()),
            false => fault(
                Rule::Order,
                span,
                format!("{} of {ty} in {} memory", order.name(), space.name()),
            ),
        }
    }

    fn verify_cache(
        &self,
        place: Place,
        cache: Option<CacheHint>,
        order: Order,
        is_for: impl Fn(CacheHint) -> bool,
        span: Span,
    ) -> Result<(), Fault> {
        let Some(hint) = cache else { return Ok(()) };
        let levels = [CacheHint::NoAllocate, CacheHint::EvictFirst, CacheHint::EvictLast];
        let fits = match order {
            Order::Weak => true,
            Order::Strong(order, _) => order == MemoryOrder::Relaxed && levels.contains(&hint),
        };
        match fits && is_for(hint) && self.buffers[place.buffer].space() == Space::Global {
            true => Ok(()),
            false => fault(Rule::Cache, span, hint.qualifier()),
        }
    }

    /// Tests an atomic operation by the rules of accesses, before it is part of the kernel.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn verify_atomic(&self, atomic: &Atomic, span: Span) -> Result<(), Fault> {
        let element = atomic.element;
        self.verify_place(atomic.place, &[Space::Global, Space::Shared], span)?;
        self.verify_written(atomic.place, span)?;
        self.verify_alignment(atomic.place, element.size() as u32, span)?;
        let wide = element.size() >= 4;
        let (accepted, operands) = match atomic.update {
            Update::Combine { op, value } => {
                let accepted = match op {
                    AtomicOp::Min | AtomicOp::Max => wide && element.is_integer(),
                    _ => op.accepts(element),
                };
                (accepted, [value, value])
            }
            Update::CompareExchange { current, new } => {
                let accepted = element.is_integer() && (wide || element == ElementType::U16);
                (accepted, [current, new])
            }
        };
        let own = Type::scalar(element);
        let result = atomic.result.map(|result| self.values[result].ty);
        let typed = operands.iter().all(|operand| self.ty(*operand) == own) && result.is_none_or(|ty| ty == own);
        match accepted && typed {
            true => Ok(()),
            false => fault(Rule::Type, span, format!("an atomic operation on {element}")),
        }
    }

    pub(super) fn verify_copy(&self, copy: &AsyncCopy, span: Span) -> Result<(), Fault> {
        self.verify_place(copy.to, &[Space::Shared], span)?;
        self.verify_place(copy.from, &[Space::Global], span)?;
        if !matches!(copy.bytes, 4 | 8 | 16) {
            return fault(Rule::Access, span, format!("a copy of {} bytes", copy.bytes));
        }
        self.verify_alignment(copy.to, copy.bytes.into(), span)?;
        self.verify_alignment(copy.from, copy.bytes.into(), span)
    }

    pub(super) fn verify_prefetch(&self, place: Place, span: Span) -> Result<(), Fault> {
        self.verify_place(place, &[Space::Global], span)
    }
}
