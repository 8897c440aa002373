//! Tensors in memory that others own, used where it is.

#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use cudarc::driver::{CudaView, CudaViewMut, DeviceSlice, SyncOnDrop};
use tilewright_dsl::element::Element;

use super::geometry::Geometry;
use super::memory::TensorMemory;
use super::{TensorView, TensorViewMut};
use crate::device::{Device, Stream};
use crate::error::{DeviceError, TensorError};
use crate::hardware::cuda::CudaStream;
use crate::hardware::memory::Storage;

/// A tensor in memory that others own, to be read: its [view](BorrowedTensor::view), or a reference to this, is passed to
/// kernels like any other.
///
/// On a GPU its uses are ordered by one stream, that of its owner: launches on that stream need nothing more, and a launch
/// on another one waits for it and lets it wait in turn. Generated code reads whole aligned words of 16 bytes that hold an
/// element, never more.
///
/// ```
/// use tilewright_runtime::{BorrowedTensor, Device};
///
/// let device = Device::cpu();
/// let rows = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// // SAFETY: the rows outlive the tensor, and nothing writes them.
/// let tensor = unsafe {
///     BorrowedTensor::<f32, 2>::from_raw(&device.stream(), rows.as_ptr() as u64, [2, 2], [3, 1])
/// }?;
/// assert_eq!(tensor.view().download()?, [1.0, 2.0, 4.0, 5.0]);
/// # Ok::<(), tilewright_runtime::TensorError>(())
/// ```
pub struct BorrowedTensor<'a, T: Element, const R: usize> {
    part: Part<'a, R>,
    element: PhantomData<&'a T>,
}

/// As [`BorrowedTensor`], to be written too.
pub struct BorrowedTensorMut<'a, T: Element, const R: usize> {
    part: Part<'a, R>,
    element: PhantomData<&'a mut T>,
}

/// Where it is.
struct Part<'a, const R: usize> {
    memory: TensorMemory,
    geometry: Geometry<R>,
    /// Given back with the tensor.
    _turn: Option<Turn<'a>>,
}

/// Who says that memory is the GPU's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The driver, which is asked.
    Asked,
    /// The caller, who is believed.
    Taken,
}

/// cudarc's word that a slice is in use, given on the slice's own stream: what other streams of its context wait for, where
/// that tracks events.
struct Turn<'a> {
    /// Recorded at the end, before the stream that it is recorded on goes.
    _sync: SyncOnDrop<'a>,
    _stream: Arc<cudarc::driver::CudaStream>,
}

impl<'a> Turn<'a> {
    /// Takes a slice: its address, its stream, and the word. `take` asks cudarc.
    fn new(
        device: &Device,
        own: Arc<cudarc::driver::CudaStream>,
        take: impl FnOnce(&'a cudarc::driver::CudaStream) -> (u64, SyncOnDrop<'a>),
    ) -> Result<(u64, Stream, Self), TensorError> {
        let cuda = device.as_cuda().ok_or(DeviceError::NotCuda {
            what: "a slice of cudarc",
        })?;
        let stream = Stream::over(device, CudaStream::of(cuda, own.clone())?);
        // SAFETY: the stream is kept beside what refers to it, and dropped after that.
        let (pointer, sync) = take(unsafe { &*Arc::as_ptr(&own) });
        Ok((
            pointer,
            stream,
            Self {
                _sync: sync,
                _stream: own,
            },
        ))
    }
}

impl<'a, T: Element, const R: usize> BorrowedTensor<'a, T, R> {
    /// Of a part whose elements are of the type.
    fn of(part: Part<'a, R>) -> Self {
        Self {
            part,
            element: PhantomData,
        }
    }

    /// A tensor whose element `[0, ...]` is at `pointer`, with the distances in elements between neighbours on each axis, which
    /// may be negative or zero. Whatever the pointer is of no elements. Its uses are ordered by `stream`.
    ///
    /// # Errors
    /// The extents are too large; there are elements, and the pointer is null or no multiple of the element's size; the
    /// elements leave the address space; or the driver does not know the memory as one of the stream's GPU.
    ///
    /// # Safety
    /// * The elements are memory of the stream's device, initialised, for all of `'a`, and on a GPU until what the stream has
    ///   been asked by then is done.
    /// * Nothing writes them that is not ordered with the stream; on the CPU device nothing does for all of `'a`.
    pub unsafe fn from_raw(
        stream: &Stream,
        pointer: u64,
        extents: [usize; R],
        strides: [i64; R],
    ) -> Result<Self, TensorError> {
        // SAFETY: as the caller promises.
        unsafe { Part::new::<T>(stream, pointer, extents, strides, Word::Asked, None) }.map(Self::of)
    }

