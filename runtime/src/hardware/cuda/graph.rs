//! Graphs: work captured once and launched many times.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::Arc;

use cudarc::driver::{
    CudaContext, result,
    sys::{CUgraph, CUgraphExec, CUgraphInstantiate_flags, CUstreamCaptureMode},
};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use super::{
    CudaDevice, CudaStream,
    driver::{self, During},
};
use crate::error::DeviceError;

thread_local! {
    /// Whether this thread is in the body of a capture.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
    /// What the graph of that capture keeps beside what its launches use.
    static KEPT: RefCell<Vec<Used>> = const { RefCell::new(Vec::new()) };
}

/// Does something with this thread marked as in a capture, or not.
fn marked<T>(within: bool, body: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            WITHIN.set(self.0);
        }
    }
    let _before = Before(WITHIN.replace(within));
    body()
}

/// Does something, and returns what was to be kept meanwhile.
fn keeping<T>(body: impl FnOnce() -> T) -> (T, Vec<Used>) {
    struct Before(Vec<Used>);
    impl Drop for Before {
        fn drop(&mut self) {
            KEPT.set(std::mem::take(&mut self.0));
        }
    }
    let _before = Before(KEPT.take());
    let result = body();
    (result, KEPT.take())
}

/// Does what a capture must not hold, made so that it does not disturb one.
pub(super) fn outside<T>(body: impl FnOnce() -> T) -> T {
    marked(false, body)
}

/// Whether this thread is in the body of a capture.
pub(super) fn is_within() -> bool {
    WITHIN.get()
}

/// Keeps something as long as the graph that this thread captures, if it does, and says whether.
#[cfg(feature = "nccl")]
pub(super) fn keep_within(used: Used) -> bool {
    let within = is_within();
    if within {
        KEPT.with_borrow_mut(|kept| kept.push(used));
    }
    within
}

/// An error in the body of a capture, on whatever stream: what is done there once would not be done by replays.
pub(super) fn refuse_within(what: &'static str) -> Result<(), DeviceError> {
    match is_within() {
        true => Err(DeviceError::Capturing { what }),
        false => Ok(()),
    }
}

/// Something that launches use.
pub(crate) type Used = Arc<dyn Any + Send + Sync>;

/// What the launches of a capture use: the graph owns it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Whether memory that is only borrowed may be used, on the word of whoever captures.
    borrowing: bool,
    /// `None` once the capture has ended.
    used: Mutex<Option<Vec<Used>>>,
}

impl Kept {
    pub(crate) fn new(borrowing: bool) -> Self {
        Self {
            borrowing,
            used: Mutex::new(Some(Vec::new())),
        }
    }

    pub(crate) fn allows_borrowing(&self) -> bool {
        self.borrowing
    }

    pub(crate) fn is_open(&self) -> bool {
        self.used.lock().is_some()
    }

    pub(super) fn keep(&self, used: Used) {
        if let Some(all) = &mut *self.used.lock() {
            all.push(used);
        }
    }

    /// What is kept so far, while the capture goes on: it does not end before this is dropped.
    pub(crate) fn open(&self) -> Option<MappedMutexGuard<'_, Vec<Used>>> {
        MutexGuard::try_map(self.used.lock(), Option::as_mut).ok()
    }
}

/// Work captured from a stream.
pub struct CudaGraph {
    work: Work,
    stream: CudaStream,
    /// Dropped after the work.
    used: Vec<Used>,
}

/// The work itself; nothing, where nothing was asked of the stream.
pub(crate) struct Work {
    graph: CUgraph,
    exec: CUgraphExec,
    context: Arc<CudaContext>,
}

// SAFETY: a graph may be used from any thread, one at a time: launching takes it exclusively, and nothing else is shared.
unsafe impl Send for Work {}
// SAFETY: a shared reference reaches the context only.
unsafe impl Sync for Work {}

impl CudaStream {
    /// Captures what the body asks of this stream, instead of doing it. The body must not wait, load or allocate: that is an
    /// error there. An error of the body ends the capture, and so does a panic.
    ///
    /// [`Device::capture`](crate::Device::capture) is for those who need no certain stream: it is safe.
    ///
    /// # Safety
    /// Nobody but the body asks anything of the stream meanwhile: it would be captured too.
    pub unsafe fn capture<E: From<DeviceError>>(&self, body: impl FnOnce() -> Result<(), E>) -> Result<CudaGraph, E> {
        self.refuse_capture("another capture")?;
        // Other threads, which may load modules meanwhile, are none of this capture's business.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive while it is borrowed.
        unsafe { result::stream::begin_capture(self.raw(), mode) }.during("cuStreamBeginCapture")?;
        let capture = Capture {
            stream: self,
            ended: false,
        };
        let (result, kept) = keeping(|| marked(true, body));
        let graph = capture.end();
        // What went wrong in the body says more than what is wrong with the capture because of it.
        result?;
        let mut graph = graph?;
        graph.used.extend(kept);
        graph.keep_once();
        Ok(graph)
    }
}

