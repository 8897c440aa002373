//! What is built before a launch needs it: behind launches that others serve, and for a warm-up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::call::{Call, Specialize};
use tilewright_dsl::panic;
use tilewright_dsl::schedule::Schedule;

use super::build::{self, Wait};
use super::class::{Binding, LaunchClass, Staged};
use super::key::{Key, Literals};
use super::plan::Shared;
use super::request::{End, MAX_ATTEMPTS, Wanted};
use super::trial::Verdict;
use super::{Event, Tier, Variant};
use crate::behind::COMPILERS;
use crate::counters::Tally;
use crate::error::LaunchError;

/// What the variants without literals are made for that serve a launch.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ServedBy {
    best: Wanted,
    resident: Wanted,
}

impl Shared {
    /// Has a variant built behind, unless it has been asked for: compiled at once, and loaded when that holds up no launch.
    pub(super) fn ask_for(&self, class: &Arc<LaunchClass>, wanted: Wanted, programs: u64) {
        if !class.requests.begin(wanted) {
            return;
        }
        let (shared, asked) = (self.itself.clone(), class.clone());
        let job = move || {
            let Some(here) = shared.upgrade() else { return };
            let Some(prepared) = here.attempt(&asked, wanted, || here.prepare(&asked, wanted, programs)) else {
                return;
            };
            let hardware = here.hardware.clone();
            drop(here);
            hardware.when_quiet(move |is_quiet| {
                let Some(shared) = shared.upgrade() else { return };
                let built = shared.attempt(&asked, wanted, || {
                    shared.build_behind(&asked, wanted, prepared, is_quiet)
                });
                if built.is_some() {
                    asked.requests.end(wanted, End::Built);
                }
            });
        };
        if self.hardware.has_enough_waiting() || !COMPILERS.submit(job) {
            class.requests.end(wanted, End::NotTried);
        }
    }

    /// A step on the way to a variant that is built behind; `None` if it failed, which ends the request.
    fn attempt<T>(
        &self,
        class: &LaunchClass,
        wanted: Wanted,
        step: impl FnOnce() -> Result<T, LaunchError>,
    ) -> Option<T> {
        let how = match catch_unwind(AssertUnwindSafe(step)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => self.failed(class, &error.to_string()),
            Err(panic) => self.failed(class, &format!("it panicked: {}", panic::message(&*panic))),
        };
        if class.requests.end(wanted, how) {
            class.keep_provisional(wanted);
        }
        None
    }

    /// Has the code of a wanted variant made.
    fn prepare(
        &self,
        class: &Arc<LaunchClass>,
        (holding, schedule): Wanted,
        programs: u64,
    ) -> Result<(Arc<Staged>, Option<Schedule>), LaunchError> {
        let staged = class.staged(holding)?;
        let chosen = || class.schedule(&staged, self.machine().as_ref(), programs);
        let schedule: Option<Schedule> = schedule.or_else(chosen);
        if let Some(schedule) = &schedule {
            build::prepare(self, &staged, schedule)?;
        }
        Ok((staged, schedule))
    }

    fn build_behind(
        &self,
        class: &Arc<LaunchClass>,
        (holding, _): Wanted,
        (staged, schedule): (Arc<Staged>, Option<Schedule>),
        is_quiet: bool,
    ) -> Result<(), LaunchError> {
        let (variant, is_new) = build::variant(self, &staged, schedule.as_ref(), Wait::Behind)?;
        if is_new && !is_quiet {
            Tally::add(&self.tally.busy_loads);
        }
        staged.keep(schedule, &variant);
        let is_for_all = holding == ConditionBits::NONE && class.trial.is_none();
        if is_for_all {
            class.set_resident(&variant);
        }
        // Those with literals have yet to show that they are better.
        if is_new && class.trial.is_none() {
            Tally::add(&self.tally.promotions);
            let tier = if is_for_all { Tier::Resident } else { Tier::Proved };
            self.hooks.tell(|| Event::Promoted {
                variant: &variant,
                tier,
            });
        }
        let id = variant.id();
        drop(variant);
        self.drop_superseded(id);
        self.make_room();
        Ok(())
    }

    fn failed(&self, class: &LaunchClass, error: &str) -> End {
        let kernel = &class.traced().kernel.name;
        tracing::warn!(
            kernel,
            error,
            "a variant could not be built behind; launches are served by the resident one"
        );
        Tally::add(&self.tally.failures);
        self.hooks.tell(|| Event::Failed { kernel, error });
        End::Failed
    }

