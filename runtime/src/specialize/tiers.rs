//! Which tier serves a launch, and what is asked for behind it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::call::{Call, Specialize};

use super::build::{self, Wait};
use super::class::LaunchClass;
use super::key::Literals;
use super::literals::{Standing, hash_of};
use super::plan::{Measure, Served, Shared};
use super::sealed;
use super::trial::{Side, Verdict, may_measure};
use super::variant::{Program, Variant};
use crate::counters::Tally;
use crate::error::LaunchError;

/// What is known of a launch by the variant that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Nothing but the class: all checks are in it, and counts are arguments.
    Resident,
    /// Which conditions hold: checks are left out.
    Proved,
    /// Its counts, and its extents where they are to be exact, which are literals.
    Literal,
}

/// The best variant for a launch, its tier, and what a launch by it measures.
type Best = (Arc<Variant>, Tier, Option<Box<Measure>>);

type IsCapturing<'f> = &'f dyn Fn() -> Result<bool, LaunchError>;

/// A launch, as far as it is known.
struct Launch<'l, 'a> {
    call: &'l Call<'a>,
    grid: [u64; 3],
    programs: u64,
    /// How its values that may be literals stand, if somebody has looked.
    standing: Option<Standing>,
    is_capturing: IsCapturing<'l>,
}

impl Shared {
    /// What serves a launch of a class, of some programs.
    pub(super) fn serve(
        &self,
        call: &Call<'_>,
        specialize: Specialize,
        class: &Arc<LaunchClass>,
        grid: [u64; 3],
        standing: Option<Standing>,
        is_capturing: IsCapturing<'_>,
    ) -> Result<Served, LaunchError> {
        let launch = Launch {
            call,
            grid,
            programs: grid.iter().product(),
            standing,
            is_capturing,
        };
        if specialize == Specialize::Exact {
            return self.exact(&launch, class);
        }
        let (resident, is_new) = match self.resident(&launch, class) {
            Ok(resident) => resident,
            // The kernel denies what a resident variant needs.
            Err(error) if error.is_of_resident() => {
                return self.exact(&launch, &self.class(call, Literals::AllThatMay)?);
            }
            Err(error) => return Err(error),
        };
        if resident.is_provisional() {
            let schedule = resident.module().map(|module| module.schedule);
            self.ask_for(class, (ConditionBits::NONE, schedule), launch.programs);
        }
        let (variant, tier, measure) = match specialize {
            Specialize::Tiered => self.best(&launch, class, &resident)?,
            Specialize::Exact | Specialize::Resident => (resident, Tier::Resident, None),
        };
        match blocks(call, &variant, launch.programs) {
            Ok(blocks) => Ok(Served {
                variant,
                tier,
                blocks,
                is_new,
                measure,
            }),
            // Its schedule was chosen for fewer programs.
            Err(_) => self.exact(&launch, class),
        }
    }

    /// The variant for all that is known of the launch, waited for.
    fn exact(&self, launch: &Launch<'_, '_>, class: &Arc<LaunchClass>) -> Result<Served, LaunchError> {
        let holding = class.conditions(launch.call, launch.grid);
        let (variant, is_new) = self.waited(launch, class, holding, Wait::Launch)?;
        let has_literals = class.trial.is_some() && launch.call.may_have_literals();
        Ok(Served {
            blocks: blocks(launch.call, &variant, launch.programs)?,
            tier: match has_literals {
                true => Tier::Literal,
                false if holding == ConditionBits::NONE => Tier::Resident,
                false => Tier::Proved,
            },
            variant,
            is_new,
            measure: None,
        })
    }

    fn resident(&self, launch: &Launch<'_, '_>, class: &Arc<LaunchClass>) -> Result<(Arc<Variant>, bool), LaunchError> {
        if let Some(resident) = class.resident() {
            return Ok((resident, false));
        }
        let (resident, is_new) = self.waited(launch, class, ConditionBits::NONE, Wait::InHaste)?;
        class.set_resident(&resident);
        Ok((class.resident().unwrap_or(resident), is_new))
    }

    /// The variant for some conditions, built in this thread if it is not there; and whether it was.
    fn waited(
        &self,
        launch: &Launch<'_, '_>,
        class: &Arc<LaunchClass>,
        holding: ConditionBits,
        wait: Wait,
    ) -> Result<(Arc<Variant>, bool), LaunchError> {
        let staged = class.staged(holding)?;
        let schedule = class.schedule(&staged, self.machine().as_ref(), launch.programs);
        let will_do = |variant: &Arc<Variant>| wait == Wait::InHaste || !variant.is_provisional();
        if let Some(variant) = staged.find(schedule.as_ref()).filter(will_do) {
            return Ok((variant, false));
        }
        let (variant, is_new) = match build::find(self, &staged, schedule.as_ref(), wait) {
            Some(variant) => (variant, false),
            None if self.may_wait(launch.is_capturing)? => build::variant(self, &staged, schedule.as_ref(), wait)?,
            // Rather a provisional one than none.
            None => match build::find(self, &staged, schedule.as_ref(), Wait::InHaste) {
                Some(variant) => (variant, false),
                None => return Err(sealed::error(self, launch.call, class, schedule)),
            },
        };
        staged.keep(schedule, &variant);
        self.make_room();
        Ok((variant, is_new))
    }

