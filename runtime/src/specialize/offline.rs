//! What a launch would run, without a device.

use tilewright_dsl::call::Call;
use tilewright_dsl::cuda::{LowerError, Module, lower};
use tilewright_dsl::interpret;
use tilewright_dsl::schedule::{Machine, choose};

use super::class::Classes;
use super::stage::stage;
use crate::arguments::{AtMost, HostKnows};
use crate::counters::Tally;
use crate::error::LaunchError;

/// The CUDA C++ that a launch of a checked call needs on a GPU; `None` for no programs.
pub(crate) fn lowered(call: &Call<'_>, machine: &Machine) -> Result<Option<Module>, LaunchError> {
    let traced = Classes::default().serve(call, &Tally::default())?;
    interpret::check_requirements(&traced.kernel, &HostKnows(call))?;
    let grid = interpret::grid(&traced.kernel, &AtMost(call))?;
    if grid.contains(&0) {
        return Ok(None);
    }
    let kernel = stage(&traced, call, grid)?.kernel;
    let schedule = match call.schedule() {
        Some(schedule) => {
            schedule.fits(&kernel).map_err(|source| LowerError::Schedule {
                kernel: kernel.name.clone(),
                source,
            })?;
            *schedule
        }
        None => choose(&kernel, machine, grid.iter().product()),
    };
    Ok(Some(lower(&kernel, &schedule)?))
}
