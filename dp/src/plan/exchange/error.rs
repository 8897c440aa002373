//! Why the ranks of a step conclude nothing.

use super::super::{MAX_RANKS, MAX_ROWS};
use crate::collective::CollectiveError;

/// What ranks exchanged contradicts itself.
#[derive(Debug, thiserror::Error)]
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
    /// The form has no such conclusion.
    #[error("the form `{form}` does not exchange `{column}`, which this conclusion rests on")]
    NoSuchColumn {
        /// The form.
        form: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The exchange itself failed.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
}
