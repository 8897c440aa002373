//! Tensors that cross to other frameworks and back by [DLPack](https://dmlc.github.io/dlpack/latest/), without a copy.
//!
//! What a framework hands over is a [`DLManagedTensorVersioned`], in Python in a capsule named `dltensor_versioned`. Whoever
//! takes it renames the capsule to `used_dltensor_versioned` and has to call its deleter once.
//!
//! ```
//! use tilewright_runtime::{Device, tensor::dlpack::DlpackTensor};
//!
//! let device = Device::cpu();
//! let tensor = device.upload(&[1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
//! let raw = tensor.into_dlpack(&device.stream())?.into_raw();
//! // SAFETY: it was made just now, and nobody else has it.
//! let back = unsafe { DlpackTensor::<f32, 2>::from_raw(&device.stream(), raw) }?;
//! assert_eq!(back.view().download()?, [1.0, 2.0, 3.0, 4.0]);
//! # Ok::<(), tilewright_runtime::TensorError>(())
//! ```

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use tilewright_dsl::element::{Element, ElementType};

use super::borrowed::{Word, borrow};
use super::geometry::Geometry;
use super::memory::TensorMemory;
use super::{DeviceTensor, Hold, TensorView, TensorViewMut};
use crate::device::Stream;
use crate::error::{DeviceError, TensorError};
use crate::hardware::memory::put_in_order;

/// The version of DLPack that is spoken here. A tensor of another major version has another layout.
const VERSION: DLPackVersion = DLPackVersion { major: 1, minor: 0 };
/// The flag of a tensor that must not be written.
const READ_ONLY: u64 = 1;
/// The kinds of devices that are known here.
const CPU: i32 = 1;
const CUDA: i32 = 2;
const CUDA_HOST: i32 = 3;
const CUDA_MANAGED: i32 = 13;

/// A version of DLPack, as its header has it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DLPackVersion {
    /// Of the layout.
    pub major: u32,
    /// Of what the fields may hold.
    pub minor: u32,
}

/// A device, as DLPack's header has it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DLDevice {
    /// 1 the CPU, 2 a GPU of CUDA.
    pub device_type: i32,
    /// Its number.
    pub device_id: i32,
}

/// A type of elements, as DLPack's header has it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DLDataType {
    /// 0 signed, 1 unsigned, 2 float, 4 bfloat16, 6 bool, 10 float8_e4m3fn, 12 float8_e5m2.
    pub code: u8,
    /// Bits of one.
    pub bits: u8,
    /// Elements of one; 1 but for vectors.
    pub lanes: u16,
}

/// A tensor without an owner, as DLPack's header has it.
#[repr(C)]
#[derive(Debug)]
pub struct DLTensor {
    /// Where its memory is.
    pub data: *mut c_void,
    /// Whose memory it is.
    pub device: DLDevice,
    /// The number of axes.
    pub ndim: i32,
    /// The type of its elements.
    pub dtype: DLDataType,
    /// The extents, outermost first.
    pub shape: *mut i64,
    /// The distances in elements between neighbours on each axis; null for a tensor without gaps.
    pub strides: *mut i64,
    /// From `data` to the first element.
    pub byte_offset: u64,
}

/// A tensor with its owner, as DLPack's header has it from version 1 on.
#[repr(C)]
#[derive(Debug)]
pub struct DLManagedTensorVersioned {
    /// The version it was made for.
    pub version: DLPackVersion,
    /// The owner's own.
    pub manager_ctx: *mut c_void,
    /// Gives it back; nothing, if there is nothing to give back.
    pub deleter: Option<unsafe extern "C" fn(*mut DLManagedTensorVersioned)>,
    /// 1: it must not be written. 2: it is a copy.
    pub flags: u64,
    /// The tensor.
    pub dl_tensor: DLTensor,
}

/// A tensor that another framework has handed over, in place. Dropping it waits for the stream and gives it back.
pub struct DlpackTensor<T: Element, const R: usize> {
    memory: TensorMemory,
    geometry: Geometry<R>,
    stream: Stream,
    raw: NonNull<DLManagedTensorVersioned>,
    element: PhantomData<T>,
}

