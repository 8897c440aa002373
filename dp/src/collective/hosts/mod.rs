//! Ranks of several hosts, several on each.

mod layout;
mod rail;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tilewright_dsl::element::Element;
use tilewright_runtime::{Stream, TensorViewMut};

use super::exchange::repeated;
use super::{
    Agreement, CollectiveError, Exchange, Group, Operation, PeerGroup, RequestedCollective, Summand, TcpExchange,
    even_parts,
};
#[cfg(feature = "nccl")]
use super::{NcclGroup, PeersError};
pub use layout::{Hosts, HostsError};
pub use rail::Rail;

/// One rank of a group of several hosts: a group `within` its host, and a *rail* between hosts, the ranks that have the same place
/// each on theirs. Ranks are numbered host by host: of hosts of `L` ranks each, rank `host * L + place`. On GPUs, `W` is a
/// [`PeerGroup`] and `R` an `NcclGroup`, and with the feature `nccl` `HostsGroup::join` makes both.
///
/// Each row crosses between two hosts once:
///
/// * An all-gather brings the ranks' parts over the rails, and then, within each host, those of one host after the other to
///   all of its ranks.
/// * A reduce-scatter sums each part within each host, on the rank that has the place of the part's owner, and then these sums over
///   the rails.
/// * An all-reduce sums within each host a share of the rows on each rank, then each share over the rail, and gathers the
///   shares within the host.
///
/// So sums are computed over the ranks of each host first, as `W` does, and rounded to the element type; and then over the hosts, as
/// `R` does, and rounded again. All ranks get the same bits. Integers wrap, and so have the sum of a group of one host. Where only one
/// rank has other than zeros, as in a gather in mode SUM, nothing is rounded.
///
/// What ranks ask for is compared between all of them through the exchange, as [`Agreement`] says, and on the way once more as the two
/// groups do. All ranks have to call [`finish`](Group::finish), which exchanges a word: it is well on all of them or an
/// error on all, since rows that came whole over the rail may be another host's failed sums. A rank that does not come is an error
/// within the limits of the rail, of the host and of the exchange, one after the other, and that is the end of the group. So is what
/// either part refuses, such as rows with gaps by an `NcclGroup`.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tilewright_dp::collective::{CollectiveError, Exchange, Group, HostsGroup, ThreadExchange};
/// use tilewright_runtime::Device;
///
/// let exchanges = ThreadExchange::ranks(4, Duration::from_secs(10))?;
/// let rank = |exchange: ThreadExchange| -> Result<Vec<u32>, CollectiveError> {
///     let (rank, device) = (exchange.rank(), Device::cpu());
///     // Ranks 0 and 1 stand for one host, 2 and 3 for another.
///     let group = HostsGroup::rehearse(&device.stream(), Arc::new(exchange), rank as u64 / 2)?;
///     let mut rows = [0; 4];
///     rows[rank] = 10 + rank as u32;
///     let mut buffer = device.upload(&rows, [4, 1])?;
///     group.all_gather(&mut buffer.view_mut(), &[1, 1, 1, 1])?;
///     group.all_reduce(&mut buffer.view_mut())?;
///     group.finish()?;
///     Ok(buffer.download()?)
/// };
/// let found: Vec<_> = std::thread::scope(|scope| {
///     let ranks: Vec<_> = exchanges.into_iter().map(|exchange| scope.spawn(move || rank(exchange))).collect();
///     ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect::<Result<_, _>>()
/// })?;
/// assert!(found.iter().all(|rows| rows == &[40, 44, 48, 52]));
/// # Ok::<(), CollectiveError>(())
/// ```
pub struct HostsGroup<W, R> {
    within: W,
    rail: R,
    shared: Arc<Shared>,
}

/// What all handles of one rank have in common.
struct Shared {
    agreement: Agreement,
    /// What happened first.
    failure: Mutex<Option<CollectiveError>>,
}

