//! The lines of a tile along the axis on which elements meet, and how chunks of them are read.

use super::super::leaves::{INNER, LeafKind, Leaves};
use super::super::pull::{Point, linear};
use super::super::types::c_type;
use super::super::writer::Writer;
use crate::element::ElementType;
use crate::ir::{Expression, Handle, Kernel, Shape};

/// Elements that are combined first.
pub(super) const CHUNK: u64 = Expression::CHUNK as u64;

/// A tile, seen as lines along one axis: one for each *place* on the others.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) value: Handle<Expression>,
    pub(super) element: ElementType,
    pub(super) shape: Shape,
    pub(super) axis: usize,
    /// Elements of a line.
    pub(super) extent: u64,
    /// How many lines.
    pub(super) places: u64,
}

impl Line {
    pub(super) fn new(kernel: &Kernel, value: Handle<Expression>, axis: u8) -> Self {
        let ty = kernel.ty(value);
        let extent = u64::from(ty.shape.extents()[axis as usize]);
        Self {
            value,
            element: ty.element,
            shape: ty.shape,
            axis: axis as usize,
            extent,
            places: ty.shape.elements() / extent,
        }
    }

    /// Chunks of a line.
    pub(super) fn chunks(&self) -> u64 {
        self.extent.div_ceil(CHUNK)
    }

    /// Whether the last chunk lacks elements.
    pub(super) fn is_ragged(&self) -> bool {
        !self.extent.is_multiple_of(CHUNK)
    }

    /// The type of an element.
    pub(super) fn ty(&self) -> &'static str {
        c_type(self.element)
    }

    /// The element `along` the line at the place whose coordinates [`Writer::at_place`] has defined.
    pub(super) fn point(&self, along: &str) -> Point {
        let coordinate = |axis| match axis == self.axis {
            true => along.to_owned(),
            false => format!("i{axis}"),
        };
        Point {
            coordinates: (0..self.shape.rank()).map(coordinate).collect(),
            register: None,
        }
    }

    /// The row-major position of that element.
    pub(super) fn position(&self, along: &str) -> String {
        linear(&self.point(along).coordinates, self.shape)
    }
}

impl Writer<'_> {
    /// Defines the coordinates of the place with this number.
    pub(super) fn at_place(&mut self, line: &Line, place: &str) {
        let others: Vec<usize> = (0..line.shape.rank()).filter(|&axis| axis != line.axis).collect();
        match *others.as_slice() {
            [only] => self.line(format!("const int i{only} = {place};")),
            [outer, inner] => {
                let extent = line.shape.extents()[inner];
                self.line(format!("const int i{outer} = {place} / {extent};"));
                self.line(format!("const int i{inner} = {place} % {extent};"));
            }
            _ => {}
        }
    }

    /// What the elements of a line are made of, and how many neighbours one access can have. Tiles in registers have been
    /// exchanged.
    pub(super) fn line_leaves(&mut self, line: &Line) -> (Leaves, u64) {
        let mut leaves = self.leaves_at(&[line.value], &line.point(INNER));
        if !leaves.exchanged.is_empty() {
            self.exchange(&leaves);
        }
        let mut lanes = CHUNK;
        for leaf in leaves.loads.values_mut() {
            if let LeafKind::Adjacent { axis, .. } = leaf.kind {
                let size = self.element(leaf.access.tensor).size() as u64;
                let own = (16 / size).min(CHUNK);
                if !line.is_ragged() && self.leaf_alignment(leaf, axis) >= own * size {
                    leaf.kind = LeafKind::Adjacent { axis, aligned: true };
                    lanes = lanes.min(own);
                } else {
                    leaf.kind = LeafKind::Scattered;
                }
            }
        }
        (leaves, lanes)
    }

    /// Reads the elements from `first` on, of which there are up to [`CHUNK`], into the array `x`.
    pub(super) fn read_chunk(&mut self, line: &Line, leaves: &Leaves, lanes: u64, first: &str) {
        let (n, ragged) = (line.extent, line.is_ragged());
        self.line(format!("{} x[{CHUNK}] = {{}};", line.ty()));
        self.line("#pragma unroll");
        self.open(format!("for (int part = 0; part < {}; ++part) {{", CHUNK / lanes));
        self.line(format!("const int {INNER} = {first} + part * {lanes};"));
        let rows = self.rows_of_leaves(leaves);
        let mut substitutes = self.vector_leaves(leaves, &rows, lanes);
        self.line("#pragma unroll");
        self.open(format!("for (int v = 0; v < {lanes}; ++v) {{"));
        if ragged {
            self.open(format!("if ({INNER} + v < {n}) {{"));
        }
        std::mem::swap(&mut self.substitutes, &mut substitutes);
        let element = self.pull(line.value, &line.point(&format!("({INNER} + v)")));
        std::mem::swap(&mut self.substitutes, &mut substitutes);
        self.line(format!("x[part * {lanes} + v] = {element};"));
        if ragged {
            self.close();
        }
        self.close();
        self.close();
    }
}
