//! What a launch is told that would have to wait and must not.

use std::sync::Arc;

use tilewright_dsl::call::Call;
use tilewright_dsl::schedule::Schedule;

use super::class::LaunchClass;
use super::plan::Shared;
use crate::error::LaunchError;

/// Names what was not warmed up, and in what it differs from the nearest that was.
pub(super) fn error(
    shared: &Shared,
    call: &Call<'_>,
    class: &Arc<LaunchClass>,
    schedule: Option<Schedule>,
) -> LaunchError {
    let own = key(class);
    let of_kernel = |other: &Arc<LaunchClass>| {
        other.traced().kernel.name == class.traced().kernel.name
            && !Arc::ptr_eq(other, class)
            && (other.resident().is_some() || !other.variants().is_empty())
    };
    let classes = shared.classes.all();
    let differing = |other: &Arc<LaunchClass>| {
        let other = key(other);
        let missing = own
            .iter()
            .filter(|fact| !other.contains(fact))
            .map(|fact| format!("here {fact}"));
        let more = other
            .iter()
            .filter(|fact| !own.contains(fact))
            .map(|fact| format!("there {fact}"));
        missing.chain(more).collect::<Vec<_>>()
    };
    let nearest = classes
        .iter()
        .filter(|other| of_kernel(other))
        .map(differing)
        .min_by_key(Vec::len);
    let schedule = schedule.map(|schedule| format!("schedule {schedule}"));
    LaunchError::Sealed {
        kernel: call.definition().name(),
        key: own.iter().cloned().chain(schedule).collect::<Vec<_>>().join("; "),
        nearest: nearest.map(|differing| match differing.is_empty() {
            true => "it has another schedule, or other conditions hold".to_owned(),
            false => differing.join("; "),
        }),
    }
}

fn key(class: &LaunchClass) -> Vec<String> {
    let mut key = class.facts();
    key.extend(class.literals().into_iter().map(|literal| format!("literal {literal}")));
    key.extend(class.asked().map(str::to_owned));
    key
}