// SAFETY: DLPack's deleters may be called from any thread, and the rest is memory like any other.
unsafe impl<T: Element, const R: usize> Send for DlpackTensor<T, R> {}
// SAFETY: a shared reference reads the flags only.
unsafe impl<T: Element, const R: usize> Sync for DlpackTensor<T, R> {}

impl<T: Element, const R: usize> DlpackTensor<T, R> {
    /// Takes a tensor over. Its uses are ordered by `stream`, the one that its framework was told of (`__dlpack__(stream=...)`).
    ///
    /// # Errors
    /// It is of another major version, device, rank or type of elements than asked for, lies nowhere, is misaligned or is too
    /// large. Then it is not taken: it is the caller's still.
    ///
    /// # Safety
    /// * The pointer is to a managed tensor that follows DLPack and that nobody else will give back.
    /// * Until it is given back, nothing uses its memory that is not ordered with the stream; on the CPU device nothing does.
    pub unsafe fn from_raw(stream: &Stream, raw: *mut DLManagedTensorVersioned) -> Result<Self, TensorError> {
        let refused = |reason: String| TensorError::Dlpack { reason };
        let raw = NonNull::new(raw).ok_or_else(|| refused("is null".to_owned()))?;
        // SAFETY: the pointer is to a managed tensor. Its version comes first in every version.
        let version = unsafe { raw.cast::<DLPackVersion>().read() };
        if version.major != VERSION.major {
            let DLPackVersion { major, minor } = version;
            return Err(refused(format!(
                "is of version {major}.{minor}, and {}.x is understood: ask for `max_version=({0}, {})`",
                VERSION.major, VERSION.minor
            )));
        }
        // SAFETY: it is of a version with this layout.
        let tensor = unsafe { &raw.as_ref().dl_tensor };
        check_device(stream, tensor.device)?;
        let dtype = data_type(T::TYPE);
        if tensor.dtype != dtype {
            return Err(refused(format!(
                "has elements of {:?}, and {} is {dtype:?}",
                tensor.dtype,
                T::TYPE
            )));
        }
        if usize::try_from(tensor.ndim) != Ok(R) {
            return Err(refused(format!("has {} axes, and {R} were asked for", tensor.ndim)));
        }
        if tensor.shape.is_null() {
            return Err(refused("has no extents".to_owned()));
        }
        // SAFETY: there are as many extents as axes, and as many strides or none.
        let (shape, strides) = unsafe {
            let strides = (!tensor.strides.is_null()).then(|| slice::from_raw_parts(tensor.strides, R));
            (slice::from_raw_parts(tensor.shape, R), strides)
        };
        let mut extents = [0; R];
        for (extent, &given) in extents.iter_mut().zip(shape) {
            *extent = usize::try_from(given).map_err(|_| refused(format!("has an extent of {given}")))?;
        }
        let mut laid_out = Geometry::contiguous(extents, T::TYPE.size())?.strides;
        if let Some(strides) = strides {
            laid_out.copy_from_slice(strides);
        }
        let data = match tensor.data as u64 {
            0 => Some(0),
            data => data.checked_add(tensor.byte_offset),
        };
        let data = data.ok_or_else(|| refused("begins behind the address space".to_owned()))?;
        // SAFETY: as the caller promises.
        let (memory, geometry) = unsafe { borrow::<T, R>(stream, data, extents, laid_out, Word::Asked) }?;
        Ok(Self {
            memory,
            geometry,
            stream: stream.clone(),
            raw,
            element: PhantomData,
        })
    }

    /// Whether its owner does not allow it to be written.
    pub fn is_read_only(&self) -> bool {
        // SAFETY: it is there until it is given back.
        unsafe { self.raw.as_ref() }.flags & READ_ONLY != 0
    }

    /// All of it, to be read.
    pub fn view(&self) -> TensorView<'_, T, R> {
        TensorView::new(&self.memory, self.geometry)
    }

    /// All of it, to be written.
    ///
    /// # Errors
    /// It is read-only.
    pub fn view_mut(&mut self) -> Result<TensorViewMut<'_, T, R>, TensorError> {
        match self.is_read_only() {
            true => Err(TensorError::Dlpack {
                reason: "is read-only: copy it, or ask its owner for one that may be written".to_owned(),
            }),
            false => Ok(TensorViewMut::new(&self.memory, self.geometry)),
        }
    }
}

