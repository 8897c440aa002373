//! Streams: what happens in which order.

#![allow(unsafe_code)]

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use cudarc::driver::{
    CudaContext, CudaStream as Stream, DriverError, result,
    sys::{self, CUevent_wait_flags, CUresult, CUstream, CUstreamCaptureStatus},
};
use parking_lot::Mutex;

use super::{
    CudaDevice, CudaEvent,
    driver::{self, During},
    graph::Kept,
};
use crate::error::DeviceError;

/// `CU_STREAM_LEGACY`: another name of the stream 0.
const LEGACY: usize = 1;
/// `CU_STREAM_PER_THREAD`: one name for a stream of each thread.
const PER_THREAD: usize = 2;

/// A queue of work for a GPU, done in order. Clones are the same stream.
#[derive(Clone, Debug)]
pub struct CudaStream {
    stream: Arc<Opened>,
    ordinal: u32,
    /// What a graph is to keep, of a stream that is captured into one that owns what it uses.
    kept: Option<Arc<Kept>>,
}

#[derive(Debug)]
struct Opened {
    stream: Arc<Stream>,
    /// Whether it may be captured: others have its handle, or work of a captured stream has come into it. As long as not,
    /// the driver need not be asked.
    may_be_captured: AtomicBool,
    /// Held while it is asked what breaks off a capture, so that none begins.
    asking: Mutex<()>,
    /// Whether it is another's, known by its handle alone: nothing of ours may need it when its owner is done with it.
    is_lent: bool,
}

impl CudaStream {
    pub(super) fn new(context: &Arc<CudaContext>, ordinal: u32) -> Result<Self, DeviceError> {
        let stream = context.new_stream().during("cuStreamCreate")?;
        Ok(Self::over(stream, ordinal, false, false))
    }

    fn over(stream: Arc<Stream>, ordinal: u32, may_be_captured: bool, is_lent: bool) -> Self {
        Self {
            stream: Arc::new(Opened {
                stream,
                may_be_captured: AtomicBool::new(may_be_captured),
                asking: Mutex::default(),
                is_lent,
            }),
            ordinal,
            kept: None,
        }
    }

    /// Uses a stream of cudarc: an engine's own, or one it has borrowed. It must be of the device's context.
    ///
    /// # Errors
    /// It is of another context, or the default stream of each thread, which is another stream wherever it is used.
    pub fn of(device: &CudaDevice, stream: Arc<Stream>) -> Result<Self, DeviceError> {
        if stream.context() != device.context() {
            let found = u32::try_from(stream.context().ordinal()).unwrap_or(u32::MAX);
            return Err(DeviceError::OtherDevice {
                what: "the stream",
                found,
                expected: device.ordinal(),
            });
        }
        Self::accept(stream, device.ordinal(), false)
    }

    /// Uses a stream by its handle, and does not own it.
    ///
    /// # Errors
    /// It is the default stream of each thread, which is another stream wherever it is used.
    ///
    /// # Safety
    /// The handle is one of the device's context, and the stream lives until the last clone of this, and of what
    /// [`CudaStream::stream`] lends, is dropped.
    pub unsafe fn from_raw(device: &CudaDevice, stream: CUstream) -> Result<Self, DeviceError> {
        // SAFETY: as the caller promises.
        let stream = unsafe { device.context().wrap_borrowed_stream(stream) };
        Self::accept(stream, device.ordinal(), true)
    }

    fn accept(stream: Arc<Stream>, ordinal: u32, is_lent: bool) -> Result<Self, DeviceError> {
        if stream.cu_stream() as usize == PER_THREAD {
            return Err(DeviceError::PerThreadStream);
        }
        Ok(Self::over(stream, ordinal, true, is_lent))
    }

    /// The same stream, whose launches a graph keeps what they use of.
    pub(crate) fn keeping(&self, kept: Arc<Kept>) -> Self {
        Self {
            kept: Some(kept),
            ..self.clone()
        }
    }

    pub(crate) fn kept(&self) -> Option<&Kept> {
        self.kept.as_deref()
    }

    /// Keeps something as long as the graph that this stream is being captured into, and says whether it is one that owns
    /// what it uses.
    pub(crate) fn keep<T: Any + Send + Sync>(&self, used: &Arc<T>) -> bool {
        match self.kept() {
            Some(kept) => {
                kept.keep(used.clone());
                true
            }
            None => false,
        }
    }

    /// What tells a stream from the others that exist.
    pub(crate) fn identity(&self) -> usize {
        match self.raw() as usize {
            LEGACY => 0,
            other => other,
        }
    }

    /// cudarc's stream. Who has it may capture it, so that from now on launches on it ask the driver whether that goes on.
    pub fn stream(&self) -> &Arc<Stream> {
        self.let_be_captured();
        &self.stream.stream
    }

