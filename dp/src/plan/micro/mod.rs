//! Micro-batches: a step in two or more parts, so that the collectives of one run beside the computation of another.
//!
//! | file | answers |
//! |---|---|
//! | `cut` | SGLang's two halves: between requests, or within one |
//! | `slices` | vLLM's: equal parts of the agreed tokens |
//! | `decide` | whether a step is split, and what each part of the gathered buffer needs |
//! | `error` | what is refused |

mod cut;
mod decide;
mod error;
mod slices;

pub use cut::{Child, Cut, DEFAULT_TWO_CHUNK_PERCENT};
pub use decide::{MicroPlan, Part, WhyWhole};
pub use error::MicroError;
pub use slices::{Slice, last_is_empty, slices};

pub(super) use decide::decide;

use serde::{Deserialize, Serialize};

use super::by_name::by_name;

/// The most micro-batches of a step.
pub const MAX_MICRO_BATCHES: u64 = 64;

/// How an engine splits steps. In JSON an object with the engine's word for it: `{"kind": "tbo", "prompts": [[100, 50], [7]]}`
/// or `{"kind": "dbo", "prefill_threshold": 256}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", remote = "Self")]
pub enum Micro {
    /// SGLang's two-batch overlap.
    Tbo(TwoBatch),
    /// vLLM's dual batch overlap.
    Dbo(DualBatch),
}

by_name!(Micro, "micro-batches, an object such as {\"kind\": \"dbo\"}");

/// SGLang's two-batch overlap: a step is split if all busy ranks run the same, each rank where it likes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoBatch {
    /// For every count of the request, the tokens of each prompt that the rank prefills; needed where a step prefills. A
    /// rank with tokens and without prompts decodes. A step that only decodes has none.
    #[serde(default)]
    pub prompts: Option<Vec<Vec<u64>>>,
    /// A prompt is cut in two if a cut between prompts leaves less than this part of the tokens to one half, in per cent, at
    /// most 50; [`DEFAULT_TWO_CHUNK_PERCENT`] by default, 0 never does.
    #[serde(default = "two_chunk_percent")]
    pub two_chunk_percent: u64,
}

impl Default for TwoBatch {
    fn default() -> Self {
        Self {
            prompts: None,
            two_chunk_percent: DEFAULT_TWO_CHUNK_PERCENT,
        }
    }
}

fn two_chunk_percent() -> u64 {
    DEFAULT_TWO_CHUNK_PERCENT
}

/// vLLM's dual batch overlap: a step is split into equal parts of the agreed tokens if every rank has enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DualBatch {
    /// Micro-batches, from 2 to [`MAX_MICRO_BATCHES`]; 2 by default.
    pub batches: u64,
    /// The fewest tokens of a rank in a step that only decodes; 32 by default.
    pub decode_threshold: u64,
    /// The fewest tokens of a rank in any other step; 512 by default.
    pub prefill_threshold: u64,
    /// Which model runner; the first by default.
    pub runner: Runner,
}

impl Default for DualBatch {
    fn default() -> Self {
        Self {
            batches: 2,
            decode_threshold: 32,
            prefill_threshold: 512,
            runner: Runner::V1,
        }
    }
}

impl DualBatch {
    /// The fewest tokens with which a rank agrees to a split.
    pub const fn threshold(&self, extend: bool) -> u64 {
        if extend {
            self.prefill_threshold
        } else {
            self.decode_threshold
        }
    }
}

/// A model runner of vLLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runner {
    /// It splits no step whose last part would be all padding on some rank, and splits within graphs too.
    #[default]
    V1,
    /// It runs split steps without a graph, and a part without tokens as a dummy.
    V2,
}
