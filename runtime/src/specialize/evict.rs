//! Room for variants: what was used least goes first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::class::LaunchClass;
use super::plan::Shared;
use super::{Event, Variant, VariantId};
use crate::behind::COMPILERS;
use crate::compile::CompileOptions;
use crate::counters::Tally;
use crate::deadline::Deadline;

/// How much of compiled kernels a device keeps loaded.
///
/// When there is more, the variants that were used least are dropped. Those stay that serve all launches of a class, that
/// somebody holds (a launch, a captured graph), or that may have something to report; so there may be more than this.
///
/// Where launches want more than this in turns, they are not compiled again and again: as long as there is no room, what
/// made room is compiled behind only after 1024 launches more, and then after twice as many each time; until then its
/// launches are served by the next best that there is ([`Counters::held_back`](crate::Counters)). A launch that is
/// [`Exact`](tilewright_dsl::call::Specialize::Exact) waits whatever it takes; but what comes back too often is the first to go
/// again, so that others stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeLimits {
    /// How many variants.
    pub variants: u64,
    /// How many bytes of their cubins.
    pub bytes: u64,
}

impl Default for CodeLimits {
    /// 4096 variants, 256 MiB.
    fn default() -> Self {
        Self {
            variants: 4096,
            bytes: 256 << 20,
        }
    }
}

/// For how many launches a variant that made room is not built again behind, the first time.
pub(super) const FIRST_PAUSE: u64 = 1 << 10;
/// How often the pause is doubled at most.
const MAX_DOUBLED: u32 = 20;

/// How long a variant that is not wanted any more is waited for, if somebody holds it. Then it stays until there is too much.
const LETTING_GO: Duration = Duration::from_millis(50);

/// That a variant made room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropped {
    times: u32,
    /// The number of the launch from which on it may be built again behind.
    until: u64,
}

impl Dropped {
    fn of(variant: &Variant, now: u64) -> Self {
        let times = variant.returns.saturating_add(1);
        Self {
            times,
            until: now.saturating_add(pause(times)),
        }
    }

    pub(super) fn times(self) -> u32 {
        self.times
    }
}

/// So many launches a variant is not built again that made room so often.
fn pause(times: u32) -> u64 {
    times
        .checked_sub(1)
        .map_or(0, |doubled| FIRST_PAUSE << doubled.min(MAX_DOUBLED))
}

/// The limits as they are at present.
pub(crate) struct Limits {
    variants: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds that a compilation may take.
    compilation: AtomicU64,
    is_under_way: AtomicBool,
}

impl Default for Limits {
    fn default() -> Self {
        let CodeLimits { variants, bytes } = CodeLimits::default();
        Self {
            variants: AtomicU64::new(variants),
            bytes: AtomicU64::new(bytes),
            compilation: AtomicU64::new(nanos(CompileOptions::LIMIT)),
            is_under_way: AtomicBool::new(false),
        }
    }
}

impl Limits {
    pub(crate) fn set(&self, limits: CodeLimits) {
        self.variants.store(limits.variants, Relaxed);
        self.bytes.store(limits.bytes, Relaxed);
    }

    pub(crate) fn set_compilation(&self, limit: Duration) {
        self.compilation.store(nanos(limit), Relaxed);
    }

    pub(crate) fn compilation(&self) -> Duration {
        Duration::from_nanos(self.compilation.load(Relaxed))
    }

