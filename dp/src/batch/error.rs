//! What can go wrong with padding a batch.

use tilewright_dsl::element::ElementType;
use tilewright_runtime::{LaunchError, TensorError};

use super::MAX_TENSORS;

/// Why the tensors of a batch were not padded.
#[derive(Debug, thiserror::Error)]
pub enum PaddingError {
    /// One launch pads no more tensors.
    #[error("one launch pads at most {MAX_TENSORS} tensors: launch these, and pad the rest with another `Padding`")]
    TooManyTensors,
    /// The plan pads no tensor of that name.
    #[error("the plan of this batch pads no `{tensor}`: it pads {planned}")]
    NotPlanned {
        /// The name.
        tensor: String,
        /// What it pads.
        planned: String,
    },
    /// The plan pads a tensor with what no element can be.
    #[error("`{tensor}` is padded with nothing, as a list of the host is: leave it out")]
    NoElements {
        /// The name.
        tensor: &'static str,
    },
    /// The plan leaves in a tensor what an earlier replay left there, so nothing has to be filled in place.
    #[error("the padding of `{tensor}` keeps what is there: leave it out, or copy its elements with `pad`")]
    Stale {
        /// The name.
        tensor: &'static str,
    },
    /// A tensor was made for another plan.
    #[error("`{tensor}` has {found} elements on axis {axis}, and the plan pads it to {planned}")]
    WrongLength {
        /// The name.
        tensor: &'static str,
        /// The axis.
        axis: usize,
        /// Its extent.
        found: u64,
        /// The extent planned.
        planned: u64,
    },
    /// The padded tensor and its source have different elements for each row.
    #[error("a row of the padded tensor has {out} elements and one of its source {src}")]
    WrongColumns {
        /// Elements of a row of the padded tensor.
        out: usize,
        /// Elements of a row of the source.
        src: usize,
    },
    /// The fill is no value of the tensor's type.
    #[error("`{tensor}` is padded with {fill}, which is no value of its type {element}")]
    WrongFill {
        /// The name.
        tensor: &'static str,
        /// The fill.
        fill: i64,
        /// The type.
        element: ElementType,
    },
    /// A tensor has no such axis, or is no matrix along it.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The launch failed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}
