//! Events: points in a stream.

use cudarc::driver::{CudaEvent as Event, sys::CUevent_flags};

use super::{
    CudaDevice, CudaStream,
    driver::{self, During},
};
use crate::error::DeviceError;

/// A point in a stream, with the time at which the GPU passed it.
#[derive(Debug)]
pub struct CudaEvent(Event);

impl CudaEvent {
    /// An event that is nowhere yet.
    pub fn new(device: &CudaDevice) -> Result<Self, DeviceError> {
        device.bind()?;
        Ok(Self(
            device
                .context()
                .new_event(Some(CUevent_flags::CU_EVENT_DEFAULT))
                .during("cuEventCreate")?,
        ))
    }

    /// Puts the event behind everything asked of the stream so far.
    pub fn record(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        driver::bind(self.0.context())?;
        self.0.record(stream.stream()).during("cuEventRecord")
    }

    /// Waits until the GPU has passed it.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        driver::bind(self.0.context())?;
        self.0.synchronize().during("cuEventSynchronize")
    }

    /// Whether the GPU has passed it.
    pub fn is_passed(&self) -> Result<bool, DeviceError> {
        driver::bind(self.0.context())?;
        self.0.try_is_complete().during("cuEventQuery")
    }

    /// The microseconds from this event to a later one. Waits for both.
    pub fn elapsed_us(&self, end: &CudaEvent) -> Result<f64, DeviceError> {
        driver::bind(self.0.context())?;
        Ok(f64::from(self.0.elapsed_ms(&end.0).during("cuEventElapsedTime")?) * 1e3)
    }

    pub(super) fn event(&self) -> &Event {
        &self.0
    }
}
