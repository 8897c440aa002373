//! What an arena is for, and what it has used.

use std::fmt;
use std::iter::Sum;

/// What the rows of an arena are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The hidden states of all ranks, in an eager step.
    Gathered,
    /// The same in captured graphs, which share it.
    Graph,
    /// One rank's hidden states.
    Local,
    /// The rows that the LM head sees.
    Logits,
    /// Hidden states as they travel, in 8 bits, or their scales.
    Wire,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gathered => "gathered",
            Self::Graph => "graph",
            Self::Local => "local",
            Self::Logits => "logits",
            Self::Wire => "wire",
        })
    }
}

/// What an arena has used so far. Sums add up several arenas, of one device for example; the sum of peaks is then a bound,
/// since they need not have been reached together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes allocated now, those of outgrown buffers that a graph keeps included.
    pub live_bytes: u64,
    /// The most bytes that were allocated at once.
    pub peak_bytes: u64,
    /// Times that a buffer was allocated, the first included.
    pub growths: u64,
    /// Views handed out.
    pub views: u64,
    /// Steps that got no buffer because a graph served them.
    pub graph_steps: u64,
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |sum, usage| Self {
            live_bytes: sum.live_bytes + usage.live_bytes,
            peak_bytes: sum.peak_bytes + usage.peak_bytes,
            growths: sum.growths + usage.growths,
            views: sum.views + usage.views,
            graph_steps: sum.graph_steps + usage.graph_steps,
        })
    }
}
