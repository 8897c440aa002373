//! Graphs that own what they use.

#![allow(unsafe_code)]

use std::fmt;

use super::{Device, Stream};
use crate::error::DeviceError;
use crate::hardware::cuda::CudaGraph;
use crate::hardware::memory::put_kept_in_order;

/// Launches captured once and launched many times. It keeps the memory that they use, and the kernels.
///
/// A replay does what its launches would do at that moment with what is in the memory then, counts in device memory included;
/// it is ordered after all that any stream was asked to do with that memory before, and before what comes later.
///
/// ```no_run
/// # use tilewright_runtime::{Device, DeviceError, Stream};
/// # fn step(stream: &Stream) -> Result<(), DeviceError> { Ok(()) }
/// let device = Device::cuda(0)?;
/// // Once before, so that every kernel is compiled and loaded.
/// step(&device.stream())?;
/// let mut graph = device.capture(|stream| step(stream))?;
/// for _ in 0..1000 {
///     graph.launch()?;
/// }
/// # Ok::<(), DeviceError>(())
/// ```
pub struct Graph {
    graph: CudaGraph,
    /// Open as long as the graph, and with it the reports of its kernels.
    device: Device,
}

impl Device {
    /// Captures what the body asks of the stream that it is given, instead of doing it. Nobody else has that stream, so
    /// nothing but the body's launches is in the graph; the body gives it to nobody.
    ///
    /// # Errors
    /// What the body returns; and the device is no GPU. Within the body it is an error to allocate, to transfer, to wait, to
    /// order streams ([`DeviceError::Capturing`]), to launch a kernel that is not loaded yet
    /// ([`LaunchError::Sealed`](crate::LaunchError::Sealed)), and to launch with memory that is only borrowed
    /// ([`DeviceError::BorrowedInGraph`]). The capture ends in any case, and the same can be tried again.
    pub fn capture<E: From<DeviceError>>(&self, body: impl FnOnce(&Stream) -> Result<(), E>) -> Result<Graph, E> {
        self.capture_and(false, body)
    }

    /// As [`Device::capture`]; and launches may use memory that is only borrowed, such as an engine's.
    ///
    /// # Errors
    /// As for [`Device::capture`].
    ///
    /// # Safety
    /// What tensors over others' memory promise holds, for all such memory in the graph, as long as the graph lives and until
    /// its last launch is done.
    pub unsafe fn capture_borrowing<E: From<DeviceError>>(
        &self,
        body: impl FnOnce(&Stream) -> Result<(), E>,
    ) -> Result<Graph, E> {
        self.capture_and(true, body)
    }

    fn capture_and<E: From<DeviceError>>(
        &self,
        borrowing: bool,
        body: impl FnOnce(&Stream) -> Result<(), E>,
    ) -> Result<Graph, E> {
        let cuda = self.as_cuda().ok_or(DeviceError::NotCuda {
            what: "a graph to capture",
        })?;
        let graph = cuda.capture(borrowing, |stream| body(&Stream::over(self, stream.clone())))?;
        Ok(Graph {
            graph,
            device: self.clone(),
        })
    }
}

impl Graph {
    /// Puts the captured launches into the device's own stream.
    ///
    /// # Errors
    /// The device failed, or the stream is being captured.
    pub fn launch(&mut self) -> Result<(), DeviceError> {
        self.launch_on(&self.device.stream())
    }

    /// Puts the captured launches into a stream.
    ///
    /// # Errors
    /// The stream is another device's or being captured, or the device failed.
    pub fn launch_on(&mut self, stream: &Stream) -> Result<(), DeviceError> {
        let hardware = self.device.hardware();
        let Some(queue) = stream.as_cuda() else {
            return Err(DeviceError::NotCuda {
                what: "a captured graph",
            });
        };
        if !hardware.shares_memory_with(stream.device().hardware()) {
            return Err(DeviceError::OtherDevice {
                what: "the graph",
                found: self.device.as_cuda().map_or(0, |cuda| cuda.ordinal()),
                expected: queue.ordinal(),
            });
        }
        if queue.is_capturing()? {
            return Err(DeviceError::Capturing {
                what: "the launch of another graph",
            });
        }
        let (graph, kept) = self.graph.parts();
        // SAFETY: the graph keeps what its launches use, and every launch was checked when it was captured; memory that it
        // does not own, `capture_borrowing` was promised for. What uses the memory otherwise is ordered with this.
        put_kept_in_order(hardware, queue, kept, || unsafe { graph.launch(queue) })
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph on {}", self.device)
    }
}
