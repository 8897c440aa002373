//! Events: points in a stream.

#![allow(unsafe_code)]

use cudarc::driver::{
    DriverError, result,
    sys::{CUevent, CUevent_flags, CUresult},
};
use parking_lot::Mutex;

use super::{CudaDevice, CudaStream, driver::During};
use crate::error::DeviceError;

/// A point in a stream.
///
/// cudarc's own events are not used: each of its calls also takes away the error that an earlier drop has left in the
/// context, which may be an engine's.
#[derive(Debug)]
pub struct CudaEvent {
    device: CudaDevice,
    event: Raw,
    is_timed: bool,
}

/// How many timed events a device keeps for the next measurements: making one takes longer than a launch.
const MAX_KEPT: usize = 64;

/// The timed events of a device that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct KeptEvents(Mutex<Vec<Raw>>);

#[derive(Debug, Clone, Copy)]
struct Raw(CUevent);

// SAFETY: an event is an identifier within its context, and the driver may be called with it from any thread.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl KeptEvents {
    /// Gives them back to the driver. The context is current.
    pub(super) fn destroy(&self) {
        for Raw(event) in self.0.lock().drain(..) {
            // SAFETY: nothing refers to the event.
            let _ = unsafe { result::event::destroy(event) };
        }
    }
}

impl CudaEvent {
    /// An event that is nowhere yet, for order alone: it costs the GPU less than one that keeps the time.
    pub fn new(device: &CudaDevice) -> Result<Self, DeviceError> {
        Self::create(device, CUevent_flags::CU_EVENT_DISABLE_TIMING)
    }

    /// An event that is to be recorded, and will know the time at which the GPU passes it.
    pub fn timed(device: &CudaDevice) -> Result<Self, DeviceError> {
        let kept = device.kept_events().0.lock().pop();
        match kept {
            Some(event) => Ok(Self {
                device: device.clone(),
                event,
                is_timed: true,
            }),
            None => Self::create(device, CUevent_flags::CU_EVENT_DEFAULT),
        }
    }

    fn create(device: &CudaDevice, flags: CUevent_flags) -> Result<Self, DeviceError> {
        device.bind()?;
        let event = result::event::create(flags).during("cuEventCreate")?;
        Ok(Self {
            device: device.clone(),
            event: Raw(event),
            is_timed: flags == CUevent_flags::CU_EVENT_DEFAULT,
        })
    }

    /// Puts the event behind everything asked of the stream so far.
    ///
    /// # Errors
    /// The driver refuses, or the stream is one that [`Device::capture`](crate::Device::capture) captures.
    pub fn record(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        stream.refuse_order()?;
        self.device.bind()?;
        // SAFETY: event and stream are alive while they are borrowed.
        unsafe { result::event::record(self.raw(), stream.raw()) }.during("cuEventRecord")
    }

    /// Waits until the GPU has passed it.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.device.bind()?;
        // SAFETY: the event is alive while it is borrowed.
        unsafe { result::event::synchronize(self.raw()) }.during("cuEventSynchronize")
    }

    /// Whether the GPU has passed it.
    pub fn is_passed(&self) -> Result<bool, DeviceError> {
        self.device.bind()?;
        // SAFETY: the event is alive while it is borrowed.
        match unsafe { result::event::query(self.raw()) } {
            Err(DriverError(CUresult::CUDA_ERROR_NOT_READY)) => Ok(false),
            other => other.during("cuEventQuery").map(|()| true),
        }
    }

    /// The microseconds from this event to a later one, both [timed](CudaEvent::timed). Waits for both.
    pub fn elapsed_us(&self, end: &CudaEvent) -> Result<f64, DeviceError> {
        self.synchronize()?;
        end.synchronize()?;
        // SAFETY: the events are alive while they are borrowed; the driver refuses those without a time.
        let elapsed = unsafe { result::event::elapsed(self.raw(), end.raw()) };
        Ok(f64::from(elapsed.during("cuEventElapsedTime")?) * 1e3)
    }

    pub(super) fn raw(&self) -> CUevent {
        self.event.0
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        if self.is_timed {
            let mut kept = self.device.kept_events().0.lock();
            if kept.len() < MAX_KEPT {
                kept.push(self.event);
                return;
            }
        }
        if self.device.bind().is_ok() {
            // SAFETY: nothing refers to the event any more; streams that wait for it keep what they need of it.
            let _ = unsafe { result::event::destroy(self.raw()) };
        }
    }
}
