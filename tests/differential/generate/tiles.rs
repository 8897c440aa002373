//! Operations that rearrange tiles, what an author claims of values, and instructions of an author's own.

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{BinaryOp, Expression, Literal, MAX_RANK, Meaning, Ptx, Shape, Type};

use super::Generator;
use super::builder::Value;
use super::table::Rule;

impl Generator {
    /// A value of type `ty` by an operation on tiles of another shape.
    pub fn tile_operation(&mut self, rule: Rule, ty: Type, depth: u32) -> Option<Value> {
        match rule {
            Rule::Permute => self.permute(ty, depth),
            Rule::Slice => self.slice(ty, depth),
            Rule::Concatenate => self.concatenate(ty, depth),
            Rule::Take => self.take(ty, depth),
            _ => self.collective(rule, ty, depth),
        }
    }

    fn permute(&mut self, ty: Type, depth: u32) -> Option<Value> {
        let mut axes: Vec<u8> = (0..ty.shape.rank() as u8).collect();
        self.rng.shuffle(&mut axes);
        let mut extents = vec![1; axes.len()];
        for (&axis, &extent) in axes.iter().zip(ty.shape.extents()) {
            extents[axis as usize] = extent;
        }
        let value = self.value(ty.with_shape(Shape::new(&extents)?), depth);
        let axes = axes.into_iter().collect();
        Some(self.b.emit(Expression::Permute { value, axes }, ty))
    }

    fn slice(&mut self, ty: Type, depth: u32) -> Option<Value> {
        let axis = self.rng.usize(..ty.shape.rank());
        let extent = ty.shape.extents()[axis];
        let step = self.rng.choice([1i32, 1, 1, 2, 3, -1, -2])?;
        let length = (extent - 1) * step.unsigned_abs() + 1;
        let (before, after) = (self.rng.u32(..4), self.rng.u32(..4));
        let from = self.resized(ty.shape, axis, before + length + after)?;
        let start = if step > 0 { before } else { before + length - 1 };
        let value = self.value(ty.with_shape(from), depth);
        let slice = Expression::Slice {
            value,
            axis: axis as u8,
            start,
            step,
            extent,
        };
        Some(self.b.emit(slice, ty))
    }

    fn concatenate(&mut self, ty: Type, depth: u32) -> Option<Value> {
        let axis = self.rng.usize(..ty.shape.rank());
        let extent = ty.shape.extents()[axis];
        if extent < 2 {
            return None;
        }
        let first = if extent.is_multiple_of(2) && self.rng.bool() {
            extent / 2
        } else {
            self.rng.u32(1..extent)
        };
        let (left, right) = (
            self.resized(ty.shape, axis, first)?,
            self.resized(ty.shape, axis, extent - first)?,
        );
        let left = self.value(ty.with_shape(left), depth);
        let right = self.value(ty.with_shape(right), depth);
        let axis = axis as u8;
        Some(self.b.emit(Expression::Concatenate { left, right, axis }, ty))
    }

    fn take(&mut self, ty: Type, depth: u32) -> Option<Value> {
        let axis = self.rng.usize(..ty.shape.rank());
        let extent = self.extent(ty.shape, axis);
        let from = self.resized(ty.shape, axis, extent)?;
        let value = self.value(ty.with_shape(from), depth);
        let index = if self.rng.bool() {
            self.value(ty.with_element(ElementType::I64), depth)
        } else {
            let at = self.coordinate(ty.shape, &[axis]);
            let index = self.any_index(at, u64::from(extent), false, depth.min(1), None);
            let index = self.b.cast(index, ElementType::I64);
            self.b.broadcast(index, ty.shape)
        };
        let axis = axis as u8;
        Some(self.b.emit(Expression::Take { value, index, axis }, ty))
    }

    /// An extent for `axis` of `shape`: its own, or another one that leaves the tile small enough.
    pub fn extent(&mut self, shape: Shape, axis: usize) -> u32 {
        let own = shape.extents().get(axis).copied().unwrap_or(1);
        let room = self.room / (shape.elements() / u64::from(own)).max(1);
        let fitting = super::EXTENTS.into_iter().filter(|&extent| u64::from(extent) <= room);
        let fitting: Vec<_> = fitting.chain([own; 4]).collect();
        self.rng.choice(fitting).unwrap_or(own)
    }

    /// `shape` with another extent on an axis, if there is room for it.
    fn resized(&self, shape: Shape, axis: usize, extent: u32) -> Option<Shape> {
        let shape = shape.with_extent(axis, extent)?;
        (shape.elements() <= 4 * self.room + 64).then_some(shape)
    }

    /// `shape` with one more axis, and which one that is.
    pub fn expanded(&mut self, shape: Shape) -> Option<(Shape, usize)> {
        if shape.rank() == MAX_RANK {
            return None;
        }
        let axis = self.rng.usize(..=shape.rank());
        let mut extents = shape.extents().to_vec();
        extents.insert(axis, 1);
        let with = Shape::new(&extents)?;
        let extent = self.extent(with, axis);
        Some((with.with_extent(axis, extent)?, axis))
    }

    /// A value that is a multiple of something, as it claims.
    pub fn multiple(&mut self, ty: Type, depth: u32) -> Value {
        let value = self.value(ty, depth);
        let by = self.rng.choice([1u32, 2, 3, 4, 8, 16, 100]).unwrap_or(1);
        let divisor = self.b.literal(Literal::wrap(ty.element, i128::from(by)));
        let rest = self.b.binary(BinaryOp::Remainder, value, divisor);
        let value = self.b.binary(BinaryOp::Subtract, value, rest);
        self.b.emit(Expression::MultipleOf { value, by }, ty)
    }

    /// Instructions on one or two values.
    pub fn ptx(&mut self, ty: Type, depth: u32) -> Option<Value> {
        let bits = ty.element.bits();
        let mask = u64::MAX >> (64 - bits);
        // Damage may take inputs and outputs away.
        let meaning = |compute: fn(u64, u64) -> [u64; 2]| {
            Meaning::new(move |inputs, outputs| {
                let of = |i: usize| inputs.get(i).copied().unwrap_or(0);
                let results = compute(of(0), of(1));
                outputs
                    .iter_mut()
                    .zip(results)
                    .for_each(|(out, bits)| *out = bits & mask);
            })
        };
        let (text, meaning) = match self.rng.u8(..3) {
            0 => (
                format!("add.u{bits} %0, %1, %2;"),
                meaning(|a, b| [a.wrapping_add(b), 0]),
            ),
            1 => (format!("xor.b{bits} %0, %1, %2;"), meaning(|a, b| [a ^ b, 0])),
            _ => (
                format!("min.u{bits} %0, %2, %3; max.u{bits} %1, %2, %3;"),
                meaning(|a, b| [a.min(b), a.max(b)]),
            ),
        };
        let outputs = vec![ty.element; if text.contains("%3") { 2 } else { 1 }];
        let inputs = vec![self.value(ty, depth), self.value(ty, depth)];
        let output = self.rng.usize(..outputs.len());
        let code = Ptx {
            text,
            outputs,
            inputs,
            output,
            meaning: Some(meaning),
        };
        Some(self.b.emit(Expression::Ptx(Box::new(code)), ty))
    }
}