    /// The best variant that there is. What would be better is asked for.
    fn best(
        &self,
        launch: &Launch<'_, '_>,
        class: &Arc<LaunchClass>,
        resident: &Arc<Variant>,
    ) -> Result<Best, LaunchError> {
        let proved = self.for_conditions(launch, class);
        // A class that is full gets no better variant for these conditions.
        let is_settled = proved.is_some() || !class.has_room();
        let (without, tier) = match proved {
            Some(variant) if variant.id() != resident.id() => (variant, Tier::Proved),
            _ => (resident.clone(), Tier::Resident),
        };
        // Literals are compared with the best that there is without.
        if !is_settled || without.is_provisional() || !launch.call.may_have_literals() {
            return Ok((without, tier, None));
        }
        let hash = hash_of(launch.call);
        match launch.standing.unwrap_or_else(|| self.standing(class, hash)) {
            Standing::Nothing => return Ok((without, tier, None)),
            Standing::Wanted => {
                self.ask_for_literals(launch.call, class, hash);
                return Ok((without, tier, None));
            }
            Standing::Tried | Standing::Kept => {}
        }
        let Some(exact) = self.classes.find(launch.call, Literals::AllThatMay) else {
            class.seen.forget(hash);
            return Ok((without, tier, None));
        };
        exact.touch(self.tally.launches());
        let verdict = exact.verdict();
        if verdict == Verdict::Rejected {
            class.seen.judge(hash, verdict);
            return Ok((without, tier, None));
        }
        let Some(with) = self
            .for_conditions(launch, &exact)
            .filter(|with| with.id() != without.id())
        else {
            return Ok((without, tier, None));
        };
        if blocks(launch.call, &with, launch.programs).is_err() {
            return Ok((without, tier, None));
        }
        let (Verdict::Measuring, Some(trial)) = (verdict, &exact.trial) else {
            return Ok((with, Tier::Literal, None));
        };
        let Some(side) = trial.turn() else {
            return Ok((without, tier, None));
        };
        Tally::add(&self.tally.measured);
        let measure = Box::new(Measure {
            side,
            variants: [without.id(), with.id()],
            with: with.clone(),
            class: exact.clone(),
            without: class.clone(),
            hash,
        });
        Ok(match side {
            Side::Without => (without, tier, Some(measure)),
            Side::With => (with, Tier::Literal, Some(measure)),
        })
    }

    /// How values that may be literals stand in a class, as far as that decides what serves the launch that has them.
    #[inline]
    pub(super) fn standing(&self, class: &LaunchClass, hash: u64) -> Standing {
        let launches = self.tally.launches();
        match class.seen.saw(hash, || self.tried.may_have_room(launches)) {
            Standing::Tried if !may_measure(self.tally.measured.load(Relaxed), launches) => Standing::Nothing,
            standing => standing,
        }
    }

    /// The variant of a class for the conditions that hold; asked for if it is not there.
    fn for_conditions(&self, launch: &Launch<'_, '_>, class: &Arc<LaunchClass>) -> Option<Arc<Variant>> {
        let holding = class.conditions(launch.call, launch.grid);
        let mut wanted = (holding, None);
        if let Some(staged) = class.find(&holding) {
            let schedule = class.schedule(&staged, self.machine().as_ref(), launch.programs);
            if let Some(variant) = staged.find(schedule.as_ref()) {
                if variant.is_provisional() {
                    self.ask_for(class, (holding, schedule), launch.programs);
                }
                return Some(variant);
            }
            if staged
                .dropped(schedule.as_ref())
                .is_some_and(|dropped| !self.may_return(dropped))
            {
                return None;
            }
            wanted.1 = schedule;
        } else if !class.has_room() {
            return None;
        }
        self.ask_for(class, wanted, launch.programs);
        None
    }
}

/// The CUDA blocks that so many programs take; 0 on the CPU device.
#[inline]
pub(super) fn blocks(call: &Call<'_>, variant: &Variant, programs: u64) -> Result<u32, LaunchError> {
    let Program::Cuda(program) = variant.program() else {
        return Ok(0);
    };
    program.module.blocks(programs).ok_or_else(|| {
        let schedule = &program.module.schedule;
        let blocks = programs
            .div_ceil(u64::from(schedule.programs_per_block))
            .saturating_mul(u64::from(schedule.splits));
        LaunchError::TooManyBlocks {
            kernel: call.definition().name(),
            programs,
            blocks,
        }
    })
}

impl Tier {
    /// All of them, from the one that knows least.
    pub const ALL: [Self; 3] = [Self::Resident, Self::Proved, Self::Literal];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resident => "resident",
            Self::Proved => "proved",
            Self::Literal => "literal",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
