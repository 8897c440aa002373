//! A place that launches calls of one class, and has found it.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use arrayvec::ArrayVec;
use tilewright_dsl::analysis::condition::{ConditionBits, Program};
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, ExtentBinding, Specialize};

use super::class::{LaunchClass, Staged};
use super::key::{Key, Literals};
use super::literals::{Standing, hash_of};
use super::plan::{LaunchPlan, Served, Shared};
use super::recording::check_shared;
use super::tiers::blocks;
use super::variant::Variant;
use super::{KeptWords, Tier};
use crate::arguments::{Alike, HostKnows, SeenArguments};
use crate::error::LaunchError;
use crate::hardware::Hardware;

/// After so many launches in a row with the same extents and strides but the outermost extents, the conditions are made of what
/// is left of them then, which takes as long as a few launches. Each time that others come, it takes so many times as many
/// until it is done again.
const SAME_SHAPES: u32 = 4;
/// So many sets of conditions, each with a schedule, are looked for among those of the launches before.
const MAX_SETTLED: usize = 16;
/// Launches whose counts are others each time are looked for among those that were there if their conditions take more operations
/// than this, each of tens of instructions: looking for them, and noting each, takes no longer then.
const WORTH_REPEATING: usize = 64;
/// So many launches are known to come again: those that take turns, such as into one half of a buffer and the other.
const MAX_REPEATED: usize = 4;

/// A place that launches: the class of its launches, which it need not look for, and what it knows of the last one.
pub(crate) struct Site {
    key: Key,
    /// Of the launch at hand, kept for its memory.
    found: Key,
    class: Arc<LaunchClass>,
    /// The arguments of the last call that was checked.
    seen: SeenArguments,
    /// Whether that call had exact counts.
    has_exact_counts: bool,
    pub(crate) words: KeptWords,
    /// So many launches one after the other had the same extents and strides but the outermost extents.
    same_shapes: u32,
    /// So many have to have them until the conditions are made of what is left.
    enough_same: u32,
    /// The conditions with these known.
    conditions: Option<Program>,
    /// That of the last launch that was not noted yet first.
    settled: ArrayVec<Settled, MAX_SETTLED>,
    /// Launches that were new last, the next one instead of that at `next_repeated`.
    repeated: [Repeated; MAX_REPEATED],
    next_repeated: usize,
    /// Whether a launch is looked for that was there before.
    may_repeat: bool,
    asked: Option<Asked>,
}

/// A variant that was looked up. Nothing better without literals can be built for the same conditions.
struct Settled {
    staged: Arc<Staged>,
    /// So many programs have its schedule.
    programs: RangeInclusive<u64>,
    /// It may make room.
    variant: Weak<Variant>,
    tier: Tier,
}

impl Settled {
    /// What serves a launch by it, if it is still there and has so many blocks.
    #[inline]
    fn serve(&self, blocks: impl FnOnce(&Variant) -> Option<u32>) -> Option<Served> {
        let variant = self.variant.upgrade()?;
        Some(served(blocks(&variant)?, variant, self.tier))
    }
}

/// A variant that was there.
fn served(blocks: u32, variant: Arc<Variant>, tier: Tier) -> Served {
    Served {
        blocks,
        variant,
        tier,
        is_new: false,
        measure: None,
    }
}

/// A launch that `settled` served: with the same counts and scalars, over the same extents and strides, another one is the same.
#[derive(Default)]
struct Repeated {
    /// Kept for their memory.
    numbers: Vec<u64>,
    grid: [u64; 3],
    programs: u64,
    blocks: u32,
    /// None if no such launch is known with the extents and strides of now.
    served: Option<(Weak<Variant>, Tier)>,
}

impl Repeated {
    #[inline]
    fn plan(&self, call: &Call<'_>) -> Option<LaunchPlan> {
        let (variant, tier) = self.served.as_ref()?;
        if !numbers(call).eq(self.numbers.iter().copied()) {
            return None;
        }
        Some(LaunchPlan {
            grid: self.grid,
            programs: self.programs,
            served: Some(served(self.blocks, variant.upgrade()?, *tier)),
        })
    }
}

/// The counts and scalars of a call. Those in device memory count as the most that they may be.
fn numbers<'c>(call: &'c Call<'_>) -> impl Iterator<Item = u64> + 'c {
    call.arguments().iter().filter_map(|argument| match argument {
        ArgumentValue::Count(CountArgument::Exact(value) | CountArgument::Runtime(value)) => {
            Some(value.cast_unsigned())
        }
        ArgumentValue::Count(CountArgument::Device { maximum, .. }) => Some(maximum.cast_unsigned()),
        ArgumentValue::Scalar(literal) => Some(literal.bits),
        ArgumentValue::Tensor(_) | ArgumentValue::List(_) => None,
    })
}

/// What a launch was to do that said this itself, when the device had been told so much.
struct Asked {
    by_call: Option<Specialize>,
    told: u64,
    specialize: Specialize,
}

