//! Random loads and stores.
//!
//! A load may read any element of a tensor that is only read, and what its program may have written of others. Stores of
//! different programs never meet: each program owns a block of the outermost axis of every destination, `block` long, and
//! stays in it whatever its bounds policy. Within a store no two elements meet: its indices are one-to-one.

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{
    Access, BinaryOp, Bounds, CacheHint, Conflict, Expression, Guard, Shape, Statement, Symbol, Type,
};

use super::builder::Value;
use super::statements::Around;
use super::{Destination, Generator};
use crate::case::Argument;

impl Generator {
    /// A load of type `ty`, if there is a tensor with its elements.
    pub fn load(&mut self, ty: Type, depth: u32) -> Option<Value> {
        let written = self.destinations.iter().map(|d| &d.tensor);
        let tensors = self.sources.iter().chain(written).chain(&self.scattered);
        let fits = |t: &u32| self.b.kernel.tensor(*t).is_some_and(|t| t.element == ty.element);
        let tensors: Vec<_> = tensors.copied().filter(fits).collect();
        let tensor = self.rng.choice(tensors)?;
        let own = self.destinations.iter().find(|d| d.tensor == tensor).cloned();
        if own.is_none() {
            let mut access = self.any_access(tensor, ty.shape, depth);
            access.cache = self.hint(CacheHint::is_for_loads);
            return Some(self.b.emit(Expression::Load(access), ty));
        }
        let extents = self.extents(tensor);
        let whole = own.as_ref().is_none_or(|own| own.is_whole);
        let bounds = match self.policy(whole && !extents.contains(&0)) {
            // The nearest element may be another program's.
            Bounds::Clamp if !whole => Bounds::ReadZeroSkipWrite,
            bounds => bounds,
        };
        let (inside, first) = (bounds == Bounds::Unchecked, self.leading(tensor));
        let mut indices: Vec<_> = (0..first).map(|_| self.member(tensor, depth)).collect();
        for (axis, axes) in (first..).zip(self.spread(ty.shape, extents.len() - first)) {
            let at = self.coordinate(ty.shape, &axes);
            let index = match &own {
                Some(own) if axis == first => {
                    let local = self.any_index(at, own.block, true, depth, None);
                    self.owned(own, local)
                }
                _ => self.any_index(at, extents[axis], inside, depth, Some((tensor, axis as u8))),
            };
            indices.push(index);
        }
        let mut access = self.access(tensor, indices, bounds, ty.shape, depth);
        access.cache = self.hint(CacheHint::is_for_loads);
        Some(self.b.emit(Expression::Load(access), ty))
    }

    /// A store to one of the destinations.
    pub fn store(&mut self, around: Around) {
        // Two stores to the same places show whether they are in order.
        let again = self.last.clone().filter(|(access, _)| self.is_in_scope(access));
        let (mut access, ty) = match again {
            Some(again) if self.rng.u8(..4) == 0 => again,
            _ => self.own_access(),
        };
        self.last = Some((access.clone(), ty));
        access.cache = self.hint(CacheHint::is_for_stores);
        let value = self.value(ty, 3);
        // Each promise is of one store that runs once.
        let once = around.loops == 0 && !self.disjoint.contains(&access.tensor);
        let conflict = (once && self.rng.u8(..4) == 0).then_some(Conflict::Disjoint);
        if conflict.is_some() {
            self.disjoint.push(access.tensor);
        }
        self.b.push(Statement::Store {
            access,
            value,
            conflict,
        });
    }

    fn is_in_scope(&self, access: &Access) -> bool {
        let mut operands = access.operands();
        operands.all(|value| self.b.kernel.expressions[value].is_global() || self.b.values.contains(&value))
    }

    /// Elements of a destination that this program owns, no two of which meet.
    pub fn own_access(&mut self) -> (Access, Type) {
        let own = self.rng.usize(..self.destinations.len());
        let own = self.destinations[own].clone();
        let (extents, first) = (self.extents(own.tensor), self.leading(own.tensor));
        let rank = extents.len() - first;
        let fits = |s: &Shape| rank > 1 || s.elements() <= own.block;
        let shapes: Vec<_> = self.shapes.iter().copied().filter(fits).collect();
        let shape = self.rng.choice(shapes).unwrap_or(Shape::SCALAR);
        let mut spread = self.spread(shape, rank);
        let elements = |axes: &[usize]| axes.iter().map(|&a| u64::from(shape.extents()[a])).product::<u64>();
        while rank > 1 && elements(&spread[0]) > own.block {
            let axis = spread[0].remove(0);
            spread[1].push(axis);
        }
        let mut inside = own.is_whole;
        let mut indices: Vec<_> = (0..first).map(|_| self.member(own.tensor, 1)).collect();
        for (axis, axes) in (first..).zip(&spread) {
            let count = elements(axes);
            let at = self.coordinate(shape, axes);
            let index = if axis == first {
                let local = self.local_index(at, count, own.block);
                self.owned(&own, local)
            } else {
                let (index, stays) = self.one_to_one(at, count, extents[axis]);
                inside &= stays;
                index
            };
            indices.push(self.other_integer(index));
        }
        let bounds = match self.policy(inside) {
            // Moved to the edge, elements would meet.
            Bounds::Clamp if !inside => Bounds::ReadZeroSkipWrite,
            bounds => bounds,
        };
        let element = self.b.kernel.tensor(own.tensor).map_or(ElementType::I32, |t| t.element);
        let access = self.access(own.tensor, indices, bounds, shape, 2);
        (access, Type { element, shape })
    }

