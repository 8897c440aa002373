//! How long a launch takes where it runs.

use std::time::{Duration, Instant};

use crate::device::{Destination, Device, Queue};
use crate::error::{DeviceError, LaunchError};
use crate::hardware::cuda::{CudaEvent, CudaStream};
use crate::specialize::Reading;

/// Two points in a stream.
struct Between([CudaEvent; 2]);

/// A launch that has run.
struct Done(Duration);

impl Reading for Between {
    fn read(&self) -> Option<Duration> {
        let [start, end] = &self.0;
        end.is_passed().ok().filter(|is_passed| *is_passed)?;
        let micros = start.elapsed_us(end).ok()?;
        Some(Duration::from_secs_f64(micros.max(0.0) / 1e6))
    }
}

impl Reading for Done {
    fn read(&self) -> Option<Duration> {
        Some(self.0)
    }
}

/// Puts a launch into a stream, and a measurement around it; without one if the launch goes into a graph.
pub(super) fn around(
    to: Destination<'_>,
    put: impl FnOnce() -> Result<(), LaunchError>,
) -> Result<Option<Box<dyn Reading>>, LaunchError> {
    let Queue::Cuda(cuda) = to.queue else {
        // What is captured is not done now.
        if to.is_capturing()? {
            return put().map(|()| None);
        }
        let started = Instant::now();
        put()?;
        return Ok(Some(Box::new(Done(started.elapsed()))));
    };
    let start = match cuda.is_capturing()? {
        true => None,
        false => event(to.device, cuda).ok(),
    };
    put()?;
    // What fails about a measurement is no error of the launch.
    let Some(start) = start else { return Ok(None) };
    let end = event(to.device, cuda).ok();
    Ok(end.map(|end| -> Box<dyn Reading> { Box::new(Between([start, end])) }))
}

fn event(device: &Device, cuda: &CudaStream) -> Result<CudaEvent, DeviceError> {
    let device = device.as_cuda().ok_or(DeviceError::NotCuda { what: "an event" })?;
    let event = CudaEvent::timed(device)?;
    event.record(cuda)?;
    Ok(event)
}
