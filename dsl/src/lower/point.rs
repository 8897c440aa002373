//! Coordinates of a tile's elements, and what they become before an operation on shapes.

use arrayvec::ArrayVec;

use super::Lower;
use crate::analysis::contiguity::broadcast_axis;
use crate::ir::{Handle, MAX_RANK, Shape};
use crate::thread::Index;

/// Where in a tile a value is wanted: a coordinate for each axis.
pub(super) type Point = ArrayVec<Handle<Index>, MAX_RANK>;

impl Lower<'_> {
    /// The same point of the tile that was broadcast from `from` to `to`.
    pub(super) fn before_broadcast(&mut self, point: &Point, from: Shape, to: Shape) -> Point {
        let zero = self.b.constant(0);
        let mut before: Point = (0..from.rank()).map(|_| zero).collect();
        for axis in 0..to.rank() {
            if let Some(own) = broadcast_axis(from, to, axis) {
                before[own] = point[axis];
            }
        }
        before
    }

    /// The same element of the tile of shape `from` that was reshaped to `to`.
    pub(super) fn before_reshape(&mut self, point: &Point, from: Shape, to: Shape) -> Point {
        let position = self.position(point, to);
        self.at_position(position, from)
    }

    /// The row-major position of a point.
    pub(super) fn position(&mut self, point: &Point, shape: Shape) -> Handle<Index> {
        let mut position = self.b.constant(0);
        for (&coordinate, &extent) in point.iter().zip(shape.extents()) {
            let outer = self.b.indices().scale(position, extent.into());
            position = self.b.indices().add(outer, coordinate);
        }
        position
    }

    /// The point at a row-major position. Of one row there is nothing to take apart, also where a position is beyond it.
    pub(super) fn at_position(&mut self, position: Handle<Index>, shape: Shape) -> Point {
        let outer = shape.extents().iter().take_while(|extent| **extent == 1).count();
        let first = outer.min(shape.rank().saturating_sub(1));
        let mut rest = position;
        let mut coordinates = Point::new();
        for (axis, &extent) in shape.extents().iter().enumerate().rev() {
            if axis <= first {
                coordinates.push(rest);
                rest = self.b.constant(0);
            } else {
                let extent = self.b.constant(extent.into());
                coordinates.push(self.b.indices().remainder(rest, extent));
                rest = self.b.indices().quotient(rest, extent);
            }
        }
        coordinates.reverse();
        coordinates
    }
}
