//! Views to write.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use tilewright_dsl::element::Element;

use super::geometry::Geometry;
use super::memory::TensorMemory;
use super::owned::check_length;
use super::{DeviceTensor, TensorView};
use crate::device::Device;
use crate::error::TensorError;
#[cfg(feature = "nccl")]
use crate::hardware::memory::Storage;
use crate::hardware::memory::as_bytes;

/// A part of a tensor in a device's memory, to be written. Two of them share no element.
pub struct TensorViewMut<'a, T: Element, const R: usize> {
    pub(super) memory: &'a TensorMemory,
    pub(super) geometry: Geometry<R>,
    element: PhantomData<&'a mut T>,
}

impl<'a, T: Element, const R: usize> From<&'a mut DeviceTensor<T, R>> for TensorViewMut<'a, T, R> {
    fn from(tensor: &'a mut DeviceTensor<T, R>) -> Self {
        tensor.view_mut()
    }
}

impl<'a, T: Element, const R: usize> TensorViewMut<'a, T, R> {
    pub(super) fn new(memory: &'a TensorMemory, geometry: Geometry<R>) -> Self {
        Self {
            memory,
            geometry,
            element: PhantomData,
        }
    }

    /// The extents, outermost first.
    pub fn extents(&self) -> [usize; R] {
        self.geometry.extents
    }

    /// The distance in elements between neighbours on each axis, as `Tensor::stride` is in a kernel. Where there are no neighbours
    /// it is [as in a tensor without gaps](tilewright_dsl::ir::canonical_strides).
    pub fn strides(&self) -> [i64; R] {
        self.geometry.strides
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.geometry.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The device whose memory this is.
    pub fn device(&self) -> &'a Device {
        &self.memory.device
    }

    /// The allocation, and where in it the first element is, in bytes, if the elements follow each other.
    #[cfg(feature = "nccl")]
    pub(crate) fn contiguous(&self) -> Option<(&'a Storage, u64)> {
        let offset = (self.geometry.offset * T::TYPE.size()) as u64;
        self.geometry.is_contiguous().then_some((&self.memory.storage, offset))
    }

    /// The same part, to be read while this is borrowed.
    pub fn view(&self) -> TensorView<'_, T, R> {
        TensorView::new(self.memory, self.geometry)
    }

    /// The same part, to be written while this is borrowed.
    pub fn reborrow(&mut self) -> TensorViewMut<'_, T, R> {
        TensorViewMut::new(self.memory, self.geometry)
    }

    /// Replaces all elements, given in row-major order.
    ///
    /// # Errors
    /// There are more or fewer than the view has, its elements do not follow each other, or the device failed.
    pub fn copy_from(&mut self, elements: &[T]) -> Result<(), TensorError> {
        check_length(&self.geometry, elements.len())?;
        if !self.geometry.is_contiguous() {
            let (extents, strides) = (self.extents().to_vec(), self.strides().to_vec());
            return Err(TensorError::NotContiguous { extents, strides });
        }
        Ok(self
            .memory
            .storage
            .upload(self.geometry.offset * T::TYPE.size(), &as_bytes(elements))?)
    }

    /// The part whose indices on `axis` are within `range`.
    ///
    /// # Errors
    /// There is no such axis, or the range leaves it.
    pub fn slice(self, axis: usize, range: impl RangeBounds<usize>) -> Result<Self, TensorError> {
        Ok(Self {
            geometry: self.geometry.slice(axis, range)?,
            ..self
        })
    }

    /// A range of the outermost axis.
    ///
    /// # Errors
    /// The range leaves the axis.
    pub fn rows(self, range: impl RangeBounds<usize>) -> Result<Self, TensorError> {
        self.slice(0, range)
    }

    /// A range of the innermost axis.
    ///
    /// # Errors
    /// The range leaves the axis.
    pub fn columns(self, range: impl RangeBounds<usize>) -> Result<Self, TensorError> {
        self.slice(R - 1, range)
    }

    /// The same elements with two axes exchanged.
    ///
    /// # Errors
    /// There is no such axis.
    pub fn transpose(self, one: usize, other: usize) -> Result<Self, TensorError> {
        Ok(Self {
            geometry: self.geometry.transpose(one, other)?,
            ..self
        })
    }

    /// The parts in front of `index` on `axis` and from it on, both to be written.
    ///
    /// # Errors
    /// There is no such axis, or the index is beyond its end.
    pub fn split_at(self, axis: usize, index: usize) -> Result<(Self, Self), TensorError> {
        let (front, back) = (self.geometry.slice(axis, ..index)?, self.geometry.slice(axis, index..)?);
        Ok((Self::new(self.memory, front), Self::new(self.memory, back)))
    }

    /// The elements as a matrix: the indices on `axis` are its rows, and what the other axes hold is each row's columns, in
    /// row-major order.
    ///
    /// # Errors
    /// There is no such axis, or the others have gaps between them.
    pub fn matrix(self, axis: usize) -> Result<TensorViewMut<'a, T, 2>, TensorError> {
        Ok(TensorViewMut::new(self.memory, self.geometry.matrix(axis)?))
    }

    /// As [`TensorView::reshape`](super::TensorView::reshape).
    ///
    /// # Errors
    /// The number of elements would differ, or an axis would go over a gap.
    pub fn reshape<const N: usize>(self, extents: [usize; N]) -> Result<TensorViewMut<'a, T, N>, TensorError> {
        let geometry = self.geometry.reshape(extents, T::TYPE.size())?;
        Ok(TensorViewMut::new(self.memory, geometry))
    }

    /// The same bits as elements of another type of the same size.
    ///
    /// # Errors
    /// The sizes differ.
    pub fn bits<U: Element>(self) -> Result<TensorViewMut<'a, U, R>, TensorError> {
        let (from, to) = (T::TYPE, U::TYPE);
        if from.size() != to.size() {
            return Err(TensorError::OtherSize { from, to });
        }
        Ok(TensorViewMut::new(self.memory, self.geometry))
    }
}

impl<T: Element, const R: usize> fmt::Debug for TensorViewMut<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TensorViewMut<{}>{:?} with strides {:?} on {}",
            T::TYPE,
            self.extents(),
            self.strides(),
            self.device()
        )
    }
}
