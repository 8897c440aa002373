//! Calls that keep the memory of their tensors.

#![allow(unsafe_code)]

use std::sync::Arc;

use tilewright_dsl::call::Call;

use super::cuda::memories;
use crate::hardware::memory::Storage;

/// A call over memory that it keeps, so that it can be launched whenever somebody wants.
pub(super) struct KeptCall {
    /// Over the memory that is kept, which is dropped after it.
    call: Call<'static>,
    /// No box, which nobody may lend from while it is moved.
    _kept: Arc<[Storage]>,
}

impl KeptCall {
    /// That of a call; `None` if it has memory of another runtime.
    ///
    /// # Safety
    /// Memory that is only borrowed stays what it is as long as this is launched.
    pub(super) unsafe fn of(call: Call<'_>) -> Option<Self> {
        let kept: Arc<[Storage]> = memories(call.arguments()).cloned().collect();
        let mut each = kept.iter();
        let call = call.with_memory(|_| {
            let kept = std::ptr::from_ref(each.next()?);
            // SAFETY: what is kept so stays where it is as long as what is returned here, and the call is dropped before it. The call
            // is lent for no longer than that.
            Some(unsafe { &*kept })
        })?;
        Some(Self { call, _kept: kept })
    }

    pub(super) fn call(&self) -> &Call<'_> {
        &self.call
    }

    /// Gives the count at a position another value.
    #[inline]
    pub(super) fn set_count(&mut self, position: usize, value: u64) {
        self.call.set_count(position, value);
    }
}
