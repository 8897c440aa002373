//! Which rank a launcher made of this process, and where it meets the others.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use super::{CollectiveError, TcpExchange, check_ranks};

/// What `torchrun`, `mpirun` and their like tell the processes that they start, in environment variables:
///
/// | variable | | without it |
/// |---|---|---|
/// | `RANK` | this process, from 0 | `OMPI_COMM_WORLD_RANK` |
/// | `WORLD_SIZE` | how many there are | `OMPI_COMM_WORLD_SIZE` |
/// | `LOCAL_RANK` | this process on its host, from 0: the GPU it should take | `OMPI_COMM_WORLD_LOCAL_RANK` |
/// | `MASTER_ADDR` | the host of rank 0, by name or address | |
/// | `MASTER_PORT` | the port that the ranks meet at | |
///
/// Where `torchrun` listens at `MASTER_PORT` itself (`TORCHELASTIC_USE_AGENT_STORE=True`), the ranks meet at the next port.
///
/// ```no_run
/// use std::{sync::Arc, time::Duration};
/// use tilewright_dp::collective::{Agreement, Rendezvous};
///
/// let rendezvous = Rendezvous::from_env()?;
/// println!("rank {} of {}, on GPU {}", rendezvous.rank, rendezvous.size, rendezvous.local_rank);
/// let exchange = rendezvous.meet(Duration::from_secs(60))?;
/// let agreement = Agreement::new(Arc::new(exchange));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// As in `torchrun --nproc-per-node 2 --no-python ./engine`, or
/// `mpirun -n 2 -x MASTER_ADDR=127.0.0.1 -x MASTER_PORT=29500 ./engine`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendezvous {
    /// This process, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// This process among those of its host, from 0.
    pub local_rank: usize,
    /// The host of rank 0, by name or address.
    pub address: String,
    /// The port that rank 0 listens at.
    pub port: u16,
}

/// What a launcher did not say, or not rightly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RendezvousError {
    /// A variable is not set.
    #[error("{variable} is not set: start the process by torchrun, mpirun or another launcher, or set it by hand")]
    Missing {
        /// The variable.
        variable: &'static str,
    },
    /// A variable holds no number, or one that is too large.
    #[error("{variable} is `{value}`, and has to be a whole number from {least} to {most}")]
    WrongNumber {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// The smallest that can be.
        least: u64,
        /// The largest that can be.
        most: u64,
    },
    /// A rank that is none of the group's.
    #[error("{variable} is {rank} in a group of {size}: ranks are counted from 0")]
    WrongRank {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        rank: usize,
        /// The size of the group.
        size: usize,
    },
    /// The address is empty or no text.
    #[error("MASTER_ADDR is `{value}`, and has to be the name or the address of rank 0's host")]
    WrongAddress {
        /// What it holds.
        value: String,
    },
}

const RANK: [&str; 2] = ["RANK", "OMPI_COMM_WORLD_RANK"];
const SIZE: [&str; 2] = ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"];
const LOCAL_RANK: [&str; 2] = ["LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"];

impl Rendezvous {
    /// What the environment of this process says.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_env() -> Result<Self, RendezvousError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// What variables say, which `get` looks up.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, RendezvousError> {
        let text = |variable: &'static str| get(variable).map(|value| (variable, value.to_string_lossy().into_owned()));
        let any = |names: [&'static str; 2]| {
            let found = names.into_iter().find_map(text);
            found.ok_or(RendezvousError::Missing { variable: names[0] })
        };
        let most_ranks = crate::plan::MAX_RANKS;
        let (_, size) = number(any(SIZE)?, 1, most_ranks)?;
        let rank_of = |names| {
            let (variable, rank) = number(any(names)?, 0, most_ranks - 1)?;
            let (rank, size) = (rank as usize, size as usize);
            match rank < size {
                true => Ok(rank),
                false => Err(RendezvousError::WrongRank { variable, rank, size }),
            }
        };
        let (rank, local_rank) = (rank_of(RANK)?, rank_of(LOCAL_RANK)?);
        let one = |variable| text(variable).ok_or(RendezvousError::Missing { variable });
        let (_, address) = one("MASTER_ADDR")?;
        if address.trim().is_empty() || address.contains(char::REPLACEMENT_CHARACTER) {
            return Err(RendezvousError::WrongAddress { value: address });
        }
        let (_, port) = number(one("MASTER_PORT")?, 1, u64::from(u16::MAX))?;
        let is_taken = text("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|(_, value)| value == "True");
        let port = match u16::try_from(port).unwrap_or(u16::MAX) {
            u16::MAX if is_taken => u16::MAX - 1,
            port => port + u16::from(is_taken),
        };
        Ok(Self {
            rank,
            size: size as usize,
            local_rank,
            address: address.trim().to_owned(),
            port,
        })
    }

    /// Meets the other ranks: rank 0 listens, the others come to it. `limit` is how long a rank waits for others, now and at
    /// every exchange.
    ///
    /// # Errors
    /// The host has no such name, the port is taken, or as for [`TcpExchange::host`] and [`TcpExchange::join`].
    pub fn meet(&self, limit: Duration) -> Result<TcpExchange, CollectiveError> {
        check_ranks(self.size)?;
        let failed = |error: io::Error| CollectiveError::Connection {
            rank: self.rank,
            reason: format!("{} port {}: {error}", self.address, self.port),
        };
        let addresses: Vec<_> = (self.address.as_str(), self.port)
            .to_socket_addrs()
            .map_err(failed)?
            .collect();
        if self.rank > 0 {
            return TcpExchange::join_at(&addresses, self.rank, self.size, limit);
        }
        TcpExchange::host(listen(&addresses).map_err(failed)?, self.size, limit)
    }
}