impl Site {
    /// Whether a call is of the class, so that it is the next launch. What is not as in the last one is checked: `check` is
    /// for the arguments, which belong to some hardware.
    ///
    /// # Errors
    /// That of `check`, or the tensors of a list differ.
    pub(crate) fn admits(
        &mut self,
        call: &Call<'_>,
        hardware: &Hardware,
        check: impl FnOnce() -> Result<(), LaunchError>,
    ) -> Result<bool, LaunchError> {
        let alike = self.seen.alike(call, hardware);
        let asks_as_before = alike.facts && self.key.asks_as(call);
        if alike == Alike::ALL && asks_as_before && self.has_counts_of(call) {
            self.next(call, alike);
            return Ok(true);
        }
        check()?;
        if !asks_as_before {
            self.found.refill_for_launch(call, Literals::None);
            if self.found != self.key {
                return Ok(false);
            }
        }
        if !self.class.serves(call) {
            return Ok(false);
        }
        check_shared(call, &self.class.traced().kernel.parameters)?;
        if alike != Alike::ALL {
            self.seen.see_next(call, alike);
            self.has_exact_counts = call.has_exact_counts();
            self.words.moved(alike.memory);
        }
        self.next(call, alike);
        Ok(true)
    }

    /// Notes that a launch comes, as much alike the one before.
    fn next(&mut self, call: &Call<'_>, alike: Alike) {
        if !alike.shapes {
            self.forget_repeated();
        }
        if !alike.inner {
            self.same_shapes = 0;
            if self.conditions.take().is_some() {
                self.enough_same = self.enough_same.saturating_mul(SAME_SHAPES);
            }
        } else if self.same_shapes < self.enough_same {
            self.same_shapes += 1;
            if self.same_shapes == self.enough_same {
                self.settle_shapes(call, false);
            }
        }
    }

    /// Takes the extents and strides of a call for those of all launches to come, whose counts are others each time.
    pub(crate) fn settle_for_counts(&mut self, call: &Call<'_>) {
        self.settle_shapes(call, true);
        let conditions = self.conditions.as_ref();
        self.may_repeat = conditions.is_none_or(|conditions| conditions.operations() > WORTH_REPEATING);
    }

    /// Whether launches are looked for among those that were there before.
    #[cfg(test)]
    pub(crate) fn may_repeat(&self) -> bool {
        self.may_repeat
    }

    /// Takes the extents and strides of a call for those of the launches to come, or those but the outermost extents.
    fn settle_shapes(&mut self, call: &Call<'_>, are_rows_known: bool) {
        self.conditions = self.class.conditions_of_shapes(call, are_rows_known);
        // What is left of the conditions says nothing of other shapes.
        self.settled.clear();
        self.forget_repeated();
    }

    fn holding(&self, call: &Call<'_>, grid: [u64; 3]) -> ConditionBits {
        match &self.conditions {
            Some(conditions) => conditions.evaluate(&HostKnows(call), grid),
            None => self.class.conditions(call, grid),
        }
    }

    /// What served a launch before, if the same conditions hold for so many programs.
    fn settled(&mut self, call: &Call<'_>, grid: [u64; 3], programs: u64) -> Option<Served> {
        if self.settled.is_empty() {
            return None;
        }
        let holding = self.holding(call, grid);
        let is_for = |settled: &Settled| settled.programs.contains(&programs) && settled.staged.is_for(&holding);
        let at = self.settled.iter().position(is_for)?;
        let served = self.settled[at].serve(|variant| blocks(call, variant, programs).ok())?;
        self.settled.swap(0, at);
        Some(served)
    }

    /// The plan of a call whose extents and strides are those of the launch before, if it is one that was noted once more.
    #[inline]
    fn repeated(&self, call: &Call<'_>) -> Option<LaunchPlan> {
        self.repeated.iter().find_map(|repeated| repeated.plan(call))
    }

    /// Notes a launch that `settled` served for when it comes again.
    fn repeat(&mut self, call: &Call<'_>, plan: &LaunchPlan) {
        let Some(served) = &plan.served else { return };
        let repeated = &mut self.repeated[self.next_repeated];
        self.next_repeated = (self.next_repeated + 1) % MAX_REPEATED;
        repeated.numbers.clear();
        repeated.numbers.extend(numbers(call));
        (repeated.grid, repeated.programs) = (plan.grid, plan.programs);
        repeated.blocks = served.blocks;
        repeated.served = Some((Arc::downgrade(&served.variant), served.tier));
    }

    fn forget_repeated(&mut self) {
        self.repeated.iter_mut().for_each(|repeated| repeated.served = None);
    }

    /// Whether the exact counts that its code is made for have the values of a call.
    pub(crate) fn has_counts_of(&self, call: &Call<'_>) -> bool {
        self.class.has_counts_of(call)
    }

    fn may_have_literals(&self, call: &Call<'_>) -> bool {
        self.has_exact_counts || call.extents() == ExtentBinding::Exact
    }

