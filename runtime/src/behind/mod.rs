//! Work on threads of its own that nobody waits for, unless the process ends: what a thread does in a library while the library's
//! own memory is taken down ends in a crash.

#![allow(unsafe_code)]

mod first_use;
mod handlers;
mod pool;

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use std::{io, process, thread};

use crate::deadline::Deadline;

pub(crate) use first_use::{FirstUse, registering};
pub(crate) use handlers::let_wait;
pub(crate) use pool::Pool;

/// How long the end of a process waits for work of each kind: far longer than any of it takes, also on a machine whose cores are all
/// busy, as what goes on while the libraries are taken down ends in a crash.
const AT_EXIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(500);

/// One kind of work.
pub(crate) struct Behind {
    /// What its threads are called.
    name: &'static str,
    under_way: AtomicUsize,
    /// The process whose work is counted: the child of a fork has none of its parent's threads.
    process: AtomicU32,
    /// Whether the end of the process waits for it: from when it begins for the first time, and from when it has ended for the
    /// first time, as it loads libraries on its way.
    begun: Once,
    ended: Once,
}

/// Storing what was compiled.
pub(crate) static STORES: Behind = Behind::new("tilewright-store");

/// Compiling what no launch waits for, and loading it.
pub(crate) static COMPILES: Behind = Behind::new("tilewright-compile");

/// Calls of a compiler, whoever waits for them; those that were given up are none.
pub(crate) static CALLS: Behind = Behind::new("tilewright-nvrtc");

/// Loading a library, or using for the first time one that loads others.
static LOADS: Behind = Behind::new("tilewright-load");

/// The threads that compile what no launch waits for.
pub(crate) static COMPILERS: Pool = Pool::new(&COMPILES);

/// The first compilation by the driver.
pub(crate) static ASSEMBLER: FirstUse = FirstUse::new();

/// How many launches wait for a compiler.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// How long work behind gives way to launches that wait, before it begins all the same.
const GIVE_WAY: Duration = Duration::from_secs(1);

/// A launch waits for a compiler while this lives. NVRTC does little more on all cores than on a few, so what is compiled
/// behind at that time takes from what is waited for.
pub(crate) struct Waiting(());

impl Waiting {
    pub(crate) fn begin() -> Self {
        WAITING.fetch_add(1, SeqCst);
        Self(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, SeqCst);
    }
}

/// Waits as long as launches do, for so long at most.
fn give_way() {
    let deadline = Deadline::after(GIVE_WAY);
    while WAITING.load(SeqCst) > 0 && !is_ending() && !deadline.is_past() {
        thread::sleep(PAUSE);
    }
}

static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Whether the process ends: what has not begun is not begun.
pub(crate) fn is_ending() -> bool {
    IS_ENDING.load(SeqCst)
}

/// Ending communicators of NCCL.
#[cfg(feature = "nccl")]
pub(crate) static ENDINGS: Behind = Behind::new("tilewright-nccl");

impl Behind {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            under_way: AtomicUsize::new(0),
            process: AtomicU32::new(0),
            begun: Once::new(),
            ended: Once::new(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Does the work on a thread of its own.
    ///
    /// # Errors
    /// There is no thread to be had. The work is not done then.
    pub(crate) fn spawn(&'static self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let counted = self.begin();
        let run = move || {
            let _counted = counted;
            work();
        };
        let thread = thread::Builder::new().name(self.name.to_owned());
        thread.spawn(run).map(|_| ())
    }

    /// Waits until all of it is done, for so long at most. Returns whether it is.
    pub(crate) fn settle(&self, limit: Duration) -> bool {
        let deadline = Deadline::after(limit);
        while self.under_way() > 0 {
            if deadline.is_past() {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }

    /// How much of it is being done.
    pub(crate) fn under_way(&self) -> usize {
        if self.process.swap(process::id(), SeqCst) != process::id() {
            self.under_way.store(0, SeqCst);
        }
        self.under_way.load(SeqCst)
    }

    /// Work on another thread, as long as what is returned is kept.
    pub(crate) fn begin(&'static self) -> Counted {
        self.begun.call_once(wait_at_exit);
        wait_at_end_of_thread();
        self.under_way();
        self.under_way.fetch_add(1, SeqCst);
        Counted(self)
    }
}

/// Work that is under way until it is dropped.
pub(crate) struct Counted(&'static Behind);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.ended.call_once(wait_at_exit);
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}

extern "C" fn at_exit() {
    if IS_ENDING.swap(true, SeqCst) {
        return;
    }
    LOADS.settle(AT_EXIT);
    COMPILES.settle(AT_EXIT);
    CALLS.settle(AT_EXIT);
    STORES.settle(AT_EXIT);
    #[cfg(feature = "nccl")]
    ENDINGS.settle(AT_EXIT);
}

/// Lets the end of the main thread wait for work that is under way: where it ends the process, its own variables go before anything
/// of a library does. So do those of any other thread that ends the process, which cannot be told from one that only ends: it waits
/// for libraries that are being loaded, some tens of milliseconds once, as these have handlers that would be called first.
fn wait_at_end_of_thread() {
    struct End {
        is_main: bool,
    }

    impl Drop for End {
        fn drop(&mut self) {
            match self.is_main {
                true => at_exit(),
                false => _ = LOADS.settle(AT_EXIT),
            }
        }
    }

    /// Whether this is the main thread.
    fn is_main() -> bool {
        // SAFETY: it has no conditions.
        unsafe { libc::gettid() == libc::getpid() }
    }

    thread_local!(static END: End = End { is_main: is_main() });
    // A thread that is ending has none any more.
    let _ = END.try_with(|_| ());
}

/// Lets the end of the process wait for work that is under way. What is registered last is done first: before the
/// libraries are taken down that are there by now.
fn wait_at_exit() {
    // SAFETY: the function has the type that is wanted, and uses nothing that has ended when it is called. If it cannot be
    // registered, a process that ends soon loses what it was storing.
    let _ = unsafe { libc::atexit(at_exit) };
}