    /// Notes that the stream may be captured from now on.
    pub(super) fn let_be_captured(&self) {
        if !self.may_be_captured() {
            let _asking = self.stream.asking.lock();
            self.stream.may_be_captured.store(true, Relaxed);
        }
    }

    /// Whether others have its handle, or work of a captured stream has come into it.
    pub(in crate::hardware) fn may_be_captured(&self) -> bool {
        self.stream.may_be_captured.load(Relaxed)
    }

    /// Whether it is another's, who lends its handle.
    pub(crate) fn is_lent(&self) -> bool {
        self.stream.is_lent
    }

    /// Whether nobody has the stream but this and another handle.
    pub(crate) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.stream) <= 2 && Arc::strong_count(&self.stream.stream) <= 1
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

    /// Whether everything in the stream is done, without waiting for it; `None` of one that may be captured, as asking would break
    /// that off.
    pub(in crate::hardware) fn is_done(&self) -> Result<Option<bool>, DeviceError> {
        self.bind()?;
        // Who waits there may wait for room in the stream.
        let Some(_asking) = self.stream.asking.try_lock() else {
            return Ok(Some(false));
        };
        if self.kept.is_some() || self.may_be_captured() {
            return Ok(None);
        }
        // SAFETY: the stream is alive while it is borrowed.
        match unsafe { sys::cuStreamQuery(self.raw()) }.result() {
            Err(DriverError(CUresult::CUDA_ERROR_NOT_READY)) => Ok(Some(false)),
            other => other.during("cuStreamQuery").map(|()| Some(true)),
        }
    }

    /// Lets what is asked of the stream from now on wait for an event, also one of another stream.
    ///
    /// # Errors
    /// The driver refuses, or the stream is one that [`Device::capture`](crate::Device::capture) captures.
    pub fn wait(&self, event: &CudaEvent) -> Result<(), DeviceError> {
        self.refuse_order()?;
        self.bind()?;
        let flags = CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        let _asking = (!self.may_be_captured()).then(|| self.stream.asking.lock());
        // SAFETY: stream and event are alive while they are borrowed.
        unsafe { result::stream::wait_event(self.raw(), event.raw(), flags) }.during("cuStreamWaitEvent")?;
        // Who waits for a stream that is captured is captured with it.
        if !self.may_be_captured() && self.ask_whether_capturing()? {
            self.stream.may_be_captured.store(true, Relaxed);
        }
        Ok(())
    }

    /// Lets what is asked of this stream from now on wait for all that another was asked so far.
    pub fn follow(&self, device: &CudaDevice, other: &CudaStream) -> Result<(), DeviceError> {
        if self.identity() == other.identity() {
            return Ok(());
        }
        let event = CudaEvent::new(device)?;
        event.record(other)?;
        self.wait(&event)
    }

    /// Whether what is asked of the stream goes into a graph at present.
    #[inline]
    pub fn is_capturing(&self) -> Result<bool, DeviceError> {
        match self.may_be_captured() {
            true => self.ask_whether_capturing(),
            false => Ok(false),
        }
    }

    fn ask_whether_capturing(&self) -> Result<bool, DeviceError> {
        self.bind()?;
        // SAFETY: the stream is alive while it is borrowed.
        let status = unsafe { result::stream::is_capturing(self.raw()) }.during("cuStreamIsCapturing")?;
        Ok(status != CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
    }

    /// An error if the stream is being captured into a graph that owns what it uses: whoever waited for the stream would be
    /// captured with it, and what it waited for is not part of the graph.
    pub(super) fn refuse_order(&self) -> Result<(), DeviceError> {
        match self.kept().is_some_and(Kept::is_open) {
            true => Err(DeviceError::Capturing {
                what: "an order between the captured stream and another",
            }),
            false => Ok(()),
        }
    }

    /// An error if the stream is being captured, else its context is current.
    pub(super) fn refuse_capture(&self, what: &'static str) -> Result<(), DeviceError> {
        match self.is_capturing()? {
            true => Err(DeviceError::Capturing { what }),
            false => self.bind(),
        }
    }

    /// Whether its handle alone says what it is, and nothing is lost by a call of the driver that fails: the legacy stream is
    /// that of the current context, and what fails in a capture ends it.
    #[inline]
    pub(super) fn names_its_context(&self) -> bool {
        self.identity() != 0 && self.kept.is_none() && !self.may_be_captured()
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        self.stream.stream.context()
    }

    #[inline]
    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        driver::bind(self.context())
    }

    #[inline]
    pub(super) fn raw(&self) -> CUstream {
        self.stream.stream.cu_stream()
    }
}
