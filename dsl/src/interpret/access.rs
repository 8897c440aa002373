//! Which bytes a load reads or a store writes.
//!
//! An access is cut into runs of elements along the innermost axis of its tile on which every index is affine; usually
//! a run is a whole row. The part of a run that is inside the tensor follows from its ends.

use arrayvec::ArrayVec;

use super::argument::Tensor;
use super::value::{Extents, Value, affine, get, index};
use crate::element::ElementType;
use crate::ir::{Bounds, Guard, MAX_RANK};

/// Elements that an access touches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The position of the first one in the access's tile, row-major.
    pub element: usize,
    /// How many there are.
    pub count: usize,
    /// The byte where the first one starts.
    pub address: i64,
    /// The bytes from one to the next.
    pub step: i64,
}

/// An index outside of its axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outside {
    pub axis: usize,
    pub index: i64,
    pub extent: i64,
}

/// What an access came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Touched {
    /// The first element, in row-major order, that was outside and skipped or clamped.
    pub outside: Option<Outside>,
}

/// An element was outside of an axis on a side that has no guard; the access ended there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unguarded(pub Outside);

/// The values of one index.
pub(super) enum Index<'v> {
    Affine {
        start: i64,
        steps: [i64; MAX_RANK],
    },
    Dense {
        bytes: &'v [u8],
        element: ElementType,
        strides: Extents,
    },
}

impl<'v> Index<'v> {
    pub fn new(value: &'v Value, element: ElementType) -> Self {
        match value {
            Value::Uniform(bits) => Self::Affine {
                start: index(element, *bits),
                steps: [0; MAX_RANK],
            },
            Value::Affine { start, steps } => Self::Affine {
                start: *start,
                steps: *steps,
            },
            Value::Dense { bytes, strides } => Self::Dense {
                bytes,
                element,
                strides: *strides,
            },
        }
    }

    fn at(&self, at: Extents) -> i64 {
        match self {
            Self::Affine { start, steps } => affine(*start, steps, at),
            Self::Dense {
                bytes,
                element,
                strides,
            } => {
                let position = strides
                    .iter()
                    .zip(at)
                    .map(|(stride, coordinate)| stride * coordinate)
                    .sum();
                index(*element, get(bytes, element.size(), position))
            }
        }
    }

    /// The distance between neighbours on the innermost axis, if it is the same everywhere.
    fn step(&self) -> Option<i64> {
        match self {
            Self::Affine { steps, .. } => Some(steps[MAX_RANK - 1]),
            Self::Dense { strides, .. } => (strides[MAX_RANK - 1] == 0).then_some(0),
        }
    }
}

type PerAxis = ArrayVec<i64, 4>;

/// One execution of an access.
pub(super) struct Walk<'v, F> {
    pub tensor: &'v Tensor<'v>,
    pub bounds: Bounds,
    pub guards: &'v [Guard],
    pub indices: ArrayVec<Index<'v>, 4>,
    pub mask: Option<&'v Value>,
    /// The extents of the access's tile.
    pub extents: Extents,
    pub touched: Touched,
    pub visit: F,
}

impl<'v, F: FnMut(Run)> Walk<'v, F> {
    /// Calls `visit` with every run inside the tensor, in row-major order.
    pub fn run(mut self) -> Result<Touched, Unguarded> {
        let [planes, rows, columns] = self.extents;
        let steps: Option<PerAxis> = self.indices.iter().map(Index::step).collect();
        for plane in 0..planes {
            for row in 0..rows {
                let line = (plane * rows + row) * columns;
                let mut column = 0;
                while let Some((from, to)) = self.unmasked(plane, row, column) {
                    match &steps {
                        Some(steps) => self.part([plane, row, from], line + from, to - from, steps)?,
                        None => self.singly([plane, row, from], line + from, to - from)?,
                    }
                    column = to;
                }
            }
        }
        Ok(self.touched)
    }

    /// The first range of columns from `column` on where the mask holds.
    fn unmasked(&self, plane: usize, row: usize, column: usize) -> Option<(usize, usize)> {
        let columns = self.extents[MAX_RANK - 1];
        let holds = |column: usize| self.mask.is_none_or(|mask| mask.bits(1, [plane, row, column]) != 0);
        let varies = match self.mask {
            Some(Value::Dense { strides, .. }) => strides[MAX_RANK - 1] != 0,
            _ => false,
        };
        if !varies {
            return (column < columns && holds(column)).then_some((column, columns));
        }
        let from = (column..columns).find(|&column| holds(column))?;
        Some((from, (from..columns).find(|&column| !holds(column)).unwrap_or(columns)))
    }

    /// Elements of one row, each for itself.
    fn singly(&mut self, at: Extents, element: usize, count: usize) -> Result<(), Unguarded> {
        let still: PerAxis = self.indices.iter().map(|_| 0).collect();
        (0..count).try_for_each(|k| self.part([at[0], at[1], at[2] + k], element + k, 1, &still))
    }

