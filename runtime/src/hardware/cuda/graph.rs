//! Graphs: work captured once and launched many times.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::{
    CudaContext, result,
    sys::{
        self, CUgraph, CUgraphExec, CUgraphInstantiate_flags, CUgraphNode, CUstreamCaptureMode, CUstreamCaptureStatus,
    },
};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use super::super::capture::{self, CaptureId, PlaceInGraph};
use super::{
    CudaDevice, CudaFunction, CudaStream,
    driver::{self, During},
};
use crate::error::DeviceError;

thread_local! {
    /// What the graph that this thread captures keeps beside what its launches use.
    static KEPT: RefCell<Vec<Used>> = const { RefCell::new(Vec::new()) };
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

/// Keeps something as long as the graph that this thread captures, if it does, and says whether.
#[cfg(feature = "nccl")]
pub(super) fn keep_within(used: Used) -> bool {
    let within = capture::is_within();
    if within {
        KEPT.with_borrow_mut(|kept| kept.push(used));
    }
    within
}

/// Something that launches use.
pub(crate) type Used = Arc<dyn Any + Send + Sync>;

/// A launch among the work of a graph.
#[derive(Clone, Copy, Debug)]
struct Node(CUgraphNode);

// SAFETY: it is a name of a part of a graph, which only who has the graph exclusively gives to the driver.
unsafe impl Send for Node {}
// SAFETY: nothing is shared by it.
unsafe impl Sync for Node {}

/// A kernel's launch in a graph.
#[derive(Debug)]
pub(crate) struct GraphLaunch {
    /// `None` where the driver does not say.
    node: Option<Node>,
    /// Whether it does anything.
    is_enabled: bool,
    /// The memory that it uses.
    used: Vec<Used>,
}

/// What the launches of a capture use: the graph owns it.
#[derive(Debug)]
pub(crate) struct Kept {
    id: CaptureId,
    /// Whether memory that is only borrowed may be used, on the word of whoever captures.
    borrowing: bool,
    /// `None` once the capture has ended.
    captured: Mutex<Option<Captured>>,
}

/// What has been captured so far.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// What is used by more than one launch, or by what is none.
    used: Vec<Used>,
    launches: Vec<GraphLaunch>,
}

impl Kept {
    pub(crate) fn new(borrowing: bool) -> Self {
        Self {
            id: CaptureId::new(),
            borrowing,
            captured: Mutex::new(Some(Captured::default())),
        }
    }

    pub(crate) fn allows_borrowing(&self) -> bool {
        self.borrowing
    }

    pub(crate) fn is_open(&self) -> bool {
        self.captured.lock().is_some()
    }

    pub(super) fn keep(&self, used: Used) {
        if let Some(captured) = &mut *self.captured.lock() {
            captured.used.push(used);
        }
    }

    /// What is kept so far, while the capture goes on: it does not end before this is dropped.
    pub(crate) fn open(&self) -> Option<MappedMutexGuard<'_, Captured>> {
        MutexGuard::try_map(self.captured.lock(), Option::as_mut).ok()
    }

    /// Where the launch is that was captured last.
    pub(crate) fn last(&self, captured: &Captured) -> Option<PlaceInGraph> {
        Some(PlaceInGraph {
            capture: self.id,
            at: captured.launches.len().checked_sub(1)?,
        })
    }
}

impl Captured {
    /// Keeps what something else than a launch uses.
    pub(crate) fn keep(&mut self, used: impl Iterator<Item = Used>) {
        self.used.extend(used);
    }

    fn find(&mut self, at: usize) -> Option<(&mut GraphLaunch, Node)> {
        let launch = self.launches.get_mut(at)?;
        let node = launch.node?;
        Some((launch, node))
    }

    /// Notes a launch that the stream was asked just now, and what it uses.
    pub(crate) fn add(&mut self, stream: &CudaStream, used: impl Iterator<Item = Used>) {
        self.launches.push(GraphLaunch {
            node: stream.last_node(),
            is_enabled: true,
            used: used.collect(),
        });
    }
}

