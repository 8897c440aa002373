//! What launches run, without a device.

use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::call::{Call, Specialize};
use tilewright_dsl::cuda::{Module, lower};
use tilewright_dsl::schedule::Machine;

use super::build::check_schedule;
use super::class::{Binding, LaunchClass};
use super::key::Literals;
use super::recording::Recordings;
use crate::counters::Tally;
use crate::error::LaunchError;

/// The CUDA C++ of what a launch of a checked call may run on a GPU, the best variant first: the resident one of its class, that
/// for the conditions which hold, and that with literals, as far as the call's [`Specialize`] asks for them. Nothing for no
/// programs.
pub(crate) fn lowered(call: &Call<'_>, machine: &Machine) -> Result<Vec<Module>, LaunchError> {
    let asked = call.asked_specialize().unwrap_or_default();
    let traced = Recordings::default().serve(call, &Tally::default())?;
    let class = |literals| LaunchClass::new(Binding::new(traced.clone(), call, literals));
    let exact = class(Literals::AllThatMay);
    let grid = exact.grid(call)?;
    if grid.contains(&0) {
        return Ok(Vec::new());
    }
    let module = |class: &LaunchClass, holding: ConditionBits| {
        let staged = class.staged(holding)?;
        let chosen = class.schedule(&staged, Some(machine), grid.iter().product());
        // With a machine there is a schedule.
        let Some(schedule) = chosen else { return Ok(None) };
        check_schedule(&staged.kernel, &schedule)?;
        Ok::<_, LaunchError>(Some(lower(&staged.kernel, &schedule)?))
    };
    let mut modules = Vec::new();
    if asked != Specialize::Resident {
        modules.extend(module(&exact, exact.conditions(call, grid))?);
    }
    if asked != Specialize::Exact {
        let base = class(Literals::None);
        if asked == Specialize::Tiered {
            modules.extend(module(&base, base.conditions(call, grid))?);
        }
        match module(&base, ConditionBits::NONE) {
            Ok(resident) => modules.extend(resident),
            // No launch is served by a resident variant then.
            Err(LaunchError::Guarded { .. } | LaunchError::NotWaiting { .. }) if !modules.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    modules.dedup_by(|one, other| one.source == other.source);
    Ok(modules)
}
