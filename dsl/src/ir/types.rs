//! The types of values: an element type and a shape.

use std::fmt;

use crate::element::ElementType;

/// The highest rank of a tile.
pub const MAX_RANK: usize = 3;

/// The extents of a tile, outermost first; rank 0 is a scalar.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    extents: [u32; MAX_RANK],
}

impl Shape {
    /// The shape of a scalar.
    pub const SCALAR: Shape = Shape {
        rank: 0,
        extents: [0; MAX_RANK],
    };

    /// The shape with these extents; `None` if there are more than [`MAX_RANK`].
    pub fn new(extents: &[u32]) -> Option<Self> {
        let mut shape = Self::SCALAR;
        shape.extents.get_mut(..extents.len())?.copy_from_slice(extents);
        shape.rank = extents.len() as u8;
        Some(shape)
    }

    /// The number of axes, 0 to [`MAX_RANK`].
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The extents, outermost first.
    pub fn extents(&self) -> &[u32] {
        &self.extents[..self.rank()]
    }

    /// The shape with another extent on an axis; `None` if there is no such axis.
    pub fn with_extent(mut self, axis: usize, extent: u32) -> Option<Shape> {
        *self.extents[..self.rank as usize].get_mut(axis)? = extent;
        Some(self)
    }

    /// The number of elements; 1 for a scalar.
    pub fn elements(&self) -> u64 {
        self.extents().iter().map(|&e| e as u64).product()
    }

    /// The extent of the innermost axis; 1 for a scalar.
    pub fn innermost(&self) -> u32 {
        self.extents().last().copied().unwrap_or(1)
    }

    /// The shape both broadcast to: axes are aligned from the innermost outwards, and an axis of extent 1, or a missing
    /// one, stretches. `None` if two extents differ and neither is 1.
    pub fn broadcast(self, other: Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let mut extents = [1u32; MAX_RANK];
        for (axis, extent) in extents[..rank].iter_mut().enumerate() {
            let of = |shape: &Shape| (axis + shape.rank()).checked_sub(rank).map_or(1, |a| shape.extents[a]);
            *extent = match (of(&self), of(&other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        Shape::new(&extents[..rank])
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, extent) in self.extents().iter().enumerate() {
            write!(f, "{}{extent}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Type {
    /// The type of every element.
    pub element: ElementType,
    /// The extents; [`Shape::SCALAR`] for a scalar.
    pub shape: Shape,
}

impl Type {
    /// The type of a scalar.
    pub const fn scalar(element: ElementType) -> Self {
        Self {
            element,
            shape: Shape::SCALAR,
        }
    }

    /// The type of an index, an extent, a count.
    pub const INDEX: Type = Type::scalar(ElementType::I64);

    /// The type of a scalar condition.
    pub const CONDITION: Type = Type::scalar(ElementType::Bool);

    /// Whether this is a scalar.
    pub fn is_scalar(&self) -> bool {
        self.shape.rank() == 0
    }

    /// The same element type with another shape.
    pub fn with_shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// The same shape with another element type.
    pub fn with_element(self, element: ElementType) -> Self {
        Self { element, ..self }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.element)?;
        if self.is_scalar() {
            Ok(())
        } else {
            write!(f, "{}", self.shape)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_from_the_innermost_axis() {
        let shape = |e: &[u32]| Shape::new(e).unwrap();
        assert_eq!(shape(&[4, 1]).broadcast(shape(&[7])), Some(shape(&[4, 7])));
        assert_eq!(shape(&[7]).broadcast(Shape::SCALAR), Some(shape(&[7])));
        assert_eq!(shape(&[2, 1, 5]).broadcast(shape(&[3, 1])), Some(shape(&[2, 3, 5])));
        assert_eq!(shape(&[2]).broadcast(shape(&[3])), None);
        assert_eq!(Shape::new(&[1, 1, 1, 1]), None);
    }
}
