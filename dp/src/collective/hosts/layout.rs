//! Which ranks share a host.

use crate::collective::peers::{host, network};
use crate::collective::request::mix;
use crate::collective::{CollectiveError, Exchange};

/// What NCCL takes for the name of this host, instead of what it finds itself (NCCL's documentation, environment variables).
const NCCL_HOSTID: &str = "NCCL_HOSTID";

/// Where a rank is among hosts that have equally many ranks each, numbered host by host.
///
/// ```
/// use std::time::Duration;
/// use tilewright_dp::collective::{CollectiveError, Hosts, ThreadExchange};
///
/// let exchanges = ThreadExchange::ranks(4, Duration::from_secs(10))?;
/// let found: Vec<Hosts> = std::thread::scope(|scope| {
///     let ranks = exchanges.iter().zip([7, 7, 3, 3]);
///     let ranks: Vec<_> = ranks.map(|(exchange, host)| scope.spawn(move || Hosts::of(exchange, host))).collect();
///     ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect::<Result<_, CollectiveError>>()
/// })?;
/// assert!(found.iter().all(|rank| (rank.hosts(), rank.places()) == (2, 2)));
/// assert_eq!((found[2].host(), found[2].place()), (1, 0));
/// # Ok::<(), CollectiveError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hosts {
    hosts: usize,
    places: usize,
    rank: usize,
}

/// Why ranks and hosts are no group of several hosts. It is the same on every rank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostsError {
    /// Ranks of one host have others between them.
    #[error(
        "rank {rank} is on the host of rank {first}, and rank {between} between them is on another: number the ranks host by \
         host, as launchers do"
    )]
    NotHostByHost {
        /// A rank.
        rank: usize,
        /// The first rank of its host.
        first: usize,
        /// A rank of another host.
        between: usize,
    },
    /// Hosts have different numbers of ranks.
    #[error("the host of rank 0 has {ranks} ranks and that of rank {other} has {theirs}: start as many on each host")]
    Unequal {
        /// Ranks of the first host.
        ranks: usize,
        /// The first rank of a host that has more or fewer.
        other: usize,
        /// How many it has.
        theirs: usize,
    },
    /// A rank's numbers within its host and between hosts are not those that its number among all says.
    #[error(
        "rank {rank} of {ranks} says that it has place {place} of {places} on host {host} of {hosts}: with equally many places on \
         each host, its number is host * places + place"
    )]
    WrongNumber {
        /// The rank.
        rank: usize,
        /// The ranks.
        ranks: usize,
        /// Its place on its host.
        place: u64,
        /// The places of the host.
        places: u64,
        /// Its host.
        host: u64,
        /// The hosts.
        hosts: u64,
    },
    /// A rank has the CPU device.
    #[error("ranks are on several hosts, between which rows go through NCCL, and rank {rank} has no GPU")]
    NoGpu {
        /// The rank.
        rank: usize,
    },
}

impl Hosts {
    /// Finds which ranks of an exchange share a host: the same machine since it was started, the same network namespace, without
    /// which ranks cannot give each other memory, and the same `NCCL_HOSTID`, if it is set, by which NCCL tells hosts apart. So
    /// processes of one machine can stand for several hosts. All ranks have to call it.
    ///
    /// # Errors
    /// Ranks are not numbered host by host, or hosts have different numbers of ranks: the same [`CollectiveError::Hosts`] on all of
    /// them. Or not all ranks come.
    pub fn find(exchange: &dyn Exchange) -> Result<Self, CollectiveError> {
        Self::of(exchange, this_host(std::env::var_os(NCCL_HOSTID).as_deref()))
    }

    /// The same with a number that this rank gives its host, whatever it is. All ranks have to call it.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn of(exchange: &dyn Exchange, host: u64) -> Result<Self, CollectiveError> {
        let told = exchange.all_gather(&[host])?;
        let word = |(from, words): (usize, &Vec<u64>)| match words[..] {
            [host] => Ok(host),
            _ => Err(CollectiveError::Malformed { from }),
        };
        let of_ranks = told.iter().enumerate().map(word).collect::<Result<Vec<_>, _>>()?;
        let places = places_of(&of_ranks)?;
        Ok(Self {
            hosts: of_ranks.len() / places,
            places,
            rank: exchange.rank(),
        })
    }

    /// The number of hosts.
    pub fn hosts(&self) -> usize {
        self.hosts
    }

    /// The ranks of each host.
    pub fn places(&self) -> usize {
        self.places
    }

    /// The host of this rank, from 0.
    pub fn host(&self) -> usize {
        self.rank / self.places
    }

    /// The place of this rank on its host, from 0.
    pub fn place(&self) -> usize {
        self.rank % self.places
    }
}