    /// The name of the kernel.
    pub(crate) fn name(&self) -> &str {
        &self.class.traced().kernel.name
    }

    /// Why a call that it did not admit is of another class.
    #[cold]
    pub(crate) fn other(&mut self, call: &Call<'_>, is_bound: bool) -> LaunchError {
        self.found.refill_for_launch(call, Literals::None);
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
            is_bound,
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
        let mut site = Site {
            found: key.clone(),
            key,
            class,
            seen: SeenArguments::default(),
            has_exact_counts: call.has_exact_counts(),
            words: KeptWords::default(),
            same_shapes: 0,
            enough_same: SAME_SHAPES,
            conditions: None,
            settled: ArrayVec::new(),
            repeated: Default::default(),
            next_repeated: 0,
            may_repeat: true,
            asked: None,
        };
        site.seen.see(call);
        Ok(site)
    }

    /// The plan of a call that the site admits.
    #[inline]
    pub(super) fn plan_at(
        &self,
        site: &mut Site,
        call: &Call<'_>,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<LaunchPlan, LaunchError> {
        let specialize = self.specialize_at(site, call);
        site.class.touch(self.tally.launches());
        let standing = self.standing_at(site, specialize, call);
        if standing != Standing::Nothing || specialize != Specialize::Tiered || self.offline.is_some() {
            return self.plan_each(site, specialize, call, standing, is_capturing);
        }
        if let Some(plan) = site.repeated(call) {
            return Ok(plan);
        }
        let (grid, programs) = site.class.programs(call)?;
        let settled = match programs {
            0 => None,
            _ => site.settled(call, grid, programs),
        };
        let is_settled = settled.is_some();
        let served = match settled {
            None if programs > 0 => Some(self.settle(site, call, grid, programs, is_capturing)?),
            settled => settled,
        };
        let plan = LaunchPlan { grid, programs, served };
        if site.may_repeat && is_settled {
            site.repeat(call, &plan);
        }
        Ok(plan)
    }

    /// As [`Shared::specialize`], looked up again only where something is told or asked.
    fn specialize_at(&self, site: &mut Site, call: &Call<'_>) -> Specialize {
        let (by_call, told) = (call.asked_specialize(), self.told.load(Relaxed));
        if let Some(asked) = &site.asked
            && (asked.by_call, asked.told) == (by_call, told)
        {
            return asked.specialize;
        }
        let specialize = self.specialize(call);
        site.asked = Some(Asked {
            by_call,
            told,
            specialize,
        });
        specialize
    }

    /// How the values of a launch that may be literals stand, as far as that decides what serves it.
    #[inline]
    fn standing_at(&self, site: &Site, specialize: Specialize, call: &Call<'_>) -> Standing {
        if specialize != Specialize::Tiered || !site.may_have_literals(call) {
            return Standing::Nothing;
        }
        self.standing(&site.class, hash_of(call))
    }

    /// The plan of a launch that may differ from the one before in more than the conditions that hold.
    #[inline(never)]
    fn plan_each(
        &self,
        site: &Site,
        specialize: Specialize,
        call: &Call<'_>,
        standing: Standing,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<LaunchPlan, LaunchError> {
        // Literals that are waited for have classes of their own.
        match specialize == Specialize::Exact && site.may_have_literals(call) {
            true => self.plan(call, is_capturing),
            false => self.plan_in(&site.class, specialize, call, Some(standing), is_capturing),
        }
    }

    /// What serves a launch without literals, and those that follow if nothing better can be built for them.
    #[inline(never)]
    fn settle(
        &self,
        site: &mut Site,
        call: &Call<'_>,
        grid: [u64; 3],
        programs: u64,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<Served, LaunchError> {
        if let Some(best) = self.best_at(site, call, grid, programs)
            && let Some(served) = best.serve(|variant| blocks(call, variant, programs).ok())
        {
            if site.settled.is_full() {
                site.settled.pop();
            }
            site.settled.insert(0, best);
            return Ok(served);
        }
        let standing = Some(Standing::Nothing);
        self.serve(call, Specialize::Tiered, &site.class, grid, standing, is_capturing)
    }

    /// The best variant for the conditions that hold, if it is there and will not be replaced.
    fn best_at(&self, site: &Site, call: &Call<'_>, grid: [u64; 3], programs: u64) -> Option<Settled> {
        let resident = site.class.resident().filter(|resident| !resident.is_provisional())?;
        let staged = site.class.find(&site.holding(call, grid))?;
        let machine = self.machine();
        let best = staged.find(site.class.schedule(&staged, machine.as_ref(), programs).as_ref())?;
        // A resident variant that has the same code serves in its place.
        let (variant, tier) = match best.id() == resident.id() {
            true => (resident, Tier::Resident),
            false => (best, Tier::Proved),
        };
        let is_final = !variant.is_provisional();
        is_final.then(|| Settled {
            programs: site.class.regime(&staged, machine.as_ref(), programs),
            staged,
            variant: Arc::downgrade(&variant),
            tier,
        })
    }
}