impl<W: Group, R: Rail> HostsGroup<W, R> {
    /// A rank of both groups, and of the exchange between all ranks. All ranks have to call it.
    ///
    /// # Errors
    /// On all ranks alike, the number or size of one in the exchange is not that of its groups ([`HostsError::WrongNumber`]); or
    /// not all ranks come.
    pub fn new(within: W, rail: R, exchange: Arc<dyn Exchange>) -> Result<Self, CollectiveError> {
        let (host, place) = (rail.rank(), within.rank());
        let told = exchange.all_gather(&[host, place, rail.size(), within.size()].map(|number| number as u64))?;
        layout::check(&told)?;
        Ok(Self {
            within,
            rail,
            shared: Arc::new(Shared {
                agreement: Agreement::new(exchange),
                failure: Mutex::default(),
            }),
        })
    }

    /// The group within this rank's host, as to reserve staging before a graph is captured.
    pub fn within(&self) -> &W {
        &self.within
    }

    /// The rail: the ranks with this one's place on all hosts, in the order of the hosts.
    pub fn rail(&self) -> &R {
        &self.rail
    }

    /// What the ranks agreed on. A step's exchange goes through it, so that the collectives that follow from it need none of
    /// their own.
    pub fn agreement(&self) -> &Agreement {
        &self.shared.agreement
    }

    /// Does what is asked for, if all ranks ask for the same. A part of it that fails is the end of the group.
    fn together<T: Element>(
        &self,
        operation: Operation,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
        act: impl FnOnce(&mut TensorViewMut<'_, T, 2>) -> Result<(), CollectiveError>,
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::new(operation, buffer, parts, self.size())?;
        self.alive()?;
        self.shared.agreement.on(&request)?;
        if self.size() == 1 {
            return Ok(());
        }
        act(buffer).inspect_err(|error| {
            self.shared.failure.lock().get_or_insert_with(|| error.clone());
            // What the other part still does ends with the group, and what the device reports of it.
            let _ = self.rail.finish();
            let _ = self.within.finish();
        })
    }

    /// Refuses what comes after a failure.
    fn alive(&self) -> Result<(), CollectiveError> {
        match &*self.shared.failure.lock() {
            Some(failure) => Err(repeated(failure)),
            None => Ok(()),
        }
    }

    /// The parts of this rank's rail.
    fn of_rail(&self, parts: &[u64]) -> Vec<Range<u64>> {
        let mut start = 0;
        let place = |&part: &u64| {
            start += part;
            start - part..start
        };
        let places: Vec<_> = parts.iter().map(place).collect();
        places
            .into_iter()
            .skip(self.within.rank())
            .step_by(self.within.size())
            .collect()
    }

    /// Does something within the host with the rows of each host's ranks, of which all have some.
    fn each_host<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
        act: impl Fn(&mut TensorViewMut<'_, T, 2>, &[u64]) -> Result<(), CollectiveError>,
    ) -> Result<(), CollectiveError> {
        let mut start = 0;
        for parts in parts.chunks(self.within.size()) {
            let rows = parts.iter().sum::<u64>() as usize;
            if rows > 0 {
                let mut rows_of_host = buffer.reborrow().rows(start..start + rows)?;
                act(&mut rows_of_host, parts).map_err(|error| self.within_error(error))?;
            }
            start += rows;
        }
        Ok(())
    }

    /// An error of the group within the host, whose ranks have other numbers among all.
    fn within_error(&self, error: CollectiveError) -> CollectiveError {
        error.renumbered(|place| self.rail.rank() * self.within.size() + place)
    }

    /// The same of the rail.
    fn rail_error(&self, error: CollectiveError) -> CollectiveError {
        error.renumbered(|host| host * self.within.size() + self.within.rank())
    }
}

impl<W: Group, R: Rail> Group for HostsGroup<W, R> {
    fn rank(&self) -> usize {
        self.rail.rank() * self.within.size() + self.within.rank()
    }

