//! The groups of ranks that one GPU belongs to.

use std::time::Duration;

use tilewright_runtime::Device;

use super::MovementError;
use crate::collective::{Group, LocalGroup};
use crate::plan::Topology;

/// The groups of one GPU: all GPUs, and those that share its rank's attention.
pub struct Groups<G> {
    world: G,
    attention: G,
}

impl<G: Group> Groups<G> {
    /// The groups of one GPU. In the attention group its rank is its number among the GPUs of its data-parallel rank.
    pub fn new(world: G, attention: G) -> Self {
        Self { world, attention }
    }

    /// All GPUs.
    pub fn world(&self) -> &G {
        &self.world
    }

    /// Those that share the rank's attention.
    pub fn attention(&self) -> &G {
        &self.attention
    }
}

impl Groups<LocalGroup> {
    /// The groups of every rank of a topology, as threads that share a device. `limit` is how long a rank waits for others.
    ///
    /// # Errors
    /// Attention is split over contexts.
    pub fn local(device: &Device, topology: &Topology, limit: Duration) -> Result<Vec<Self>, MovementError> {
        if topology.context().size() > 1 {
            return Err(MovementError::ContextParallel);
        }
        let group = |size: u64| LocalGroup::ranks(device, size as usize, limit);
        let attention = (0..topology.dp()).flat_map(|_| group(topology.attention_tp()));
        let groups = group(topology.tp()).into_iter().zip(attention);
        Ok(groups.map(|(world, attention)| Self { world, attention }).collect())
    }
}
