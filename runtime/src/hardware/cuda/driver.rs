//! The driver as a whole: whether it is there, its version, its errors.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

use cudarc::driver::{
    CudaContext, DriverError, result,
    sys::{self, CUresult, CUstreamCaptureMode},
};
use libloading::Library;

use super::super::capture;
use crate::{behind::registering, error::DeviceError, library};

/// The oldest CUDA whose driver has every call made here.
const NEEDED: (u32, u32) = (12, 0);

/// The files that cudarc may ask the loader for, where it loads the driver itself: an application may have chosen that the
/// driver is linked, and then cudarc has no such list, nor a question whether the driver is there.
fn names() -> Vec<String> {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    let of = |name: &str| {
        let plain = [name.to_owned(), format!("{name}64")].map(|name| format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"));
        let versions = [1, 9, 10, 11, 12, 13].map(|version| format!("{DLL_PREFIX}{name}{DLL_SUFFIX}.{version}"));
        plain.into_iter().chain(versions)
    };
    ["cuda", "nvcuda"].into_iter().flat_map(of).collect()
}

/// The CUDA version that the driver supports: (13, 0). It needs no GPU.
pub fn driver_version() -> Result<(u32, u32), DeviceError> {
    let names = names();
    // The loader believes every file.
    if let Some((file, reason)) = library::deadly(&names) {
        return Err(DeviceError::DamagedDriver { file, reason });
    }
    // SAFETY: what the loader would take was looked at, and the driver's library does nothing when it is loaded.
    if !names.iter().any(|name| unsafe { Library::new(name) }.is_ok()) {
        return Err(DeviceError::MissingDriver);
    }
    let mut version = 0;
    // SAFETY: it points to a c_int.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .during("cuDriverGetVersion")?;
    let version = version.unsigned_abs();
    Ok((version / 1000, version % 1000 / 10))
}

/// How many GPUs this process may use.
pub fn device_count() -> Result<u32, DeviceError> {
    start()?;
    Ok(result::device::get_count().during("cuDeviceGetCount")?.unsigned_abs())
}

/// Initialises the driver. Nothing of cudarc may be called before: it panics where the library is missing.
pub(super) fn start() -> Result<(), DeviceError> {
    static STARTED: OnceLock<()> = OnceLock::new();
    if STARTED.get().is_some() {
        return Ok(());
    }
    let found = driver_version()?;
    if found < NEEDED {
        return Err(DeviceError::OldDriver { found, needed: NEEDED });
    }
    match registering(result::init) {
        Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => Err(DeviceError::NoDevice),
        other => other.during("cuInit"),
    }?;
    STARTED.get_or_init(|| ());
    Ok(())
}

/// `cuStreamGetCaptureInfo_v2`.
pub(super) type CaptureInfo = unsafe extern "C" fn(
    sys::CUstream,
    *mut sys::CUstreamCaptureStatus,
    *mut u64,
    *mut sys::CUgraph,
    *mut *const sys::CUgraphNode,
    *mut usize,
) -> u32;

/// What a stream that is captured was asked last: in the form of CUDA 12.0, which every driver has, but cudarc only for
/// some versions of CUDA.
pub(super) fn capture_info() -> Option<CaptureInfo> {
    static FOUND: OnceLock<Option<CaptureInfo>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let mut found = ptr::null_mut();
        let mut status = sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
        let (name, version) = (
            c"cuStreamGetCaptureInfo".as_ptr(),
            (NEEDED.0 * 1000 + NEEDED.1 * 10) as i32,
        );
        // SAFETY: the name ends in NUL, and both point to what they are filled with.
        let asked = unsafe { sys::cuGetProcAddress_v2(name, &mut found, version, 0, &mut status) };
        if asked.result().is_err() || found.is_null() {
            return None;
        }
        // SAFETY: that is the type of the function in this version.
        Some(unsafe { std::mem::transmute::<*mut c_void, CaptureInfo>(found) })
    })
}

/// Makes a context current on this thread.
///
/// cudarc's own method also reports errors of earlier drops, which belong to no call of ours.
pub(super) fn bind(context: &CudaContext) -> Result<(), DeviceError> {
    if result::ctx::get_current().during("cuCtxGetCurrent")? == Some(context.cu_ctx()) {
        return Ok(());
    }
    // SAFETY: the context is alive while it is borrowed.
    unsafe { result::ctx::set_current(context.cu_ctx()) }.during("cuCtxSetCurrent")
}

/// Does something that a graph captured elsewhere would forbid, such as loading a module on a background thread, without
/// breaking that capture.
pub(in crate::hardware) fn beside_captures<T>(body: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    let before = exchange(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED)?;
    let result = capture::outside(body);
    exchange(before)?;
    result
}

fn exchange(mut mode: CUstreamCaptureMode) -> Result<CUstreamCaptureMode, DeviceError> {
    // SAFETY: it points to a mode, and sets one of this thread only.
    unsafe { sys::cuThreadExchangeStreamCaptureMode(&mut mode) }
        .result()
        .during("cuThreadExchangeStreamCaptureMode")?;
    Ok(mode)
}

/// Gives a driver's failure the name of the call.
pub(super) trait During<T> {
    /// The same result, its error typed.
    fn during(self, call: &'static str) -> Result<T, DeviceError>;
}

impl<T> During<T> for Result<T, DriverError> {
    #[inline]
    fn during(self, call: &'static str) -> Result<T, DeviceError> {
        self.map_err(|error| described(call, error))
    }
}

#[cold]
fn described(call: &'static str, error: DriverError) -> DeviceError {
    let text = |text: Result<&std::ffi::CStr, _>| text.map(|text| text.to_string_lossy().into_owned()).ok();
    DeviceError::Driver {
        call,
        code: error.0 as u32,
        name: text(error.error_name()).unwrap_or_else(|| "a result without a name".to_owned()),
        message: text(error.error_string()).unwrap_or_else(|| "the driver does not say why".to_owned()),
    }
}