    /// Any elements of a tensor, some of which may be the same.
    pub fn any_access(&mut self, tensor: u32, shape: Shape, depth: u32) -> Access {
        let extents = self.extents(tensor);
        let first = self.leading(tensor);
        // What is inside the largest tensor of a list may not be inside another.
        let bounds = self.policy(first == 0 && !extents.contains(&0));
        let inside = bounds == Bounds::Unchecked;
        let mut indices: Vec<_> = (0..first).map(|_| self.member(tensor, depth)).collect();
        for (axis, axes) in (first..).zip(self.spread(shape, extents.len() - first)) {
            let at = self.coordinate(shape, &axes);
            indices.push(self.any_index(at, extents[axis], inside, depth, Some((tensor, axis as u8))));
        }
        self.access(tensor, indices, bounds, shape, depth)
    }

    fn hint(&mut self, fits: impl Fn(CacheHint) -> bool) -> Option<CacheHint> {
        let hints: Vec<_> = CacheHint::ALL.into_iter().filter(|&hint| fits(hint)).collect();
        if self.rng.u8(..6) == 0 {
            self.rng.choice(hints)
        } else {
            None
        }
    }

    pub fn extents(&self, tensor: u32) -> Vec<u64> {
        match &self.arguments[tensor as usize] {
            Argument::Tensor(tensor) => tensor.extents.clone(),
            Argument::Count(_) | Argument::Scalar(_) => Vec::new(),
        }
    }

    fn policy(&mut self, may_be_unchecked: bool) -> Bounds {
        match self.rng.u8(..8) {
            0 | 1 => Bounds::Clamp,
            2 if self.traps => Bounds::Trap,
            3 if may_be_unchecked => Bounds::Unchecked,
            _ => Bounds::ReadZeroSkipWrite,
        }
    }

    fn access(&mut self, tensor: u32, indices: Vec<Value>, bounds: Bounds, shape: Shape, depth: u32) -> Access {
        let mut indices = indices;
        let common = indices
            .iter()
            .try_fold(Shape::SCALAR, |s, &i| s.broadcast(self.b.ty(i).shape));
        if common != Some(shape) {
            let first = self.leading(tensor);
            indices[first] = self.b.broadcast(indices[first], shape);
        }
        let mask = (self.rng.u8(..3) == 0).then(|| {
            let element = ElementType::Bool;
            self.value(Type { element, shape }, depth.min(2))
        });
        let guard = if bounds == Bounds::Unchecked {
            Guard::NONE
        } else {
            Guard::FULL
        };
        Access {
            tensor,
            guards: indices.iter().map(|_| guard).collect(),
            indices: indices.into_iter().collect(),
            bounds,
            mask,
            cache: None,
            must_be_wide: false,
        }
    }

    /// Which axes of a tile each axis of a tensor of rank `rank` follows: usually the last ones.
    fn spread(&mut self, shape: Shape, rank: usize) -> Vec<Vec<usize>> {
        let mut spread = vec![Vec::new(); rank];
        for axis in 0..shape.rank() {
            let straight = (axis + rank).checked_sub(shape.rank());
            let target = match straight {
                Some(target) if self.rng.u8(..8) > 0 => target,
                _ => self.rng.usize(..rank),
            };
            spread[target].push(axis);
        }
        spread
    }

    /// The position of each element of a tile among those that differ on `axes` only: a scalar, or a tile whose other
    /// axes have extent 1.
    pub fn coordinate(&mut self, shape: Shape, axes: &[usize]) -> Value {
        let mut extents = [1; 3];
        axes.iter().for_each(|&axis| extents[axis] = shape.extents()[axis]);
        let part = Shape::new(&extents[..shape.rank()]).unwrap_or(Shape::SCALAR);
        if part.elements() == 1 {
            return self.b.index(0);
        }
        let flat = self.b.arange(part.elements() as u32);
        if self.b.ty(flat).shape == part {
            flat
        } else {
            self.b.reshape(flat, part)
        }
    }

    /// The index on the outermost axis of what this program owns.
    fn owned(&mut self, own: &Destination, local: Value) -> Value {
        let block = self.b.index(own.block as i64);
        let start = self.b.binary(BinaryOp::Multiply, self.program, block);
        self.b.binary(BinaryOp::Add, start, local)
    }

