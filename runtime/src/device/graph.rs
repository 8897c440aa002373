//! Graphs that own what they use.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tilewright_dsl::call::{Call, Definition};

use super::{Device, Stream};
use crate::error::DeviceError;
use crate::hardware::capture::{self, CaptureId, PlaceInGraph};
use crate::hardware::cuda::{CudaEvent, CudaGraph};
use crate::hardware::memory::put_kept_in_order;

/// Launches captured once and launched many times. It keeps the memory that they use, and the kernels.
///
/// A replay does what its launches would do at that moment with what is in the memory then, counts in device memory included;
/// it is ordered after all that any stream was asked to do with that memory before, and before what comes later. What its kernels
/// report, [`Device::synchronize`] returns. Its launches can be [updated](Graph::update).
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
    work: Work,
    /// Open as long as the graph, and with it the reports of its kernels.
    device: Device,
}

enum Work {
    Cuda(CudaGraph),
    Host { id: CaptureId, launches: Vec<HostLaunch> },
}

/// A launch of a kernel that has gone into a graph, by which [`Graph::update`] finds it. It keeps nothing alive.
#[derive(Debug, Clone)]
pub struct CapturedLaunch {
    place: PlaceInGraph,
    pub(crate) kernel: Definition,
    pub(crate) is_overlapping: bool,
}

impl CapturedLaunch {
    pub(crate) fn new(place: PlaceInGraph, call: &Call<'_>) -> Self {
        Self {
            place,
            kernel: call.definition().clone(),
            is_overlapping: call.is_overlapping(),
        }
    }
}

/// A launch of the CPU device that is kept to be done later, again and again.
pub(crate) type HostLaunch = Box<dyn Fn() + Send + Sync>;

/// What is captured of the CPU device.
pub(crate) struct HostCapture {
    id: CaptureId,
    borrowing: bool,
    /// `None` once the capture has ended.
    launches: Mutex<Option<Vec<HostLaunch>>>,
}

impl HostCapture {
    pub(crate) fn is_open(&self) -> bool {
        self.launches.lock().is_some()
    }

    pub(crate) fn allows_borrowing(&self) -> bool {
        self.borrowing
    }

    /// Keeps a launch, and says where; `None` if the capture has ended.
    pub(crate) fn add(&self, launch: HostLaunch) -> Option<PlaceInGraph> {
        let mut launches = self.launches.lock();
        let launches = launches.as_mut()?;
        launches.push(launch);
        Some(PlaceInGraph {
            capture: self.id,
            at: launches.len() - 1,
        })
    }
}

impl Device {
    /// Captures what the body asks of the stream that it is given, instead of doing it. Nobody else has that stream, so
    /// nothing but the body's launches is in the graph; the body gives it to nobody. The CPU device does what the graph holds
    /// when it is launched.
    ///
    /// # Errors
    /// What the body returns. Within the body it is an error to allocate, to transfer, to wait, to
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
        let work = match self.as_cuda() {
            Some(cuda) => Work::Cuda(cuda.capture(borrowing, |stream| body(&Stream::over(self, stream.clone())))?),
            None => self.capture_host(borrowing, body)?,
        };
        Ok(Graph {
            work,
            device: self.clone(),
        })
    }

    fn capture_host<E: From<DeviceError>>(
        &self,
        borrowing: bool,
        body: impl FnOnce(&Stream) -> Result<(), E>,
    ) -> Result<Work, E> {
        capture::refuse_within("another capture")?;
        let capture = Arc::new(HostCapture {
            id: CaptureId::new(),
            borrowing,
            launches: Mutex::new(Some(Vec::new())),
        });
        /// Ends in any case.
        struct Open<'a>(&'a HostCapture);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.launches.lock().take();
            }
        }
        let open = Open(&capture);
        capture::inside(|| body(&Stream::captured(self, capture.clone())))?;
        let launches = open.0.launches.lock().take().unwrap_or_default();
        drop(open);
        Ok(Work::Host {
            id: capture.id,
            launches,
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
        self.put(stream, |launch| launch())
    }

    /// Puts the captured launches into the device's own stream, waits for them, and says how long the device was at them. What
    /// they wait for, and the host's way to the device, is not counted.
    ///
    /// # Errors
    /// As for [`Graph::launch`].
    pub fn launch_timed(&mut self) -> Result<Duration, DeviceError> {
        let device = self.device.clone();
        let stream = device.stream();
        let (Some(cuda), Some(queue)) = (device.as_cuda(), stream.as_cuda()) else {
            let begin = Instant::now();
            self.launch_on(&stream)?;
            return Ok(begin.elapsed());
        };
        let (begin, end) = (CudaEvent::timed(cuda)?, CudaEvent::timed(cuda)?);
        self.put(&stream, |launch| {
            begin.record(queue)?;
            launch()?;
            end.record(queue)
        })?;
        Ok(Duration::from_secs_f64(begin.elapsed_us(&end)? / 1e6))
    }

    /// Puts into a stream what is `around` the captured launches, with them.
    fn put(
        &mut self,
        stream: &Stream,
        around: impl FnOnce(&mut dyn FnMut() -> Result<(), DeviceError>) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let hardware = self.device.hardware();
        if !hardware.shares_memory_with(stream.device().hardware()) {
            return Err(match (self.device.as_cuda(), stream.as_cuda()) {
                (Some(cuda), Some(queue)) => DeviceError::OtherDevice {
                    what: "the graph",
                    found: cuda.ordinal(),
                    expected: queue.ordinal(),
                },
                (Some(_), None) => DeviceError::NotCuda {
                    what: "a captured graph",
                },
                (None, _) => DeviceError::HostGraph,
            });
        }
        if stream.is_capturing()? {
            return Err(DeviceError::Capturing {
                what: "the launch of another graph",
            });
        }
        match (&mut self.work, stream.as_cuda()) {
            (Work::Cuda(graph), Some(queue)) => {
                let (work, kept) = graph.parts();
                // SAFETY: the graph keeps what its launches use, and every launch was checked when it was captured or updated;
                // memory that it does not own, `capture_borrowing` or `update_borrowing` was promised for. What uses the memory
                // otherwise is ordered with this.
                put_kept_in_order(hardware, queue, kept, || around(&mut || unsafe { work.launch(queue) }))?;
                hardware.mark(queue);
                Ok(())
            }
            (Work::Host { launches, .. }, _) => around(&mut || {
                launches.iter().for_each(|launch| launch());
                Ok(())
            }),
            (Work::Cuda(_), None) => Err(DeviceError::NotCuda {
                what: "a captured graph",
            }),
        }
    }

    /// The number of one of its launches among all; `None` of another graph's.
    pub(crate) fn place_of(&self, launch: &CapturedLaunch) -> Option<usize> {
        let id = match &self.work {
            Work::Cuda(graph) => graph.id(),
            Work::Host { id, .. } => Some(*id),
        };
        (id == Some(launch.place.capture)).then_some(launch.place.at)
    }

    /// The work of a GPU.
    pub(crate) fn as_cuda(&mut self) -> Option<&mut CudaGraph> {
        match &mut self.work {
            Work::Cuda(graph) => Some(graph),
            Work::Host { .. } => None,
        }
    }

    /// Puts another launch in the place of one, on the CPU device.
    pub(crate) fn replace(&mut self, at: usize, launch: HostLaunch) {
        if let Work::Host { launches, .. } = &mut self.work
            && let Some(place) = launches.get_mut(at)
        {
            *place = launch;
        }
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
