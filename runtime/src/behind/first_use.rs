//! The first use of a library.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::{LOADS, wait_at_exit};

/// What a library registers for the end of the process while it is loaded would be done there before the wait for that loading, and
/// take away what it needs: a process that ends between such a registration and the next wait's may crash. As long as the loading
/// lasts, the wait is registered again so often; each time takes some 32 bytes. On a machine whose cores are all busy that comes late:
/// threads that have had work done behind wait for the loading themselves, as they end. A library that is at hand needs none of it:
/// [`let_wait`](super::let_wait).
const AGAIN: Duration = Duration::from_micros(2);

/// Whether a library has been used.
pub(crate) struct FirstUse(AtomicBool);

impl FirstUse {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// What `act` gives, which uses the library.
    pub(crate) fn or_later<R>(&self, act: impl FnOnce() -> R) -> R {
        if self.0.load(SeqCst) {
            return act();
        }
        let result = registering(act);
        self.0.store(true, SeqCst);
        result
    }
}

/// What `act` gives, which loads a library, or uses for the first time one that loads others.
pub(crate) fn registering<R>(act: impl FnOnce() -> R) -> R {
    let is_over = AtomicBool::new(false);
    let _loading = LOADS.begin();
    thread::scope(|scope| {
        let registers = || {
            while !is_over.load(SeqCst) {
                wait_at_exit();
                // Timers come many times as late.
                let registered = Instant::now();
                while registered.elapsed() < AGAIN {
                    thread::yield_now();
                }
            }
        };
        // Without a thread it is registered afterwards.
        let _thread = thread::Builder::new().spawn_scoped(scope, registers).ok();
        let _over = Over(|| {
            is_over.store(true, SeqCst);
            wait_at_exit();
        });
        act()
    })
}

/// Does something when it is dropped, also in a panic.
struct Over<F: Fn()>(F);

impl<F: Fn()> Drop for Over<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::process::exit;

    use tilewright_testing::process_of;

    use super::super::COMPILES;
    use super::*;

    #[test]
    fn a_use_gives_what_it_gives_and_ends_if_it_panics() {
        let library = FirstUse::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            library.or_later(|| panic!("a panic that the test wants"))
        }));
        assert!(panicked.is_err());
        assert_eq!((library.or_later(|| 1), FirstUse::new().or_later(|| 2)), (1, 2));
    }

    #[test]
    fn what_a_library_registers_while_it_is_loaded_is_called_after_that_by_threads_that_have_had_work_done() {
        let name = "behind::first_use::tests::a_process_that_ends_while_a_library_is_loaded";
        let child = process_of(name).output().expect("it runs");
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && text.contains("called with 0 loaded"),
            "{child:?}"
        );
    }

    #[test]
    #[ignore = "run by `what_a_library_registers_while_it_is_loaded_is_called_after_that_by_threads_that_have_had_work_done`"]
    #[allow(unsafe_code)]
    fn a_process_that_ends_while_a_library_is_loaded() {
        extern "C" fn handler() {
            println!("called with {} loaded", LOADS.under_way());
        }
        drop(COMPILES.begin());
        let loading = LOADS.begin();
        // SAFETY: the handler has the type that is wanted, and is of this program.
        assert_eq!(unsafe { libc::atexit(handler) }, 0);
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            drop(loading);
        });
        exit(0);
    }
}
