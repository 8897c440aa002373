//! The first use of a library.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::wait_at_exit;

/// What a library registers for the end of the process while it is loaded would be done there before the wait for that loading, and
/// take away what it needs: a process that ends between such a registration and the next wait's may crash. As long as the loading
/// lasts, the wait is registered again so often; each time takes some 32 bytes. A library that is at hand needs none of it:
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
}