/// Listens at an address; where this host does not know it as its own, behind a translation of addresses say, at all that it
/// has.
fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let port = addresses.first().map_or(0, SocketAddr::port);
    TcpListener::bind(addresses).or_else(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => TcpListener::bind(
            &[
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            ][..],
        ),
        _ => Err(error),
    })
}

fn number(
    (variable, value): (&'static str, String),
    least: u64,
    most: u64,
) -> Result<(&'static str, u64), RendezvousError> {
    match value.trim().parse() {
        Ok(number) if (least..=most).contains(&number) => Ok((variable, number)),
        _ => Err(RendezvousError::WrongNumber {
            variable,
            value,
            least,
            most,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    type Variables = HashMap<&'static str, &'static str>;

    const TORCH: [(&str, &str); 5] = [
        ("RANK", "3"),
        ("WORLD_SIZE", "8"),
        ("LOCAL_RANK", "1"),
        ("MASTER_ADDR", "node-0"),
        ("MASTER_PORT", "29500"),
    ];

    fn of(variables: &Variables) -> Result<Rendezvous, RendezvousError> {
        Rendezvous::from_variables(|name| variables.get(name).map(Into::into))
    }

    fn with(changes: &[(&'static str, &'static str)]) -> Result<Rendezvous, RendezvousError> {
        let mut variables = Variables::from(TORCH);
        variables.extend(changes.iter().copied());
        of(&variables)
    }

    #[test]
    fn torchs_and_mpis_variables_say_the_same() {
        let torch = with(&[]).unwrap();
        let expected = Rendezvous {
            rank: 3,
            size: 8,
            local_rank: 1,
            address: "node-0".to_owned(),
            port: 29500,
        };
        assert_eq!(torch, expected);
        let mpi = Variables::from([
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_SIZE", "8"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("MASTER_ADDR", " node-0 "),
            ("MASTER_PORT", "29500"),
        ]);
        assert_eq!(of(&mpi).unwrap(), expected);
        // Whoever sets torch's under mpirun means them.
        assert_eq!(with(&[("OMPI_COMM_WORLD_RANK", "5")]).unwrap(), expected);
    }

    #[test]
    fn ranks_leave_torchs_own_port_to_its_agent() {
        let port = |port, agent| {
            with(&[("MASTER_PORT", port), ("TORCHELASTIC_USE_AGENT_STORE", agent)])
                .unwrap()
                .port
        };
        assert_eq!(port("29500", "True"), 29501);
        assert_eq!(port("29500", "False"), 29500);
        assert_eq!(port("65535", "True"), 65534);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (variable, _) in TORCH {
            let mut variables = Variables::from(TORCH);
            variables.remove(variable);
            assert_eq!(of(&variables), Err(RendezvousError::Missing { variable }));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_it_holds() {
        let cases = [
            ("RANK", "8", "RANK is 8 in a group of 8: ranks are counted from 0"),
            (
                "RANK",
                "-1",
                "RANK is `-1`, and has to be a whole number from 0 to 16383",
            ),
            ("RANK", "", "RANK is ``, and has to be a whole number from 0 to 16383"),
            (
                "LOCAL_RANK",
                "9",
                "LOCAL_RANK is 9 in a group of 8: ranks are counted from 0",
            ),
            (
                "WORLD_SIZE",
                "0",
                "WORLD_SIZE is `0`, and has to be a whole number from 1 to 16384",
            ),
            (
                "WORLD_SIZE",
                "18446744073709551616",
                "WORLD_SIZE is `18446744073709551616`, and has to be a whole number from 1 to 16384",
            ),
            (
                "WORLD_SIZE",
                "8.0",
                "WORLD_SIZE is `8.0`, and has to be a whole number from 1 to 16384",
            ),
            (
                "MASTER_PORT",
                "0",
                "MASTER_PORT is `0`, and has to be a whole number from 1 to 65535",
            ),
            (
                "MASTER_PORT",
                "65536",
                "MASTER_PORT is `65536`, and has to be a whole number from 1 to 65535",
            ),
            (
                "MASTER_ADDR",
                " ",
                "MASTER_ADDR is ` `, and has to be the name or the address of rank 0's host",
            ),
        ];
        for (variable, value, message) in cases {
            assert_eq!(with(&[(variable, value)]).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn launched_processes_meet() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let limit = Duration::from_secs(60);
        let ranks = (0..3).map(|rank| {
            let rendezvous = Rendezvous {
                rank,
                size: 3,
                local_rank: rank,
                address: "localhost".to_owned(),
                port,
            };
            std::thread::spawn(move || {
                let exchange = rendezvous.meet(limit).unwrap();
                super::super::Exchange::all_gather(&exchange, &[rank as u64]).unwrap()
            })
        });
        for rank in ranks.collect::<Vec<_>>() {
            assert_eq!(rank.join().unwrap(), [[0], [1], [2]]);
        }
    }

    #[test]
    fn a_port_that_is_taken_and_a_name_that_is_none_are_errors() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut rendezvous = with(&[("RANK", "0")]).unwrap();
        rendezvous.address = "127.0.0.1".to_owned();
        rendezvous.port = taken.local_addr().unwrap().port();
        let error = rendezvous.meet(Duration::ZERO).unwrap_err().to_string();
        assert!(
            error.contains(&format!("127.0.0.1 port {}", rendezvous.port)),
            "{error}"
        );
        rendezvous.address = "no such name".to_owned();
        assert!(matches!(
            rendezvous.meet(Duration::ZERO),
            Err(CollectiveError::Connection { .. })
        ));
    }
}
