//! The groups of ranks that one GPU belongs to.

use std::time::Duration;

use tilewright_runtime::Device;

use crate::collective::{Group, LocalGroup};
use crate::plan::Topology;

/// The groups of one GPU: all GPUs, those of its data-parallel rank, and those that share its attention. In each the GPUs
/// have the order they have among all.
pub struct Groups<G> {
    world: G,
    /// `None` where it is the attention group.
    rank: Option<G>,
    attention: G,
}

impl<G: Group> Groups<G> {
    /// The groups of one GPU without context parallelism, where a data-parallel rank's GPUs share one attention.
    pub fn new(world: G, attention: G) -> Self {
        Self {
            world,
            rank: None,
            attention,
        }
    }

    /// The groups of one GPU with context parallelism: `rank` is the GPUs of all context-parallel parts of its data-parallel
    /// rank, `attention` those of its own part.
    pub fn with_context(world: G, rank: G, attention: G) -> Self {
        Self {
            world,
            rank: Some(rank),
            attention,
        }
    }

    /// All GPUs.
    pub fn world(&self) -> &G {
        &self.world
    }

    /// Those of the data-parallel rank.
    pub fn rank(&self) -> &G {
        self.rank.as_ref().unwrap_or(&self.attention)
    }

    /// Those that share the attention: of the rank's, the ones of one context-parallel part.
    pub fn attention(&self) -> &G {
        &self.attention
    }
}

impl Groups<LocalGroup> {
    /// The groups of every GPU of a topology, as threads that share a device. `limit` is how long one waits for others.
    pub fn local(device: &Device, topology: &Topology, limit: Duration) -> Vec<Self> {
        // GPUs are numbered by rank, then part, then attention: so many groups, one after the other.
        let groups = |count: u64| {
            let size = (topology.tp() / count) as usize;
            (0..count).flat_map(move |_| LocalGroup::all(device, size, limit))
        };
        let (world, ranks) = (groups(1), groups(topology.dp()));
        let attention = groups(topology.dp() * topology.context().size());
        let gpus = world.zip(ranks).zip(attention);
        gpus.map(|((world, rank), attention)| Self::with_context(world, rank, attention))
            .collect()
    }
}
