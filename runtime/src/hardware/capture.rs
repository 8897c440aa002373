//! Captures: what a thread does while it is in the body of one goes into a graph, or nowhere.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::DeviceError;

thread_local! {
    /// Whether this thread is in the body of a capture.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
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

/// Runs the body of a capture.
pub(crate) fn inside<T>(body: impl FnOnce() -> T) -> T {
    marked(true, body)
}

/// Does what a capture must not hold, made so that it does not disturb one.
pub(crate) fn outside<T>(body: impl FnOnce() -> T) -> T {
    marked(false, body)
}

/// Whether this thread is in the body of a capture.
pub(crate) fn is_within() -> bool {
    WITHIN.get()
}

/// An error in the body of a capture, on whatever stream: what is done there once would not be done by replays.
pub(crate) fn refuse_within(what: &'static str) -> Result<(), DeviceError> {
    match is_within() {
        true => Err(DeviceError::Capturing { what }),
        false => Ok(()),
    }
}

/// What tells a capture, and the graph that is made of it, from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CaptureId(u64);

impl CaptureId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// Where a launch is: the graph, and its number among the graph's launches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlaceInGraph {
    pub(crate) capture: CaptureId,
    pub(crate) at: usize,
}
