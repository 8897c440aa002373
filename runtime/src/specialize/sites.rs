//! The sites of ordinary launches: what is launched again with the same tensors has its class found and its arguments checked.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use tilewright_dsl::call::{ArgumentValue, Call};

use super::site::Site;
use crate::error::LaunchError;
use crate::hardware::Hardware;

/// How many sites there are.
const SLOTS: usize = 256;
/// The neighbouring slots in which a call may have its site. Calls that meet in one all the same take turns in having it.
const WAYS: usize = 4;
/// How often a call has to come before it has a site, with none in between that had the slot.
const ENOUGH: u32 = 4;
/// The arguments by which calls of one kernel are told apart before anything is compared.
const TOLD_APART_BY: usize = 4;

/// Sites by hash. A launch waits for no other one: what another thread uses at the moment is not found.
pub(super) struct Sites {
    slots: Box<[Slot]>,
    hasher: foldhash::fast::FixedState,
}

#[derive(Default)]
struct Slot {
    /// Whose site it has; 0 of none. It is changed by who holds the lock.
    hash: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    site: Option<Box<Site>>,
    /// The call that came last and found no site, and how often it did.
    waiting: u64,
    times: u32,
}

/// Where the site of a call would be.
#[derive(Clone, Copy)]
pub(crate) struct SiteSlot<'s> {
    slot: &'s Slot,
    hash: u64,
}

/// A site that a launch has for itself.
pub(crate) struct FoundSite<'s>(MutexGuard<'s, Kept>);

impl Default for Sites {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            hasher: foldhash::fast::FixedState::default(),
        }
    }
}

impl Sites {
    /// That of a call.
    pub(super) fn slot_of(&self, call: &Call<'_>) -> SiteSlot<'_> {
        let mut hasher = self.hasher.build_hasher();
        // Of one with other compile-time arguments it is another one: these may differ from step to step.
        call.definition().identity().for_each(|part| part.hash(&mut hasher));
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
        // No call has that of a slot without a site.
        let hash = hasher.finish().max(1);
        let ways = (0..WAYS).map(|way| &self.slots[(hash as usize).wrapping_add(way) % SLOTS]);
        let of = |wanted: u64| ways.clone().find(|slot| slot.hash.load(Relaxed) == wanted);
        let slot = of(hash).or_else(|| of(0)).unwrap_or(&self.slots[hash as usize % SLOTS]);
        SiteSlot { slot, hash }
    }

    /// Notes that a call found no site in its place, and has one made if it comes often.
    pub(super) fn remember(&self, of: SiteSlot<'_>, make: impl FnOnce() -> Option<Site>) {
        let Some(mut kept) = of.slot.kept.try_lock() else {
            return;
        };
        if kept.waiting != of.hash {
            (kept.waiting, kept.times) = (of.hash, 0);
        }
        kept.times += 1;
        if kept.times >= ENOUGH {
            kept.times = 0;
            kept.site = make().map(Box::new);
            let hash = if kept.site.is_some() { of.hash } else { 0 };
            of.slot.hash.store(hash, Relaxed);
        }
    }
}

impl<'s> SiteSlot<'s> {
    /// The site, if there is one and no other launch has it.
    #[inline]
    pub(crate) fn find(self) -> Option<FoundSite<'s>> {
        let kept = self.slot.kept.try_lock()?;
        (self.slot.hash.load(Relaxed) == self.hash && kept.site.is_some()).then_some(FoundSite(kept))
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
        let Kept { site, times, .. } = &mut *self.0;
        let Some(site) = site else { return Ok(None) };
        let is_admitted = site.admits(call, hardware, check)?;
        if is_admitted {
            *times = 0;
        }
        Ok(is_admitted.then_some(site))
    }
}

#[cfg(test)]
mod tests {
    use tilewright_dsl::call::Exact;
    use tilewright_dsl::kernel;
    use tilewright_dsl::lang::*;

    use super::*;
    use crate::{Device, TensorError};

    #[kernel(grid = [rows])]
    fn fill(out: &mut Tensor<u32, 1>, rows: Count, #[comptime] value: usize) {
        out.store([program_id(0)], value as u32);
    }

    /// A gather between ranks cuts its rows in other pieces from step to step.
    #[test]
    fn calls_that_differ_in_a_compile_time_argument_or_in_their_tensors_have_sites_of_their_own()
    -> Result<(), TensorError> {
        let device = Device::cpu();
        let sites = Sites::default();
        let [mut one, mut other] = [device.zeros::<u32, 1>([4])?, device.zeros::<u32, 1>([4])?];
        let first = sites.slot_of(&fill(&mut one, Exact(1), 7)).hash;
        assert_eq!(first, sites.slot_of(&fill(&mut one, Exact(3), 7)).hash);
        assert_ne!(first, sites.slot_of(&fill(&mut one, Exact(1), 8)).hash);
        assert_ne!(first, sites.slot_of(&fill(&mut other, Exact(1), 7)).hash);
        Ok(())
    }
}
