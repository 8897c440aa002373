//! What can go wrong between ranks.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use tilewright_runtime::{DeviceError, LaunchError, TensorError};

use super::{HostsError, PeersError, RequestedCollective};
use crate::plan::MAX_RANKS;

/// Why a collective did not happen. All ranks of a group get an error, if not the same one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CollectiveError {
    /// Ranks ask for different things.
    #[error(
        "rank {rank} asks for {mine} and rank {other} for {theirs}: all ranks have to plan with the same exchanged counts"
    )]
    Disagreement {
        /// This rank.
        rank: usize,
        /// What it asks for.
        mine: String,
        /// A rank that asks for something else.
        other: usize,
        /// What that one asks for.
        theirs: String,
    },
    /// Ranks have asked for different things, too long ago to say which.
    #[error(
        "rank {rank} and another asked for different things, more than {remembered} collectives ago: all ranks have to plan \
         with one configuration from what they exchange; make a new group"
    )]
    Diverged {
        /// This rank.
        rank: usize,
        /// How many requests are remembered.
        remembered: usize,
    },
    /// Ranks did not come within the group's time.
    #[error(
        "rank {rank} waited {limit:?} for ranks {missing:?}: they died, hang, or do something else; restart the group \
         without them"
    )]
    Late {
        /// The rank that waited.
        rank: usize,
        /// How long it waited.
        limit: Duration,
        /// Those that did not come.
        missing: Vec<usize>,
    },
    /// A rank left its group, or its process ended.
    #[error("rank {gone} has left the group: make a new group of the ranks that are alive")]
    Gone {
        /// The rank.
        gone: usize,
    },
    /// An earlier error has left the ranks in different places.
    #[error("the group failed before ({reason}): make a new one")]
    Failed {
        /// What happened first.
        reason: String,
    },
    /// A collective has not come to its end within the group's time.
    #[error("a collective of rank {rank} is not done after {limit:?}: another rank died or does something else")]
    Unfinished {
        /// This rank.
        rank: usize,
        /// How long it waited.
        limit: Duration,
    },
    /// A group cannot be of so many ranks.
    #[error("a group of {ranks} ranks cannot be: groups have 1 to {MAX_RANKS} ranks")]
    WrongNumberOfRanks {
        /// The ranks.
        ranks: usize,
    },
    /// A process joins as a rank that the group has not, or as rank 0, which does not join but is joined.
    #[error("rank {rank} cannot join a group of {ranks} ranks: ranks 1 to {} join rank 0", ranks.saturating_sub(1))]
    WrongRank {
        /// The rank.
        rank: usize,
        /// The ranks of the group.
        ranks: usize,
    },
    /// There are more or fewer parts than ranks.
    #[error("{parts} parts were given for a group of {ranks} ranks: give one for each, 0 where a rank has no rows")]
    WrongNumberOfParts {
        /// The parts given.
        parts: usize,
        /// The ranks.
        ranks: usize,
    },
    /// The parts have more rows than the buffer.
    #[error("parts of {parts:?} rows do not fit in a buffer of {rows}")]
    PartsTooLarge {
        /// The parts.
        parts: Vec<u64>,
        /// Rows of the buffer.
        rows: u64,
    },
    /// Parts that begin anywhere overlap, or are not in the buffer.
    #[error(
        "parts of rows {places:?} overlap or do not lie in a buffer of {rows} rows: give each rank rows of its own"
    )]
    WrongPlaces {
        /// The rows of each part.
        places: Vec<Range<u64>>,
        /// Rows of the buffer.
        rows: u64,
    },
    /// A sum is not what the host computes.
    #[error(
        "{collective}: row {row}, column {column} is {found:#x} and the host computes {expected:#x}; this is a bug"
    )]
    WrongSum {
        /// The collective.
        collective: Box<RequestedCollective>,
        /// The row of this rank's part.
        row: usize,
        /// The column.
        column: usize,
        /// The bits on the device.
        found: u64,
        /// The bits that the host computes.
        expected: u64,
    },
    /// A process came that cannot be of the group, which did not come together because of it.
    #[error("rank {rank} cannot be of this group: {refusal}")]
    Refused {
        /// The rank that it says it is.
        rank: u64,
        /// Why not.
        refusal: Refusal,
    },
    /// What a rank sent is no message.
    #[error(
        "what rank {from} sent is no message of a group: something else listens or writes there; restart the group"
    )]
    Malformed {
        /// The rank.
        from: usize,
    },
    /// Ranks show each other more than an exchange carries.
    #[error("{words} words are more than the {most} that can be shown at once: an exchange is for sizes, not for rows")]
    TooManyWords {
        /// The words.
        words: usize,
        /// How many there may be.
        most: usize,
    },
    /// The connection to another process failed.
    #[error("rank {rank} cannot reach the others: {reason}")]
    Connection {
        /// This rank.
        rank: usize,
        /// What the system says.
        reason: String,
    },
    /// Ranks do not lie on their hosts as a group of several hosts needs it.
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// Ranks cannot have memory that all of them reach.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// NCCL is missing, refuses or fails.
    #[cfg(feature = "nccl")]
    #[error(transparent)]
    Nccl(#[from] tilewright_runtime::device::cuda::NcclError),
    /// A kernel that moves rows was not launched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Memory for rows on their way could not be had.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl CollectiveError {
    /// Whether it says, on every rank alike, that devices have no memory that all of them reach: they may have NCCL.
    pub(super) fn allows_nccl(&self) -> bool {
        match self {
            Self::Peers(PeersError::Mixed { .. }) | Self::Hosts(HostsError::NoGpu { .. }) => false,
            Self::Peers(_) | Self::Hosts(_) | Self::Device(_) | Self::Tensor(_) => true,
            _ => false,
        }
    }

    /// The same, where the ranks that it names have other numbers in a larger group.
    pub(super) fn renumbered(self, number: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::Disagreement {
                rank,
                mine,
                other,
                theirs,
            } => Self::Disagreement {
                rank: number(rank),
                mine,
                other: number(other),
                theirs,
            },
            Self::Diverged { rank, remembered } => Self::Diverged {
                rank: number(rank),
                remembered,
            },
            Self::Late { rank, limit, missing } => Self::Late {
                rank: number(rank),
                limit,
                missing: missing.into_iter().map(number).collect(),
            },
            Self::Gone { gone } => Self::Gone { gone: number(gone) },
            Self::Unfinished { rank, limit } => Self::Unfinished {
                rank: number(rank),
                limit,
            },
            Self::Malformed { from } => Self::Malformed { from: number(from) },
            Self::Connection { rank, reason } => Self::Connection {
                rank: number(rank),
                reason,
            },
            others => others,
        }
    }
}

/// Why a process cannot be a rank of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was built from another version.
    #[error(
        "it is of version {} and rank 0 of version {}: start all ranks from one build", Version(*theirs), Version(*ours)
    )]
    OtherVersion {
        /// Its version, 16 bits for each of three parts.
        theirs: u64,
        /// Rank 0's.
        ours: u64,
    },
    /// It was started for a group of another size.
    #[error("it was started for {theirs} ranks and rank 0 for {ours}: start all with one size")]
    OtherSize {
        /// The size it was started for.
        theirs: u64,
        /// The size that rank 0 was started for.
        ours: u64,
    },
    /// Another process is this rank already.
    #[error("another process is that rank already: give each a rank of its own")]
    CameTwice,
    /// The group has no such rank.
    #[error("there are {ranks} ranks, from 0 on")]
    NoSuchRank {
        /// The ranks of the group.
        ranks: u64,
    },
}

struct Version(u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32| self.0 >> shift & 0xffff;
        write!(f, "{}.{}.{}", part(32), part(16), part(0))
    }
}
