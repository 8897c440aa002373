//! Why there is no plan.

use super::exchange::ExchangeError;
use super::micro::MicroError;
use super::{
    AllToAllError, BoundError, DraftError, ForwardMode, HoldError, MAX_RANKS, MAX_ROWS, MAX_SIZES, MAX_SPECULATION,
    Profile, ShardError, WireError,
};
use crate::draw::quantity;
use crate::layout::LayoutError;
use crate::text::value;

/// A request that cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A name that is no profile's.
    #[error("there is no profile `{}`; the profiles are {}", value(name), Profile::ALL.map(Profile::name).join(", "))]
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
    /// A number of ranks is over [`MAX_RANKS`].
    #[error("`{field}` is {ranks}; the most ranks of a group are {MAX_RANKS}")]
    TooManyRanks {
        /// The field of the request.
        field: &'static str,
        /// The number of ranks.
        ranks: u64,
    },
    /// A list of captured sizes is longer than [`MAX_SIZES`].
    #[error("`{field}` lists {sizes} sizes; the most are {MAX_SIZES}, far more than engines capture")]
    TooManySizes {
        /// The field of the request.
        field: &'static str,
        /// The number of sizes.
        sizes: usize,
    },
    /// More rows at the logits stage than tokens, per count.
    #[error(
        "`coef_lp` is {logprob} and `coef` is {tokens}; the logits stage picks rows of the forward, so it has no more"
    )]
    MoreLogitsThanTokens {
        /// Tokens per count.
        tokens: u64,
        /// Rows per count at the logits stage.
        logprob: u64,
    },
    /// A step in which a rank prefills, and all voted for a decode graph.
    #[error(
        "`graph_ok` says that every rank voted for a decode graph and `extend` that one prefills, which never votes for it; \
         set one of them, or give `prefill_buckets` for a prefill graph"
    )]
    ExtendInGraph,
    /// An alignment to context parallelism in a version that aligns parts alone.
    #[error(
        "`cp_align` is {multiple} and `{profile}` aligns to attention TP alone; its context-parallel parts are aligned by \
         themselves: give their rows as `shards`, or take the profile `main-2026-09`"
    )]
    NoContextAlignment {
        /// The profile.
        profile: Profile,
        /// The alignment asked for.
        multiple: u64,
    },
    /// A width of speculative decoding is over [`MAX_SPECULATION`].
    #[error("the speculation's `{field}` is {value}; the largest width is {MAX_SPECULATION}")]
    WidthTooLarge {
        /// The width.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// One branch has another number of draft tokens than steps and one.
    #[error(
        "1 branch of {} has {} draft tokens, not {draft_tokens}: one from each step, after the one that is certain",
        quantity(*steps, "draft step"), steps + 1
    )]
    ChainWidths {
        /// Draft steps.
        steps: u64,
        /// Draft tokens.
        draft_tokens: u64,
    },
    /// More tokens of a tree are to be verified than it has.
    #[error(
        "{topk} branches draft {} in {}, so with the one that is certain at most {} can be verified, not {draft_tokens}",
        quantity(*drafted, "token"), quantity(*steps, "step"), drafted + 1
    )]
    TreeWidths {
        /// Branches.
        topk: u64,
        /// Draft steps.
        steps: u64,
        /// Draft tokens.
        draft_tokens: u64,
        /// Tokens that all branches draft together.
        drafted: u64,
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
    /// The step cannot be split as asked.
    #[error(transparent)]
    Micro(#[from] MicroError),
    /// Context-parallel shards that contradict the step.
    #[error(transparent)]
    Shards(#[from] ShardError),
    /// A wire that does not suit the step.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Limits for prompts that wait, or their counts, contradict one another.
    #[error(transparent)]
    Hold(#[from] HoldError),
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
    /// A batch that prefills, in a step that a decode graph runs.
    #[error(
        "rank {rank} runs {forward} and the step was planned as a decode graph; plan with `extend` where a rank prefills"
    )]
    PrefillInGraph {
        /// The rank, counted from 0.
        rank: u64,
        /// What it runs.
        forward: ForwardMode,
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
    /// A workspace over 1 EiB.
    #[error("a workspace buffer of {bytes} bytes is over 1 EiB, which no device has")]
    WorkspaceTooLarge {
        /// The bytes asked for.
        bytes: u64,
    },
    /// The phases of a speculative step contradict each other.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The experts' back end cannot run the step.
    #[error(transparent)]
    AllToAll(#[from] AllToAllError),
    /// What ranks told contradicts itself or the request.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// A bound does not hold, or does not serve.
    #[error(transparent)]
    Bound(#[from] BoundError),
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
