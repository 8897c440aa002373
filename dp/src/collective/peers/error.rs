//! Why ranks have no memory that all of them reach.

/// What keeps ranks from having memory that all of them reach. It is the same on every rank, so that all can gather through
/// NCCL instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeersError {
    /// Two ranks are in places between which no memory is given.
    #[error("ranks {rank} and {other} cannot reach each other's memory: {apart}. Gather through NCCL between these")]
    Elsewhere {
        /// A rank.
        rank: usize,
        /// Another one.
        other: usize,
        /// What is between them.
        apart: Apart,
    },
    /// The GPU of one rank does not reach that of another.
    #[error(
        "the GPU of rank {rank} does not reach the memory of the GPU of rank {other}: there is no NVLink or PCIe path between \
         them that the driver allows (`tilewright doctor` shows which GPUs reach each other). Gather through NCCL"
    )]
    NoAccess {
        /// The rank whose GPU does not reach.
        rank: usize,
        /// The rank whose memory it is.
        other: usize,
    },
    /// Some ranks have GPUs and others not.
    #[error("of ranks {rank} and {other} one has a GPU and one the CPU device: give all of them GPUs, or none")]
    Mixed {
        /// A rank.
        rank: usize,
        /// Another one.
        other: usize,
    },
    /// A rank could not do its part, and has the reason.
    #[error("rank {rank} has no memory that its peers reach, or does not reach theirs: its own error says why")]
    NotThere {
        /// The rank.
        rank: usize,
    },
    /// The system refuses what files pass between processes through.
    #[error("rank {rank} cannot pass files to its peers, by which they would map its memory: {reason}")]
    Socket {
        /// The rank.
        rank: usize,
        /// What the system says.
        reason: String,
    },
    /// The memory has to grow where it must not.
    #[error(
        "memory that peers reach has {capacity} bytes a rank and {bytes} are needed, and it was told to grow no more: size it \
         with the largest plan before graphs are captured"
    )]
    Sealed {
        /// The bytes of each rank.
        capacity: usize,
        /// The bytes asked for.
        bytes: usize,
    },
}

/// What is between two ranks that cannot give each other memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Apart {
    /// They are on two hosts.
    #[error("they run on two hosts")]
    Host,
    /// They are on one host, where no file passes from one to the other.
    #[error(
        "they run on one host in two network namespaces, between which no file passes: start their containers with one network \
         (`--network host`)"
    )]
    Network,
}
