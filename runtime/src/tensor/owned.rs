//! Tensors that own their memory.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use tilewright_dsl::element::Element;

use super::geometry::Geometry;
use super::memory::TensorMemory;
use super::{TensorView, TensorViewMut};
use crate::device::Device;
use crate::error::TensorError;
use crate::hardware::memory::{Storage, as_bytes};

/// A tensor of `R` axes (1 to 4) in a device's memory, which it owns. Its elements follow each other in row-major order.
pub struct DeviceTensor<T: Element, const R: usize> {
    memory: TensorMemory,
    geometry: Geometry<R>,
    element: PhantomData<T>,
}

impl Device {
    /// A tensor of zeros (`false`, +0.0).
    ///
    /// # Errors
    /// An extent is over 2^40, the size in bytes overflows, or the device has no room.
    pub fn zeros<T: Element, const R: usize>(&self, extents: [usize; R]) -> Result<DeviceTensor<T, R>, TensorError> {
        let geometry = Geometry::contiguous(extents, T::TYPE.size())?;
        let memory = TensorMemory {
            device: self.clone(),
            storage: Storage::zeroed(self.hardware(), geometry.len() * T::TYPE.size())?,
        };
        Ok(DeviceTensor {
            memory,
            geometry,
            element: PhantomData,
        })
    }

    /// A tensor of these elements, in row-major order.
    ///
    /// # Errors
    /// There are more or fewer elements than the extents say, or as for [`Device::zeros`].
    pub fn upload<T: Element, const R: usize>(
        &self,
        elements: &[T],
        extents: [usize; R],
    ) -> Result<DeviceTensor<T, R>, TensorError> {
        let geometry = Geometry::contiguous(extents, T::TYPE.size())?;
        check_length(&geometry, elements.len())?;
        let memory = TensorMemory {
            device: self.clone(),
            storage: Storage::from_bytes(self.hardware(), &as_bytes(elements))?,
        };
        Ok(DeviceTensor {
            memory,
            geometry,
            element: PhantomData,
        })
    }
}

/// Keeps the memory of a tensor allocated and its device open, with the kernels that were loaded for it, and says nothing of
/// what is in the memory.
#[derive(Clone)]
pub struct Hold(TensorMemory);

impl Hold {
    pub(super) fn of(memory: &TensorMemory) -> Self {
        Self(memory.clone())
    }

    /// Where the memory begins.
    pub fn address(&self) -> u64 {
        self.0.storage.address()
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.storage.len()
    }

    pub(super) fn memory(&self) -> &TensorMemory {
        &self.0
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold({} bytes on {})", self.bytes(), self.0.device)
    }
}

pub(super) fn check_length<const R: usize>(geometry: &Geometry<R>, found: usize) -> Result<(), TensorError> {
    match geometry.len() {
        expected if expected == found => Ok(()),
        expected => Err(TensorError::WrongLength {
            extents: geometry.extents.to_vec(),
            expected,
            found,
        }),
    }
}

impl<T: Element, const R: usize> DeviceTensor<T, R> {
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

    /// The number of bytes of all elements.
    pub fn bytes(&self) -> usize {
        self.len() * T::TYPE.size()
    }

    /// The device whose memory this is.
    pub fn device(&self) -> &Device {
        &self.memory.device
    }

    /// Where the first element is in the device's address space. On a GPU it is what `cuMemAlloc` gave; what is done with
    /// it is ordered by nobody.
    pub fn address(&self) -> u64 {
        self.memory.storage.address()
    }

    /// Something that keeps the memory allocated when the tensor is dropped: for a captured graph, which owns nothing of
    /// what its work uses.
    ///
    /// ```
    /// # use tilewright_runtime::Device;
    /// let tensor = Device::cpu().zeros::<f32, 1>([4])?;
    /// let hold = tensor.hold();
    /// let address = tensor.address();
    /// drop(tensor);
    /// assert_eq!((hold.address(), hold.bytes()), (address, 16));
    /// # Ok::<(), tilewright_runtime::TensorError>(())
    /// ```
    pub fn hold(&self) -> Hold {
        Hold::of(&self.memory)
    }

    /// The elements, in row-major order, once everything asked of the tensor is done.
    ///
    /// # Errors
    /// The device failed, or its stream is being captured.
    pub fn download(&self) -> Result<Vec<T>, TensorError> {
        self.view().download()
    }

    /// Replaces all elements, given in row-major order.
    ///
    /// # Errors
    /// There are more or fewer than the tensor has, or the device failed.
    pub fn copy_from(&mut self, elements: &[T]) -> Result<(), TensorError> {
        self.view_mut().copy_from(elements)
    }

    /// Its memory, and where its elements are in that.
    pub(super) fn into_parts(self) -> (TensorMemory, Geometry<R>) {
        (self.memory, self.geometry)
    }

    /// All of it.
    pub fn view(&self) -> TensorView<'_, T, R> {
        TensorView::new(&self.memory, self.geometry)
    }

    /// All of it, to be written.
    pub fn view_mut(&mut self) -> TensorViewMut<'_, T, R> {
        TensorViewMut::new(&self.memory, self.geometry)
    }

    /// The part whose indices on `axis` are within `range`.
    ///
    /// # Errors
    /// There is no such axis, or the range leaves it.
    pub fn slice(&self, axis: usize, range: impl RangeBounds<usize>) -> Result<TensorView<'_, T, R>, TensorError> {
        self.view().slice(axis, range)
    }

    /// A range of the outermost axis.
    ///
    /// # Errors
    /// The range leaves the axis.
    pub fn rows(&self, range: impl RangeBounds<usize>) -> Result<TensorView<'_, T, R>, TensorError> {
        self.view().rows(range)
    }

    /// A range of the innermost axis.
    ///
    /// # Errors
    /// The range leaves the axis.
    pub fn columns(&self, range: impl RangeBounds<usize>) -> Result<TensorView<'_, T, R>, TensorError> {
        self.view().columns(range)
    }

    /// The same elements with two axes exchanged.
    ///
    /// # Errors
    /// There is no such axis.
    pub fn transpose(&self, one: usize, other: usize) -> Result<TensorView<'_, T, R>, TensorError> {
        self.view().transpose(one, other)
    }

    /// The same elements in row-major order under other extents.
    ///
    /// # Errors
    /// The number of elements would differ.
    pub fn reshape<const N: usize>(&self, extents: [usize; N]) -> Result<TensorView<'_, T, N>, TensorError> {
        self.view().reshape(extents)
    }
}

impl<T: Element, const R: usize> fmt::Debug for DeviceTensor<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceTensor<{}>{:?} on {}", T::TYPE, self.extents(), self.device())
    }
}
