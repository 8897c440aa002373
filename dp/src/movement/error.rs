//! Why rows were not moved.

use tilewright_runtime::{DeviceError, LaunchError, TensorError};

use crate::collective::CollectiveError;
use crate::plan::PlanError;

/// Why rows were not moved. What is checked on the host is refused before anything is launched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MovementError {
    /// Groups, plan and topology do not belong together.
    #[error("{what} has {found} ranks and the topology says {expected}")]
    WrongSize {
        /// What has them.
        what: &'static str,
        /// Its ranks.
        found: u64,
        /// Those of the topology.
        expected: u64,
    },
    /// A GPU is not where the topology has it.
    #[error(
        "in {what} this GPU is number {found} and by the topology it is number {expected}: number GPUs as in the world group"
    )]
    WrongNumber {
        /// The group.
        what: &'static str,
        /// The GPU's number in it.
        found: u64,
        /// That of the topology.
        expected: u64,
    },
    /// A buffer that is not the plan's.
    #[error("{what} has {found} rows and the plan's buffer has {planned}: take the buffer that the plan asks for")]
    WrongBuffer {
        /// What has them.
        what: &'static str,
        /// Its rows.
        found: u64,
        /// Those of the plan.
        planned: u64,
    },
    /// Rows of another length.
    #[error("{what} has rows of {found} elements where {expected} are needed")]
    WrongColumns {
        /// What has them.
        what: &'static str,
        /// Its elements.
        found: u64,
        /// Those needed.
        expected: u64,
    },
    /// A rank's tensor has rows that were not planned, or lacks some that were.
    #[error(
        "rank {rank} was planned {rows} rows, {tokens} of them tokens, and its tensor has {found}: plan with the counts of \
         this step, or clamp with `OnMismatch::Clamp`"
    )]
    Uncovered {
        /// The rank's place in the layout.
        rank: usize,
        /// Rows planned.
        rows: u64,
        /// Tokens among them.
        tokens: u64,
        /// Rows of the tensor.
        found: u64,
    },
    /// Rows that cannot be divided into the groups of a scale.
    #[error("rows of {columns} elements have no whole number of groups of {group}: gather them unquantised")]
    NoGroups {
        /// Elements of a row.
        columns: u64,
        /// Elements that share a scale.
        group: u64,
    },
    /// A scale of all rows that scales nothing.
    #[error(
        "the global scale is {global}, and has to be finite and above zero: 2688 over the largest magnitude expected"
    )]
    GlobalScale {
        /// The scale.
        global: f32,
    },
    /// A buffer of peers that were made for another group.
    #[error("the buffer is of another group than the one that gathers: make it of the group that the movement has")]
    OtherGroup,
    /// The plan has no such rank.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The ranks did not come together.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// A kernel was refused.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A tensor could not be used.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The device failed, or refused a capture.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
