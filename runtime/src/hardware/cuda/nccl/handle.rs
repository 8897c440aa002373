//! A communicator as NCCL knows it, and how it ends.

#![allow(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cudarc::nccl::sys::{ncclComm_t, ncclResult_t};
use parking_lot::Mutex;

use super::error::NcclError;
use super::library::{Code, EntryPoints, IN_PROGRESS, SUCCESS};
use super::watch::{UnderWatch, Watch};
use super::{done, wait};
use crate::behind::ENDINGS;
use crate::deadline::Deadline;

/// A communicator that is alive and that nobody else has. What ends it takes it.
pub(super) struct Handle {
    nccl: &'static EntryPoints,
    comm: ncclComm_t,
    origin: Option<Origin>,
}

// SAFETY: a communicator may be used from any thread, one at a time, which the mutex around it sees to.
unsafe impl Send for Handle {}

/// The communicator that another one was split off, which nothing is asked of. Both have one flag, so that breaking it off lets a
/// call come back that waits in the other, whose memory is untouched.
#[derive(Clone)]
pub(super) struct Origin(Arc<Mutex<Option<Handle>>>);

impl Origin {
    /// Whoever does this later waits until it is done: one at a time is in what both have.
    pub(super) fn break_off(&self) {
        let _counted = ENDINGS.begin();
        self.0.lock().take().map(Handle::abort);
    }

    /// Breaks it off once a call that is watched takes longer than the limit.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn watch(self, limit: Duration) -> io::Result<Watch> {
        Watch::over(limit, move || self.break_off())
    }

    fn leave(&self, limit: Duration) {
        self.0.lock().take().map(|handle| handle.leave(limit));
    }
}

impl Handle {
    /// # Safety
    /// NCCL has made the communicator, and nobody else uses or ends it.
    pub(super) unsafe fn own(nccl: &'static EntryPoints, comm: ncclComm_t) -> Self {
        Self {
            nccl,
            comm,
            origin: None,
        }
    }

    /// The same, which was split off another one, with the flag of that.
    pub(super) fn split_off(self, origin: Self) -> Self {
        Self {
            origin: Some(Origin(Arc::new(Mutex::new(Some(origin))))),
            ..self
        }
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        self.origin.clone()
    }

    /// For calls that do not end it.
    pub(super) fn comm(&self) -> ncclComm_t {
        self.comm
    }

    /// How far what was asked of it is.
    pub(super) fn state(&self) -> Result<Code, NcclError> {
        let mut state = SUCCESS;
        // SAFETY: the communicator is alive, and the pointer is to a result.
        let asked = unsafe { (self.nccl.ncclCommGetAsyncError)(self.comm, &mut state) };
        done(self.nccl, "ncclCommGetAsyncError", asked).map(|()| state)
    }

    /// Breaks off whatever goes on, on this rank. No call may be in it.
    pub(super) fn abort(self) -> Code {
        self.origin.iter().for_each(Origin::break_off);
        // SAFETY: the communicator is alive, and gone with this.
        unsafe { (self.nccl.ncclCommAbort)(self.comm) }
    }

    /// Ends it when its work is done on this rank: NCCL passes on what other ranks have not read yet, as long as the limit.
    pub(super) fn leave(self, limit: Duration) -> Code {
        let deadline = Deadline::after(limit);
        let mut state = Ok(self.finalized(limit));
        if state == Ok(IN_PROGRESS) {
            let ended = wait::until(deadline, || {
                state = self.state();
                Ok::<_, NcclError>(state != Ok(IN_PROGRESS))
            });
            debug_assert!(ended.is_ok(), "looking does not fail");
        }
        if state != Ok(SUCCESS) {
            return self.abort();
        }
        // SAFETY: the communicator is alive, and gone with this. Unlike breaking off it waits for what others have still to be sent.
        let ended = unsafe { (self.nccl.ncclCommDestroy)(self.comm) };
        self.origin.iter().for_each(|origin| origin.leave(limit));
        ended
    }

