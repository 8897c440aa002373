//! Why a trace is not served.

use super::{MAX_STEPS, MAX_WORK};
use crate::plan::PlanError;
use crate::table::grouped;

/// A trace that cannot be served as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// An option is 0 or too large, or a forward has no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// More than all drafted tokens are to be accepted.
    #[error("{percent} of 100 drafted tokens cannot be accepted; at most all 100 are")]
    TooManyAccepted {
        /// The tokens.
        percent: u64,
    },
    /// A summary of over [`MAX_STEPS`] steps.
    #[error(
        "serving the trace takes over {} steps; cut it into parts, or prefill larger chunks",
        grouped(MAX_STEPS)
    )]
    TooManySteps,
    /// A summary of over [`MAX_WORK`].
    #[error(
        "serving the trace takes too long: all forwards together have over {} ranks, running requests and captured sizes; \
         cut the trace into parts, or take fewer ranks, draft steps or sizes",
        grouped(MAX_WORK)
    )]
    TooMuchWork,
}