    fn size(&self) -> usize {
        self.rail.size() * self.within.size()
    }

    fn stream(&self) -> &Stream {
        self.within.stream()
    }

    fn all_reduce<T: Summand>(&self, buffer: &mut TensorViewMut<'_, T, 2>) -> Result<(), CollectiveError> {
        self.together(Operation::AllReduce, buffer, &[], |buffer| {
            let within_error = |error| self.within_error(error);
            let shares: Vec<_> = even_parts(buffer.extents()[0] as u64, self.within.size()).collect();
            let start = shares[..self.within.rank()].iter().sum::<u64>() as usize;
            let own = start..start + shares[self.within.rank()] as usize;
            self.within.reduce_scatter(buffer, &shares).map_err(within_error)?;
            if !own.is_empty() {
                let mut own = buffer.reborrow().rows(own)?;
                self.rail.all_reduce(&mut own).map_err(|error| self.rail_error(error))?;
            }
            self.within.all_gather(buffer, &shares).map_err(within_error)
        })
    }

    fn all_gather<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        self.together(Operation::AllGather, buffer, parts, |buffer| {
            let crossed = self.rail.all_gather_at(buffer, &self.of_rail(parts));
            crossed.map_err(|error| self.rail_error(error))?;
            self.each_host(buffer, parts, |rows, parts| self.within.all_gather(rows, parts))
        })
    }

    fn reduce_scatter<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        self.together(Operation::ReduceScatter, buffer, parts, |buffer| {
            self.each_host(buffer, parts, |rows, parts| self.within.reduce_scatter(rows, parts))?;
            let summed = self.rail.reduce_scatter_at(buffer, &self.of_rail(parts));
            summed.map_err(|error| self.rail_error(error))
        })
    }

    /// Waits until all ranks have what they asked for. All of them have to call it.
    ///
    /// # Errors
    /// A rank is gone, the group's time is over, or the device of any rank failed.
    fn finish(&self) -> Result<(), CollectiveError> {
        self.alive()?;
        // The rail first: NCCL breaks off what is stuck, behind which the host would wait without a limit.
        let over_rail = self.rail.finish().map_err(|error| self.rail_error(error));
        let within = self.within.finish().map_err(|error| self.within_error(error));
        self.shared
            .agreement
            .conclude(over_rail.and(within))
            .inspect_err(|error| {
                self.shared.failure.lock().get_or_insert_with(|| error.clone());
            })
    }
}

impl HostsGroup<PeerGroup, PeerGroup> {
    /// Joins ranks of one machine that stand for several hosts, to try out what a group of several hosts does: rows between these go
    /// through memory that peers reach, too. `host` is a number for this rank's host, whatever it is. `stream` is one of this rank's
    /// device. Both groups find what its launches report, so that of a late rank an error may say the number in the other one.
    ///
    /// # Errors
    /// As for [`Hosts::of`] and [`PeerGroup::join`].
    pub fn rehearse(stream: &Stream, exchange: Arc<dyn Exchange>, host: u64) -> Result<Self, CollectiveError> {
        let hosts = Hosts::of(&*exchange, host)?;
        let among = |group: usize| TcpExchange::among(&*exchange, group as u64);
        let (within, rail) = (among(hosts.host())?, among(hosts.place())?);
        let join = |exchange| PeerGroup::join(stream, Arc::new(exchange));
        Self::new(join(within)?, join(rail)?, exchange)
    }

    /// The same rank with another stream of its device; see [`PeerGroup::on_stream`].
    ///
    /// # Errors
    /// The stream is not of the device that joined.
    pub fn on_stream(&self, stream: &Stream) -> Result<Self, CollectiveError> {
        Ok(Self {
            within: self.within.on_stream(stream)?,
            rail: self.rail.on_stream(stream)?,
            shared: self.shared.clone(),
        })
    }
}

