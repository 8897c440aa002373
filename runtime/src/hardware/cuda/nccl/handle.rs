//! A communicator as NCCL knows it, and how it ends.

#![allow(unsafe_code)]

use std::time::Duration;

use cudarc::nccl::sys::ncclComm_t;

use super::error::NcclError;
use super::library::{Code, EntryPoints, IN_PROGRESS, SUCCESS};
use super::{done, wait};
use crate::deadline::Deadline;

/// A communicator that is alive and that nobody else has. What ends it takes it.
pub(super) struct Handle {
    nccl: &'static EntryPoints,
    comm: ncclComm_t,
}

// SAFETY: a communicator may be used from any thread, one at a time, which the mutex around it sees to.
unsafe impl Send for Handle {}

impl Handle {
    /// # Safety
    /// NCCL has made the communicator, and nobody else uses or ends it.
    pub(super) unsafe fn own(nccl: &'static EntryPoints, comm: ncclComm_t) -> Self {
        Self { nccl, comm }
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

    /// Breaks off whatever goes on, on this rank.
    pub(super) fn abort(self) -> Code {
        // SAFETY: the communicator is alive, and gone with this.
        unsafe { (self.nccl.ncclCommAbort)(self.comm) }
    }

    /// Ends it when its work is done on this rank: NCCL passes on what other ranks have not read yet, as long as the limit.
    pub(super) fn leave(self, limit: Duration) -> Code {
        // SAFETY: the communicator is alive.
        let mut state = Ok(unsafe { (self.nccl.ncclCommFinalize)(self.comm) });
        if state == Ok(IN_PROGRESS) {
            let ended = wait::until(Deadline::after(limit), || {
                state = self.state();
                Ok::<_, NcclError>(state != Ok(IN_PROGRESS))
            });
            debug_assert!(ended.is_ok(), "looking does not fail");
        }
        match state {
            // SAFETY: the communicator is alive, and gone with this. Unlike breaking off it waits for what others have still to
            // be sent.
            Ok(SUCCESS) => unsafe { (self.nccl.ncclCommDestroy)(self.comm) },
            _ => self.abort(),
        }
    }
}

/// What stands for a communicator in tests.
#[cfg(test)]
pub(super) mod fake {
    use std::ffi::c_char;
    use std::sync::Arc;

    use cudarc::nccl::sys::ncclResult_t;
    use parking_lot::{Mutex, MutexGuard};

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
}
