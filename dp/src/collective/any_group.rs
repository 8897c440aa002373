//! A group through what its devices have.

use std::sync::Arc;

use tilewright_dsl::element::Element;
use tilewright_runtime::{Stream, TensorViewMut};

use super::{CollectiveError, Exchange, Group, PeerGroup, Summand};
#[cfg(feature = "nccl")]
use super::{Hosts, HostsGroup, NcclGroup};

/// One rank of a group through stores to peers where all devices reach each other; through both these and NCCL where ranks are on
/// several hosts, equally many on each, and reach each other there; and through NCCL otherwise. What takes NCCL needs the feature
/// `nccl`. All ranks have the same.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tilewright_dp::collective::{AnyGroup, CollectiveError, ThreadExchange};
/// use tilewright_runtime::Device;
///
/// let exchange = ThreadExchange::ranks(1, Duration::from_secs(10))?.remove(0);
/// let group = AnyGroup::join(&Device::cpu().stream(), Arc::new(exchange))?;
/// assert!(group.why().is_none());
/// # Ok::<(), CollectiveError>(())
/// ```
#[derive(Debug)]
pub enum AnyGroup {
    /// Stores to peers.
    Peers(PeerGroup),
    /// Stores to peers within hosts, and NCCL between them.
    #[cfg(feature = "nccl")]
    Hosts(HostsGroup<PeerGroup, NcclGroup>),
    /// NCCL.
    #[cfg(feature = "nccl")]
    Nccl {
        /// The group.
        group: NcclGroup,
        /// Why stores to peers do not serve.
        why: CollectiveError,
    },
}

impl AnyGroup {
    /// Joins all ranks of an exchange as [`PeerGroup::join`] does; as `HostsGroup`'s `join` does, which a message tells; or as
    /// `NcclGroup`'s does, and a warning says then why.
    ///
    /// # Errors
    /// The devices do not reach each other and there is no NCCL either, or not all ranks come.
    pub fn join(stream: &Stream, exchange: Arc<dyn Exchange>) -> Result<Self, CollectiveError> {
        match Self::with_peers(stream, exchange.clone()) {
            Err(why) if why.allows_nccl() => Self::without_peers(stream, exchange, why),
            joined => joined,
        }
    }

    #[cfg(feature = "nccl")]
    fn with_peers(stream: &Stream, exchange: Arc<dyn Exchange>) -> Result<Self, CollectiveError> {
        let hosts = Hosts::find(&*exchange)?;
        if hosts.hosts() == 1 || hosts.places() == 1 {
            return Ok(Self::Peers(PeerGroup::join(stream, exchange)?));
        }
        let group = HostsGroup::join_on(&hosts, stream, exchange)?;
        tracing::info!(
            rank = group.rank(),
            hosts = hosts.hosts(),
            "ranks meet through stores to peers within hosts, and through NCCL between them"
        );
        Ok(Self::Hosts(group))
    }

    #[cfg(not(feature = "nccl"))]
    fn with_peers(stream: &Stream, exchange: Arc<dyn Exchange>) -> Result<Self, CollectiveError> {
        Ok(Self::Peers(PeerGroup::join(stream, exchange)?))
    }

    #[cfg(feature = "nccl")]
    fn without_peers(
        stream: &Stream,
        exchange: Arc<dyn Exchange>,
        why: CollectiveError,
    ) -> Result<Self, CollectiveError> {
        // Whether all ranks have GPUs is the same on all: others were no peers.
        if !stream.device().is_cuda() {
            return Err(why);
        }
        let group = NcclGroup::join(stream, exchange)?;
        tracing::warn!(rank = group.rank(), %why, "ranks meet through NCCL");
        Ok(Self::Nccl { group, why })
    }

    #[cfg(not(feature = "nccl"))]
    fn without_peers(_: &Stream, _: Arc<dyn Exchange>, why: CollectiveError) -> Result<Self, CollectiveError> {
        Err(why)
    }

    /// Why stores to peers do not serve, not even within hosts, if they do not.
    pub fn why(&self) -> Option<&CollectiveError> {
        match self {
            Self::Peers(_) => None,
            #[cfg(feature = "nccl")]
            Self::Hosts(_) => None,
            #[cfg(feature = "nccl")]
            Self::Nccl { why, .. } => Some(why),
        }
    }

    /// The same rank with another stream of its device.
    ///
    /// # Errors
    /// The stream is not of the device that joined.
    pub fn on_stream(&self, stream: &Stream) -> Result<Self, CollectiveError> {
        Ok(match self {
            Self::Peers(group) => Self::Peers(group.on_stream(stream)?),
            #[cfg(feature = "nccl")]
            Self::Hosts(group) => Self::Hosts(group.on_stream(stream)?),
            #[cfg(feature = "nccl")]
            Self::Nccl { group, why } => Self::Nccl {
                group: group.on_stream(stream)?,
                why: why.clone(),
            },
        })
    }
}

macro_rules! served {
    ($this:ident, $group:ident => $done:expr) => {
        match $this {
            Self::Peers($group) => $done,
            #[cfg(feature = "nccl")]
            Self::Hosts($group) => $done,
            #[cfg(feature = "nccl")]
            Self::Nccl { group: $group, .. } => $done,
        }
    };
}

impl Group for AnyGroup {
    fn rank(&self) -> usize {
        served!(self, group => group.rank())
    }

    fn size(&self) -> usize {
        served!(self, group => group.size())
    }

    fn stream(&self) -> &Stream {
        served!(self, group => group.stream())
    }

    fn all_reduce<T: Summand>(&self, buffer: &mut TensorViewMut<'_, T, 2>) -> Result<(), CollectiveError> {
        served!(self, group => group.all_reduce(buffer))
    }

    fn all_gather<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        served!(self, group => group.all_gather(buffer, parts))
    }

    fn reduce_scatter<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        served!(self, group => group.reduce_scatter(buffer, parts))
    }

    fn finish(&self) -> Result<(), CollectiveError> {
        served!(self, group => group.finish())
    }
}
