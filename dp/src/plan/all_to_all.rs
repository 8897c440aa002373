//! The all-to-all back ends of the experts: whether they need equal ranks, and how many rows each can take.

use serde::{Deserialize, Serialize};

use super::by_name::by_name;
use super::{MAX_ROWS, PlanError, Sizes, WireFormat, WireRow, check_ranks, check_size};

/// The most rows of a GPU with which DeepEP's low-latency kernels can be started.
pub const MAX_LOW_LATENCY_ROWS: u64 = 1024;

/// The back end that brings rows to their experts. In JSON an object with its name: `{"kind": "pplx"}` or
/// `{"kind": "flash_infer", "capacity": 4096}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields, remote = "Self")]
pub enum AllToAll {
    /// pplx: equal ranks always, because one without tokens never signals.
    Pplx {},
    /// DeepEP, its second version.
    DeepEp {
        /// Whether it was told to run equal ranks (`SGLANG_DEEPEP_V2_FORCE_MAX_LEN`).
        #[serde(default)]
        force_max: bool,
    },
    /// DeepEP's low-latency kernels.
    DeepEpLowLatency {
        /// The most rows of a GPU, at most [`MAX_LOW_LATENCY_ROWS`]; 128 by default
        /// (`NUM_MAX_DISPATCH_TOKENS_PER_RANK`).
        #[serde(default = "low_latency")]
        capacity: u64,
    },
    /// FlashInfer as SGLang runs it: not in a step that prefills.
    FlashInfer {
        /// The most rows of a GPU; 4096 by default, and no less than a prefill chunk.
        #[serde(default = "flash_infer")]
        capacity: u64,
    },
    /// FlashInfer as vLLM runs it: as many rows as the largest of its sizes.
    FlashInferVllm {},
    /// SGLang's fused experts: a prefill graph then holds no collective of the ranks, which need not be equal for it.
    MegaMoe {},
}

fn low_latency() -> u64 {
    128
}

fn flash_infer() -> u64 {
    4096
}

by_name!(AllToAll, "an all-to-all, an object such as {\"kind\": \"pplx\"}");

/// A step that a back end cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllToAllError {
    /// More rows than it was started for.
    #[error(
        "a GPU sends {rows} rows and {back_end} was started for {capacity}; run fewer tokens, or start it with a larger capacity"
    )]
    Overrun {
        /// The back end.
        back_end: &'static str,
        /// Rows of the longest GPU.
        rows: u64,
        /// The most.
        capacity: u64,
    },
    /// Kernels that cannot be started so large.
    #[error("{back_end} cannot be started for {capacity} rows; the most are {MAX_LOW_LATENCY_ROWS}")]
    Capacity {
        /// The back end.
        back_end: &'static str,
        /// The rows.
        capacity: u64,
    },
    /// One count where all are needed.
    #[error(
        "{back_end} needs the counts of all {dp} ranks, whose largest is the size of every part, and the list has the local rank's alone"
    )]
    OneCount {
        /// The back end.
        back_end: &'static str,
        /// Data-parallel ranks.
        dp: u64,
    },
    /// A wire that it does not have.
    #[error("{back_end} sends bf16, mxfp8 or nvfp4, not {format}; blocks of 128 are for a gather of uneven sizes")]
    Wire {
        /// The back end.
        back_end: &'static str,
        /// The wire.
        format: WireFormat,
    },
    /// A workspace for other experts.
    #[error(
        "the workspace is for {} experts of which a row takes {}, and a layer has {} and {}; give it one of its own",
        workspace.0, workspace.1, layer.0, layer.1
    )]
    OtherExperts {
        /// Experts, and those of a row, that the workspace was made for.
        workspace: (u64, u64),
        /// Those of the layer.
        layer: (u64, u64),
    },
}

/// How the rows of a gathered buffer reach their experts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum AllToAllPlan {
    /// Through the back end.
    Dispatch {
        /// Rows that every GPU's part has: of equal parts, the part's size; otherwise the largest.
        rows: u64,
        /// The most that the back end was started for, if it has such a number.
        capacity: Option<u64>,
    },
    /// By a gather of bfloat16 with a size for every GPU, since the step prefills.
    Gather {
        /// The sizes.
        sizes: Sizes,
    },
}

