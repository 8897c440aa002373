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
