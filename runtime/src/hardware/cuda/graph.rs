//! Graphs: work captured once and launched many times.

#![allow(unsafe_code)]

use cudarc::driver::{
    CudaGraph as Graph,
    sys::{CUgraphInstantiate_flags, CUstreamCaptureMode},
};

use super::{
    CudaStream,
    driver::{self, During},
};
use crate::error::DeviceError;

/// Work captured from a stream. It owns nothing of what the work uses.
pub struct CudaGraph {
    /// Nothing, where nothing was asked of the stream.
    graph: Option<Graph>,
    stream: CudaStream,
}

// SAFETY: a graph may be used from any thread, one at a time: launching takes it exclusively, and nothing else is shared.
unsafe impl Send for CudaGraph {}
// SAFETY: a shared reference reaches the stream only.
unsafe impl Sync for CudaGraph {}

impl CudaStream {
    /// Captures what the body asks of this stream, instead of doing it. The body must not wait, load or allocate. An error
    /// of the body ends the capture, and so does a panic.
    pub fn capture<E: From<DeviceError>>(&self, body: impl FnOnce() -> Result<(), E>) -> Result<CudaGraph, E> {
        self.refuse_capture("another capture")?;
        // Other threads, which may load modules meanwhile, are none of this capture's business.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream().begin_capture(mode).during("cuStreamBeginCapture")?;
        let capture = Capture {
            stream: self,
            ended: false,
        };
        let result = body();
        let graph = capture.end();
        // What went wrong in the body says more than what is wrong with the capture because of it.
        result?;
        Ok(graph?)
    }
}

/// A capture that is going on, and ends in any case.
struct Capture<'a> {
    stream: &'a CudaStream,
    ended: bool,
}

impl Capture<'_> {
    fn end(mut self) -> Result<CudaGraph, DeviceError> {
        self.ended = true;
        self.stream.bind()?;
        let graph = self
            .stream
            .stream()
            .end_capture(CUgraphInstantiate_flags(0))
            .during("cuStreamEndCapture")?;
        Ok(CudaGraph {
            graph,
            stream: self.stream.clone(),
        })
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.stream.stream().end_capture(CUgraphInstantiate_flags(0));
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
        match &self.graph {
            Some(graph) => {
                self.stream.bind()?;
                graph.launch().during("cuGraphLaunch")
            }
            None => Ok(()),
        }
    }

    /// The stream that it was captured from.
    pub fn stream(&self) -> &CudaStream {
        &self.stream
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // Destroying a graph needs its context to be current.
        if self.stream.bind().is_ok() {
            let graph = self.graph.take();
            let _ = driver::beside_captures(|| {
                drop(graph);
                Ok(())
            });
        }
    }
}