    /// As [`from_raw`](Self::from_raw), of memory that the driver is not asked about, which takes longer than all else here: a
    /// framework that says which GPU its tensors are on knows.
    ///
    /// # Errors
    /// As there, but for what the driver knows.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn from_raw_unasked(
        stream: &Stream,
        pointer: u64,
        extents: [usize; R],
        strides: [i64; R],
    ) -> Result<Self, TensorError> {
        // SAFETY: as the caller promises.
        unsafe { Part::new::<T>(stream, pointer, extents, strides, Word::Taken, None) }.map(Self::of)
    }

    /// A tensor without gaps over the first elements of a slice of cudarc, borrowed like it. Its uses are ordered by the slice's
    /// own stream, and where the slice's context tracks events, other streams of cudarc's wait for them once this is dropped.
    ///
    /// While the slice's stream is captured, events cannot be waited for: make it before the capture.
    ///
    /// # Errors
    /// The extents have more elements than the slice, or the slice is of another GPU, or of the default stream of each thread.
    pub fn from_cudarc(device: &Device, slice: CudaView<'a, T>, extents: [usize; R]) -> Result<Self, TensorError> {
        let geometry = within(extents, slice.len(), T::TYPE.size())?;
        let own = slice.stream().clone();
        let (pointer, stream, turn) = Turn::new(device, own, |own| slice.view_ptr(own))?;
        // SAFETY: the slice is borrowed for `'a` and holds as many elements. It is freed on its own stream, which comes after every
        // use at once, even if this is never dropped.
        unsafe { Part::new::<T>(&stream, pointer, extents, geometry.strides, Word::Asked, Some(turn)) }.map(Self::of)
    }

    /// All of it.
    pub fn view(&self) -> TensorView<'_, T, R> {
        TensorView::new(&self.part.memory, self.part.geometry)
    }

    /// The device whose memory it is.
    pub fn device(&self) -> &Device {
        &self.part.memory.device
    }
}

impl<'a, T: Element, const R: usize> BorrowedTensorMut<'a, T, R> {
    /// Of a part whose elements are of the type.
    fn of(part: Part<'a, R>) -> Self {
        Self {
            part,
            element: PhantomData,
        }
    }

    /// As [`BorrowedTensor::from_raw`].
    ///
    /// # Errors
    /// As there. That two of its elements have one place is an error of the launches that could write them.
    ///
    /// # Safety
    /// As there, and nothing else reads the elements either that is not ordered with the stream.
    pub unsafe fn from_raw(
        stream: &Stream,
        pointer: u64,
        extents: [usize; R],
        strides: [i64; R],
    ) -> Result<Self, TensorError> {
        // SAFETY: as the caller promises.
        unsafe { Part::new::<T>(stream, pointer, extents, strides, Word::Asked, None) }.map(Self::of)
    }

    /// As [`BorrowedTensor::from_raw_unasked`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Safety
    /// As for [`from_raw`](Self::from_raw).
    pub unsafe fn from_raw_unasked(
        stream: &Stream,
        pointer: u64,
        extents: [usize; R],
        strides: [i64; R],
    ) -> Result<Self, TensorError> {
        // SAFETY: as the caller promises.
        unsafe { Part::new::<T>(stream, pointer, extents, strides, Word::Taken, None) }.map(Self::of)
    }

    /// As [`BorrowedTensor::from_cudarc`].
    ///
    /// # Errors
    /// As there.
    pub fn from_cudarc(device: &Device, slice: CudaViewMut<'a, T>, extents: [usize; R]) -> Result<Self, TensorError> {
        let geometry = within(extents, slice.len(), T::TYPE.size())?;
        let own = slice.stream().clone();
        let (pointer, stream, turn) = Turn::new(device, own, |own| slice.view_ptr_mut(own))?;
        // SAFETY: as for `BorrowedTensor`, and the slice is borrowed mutably.
        unsafe { Part::new::<T>(&stream, pointer, extents, geometry.strides, Word::Asked, Some(turn)) }.map(Self::of)
    }

