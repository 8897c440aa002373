//! What may serve a launch on a GPU that is not here, to be looked at: nothing is compiled, and no device knows of it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::call::{Call, Traced};
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::schedule::{Machine, Reason, Schedule};
use tilewright_dsl::transform::Proof;

use super::build::check_schedule;
use super::class::{Binding, LaunchClass};
use super::key::Literals;
use super::recording::Recordings;
use super::{Target, Tier};
use crate::counters::Tally;
use crate::error::LaunchError;

/// A launch, and what may serve it.
pub(crate) struct Specimen {
    pub(crate) traced: Arc<Traced>,
    /// The extents of the grid; 1 on axes that it does not have.
    pub(crate) grid: [u64; 3],
    pub(crate) programs: u64,
    /// What the class is told apart by, of each parameter.
    pub(crate) facts: Vec<String>,
    /// What proofs want of a launch, and whether it is so in this one.
    pub(crate) conditions: Vec<(String, bool)>,
    /// A candidate for each tier, or why there is none.
    pub(crate) candidates: Vec<(Tier, Result<Candidate, LaunchError>)>,
}

/// A kernel that may serve the launch.
pub(crate) struct Candidate {
    /// What is a literal in it.
    pub(crate) literals: Vec<String>,
    pub(crate) kernel: Kernel,
    pub(crate) proofs: Vec<Proof>,
    pub(crate) schedule: Schedule,
    /// What decided the schedule; `None` if the launch asks for it.
    pub(crate) reason: Option<Reason>,
    /// Numbers of programs that want the same.
    pub(crate) regime: RangeInclusive<u64>,
}

impl Specimen {
    /// That of a checked call.
    ///
    /// # Errors
    /// What a launch fails with before a variant is chosen for it.
    pub(crate) fn of(call: &Call<'_>, target: Target) -> Result<Self, LaunchError> {
        let traced = Recordings::default().serve(call, &Tally::default())?;
        let class = |literals| LaunchClass::new(Binding::new(traced.clone(), call, literals));
        let base = class(Literals::None);
        let (grid, programs) = base.programs(call)?;
        let holding = base.conditions(call, grid);
        let machine = target.machine();
        let candidate = |class: &LaunchClass, holding| Candidate::of(class, holding, &machine, programs);
        let mut candidates = vec![
            (Tier::Resident, candidate(&base, ConditionBits::NONE)),
            (Tier::Proved, candidate(&base, holding)),
        ];
        if call.may_have_literals() {
            let exact = class(Literals::AllThatMay);
            let holding = exact.conditions(call, grid);
            candidates.push((Tier::Literal, candidate(&exact, holding)));
        }
        Ok(Self {
            facts: base.facts(),
            conditions: base.conditions_as_text(&holding),
            traced,
            grid,
            programs,
            candidates,
        })
    }
}

impl Candidate {
    fn of(class: &LaunchClass, holding: ConditionBits, machine: &Machine, programs: u64) -> Result<Self, LaunchError> {
        let staged = class.staged(holding)?;
        let (chosen, reason) = staged.work.choice(machine, programs);
        let asked = class.asked_schedule();
        if let Some(asked) = &asked {
            check_schedule(&staged.kernel, asked, Some(machine))?;
        }
        Ok(Self {
            literals: class.literals(),
            kernel: staged.kernel.clone(),
            proofs: staged.proofs.clone(),
            schedule: asked.unwrap_or(chosen),
            reason: asked.is_none().then_some(reason),
            regime: class.regime(&staged, Some(machine), programs),
        })
    }
}