    /// Has the class with a call's literals made behind. Its variants are asked for by the launches that find it.
    pub(super) fn ask_for_literals(&self, call: &Call<'_>, class: &Arc<LaunchClass>, hash: u64) {
        if let Some(made) = self.classes.find(call, Literals::AllThatMay) {
            class.seen.judge(hash, made.verdict());
            return;
        }
        if class.failed_literals.load(Relaxed) >= MAX_ATTEMPTS {
            class.seen.judge(hash, Verdict::Rejected);
            return;
        }
        // There is always more that may be worth it, and asking costs the launch.
        let launches = self.tally.launches();
        if !self.tried.has_room(launches) || !COMPILERS.is_quick() || self.hardware.has_enough_waiting() {
            self.tried.wait(launches);
            return;
        }
        class.seen.asked(hash);
        let binding = Binding::new(class.recording(), call, Literals::AllThatMay);
        let mut key = Key::empty();
        key.refill_for_launch(call, Literals::AllThatMay);
        let (shared, without) = (self.itself.clone(), class.clone());
        let is_handed_over = COMPILERS.submit(move || {
            let Some(shared) = shared.upgrade() else { return };
            match catch_unwind(AssertUnwindSafe(|| LaunchClass::new(binding))) {
                Ok(class) => {
                    class.touch(shared.tally.launches());
                    let class = shared.classes.add_made(key, class);
                    shared.tried.add(&class, shared.tally.launches());
                    without.seen.judge(hash, class.verdict());
                }
                Err(panic) => {
                    without.failed_literals.fetch_add(1, Relaxed);
                    without.seen.forget(hash);
                    shared.failed(&without, &format!("it panicked: {}", panic::message(&*panic)));
                }
            }
        });
        if !is_handed_over {
            class.seen.forget(hash);
        }
    }

    /// Builds what a launch may be served by: the resident variant, that for the conditions, and, if asked for or if
    /// all launches have literals, that with literals. It may wait whatever is sealed. Returns how many it built.
    pub(super) fn warm_up(&self, call: &Call<'_>, with_literals: bool) -> Result<u64, LaunchError> {
        let specialize = self.specialize(call);
        let base = self.class(call, Literals::None)?;
        let grid = base.grid(call)?;
        if grid.contains(&0) {
            return Ok(0);
        }
        let programs: u64 = grid.iter().product();
        let mut built = 0;
        let mut build = |class: &Arc<LaunchClass>, holding| {
            let staged = class.staged(holding)?;
            let schedule = class.schedule(&staged, self.machine().as_ref(), programs);
            let is_there = |variant: Option<Arc<Variant>>| variant.is_some_and(|variant| !variant.is_provisional());
            if is_there(staged.find(schedule.as_ref()))
                && (holding != ConditionBits::NONE || is_there(class.resident()))
            {
                return Ok(());
            }
            let (variant, is_new) = build::variant(self, &staged, schedule.as_ref(), Wait::Behind)?;
            built += u64::from(is_new);
            staged.keep(schedule, &variant);
            if holding == ConditionBits::NONE {
                class.set_resident(&variant);
            }
            let id = variant.id();
            drop(variant);
            self.drop_superseded(id);
            Ok::<_, LaunchError>(())
        };
        let has_resident = match specialize {
            Specialize::Exact => false,
            Specialize::Tiered | Specialize::Resident => match build(&base, ConditionBits::NONE) {
                Ok(()) => true,
                // All launches are exact then.
                Err(error) if error.is_of_resident() => false,
                Err(error) => return Err(error),
            },
        };
        if has_resident && specialize == Specialize::Tiered {
            build(&base, base.conditions(call, grid))?;
        }
        if !has_resident || with_literals && specialize == Specialize::Tiered && call.may_have_literals() {
            let exact = self.class(call, Literals::AllThatMay)?;
            build(&exact, exact.conditions(call, grid))?;
        }
        self.make_room();
        Ok(built)
    }

    /// What variants serve a launch by, but literals; `None` for no programs.
    pub(super) fn served_by(&self, call: &Call<'_>) -> Result<Option<ServedBy>, LaunchError> {
        let class = self.class(call, Literals::None)?;
        let grid = class.grid(call)?;
        if grid.contains(&0) {
            return Ok(None);
        }
        let wanted = |holding| {
            let schedule = match class.staged(holding) {
                Ok(staged) => class.schedule(&staged, self.machine().as_ref(), grid.iter().product()),
                Err(error) if error.is_of_resident() => None,
                Err(error) => return Err(error),
            };
            Ok((holding, schedule))
        };
        Ok(Some(ServedBy {
            best: wanted(class.conditions(call, grid))?,
            resident: wanted(ConditionBits::NONE)?,
        }))
    }
}
