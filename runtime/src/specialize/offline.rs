//! What a launch would run, without a device.

use tilewright_dsl::call::Call;
use tilewright_dsl::cuda::{Module, lower};
use tilewright_dsl::schedule::Machine;

use super::build::check_schedule;
use super::class::LaunchClass;
use super::recording::Recordings;
use crate::counters::Tally;
use crate::error::LaunchError;

/// The CUDA C++ that a launch of a checked call needs on a GPU; `None` for no programs.
pub(crate) fn lowered(call: &Call<'_>, machine: &Machine) -> Result<Option<Module>, LaunchError> {
    let traced = Recordings::default().serve(call, &Tally::default())?;
    let class = LaunchClass::new(traced, call);
    let grid = class.grid(call)?;
    if grid.contains(&0) {
        return Ok(None);
    }
    let staged = class.staged(class.conditions(call, grid), call.is_overlapping())?;
    let chosen = || staged.work.schedule(machine, grid.iter().product());
    let schedule = call.schedule().copied().unwrap_or_else(chosen);
    check_schedule(&staged.kernel, &schedule)?;
    Ok(Some(lower(&staged.kernel, &schedule)?))
}
