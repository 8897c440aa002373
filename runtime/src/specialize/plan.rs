//! How a launch is done: the grid, the variant, and what both are found by.

use std::any::TypeId;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use tilewright_dsl::call::{Call, Definition, Specialize};
use tilewright_dsl::lower::Accesses;
use tilewright_dsl::schedule::Machine;

use super::ahead::ServedBy;
use super::class::{Binding, LaunchClass};
use super::classes::Classes;
use super::evict::Limits;
use super::key::Literals;
use super::literals::{Standing, Tried, hash_of};
use super::offline::{Offline, Target};
use super::recording::{Recordings, check_shared};
use super::site::Site;
use super::sites::{SiteSlot, Sites};
use super::trial::{Measured, Reading, Side, Trial, Verdict};
use super::variants::Variants;
use super::{Event, Hooks, Tier, Variant, VariantId};
use crate::compile::Compiler;
use crate::counters::Tally;
use crate::error::LaunchError;
use crate::hardware::Hardware;

/// Of so many launches one is timed: a number that the launches of an engine's step are no multiple of, so that it is each of
/// them in turn.
const TIMED: u64 = 13;

/// How a launch is done.
pub(crate) struct LaunchPlan {
    /// The extents of the grid; 1 on axes that it does not have.
    pub(crate) grid: [u64; 3],
    /// Their product.
    pub(crate) programs: u64,
    /// What runs; `None` for no programs.
    pub(crate) served: Option<Served>,
}

/// The variant that serves a launch.
pub(crate) struct Served {
    pub(crate) variant: Arc<Variant>,
    /// Which tier it is of.
    pub(crate) tier: Tier,
    /// The CUDA blocks; 0 on the CPU device.
    pub(crate) blocks: u32,
    /// Whether it was built for this launch.
    pub(crate) is_new: bool,
    /// The comparison that the launch is a part of.
    pub(crate) measure: Option<Box<Measure>>,
}

/// A launch that is a part of a comparison.
pub(crate) struct Measure {
    /// That with literals, and the one without, which knows them by a hash.
    pub(super) class: Arc<LaunchClass>,
    pub(super) without: Arc<LaunchClass>,
    pub(super) hash: u64,
    pub(super) side: Side,
    pub(super) variants: [VariantId; 2],
    pub(super) with: Arc<Variant>,
}

/// What is kept per device, from recordings to variants.
pub(crate) struct Specializer(Arc<Shared>);

/// What is built behind holds it weakly: a device that is gone wants nothing.
pub(super) struct Shared {
    pub(super) itself: Weak<Shared>,
    pub(super) hardware: Hardware,
    /// Who compiles for a GPU.
    pub(super) compiler: Compiler,
    /// What launches are prepared for instead of being done.
    pub(super) offline: Option<Offline>,
    pub(super) tally: Tally,
    pub(super) hooks: Hooks,
    pub(super) recordings: Recordings,
    pub(super) classes: Classes,
    pub(super) variants: Variants,
    /// The classes with literals that are tried.
    pub(super) tried: Tried,
    pub(super) limits: Limits,
    is_sealed: AtomicBool,
    default: AtomicU8,
    by_kernel: ArcSwap<Vec<(TypeId, Specialize)>>,
    /// How often it was told what launches do.
    pub(super) told: AtomicU64,
    /// Those of ordinary launches.
    pub(super) sites: Sites,
    #[cfg(test)]
    pub(super) injected: parking_lot::Mutex<Option<super::tests::Injected>>,
    /// Whether what is made in haste is provisional on the CPU device too.
    #[cfg(test)]
    pub(super) hastens: AtomicBool,
}

