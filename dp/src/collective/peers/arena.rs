//! Memory that peers reach and that grows to the largest plan.

use std::sync::Arc;

use tilewright_runtime::PeerBuffer;

use super::{Peers, PeersError};
use crate::collective::CollectiveError;

/// Memory that peers reach, never more than the largest plan had: the [`Arena`](crate::buffer::Arena) of ranks that store into
/// each other's buffers.
///
/// All ranks have to ask for the same sizes in the same order, as they do who plan a step together.
#[derive(Debug)]
pub struct PeerArena {
    peers: Arc<Peers>,
    buffer: Option<PeerBuffer>,
    growths: u64,
    sealed: bool,
}

impl PeerArena {
    /// An arena without memory yet.
    pub fn new(peers: Arc<Peers>) -> Self {
        Self {
            peers,
            buffer: None,
            growths: 0,
            sealed: false,
        }
    }

    /// The bytes of each rank that it has memory for.
    pub fn capacity(&self) -> usize {
        self.buffer.as_ref().map_or(0, PeerBuffer::bytes)
    }

    /// How often it grew.
    pub fn growths(&self) -> u64 {
        self.growths
    }

    /// Memory of at least so many bytes of each rank. If there is less, all ranks replace it together, after this rank's device
    /// has done what it was asked; what was in it is lost. Graphs that captured launches over the old memory keep it, so that one
    /// rank's may be replayed while another has grown: they store into the old memory of all ranks.
    ///
    /// # Errors
    /// The arena is sealed; or, where it has to grow, the device failed or as for [`Peers::buffer`].
    pub fn reserve(&mut self, bytes: usize) -> Result<&mut PeerBuffer, CollectiveError> {
        let capacity = self.capacity();
        if self.buffer.is_none() || capacity < bytes {
            if self.sealed {
                return Err(PeersError::Sealed { capacity, bytes }.into());
            }
            self.peers.device().synchronize()?;
            // The old memory goes first, on all ranks, so that there is never twice as much.
            self.buffer = None;
        }
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => {
                let buffer = self.peers.buffer(bytes)?;
                self.growths += 1;
                buffer
            }
        };
        Ok(self.buffer.insert(buffer))
    }

    /// Refuses to grow from now on.
    pub fn seal(&mut self) {
        self.sealed = true;
    }
}