/// A number for the host of this process, which others do not have.
fn this_host(nccl_name: Option<&std::ffi::OsStr>) -> u64 {
    let machine = host();
    let name = nccl_name.map_or(&[][..], |name| name.as_encoded_bytes());
    let words = [machine as u64, (machine >> 64) as u64, network(), name.len() as u64];
    let bytes = name.iter().map(|&byte| u64::from(byte));
    words.into_iter().chain(bytes).fold(0, mix)
}

/// How many ranks each host has.
fn places_of(hosts: &[u64]) -> Result<usize, HostsError> {
    let runs: Vec<&[u64]> = hosts.chunk_by(|one, next| one == next).collect();
    let places = runs.first().map_or(1, |run| run.len());
    let mut start = 0;
    for (i, run) in runs.iter().enumerate() {
        if let Some(first) = hosts[..start].iter().position(|host| host == &run[0]) {
            return Err(HostsError::NotHostByHost {
                rank: start,
                first,
                between: start - runs[i - 1].len(),
            });
        }
        start += run.len();
    }
    let mut start = 0;
    for run in runs {
        if run.len() != places {
            return Err(HostsError::Unequal {
                ranks: places,
                other: start,
                theirs: run.len(),
            });
        }
        start += run.len();
    }
    Ok(places)
}

/// Checks what all ranks tell of themselves: host, place, hosts and places.
pub(super) fn check(told: &[Vec<u64>]) -> Result<(), CollectiveError> {
    let ranks = told.len();
    for (rank, words) in told.iter().enumerate() {
        let [host, place, hosts, places] = words[..] else {
            return Err(CollectiveError::Malformed { from: rank });
        };
        let is_alike = told[0].ends_with(&[hosts, places]) && hosts.checked_mul(places) == Some(ranks as u64);
        let number = host.checked_mul(places).and_then(|first| first.checked_add(place));
        if !is_alike || place >= places || number != Some(rank as u64) {
            return Err(HostsError::WrongNumber {
                rank,
                ranks,
                place,
                places,
                host,
                hosts,
            }
            .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn hosts_have_equally_many_ranks_numbered_one_after_the_other() {
        assert_eq!(places_of(&[5, 5, 3, 3, 9, 9]), Ok(2));
        assert_eq!(places_of(&[5, 5, 5]), Ok(3));
        assert_eq!(places_of(&[5, 3, 4]), Ok(1));
        let error = places_of(&[5, 3, 3, 5]).unwrap_err();
        let (rank, first, between) = (3, 0, 1);
        assert_eq!(error, HostsError::NotHostByHost { rank, first, between });
        for (hosts, other, theirs) in [(&[5, 5, 3][..], 2, 1), (&[5, 5, 3, 3, 3], 2, 3)] {
            let error = places_of(hosts).unwrap_err();
            let ranks = 2;
            assert_eq!(error, HostsError::Unequal { ranks, other, theirs });
        }
    }

    #[test]
    fn what_nccl_is_told_of_hosts_tells_them_apart() {
        let named = |name: &str| this_host(Some(OsStr::new(name)));
        assert_eq!(named("one"), named("one"));
        assert_ne!(named("one"), named("other"));
        assert_ne!(named("one"), this_host(None));
        assert_eq!(this_host(None), this_host(None));
    }

    #[test]
    fn a_number_among_all_follows_from_host_and_place() {
        let rank = |host, place| vec![host, place, 2, 2];
        assert!(check(&[rank(0, 0), rank(0, 1), rank(1, 0), rank(1, 1)]).is_ok());
        let error = check(&[rank(0, 0), rank(1, 0), rank(0, 1), rank(1, 1)]).unwrap_err();
        assert!(
            matches!(
                error,
                CollectiveError::Hosts(HostsError::WrongNumber {
                    rank: 1,
                    host: 1,
                    place: 0,
                    ..
                })
            ),
            "{error}"
        );
        assert!(check(&[rank(0, 0), rank(0, 1)]).is_err());
        assert!(check(&[rank(0, 0), rank(0, 1), vec![1, 0, 1, 4], rank(1, 1)]).is_err());
        assert!(matches!(check(&[vec![0]]), Err(CollectiveError::Malformed { from: 0 })));
    }
}