#[cfg(feature = "nccl")]
impl HostsGroup<PeerGroup, NcclGroup> {
    /// Joins all ranks of an exchange: those of one host as [`PeerGroup::join`] does, and those of each rail through NCCL. Which ranks
    /// share a host they find out as [`Hosts::find`] says. `stream` is one of this rank's GPU.
    ///
    /// Between the ranks of a host is a [`TcpExchange`] of its own, so that they may grow staging when no other host does.
    ///
    /// # Errors
    /// On all ranks alike, ranks do not lie on hosts as [`HostsGroup`] numbers them ([`CollectiveError::Hosts`]), one has no GPU,
    /// or the GPUs of a host do not reach each other ([`CollectiveError::Peers`]). Or NCCL is missing or fails, or not all ranks come.
    pub fn join(stream: &Stream, exchange: Arc<dyn Exchange>) -> Result<Self, CollectiveError> {
        let hosts = Hosts::find(&*exchange)?;
        Self::join_on(&hosts, stream, exchange)
    }

    /// The same for ranks that know their hosts.
    pub(super) fn join_on(
        hosts: &Hosts,
        stream: &Stream,
        exchange: Arc<dyn Exchange>,
    ) -> Result<Self, CollectiveError> {
        const READY: u64 = 1;
        const APART: u64 = 2;
        const NO_GPU: u64 = 3;
        let within = TcpExchange::among(&*exchange, hosts.host() as u64)
            .and_then(|exchange| PeerGroup::join(stream, Arc::new(exchange)));
        let within = within.map_err(|error| error.renumbered(|place| hosts.host() * hosts.places() + place));
        // The first host's ranks name the rails.
        let name = match hosts.host() {
            0 if within.is_ok() => super::nccl::new_name(),
            _ => Ok(Vec::new()),
        };
        let words = match (&within, &name) {
            _ if !stream.device().is_cuda() => vec![NO_GPU],
            (Ok(_), Ok(name)) => [&[READY], &name[..]].concat(),
            (Err(error), _) if error.allows_nccl() => vec![APART],
            _ => vec![],
        };
        let told = exchange.all_gather(&words)?;
        let who = |kind: Option<u64>| told.iter().position(|words| words.first().copied() == kind);
        if let Some(rank) = who(Some(NO_GPU)) {
            return Err(HostsError::NoGpu { rank }.into());
        }
        if let Some(rank) = who(None) {
            let reason = format!("rank {rank} could not join, and has the reason");
            // One that is of devices would say that all could gather otherwise.
            let own = within.err().filter(|error| !error.allows_nccl());
            let own = name.err().map(Into::into).or(own);
            return Err(own.unwrap_or(CollectiveError::Failed { reason }));
        }
        if let Some(rank) = who(Some(APART)) {
            return Err(within.err().unwrap_or(PeersError::NotThere { rank }.into()));
        }
        let named = told
            .get(hosts.place())
            .map_or(&[][..], |words| words.get(1..).unwrap_or_default());
        let rail = NcclGroup::join_within(stream, named, hosts.host(), hosts.hosts(), exchange.limit())?;
        Self::new(within?, rail, exchange)
    }

    /// The same rank with another stream of its GPU, such as the one that
    /// [`Device::capture`](tilewright_runtime::Device::capture) captures; see [`PeerGroup::on_stream`].
    ///
    /// # Errors
    /// The stream is not of the GPU that joined.
    pub fn on_stream(&self, stream: &Stream) -> Result<Self, CollectiveError> {
        Ok(Self {
            within: self.within.on_stream(stream)?,
            rail: self.rail.on_stream(stream)?,
            shared: self.shared.clone(),
        })
    }
}

impl<W: Group, R: Rail> fmt::Debug for HostsGroup<W, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, hosts) = (self.rail.rank(), self.rail.size());
        write!(
            f,
            "HostsGroup(rank {} of {}, host {host} of {hosts})",
            self.rank(),
            self.size()
        )
    }
}
