//! Streams: in which order a device does its work.

use std::fmt;
use std::sync::Arc;

use super::{Device, HostCapture};
use crate::error::DeviceError;
use crate::hardware::cuda::{CudaEvent, CudaStream};
use crate::hardware::{Engine, Hardware};

/// A queue of launches on a device, done in order. Clones are the same stream.
#[derive(Clone, Debug)]
pub struct Stream {
    device: Device,
    queue: Queue,
}

#[derive(Clone)]
pub(crate) enum Queue {
    /// Work is done before the call that asks for it returns.
    Immediate,
    /// As long as it is captured, launches are kept instead.
    Captured(Arc<HostCapture>),
    /// A stream of a GPU.
    Cuda(CudaStream),
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Immediate => f.write_str("Immediate"),
            Self::Captured(_) => f.write_str("Captured"),
            Self::Cuda(stream) => stream.fmt(f),
        }
    }
}

/// Where a launch goes.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'s> {
    pub(crate) device: &'s Device,
    pub(crate) queue: &'s Queue,
}

impl Queue {
    /// The own one of some hardware.
    pub(super) fn own_of(hardware: &Hardware) -> Self {
        match hardware.engine() {
            Engine::Cpu => Self::Immediate,
            Engine::Cuda(cuda) => Self::Cuda(cuda.stream().clone()),
        }
    }
}

impl Destination<'_> {
    /// Whether what is launched there goes into a graph at present.
    pub(crate) fn is_capturing(self) -> Result<bool, DeviceError> {
        match self.queue {
            Queue::Immediate => Ok(false),
            Queue::Captured(capture) => Ok(capture.is_open()),
            Queue::Cuda(stream) => stream.is_capturing(),
        }
    }
}

impl Stream {
    pub(super) fn default_of(device: &Device) -> Self {
        Self {
            device: device.clone(),
            queue: device.own_queue().clone(),
        }
    }

    /// As a destination of launches.
    #[inline]
    pub(crate) fn destination(&self) -> Destination<'_> {
        Destination {
            device: &self.device,
            queue: &self.queue,
        }
    }

    pub(super) fn new_of(device: &Device) -> Result<Self, DeviceError> {
        let queue = match device.hardware().engine() {
            Engine::Cpu => Queue::Immediate,
            Engine::Cuda(cuda) => {
                let stream = cuda.new_stream()?;
                device.hardware().keep(&stream);
                Queue::Cuda(stream)
            }
        };
        Ok(Self {
            device: device.clone(),
            queue,
        })
    }

    /// A stream of cudarc, an engine's own for example, as a stream of `device`.
    ///
    /// # Errors
    /// The device is no GPU, the stream belongs to another one, or it is the default stream of each thread.
    pub fn from_cudarc(
        device: &Device,
        stream: Arc<super::cuda::cudarc::driver::CudaStream>,
    ) -> Result<Self, DeviceError> {
        let cuda = device.as_cuda().ok_or(DeviceError::NotCuda {
            what: "a stream of cudarc",
        })?;
        let stream = CudaStream::of(cuda, stream)?;
        device.hardware().keep(&stream);
        Ok(Self {
            device: device.clone(),
            queue: Queue::Cuda(stream),
        })
    }

    /// A stream by its handle (`CUstream`, `cudaStream_t`), which stays its owner's. Zero is the default stream. That
    /// [`Device::synchronize`] waits for it is not promised: its owner can.
    ///
    /// # Errors
    /// The device is no GPU, or it is the default stream of each thread.
    ///
    /// # Safety
    /// The handle is of the device's primary context, and its stream lives as long as this, its clones, and tensors that
    /// launches on it have used last.
    #[allow(unsafe_code)]
    pub unsafe fn from_raw(device: &Device, handle: usize) -> Result<Self, DeviceError> {
        let cuda = device.as_cuda().ok_or(DeviceError::NotCuda { what: "a CUDA stream" })?;
        // SAFETY: as the caller promises.
        let stream = unsafe { CudaStream::from_raw(cuda, handle as *mut _) }?;
        Ok(Self::over(device, stream))
    }

    /// A stream of the device that is known to live.
    pub(crate) fn over(device: &Device, stream: CudaStream) -> Self {
        Self {
            device: device.clone(),
            queue: Queue::Cuda(stream),
        }
    }

    /// A stream of the CPU device whose launches are kept.
    pub(super) fn captured(device: &Device, capture: Arc<HostCapture>) -> Self {
        Self {
            device: device.clone(),
            queue: Queue::Captured(capture),
        }
    }

    /// The device whose stream this is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The GPU's stream below this one, if the device is a GPU.
    pub fn as_cuda(&self) -> Option<&CudaStream> {
        match &self.queue {
            Queue::Immediate | Queue::Captured(_) => None,
            Queue::Cuda(stream) => Some(stream),
        }
    }

    /// Waits until everything in the stream is done. Traps are reported by [`Device::synchronize`].
    ///
    /// # Errors
    /// The device failed, or the stream is being captured.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.refuse_captured("waiting for the stream")?;
        match self.as_cuda() {
            Some(cuda) => cuda.synchronize(),
            None => {
                tilewright_dsl::interpret::synchronize();
                Ok(())
            }
        }
    }

    /// Lets what is asked of this stream from now on wait for what has been asked of `other` so far. Memory orders itself;
    /// this is for work that shares none.
    ///
    /// # Errors
    /// The driver refuses, for example while one of the streams is captured.
    pub fn wait_for(&self, other: &Stream) -> Result<(), DeviceError> {
        self.refuse_captured("an order between the captured stream and another")?;
        other.refuse_captured("an order between the captured stream and another")?;
        if let (Some(this), Some(source), Some(device)) = (self.as_cuda(), other.as_cuda(), other.device.as_cuda()) {
            let event = CudaEvent::new(device)?;
            event.record(source)?;
            this.wait(&event)?;
        }
        Ok(())
    }

    /// Whether what is asked of the stream goes into a graph at present.
    pub(crate) fn is_capturing(&self) -> Result<bool, DeviceError> {
        self.destination().is_capturing()
    }

    fn refuse_captured(&self, what: &'static str) -> Result<(), DeviceError> {
        match &self.queue {
            Queue::Captured(capture) if capture.is_open() => Err(DeviceError::Capturing { what }),
            _ => Ok(()),
        }
    }
}
