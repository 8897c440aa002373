//! A GPU that is open.

#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::{CudaContext, result};
use parking_lot::Mutex;

use super::{
    CudaProperties, CudaStream,
    driver::{self, During},
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
}

impl CudaDevice {
    /// Opens a GPU by its number. The primary context is the one that torch and other libraries of the process use too.
    pub fn open(ordinal: u32) -> Result<Self, DeviceError> {
        let properties = CudaProperties::of(ordinal)?;
        let context = CudaContext::new(ordinal as usize).during("cuDevicePrimaryCtxRetain")?;
        Self::adopt(ordinal, properties, context)
    }

    /// Uses a GPU that is open through cudarc already, so that its streams and this device's are of one context.
    pub fn of(context: &Arc<CudaContext>) -> Result<Self, DeviceError> {
        driver::start()?;
        let ordinal = u32::try_from(context.ordinal()).unwrap_or(u32::MAX);
        driver::bind(context)?;
        Self::adopt(ordinal, CudaProperties::of(ordinal)?, context.clone())
    }

    fn adopt(ordinal: u32, properties: CudaProperties, context: Arc<CudaContext>) -> Result<Self, DeviceError> {
        // SAFETY: tracking orders cudarc's own slices between streams. None is made here, and a stream captured into a
        // graph must not wait for events of outside.
        unsafe { context.disable_event_tracking() };
        let stream = CudaStream::new(&context, ordinal)?;
        Ok(Self(Arc::new(Opened {
            ordinal,
            properties,
            context,
            stream,
            unfreed: Mutex::default(),
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

    /// cudarc's context.
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

    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        driver::bind(&self.0.context)
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
