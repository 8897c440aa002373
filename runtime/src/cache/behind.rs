//! Work that nobody waits for, unless the process ends.

#![allow(unsafe_code)]

use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use std::{io, process, thread};

use crate::deadline::Deadline;

/// Beyond this, work is done by those who ask for it: who makes it faster than a disk takes it has to wait at last.
const MOST: usize = 64;

/// How long the end of a process waits. A disk that takes longer is not worth it.
const AT_EXIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_micros(500);

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// The process whose work is counted: the child of a fork has none of its parent's threads.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Does the work on a thread of its own.
///
/// # Errors
/// There is no thread to be had. The work is not done then.
pub(super) fn behind(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    wait_at_exit();
    if under_way() >= MOST {
        work();
        return Ok(());
    }
    let counted = Counted::new();
    let run = move || {
        let _counted = counted;
        work();
    };
    let thread = thread::Builder::new().name("tilewright-store".to_owned());
    thread.spawn(run).map(|_| ())
}

/// Waits until all work is done, for so long at most. Returns whether it is.
pub(super) fn settle(limit: Duration) -> bool {
    let deadline = Deadline::after(limit);
    while under_way() > 0 {
        if deadline.is_past() {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

fn under_way() -> usize {
    if PROCESS.swap(process::id(), SeqCst) != process::id() {
        UNDER_WAY.store(0, SeqCst);
    }
    UNDER_WAY.load(SeqCst)
}

/// Work that is under way until it is dropped.
struct Counted;

impl Counted {
    fn new() -> Self {
        UNDER_WAY.fetch_add(1, SeqCst);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, SeqCst);
    }
}

fn wait_at_exit() {
    extern "C" fn at_exit() {
        settle(AT_EXIT);
    }
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the function has the type that is wanted, and uses nothing that has ended when it is called. If it cannot be
        // registered, a process that ends soon loses what it was storing.
        let _ = unsafe { libc::atexit(at_exit) };
    });
}
