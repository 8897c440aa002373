//! What a launch would run, without a device.

use tilewright_dsl::call::Call;
use tilewright_dsl::cuda::{LowerError, Module, lower};
use tilewright_dsl::schedule::Machine;

use super::class::LaunchClass;
use super::recording::{Recordings, check_shared};
use crate::counters::Tally;
use crate::error::LaunchError;

/// The CUDA C++ that a launch of a checked call needs on a GPU; `None` for no programs.
pub(crate) fn lowered(call: &Call<'_>, machine: &Machine) -> Result<Option<Module>, LaunchError> {
    let traced = Recordings::default().serve(call, &Tally::default())?;
    check_shared(call, &traced.kernel.parameters)?;
    let class = LaunchClass::new(traced, call);
    let grid = class.grid(call)?;
    if grid.contains(&0) {
        return Ok(None);
    }
    let staged = class.staged(class.conditions(call, grid), call.is_overlapping())?;
    let schedule = match call.schedule() {
        Some(schedule) => {
            schedule.fits(&staged.kernel).map_err(|source| LowerError::Schedule {
                kernel: staged.kernel.name.clone(),
                source,
            })?;
            *schedule
        }
        None => staged.work.schedule(machine, grid.iter().product()),
    };
    Ok(Some(lower(&staged.kernel, &schedule)?))
}