    /// All of it, to be read.
    pub fn view(&self) -> TensorView<'_, T, R> {
        TensorView::new(&self.part.memory, self.part.geometry)
    }

    /// All of it, to be written.
    pub fn view_mut(&mut self) -> TensorViewMut<'_, T, R> {
        TensorViewMut::new(&self.part.memory, self.part.geometry)
    }

    /// The device whose memory it is.
    pub fn device(&self) -> &Device {
        &self.part.memory.device
    }
}

impl<'a, T: Element, const R: usize> From<&'a BorrowedTensor<'_, T, R>> for TensorView<'a, T, R> {
    fn from(tensor: &'a BorrowedTensor<'_, T, R>) -> Self {
        tensor.view()
    }
}

impl<'a, T: Element, const R: usize> From<&'a mut BorrowedTensorMut<'_, T, R>> for TensorViewMut<'a, T, R> {
    fn from(tensor: &'a mut BorrowedTensorMut<'_, T, R>) -> Self {
        tensor.view_mut()
    }
}

impl<T: Element, const R: usize> fmt::Debug for BorrowedTensor<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "borrowed {:?}", self.view())
    }
}

impl<T: Element, const R: usize> fmt::Debug for BorrowedTensorMut<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "borrowed mutable {:?}", self.view())
    }
}

/// A tensor without gaps that a slice of so many elements holds.
fn within<const R: usize>(extents: [usize; R], len: usize, size: usize) -> Result<Geometry<R>, TensorError> {
    let geometry = Geometry::contiguous(extents, size)?;
    match geometry.len() <= len {
        true => Ok(geometry),
        false => Err(TensorError::NotWithin {
            extents: extents.to_vec(),
            strides: geometry.strides.to_vec(),
            bytes: len.saturating_mul(size) as u64,
        }),
    }
}

/// A tensor's memory and where its elements are in it, of memory that others own.
///
/// # Safety
/// As for [`BorrowedTensorMut::from_raw`], as long as the memory is used.
pub(super) unsafe fn borrow<T: Element, const R: usize>(
    stream: &Stream,
    pointer: u64,
    extents: [usize; R],
    strides: [i64; R],
    word: Word,
) -> Result<(TensorMemory, Geometry<R>), TensorError> {
    let size = T::TYPE.size();
    let (geometry, bytes) = Geometry::strided(extents, strides, size)?;
    // Of no elements there is no place.
    let pointer = if bytes == 0 { size as u64 } else { pointer };
    if pointer == 0 {
        let extents = extents.to_vec();
        return Err(TensorError::Nowhere { extents });
    }
    if !pointer.is_multiple_of(size as u64) {
        return Err(TensorError::Misaligned {
            address: pointer,
            element_bytes: size,
        });
    }
    let lowest = pointer
        .checked_sub((geometry.offset * size) as u64)
        .filter(|&at| at > 0);
    let end = lowest.and_then(|lowest| lowest.checked_add(bytes as u64));
    let (Some(lowest), Some(_)) = (lowest, end) else {
        return Err(TensorError::NotWithin {
            extents: extents.to_vec(),
            strides: strides.to_vec(),
            bytes: u64::MAX,
        });
    };
    let (device, hardware) = (stream.device().clone(), stream.device().hardware());
    let storage = match (stream.as_cuda(), hardware.as_cuda()) {
        (Some(queue), Some(cuda)) => {
            if bytes > 0 && word == Word::Asked {
                cuda.check_memory(lowest, bytes)?;
            }
            // SAFETY: as the caller promises.
            unsafe { Storage::borrowed_from_cuda(hardware, queue, lowest, bytes) }?
        }
        // SAFETY: as the caller promises; the address is that of a pointer.
        _ => unsafe { Storage::borrowed_from_host(hardware, lowest as usize, bytes) },
    };
    Ok((TensorMemory { storage, device }, geometry))
}

impl<'a, const R: usize> Part<'a, R> {
    /// # Safety
    /// As for [`borrow`], for all of `'a`.
    unsafe fn new<T: Element>(
        stream: &Stream,
        pointer: u64,
        extents: [usize; R],
        strides: [i64; R],
        word: Word,
        turn: Option<Turn<'a>>,
    ) -> Result<Self, TensorError> {
        // SAFETY: as the caller promises.
        let (memory, geometry) = unsafe { borrow::<T, R>(stream, pointer, extents, strides, word) }?;
        Ok(Self {
            memory,
            geometry,
            _turn: turn,
        })
    }
}
