//! A place that launches calls of one class, and has found it.

use std::sync::Arc;

use tilewright_dsl::analysis::condition::{ConditionBits, Program};
use tilewright_dsl::call::{Call, Specialize};
use tilewright_dsl::schedule::Schedule;

use super::Tier;
use super::class::{LaunchClass, Staged};
use super::key::{Key, Literals};
use super::plan::{LaunchPlan, Served, Shared};
use super::recording::check_shared;
use super::tiers::blocks;
use super::variant::Variant;
use crate::arguments::HostKnows;
use crate::error::LaunchError;

/// After so many launches in a row with the same extents and strides, the conditions are made of what is left of them then.
const SAME_SHAPES: u32 = 4;

/// The class of the launches of one place, which need not look for it.
pub(crate) struct Site {
    key: Key,
    /// Of the launch at hand, kept for its memory.
    found: Key,
    class: Arc<LaunchClass>,
    /// So many launches one after the other had the same extents and strides.
    same_shapes: u32,
    /// The conditions with these known.
    conditions: Option<Program>,
    settled: Option<Settled>,
}

/// The variant that was looked up last. Nothing better can be built for the same conditions.
struct Settled {
    staged: Arc<Staged>,
    schedule: Option<Schedule>,
    variant: Arc<Variant>,
    tier: Tier,
}

impl Site {
    /// Notes that a launch comes, with the extents and strides of the one before or with others.
    pub(crate) fn next(&mut self, call: &Call<'_>, has_same_shapes: bool) {
        if !has_same_shapes {
            self.same_shapes = 0;
            self.conditions = None;
        } else if self.same_shapes < SAME_SHAPES {
            self.same_shapes += 1;
            if self.same_shapes == SAME_SHAPES {
                self.settle_shapes(call);
            }
        }
    }

    /// Takes the extents and strides of a call for those of the launches to come.
    pub(crate) fn settle_shapes(&mut self, call: &Call<'_>) {
        self.conditions = self.class.conditions_of_shapes(call);
    }

    fn holding(&self, call: &Call<'_>, grid: [u64; 3]) -> ConditionBits {
        match &self.conditions {
            Some(conditions) => conditions.evaluate(&HostKnows(call), grid),
            None => self.class.conditions(call, grid),
        }
    }

    /// Checks that a call is of the class. Of one whose arguments are the same as those of a call that was, but for the values of
    /// counts and scalars, little is looked at.
    ///
    /// # Errors
    /// It is of another one.
    pub(crate) fn check(&mut self, call: &Call<'_>, are_same: bool) -> Result<(), LaunchError> {
        if are_same && self.key.asks_as(call) && self.has_counts_of(call) {
            return Ok(());
        }
        self.found.refill_for_launch(call, Literals::None);
        if self.found != self.key || !self.class.serves(call) {
            return Err(self.other(call));
        }
        check_shared(call, &self.class.traced().kernel.parameters)
    }

    /// Whether the exact counts that its code is made for have the values of a call.
    pub(crate) fn has_counts_of(&self, call: &Call<'_>) -> bool {
        self.class.has_counts_of(call)
    }

    /// The name of the kernel.
    pub(crate) fn name(&self) -> &str {
        &self.class.traced().kernel.name
    }

    #[cold]
    fn other(&self, call: &Call<'_>) -> LaunchError {
        let parameters = &self.class.traced().kernel.parameters;
        let differing = || self.key.differing(&self.found, parameters.len());
        let reason = if !self.key.is_of(call) || call.arguments().len() != parameters.len() {
            "it is of another kernel, or of one with other compile-time arguments".to_owned()
        } else if let Some(parameter) = differing().and_then(|at| parameters.get(at)) {
            let name = &parameter.name;
            format!("`{name}` is of another kind, layout or alignment")
        } else if !self.key.asks_as(call) {
            "it asks for another build or schedule".to_owned()
        } else if let Some(literal) = self.class.missing_literal(call) {
            format!("its code is made for `{literal}`, exactly")
        } else {
            "a count is read from elsewhere, or an extent equals one that its code is made for".to_owned()
        };
        LaunchError::OtherClass {
            kernel: call.definition().name(),
            prepared: self.name().to_owned(),
            reason,
        }
    }
}

impl Shared {
    /// Finds the class of a checked call, or makes it, which compiles nothing.
    pub(super) fn site(&self, call: &Call<'_>) -> Result<Site, LaunchError> {
        let class = self.class(call, Literals::None)?;
        let mut key = Key::empty();
        key.refill_for_launch(call, Literals::None);
        Ok(Site {
            found: key.clone(),
            key,
            class,
            same_shapes: 0,
            conditions: None,
            settled: None,
        })
    }

    /// The plan of a call that the site has checked.
    pub(super) fn plan_at(
        &self,
        site: &mut Site,
        call: &Call<'_>,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<LaunchPlan, LaunchError> {
        let specialize = self.specialize(call);
        // Literals that are waited for have classes of their own.
        if specialize == Specialize::Exact && call.may_have_literals() {
            return self.plan(call, is_capturing);
        }
        site.class.touch(self.tally.launches());
        if specialize != Specialize::Tiered || call.may_have_literals() || self.offline.is_some() {
            return self.plan_in(&site.class, specialize, call, is_capturing);
        }
        let (grid, programs) = site.class.programs(call)?;
        let served = match programs {
            0 => None,
            _ => Some(self.serve_at(site, call, grid, programs, is_capturing)?),
        };
        Ok(LaunchPlan { grid, programs, served })
    }

    /// What serves a launch whose counts are no literals: what served the one before, if the same conditions hold.
    fn serve_at(
        &self,
        site: &mut Site,
        call: &Call<'_>,
        grid: [u64; 3],
        programs: u64,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<Served, LaunchError> {
        let holding = site.holding(call, grid);
        let machine = self.machine();
        if let Some(settled) = &site.settled
            && settled.staged.is_for(&holding)
            && site.class.schedule(&settled.staged, machine.as_ref(), programs) == settled.schedule
            && let Ok(blocks) = blocks(call, &settled.variant, programs)
        {
            return Ok(Served {
                variant: settled.variant.clone(),
                tier: settled.tier,
                blocks,
                is_new: false,
                measure: None,
            });
        }
        let served = self.serve(call, Specialize::Tiered, &site.class, grid, is_capturing)?;
        site.settled = site.class.find(&holding).and_then(|staged| {
            let schedule = site.class.schedule(&staged, machine.as_ref(), programs);
            let best = staged.find(schedule.as_ref())?;
            // A resident variant that has the same code serves in its place.
            (best.id() == served.variant.id()).then(|| Settled {
                staged,
                schedule,
                variant: served.variant.clone(),
                tier: served.tier,
            })
        });
        Ok(served)
    }
}
