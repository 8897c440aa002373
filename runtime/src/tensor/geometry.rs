//! Where the elements of a tensor are, relative to the start of its memory.

use std::ops::{Bound, Range, RangeBounds};

use tilewright_dsl::call::MAX_COUNT;
use tilewright_dsl::ir::canonical_strides;

use crate::error::TensorError;

/// Extents, strides and where the first element is, all in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry<const R: usize> {
    pub(super) extents: [usize; R],
    pub(super) strides: [i64; R],
    pub(super) offset: usize,
}

impl<const R: usize> Geometry<R> {
    /// Row-major, without gaps. The size in bytes is checked, so that no later arithmetic on it can overflow.
    pub(super) fn contiguous(extents: [usize; R], element_bytes: usize) -> Result<Self, TensorError> {
        const { assert!(R >= 1 && R <= 4, "a tensor has 1 to 4 axes") };
        if let Some(axis) = extents.iter().position(|&extent| extent as u64 > MAX_COUNT) {
            return Err(TensorError::TooLong {
                extents: extents.to_vec(),
                axis,
            });
        }
        let mut strides = [1; R];
        let mut elements = 1usize;
        for axis in (0..R).rev() {
            strides[axis] = elements as i64;
            // An empty axis takes no memory, and the strides outside it stay in range.
            let next = elements
                .checked_mul(extents[axis].max(1))
                .filter(|&e| e <= isize::MAX as usize / element_bytes);
            elements = next.ok_or_else(|| TensorError::TooLarge {
                extents: extents.to_vec(),
                element_bytes,
            })?;
        }
        Ok(Self {
            extents,
            strides,
            offset: 0,
        }
        .canonical())
    }

    /// As its owner lays it out, and how many bytes that spans. The lowest element is at position 0, which is not the first one
    /// where a stride is negative.
    pub(super) fn strided(
        extents: [usize; R],
        strides: [i64; R],
        element_bytes: usize,
    ) -> Result<(Self, usize), TensorError> {
        let mut geometry = Self::contiguous(extents, element_bytes)?;
        if geometry.len() == 0 {
            return Ok((geometry, 0));
        }
        let too_large = || TensorError::TooLarge {
            extents: extents.to_vec(),
            element_bytes,
        };
        geometry.strides = strides;
        geometry = geometry.canonical();
        let (mut before, mut after) = (0i128, 0i128);
        for (&extent, &stride) in extents.iter().zip(&geometry.strides) {
            // Both are below 2^63.
            let reach = (extent as i128 - 1) * i128::from(stride);
            if reach < 0 { before -= reach } else { after += reach }
        }
        let bytes = (before + after + 1).checked_mul(element_bytes as i128);
        let bytes = bytes
            .filter(|&bytes| bytes <= isize::MAX as i128)
            .ok_or_else(too_large)?;
        geometry.offset = before as usize;
        Ok((geometry, bytes as usize))
    }

    /// The same elements, with the values for strides that mean nothing which kernels have for them as well.
    fn canonical(mut self) -> Self {
        canonical_strides(&self.extents.map(|extent| extent as u64), &mut self.strides);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.extents.iter().product()
    }

