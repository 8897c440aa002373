//! Whether a captured prefill graph runs a step, and why it does not.

use std::fmt;

use super::{AllToAll, Profile, Request, mode};
use crate::draw::quantity;

/// What became of the prefill graph that every rank voted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrefillGraph {
    /// It runs.
    Runs {
        /// Rows of the longest rank.
        longest: u64,
        /// The size that holds them.
        bucket: u64,
        /// The largest size captured.
        largest: u64,
        /// Whether its back end holds no collective of the ranks, so that each runs a size of its own
        /// (`prefill_graph_tolerates_sum_len`).
        tolerates_sum: bool,
    },
    /// It does not.
    Refused(WhyNoPrefillGraph),
}

/// Why no prefill graph runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhyNoPrefillGraph {
    /// The version has none.
    Unknown(Profile),
    /// No rank prefills.
    NobodyPrefills,
    /// Some ranks prefill and others draft.
    Phases,
    /// The longest rank is longer than any captured.
    TooLong {
        /// Rows of the longest rank.
        longest: u64,
        /// The largest size captured.
        largest: u64,
    },
    /// A rank has nothing to replay, and a collective in the graph would wait for it.
    IdleRank {
        /// The rank, counted from 0.
        rank: usize,
    },
    /// The next size has over twice the rows.
    Wasteful {
        /// Rows of the longest rank.
        longest: u64,
        /// The next size.
        bucket: u64,
    },
}

impl fmt::Display for WhyNoPrefillGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(profile) => write!(f, "{profile} captures none"),
            Self::NobodyPrefills => f.write_str("no rank prefills"),
            Self::Phases => f.write_str("some ranks prefill and others draft, each with a width of its own"),
            Self::TooLong { longest, largest } => write!(
                f,
                "the longest rank has {}, more than the {largest} captured",
                quantity(*longest, "row")
            ),
            Self::IdleRank { rank } => write!(f, "rank {rank} has no token and would replay nothing"),
            Self::Wasteful { longest, bucket } => write!(
                f,
                "the next size has {bucket} rows, over twice the {longest} of the longest rank"
            ),
        }
    }
}

impl PrefillGraph {
    /// Of a request with captured sizes, whose ranks have so many tokens; nothing without any. `is_mixed` says that some
    /// prefill while others draft, and `in_parts` that context-parallel parts are gathered.
    pub(super) fn of(request: &Request, scaled: &[u64], is_mixed: bool, in_parts: bool) -> Option<Self> {
        let buckets = request.prefill_buckets.as_deref()?;
        let &largest = buckets.iter().max()?;
        let (profile, alignment) = (request.profile, mode::alignment(request));
        // Rounded up, each is below 2^63; the sum of all is checked where the buffer is laid out.
        let rows = |&tokens: &u64| tokens.next_multiple_of(alignment);
        let longest = scaled.iter().map(rows).max().unwrap_or(0);
        let idle = scaled.iter().position(|&tokens| tokens == 0);
        let tolerates_sum =
            profile >= Profile::Main202611 && !in_parts && matches!(request.all_to_all, Some(AllToAll::MegaMoe {}));
        let bucket = buckets.iter().copied().filter(|&size| size >= longest).min();
        let refused = match (bucket, idle) {
            _ if profile < Profile::Main202609 => WhyNoPrefillGraph::Unknown(profile),
            _ if !request.extend => WhyNoPrefillGraph::NobodyPrefills,
            _ if is_mixed => WhyNoPrefillGraph::Phases,
            (None, _) => WhyNoPrefillGraph::TooLong { longest, largest },
            (Some(_), Some(rank)) if !tolerates_sum => WhyNoPrefillGraph::IdleRank { rank },
            (Some(bucket), _) if profile >= Profile::Main202611 && bucket > longest.saturating_mul(2) => {
                WhyNoPrefillGraph::Wasteful { longest, bucket }
            }
            (Some(bucket), _) => {
                return Some(Self::Runs {
                    longest,
                    bucket,
                    largest,
                    tolerates_sum,
                });
            }
        };
        Some(Self::Refused(refused))
    }

    /// The longest rank's rows and the largest size, if ranks are equal because of it. The version of September 2026 keeps
    /// them equal also where an idle rank makes the engine leave the graph.
    pub(super) fn equals_ranks(&self, request: &Request, longest: u64) -> Option<(u64, u64)> {
        match *self {
            Self::Runs {
                longest,
                largest,
                tolerates_sum: false,
                ..
            } => Some((longest, largest)),
            Self::Refused(WhyNoPrefillGraph::IdleRank { .. }) if request.profile < Profile::Main202611 => {
                let largest = request.prefill_buckets.iter().flatten().copied().max()?;
                Some((longest, largest))
            }
            _ => None,
        }
    }
}
