//! Why an engine's kernels were not compiled.

use tilewright_runtime::{LaunchError, TensorError};

use crate::batch::PaddingError;
use crate::catalogue::CatalogueError;
use crate::movement::MovementError;
use crate::plan::PlanError;

/// Why an engine's kernels were not compiled.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// A size is none.
    #[error("{found} {what}: there are 1 to {most}")]
    Size {
        /// What there are so many of.
        what: &'static str,
        /// How many.
        found: u64,
        /// The most.
        most: u64,
    },
    /// A policy allows too many literals.
    #[error("the policy allows {literals} counts as literals, and {most} are compiled at most: allow fewer")]
    TooManyLiterals {
        /// How many.
        literals: u64,
        /// How many at most.
        most: u64,
    },
    /// A kernel is not called with such tensors: hidden states of that type are not moved, or there is no tensor of that size.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A step has no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A step's rows cannot be moved.
    #[error(transparent)]
    Movement(#[from] MovementError),
    /// A batch cannot be padded.
    #[error(transparent)]
    Padding(#[from] PaddingError),
    /// A launch fails.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// There is no tensor of that size.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