impl CudaDevice {
    /// Captures what the body asks of a stream that nobody else has, and keeps what its launches use.
    pub(crate) fn capture<E: From<DeviceError>>(
        &self,
        borrowing: bool,
        body: impl FnOnce(&CudaStream) -> Result<(), E>,
    ) -> Result<CudaGraph, E> {
        refuse_within("another capture")?;
        let stream = self.new_stream()?.keeping(Arc::new(Kept::new(borrowing)));
        // SAFETY: the body alone has the stream. To whom it gives it, the launches are captured and what they use is kept.
        unsafe { stream.capture(|| body(&stream)) }
    }
}

/// A capture that is going on, and ends in any case.
struct Capture<'a> {
    stream: &'a CudaStream,
    ended: bool,
}

impl Capture<'_> {
    fn end(mut self) -> Result<CudaGraph, DeviceError> {
        let (graph, used) = self.finish()?;
        let mut work = Work {
            graph,
            exec: ptr::null_mut(),
            context: self.stream.stream().context().clone(),
        };
        if !graph.is_null() {
            // SAFETY: the graph was captured just now.
            work.exec = unsafe { result::graph::instantiate(graph, CUgraphInstantiate_flags(0)) }
                .during("cuGraphInstantiate")?;
        }
        Ok(CudaGraph {
            work,
            stream: self.stream.clone(),
            used,
        })
    }

    fn finish(&mut self) -> Result<(CUgraph, Vec<Used>), DeviceError> {
        self.stream.bind()?;
        self.ended = true;
        // Held, so that no launch of another thread finds the capture neither going on nor ended.
        let mut kept = self.stream.kept().map(|kept| kept.used.lock());
        // SAFETY: the stream is alive while it is borrowed.
        let graph = unsafe { result::stream::end_capture(self.stream.raw()) };
        let used = kept.as_mut().and_then(|used| used.take()).unwrap_or_default();
        Ok((graph.during("cuStreamEndCapture")?, used))
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        match self.finish() {
            // SAFETY: nothing was made of the graph.
            Ok((graph, _used)) if !graph.is_null() => drop(unsafe { result::graph::destroy(graph) }),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "a capture was not ended"),
        }
    }
}

impl CudaGraph {
    /// Puts the captured work into the stream that it was captured from.
    ///
    /// # Safety
    ///
    /// The memory and the modules that the work uses are alive until it has run, and what [`launch`](super::launch) asks
    /// of its caller holds at every replay.
    pub unsafe fn launch(&mut self) -> Result<(), DeviceError> {
        // SAFETY: as the caller promises.
        unsafe { self.work.launch(&self.stream) }
    }

    /// The stream that it was captured from.
    pub fn stream(&self) -> &CudaStream {
        &self.stream
    }

    /// The work, and what it keeps.
    pub(crate) fn parts(&mut self) -> (&mut Work, &[Used]) {
        (&mut self.work, &self.used)
    }

    /// Keeps everything once.
    fn keep_once(&mut self) {
        self.used.sort_unstable_by_key(|used| Arc::as_ptr(used).cast::<()>());
        self.used.dedup_by_key(|used| Arc::as_ptr(used).cast::<()>());
    }
}

impl Work {
    /// Puts the work into a stream of the same device.
    ///
    /// # Safety
    ///
    /// As for [`CudaGraph::launch`].
    pub(crate) unsafe fn launch(&mut self, stream: &CudaStream) -> Result<(), DeviceError> {
        if self.exec.is_null() {
            return Ok(());
        }
        stream.bind()?;
        // SAFETY: graph and stream are alive while they are borrowed; the rest is the caller's promise.
        unsafe { result::graph::launch(self.exec, stream.raw()) }.during("cuGraphLaunch")
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Destroying a graph needs its context to be current.
        if self.graph.is_null() || driver::bind(&self.context).is_err() {
            return;
        }
        let _ = driver::beside_captures(|| {
            // SAFETY: nothing else refers to them. What still runs of the work, the driver lets end.
            unsafe {
                if !self.exec.is_null() {
                    let _ = result::graph::exec_destroy(self.exec);
                }
                let _ = result::graph::destroy(self.graph);
            }
            Ok(())
        });
    }
}