    /// Any integers of the shape of `at`, a coordinate; `inside` an axis of this extent where that is needed.
    pub fn any_index(&mut self, at: Value, extent: u64, inside: bool, depth: u32, axis: Option<(u32, u8)>) -> Value {
        let shape = self.b.ty(at).shape;
        let index = match self.rng.u8(..8) {
            0 => {
                let integers: Vec<_> = self.elements.iter().copied().filter(|e| e.is_integer()).collect();
                let element = self.rng.choice(integers).unwrap_or(ElementType::I64);
                self.value(Type { element, shape }, depth)
            }
            1 | 2 if self.b.kernel.tensor(self.indices).is_some() => {
                let access = self.access(self.indices, vec![at], Bounds::default(), shape, 0);
                let element = self
                    .b
                    .kernel
                    .tensor(self.indices)
                    .map_or(ElementType::I64, |t| t.element);
                self.b.emit(Expression::Load(access), Type { element, shape })
            }
            3 => {
                let offset = self.scalar(ElementType::I64, depth.min(1));
                self.b.binary(BinaryOp::Add, at, offset)
            }
            _ => self.affine(at, extent).0,
        };
        if !inside {
            return index;
        }
        let index = self.b.cast(index, ElementType::I64);
        let end = match axis {
            Some((tensor, axis)) if self.rng.bool() => self.b.symbol(Symbol::Extent { tensor, axis }),
            _ => self.b.index(extent as i64),
        };
        let (zero, one) = (self.b.index(0), self.b.index(1));
        if self.rng.bool() {
            let wrapped = self.b.binary(BinaryOp::Remainder, index, end);
            self.b.binary(BinaryOp::Max, wrapped, zero)
        } else {
            let last = self.b.binary(BinaryOp::Subtract, end, one);
            let low = self.b.binary(BinaryOp::Max, index, zero);
            self.b.binary(BinaryOp::Min, low, last)
        }
    }

    /// `at` times something plus something, near an axis of this extent; with the lowest and highest step and offset.
    fn affine(&mut self, at: Value, extent: u64) -> (Value, i64, i64) {
        let step = self.rng.choice([1, 1, 1, 1, 1, 2, 3, -1]).unwrap_or(1);
        let extent = extent as i64;
        let offset = match self.rng.u8(..8) {
            0 => self.rng.i64(-3..=3),
            1 => extent - self.rng.i64(0..=4),
            2 => self.rng.i64(0..=extent),
            _ if step < 0 => extent - 1,
            _ => 0,
        };
        let mut index = at;
        if step != 1 {
            let step = self.b.index(step);
            index = self.b.binary(BinaryOp::Multiply, index, step);
        }
        if offset != 0 {
            let offset = self.b.index(offset);
            index = self.b.binary(BinaryOp::Add, index, offset);
        }
        (index, step, offset)
    }

    /// Indices that differ wherever `at`, which counts to `count`, does; and whether all are inside the axis.
    fn one_to_one(&mut self, at: Value, count: u64, extent: u64) -> (Value, bool) {
        if self.rng.u8(..4) == 0 {
            let shape = self.b.ty(at).shape;
            let access = self.access_to_permutation(at);
            let element = self
                .b
                .kernel
                .tensor(self.permutation)
                .map_or(ElementType::I64, |t| t.element);
            return (self.b.emit(Expression::Load(access), Type { element, shape }), false);
        }
        let (index, step, offset) = self.affine(at, extent);
        let last = offset + step * (count as i64 - 1);
        (index, offset.min(last) >= 0 && offset.max(last) < extent as i64)
    }

    fn access_to_permutation(&mut self, at: Value) -> Access {
        Access {
            tensor: self.permutation,
            indices: [at].into_iter().collect(),
            guards: [Guard::FULL].into_iter().collect(),
            bounds: Bounds::default(),
            mask: None,
            cache: None,
            must_be_wide: false,
        }
    }

    /// Indices inside `0..block` that differ wherever `at` does.
    fn local_index(&mut self, at: Value, count: u64, block: u64) -> Value {
        let steps = (block - 1).checked_div(count - 1).unwrap_or(1).max(1);
        let step = self.rng.u64(1..=steps.min(3));
        let room = block - (count - 1) * step;
        let mut index = at;
        if step > 1 {
            let step = self.b.index(step as i64);
            index = self.b.binary(BinaryOp::Multiply, index, step);
        }
        if room > 1 && self.rng.bool() {
            let offset = if self.rng.bool() {
                self.b.index(self.rng.i64(0..room as i64))
            } else {
                let any = self.scalar(ElementType::I64, 1);
                let (room, zero) = (self.b.index(room as i64), self.b.index(0));
                let offset = self.b.binary(BinaryOp::Remainder, any, room);
                self.b.binary(BinaryOp::Max, offset, zero)
            };
            index = self.b.binary(BinaryOp::Add, index, offset);
        }
        index
    }

    /// Indices below 2^31 in absolute value in another type, where they still differ.
    fn other_integer(&mut self, index: Value) -> Value {
        match self.rng.u8(..12) {
            0 | 1 => self.b.cast(index, ElementType::I32),
            2 => self.b.cast(index, ElementType::U32),
            3 => self.b.cast(index, ElementType::U64),
            _ => index,
        }
    }
}
