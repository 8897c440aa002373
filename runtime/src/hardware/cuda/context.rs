//! A GPU that is open.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{
    CudaContext, DriverError, result,
    sys::{self, CUmemorytype, CUpointer_attribute, CUresult},
};
use parking_lot::Mutex;

use super::{
    CudaProperties, CudaStream,
    driver::{self, During},
    event::KeptEvents,
};
use crate::error::DeviceError;

/// An open GPU: its primary context, and one stream. Clones are the same device.
#[derive(Clone)]
pub struct CudaDevice(Arc<Opened>);

struct Opened {
    ordinal: u32,
    properties: CudaProperties,
    context: Arc<CudaContext>,
    stream: CudaStream,
    /// Addresses whose owner was dropped while the stream was captured; the next allocation frees them.
    unfreed: Mutex<Vec<u64>>,
    kept_events: KeptEvents,
}

impl Drop for Opened {
    fn drop(&mut self) {
        if driver::bind(&self.context).is_ok() {
            self.kept_events.destroy();
        }
    }
}

impl CudaDevice {
    /// Opens a GPU by its number. The primary context is the one that torch and other libraries of the process use too.
    pub fn open(ordinal: u32) -> Result<Self, DeviceError> {
        let properties = CudaProperties::of(ordinal)?;
        let context = CudaContext::new(ordinal as usize).during("cuDevicePrimaryCtxRetain")?;
        Self::adopt(ordinal, properties, context)
    }

    /// Uses a GPU that is open through cudarc already, so that its streams and this device's are of one context. It is opened
    /// once more: nothing of its owner's handle is changed, neither whether events of slices are tracked, nor over how many
    /// streams, nor which errors wait there.
    ///
    /// # Errors
    /// The context is not its GPU's primary one.
    pub fn of(context: &Arc<CudaContext>) -> Result<Self, DeviceError> {
        driver::start()?;
        let ordinal = u32::try_from(context.ordinal()).unwrap_or(u32::MAX);
        let opened = Self::open(ordinal)?;
        match *opened.context() == *context {
            true => Ok(opened),
            false => Err(DeviceError::OtherContext { ordinal }),
        }
    }

    fn adopt(ordinal: u32, properties: CudaProperties, context: Arc<CudaContext>) -> Result<Self, DeviceError> {
        // With tracking on, the first stream of a handle waits for the whole context, which breaks captures and holds others up.
        // SAFETY: nobody else has this handle yet, so there are no slices of it to track.
        unsafe { context.disable_event_tracking() };
        let stream = CudaStream::new(&context, ordinal);
        // SAFETY: tracking is what it was.
        unsafe { context.enable_event_tracking() };
        Ok(Self(Arc::new(Opened {
            ordinal,
            properties,
            context,
            stream: stream?,
            unfreed: Mutex::default(),
            kept_events: KeptEvents::default(),
        })))
    }

    /// Its number.
    pub fn ordinal(&self) -> u32 {
        self.0.ordinal
    }

    /// What it is.
    pub fn properties(&self) -> &CudaProperties {
        &self.0.properties
    }

    /// The stream that orders transfers and the freeing of memory. It is not the legacy stream: it can be captured.
    pub fn stream(&self) -> &CudaStream {
        &self.0.stream
    }

    /// Another stream, which runs beside the first.
    pub fn new_stream(&self) -> Result<CudaStream, DeviceError> {
        CudaStream::new(&self.0.context, self.0.ordinal)
    }

    /// cudarc's context, by a handle of the device's own.
    pub fn context(&self) -> &Arc<CudaContext> {
        &self.0.context
    }

    /// Waits until the GPU has done everything asked of it, on every stream of the process. The driver breaks off any
    /// capture that is going on: to wait for one stream, ask that stream.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.bind()?;
        result::ctx::synchronize().during("cuCtxSynchronize")
    }

    /// The bytes of memory that are free, and those there are.
    pub fn memory(&self) -> Result<(usize, usize), DeviceError> {
        self.bind()?;
        result::mem_get_info().during("cuMemGetInfo")
    }

    /// Whether the driver knows bytes as memory that this GPU's kernels may use: its own, or the host's that is mapped.
    ///
    /// # Errors
    /// It does not.
    pub fn check_memory(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        self.bind()?;
        let foreign = |reason: String| DeviceError::NotItsMemory {
            address,
            bytes,
            device: format!("CUDA device {}", self.ordinal()),
            reason,
        };
        let last = address.saturating_add(bytes.saturating_sub(1) as u64);
        let mut at = address;
        loop {
            let Some(known) = known_at(at)? else {
                return Err(foreign(format!("the driver knows nothing at {at:#x}")));
            };
            if known.kind != CUmemorytype::CU_MEMORYTYPE_HOST as u32 && known.owner != self.ordinal() {
                return Err(foreign(format!("it is memory of CUDA device {}", known.owner)));
            }
            // Memory that is mapped piece by piece may have several allocations in it: its ends are asked for.
            if at == last || last < known.end {
                return Ok(());
            }
            at = last;
        }
    }

    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        driver::bind(&self.0.context)
    }

    pub(super) fn kept_events(&self) -> &KeptEvents {
        &self.0.kept_events
    }

    pub(super) fn unfreed(&self) -> &Mutex<Vec<u64>> {
        &self.0.unfreed
    }
}

impl std::fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CudaDevice({}, {})", self.0.ordinal, self.0.properties.name)
    }
}

/// What the driver knows of an address.
struct Known {
    kind: u32,
    /// The GPU, by its number.
    owner: u32,
    /// Where the allocation ends.
    end: u64,
}

/// Asks the driver about an address, all in one call: it is asked for every tensor of others. `None` if it knows nothing.
fn known_at(at: u64) -> Result<Option<Known>, DeviceError> {
    let (mut kind, mut owner, mut start, mut size) = (0u32, 0u32, 0u64, 0usize);
    let mut attributes = [
        CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
        CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
        CUpointer_attribute::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
        CUpointer_attribute::CU_POINTER_ATTRIBUTE_RANGE_SIZE,
    ];
    let mut values = [
        (&raw mut kind).cast::<c_void>(),
        (&raw mut owner).cast(),
        (&raw mut start).cast(),
        (&raw mut size).cast(),
    ];
    // SAFETY: there are as many values as attributes, each of the size of its attribute.
    let asked = unsafe {
        sys::cuPointerGetAttributes(
            attributes.len() as u32,
            attributes.as_mut_ptr(),
            values.as_mut_ptr(),
            at,
        )
    };
    match asked.result() {
        // Of an address that it does not know, everything is zero.
        Ok(()) if kind == 0 => Ok(None),
        Ok(()) => Ok(Some(Known {
            kind,
            owner,
            end: start.saturating_add(size as u64),
        })),
        Err(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE | CUresult::CUDA_ERROR_INVALID_CONTEXT)) => Ok(None),
        Err(error) => Err(error).during("cuPointerGetAttributes"),
    }
}