/// Work captured from a stream.
pub struct CudaGraph {
    work: Work,
    stream: CudaStream,
    /// Of a capture that keeps what it uses.
    id: Option<CaptureId>,
    /// Dropped after the work.
    captured: Captured,
    /// All that is kept, once.
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
        self.let_be_captured();
        self.refuse_capture("another capture")?;
        // Other threads, which may load modules meanwhile, are none of this capture's business.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive while it is borrowed.
        unsafe { result::stream::begin_capture(self.raw(), mode) }.during("cuStreamBeginCapture")?;
        let capture = Capture {
            stream: self,
            ended: false,
        };
        let (result, kept) = keeping(|| capture::inside(body));
        let graph = capture.end();
        // What went wrong in the body says more than what is wrong with the capture because of it.
        result?;
        let mut graph = graph?;
        graph.captured.keep(kept.into_iter());
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
        capture::refuse_within("another capture")?;
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
        let (graph, captured) = self.finish()?;
        let mut work = Work {
            graph,
            exec: ptr::null_mut(),
            context: self.stream.context().clone(),
        };
        if !graph.is_null() {
            // SAFETY: the graph was captured just now.
            work.exec = unsafe { result::graph::instantiate(graph, CUgraphInstantiate_flags(0)) }
                .during("cuGraphInstantiate")?;
        }
        Ok(CudaGraph {
            work,
            stream: self.stream.clone(),
            id: self.stream.kept().map(|kept| kept.id),
            captured,
            used: Vec::new(),
        })
    }

    fn finish(&mut self) -> Result<(CUgraph, Captured), DeviceError> {
        self.stream.bind()?;
        self.ended = true;
        // Held, so that no launch of another thread finds the capture neither going on nor ended.
        let mut kept = self.stream.kept().map(|kept| kept.captured.lock());
        // SAFETY: the stream is alive while it is borrowed.
        let graph = unsafe { result::stream::end_capture(self.stream.raw()) };
        let captured = kept.as_mut().and_then(|captured| captured.take()).unwrap_or_default();
        Ok((graph.during("cuStreamEndCapture")?, captured))
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        match self.finish() {
            // SAFETY: nothing was made of the graph.
            Ok((graph, _)) if !graph.is_null() => drop(unsafe { result::graph::destroy(graph) }),
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

    /// Which capture it was made of; `None` of one that keeps nothing.
    pub(crate) fn id(&self) -> Option<CaptureId> {
        self.id
    }

    /// Lets a launch of the graph be one of `function`, of so many blocks, with these arguments, from the next launch of the
    /// graph on. `None` where the driver has not said which part of the graph it is.
    ///
    /// # Safety
    /// As for [`launch`](super::launch); and what the arguments name is among `used`.
    pub(crate) unsafe fn update(
        &mut self,
        at: usize,
        (function, blocks, block, shared_bytes): (&CudaFunction, u32, [u32; 3], u32),
        arguments: &mut [*mut c_void],
        used: impl Iterator<Item = Used>,
    ) -> Result<Option<()>, DeviceError> {
        let Some((launch, node)) = self.captured.find(at) else {
            return Ok(None);
        };
        // Both are kept until it is known which of them is used.
        let before = launch.used.len();
        launch.used.extend(used);
        // SAFETY: as the caller promises; the node is one of the graph, of a kernel.
        let mut result = unsafe { self.work.set(node, (function, blocks, block, shared_bytes), arguments) };
        if result.is_ok() {
            launch.used.drain(..before);
            if !launch.is_enabled {
                result = self.work.enable(node, true);
                launch.is_enabled = result.is_ok();
            }
        }
        // Whatever went wrong: the graph's launches are to be in order with all that it may use.
        self.keep_once();
        result.map(Some)
    }

    /// Lets a launch of the graph do nothing, until it is updated. `None` as for [`update`](Self::update).
    pub(crate) fn disable(&mut self, at: usize) -> Result<Option<()>, DeviceError> {
        let Some((launch, node)) = self.captured.find(at) else {
            return Ok(None);
        };
        if launch.is_enabled {
            self.work.enable(node, false)?;
            launch.is_enabled = false;
        }
        Ok(Some(()))
    }

    /// Lists all that is kept, once.
    fn keep_once(&mut self) {
        let Captured { used, launches } = &self.captured;
        let of_launches = launches.iter().flat_map(|launch| &launch.used);
        self.used = used.iter().chain(of_launches).cloned().collect();
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

    /// # Safety
    /// As for [`CudaGraph::update`].
    unsafe fn set(
        &mut self,
        Node(node): Node,
        (function, blocks, [x, y, z], shared_bytes): (&CudaFunction, u32, [u32; 3], u32),
        arguments: &mut [*mut c_void],
    ) -> Result<(), DeviceError> {
        let parameters = sys::CUDA_KERNEL_NODE_PARAMS {
            func: function.raw(),
            gridDimX: blocks,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: x,
            blockDimY: y,
            blockDimZ: z,
            sharedMemBytes: shared_bytes,
            kernelParams: arguments.as_mut_ptr(),
            extra: ptr::null_mut(),
            kern: ptr::null_mut(),
            ctx: ptr::null_mut(),
        };
        driver::bind(&self.context)?;
        // SAFETY: the node is one of the graph, and the values of the arguments are copied by the call.
        unsafe { sys::cuGraphExecKernelNodeSetParams_v2(self.exec, node, &parameters) }
            .result()
            .during("cuGraphExecKernelNodeSetParams")
    }

    fn enable(&mut self, Node(node): Node, is_enabled: bool) -> Result<(), DeviceError> {
        driver::bind(&self.context)?;
        // SAFETY: the node is one of the graph, of a kernel.
        unsafe { sys::cuGraphNodeSetEnabled(self.exec, node, is_enabled.into()) }
            .result()
            .during("cuGraphNodeSetEnabled")
    }
}

impl CudaStream {
    /// The work that the stream was asked last, while it is captured.
    fn last_node(&self) -> Option<Node> {
        let mut status = CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
        let (mut id, mut graph, mut nodes, mut count) = (0, ptr::null_mut(), ptr::null(), 0);
        let ask = driver::capture_info()?;
        // SAFETY: the stream is alive while it is borrowed, and all point to what they are filled with.
        let code = unsafe { ask(self.raw(), &mut status, &mut id, &mut graph, &mut nodes, &mut count) };
        // What comes next in the stream waits for the last work alone.
        if code != 0 || count != 1 || nodes.is_null() {
            return None;
        }
        // SAFETY: there is one, which the driver keeps until the stream is asked for something else.
        Some(Node(unsafe { *nodes }))
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