    /// `count` elements of one row from `at` on, along which each index grows by its step.
    fn part(&mut self, at: Extents, element: usize, count: usize, steps: &PerAxis) -> Result<(), Unguarded> {
        let starts: PerAxis = self.indices.iter().map(|index| index.at(at)).collect();
        let (mut low, mut high) = (0, count);
        for axis in 0..starts.len() {
            let (start, step, extent) = (starts[axis], steps[axis], self.tensor.extents[axis]);
            let last = (count as i64 - 1)
                .checked_mul(step)
                .and_then(|way| start.checked_add(way));
            // An index that wraps is not affine over the whole run.
            let Some(last) = last else {
                return self.singly(at, element, count);
            };
            let (least, most) = (start.min(last), start.max(last));
            if least >= 0 && most < extent {
                continue;
            }
            self.refuse(axis, start, step, count, least < 0, most >= extent)?;
            let (from, to) = inside(start, step, extent, count);
            (low, high) = (low.max(from), high.min(to));
        }
        if low == 0 && high == count {
            self.emit(&starts, steps, element, 0, count);
            return Ok(());
        }
        let first = if low > 0 { 0 } else { high };
        self.note(&starts, steps, first);
        if self.bounds == Bounds::Clamp {
            self.clamped(&starts, steps, element, count);
        } else if low < high {
            self.emit(&starts, steps, element, low, high);
        }
        Ok(())
    }

    /// Refuses indices outside of `axis` on a side that has no guard.
    fn refuse(
        &self,
        axis: usize,
        start: i64,
        step: i64,
        count: usize,
        below: bool,
        above: bool,
    ) -> Result<(), Unguarded> {
        let guard = self.guards.get(axis).copied().unwrap_or(Guard::NONE);
        let (below, above) = (below && !guard.lower, above && !guard.upper);
        if !below && !above {
            return Ok(());
        }
        let extent = self.tensor.extents[axis];
        let index = (0..count as i64)
            .map(|k| start.wrapping_add(step.wrapping_mul(k)))
            .find(|&index| (below && index < 0) || (above && index >= extent))
            .unwrap_or(start);
        Err(Unguarded(Outside { axis, index, extent }))
    }

    /// Keeps the first element that was outside; in this run it is number `k`.
    fn note(&mut self, starts: &PerAxis, steps: &PerAxis, k: usize) {
        if self.touched.outside.is_some() {
            return;
        }
        self.touched.outside = (0..starts.len()).find_map(|axis| {
            let index = starts[axis].wrapping_add(steps[axis].wrapping_mul(k as i64));
            let extent = self.tensor.extents[axis];
            (index < 0 || index >= extent).then_some(Outside { axis, index, extent })
        });
    }

    /// The elements `low..high` of a run, which are inside.
    fn emit(&mut self, starts: &PerAxis, steps: &PerAxis, element: usize, low: usize, high: usize) {
        // Every address is inside the memory, and so fits; the step matters only where there are two.
        let (mut address, mut step) = (self.tensor.origin, 0i64);
        for (axis, &stride) in self.tensor.strides.iter().enumerate() {
            let index = starts[axis] + steps[axis] * low as i64;
            address += index * stride;
            step = step.wrapping_add(steps[axis].wrapping_mul(stride));
        }
        (self.visit)(Run {
            element: element + low,
            count: high - low,
            address,
            step,
        });
    }

    /// All elements of a run, those outside moved to the nearest element inside, unless there is none.
    fn clamped(&mut self, starts: &PerAxis, steps: &PerAxis, element: usize, count: usize) {
        if self.tensor.extents.contains(&0) {
            return;
        }
        for k in 0..count {
            let mut address = self.tensor.origin;
            for (axis, &stride) in self.tensor.strides.iter().enumerate() {
                let index = starts[axis] + steps[axis] * k as i64;
                address += index.clamp(0, self.tensor.extents[axis] - 1) * stride;
            }
            (self.visit)(Run {
                element: element + k,
                count: 1,
                address,
                step: 0,
            });
        }
    }
}

/// The range of `k` in `0..count` for which `start + k * step` is in `0..extent`.
fn inside(start: i64, step: i64, extent: i64, count: usize) -> (usize, usize) {
    let (start, step, extent) = (i128::from(start), i128::from(step), i128::from(extent));
    let ceiling = |value: i128, by: i128| (value + by - 1).div_euclid(by);
    let (from, to) = match step {
        0 if start >= 0 && start < extent => (0, count as i128),
        0 => (0, 0),
        1.. => (ceiling(-start, step), ceiling(extent - start, step)),
        _ => (ceiling(start - extent + 1, -step), ceiling(start + 1, -step)),
    };
    let clamp = |k: i128| k.clamp(0, count as i128) as usize;
    (clamp(from), clamp(to))
}

impl<'v> Index<'v> {
    /// Indices whose values `value` gives.
    pub fn all(
        indices: &[crate::ir::Handle<crate::ir::Expression>],
        mut value: impl FnMut(crate::ir::Handle<crate::ir::Expression>) -> (&'v Value, ElementType),
    ) -> ArrayVec<Self, 4> {
        indices
            .iter()
            .map(|&index| {
                let (value, element) = value(index);
                Self::new(value, element)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_a_run_inside_an_axis_is_what_counting_says() {
        for extent in 0..5i64 {
            for start in -6..8i64 {
                for step in -3..4i64 {
                    let good: Vec<usize> = (0..6)
                        .filter(|&k| (0..extent).contains(&(start + step * k as i64)))
                        .collect();
                    let (from, to) = inside(start, step, extent, 6);
                    assert_eq!(
                        (from..to.max(from)).collect::<Vec<_>>(),
                        good,
                        "{start} + k * {step} in 0..{extent}"
                    );
                }
            }
        }
    }
}
