//! Streams: what happens in which order.

#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaStream as Stream, result,
    sys::{CUstream, CUstreamCaptureStatus},
};

use super::{
    CudaDevice, CudaEvent,
    driver::{self, During},
};
use crate::error::DeviceError;

/// A queue of work for a GPU, done in order. Clones are the same stream.
#[derive(Clone, Debug)]
pub struct CudaStream {
    stream: Arc<Stream>,
    ordinal: u32,
}

impl CudaStream {
    pub(super) fn new(context: &Arc<CudaContext>, ordinal: u32) -> Result<Self, DeviceError> {
        Ok(Self {
            stream: context.new_stream().during("cuStreamCreate")?,
            ordinal,
        })
    }

    /// Uses a stream of cudarc: an engine's own, or one it has borrowed. It must be of the device's context.
    pub fn of(device: &CudaDevice, stream: Arc<Stream>) -> Result<Self, DeviceError> {
        if stream.context() != device.context() {
            let found = u32::try_from(stream.context().ordinal()).unwrap_or(u32::MAX);
            return Err(DeviceError::OtherDevice {
                what: "the stream",
                found,
                expected: device.ordinal(),
            });
        }
        Ok(Self {
            stream,
            ordinal: device.ordinal(),
        })
    }

    /// cudarc's stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The number of its device.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Waits until everything in the stream is done.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.refuse_capture("waiting for the stream")?;
        // SAFETY: the stream is alive while it is borrowed.
        unsafe { result::stream::synchronize(self.raw()) }.during("cuStreamSynchronize")
    }

    /// Lets what is asked of the stream from now on wait for an event, also one of another stream.
    pub fn wait(&self, event: &CudaEvent) -> Result<(), DeviceError> {
        self.bind()?;
        self.stream.wait(event.event()).during("cuStreamWaitEvent")
    }

    /// Lets what is asked of this stream from now on wait for all that another was asked so far.
    pub fn follow(&self, other: &CudaStream) -> Result<(), DeviceError> {
        if self.raw() == other.raw() {
            return Ok(());
        }
        other.bind()?;
        let event = other.stream.record_event(None).during("cuEventRecord")?;
        self.bind()?;
        self.stream.wait(&event).during("cuStreamWaitEvent")
    }

    /// Whether what is asked of the stream goes into a graph at present.
    pub fn is_capturing(&self) -> Result<bool, DeviceError> {
        self.bind()?;
        // SAFETY: the stream is alive while it is borrowed.
        let status = unsafe { result::stream::is_capturing(self.raw()) }.during("cuStreamIsCapturing")?;
        Ok(status != CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
    }

    /// An error if the stream is being captured, else its context is current.
    pub(super) fn refuse_capture(&self, what: &'static str) -> Result<(), DeviceError> {
        match self.is_capturing()? {
            true => Err(DeviceError::Capturing { what }),
            false => Ok(()),
        }
    }

    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        driver::bind(self.stream.context())
    }

    pub(super) fn raw(&self) -> CUstream {
        self.stream.cu_stream()
    }
}