impl<T: Element, const R: usize> Drop for DlpackTensor<T, R> {
    fn drop(&mut self) {
        // Its owner may hand the memory out again at once.
        if let Err(error) = self.stream.synchronize() {
            return tracing::warn!(%error, "a DLPack tensor is not given back: it may be in use");
        }
        // SAFETY: it was taken over by `from_raw`, and is used no more.
        unsafe {
            if let Some(deleter) = self.raw.as_ref().deleter {
                deleter(self.raw.as_ptr());
            }
        }
    }
}

impl<T: Element, const R: usize> fmt::Debug for DlpackTensor<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DLPack {:?}", self.view())
    }
}

/// A tensor of ours on its way to another framework. Dropping it drops the tensor, unless it was [handed out](Self::into_raw).
#[derive(Debug)]
pub struct Dlpack(NonNull<DLManagedTensorVersioned>);

// SAFETY: it owns a tensor, which any thread may drop.
unsafe impl Send for Dlpack {}

/// What a managed tensor of ours owns. The managed tensor is its first field and points to the others.
#[repr(C)]
struct Exported<O, const R: usize> {
    managed: DLManagedTensorVersioned,
    shape: [i64; R],
    strides: [i64; R],
    _owner: O,
}

unsafe extern "C" fn delete<O, const R: usize>(managed: *mut DLManagedTensorVersioned) {
    if !managed.is_null() {
        // SAFETY: it is the first field of what `exported` made, and is given back once.
        drop(unsafe { Box::from_raw(managed.cast::<Exported<O, R>>()) });
    }
}

impl<T: Element, const R: usize> DeviceTensor<T, R> {
    /// Hands the tensor over to another framework, which uses it on `consumer` from now on: that stream comes after all that
    /// was asked of the tensor before. It is freed when the framework gives it back.
    ///
    /// # Errors
    /// The stream is another device's or being captured, or the driver refuses an event.
    pub fn into_dlpack(self, consumer: &Stream) -> Result<Dlpack, TensorError> {
        let (memory, geometry) = self.into_parts();
        pass_to(&memory, consumer)?;
        Ok(exported::<T, _, R>(&memory, geometry, memory.clone()))
    }
}

impl Hold {
    /// Shows the memory to another framework as a tensor without gaps, which uses it on `consumer` from now on: that stream comes
    /// after all that was asked of the memory before. The memory stays until the framework gives the tensor back.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tilewright_runtime::{Device, tensor::dlpack::DlpackTensor};
    ///
    /// let device = Device::cpu();
    /// let rows = device.upload(&[1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let hold = Arc::new(rows.hold());
    /// let shown = hold.to_dlpack::<f32, 1>(&device.stream(), [3])?;
    /// assert!(hold.to_dlpack::<f32, 1>(&device.stream(), [5]).is_err());
    /// drop((rows, hold));
    /// // SAFETY: it was made just now, and nobody else has it.
    /// let back = unsafe { DlpackTensor::<f32, 1>::from_raw(&device.stream(), shown.into_raw()) }?;
    /// assert_eq!(back.view().download()?, [1.0, 2.0, 3.0]);
    /// # Ok::<(), tilewright_runtime::TensorError>(())
    /// ```
    ///
    /// # Errors
    /// The tensor is larger than the memory; or as for [`DeviceTensor::into_dlpack`].
    pub fn to_dlpack<T: Element, const R: usize>(
        self: &Arc<Self>,
        consumer: &Stream,
        extents: [usize; R],
    ) -> Result<Dlpack, TensorError> {
        let geometry = Geometry::contiguous(extents, T::TYPE.size())?;
        if (geometry.len() * T::TYPE.size()) as u64 > self.bytes() {
            return Err(TensorError::NotWithin {
                extents: extents.to_vec(),
                strides: geometry.strides.to_vec(),
                bytes: self.bytes(),
            });
        }
        let memory = self.memory();
        pass_to(memory, consumer)?;
        Ok(exported::<T, _, R>(memory, geometry, self.clone()))
    }
}

