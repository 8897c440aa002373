//! Why a step is not split as asked.

use super::super::MAX_ROWS;
use super::MAX_MICRO_BATCHES;

/// Micro-batches that contradict the step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MicroError {
    /// A step prefills and its prompts are not told.
    #[error(
        "the step prefills and `micro` has no `prompts`; give the tokens of each prompt of every rank, or nobody knows where to cut"
    )]
    NoPrompts,
    /// Prompts in a step that does not prefill.
    #[error("`micro` has prompts and the step does not prefill; leave them out, or set `extend`")]
    PromptsOfDecode,
    /// Prompts are told for another number of ranks.
    #[error(
        "`micro` has the prompts of {prompts} ranks and `raw` has {counts} counts; give one list per count, empty for a rank without"
    )]
    WrongNumberOfLists {
        /// Lists of prompts.
        prompts: usize,
        /// Counts of the request.
        counts: usize,
    },
    /// A rank's prompts are not its tokens.
    #[error(
        "the prompts of rank {rank} have {prompts} tokens together and its count is {count}; both are the tokens it prefills"
    )]
    OtherSum {
        /// The rank, counted from 0.
        rank: usize,
        /// Tokens of its prompts.
        prompts: u64,
        /// Its count.
        count: u64,
    },
    /// More tokens than a buffer has rows.
    #[error(
        "the prompts to be cut have over {MAX_ROWS} tokens together, more than the 32-bit counts of a captured graph can hold"
    )]
    TooManyTokens,
    /// A part is at most half.
    #[error("`two_chunk_percent` is {percent}; it is what the smaller half has at least, so at most 50")]
    MoreThanHalf {
        /// The threshold.
        percent: u64,
    },
    /// A number of micro-batches out of range.
    #[error("`batches` is {batches}; a step is split into 2 to {MAX_MICRO_BATCHES}")]
    Batches {
        /// The number.
        batches: u64,
    },
    /// Fewer tokens than micro-batches.
    #[error("{agreed} tokens cannot be split into {batches} micro-batches; each has at least one")]
    TooFewTokens {
        /// Tokens that the ranks agreed on.
        agreed: u64,
        /// Micro-batches.
        batches: u64,
    },
    /// The agreed tokens do not hold a rank's own.
    #[error("the ranks agreed on {agreed} tokens and this one has {own}; what is agreed is the most of any rank")]
    AgreedTooFew {
        /// Tokens that the ranks agreed on.
        agreed: u64,
        /// The rank's tokens.
        own: u64,
    },
    /// Fewer requests after padding than before.
    #[error("{requests} requests are padded to {padded}; padding only adds")]
    FewerRequests {
        /// Requests.
        requests: usize,
        /// Requests after padding.
        padded: usize,
    },
    /// A cut that is not one of these prompts.
    #[error(
        "the cut is behind {tokens} tokens and {requests} requests, which these prompts do not have; cut the ones it was made for"
    )]
    OtherCut {
        /// Tokens before the cut.
        tokens: u64,
        /// Requests before it.
        requests: usize,
    },
}