impl AllToAll {
    /// The name in messages and on the command line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pplx {} => "pplx",
            Self::DeepEp { .. } => "deep_ep",
            Self::DeepEpLowLatency { .. } => "deep_ep_low_latency",
            Self::FlashInfer { .. } => "flash_infer",
            Self::FlashInferVllm {} => "flash_infer_vllm",
            Self::MegaMoe {} => "mega_moe",
        }
    }

    /// Whether it needs equal ranks, whatever they cost.
    pub const fn forces_max(&self) -> bool {
        matches!(self, Self::Pplx {} | Self::DeepEp { force_max: true })
    }

    /// SGLang's FlashInfer for prefill chunks of so many tokens.
    pub const fn flash_infer(chunk: u64) -> Self {
        Self::FlashInfer {
            capacity: if chunk > 4096 { chunk } else { 4096 },
        }
    }

    /// How rows of `counts`, as they are published to all ranks, are sent by `dp` ranks of `attention_tp` GPUs.
    ///
    /// ```
    /// use tilewright_dp::plan::{AllToAll, AllToAllPlan};
    ///
    /// let back_end = AllToAll::flash_infer(0);
    /// let plan = back_end.plan(&[100, 37, 0], 3, 2, false)?;
    /// assert_eq!(plan, AllToAllPlan::Dispatch { rows: 50, capacity: Some(4096) });
    /// let AllToAllPlan::Gather { sizes } = back_end.plan(&[100, 37, 0], 3, 2, true)? else { panic!() };
    /// assert_eq!(sizes.sizes(), [50, 50, 19, 18, 0, 0]);
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// A GPU has more rows than the back end takes, or it needs counts that are not there.
    pub fn plan(&self, counts: &[u64], dp: u64, attention_tp: u64, extend: bool) -> Result<AllToAllPlan, PlanError> {
        check_ranks("dp", dp)?;
        check_ranks("attn_tp", attention_tp)?;
        check_ranks("tp", attention_tp.saturating_mul(counts.len() as u64))?;
        let capacity = self.capacity()?;
        let back_end = self.name();
        if matches!(self, Self::FlashInfer { .. }) && counts.len() == 1 && dp > 1 {
            return Err(AllToAllError::OneCount { back_end, dp }.into());
        }
        if matches!(self, Self::FlashInfer { .. }) && extend {
            let of_rank = |&count: &u64| {
                let (base, rest) = (count / attention_tp, count % attention_tp);
                (0..attention_tp).map(move |gpu| base + u64::from(gpu < rest))
            };
            let sizes = Sizes::new(counts.iter().flat_map(of_rank).collect())?;
            return Ok(AllToAllPlan::Gather { sizes });
        }
        let rows = counts.iter().copied().max().unwrap_or(0).div_ceil(attention_tp);
        match capacity {
            Some(capacity) if rows > capacity => Err(AllToAllError::Overrun {
                back_end,
                rows,
                capacity,
            }
            .into()),
            _ => Ok(AllToAllPlan::Dispatch { rows, capacity }),
        }
    }

    /// The most rows of a GPU that it was started for.
    fn capacity(&self) -> Result<Option<u64>, PlanError> {
        let (Self::DeepEpLowLatency { capacity } | Self::FlashInfer { capacity }) = *self else {
            return Ok(None);
        };
        check_size("capacity", capacity)?;
        let back_end = self.name();
        match self {
            Self::DeepEpLowLatency { .. } if capacity > MAX_LOW_LATENCY_ROWS => {
                Err(AllToAllError::Capacity { back_end, capacity }.into())
            }
            _ => Ok(Some(capacity)),
        }
    }

    /// Refuses a wire that the back end does not send.
    pub(super) fn check_wire(&self, format: WireFormat) -> Result<(), AllToAllError> {
        match self {
            Self::FlashInfer { .. } | Self::FlashInferVllm {} if format == WireFormat::Fp8 => {
                Err(AllToAllError::Wire {
                    back_end: self.name(),
                    format,
                })
            }
            _ => Ok(()),
        }
    }
}

impl WireFormat {
    /// Bytes that a dispatch workspace keeps for a row: as for bfloat16 at least, to which single layers and draft
    /// models fall back.
    ///
    /// # Errors
    /// As for [`row`](Self::row).
    pub fn reserved_bytes(self, hidden: u64, experts: u64) -> Result<u64, PlanError> {
        let bytes = |format: Self| format.row(hidden, experts).map(|row: WireRow| row.bytes());
        Ok(bytes(self)?.max(bytes(Self::Bf16)?))
    }
}

/// One dispatch workspace for the layers of a model (vLLM), as large as the largest need so far. A draft model has one
/// of its own.
///
/// ```
/// use tilewright_dp::plan::{DispatchWorkspace, WireFormat};
///
/// let reserved = WireFormat::Nvfp4.reserved_bytes(7168, 8)?;
/// let mut workspace = DispatchWorkspace::new(256, 8);
/// assert!(workspace.grow(256, 8, 64 * reserved)?);
/// assert!(!workspace.grow(256, 8, 48 * reserved)?);
/// assert_eq!(workspace.bytes(), 64 * 14400);
/// assert!(workspace.grow(128, 8, 0).is_err());
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DispatchWorkspace {
    experts: (u64, u64),
    bytes: u64,
}

impl DispatchWorkspace {
    /// An empty one for layers of so many experts, of which a row takes so many.
    pub const fn new(experts: u64, experts_per_token: u64) -> Self {
        Self {
            experts: (experts, experts_per_token),
            bytes: 0,
        }
    }

    /// Makes room for a layer's need, and returns whether it grew.
    ///
    /// # Errors
    /// The layer has other experts.
    pub fn grow(&mut self, experts: u64, experts_per_token: u64, bytes: u64) -> Result<bool, AllToAllError> {
        let layer = (experts, experts_per_token);
        if layer != self.experts {
            let workspace = self.experts;
            return Err(AllToAllError::OtherExperts { workspace, layer });
        }
        let grows = bytes > self.bytes;
        self.bytes = self.bytes.max(bytes);
        Ok(grows)
    }

    /// Its size.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl AllToAllPlan {
    /// Rows of the buffer in which one GPU receives, of so many GPUs that send: a part for each.
    ///
    /// # Errors
    /// Too many.
    pub fn received_rows(&self, gpus: u64) -> Result<u64, PlanError> {
        let rows = match self {
            Self::Dispatch { rows, .. } => rows.checked_mul(gpus).filter(|&rows| rows <= MAX_ROWS),
            Self::Gather { sizes } => Some(sizes.rows()),
        };
        rows.ok_or(PlanError::TooManyRows {
            buffer: "receive buffer",
            ranks: gpus as usize,
        })
    }
}
