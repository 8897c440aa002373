//! Compilations that do not end: after some time they are given up, and their threads are left to themselves.
//!
//! Nothing ends a thread that is in NVRTC, so there is a limit to how many are given up: each keeps a core busy. What
//! was given up is refused as long as it is under way, so that one kernel costs one thread and one wait.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;
use std::{process, thread};

use parking_lot::Mutex;

use super::CompileError;
use crate::behind::{CALLS, is_ending};
use crate::deadline::Deadline;

/// With so many that were given up and have not ended, no other is begun.
const MAX_UNENDED: usize = 4;

/// The stack of a compilation, as large as that of a main thread.
const STACK: usize = 8 << 20;

/// The compilations of this process that were given up and have not ended.
pub(super) static UNENDED: Unended = Unended::new();

/// What is compiled, by which it is known again.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Compilation {
    pub(crate) kernel: String,
    pub(crate) source: String,
    pub(crate) arguments: Vec<String>,
}

/// Compilations that were given up and have not ended.
pub(crate) struct Unended {
    table: Mutex<Table>,
    /// The process that has given them up: the child of a fork has none of its parent's threads.
    process: AtomicU32,
}

struct Table {
    all: Vec<(u64, Compilation)>,
    begun: u64,
}

impl Unended {
    pub(crate) const fn new() -> Self {
        let table = Table {
            all: Vec::new(),
            begun: 0,
        };
        Self {
            table: Mutex::new(table),
            process: AtomicU32::new(0),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.of_this_process();
        self.table.lock().all.len()
    }

    /// What `compile` gives, on a thread of its own, if it ends within the limit.
    ///
    /// # Errors
    /// It does not, or the same was given up before and is still under way; or too many are; or there is no thread to
    /// be had; or the process is ending.
    pub(crate) fn within<R: Send + 'static>(
        &'static self,
        compilation: Compilation,
        limit: Duration,
        compile: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, CompileError> {
        let number = self.begin(&compilation, limit)?;
        let _under_way = CALLS.begin();
        // The end of the process waits for what is under way by now, and for nothing that begins later.
        if is_ending() {
            let kernel = compilation.kernel;
            return Err(CompileError::Ending { kernel });
        }
        let (send, result) = sync_channel(1);
        let run = move || {
            // Nobody may be there to take it.
            let _ = send.send(catch_unwind(AssertUnwindSafe(compile)));
            self.table.lock().all.retain(|(other, _)| *other != number);
        };
        let kernel = || compilation.kernel.clone();
        let thread = thread::Builder::new()
            .name("tilewright-nvrtc".to_owned())
            .stack_size(STACK);
        let thread = match thread.spawn(run) {
            Ok(thread) => thread,
            Err(error) => {
                let reason = error.to_string();
                return Err(CompileError::NoThread {
                    kernel: kernel(),
                    reason,
                });
            }
        };
        let mut found = match Deadline::after(limit).left() {
            Some(left) => result.recv_timeout(left),
            None => result.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if found.is_err() {
            // Held, so that it does not end between this look and its being noted.
            let mut table = self.table.lock();
            found = result.try_recv().map_err(|_| RecvTimeoutError::Timeout);
            if found.is_err() {
                table.all.push((number, compilation.clone()));
            }
        }
        if found.is_ok() {
            // It is about to end, and takes down what NVRTC has kept for it: not while the process takes down NVRTC.
            let _ = thread.join();
        }
        match found {
            Ok(Ok(compiled)) => Ok(compiled),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => {
                tracing::error!(kernel = kernel(), ?limit, "a compilation does not end, and is given up");
                Err(CompileError::Unended {
                    kernel: kernel(),
                    limit,
                })
            }
        }
    }

    /// The number of a compilation that may begin.
    fn begin(&self, compilation: &Compilation, limit: Duration) -> Result<u64, CompileError> {
        self.of_this_process();
        let mut table = self.table.lock();
        let kernel = || compilation.kernel.clone();
        if table.all.iter().any(|(_, other)| other == compilation) {
            return Err(CompileError::Unended {
                kernel: kernel(),
                limit,
            });
        }
        if table.all.len() >= MAX_UNENDED {
            return Err(CompileError::TooManyUnended {
                kernel: kernel(),
                unended: table.all.iter().map(|(_, other)| other.kernel.clone()).collect(),
            });
        }
        table.begun += 1;
        Ok(table.begun)
    }

    fn of_this_process(&self) {
        let process = process::id();
        if self.process.swap(process, SeqCst) != process {
            self.table.lock().all.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    fn compilation(kernel: &str) -> Compilation {
        Compilation {
            kernel: kernel.to_owned(),
            source: format!("__global__ void {kernel}() {{}}"),
            arguments: Vec::new(),
        }
    }

    /// One that ends when the sender is dropped.
    fn hanging() -> (Sender<()>, impl FnOnce() -> u32 + Send + 'static) {
        let (hold, held): (Sender<()>, Receiver<()>) = channel();
        let compile = move || {
            let _ = held.recv();
            7
        };
        (hold, compile)
    }

    fn settled(unended: &'static Unended, count: usize) {
        let deadline = Deadline::after(Duration::from_secs(20));
        while unended.count() != count {
            assert!(!deadline.is_past(), "{} and not {count}", unended.count());
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_ends_in_time_gives_what_it_gives_and_leaves_nothing_behind() {
        static UNENDED: Unended = Unended::new();
        for limit in [Duration::from_secs(60), Duration::MAX] {
            let found = UNENDED.within(compilation("quick"), limit, || 7);
            assert_eq!(found.ok(), Some(7));
        }
        let panic = catch_unwind(|| {
            UNENDED.within(compilation("quick"), SHORT * 500, || {
                panic!("a panic that the test wants")
            })
        });
        assert!(panic.is_err(), "it is that of who waits");
        assert_eq!(UNENDED.count(), 0);
    }

    #[test]
    fn what_does_not_end_is_given_up_and_not_begun_again_before_it_has() {
        static UNENDED: Unended = Unended::new();
        let (hold, compile) = hanging();
        let error = UNENDED
            .within(compilation("slow"), SHORT, compile)
            .expect_err("it hangs");
        assert!(
            matches!(&error, CompileError::Unended { kernel, limit: SHORT } if kernel == "slow"),
            "{error}"
        );
        assert!(error.to_string().contains("set_compile_limit"), "{error}");
        let started = Instant::now();
        let again = UNENDED.within(compilation("slow"), Duration::from_secs(60), || 7);
        assert!(matches!(again, Err(CompileError::Unended { .. })));
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it is not waited for again"
        );
        assert_eq!(UNENDED.count(), 1);
        assert_eq!(UNENDED.within(compilation("other"), SHORT * 500, || 8).ok(), Some(8));
        drop(hold);
        settled(&UNENDED, 0);
        assert_eq!(UNENDED.within(compilation("slow"), SHORT * 500, || 9).ok(), Some(9));
    }

    #[test]
    fn with_too_many_given_up_nothing_is_compiled_until_one_ends() {
        static UNENDED: Unended = Unended::new();
        let mut holds: Vec<_> = (0..MAX_UNENDED)
            .map(|number| {
                let (hold, compile) = hanging();
                let found = UNENDED.within(compilation(&format!("slow{number}")), SHORT, compile);
                assert!(matches!(found, Err(CompileError::Unended { .. })));
                hold
            })
            .collect();
        let error = UNENDED
            .within(compilation("other"), SHORT, || 7)
            .expect_err("there are too many");
        let CompileError::TooManyUnended { kernel, unended } = &error else {
            panic!("{error}")
        };
        assert_eq!((kernel.as_str(), unended.len()), ("other", MAX_UNENDED));
        assert!(error.to_string().contains("slow0, slow1, slow2, slow3"), "{error}");
        holds.pop();
        settled(&UNENDED, MAX_UNENDED - 1);
        assert_eq!(UNENDED.within(compilation("other"), SHORT * 500, || 7).ok(), Some(7));
    }
}