    pub(crate) fn get(&self) -> CodeLimits {
        CodeLimits {
            variants: self.variants.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Shared {
    /// Whether what made room may be built again behind: there is room now, or its pause is over. If not, that is counted.
    pub(super) fn may_return(&self, dropped: Dropped) -> bool {
        let limits = self.limits.get();
        let has_room =
            self.tally.variants.load(Relaxed) < limits.variants && self.tally.code_bytes.load(Relaxed) < limits.bytes;
        let may_return = has_room || self.tally.launches() >= dropped.until;
        if !may_return {
            Tally::add(&self.tally.held_back);
        }
        may_return
    }

    fn is_within_limits(&self) -> bool {
        let limits = self.limits.get();
        self.tally.variants.load(Relaxed) <= limits.variants && self.tally.code_bytes.load(Relaxed) <= limits.bytes
    }

    /// Has variants dropped behind if there are too many.
    pub(super) fn make_room(&self) {
        if self.is_within_limits() {
            return;
        }
        if self.limits.is_under_way.swap(true, Relaxed) {
            return;
        }
        let shared = self.itself.clone();
        let is_handed_over = COMPILERS.submit(move || {
            if let Some(shared) = shared.upgrade() {
                shared.limits.is_under_way.store(false, Relaxed);
                shared.evict();
            }
        });
        if !is_handed_over {
            self.limits.is_under_way.store(false, Relaxed);
        }
    }

    /// Drops the variants of a class behind: unloading waits for what runs.
    pub(super) fn drop_behind(&self, class: Arc<LaunchClass>) {
        let shared = self.itself.clone();
        COMPILERS.submit(move || {
            let Some(shared) = shared.upgrade() else { return };
            let own: HashSet<_> = class.variants().iter().map(|variant| variant.id()).collect();
            class.variants().iter().for_each(|variant| class.forget(variant, None));
            let classes = shared.classes.all();
            let others: HashSet<_> = classes
                .iter()
                .flat_map(|class| class.variants())
                .map(|variant| variant.id())
                .collect();
            let unused = |variant: &Arc<Variant>| own.contains(&variant.id()) && !others.contains(&variant.id());
            let mut rest = shared.variants.all();
            rest.retain(unused);
            shared.drop_soon(rest, &classes);
        });
    }

    /// Drops provisional variants of a name, if another has taken their place.
    pub(super) fn drop_superseded(&self, id: VariantId) {
        let superseded = self.variants.superseded(id);
        if !superseded.is_empty() {
            self.drop_soon(superseded, &self.classes.all());
        }
    }

    /// Drops variants that no class holds as soon as nobody else does, unless that takes too long: for threads behind.
    fn drop_soon(&self, mut variants: Vec<Arc<Variant>>, classes: &[Arc<LaunchClass>]) {
        variants.retain(|variant| variant.may_go());
        // The launch that has brought this about is about to return, and whoever launched to let go of what it tells.
        let deadline = Deadline::after(LETTING_GO);
        loop {
            variants.retain(|variant| !self.drop_variant(variant, classes, 0, None));
            if variants.is_empty() || deadline.is_past() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn evict(&self) {
        let classes = self.classes.all();
        let residents: HashSet<*const Variant> = classes
            .iter()
            .filter_map(|class| class.resident().as_ref().map(Arc::as_ptr))
            .collect();
        let mut holders: HashMap<*const Variant, usize> = HashMap::new();
        for variant in classes.iter().flat_map(|class| class.variants()) {
            *holders.entry(Arc::as_ptr(&variant)).or_default() += 1;
        }
        let mut candidates = self.variants.all();
        candidates.retain(|variant| !residents.contains(&Arc::as_ptr(variant)) && variant.may_go());
        // What has made room before counts as used that much earlier.
        candidates.sort_by_cached_key(|variant| {
            let used = variant.last_used.load(Relaxed);
            i128::from(used) - i128::from(pause(variant.returns))
        });
        for variant in candidates {
            if self.is_within_limits() {
                return;
            }
            let holders = holders.get(&Arc::as_ptr(&variant)).copied().unwrap_or_default();
            let dropped = Dropped::of(&variant, self.tally.launches());
            if self.drop_variant(&variant, &classes, holders, Some(dropped)) {
                Tally::add(&self.tally.evictions);
                tracing::debug!(kernel = variant.name(), variant = %variant.id(), "a variant made room");
                self.hooks.tell(|| Event::Evicted { variant: &variant });
            }
        }
    }

    /// Drops a variant that so many classes hold, unless somebody else than these and the caller does.
    fn drop_variant(
        &self,
        variant: &Arc<Variant>,
        classes: &[Arc<LaunchClass>],
        holders: usize,
        dropped: Option<Dropped>,
    ) -> bool {
        let is_dropped = variant.may_go() && self.variants.forget(variant, holders + 1);
        if is_dropped {
            classes.iter().for_each(|class| class.forget(variant, dropped));
            self.tally.variants.fetch_sub(1, Relaxed);
            self.tally.code_bytes.fetch_sub(variant.code_bytes(), Relaxed);
        }
        is_dropped
    }
}
