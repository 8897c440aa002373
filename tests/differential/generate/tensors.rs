//! Tensors as arguments: what they hold and how they lie in memory.

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::canonical_strides;
use tilewright::dsl::ir::{Layout, ParameterKind, TensorParameter};

use super::Generator;
use crate::case::{Argument, Tensor};

/// Elements before and after a tensor, at least.
const GUARD: u64 = 24;

impl Generator {
    /// A tensor parameter and its argument. `fill` gives the elements' bits by their position in memory; without it they
    /// are random.
    pub fn tensor(
        &mut self,
        element: ElementType,
        extents: &[u64],
        mutable: bool,
        fill: Option<&dyn Fn(u64) -> u64>,
    ) -> u32 {
        let parameter = self.tensor_parameter(element, extents.len(), mutable);
        let tensor = self.placed(element, extents, mutable, fill);
        self.arguments.push(Argument::Tensor(tensor));
        parameter
    }

    /// The launch knows better; these facts hold for every argument.
    pub fn tensor_parameter(&mut self, element: ElementType, rank: usize, mutable: bool) -> u32 {
        self.b.parameter(ParameterKind::Tensor(TensorParameter {
            element,
            rank: rank as u8,
            list: None,
            mutable,
            layout: Layout::Strided,
            alignment: element.size() as u32,
        }))
    }

    /// A tensor somewhere in a memory of its own.
    pub fn placed(
        &mut self,
        element: ElementType,
        extents: &[u64],
        mutable: bool,
        fill: Option<&dyn Fn(u64) -> u64>,
    ) -> Tensor {
        let strides = self.strides(extents, mutable || fill.is_some());
        let reach = |forward: bool| -> u64 {
            let axes = extents
                .iter()
                .zip(&strides)
                .filter(|(_, stride)| (**stride > 0) == forward);
            axes.map(|(&extent, stride)| extent.saturating_sub(1) * stride.unsigned_abs())
                .sum()
        };
        // Where half of the tensors begin says nothing about alignment.
        let shift = if self.rng.bool() { 0 } else { self.rng.u64(..16) };
        let first = GUARD + shift + reach(false).next_multiple_of(16);
        let size = element.size() as u64;
        let offset = if shift == 0 {
            (first * size).next_multiple_of(16)
        } else {
            first * size
        };
        let length = offset / size + reach(true) + 1 + GUARD;
        let bytes = (0..length).flat_map(|i| {
            let bits = fill.map_or_else(
                || pattern(&mut self.rng, element),
                |fill| fill(i.wrapping_sub(offset / size)),
            );
            bits.to_le_bytes().into_iter().take(size as usize)
        });
        Tensor {
            element,
            mutable,
            extents: extents.to_vec(),
            bytes: bytes.collect(),
            strides,
            offset,
            members: None,
        }
    }

    /// Row-major, perhaps with gaps or with axes exchanged; what needs no place of its own for each element may also stand still or go backwards.
    fn strides(&mut self, extents: &[u64], distinct: bool) -> Vec<i64> {
        let mut order: Vec<usize> = (0..extents.len()).collect();
        if self.rng.u8(..6) == 0 {
            self.rng.shuffle(&mut order);
        }
        let mut strides = vec![1i64; extents.len()];
        let mut next = if self.rng.u8(..8) == 0 { 2 } else { 1 };
        for &axis in order.iter().rev() {
            strides[axis] = next;
            next *= extents[axis].max(1) as i64;
            next += match self.rng.u8(..8) {
                0 => self.rng.i64(1..5),
                1 => 8 - next % 8,
                _ => 0,
            };
        }
        if !distinct && self.rng.u8(..8) == 0 {
            let axis = self.rng.usize(..extents.len());
            strides[axis] *= self.rng.i64(-1..=0);
        }
        canonical_strides(extents, &mut strides);
        strides
    }
}

/// The bits of an element: anything, NaNs included, and often small numbers.
fn pattern(rng: &mut fastrand::Rng, element: ElementType) -> u64 {
    if rng.u8(..3) == 0 {
        return super::values::literal(rng, element).bits;
    }
    match element {
        ElementType::Bool => rng.u64(..2),
        _ => rng.u64(..) & (u64::MAX >> (64 - element.bits())),
    }
}