impl Specializer {
    pub(crate) fn new(hardware: Hardware, compiler: Compiler, offline: Option<Offline>) -> Self {
        // Nothing is compiled for the CPU, so nothing has to be waited for; and the proofs are tested by each launch.
        let default = if hardware.as_cuda().is_some() || offline.is_some() {
            Specialize::Tiered
        } else {
            Specialize::Exact
        };
        Self(Arc::new_cyclic(|itself| Shared {
            itself: itself.clone(),
            hardware,
            compiler,
            offline,
            tally: Tally::default(),
            hooks: Hooks::default(),
            recordings: Recordings::default(),
            classes: Classes::default(),
            variants: Variants::default(),
            tried: Tried::default(),
            limits: Limits::default(),
            is_sealed: AtomicBool::new(false),
            default: AtomicU8::new(default as u8),
            by_kernel: ArcSwap::default(),
            told: AtomicU64::new(0),
            sites: Sites::default(),
            #[cfg(test)]
            injected: parking_lot::Mutex::default(),
            #[cfg(test)]
            hastens: AtomicBool::new(false),
        }))
    }

    pub(crate) fn hardware(&self) -> &Hardware {
        &self.0.hardware
    }

    pub(crate) fn compiler(&self) -> Compiler {
        self.0.compiler
    }

