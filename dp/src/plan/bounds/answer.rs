//! The kinds of numbers of a rank without an exchange, and what each serves.

use std::fmt;

use serde::Serialize;

use super::super::{MAX_RANKS, MAX_ROWS, PlanError};
use super::BoundError;

/// A number that is exact and this rank's own. Others have others: it shapes what only this rank computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Own(u64);

impl Own {
    pub(super) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A number of which the host knows only that it is no larger. It sizes memory; the number itself is read on the
/// device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AtMost(u64);

impl AtMost {
    /// Rows to allocate.
    pub const fn capacity(self) -> u64 {
        self.0
    }

    /// Whether so many are possible.
    pub const fn admits(self, rows: u64) -> bool {
        rows <= self.0
    }
}

pub(super) fn at_most(what: &'static str, rows: u128) -> Result<AtMost, PlanError> {
    const { assert!(MAX_ROWS.checked_mul(MAX_RANKS).is_some()) };
    let rows = u64::try_from(rows).ok().filter(|&rows| rows <= MAX_ROWS);
    rows.map(AtMost).ok_or(BoundError::TooManyRows { what }.into())
}

/// What a size is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SizeUse {
    /// An all-to-all that takes every rank's count on the device.
    DeviceCounts,
    /// The shape of something that only this rank computes.
    LocalShape,
    /// A captured graph of this rank's size, without a collective whose size the host tells.
    LocalGraph,
    /// An all-gather or reduce-scatter of equal parts.
    EqualParts,
    /// A captured graph with a collective of equal parts inside.
    EqualGraph,
    /// The sizes of an all-gather or reduce-scatter of uneven parts.
    UnevenSizes,
    /// The rows at which packed ranks start.
    PackedStarts,
}

impl SizeUse {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::DeviceCounts,
        Self::LocalShape,
        Self::LocalGraph,
        Self::EqualParts,
        Self::EqualGraph,
        Self::UnevenSizes,
        Self::PackedStarts,
    ];
}

impl fmt::Display for SizeUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeviceCounts => "an all-to-all with counts on the device",
            Self::LocalShape => "a shape of one rank",
            Self::LocalGraph => "a graph of one rank",
            Self::EqualParts => "a collective of equal parts",
            Self::EqualGraph => "a graph with a collective of equal parts",
            Self::UnevenSizes => "the sizes of an uneven collective",
            Self::PackedStarts => "the starts of packed ranks",
        })
    }
}

/// Which number serves a [`SizeUse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The rank's own, exact.
    Own(Own),
    /// The bound itself, as the one size of every rank.
    Fixed(u64),
    /// None on the host: memory for so many, and the counts stay on the device.
    OnDevice(AtMost),
}
