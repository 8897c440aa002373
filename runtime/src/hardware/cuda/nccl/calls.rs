//! The calls that a communicator is asked for, and waiting until NCCL has taken them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use cudarc::nccl::sys::ncclComm_t;
use parking_lot::Mutex;

use super::handle::{Handle, Origin};
use super::library::{Code, EntryPoints, IN_PROGRESS, SUCCESS};
use super::watch::{UnderWatch, Watch};
use super::{NcclError, failed, wait};
use crate::behind::ENDINGS;
use crate::deadline::Deadline;

/// A communicator until it is given up, with what it uses: that outlives what NCCL has of it.
pub(super) struct Calls<U> {
    nccl: &'static EntryPoints,
    /// Held by the call that NCCL has not taken yet: it takes one at a time.
    turn: Mutex<()>,
    /// `None` once it was given up.
    handle: Mutex<Option<Handle>>,
    used: Mutex<U>,
    /// Whether a graph was given work of it, and may be there still: NCCL ends nothing before it is destroyed.
    is_captured: AtomicBool,
    limit: Duration,
    /// Of one whose calls block.
    watch: Option<Watch>,
}

impl<U: Clone + Send + 'static> Calls<U> {
    /// `limit` is how long anything may take. Calls of a communicator that was split off another one block until NCCL has taken
    /// them: a thread breaks the other one off if one does not return within the limit.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn new(nccl: &'static EntryPoints, handle: Handle, used: U, limit: Duration) -> Result<Self, NcclError> {
        let watch = match handle.origin().map(|origin| origin.watch(limit)).transpose() {
            Ok(watch) => watch,
            Err(error) => {
                handle.abort();
                return Err(NcclError::Failed {
                    call: "a thread that watches calls",
                    reason: error.to_string(),
                });
            }
        };
        Ok(Self {
            nccl,
            turn: Mutex::new(()),
            handle: Mutex::new(Some(handle)),
            used: Mutex::new(used),
            is_captured: AtomicBool::new(false),
            limit,
            watch,
        })
    }

    /// The same with another limit.
    pub(super) fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The communicator, unless it was given up.
    pub(super) fn into_handle(self) -> Option<Handle> {
        self.handle.lock().take()
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn used(&self) -> U {
        self.used.lock().clone()
    }

    /// A graph is given work of it.
    pub(super) fn capture(&self) {
        self.is_captured.store(true, Relaxed);
    }

    /// Makes a call, after those that others have made, and waits until NCCL has taken it. `using` is told what it uses from
    /// here on.
    pub(super) fn ask(
        &self,
        call: &'static str,
        using: impl FnOnce(&mut U),
        ask: impl FnOnce(&EntryPoints, ncclComm_t) -> Code,
    ) -> Result<(), NcclError> {
        let _turn = self.turn.lock();
        let comm = self.handle.lock().as_ref().ok_or(NcclError::GivenUp)?.comm();
        using(&mut self.used.lock());
        let under_watch = self.watch.as_ref().map(Watch::begin);
        let asked = ask(self.nccl, comm);
        match under_watch.is_some_and(UnderWatch::end) {
            false => self.taken(call, asked),
            true => {
                self.give_up();
                Err(self.late(call))
            }
        }
    }

    /// Waits until NCCL has taken what it was asked. An error, and what takes too long, ends the communicator.
    pub(super) fn taken(&self, call: &'static str, asked: Code) -> Result<(), NcclError> {
        let taken = match asked {
            SUCCESS => return Ok(()),
            IN_PROGRESS => self.until(call, || self.has_taken(call)),
            error => Err(failed(self.nccl, call, error)),
        };
        if taken.is_err() {
            self.give_up();
        }
        taken
    }

    /// Waits until something is so. An error of NCCL's, and what takes too long, ends the communicator, and whatever call it is in.
    pub(super) fn wait(
        &self,
        call: &'static str,
        is_so: impl FnMut() -> Result<bool, NcclError>,
    ) -> Result<(), NcclError> {
        let waited = self.until(call, is_so);
        if matches!(waited, Err(NcclError::Failed { .. } | NcclError::Late { .. })) {
            // A call that somebody waits in comes back.
            let origin = self.handle.lock().as_ref().and_then(Handle::origin);
            origin.iter().for_each(Origin::break_off);
            let _turn = self.turn.lock();
            self.give_up();
        }
        waited
    }

    fn until(&self, call: &'static str, is_so: impl FnMut() -> Result<bool, NcclError>) -> Result<(), NcclError> {
        match wait::until(Deadline::after(self.limit), is_so)? {
            true => Ok(()),
            false => Err(self.late(call)),
        }
    }

    fn late(&self, call: &'static str) -> NcclError {
        let limit = self.limit;
        NcclError::Late { call, limit }
    }

    /// Whether NCCL has taken all calls.
    pub(super) fn has_taken(&self, call: &'static str) -> Result<bool, NcclError> {
        let handle = self.handle.lock();
        match handle.as_ref().ok_or(NcclError::GivenUp)?.state()? {
            state @ (SUCCESS | IN_PROGRESS) => Ok(state == SUCCESS),
            error => Err(failed(self.nccl, call, error)),
        }
    }

    /// Breaks off whatever goes on, on this rank. No call may be in NCCL.
    fn give_up(&self) {
        self.end(Handle::abort, !self.is_captured.load(Relaxed));
    }

    /// Ends the communicator, if it was not before; if `waiting`, waits for that as long as the limit.
    pub(super) fn end(&self, how: impl FnOnce(Handle) -> Code + Send + 'static, waiting: bool) {
        let Some(handle) = self.handle.lock().take() else {
            return;
        };
        let (limit, used) = (self.limit, self.used());
        let (ended, has_ended) = mpsc::channel();
        let end = move || {
            let result = how(handle);
            drop(used);
            tracing::debug!(result, "a communicator has ended");
            // Nobody may be waiting any more.
            let _ = ended.send(());
        };
        match ENDINGS.spawn(end) {
            Ok(()) if !waiting || has_ended.recv_timeout(limit).is_ok() => {}
            Ok(()) => tracing::warn!(
                ?limit,
                "a communicator has not ended in time: other ranks may be missing"
            ),
            Err(error) => tracing::warn!(%error, "a communicator was not ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    use super::super::handle::fake::{BROKEN, Fake};
    use super::*;

    const AMPLE: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(40);

    fn calls_of(fake: &Arc<Fake>, limit: Duration) -> Calls<Arc<Fake>> {
        // What the communicator uses outlives it, here the fake itself.
        Calls::new(fake.functions(), fake.handle(), fake.clone(), limit).unwrap()
    }

    /// Those of one that was split off, and blocks.
    fn blocking_of(fake: &Arc<Fake>, limit: Duration) -> Calls<Arc<Fake>> {
        Calls::new(fake.functions(), fake.split_off(), fake.clone(), limit).unwrap()
    }

    #[test]
    fn what_is_taken_at_once_is_not_looked_for() {
        let fake = Fake::answering(&[BROKEN]);
        let calls = calls_of(&fake, AMPLE);
        calls.ask("a call", |_| (), |_, _| SUCCESS).unwrap();
        assert!(fake.calls().is_empty());
    }

    #[test]
    fn a_call_returns_when_it_is_taken_and_not_before() {
        let fake = Fake::answering(&[IN_PROGRESS, IN_PROGRESS, IN_PROGRESS, SUCCESS]);
        let calls = calls_of(&fake, AMPLE);
        calls.ask("a call", |_| (), |_, _| IN_PROGRESS).unwrap();
        assert_eq!(fake.answered(), 4);
        assert!(fake.calls().is_empty());
    }

    #[test]
    fn errors_now_and_later_give_the_communicator_up() {
        for (now, answers) in [(BROKEN, &[SUCCESS][..]), (IN_PROGRESS, &[IN_PROGRESS, BROKEN])] {
            let fake = Fake::answering(answers);
            let calls = calls_of(&fake, AMPLE);
            let error = calls.ask("a call", |_| (), |_, _| now).unwrap_err();
            assert!(matches!(error, NcclError::Failed { call: "a call", .. }), "{error}");
            assert_eq!(fake.calls(), ["abort"]);
            let error = calls.ask("another", |_| (), |_, _| SUCCESS).unwrap_err();
            assert_eq!(error, NcclError::GivenUp);
        }
    }

    #[test]
    fn a_call_that_is_never_taken_is_late_and_broken_off() {
        let fake = Fake::answering(&[IN_PROGRESS]);
        let (calls, began) = (calls_of(&fake, SHORT), Instant::now());
        let error = calls.ask("a call", |_| (), |_, _| IN_PROGRESS).unwrap_err();
        assert!(
            matches!(
                error,
                NcclError::Late {
                    call: "a call",
                    limit: SHORT
                }
            ),
            "{error}"
        );
        assert!((SHORT..AMPLE / 4).contains(&began.elapsed()));
        // The thread that breaks it off is not waited for longer than that.
        while fake.calls().is_empty() && began.elapsed() < AMPLE {
            std::thread::yield_now();
        }
        assert_eq!(fake.calls(), ["abort"]);
    }

    /// The graph keeps NCCL from ending it, and is not destroyed by whoever waits here.
    #[test]
    fn nobody_waits_for_the_end_of_what_a_graph_keeps() {
        let fake = Fake::answering(&[BROKEN]);
        let (calls, began) = (calls_of(&fake, AMPLE), Instant::now());
        calls.capture();
        let held = fake.hold_back();
        calls.ask("a call", |_| (), |_, _| IN_PROGRESS).unwrap_err();
        assert!(began.elapsed() < AMPLE / 4);
        drop(held);
    }

    /// NCCL refuses a call that comes before it has taken the one before, and so the communicator would be lost.
    #[test]
    fn calls_of_several_threads_take_turns() {
        let fake = Fake::answering(&[IN_PROGRESS, IN_PROGRESS, IN_PROGRESS, SUCCESS]);
        fake.repeat();
        let (calls, fake) = (&calls_of(&fake, AMPLE), &fake);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        calls.ask("a call", |_| (), |_, _| fake.begin()).unwrap();
                    }
                });
            }
        });
        assert!(fake.calls().is_empty());
    }

    /// A call of one that blocks, which a rank that is missing keeps from returning until it is broken off.
    fn blocked(fake: &Fake) -> Code {
        let began = Instant::now();
        while fake.calls().is_empty() && began.elapsed() < AMPLE {
            thread::yield_now();
        }
        BROKEN
    }

    #[test]
    fn a_call_that_does_not_return_is_late_and_broken_off_by_another_thread() {
        let fake = Fake::answering(&[SUCCESS]);
        let (calls, began) = (blocking_of(&fake, SHORT), Instant::now());
        let error = calls.ask("a call", |_| (), |_, _| blocked(&fake)).unwrap_err();
        let late = NcclError::Late {
            call: "a call",
            limit: SHORT,
        };
        assert_eq!(error, late);
        assert!((SHORT..AMPLE / 4).contains(&began.elapsed()));
        // What it was split off, and itself when the call had come back.
        assert_eq!(fake.calls(), ["abort", "abort"]);
        let error = calls.ask("another", |_| (), |_, _| SUCCESS).unwrap_err();
        assert_eq!(error, NcclError::GivenUp);
    }

    /// However often: each has the limit for itself.
    #[test]
    fn calls_that_return_in_time_are_left_alone() {
        let fake = Fake::answering(&[SUCCESS]);
        let (calls, began) = (blocking_of(&fake, SHORT), Instant::now());
        while began.elapsed() < 3 * SHORT {
            calls
                .ask(
                    "a call",
                    |_| (),
                    |_, _| {
                        thread::sleep(SHORT / 8);
                        SUCCESS
                    },
                )
                .unwrap();
        }
        assert!(fake.calls().is_empty());
    }

    /// Who finds out that something went wrong while another thread is in a call lets that come back first.
    #[test]
    fn a_call_of_others_comes_back_before_its_communicator_is_broken_off() {
        let fake = Fake::answering(&[BROKEN]);
        let calls = &blocking_of(&fake, AMPLE);
        let is_in = &AtomicBool::new(false);
        thread::scope(|scope| {
            let fake = &fake;
            scope.spawn(move || {
                let in_nccl = |_: &EntryPoints, _: ncclComm_t| {
                    is_in.store(true, Relaxed);
                    // It waits for a rank that is gone.
                    while fake.calls().is_empty() {
                        thread::yield_now();
                    }
                    thread::sleep(SHORT);
                    assert_eq!(fake.calls(), ["abort"], "of what nothing is asked of");
                    SUCCESS
                };
                calls.ask("a call", |_| (), in_nccl).unwrap();
            });
            while !is_in.load(Relaxed) {
                thread::yield_now();
            }
            calls.wait("a wait", || calls.has_taken("a wait")).unwrap_err();
        });
        assert_eq!(fake.calls(), ["abort", "abort"]);
    }
}
