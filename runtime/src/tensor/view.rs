//! Views to read.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use tilewright_dsl::element::Element;

use super::DeviceTensor;
use super::geometry::Geometry;
use super::memory::TensorMemory;
use crate::device::Device;
use crate::error::TensorError;
use crate::hardware::memory::from_bytes;

/// A part of a tensor in a device's memory, to be read.
pub struct TensorView<'a, T: Element, const R: usize> {
    pub(super) memory: &'a TensorMemory,
    pub(super) geometry: Geometry<R>,
    element: PhantomData<&'a T>,
}

impl<T: Element, const R: usize> Clone for TensorView<'_, T, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Element, const R: usize> Copy for TensorView<'_, T, R> {}

impl<'a, T: Element, const R: usize> From<&'a DeviceTensor<T, R>> for TensorView<'a, T, R> {
    fn from(tensor: &'a DeviceTensor<T, R>) -> Self {
        tensor.view()
    }
}

impl<'a, T: Element, const R: usize> TensorView<'a, T, R> {
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

    /// Whether the elements follow each other in row-major order.
    pub fn is_contiguous(&self) -> bool {
        self.geometry.is_contiguous()
    }

    /// The device whose memory this is.
    pub fn device(&self) -> &'a Device {
        &self.memory.device
    }

    /// The elements, in row-major order, once everything asked of the tensor is done. What lies between the elements of a
    /// view with gaps is transferred too.
    ///
    /// # Errors
    /// The device failed, or its stream is being captured.
    pub fn download(&self) -> Result<Vec<T>, TensorError> {
        let size = T::TYPE.size();
        let positions = self.geometry.positions();
        let mut bytes = vec![0; positions.len() * size];
        self.memory.storage.download(positions.start * size, &mut bytes)?;
        if self.is_contiguous() {
            return Ok(from_bytes(&bytes));
        }
        let all: Vec<T> = from_bytes(&bytes);
        let mut elements = Vec::with_capacity(self.len());
        self.geometry
            .for_each_position(|position| elements.push(all[position - positions.start]));
        Ok(elements)
    }

    /// The part whose indices on `axis` are within `range`.
    ///
    /// # Errors
    /// There is no such axis, or the range leaves it.
    pub fn slice(&self, axis: usize, range: impl RangeBounds<usize>) -> Result<Self, TensorError> {
        Ok(Self {
            geometry: self.geometry.slice(axis, range)?,
            ..*self
        })
    }

    /// A range of the outermost axis.
    ///
    /// # Errors
    /// The range leaves the axis.
    pub fn rows(&self, range: impl RangeBounds<usize>) -> Result<Self, TensorError> {
        self.slice(0, range)
    }

    /// A range of the innermost axis.
    ///
    /// # Errors
    /// The range leaves the axis.
    pub fn columns(&self, range: impl RangeBounds<usize>) -> Result<Self, TensorError> {
        self.slice(R - 1, range)
    }

    /// The same elements with two axes exchanged.
    ///
    /// # Errors
    /// There is no such axis.
    pub fn transpose(&self, one: usize, other: usize) -> Result<Self, TensorError> {
        Ok(Self {
            geometry: self.geometry.transpose(one, other)?,
            ..*self
        })
    }

    /// The elements as a matrix: the indices on `axis` are its rows, and what the other axes hold is each row's columns, in
    /// row-major order.
    ///
    /// # Errors
    /// There is no such axis, or the others have gaps between them.
    pub fn matrix(&self, axis: usize) -> Result<TensorView<'a, T, 2>, TensorError> {
        Ok(TensorView::new(self.memory, self.geometry.matrix(axis)?))
    }

    /// The same elements in row-major order under other extents, without copying them: axes are divided, and joined where
    /// no gap lies between their elements.
    ///
    /// ```
    /// # use tilewright_runtime::Device;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let rows = Device::cpu().zeros::<f32, 2>([3, 512])?;
    /// // Four heads of 64 in the front half of each row.
    /// let heads = rows.columns(..256)?.reshape([3, 4, 64])?;
    /// assert_eq!(heads.strides(), [512, 64, 1]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The number of elements would differ, or an axis would go over a gap.
    pub fn reshape<const N: usize>(&self, extents: [usize; N]) -> Result<TensorView<'a, T, N>, TensorError> {
        let geometry = self.geometry.reshape(extents, T::TYPE.size())?;
        Ok(TensorView::new(self.memory, geometry))
    }

    /// The same bits as elements of another type of the same size.
    ///
    /// # Errors
    /// The sizes differ.
    pub fn bits<U: Element>(&self) -> Result<TensorView<'a, U, R>, TensorError> {
        let (from, to) = (T::TYPE, U::TYPE);
        if from.size() != to.size() {
            return Err(TensorError::OtherSize { from, to });
        }
        Ok(TensorView::new(self.memory, self.geometry))
    }
}

impl<T: Element, const R: usize> fmt::Debug for TensorView<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TensorView<{}>{:?} with strides {:?} on {}",
            T::TYPE,
            self.extents(),
            self.strides(),
            self.device()
        )
    }
}