    /// Asks NCCL to pass on what others have not read yet. A communicator that blocks waits for that here, no longer than the limit,
    /// and is not asked where nobody can watch it.
    fn finalized(&self, limit: Duration) -> Code {
        let Ok(watch) = self.origin().map(|origin| origin.watch(limit)).transpose() else {
            return LATE;
        };
        let under_watch = watch.as_ref().map(Watch::begin);
        // SAFETY: the communicator is alive.
        let code = unsafe { (self.nccl.ncclCommFinalize)(self.comm) };
        match under_watch.is_some_and(UnderWatch::end) {
            true => LATE,
            false => code,
        }
    }
}

/// What is made of a call that took too long, or might.
const LATE: Code = ncclResult_t::ncclSystemError as Code;

/// What stands for a communicator in tests.
#[cfg(test)]
pub(super) mod fake {
    use parking_lot::MutexGuard;
    use std::ffi::c_char;

    use super::*;

    pub(in super::super) const BROKEN: Code = ncclResult_t::ncclSystemError as Code;

    /// What it answers when it is asked how far it is, and what it was asked to do. Whoever has a handle of it keeps it.
    #[derive(Default)]
    pub(in super::super) struct Fake {
        /// The last one goes on.
        answers: Vec<Code>,
        state: Mutex<State>,
        /// Held by a test that does not let it end.
        ending: Mutex<()>,
        /// Whether it waits where it is asked to pass on what others have not read, until it is broken off.
        waits: bool,
    }

    #[derive(Default)]
    struct State {
        answered: usize,
        /// Whether the answers begin anew with each call.
        repeats: bool,
        /// Whether a call was begun that has not ended.
        goes_on: bool,
        calls: Vec<&'static str>,
    }

    impl Fake {
        pub(in super::super) fn answering(answers: &[Code]) -> Arc<Self> {
            Arc::new(Self {
                answers: answers.to_vec(),
                ..Self::default()
            })
        }

        /// One that waits for others that are gone.
        pub(super) fn waiting() -> Arc<Self> {
            Arc::new(Self {
                answers: vec![BROKEN],
                waits: true,
                ..Self::default()
            })
        }

        pub(in super::super) fn functions(&self) -> &'static EntryPoints {
            Box::leak(Box::new(EntryPoints {
                ncclCommFinalize: finalize,
                ncclCommDestroy: destroy,
                ncclCommAbort: abort,
                ncclCommGetAsyncError: state,
                ncclGetErrorString: no_string,
                ncclGetLastError: no_text,
                ..EntryPoints::none()
            }))
        }

        pub(in super::super) fn handle(self: &Arc<Self>) -> Handle {
            // SAFETY: the tests keep the fake as long as the handle.
            unsafe { Handle::own(self.functions(), Arc::as_ptr(self).cast_mut().cast()) }
        }

        /// One that was split off another, which does as the other does.
        pub(in super::super) fn split_off(self: &Arc<Self>) -> Handle {
            self.handle().split_off(self.handle())
        }

        pub(in super::super) fn answered(&self) -> usize {
            self.state.lock().answered
        }

