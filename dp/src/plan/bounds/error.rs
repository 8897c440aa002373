//! Why a bound does not hold, or does not serve.

use super::super::MAX_ROWS;
use super::SizeUse;

/// A use that a bound does not serve, or a bound that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// A rank with more rows than the bound.
    #[error(
        "rank {rank} has {rows} rows and the bound is {bound}; all others rely on it, so run no more than that in a step"
    )]
    Exceeded {
        /// The rank, counted from 0, of those that are known.
        rank: usize,
        /// Its rows.
        rows: u64,
        /// The bound.
        bound: u64,
    },
    /// A size that depends on what other ranks have.
    #[error(
        "{used} depends on what every rank has, and without an exchange a rank knows only its own; exchange counts, or give \
         every rank the bound's rows"
    )]
    NeedsExchange {
        /// What it is for.
        used: SizeUse,
    },
    /// A decision that ranks agree on.
    #[error("`{field}` is agreed on in an exchange, and a plan from a bound has none; leave one of them out")]
    Agreed {
        /// The field of the request.
        field: &'static str,
    },
    /// A dispatch for fewer rows than the bound.
    #[error(
        "a dispatch started for {dispatch} rows of a rank does not take the {rows} of the bound; start it for as many"
    )]
    Dispatch {
        /// Rows that it was started for.
        dispatch: u64,
        /// The bound.
        rows: u64,
    },
    /// A bound that an attention TP group cannot split.
    #[error(
        "the bound's {rows} rows do not divide among the {attention_tp} GPUs that share one attention; bound a multiple of that"
    )]
    Uneven {
        /// The bound.
        rows: u64,
        /// GPUs of the attention TP group.
        attention_tp: u64,
    },
    /// Not even one request fits.
    #[error("a request that decodes has {rows} rows in a forward and the bound is {bound}; bound at least that")]
    OneRequest {
        /// Rows of a request.
        rows: u64,
        /// The bound.
        bound: u64,
    },
    /// More rows than memory is planned for.
    #[error("{what} would have over {MAX_ROWS} rows, more than the 32-bit counts of a captured graph can hold")]
    TooManyRows {
        /// What.
        what: &'static str,
    },
    /// More slots than rows.
    #[error("{slots} slots want rows and the bound is {bound}; each has one at least, so fill no more slots than that")]
    Slots {
        /// Slots that want rows.
        slots: usize,
        /// The bound.
        bound: u64,
    },
    /// No captured size holds a rank's rows.
    #[error("{rows} rows are wanted and the largest captured size is {largest}; capture the bound's rows too")]
    NoBucket {
        /// The rows, at most the bound's.
        rows: u64,
        /// The largest size, 0 if there is none.
        largest: u64,
    },
}
