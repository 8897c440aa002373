//! Why the ranks of a step conclude nothing.

use super::super::{MAX_RANKS, MAX_ROWS, MAX_SIZES, PlanError};

/// What ranks exchanged contradicts itself, or the request of the step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No rank, or too many.
    #[error("{ranks} ranks exchange; a step has at least 1 and at most {MAX_RANKS}")]
    Ranks {
        /// The number of ranks.
        ranks: usize,
    },
    /// A rank sent a vector of another form.
    #[error("rank {rank} sent {words} words and this form has {columns}; all ranks of a group use one form")]
    WrongLength {
        /// The rank, counted from 0.
        rank: usize,
        /// The words it sent.
        words: usize,
        /// The words of the form.
        columns: usize,
    },
    /// A value that its column does not have.
    #[error("`{column}` of rank {rank} is {value}; the largest is {largest}")]
    TooLarge {
        /// The column.
        column: &'static str,
        /// The rank, counted from 0.
        rank: usize,
        /// Its value.
        value: u64,
        /// The largest value of the column.
        largest: u64,
    },
    /// Fewer tokens after padding than before.
    #[error("rank {rank} has {tokens} tokens and pads them to {padded}; padding only adds")]
    PaddedBelowTokens {
        /// The rank, counted from 0.
        rank: usize,
        /// Tokens before padding.
        tokens: u64,
        /// Tokens after it.
        padded: u64,
    },
    /// A dead rank that is none.
    #[error("rank {rank} is said to be dead and there are {ranks} ranks, counted from 0")]
    NoSuchRank {
        /// The rank.
        rank: usize,
        /// The number of ranks.
        ranks: usize,
    },
    /// All ranks are dead.
    #[error("all {ranks} ranks are dead; nobody is left to conclude anything")]
    AllDead {
        /// The number of ranks.
        ranks: usize,
    },
    /// One micro-batch or none.
    #[error("a step is split into {micro_batches} micro-batches; a split has at least 2 and at most {MAX_ROWS}")]
    MicroBatches {
        /// The number asked for.
        micro_batches: u64,
    },
    /// A rank uses another form.
    #[error("rank {rank} exchanges in another form than `{form}`; all ranks of a group use one form")]
    OtherForm {
        /// The rank, counted from 0.
        rank: usize,
        /// The form of this rank.
        form: &'static str,
    },
    /// A number that stands for nothing.
    #[error("`{column}` of rank {rank} is {value}, which stands for nothing")]
    Unknown {
        /// The column.
        column: &'static str,
        /// The rank, counted from 0.
        rank: usize,
        /// Its value.
        value: u64,
    },
    /// A rank without a count says what only one with a count has, or the other way round.
    #[error("rank {rank} runs nothing (idle) and has {tokens} tokens; an idle rank has none")]
    IdleWithTokens {
        /// The rank, counted from 0.
        rank: usize,
        /// Its tokens.
        tokens: u64,
    },
    /// The slots of an elastic world do not fit it.
    #[error(
        "{slots} slots, {ep} expert-parallel ranks and a world of {world}: there is one slot for each expert-parallel rank, \
         and no more than the world has processes"
    )]
    Slots {
        /// The slots.
        slots: usize,
        /// Expert-parallel ranks.
        ep: usize,
        /// Processes.
        world: usize,
    },
    /// A draft cannot take over what was agreed on for the target.
    #[error("the draft cannot reuse the agreement: {field} is {draft} for the draft and {target} for the target")]
    NotReusable {
        /// What differs.
        field: &'static str,
        /// The draft's.
        draft: u64,
        /// The target's.
        target: u64,
    },
    /// Requests for a rank that is full or does not exist, or more than all ranks can take.
    #[error("{requests} new requests do not fit: {ranks} ranks take at most {cap} each")]
    NoRoom {
        /// The new requests.
        requests: usize,
        /// The ranks.
        ranks: usize,
        /// The most of a rank.
        cap: u64,
    },
    /// Too many captured sizes.
    #[error("{sizes} captured sizes are listed; the most are {MAX_SIZES}")]
    Sizes {
        /// The number of sizes.
        sizes: usize,
    },
    /// A captured size is 0 or too large.
    #[error(transparent)]
    Size(#[from] Box<PlanError>),
    /// Not all ranks of the request told something, or more.
    #[error(
        "`exchange` has the words of {ranks} ranks, `raw` has {counts} counts and `dp` is {dp}; all are needed of every rank"
    )]
    OtherRanks {
        /// Ranks that told something.
        ranks: usize,
        /// Counts of the request.
        counts: usize,
        /// Its data-parallel ranks.
        dp: u64,
    },
    /// A count that is not what its rank told.
    #[error(
        "rank {rank} told `{column}` {told} and `raw` says {asked}; a plan follows from what ranks told, and a dead rank has 0"
    )]
    OtherCount {
        /// The column.
        column: &'static str,
        /// The rank, counted from 0.
        rank: usize,
        /// What it told.
        told: u64,
        /// What the request says.
        asked: u64,
    },
    /// A field that the exchange decides.
    #[error(
        "`{field}` is set, and with an exchange of the form `{form}` it follows from what ranks told; leave it out"
    )]
    Decided {
        /// The field.
        field: &'static str,
        /// The form.
        form: &'static str,
    },
    /// A step that prefills, in which no rank told so.
    #[error("`extend` says that a rank prefills and none told so; leave out `extend`, which follows")]
    NobodyPrefills,
}