/// A managed tensor of some memory, and of who keeps that.
fn exported<T: Element, O, const R: usize>(memory: &TensorMemory, geometry: Geometry<R>, owner: O) -> Dlpack {
    let device = match memory.device.as_cuda() {
        Some(cuda) => DLDevice {
            device_type: CUDA,
            device_id: i32::try_from(cuda.ordinal()).unwrap_or(i32::MAX),
        },
        None => DLDevice {
            device_type: CPU,
            device_id: 0,
        },
    };
    let data = memory.storage.pointer() as *mut c_void;
    let exported = Box::leak(Box::new(Exported {
        managed: DLManagedTensorVersioned {
            version: VERSION,
            manager_ctx: std::ptr::null_mut(),
            deleter: Some(delete::<O, R>),
            flags: 0,
            dl_tensor: DLTensor {
                data,
                device,
                ndim: R as i32,
                dtype: data_type(T::TYPE),
                shape: std::ptr::null_mut(),
                strides: std::ptr::null_mut(),
                byte_offset: (geometry.offset * T::TYPE.size()) as u64,
            },
        },
        shape: geometry.extents.map(|extent| extent as i64),
        strides: geometry.strides,
        _owner: owner,
    }));
    exported.managed.dl_tensor.shape = exported.shape.as_mut_ptr();
    exported.managed.dl_tensor.strides = exported.strides.as_mut_ptr();
    Dlpack(NonNull::from(exported).cast())
}

impl Dlpack {
    /// The same tensor, marked as one that must not be written.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        // SAFETY: it is there until it is handed out, and nobody else has it.
        unsafe { self.0.as_mut() }.flags |= READ_ONLY;
        self
    }

    /// Hands it out, in Python in a capsule named `dltensor_versioned`. Whoever takes it calls its deleter once.
    pub fn into_raw(self) -> *mut DLManagedTensorVersioned {
        ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Drop for Dlpack {
    fn drop(&mut self) {
        // SAFETY: it was not handed out.
        unsafe {
            if let Some(deleter) = self.0.as_ref().deleter {
                deleter(self.0.as_ptr());
            }
        }
    }
}

/// Lets another framework use memory on a stream that comes after all that was asked of the memory before.
fn pass_to(memory: &TensorMemory, consumer: &Stream) -> Result<(), TensorError> {
    let hardware = memory.storage.hardware();
    if !hardware.shares_memory_with(consumer.device().hardware()) {
        return Err(TensorError::Dlpack {
            reason: format!("is on {hardware}, and its consumer on {}", consumer.device()),
        });
    }
    if let Some(queue) = consumer.as_cuda() {
        if queue.is_capturing()? {
            let what = "handing a tensor over";
            return Err(DeviceError::Capturing { what }.into());
        }
        let used = std::iter::once(&memory.storage);
        put_in_order(hardware, queue, used, || Ok::<_, DeviceError>(()))?;
    }
    Ok(())
}

/// Whether a tensor's memory is the stream's device's.
fn check_device(stream: &Stream, found: DLDevice) -> Result<(), TensorError> {
    let fits = match stream.device().as_cuda() {
        None => [CPU, CUDA_HOST].contains(&found.device_type),
        Some(cuda) => {
            let same = u32::try_from(found.device_id) == Ok(cuda.ordinal());
            found.device_type == CUDA && same || [CUDA_HOST, CUDA_MANAGED].contains(&found.device_type)
        }
    };
    match fits {
        true => Ok(()),
        false => Err(TensorError::Dlpack {
            reason: format!("is on {found:?}, and the stream is one of {}", stream.device()),
        }),
    }
}

fn data_type(element: ElementType) -> DLDataType {
    let code = match element {
        ElementType::I8 | ElementType::I16 | ElementType::I32 | ElementType::I64 => 0,
        ElementType::U8 | ElementType::U16 | ElementType::U32 | ElementType::U64 => 1,
        ElementType::F16 | ElementType::F32 | ElementType::F64 => 2,
        ElementType::BF16 => 4,
        ElementType::Bool => 6,
        ElementType::F8E4M3 => 10,
        ElementType::F8E5M2 => 12,
    };
    DLDataType {
        code,
        bits: (element.size() * 8) as u8,
        lanes: 1,
    }
}
