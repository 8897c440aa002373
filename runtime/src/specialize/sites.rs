//! The sites of ordinary launches: what is launched again with the same tensors has its class found and its arguments checked.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ptr;

use parking_lot::{Mutex, MutexGuard};
use tilewright_dsl::call::{ArgumentValue, Call};

use super::site::Site;
use crate::error::LaunchError;
use crate::hardware::Hardware;

/// How many sites there are. Calls that meet in one slot take turns in having it.
const SLOTS: usize = 256;
/// How often a call has to come before it has a site, with none in between that had the slot.
const ENOUGH: u32 = 4;
/// The arguments by which calls of one kernel are told apart before anything is compared.
const TOLD_APART_BY: usize = 4;

/// Sites by hash. A launch waits for no other one: what another thread uses at the moment is not found.
pub(super) struct Sites {
    slots: Box<[Mutex<Slot>]>,
    hasher: foldhash::fast::FixedState,
}

#[derive(Default)]
struct Slot {
    hash: u64,
    site: Option<Box<Site>>,
    /// The call that came last and found no site, and how often it did.
    waiting: u64,
    times: u32,
}

/// Where the site of a call would be.
#[derive(Clone, Copy)]
pub(crate) struct SiteSlot<'s> {
    slot: &'s Mutex<Slot>,
    hash: u64,
}

/// A site that a launch has for itself.
pub(crate) struct FoundSite<'s>(MutexGuard<'s, Slot>);

impl Default for Sites {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            hasher: foldhash::fast::FixedState::default(),
        }
    }
}

impl Sites {
    /// That of a call.
    pub(super) fn slot_of(&self, call: &Call<'_>) -> SiteSlot<'_> {
        let mut hasher = self.hasher.build_hasher();
        call.definition().kernel().hash(&mut hasher);
        let arguments = call.arguments();
        hasher.write_usize(arguments.len());
        for argument in arguments.iter().take(TOLD_APART_BY) {
            let memory = match argument {
                ArgumentValue::Tensor(tensor) => Some(tensor.memory),
                ArgumentValue::List(list) => list.tensors.first().map(|tensor| tensor.memory),
                ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => None,
            };
            if let Some(memory) = memory {
                hasher.write_usize(ptr::from_ref(memory).addr());
            }
        }
        let hash = hasher.finish();
        SiteSlot {
            slot: &self.slots[hash as usize % SLOTS],
            hash,
        }
    }

    /// Notes that a call found no site in its place, and has one made if it comes often.
    pub(super) fn remember(&self, of: SiteSlot<'_>, make: impl FnOnce() -> Option<Site>) {
        let Some(mut slot) = of.slot.try_lock() else { return };
        if slot.waiting != of.hash {
            (slot.waiting, slot.times) = (of.hash, 0);
        }
        slot.times += 1;
        if slot.times >= ENOUGH {
            slot.times = 0;
            slot.hash = of.hash;
            slot.site = make().map(Box::new);
        }
    }

    /// Lets go of the variants that sites hold. Those that launch at the moment keep theirs.
    pub(super) fn let_go(&self) {
        for slot in &self.slots {
            if let Some(mut slot) = slot.try_lock()
                && let Some(site) = &mut slot.site
            {
                site.let_go();
            }
        }
    }
}

impl<'s> SiteSlot<'s> {
    /// The site, if there is one and no other launch has it.
    #[inline]
    pub(crate) fn find(self) -> Option<FoundSite<'s>> {
        let slot = self.slot.try_lock()?;
        (slot.hash == self.hash && slot.site.is_some()).then_some(FoundSite(slot))
    }
}

impl FoundSite<'_> {
    /// The site, if it [admits](Site::admits) a call. Others that wait for its slot have to come again.
    ///
    /// # Errors
    /// As for [`Site::admits`].
    #[inline]
    pub(crate) fn admitting(
        &mut self,
        call: &Call<'_>,
        hardware: &Hardware,
        check: impl FnOnce() -> Result<(), LaunchError>,
    ) -> Result<Option<&mut Site>, LaunchError> {
        let Slot { site, times, .. } = &mut *self.0;
        let Some(site) = site else { return Ok(None) };
        let is_admitted = site.admits(call, hardware, check)?;
        if is_admitted {
            *times = 0;
        }
        Ok(is_admitted.then_some(site))
    }
}
