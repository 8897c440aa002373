//! What can go wrong between GPUs.

use std::{ops::Range, path::PathBuf, time::Duration};

use tilewright_dsl::element::ElementType;

use crate::{
    error::DeviceError,
    library::{Looked, Searched},
};

/// What can go wrong with NCCL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NcclError {
    /// No place that could hold NCCL holds one that loads.
    #[error(
        "NCCL, NVIDIA's library of collectives, was not found.\n{}To install it: `pip install nvidia-nccl-cu13`, or \
         nvidia-nccl-cu12 for a driver of CUDA 12. To name one: set TILEWRIGHT_NCCL to libnccl.so.2 or to its folder.",
        Looked(searched)
    )]
    Missing {
        /// Where it was looked for, in order, and why each place did not do.
        searched: Vec<Searched>,
    },
    /// `TILEWRIGHT_NCCL` is set, and what it names does not load. Nothing else is tried then.
    #[error(
        "TILEWRIGHT_NCCL is set to `{}`, which gives no NCCL.\n{}\
         Set it to libnccl.so.2 or to the folder that holds it, or unset it to search the usual places.",
        value.display(),
        Looked(searched)
    )]
    Named {
        /// What the variable holds.
        value: PathBuf,
        /// What was tried there.
        searched: Vec<Searched>,
    },
    /// A call failed.
    #[error("{call} failed: {reason}")]
    Failed {
        /// The call.
        call: &'static str,
        /// What NCCL says.
        reason: String,
    },
    /// Other ranks did not do their part in time. The communicator was given up.
    #[error("{call} is not done after {limit:?}: another rank died or does something else; make a new communicator")]
    Late {
        /// What was waited for.
        call: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The communicator was given up after an earlier error.
    #[error("the communicator was given up after an error: make a new one")]
    GivenUp,
    /// Ranks of one process would write into each other's tensors, at places that no rank checks for another.
    #[error(
        "NCCL_CUMEM_ENABLE=0, or a version before 2.19, lets ranks that are threads of one process write into each other's \
         tensors: set NCCL_P2P_DIRECT_DISABLE=1 too, or run each rank in a process of its own"
    )]
    TensorsAreShared,
    /// NCCL has no sums of that type.
    #[error("NCCL cannot add elements of type {element}")]
    NoSum {
        /// The type.
        element: ElementType,
    },
    /// The rows do not follow each other in memory.
    #[error(
        "the elements of a tensor between GPUs have to follow each other in memory; these are a part of wider rows"
    )]
    NotContiguous,
    /// The parts do not fit the communicator or the tensor.
    #[error("{parts:?} rows are no parts of a tensor of {rows} rows for {ranks} ranks")]
    WrongParts {
        /// The parts.
        parts: Vec<u64>,
        /// Rows of the tensor.
        rows: u64,
        /// The ranks.
        ranks: usize,
    },
    /// Parts that begin anywhere do not fit the communicator or the tensor.
    #[error(
        "rows {places:?} are no parts of a tensor of {rows} rows for {ranks} ranks: give one for each, within it and apart"
    )]
    WrongPlaces {
        /// The rows of each part.
        places: Vec<Range<u64>>,
        /// Rows of the tensor.
        rows: u64,
        /// The ranks.
        ranks: usize,
    },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
