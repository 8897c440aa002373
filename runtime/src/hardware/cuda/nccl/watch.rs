//! A thread that sees to it that no call of NCCL lasts for ever.
//!
//! A communicator that blocks takes a call on the thread that makes it, and waits there for other ranks where it connects with
//! them for the first time: a rank that is gone would keep it for ever. It comes back once another thread breaks the communicator off.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How often it looks whether a call is under way, at least: a call costs no more than telling the time.
const LONGEST: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(1);

const NONE: u64 = 0;
const LATE: u64 = u64::MAX;

/// Ends with this.
pub(super) struct Watch(Arc<Watched>);

struct Watched {
    /// Of the times below.
    origin: Instant,
    /// When the call that is under way began, in nanoseconds: [`NONE`] if there is none, [`LATE`] if it takes too long.
    began: AtomicU64,
    has_ended: Mutex<bool>,
    ends: Condvar,
}

/// A call that is under way.
#[must_use]
pub(super) struct UnderWatch<'w>(&'w Watched);

impl Watch {
    /// Does `break_off` once a call takes longer than the limit.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn over(limit: Duration, break_off: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let watched = Arc::new(Watched {
            origin: Instant::now(),
            began: AtomicU64::new(NONE),
            has_ended: Mutex::new(false),
            ends: Condvar::new(),
        });
        let by_thread = watched.clone();
        let watch = move || {
            if by_thread.sees_late(limit) {
                break_off();
            }
        };
        thread::Builder::new().name("tilewright-nccl".to_owned()).spawn(watch)?;
        Ok(Self(watched))
    }

    /// A call begins.
    pub(super) fn begin(&self) -> UnderWatch<'_> {
        self.0.began.store(self.0.now(), Release);
        UnderWatch(&self.0)
    }
}

impl UnderWatch<'_> {
    /// The call has come back. Returns whether it took too long, and something is broken off.
    pub(super) fn end(self) -> bool {
        self.0.began.swap(NONE, AcqRel) == LATE
    }
}

impl Watched {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).map_or(LATE - 1, |now| now.clamp(NONE + 1, LATE - 1))
    }

    /// Waits until a call is late, or the watch ends.
    fn sees_late(&self, limit: Duration) -> bool {
        let period = (limit / 8).clamp(SHORTEST, LONGEST);
        let mut has_ended = self.has_ended.lock();
        while !*has_ended {
            let began = self.began.load(Acquire);
            let since = match began {
                NONE => Duration::ZERO,
                began => Duration::from_nanos(self.now().saturating_sub(began)),
            };
            // It may come back before, and the next one be late a moment later.
            let left = limit.saturating_sub(since).min(period);
            // Either this says that it is late, or the call that it came back.
            if began != NONE && left.is_zero() && self.began.compare_exchange(began, LATE, AcqRel, Acquire).is_ok() {
                return true;
            }
            self.ends.wait_for(&mut has_ended, left.max(SHORTEST));
        }
        false
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.0.has_ended.lock() = true;
        self.0.ends.notify_all();
    }
}