    /// Whether the elements follow each other in row-major order.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.len() == 0
            || (0..R).rev().all(|axis| {
                let fits = self.extents[axis] == 1 || self.strides[axis] == expected;
                expected *= self.extents[axis] as i64;
                fits
            })
    }

    fn check_axis(axis: usize) -> Result<(), TensorError> {
        if axis < R {
            Ok(())
        } else {
            Err(TensorError::NoSuchAxis { axis, rank: R })
        }
    }

    /// The part whose indices on `axis` are within `range`.
    pub(super) fn slice(&self, axis: usize, range: impl RangeBounds<usize>) -> Result<Self, TensorError> {
        Self::check_axis(axis)?;
        let extent = self.extents[axis];
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => extent,
        };
        if start > end || end > extent {
            return Err(TensorError::OutOfRange {
                axis,
                start,
                end,
                extent,
            });
        }
        let mut part = *self;
        part.extents[axis] = end - start;
        // An empty part begins where the whole does: where it would begin there may be nothing.
        if part.len() > 0 {
            part.offset = part
                .offset
                .wrapping_add_signed(start as isize * self.strides[axis] as isize);
        }
        Ok(part.canonical())
    }

    /// The same elements with two axes exchanged.
    pub(super) fn transpose(&self, one: usize, other: usize) -> Result<Self, TensorError> {
        Self::check_axis(one)?;
        Self::check_axis(other)?;
        let mut turned = *self;
        turned.extents.swap(one, other);
        turned.strides.swap(one, other);
        Ok(turned.canonical())
    }

    /// The elements with the indices on `axis` as rows; what the other axes hold becomes the columns.
    pub(super) fn matrix(&self, axis: usize) -> Result<Geometry<2>, TensorError> {
        Self::check_axis(axis)?;
        let mut columns = (1, 1);
        // From the innermost axis outwards: each axis has to step over all of those inside it.
        for other in (0..R).rev().filter(|&other| other != axis && self.extents[other] != 1) {
            let (extent, stride) = (self.extents[other], self.strides[other]);
            columns = match columns {
                (1, _) => (extent, stride),
                (inner, step) if stride == inner as i64 * step => (inner * extent, step),
                (inner, step) if self.len() == 0 => (inner * extent, step),
                _ => {
                    return Err(TensorError::NoMatrix {
                        extents: self.extents.to_vec(),
                        strides: self.strides.to_vec(),
                        axis,
                    });
                }
            };
        }
        Ok(Geometry {
            extents: [self.extents[axis], columns.0],
            strides: [self.strides[axis], columns.1],
            offset: self.offset,
        }
        .canonical())
    }

    /// The same elements in row-major order under other extents. Axes may be divided and joined where no gap lies between
    /// their elements.
    pub(super) fn reshape<const N: usize>(
        &self,
        extents: [usize; N],
        element_bytes: usize,
    ) -> Result<Geometry<N>, TensorError> {
        let mut shaped = Geometry::contiguous(extents, element_bytes)?;
        shaped.offset = self.offset;
        if shaped.len() != self.len() {
            return Err(TensorError::OtherCount {
                from: self.extents.to_vec(),
                to: extents.to_vec(),
            });
        }
        if self.len() == 0 {
            return Ok(shaped);
        }
        // From the innermost axis outwards; of one element, an axis is nowhere in the way.
        let mut old = (0..R).rev().filter(|&axis| self.extents[axis] != 1).peekable();
        let mut new = (0..N).rev().filter(|&axis| extents[axis] != 1);
        while let Some(axis) = old.next() {
            // Axes each of which steps over all of those inside it are one run of elements.
            let (mut run, step) = (self.extents[axis], self.strides[axis]);
            while let Some(outer) = old.next_if(|&outer| self.strides[outer] == run as i64 * step) {
                run *= self.extents[outer];
            }
            let mut taken = 1;
            for axis in new.by_ref() {
                shaped.strides[axis] = step * taken as i64;
                taken *= extents[axis];
                if taken >= run {
                    break;
                }
            }
            if taken != run {
                return Err(TensorError::NoReshape {
                    extents: self.extents.to_vec(),
                    strides: self.strides.to_vec(),
                    to: extents.to_vec(),
                });
            }
        }
        Ok(shaped)
    }

    /// The positions from that of the lowest element on to behind that of the highest; none for an empty tensor.
    pub(super) fn positions(&self) -> Range<usize> {
        if self.len() == 0 {
            return self.offset..self.offset;
        }
        let mut positions = self.offset..self.offset + 1;
        for (&extent, &stride) in self.extents.iter().zip(&self.strides) {
            let reach = (extent as isize - 1) * stride as isize;
            match reach < 0 {
                true => positions.start = positions.start.wrapping_add_signed(reach),
                false => positions.end += reach as usize,
            }
        }
        positions
    }

    /// Calls `visit` with the position of each element in row-major order.
    pub(super) fn for_each_position(&self, mut visit: impl FnMut(usize)) {
        let mut index = [0isize; R];
        for _ in 0..self.len() {
            let steps = index.iter().zip(&self.strides);
            let from_first: isize = steps.map(|(&index, &stride)| index * stride as isize).sum();
            visit(self.offset.wrapping_add_signed(from_first));
            for axis in (0..R).rev() {
                index[axis] += 1;
                if (index[axis] as usize) < self.extents[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_may_have_as_many_elements_as_a_count_and_no_more() {
        assert!(Geometry::contiguous([1 << 40], 1).is_ok());
        let error = Geometry::contiguous([2, (1 << 40) + 1], 1).expect_err("too long");
        assert!(matches!(error, TensorError::TooLong { axis: 1, .. }), "{error}");
    }

    #[test]
    fn a_product_of_extents_that_overflows_is_an_error_even_beside_an_empty_axis() {
        for extents in [
            [1 << 40, 1 << 40, 1 << 40],
            [1 << 40, 1 << 40, 0],
            [0, 1 << 40, 1 << 40],
        ] {
            let error = Geometry::contiguous(extents, 8).expect_err("too large");
            assert!(
                matches!(error, TensorError::TooLarge { element_bytes: 8, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn slices_out_of_range_are_errors() {
        let whole = Geometry::contiguous([4, 6], 4).expect("small");
        assert_eq!(
            whole.slice(0, 1..3).map(|part| (part.offset, part.extents)),
            Ok((6, [2, 6]))
        );
        assert_eq!(whole.slice(1, ..=5).map(|part| part.extents), Ok([4, 6]));
        for error in [whole.slice(0, 3..5), whole.slice(0, ..=usize::MAX), whole.slice(2, ..)] {
            assert!(error.is_err());
        }
        #[allow(clippy::reversed_empty_ranges)]
        let backwards = whole.slice(1, 4..3).expect_err("backwards");
        assert_eq!(
            backwards.to_string(),
            "the slice 4..3 of axis 1 is not within its extent of 6"
        );
    }

    #[test]
    fn a_transposed_part_knows_its_elements() {
        let part = Geometry::contiguous([3, 4], 4)
            .and_then(|g| g.slice(1, 1..3))
            .and_then(|g| g.transpose(0, 1));
        let part = part.expect("in range");
        assert!(!part.is_contiguous());
        assert_eq!(part.positions(), 1..11);
        let mut positions = Vec::new();
        part.for_each_position(|position| positions.push(position));
        assert_eq!(positions, [1, 5, 9, 2, 6, 10]);
    }

    #[test]
    fn a_tensor_with_negative_strides_begins_at_its_lowest_element() {
        let (whole, bytes) = Geometry::strided([2, 3], [4, -1], 2).expect("small");
        assert_eq!((whole.offset, bytes, whole.positions()), (2, 14, 0..7));
        let part = whole.slice(1, 1..3).expect("in range");
        assert_eq!((part.offset, part.positions()), (1, 0..6));
        let mut positions = Vec::new();
        part.for_each_position(|position| positions.push(position));
        assert_eq!(positions, [1, 0, 5, 4]);
    }

    #[test]
    fn strides_that_no_memory_holds_are_errors() {
        for (extents, strides) in [
            ([2, 2], [i64::MAX, 1]),
            ([2, 2], [i64::MIN, i64::MIN]),
            ([3, 1], [1 << 60, 1]),
        ] {
            let error = Geometry::strided(extents, strides, 8).expect_err("too large");
            assert!(matches!(error, TensorError::TooLarge { .. }), "{error}");
        }
        // Those that mean nothing may be anything.
        let (one, bytes) = Geometry::strided([1, 3], [i64::MIN, 1], 4).expect("three elements");
        assert_eq!((one.strides, bytes), ([3, 1], 12));
        let (none, bytes) = Geometry::strided([0, 3], [i64::MAX, i64::MAX], 4).expect("no element");
        assert_eq!((none.strides, bytes), ([3, 1], 0));
    }
}
