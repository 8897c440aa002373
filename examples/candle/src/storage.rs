//! Storages of candle as memory that kernels reach.

use std::sync::OnceLock;

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, Error, Layout, Result, Shape};
use tilewright::dsl::element::Element;
use tilewright::prelude::*;
use tilewright::runtime::{BorrowedTensor, BorrowedTensorMut};

/// A storage of either back end.
pub trait Storage: BackendStorage {
    /// What is given back to candle when a launch has been asked for.
    type Guard<'a>
    where
        Self: 'a;

    /// The stream on which candle uses it.
    fn stream(&self) -> Result<Stream>;

    /// A storage like this for a result, all of which is going to be written.
    fn output(&self, shape: &Shape) -> Result<Self>;

    /// The address of its first element, to be read.
    fn address<'a>(&'a self, stream: &'a Stream) -> Result<(u64, Self::Guard<'a>)>;

    /// The address of its first element, to be written.
    fn address_mut<'a>(&'a mut self, stream: &'a Stream) -> Result<(u64, Self::Guard<'a>)>;
}

/// The extents and strides of a tensor of `R` axes, and the bytes before its first element.
fn place<const R: usize>(layout: &Layout, width: usize) -> Result<([usize; R], [i64; R], u64)> {
    let extents = layout.dims().try_into();
    let extents = extents.map_err(|_| Error::msg(format!("{:?} has not {R} axes", layout.dims())))?;
    let strides: Vec<i64> = layout.stride().iter().map(|&stride| stride as i64).collect();
    let strides = strides
        .try_into()
        .map_err(|_| Error::msg("as many strides as extents"))?;
    Ok((extents, strides, (layout.start_offset() * width) as u64))
}

/// A tensor of candle, to be read by launches on `stream`.
///
/// # Safety
/// `address` is that of the storage that `layout` is of, whose elements are as wide as `T`, for all of `'a`.
pub unsafe fn operand<'a, T: Element, const R: usize>(
    stream: &Stream,
    address: u64,
    layout: &Layout,
) -> Result<BorrowedTensor<'a, T, R>> {
    let (extents, strides, before) = place(layout, size_of::<T>())?;
    // SAFETY: as the caller promises; candle's layouts lie in their storages.
    unsafe { BorrowedTensor::from_raw(stream, address + before, extents, strides) }.map_err(Error::wrap)
}

/// A tensor of candle, to be written by launches on `stream`.
///
/// # Safety
/// As for [`operand`].
pub unsafe fn result<'a, T: Element, const R: usize>(
    stream: &Stream,
    address: u64,
    layout: &Layout,
) -> Result<BorrowedTensorMut<'a, T, R>> {
    let (extents, strides, before) = place(layout, size_of::<T>())?;
    // SAFETY: as the caller promises; candle's layouts lie in their storages.
    unsafe { BorrowedTensorMut::from_raw(stream, address + before, extents, strides) }.map_err(Error::wrap)
}

/// Does something with whatever elements a storage has.
macro_rules! whatever {
    ($storage:expr, $of:ident, $elements:ident => $do:expr) => {
        match $storage {
            $of::U8($elements) => $do,
            $of::U32($elements) => $do,
            $of::I16($elements) => $do,
            $of::I32($elements) => $do,
            $of::I64($elements) => $do,
            $of::BF16($elements) => $do,
            $of::F16($elements) => $do,
            $of::F32($elements) => $do,
            $of::F64($elements) => $do,
            $of::F8E4M3($elements) => $do,
            $of::F6E2M3($elements) => $do,
            $of::F6E3M2($elements) => $do,
            $of::F4($elements) => $do,
            $of::F8E8M0($elements) => $do,
        }
    };
}

impl Storage for CpuStorage {
    type Guard<'a> = ();

    fn stream(&self) -> Result<Stream> {
        static DEVICE: OnceLock<Device> = OnceLock::new();
        Ok(DEVICE.get_or_init(Device::cpu).stream())
    }

    fn output(&self, shape: &Shape) -> Result<Self> {
        self.device().zeros_impl(shape, self.dtype())
    }

    fn address<'a>(&'a self, _: &'a Stream) -> Result<(u64, ())> {
        Ok((whatever!(self, Self, elements => elements.as_ptr() as u64), ()))
    }

    fn address_mut<'a>(&'a mut self, _: &'a Stream) -> Result<(u64, ())> {
        Ok((whatever!(self, Self, elements => elements.as_mut_ptr() as u64), ()))
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    use candle_core::cuda_backend::CudaStorageSlice;
    use candle_core::cuda_backend::cudarc::driver::{CudaStream, DevicePtr, DevicePtrMut, SyncOnDrop};
    use candle_core::{CudaDevice, CudaStorage};

    use super::*;

    /// The stream of a device of candle's. Each is taken over once, with the device of ours that it is of.
    fn stream_of(device: &CudaDevice) -> Result<Stream> {
        static STREAMS: Mutex<Option<HashMap<usize, Stream>>> = Mutex::new(None);
        let theirs = device.cuda_stream();
        let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = streams.get_or_insert_default();
        // The stream is kept, so no other one has its address.
        let key = theirs.cu_stream() as usize;
        if let Some(stream) = streams.get(&key) {
            return Ok(stream.clone());
        }
        let ordinal = theirs.context().ordinal() as u32;
        let ours = Device::cuda(ordinal).map_err(Error::wrap)?;
        let stream = Stream::from_cudarc(&ours, theirs).map_err(Error::wrap)?;
        streams.insert(key, stream.clone());
        Ok(stream)
    }

    impl Storage for CudaStorage {
        /// cudarc's word that a slice is in use, for the streams of its context that track it.
        type Guard<'a> = SyncOnDrop<'a>;

        fn stream(&self) -> Result<Stream> {
            stream_of(&self.device)
        }

        fn output(&self, shape: &Shape) -> Result<Self> {
            // SAFETY: all of it is going to be written.
            unsafe { self.device.alloc_uninit(shape, self.dtype()) }
        }

        fn address<'a>(&'a self, stream: &'a Stream) -> Result<(u64, SyncOnDrop<'a>)> {
            let stream = under(stream)?;
            Ok(whatever!(&self.slice, CudaStorageSlice, elements => elements.device_ptr(stream)))
        }

        fn address_mut<'a>(&'a mut self, stream: &'a Stream) -> Result<(u64, SyncOnDrop<'a>)> {
            let stream = under(stream)?;
            Ok(whatever!(&mut self.slice, CudaStorageSlice, elements => elements.device_ptr_mut(stream)))
        }
    }

    /// The stream of candle's that ours was made of.
    fn under(stream: &Stream) -> Result<&CudaStream> {
        let stream = stream.as_cuda().map(|stream| &**stream.stream());
        stream.ok_or_else(|| Error::msg("the stream of a GPU"))
    }
}