    /// The GPU that launches are prepared for, if it is not here.
    pub(crate) fn offline(&self) -> Option<&Target> {
        self.0.offline.as_ref().map(|offline| &offline.target)
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    pub(crate) fn hooks(&self) -> &Hooks {
        &self.0.hooks
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What launches do that do not say so themselves.
    pub(crate) fn set_default(&self, specialize: Specialize) {
        self.0.default.store(specialize as u8, Relaxed);
        self.0.told.fetch_add(1, Relaxed);
    }

    /// What launches of a kernel do that do not say so themselves.
    pub(crate) fn set_for(&self, kernel: &Definition, specialize: Specialize) {
        for kernel in kernel.parts().map(Definition::kernel) {
            self.0.by_kernel.rcu(|all| {
                let others = all.iter().filter(|(other, _)| *other != kernel).copied();
                others.chain([(kernel, specialize)]).collect::<Vec<_>>()
            });
        }
        self.0.told.fetch_add(1, Relaxed);
    }

    pub(crate) fn seal(&self, is_sealed: bool) {
        self.0.is_sealed.store(is_sealed, Relaxed);
    }

    /// What a thread does of the tensors' memory in the best variant for a checked call.
    pub(crate) fn accesses(&self, call: &Call<'_>) -> Result<Accesses, LaunchError> {
        let class = self.0.class(call, Literals::AllThatMay)?;
        let (grid, programs) = class.programs(call)?;
        let machine = self.0.machine().unwrap_or(Machine::H200);
        class.accesses(class.conditions(call, grid), &machine, programs)
    }

    /// The plan of a checked call. `is_capturing` says whether the launch goes into a graph; it is asked only if the launch
    /// would have to wait.
    pub(crate) fn plan(
        &self,
        call: &Call<'_>,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<LaunchPlan, LaunchError> {
        self.0.plan(call, is_capturing)
    }

    /// Where a call looks for the site of others like it.
    #[inline]
    pub(crate) fn slot_of(&self, call: &Call<'_>) -> SiteSlot<'_> {
        self.0.sites.slot_of(call)
    }

    /// Notes that a checked call found no site, and makes one for it if such calls come often.
    pub(crate) fn remember(&self, of: SiteSlot<'_>, call: &Call<'_>) {
        self.0.sites.remember(of, || self.0.site(call).ok());
    }

    /// The class of a checked call, for a place that launches others of it.
    pub(crate) fn site(&self, call: &Call<'_>) -> Result<Site, LaunchError> {
        self.0.site(call)
    }

    /// As [`Specializer::plan`], of a call that the site has checked.
    pub(crate) fn plan_at(
        &self,
        site: &mut Site,
        call: &Call<'_>,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<LaunchPlan, LaunchError> {
        self.0.plan_at(site, call, is_capturing)
    }

    /// Builds all that launches of a call may be served by, what has its exact counts as literals if that is asked for.
    /// Returns how many variants were built for it.
    pub(crate) fn warm_up(&self, call: &Call<'_>, with_literals: bool) -> Result<u64, LaunchError> {
        self.0.warm_up(call, with_literals)
    }

    /// What a launch is to do.
    pub(crate) fn specialize(&self, call: &Call<'_>) -> Specialize {
        self.0.specialize(call)
    }

    /// What decides, besides literals, which variants serve launches of a call; `None` for no programs.
    pub(crate) fn served_by(&self, call: &Call<'_>) -> Result<Option<ServedBy>, LaunchError> {
        self.0.served_by(call)
    }

    /// When a launch began, if it is one that is timed: reading the clock twice is a fifth of what a launch costs besides the
    /// driver. Who is told of launches is told their times.
    #[inline]
    pub(crate) fn started(&self) -> Option<Instant> {
        let is_timed = self.0.hooks.are_there() || self.0.tally.launches().is_multiple_of(TIMED);
        is_timed.then(Instant::now)
    }

    /// A launch has been done, served by a variant or of no programs, which began at some time if it is timed.
    #[inline]
    pub(crate) fn launched(&self, served: Option<&Served>, started: Option<Instant>) {
        let tally = &self.0.tally;
        let tier = match served {
            None => &tally.served_none,
            Some(served) => {
                if served.is_new {
                    Tally::add(&tally.built);
                }
                served.variant.last_used.store(tally.launches(), Relaxed);
                match served.tier {
                    Tier::Resident => &tally.served_resident,
                    Tier::Proved => &tally.served_proved,
                    Tier::Literal => &tally.served_literal,
                }
            }
        };
        Tally::add(tier);
        if let Some(started) = started {
            let host_time = started.elapsed();
            tally.took(host_time);
            self.0.hooks.tell(|| Event::Launched {
                variant: served.map(|served| &served.variant),
                tier: served.map(|served| served.tier),
                host_time,
            });
        }
    }

    /// A measured launch. What is built behind, and what is dropped, is in another thread.
    pub(crate) fn measured(&self, measure: Measure, reading: Box<dyn Reading>) {
        let Measure {
            class,
            without,
            hash,
            side,
            variants,
            with,
        } = measure;
        let Some(trial) = &class.trial else { return };
        let verdict = trial.add(side, reading, variants);
        if let Some(verdict) = verdict {
            without.seen.judge(hash, verdict);
        }
        match verdict {
            Some(Verdict::Kept) => {
                Tally::add(&self.0.tally.promotions);
                tracing::info!(kernel = with.name(), variant = %with.id(), "literals measured as faster");
                self.0.hooks.tell(|| Event::Promoted {
                    variant: &with,
                    tier: Tier::Literal,
                });
            }
            Some(Verdict::Rejected) => {
                Tally::add(&self.0.tally.rejections);
                let measured = trial.measured(with.name(), class.literals());
                tracing::info!(kernel = with.name(), variant = %with.id(), %measured, "literals measured as no faster");
                self.0.hooks.tell(|| Event::Rejected { measured: &measured });
                drop(with);
                self.0.drop_behind(class.clone());
            }
            Some(Verdict::Measuring) | None => {}
        }
    }

    /// What exactness bought so far.
    pub(crate) fn all_measured(&self) -> Vec<Measured> {
        let measured = |class: Arc<LaunchClass>| {
            let trial: &Trial = class.trial.as_ref()?;
            let measured = trial.measured(&class.traced().kernel.name, class.literals());
            measured.variants.is_some().then_some(measured)
        };
        self.0.classes.all().into_iter().filter_map(measured).collect()
    }

    pub(crate) fn variants(&self) -> Vec<Arc<Variant>> {
        self.0.variants.all()
    }

    /// Serves a call as a GPU would, also where nothing is launched.
    #[cfg(test)]
    pub(super) fn serve(&self, call: &Call<'_>) -> Result<Served, LaunchError> {
        let specialize = self.specialize(call);
        let literals = match specialize {
            Specialize::Exact => Literals::AllThatMay,
            Specialize::Tiered | Specialize::Resident => Literals::None,
        };
        let class = self.0.class(call, literals)?;
        let grid = class.grid(call)?;
        self.0.serve(call, specialize, &class, grid, None, &|| Ok(false))
    }

    #[cfg(test)]
    pub(super) fn classes(&self) -> usize {
        self.0.classes.all().len()
    }

    #[cfg(test)]
    pub(super) fn hasten(&self) {
        self.0.hastens.store(true, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn inject(&self, injected: super::tests::Injected) {
        *self.0.injected.lock() = Some(injected);
    }
}

impl Shared {
    pub(super) fn plan(
        &self,
        call: &Call<'_>,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<LaunchPlan, LaunchError> {
        let specialize = self.specialize(call);
        let literals = match specialize {
            Specialize::Exact => Literals::AllThatMay,
            Specialize::Tiered | Specialize::Resident => Literals::None,
        };
        self.plan_in(&self.class(call, literals)?, specialize, call, None, is_capturing)
    }

    /// The plan of a call of a class; how the values that may be literals stand there, if somebody has looked.
    pub(super) fn plan_in(
        &self,
        class: &Arc<LaunchClass>,
        specialize: Specialize,
        call: &Call<'_>,
        standing: Option<Standing>,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<LaunchPlan, LaunchError> {
        let (grid, programs) = class.programs(call)?;
        if self.offline.is_some() {
            self.warm_up(call, false)?;
            let (programs, served) = (0, None);
            return Ok(LaunchPlan { grid, programs, served });
        }
        let served = match programs {
            0 => None,
            _ => Some(self.serve(call, specialize, class, grid, standing, is_capturing)?),
        };
        Ok(LaunchPlan { grid, programs, served })
    }

    /// What a launch is to do: what it says itself, its kernel is told, or the kernel's author wrote; else what all do.
    pub(super) fn specialize(&self, call: &Call<'_>) -> Specialize {
        const ALL: [Specialize; 3] = [Specialize::Tiered, Specialize::Exact, Specialize::Resident];
        if let Some(asked) = call.asked_specialize() {
            return asked;
        }
        let told = self.by_kernel.load();
        let of = |kernel: &Definition| {
            let found = told.iter().find(|(other, _)| *other == kernel.kernel());
            found.map(|(_, asked)| *asked).or(kernel.specialize())
        };
        let mut asked = call.definition().parts().map(of);
        // Kernels that are fused and want different things get what the device wants.
        let first = asked.next().flatten();
        first
            .filter(|_| asked.all(|other| other == first))
            .unwrap_or(ALL[usize::from(self.default.load(Relaxed)).min(2)])
    }

    /// The class of a call; made now if there is none, which compiles nothing.
    pub(super) fn class(&self, call: &Call<'_>, literals: Literals) -> Result<Arc<LaunchClass>, LaunchError> {
        let class = match self.classes.find(call, literals) {
            Some(class) => {
                check_shared(call, &class.traced().kernel.parameters)?;
                class
            }
            None => {
                let traced = self.recordings.serve(call, &self.tally)?;
                let class = LaunchClass::new(Binding::new(traced, call, literals));
                let class = self.classes.add(call, literals, class);
                if literals == Literals::AllThatMay
                    && let Some(without) = self.classes.find(call, Literals::None)
                {
                    without.seen.judge(hash_of(call), class.verdict());
                }
                class
            }
        };
        class.touch(self.tally.launches());
        Ok(class)
    }

    /// Whether a launch may wait until something is compiled.
    pub(super) fn may_wait(&self, is_capturing: &dyn Fn() -> Result<bool, LaunchError>) -> Result<bool, LaunchError> {
        Ok(!self.is_sealed.load(Relaxed) && !is_capturing()?)
    }

    /// The GPU that variants are compiled for.
    pub(super) fn target(&self) -> Option<Target> {
        let here = || self.hardware.as_cuda().map(|cuda| cuda.properties().into());
        self.offline.as_ref().map(|offline| offline.target).or_else(here)
    }

    pub(super) fn machine(&self) -> Option<Machine> {
        self.target().map(Target::machine)
    }

    #[cfg(test)]
    pub(super) fn inject(&self, kernel: &str, wait: super::build::Wait) -> Result<(), LaunchError> {
        let injected = self.injected.lock().clone();
        injected.map_or(Ok(()), |injected| injected(kernel, wait == super::build::Wait::Behind))
    }
}
