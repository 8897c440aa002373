//! Who wants to be told what happens on a device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::{Measured, Tier, Variant};
use crate::cache::Origin;

/// What happened on a device. A variant's [id](Variant::id) is the key that all that concerns it has in common.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A variant was built.
    Built {
        /// The variant.
        variant: &'a Arc<Variant>,
        /// Whether a launch waited for it.
        waited: bool,
        /// Where its cubin came from; `None` on the CPU device.
        origin: Option<Origin>,
    },
    /// A launch was put into its stream, or done, on the CPU device.
    Launched {
        /// The variant that served it; `None` for no programs.
        variant: Option<&'a Arc<Variant>>,
        /// Which tier it is of; `None` for no programs.
        tier: Option<Tier>,
        /// How long it took on the host.
        host_time: Duration,
    },
    /// A variant that was built behind serves launches from now on.
    Promoted {
        /// The variant.
        variant: &'a Arc<Variant>,
        /// Which tier it is of.
        tier: Tier,
    },
    /// A variant with literals measured as no faster, and serves no launches.
    Rejected {
        /// The figures.
        measured: &'a Measured,
    },
    /// A variant was dropped to make room.
    Evicted {
        /// The variant.
        variant: &'a Arc<Variant>,
    },
    /// A variant could not be built behind. The resident one goes on serving.
    Failed {
        /// The kernel.
        kernel: &'a str,
        /// What went wrong.
        error: &'a str,
    },
}

/// What is called with each event, in the thread in which it happens.
pub(crate) type Hook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

#[derive(Default)]
pub(crate) struct Hooks {
    all: ArcSwapOption<Vec<Hook>>,
    /// Without any, a launch looks no further.
    are_there: AtomicBool,
}

impl Hooks {
    pub(crate) fn add(&self, hook: Hook) {
        self.all.rcu(|hooks| {
            let before = hooks.iter().flat_map(|hooks| hooks.iter().cloned());
            Some(Arc::new(before.chain([hook.clone()]).collect::<Vec<_>>()))
        });
        self.are_there.store(true, Relaxed);
    }

    pub(super) fn are_there(&self) -> bool {
        self.are_there.load(Relaxed)
    }

    /// Tells all hooks; without any, the event is not even made.
    pub(crate) fn tell<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if self.are_there()
            && let Some(hooks) = &*self.all.load()
        {
            let event = event();
            hooks.iter().for_each(|hook| hook(&event));
        }
    }
}
