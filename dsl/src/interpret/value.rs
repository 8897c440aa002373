//! Values while a program runs: scalars and tiles, evaluated no further than needed.

use std::borrow::Cow;
use std::rc::Rc;

use crate::element::ElementType;
use crate::ir::{Literal, MAX_RANK, Shape};

/// The extents of a tile, with axes of extent 1 put in front up to [`MAX_RANK`].
pub(super) type Extents = [usize; MAX_RANK];

/// The extents of `shape`, padded.
pub(super) fn padded(shape: Shape) -> Extents {
    let mut extents = [1; MAX_RANK];
    let first = MAX_RANK - shape.rank();
    extents[first..]
        .iter_mut()
        .zip(shape.extents())
        .for_each(|(to, &from)| *to = from as usize);
    extents
}

/// The elements of a scalar or tile. Its element type and shape are those of its expression.
///
/// A step or stride is 0 on every axis of extent 1 (padding included), so that a value also is its own broadcast to any
/// larger shape.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Every element has these bits.
    Uniform(u64),
    /// i64 elements: `start` plus each coordinate times the axis's step, wrapping.
    Affine { start: i64, steps: [i64; MAX_RANK] },
    /// Little-endian elements in memory, found by strides counted in elements.
    Dense { bytes: Rc<Vec<u8>>, strides: Extents },
}

impl Value {
    /// `0, 1, …, extent - 1`.
    pub fn arange(extent: u32) -> Self {
        Self::Affine {
            start: 0,
            steps: [0, 0, i64::from(extent > 1)],
        }
    }

    /// Row-major elements of a tile of these extents.
    pub fn dense(bytes: Vec<u8>, extents: Extents) -> Self {
        Self::Dense {
            bytes: Rc::new(bytes),
            strides: row_major(extents),
        }
    }

    /// The bits of the element at `at`.
    pub fn bits(&self, size: usize, at: Extents) -> u64 {
        match self {
            Self::Uniform(bits) => *bits,
            Self::Affine { start, steps } => affine(*start, steps, at) as u64,
            Self::Dense { bytes, strides } => get(bytes, size, linear(strides, at)),
        }
    }

    /// All elements of a tile of these extents, row-major.
    pub fn elements(&self, size: usize, extents: Extents) -> Cow<'_, [u8]> {
        match self {
            Self::Dense { bytes, strides } if *strides == row_major(extents) => Cow::Borrowed(bytes),
            _ => Cow::Owned(self.copied(size, extents)),
        }
    }

    fn copied(&self, size: usize, extents: Extents) -> Vec<u8> {
        let [planes, rows, columns] = extents;
        let mut out = vec![0; planes * rows * columns * size];
        let mut lines = out.chunks_exact_mut(columns * size);
        for plane in 0..planes {
            for (row, line) in (0..rows).zip(&mut lines) {
                match self {
                    Self::Dense { bytes, strides } if strides[2] == 1 => {
                        let from = linear(strides, [plane, row, 0]) * size;
                        line.copy_from_slice(&bytes[from..][..columns * size]);
                    }
                    _ => (0..columns).for_each(|column| put(line, size, column, self.bits(size, [plane, row, column]))),
                }
            }
        }
        out
    }

    /// The same elements in row-major order under other extents.
    pub fn reshaped(&self, size: usize, from: Extents, to: Extents) -> Self {
        match self {
            Self::Uniform(bits) => return Self::Uniform(*bits),
            Self::Affine { start, steps } => {
                if let Some(steps) = moved(steps, from, to) {
                    return Self::Affine { start: *start, steps };
                }
            }
            Self::Dense { bytes, strides } => {
                if *strides == row_major(from) {
                    return Self::Dense {
                        bytes: bytes.clone(),
                        strides: row_major(to),
                    };
                }
                if let Some(strides) = moved(strides, from, to) {
                    return Self::Dense {
                        bytes: bytes.clone(),
                        strides,
                    };
                }
            }
        }
        Self::dense(self.copied(size, from), to)
    }

    /// The i64 start and steps, if the elements are known to be affine in their coordinates.
    pub fn as_affine(&self, element: ElementType) -> Option<(i64, [i64; MAX_RANK])> {
        match self {
            Self::Uniform(bits) if element == ElementType::I64 => Some((*bits as i64, [0; MAX_RANK])),
            Self::Affine { start, steps } => Some((*start, *steps)),
            Self::Uniform(_) | Self::Dense { .. } => None,
        }
    }
}

/// Steps or strides under extents that differ only in where axes of extent 1 are.
fn moved<T: Copy + Default>(steps: &[T; MAX_RANK], from: Extents, to: Extents) -> Option<[T; MAX_RANK]> {
    let mut result = [T::default(); MAX_RANK];
    let mut source = (0..MAX_RANK).filter(|&axis| from[axis] != 1);
    for target in (0..MAX_RANK).filter(|&axis| to[axis] != 1) {
        let axis = source.next().filter(|&axis| from[axis] == to[target])?;
        result[target] = steps[axis];
    }
    source.next().is_none().then_some(result)
}

/// The strides of elements without gaps; 0 on axes of extent 1.
fn row_major(extents: Extents) -> Extents {
    let [_, rows, columns] = extents;
    let full = [rows * columns, columns, 1];
    std::array::from_fn(|axis| if extents[axis] == 1 { 0 } else { full[axis] })
}

fn linear(strides: &Extents, at: Extents) -> usize {
    strides
        .iter()
        .zip(at)
        .map(|(stride, coordinate)| stride * coordinate)
        .sum()
}

/// The element of an affine tile at `at`.
pub(super) fn affine(start: i64, steps: &[i64; MAX_RANK], at: Extents) -> i64 {
    let term = |(step, coordinate): (&i64, usize)| step.wrapping_mul(coordinate as i64);
    steps.iter().zip(at).map(term).fold(start, i64::wrapping_add)
}

/// The bits of element `index` of `bytes`.
pub(super) fn get(bytes: &[u8], size: usize, index: usize) -> u64 {
    let at = &bytes[index * size..];
    match *at {
        [a, ..] if size == 1 => u64::from(a),
        [a, b, ..] if size == 2 => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d, ..] if size == 4 => u64::from(u32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h, ..] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

/// Replaces element `index` of `bytes`.
pub(super) fn put(bytes: &mut [u8], size: usize, index: usize, bits: u64) {
    bytes[index * size..][..size].copy_from_slice(&bits.to_le_bytes()[..size]);
}

/// An integer element as an index. What is above `i64::MAX` becomes that, which no extent exceeds.
pub(super) fn index(element: ElementType, bits: u64) -> i64 {
    match (Literal { element, bits }).as_integer() {
        Some(value) => i64::try_from(value).unwrap_or(i64::MAX),
        None => 0,
    }
}