        pub(in super::super) fn calls(&self) -> Vec<&'static str> {
            self.state.lock().calls.clone()
        }

        pub(in super::super) fn hold_back(&self) -> MutexGuard<'_, ()> {
            self.ending.lock()
        }

        pub(in super::super) fn repeat(&self) {
            self.state.lock().repeats = true;
        }

        /// A call, which is refused if the one before goes on.
        pub(in super::super) fn begin(&self) -> Code {
            let mut state = self.state.lock();
            let goes_on = std::mem::replace(&mut state.goes_on, true);
            match goes_on {
                true => BROKEN,
                false => IN_PROGRESS,
            }
        }

        fn answer(&self) -> Code {
            let mut state = self.state.lock();
            let at = match state.repeats {
                true => state.answered % self.answers.len(),
                false => state.answered.min(self.answers.len() - 1),
            };
            state.answered += 1;
            state.goes_on &= self.answers[at] == IN_PROGRESS;
            self.answers[at]
        }

        fn note(&self, call: &'static str) -> Code {
            self.state.lock().calls.push(call);
            SUCCESS
        }
    }

    /// # Safety
    /// The communicator is a fake that is alive.
    unsafe fn fake<'f>(comm: ncclComm_t) -> &'f Fake {
        // SAFETY: as the caller promises.
        unsafe { &*comm.cast::<Fake>() }
    }

    unsafe extern "C" fn finalize(comm: ncclComm_t) -> Code {
        // SAFETY: the tests' handles are of fakes.
        let fake = unsafe { fake(comm) };
        fake.note("finalize");
        while fake.waits && !fake.calls().contains(&"abort") {
            std::thread::yield_now();
        }
        fake.answer()
    }

    unsafe extern "C" fn destroy(comm: ncclComm_t) -> Code {
        // SAFETY: as above.
        unsafe { fake(comm) }.note("destroy")
    }

    unsafe extern "C" fn abort(comm: ncclComm_t) -> Code {
        // SAFETY: as above.
        let fake = unsafe { fake(comm) };
        drop(fake.ending.lock());
        fake.note("abort")
    }

    unsafe extern "C" fn state(comm: ncclComm_t, state: *mut Code) -> Code {
        // SAFETY: as above, and the pointer is to a result.
        unsafe { *state = fake(comm).answer() };
        SUCCESS
    }

    unsafe extern "C" fn no_string(_: Code) -> *const c_char {
        std::ptr::null()
    }

    unsafe extern "C" fn no_text(_: ncclComm_t) -> *const c_char {
        std::ptr::null()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::fake::{BROKEN, Fake};
    use super::*;

    const AMPLE: Duration = Duration::from_secs(60);

    /// What a communicator with such answers was asked when it left.
    fn asked_to_leave(answers: &[Code], limit: Duration) -> Vec<&'static str> {
        let fake = Fake::answering(answers);
        fake.handle().leave(limit);
        fake.calls()
    }

    #[test]
    fn what_has_passed_everything_on_is_destroyed() {
        assert_eq!(asked_to_leave(&[SUCCESS], AMPLE), ["finalize", "destroy"]);
        let answers = [IN_PROGRESS, IN_PROGRESS, IN_PROGRESS, SUCCESS];
        assert_eq!(asked_to_leave(&answers, AMPLE), ["finalize", "destroy"]);
    }

    #[test]
    fn what_fails_is_broken_off() {
        assert_eq!(asked_to_leave(&[BROKEN], AMPLE), ["finalize", "abort"]);
        assert_eq!(
            asked_to_leave(&[IN_PROGRESS, IN_PROGRESS, BROKEN], AMPLE),
            ["finalize", "abort"]
        );
    }

    #[test]
    fn what_takes_longer_than_the_limit_is_broken_off() {
        let (began, limit) = (Instant::now(), Duration::from_millis(30));
        assert_eq!(asked_to_leave(&[IN_PROGRESS], limit), ["finalize", "abort"]);
        assert!((limit..AMPLE / 4).contains(&began.elapsed()));
    }

    #[test]
    fn what_waits_for_ranks_that_are_gone_is_broken_off_by_another_thread() {
        let (began, limit, fake) = (Instant::now(), Duration::from_millis(30), Fake::waiting());
        fake.split_off().leave(limit);
        // First what it was split off, so that it comes back.
        assert_eq!(fake.calls(), ["finalize", "abort", "abort"]);
        assert!((limit..AMPLE / 4).contains(&began.elapsed()));
    }

    #[test]
    fn what_was_split_off_ends_before_what_it_was_split_off() {
        let fake = Fake::answering(&[SUCCESS]);
        fake.split_off().leave(AMPLE);
        assert_eq!(fake.calls(), ["finalize", "destroy", "finalize", "destroy"]);
    }
}
