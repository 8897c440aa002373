//! The assembler that every driver has: from PTX to a cubin, which can be kept.

#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::OnceLock;

use cudarc::driver::sys::{self, CUjit_option, CUjitInputType, CUlinkState};

use super::CudaDevice;
use super::driver::{self, During};
use crate::{behind::ASSEMBLER, error::DeviceError, library};

/// What the driver may say about a text.
const LOG_BYTES: usize = 16 << 10;

/// Lets the driver assemble a text of PTX for a device. It breaks no capture that goes on on other threads.
///
/// # Errors
/// The driver refuses the text.
pub fn assemble(device: &CudaDevice, text: &str) -> Result<Vec<u8>, DeviceError> {
    let text = CString::new(text).map_err(|error| DeviceError::PtxWithNul {
        offset: error.nul_position(),
    })?;
    device.bind()?;
    let linked = || {
        let mut link = Link::new()?;
        let result = link.cubin(&text);
        let log = link.log();
        match result {
            Err(DeviceError::Driver { name, .. }) if !log.is_empty() => Err(DeviceError::RejectedPtx { name, log }),
            other => other,
        }
    };
    driver::beside_captures(|| ASSEMBLER.or_later(linked))
}

/// What tells this driver's assembler from others: its version, and the build of its library.
pub(crate) fn identity() -> Result<&'static str, DeviceError> {
    static IDENTITY: OnceLock<String> = OnceLock::new();
    if let Some(identity) = IDENTITY.get() {
        return Ok(identity);
    }
    let (major, minor) = driver::driver_version()?;
    let build = library::build_of_loaded("libcuda.so").unwrap_or_default();
    Ok(IDENTITY.get_or_init(|| format!("driver {major}.{minor} {build}")))
}

/// A linker of the driver's, with what it was given to write to.
struct Link {
    state: CUlinkState,
    log: Box<[u8; LOG_BYTES]>,
    /// The driver reads and writes them as long as there is the linker.
    options: Box<[CUjit_option; 2]>,
    values: Box<[*mut c_void; 2]>,
}

impl Link {
    fn new() -> Result<Self, DeviceError> {
        let mut link = Self {
            state: ptr::null_mut(),
            log: Box::new([0; LOG_BYTES]),
            options: Box::new([
                CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
                CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
            ]),
            values: Box::new([ptr::null_mut(); 2]),
        };
        // The number itself stands where others have a pointer.
        *link.values = [link.log.as_mut_ptr().cast(), ptr::without_provenance_mut(LOG_BYTES)];
        let (options, values) = (link.options.as_mut_ptr(), link.values.as_mut_ptr());
        // SAFETY: there are as many options as values, and the log has as many bytes as they say; all live as long as the
        // linker. A context is current.
        unsafe { sys::cuLinkCreate_v2(link.options.len() as u32, options, values, &mut link.state) }
            .result()
            .during("cuLinkCreate")?;
        Ok(link)
    }

    fn cubin(&mut self, text: &CString) -> Result<Vec<u8>, DeviceError> {
        let bytes = text.as_bytes_with_nul();
        // SAFETY: the text has as many bytes, and is copied by the call.
        unsafe {
            sys::cuLinkAddData_v2(
                self.state,
                CUjitInputType::CU_JIT_INPUT_PTX,
                bytes.as_ptr().cast_mut().cast(),
                bytes.len(),
                c"kernel".as_ptr(),
                0,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        }
        .result()
        .during("cuLinkAddData")?;
        let (mut cubin, mut size) = (ptr::null_mut(), 0);
        // SAFETY: the linker is live, and both point to what they are filled with.
        unsafe { sys::cuLinkComplete(self.state, &mut cubin, &mut size) }
            .result()
            .during("cuLinkComplete")?;
        // SAFETY: the driver keeps so many bytes there as long as there is the linker.
        Ok(unsafe { std::slice::from_raw_parts(cubin.cast::<u8>(), size) }.to_vec())
    }

    /// What it has said so far.
    fn log(&self) -> String {
        let end = self.log.iter().position(|byte| *byte == 0).unwrap_or(LOG_BYTES);
        String::from_utf8_lossy(&self.log[..end]).into_owned()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.state.is_null() {
            // SAFETY: it was created and is destroyed only here.
            let result = unsafe { sys::cuLinkDestroy(self.state) };
            if let Err(error) = result.result() {
                tracing::debug!(?error, "a linker was not destroyed");
            }
        }
    }
}
