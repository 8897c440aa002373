//! Why there is no plan.

use super::{ForwardMode, MAX_ROWS, Profile};
use crate::layout::LayoutError;

/// A request that cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A name that is no profile's.
    #[error("there is no profile `{name}`; the profiles are {}", Profile::ALL.map(Profile::name).join(", "))]
    UnknownProfile {
        /// The name.
        name: String,
    },
    /// There are no counts.
    #[error("`raw` is empty; give one count per data-parallel rank, or the local rank's alone")]
    NoCounts,
    /// The number of counts fits neither all ranks nor one.
    #[error(
        "`raw` has {counts} counts and `dp` is {dp}; give one count per data-parallel rank, or the local rank's alone"
    )]
    WrongNumberOfCounts {
        /// The number of counts.
        counts: usize,
        /// The number of data-parallel ranks.
        dp: u64,
    },
    /// Tokens and logprob rows are counted for different numbers of ranks.
    #[error("`raw` has {counts} counts and `raw_lp` has {logprob}; both need one per rank")]
    WrongNumberOfLogprobCounts {
        /// The number of token counts.
        counts: usize,
        /// The number of logprob counts.
        logprob: usize,
    },
    /// A size that has to be at least 1 is 0.
    #[error("`{field}` is 0; it is at least 1")]
    Zero {
        /// The field of the request.
        field: &'static str,
    },
    /// A size is over [`MAX_ROWS`].
    #[error("`{field}` is {value}; the largest is {MAX_ROWS}, what the 32-bit counts of a captured graph can hold")]
    TooLarge {
        /// The field of the request.
        field: &'static str,
        /// Its value, or the largest of its values.
        value: u64,
    },
    /// A rank has more than [`MAX_ROWS`] rows.
    #[error(
        "`{field}` of rank {rank} is {count}, at {width} rows each; the most rows are {MAX_ROWS}, what the 32-bit counts of a captured graph can hold"
    )]
    CountTooLarge {
        /// The field of the request.
        field: &'static str,
        /// The rank, counted from 0.
        rank: usize,
        /// Its count.
        count: u64,
        /// Rows for each.
        width: u64,
    },
    /// All ranks together have more than [`MAX_ROWS`] rows.
    #[error(
        "the {buffer} of {ranks} ranks would have over {MAX_ROWS} rows, more than the 32-bit counts of a captured graph can hold"
    )]
    TooManyRows {
        /// Which buffer.
        buffer: &'static str,
        /// The number of ranks.
        ranks: usize,
    },
    /// The buffer cannot be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A rank that is not in the plan.
    #[error("there is no rank {rank}; there are {ranks}, counted from 0")]
    NoSuchRank {
        /// The rank asked for.
        rank: u64,
        /// The number of ranks.
        ranks: u64,
    },
    /// A local batch that is larger than what was planned for its rank.
    #[error(
        "rank {rank} has a batch of {requests} requests and was planned {rows} rows; plan with the counts of this step"
    )]
    BatchTooLarge {
        /// The rank, counted from 0.
        rank: u64,
        /// Requests of the batch.
        requests: u64,
        /// Rows that were planned.
        rows: u64,
    },
    /// The tensor-parallel group cannot be split as asked.
    #[error(
        "{tp} GPUs cannot be split into {dp} data-parallel ranks of {cp} context-parallel parts; tp has to be a multiple of dp × cp"
    )]
    UnevenTopology {
        /// GPUs of the tensor-parallel group.
        tp: u64,
        /// Data-parallel ranks.
        dp: u64,
        /// Context-parallel parts.
        cp: u64,
    },
    /// A rank with tokens that says it is idle.
    #[error("rank {rank} is idle and has {tokens} tokens; say what it runs, or give it none")]
    IdleWithTokens {
        /// The rank, counted from 0.
        rank: usize,
        /// Its tokens.
        tokens: u64,
    },
    /// A speculative forward without the widths of speculation.
    #[error("rank {rank} runs {forward}, which needs the widths of speculation; set `speculation`")]
    NoSpeculation {
        /// The rank, counted from 0.
        rank: usize,
        /// What it runs.
        forward: ForwardMode,
    },
    /// Ranks that need different widths in one step.
    #[error("rank {} runs {} and rank {} runs {}, whose tokens per request differ; one step has one width, so let one of them wait", one.0, one.1, other.0, other.1)]
    MixedWidths {
        /// The first rank with tokens, and what it runs.
        one: (usize, ForwardMode),
        /// A rank that disagrees.
        other: (usize, ForwardMode),
    },
}
