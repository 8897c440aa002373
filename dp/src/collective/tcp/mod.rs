//! An exchange between processes, over TCP.

mod failure;
mod frame;
mod greeting;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tilewright_runtime::Deadline;

use super::exchange::repeated;
use super::{CollectiveError, Exchange, check_ranks};
use frame::{Frame, MOST_WORDS, MOST_WORDS_OF_ALL, Peer, or_grace};
use greeting::{Greeting, Reception};

/// How long a rank waits before it tries again to reach rank 0, which may not be there yet.
const RETRY: Duration = Duration::from_millis(20);
/// How long an address is tried at first, and at last. Where many connect, the system may have no room for one more, and would
/// try again by itself only after seconds.
const TRIES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// How long it may take to tell a rank that the group is over.
const TELL: Duration = Duration::from_millis(100);

/// An exchange between processes: all ranks talk to rank 0, which tells each what all have said. After an error it stays
/// failed, on all ranks: rank 0 tells the others which rank it was about.
///
/// The ranks meet at one address, where rank 0 listens. Others who connect there are no matter: nobody waits for them. A
/// group comes together on all its ranks or on none: one that comes twice, for a group of another size or from another
/// version, or that leaves meanwhile, is an error on all.
///
/// ```
/// use std::time::Duration;
/// use tilewright_dp::collective::{CollectiveError, Exchange, TcpExchange};
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let (address, limit) = (listener.local_addr()?, Duration::from_secs(10));
/// let other = std::thread::spawn(move || TcpExchange::join(address, 1, 2, limit)?.all_gather(&[7, 8]));
/// let all = TcpExchange::host(listener, 2, limit)?.all_gather(&[9])?;
/// assert_eq!(all, [vec![9], vec![7, 8]]);
/// assert_eq!(other.join().expect("no panic")?, all);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Processes that a launcher has started meet as their [`Rendezvous`](super::Rendezvous) says.
#[derive(Debug)]
pub struct TcpExchange {
    rank: usize,
    size: usize,
    limit: Duration,
    /// To rank 0; on rank 0 to all others, in their order. An error is the end.
    peers: Mutex<Result<Vec<Peer>, CollectiveError>>,
}

impl TcpExchange {
    /// Rank 0 of a group of `size`: waits until the others have joined, as long as it and each that has come will.
    ///
    /// # Errors
    /// There are no ranks, or more than [`MAX_RANKS`](crate::plan::MAX_RANKS); not all have joined within the limit, one has
    /// left again or cannot be of the group, or the system refuses.
    pub fn host(listener: TcpListener, size: usize, limit: Duration) -> Result<Self, CollectiveError> {
        check_ranks(size)?;
        let peers = Reception::new(size, limit).receive(&listener)?;
        Ok(Self::of(0, size, limit, peers))
    }

    /// Any other rank: joins the group whose rank 0 listens at `address`, waits for it to listen and for all to come.
    ///
    /// # Errors
    /// There are no ranks, or more than [`MAX_RANKS`](crate::plan::MAX_RANKS), or `rank` is none of those that join; rank 0
    /// is not there within the limit, the group does not come together, or the system refuses.
    pub fn join(address: SocketAddr, rank: usize, size: usize, limit: Duration) -> Result<Self, CollectiveError> {
        Self::join_at(&[address], rank, size, limit)
    }

    /// As [`join`](Self::join), at whichever of several addresses rank 0 listens.
    pub(super) fn join_at(
        addresses: &[SocketAddr],
        rank: usize,
        size: usize,
        limit: Duration,
    ) -> Result<Self, CollectiveError> {
        check_ranks(size)?;
        if !(1..size).contains(&rank) {
            return Err(CollectiveError::WrongRank { rank, ranks: size });
        }
        let deadline = Deadline::after(limit);
        let stream = connect(addresses, deadline).map_err(|error| connection(rank, &error))?;
        let mut host = Peer::new(stream).map_err(|error| connection(rank, &error))?;
        let lost = |error: io::Error| lost(rank, limit, 0, &error);
        let greeting = Greeting::new(rank, size, deadline).bytes();
        host.send(&greeting, deadline).map_err(lost)?;
        // Rank 0 answers when the first of all deadlines is over.
        let left = deadline.left().unwrap_or(Duration::MAX);
        let answer = host.receive(Deadline::after(with_margin(limit, left))).map_err(lost)?;
        match answer {
            Frame::Words(words) if words.is_empty() => Ok(Self::of(rank, size, limit, vec![host])),
            Frame::Words(_) => Err(CollectiveError::Malformed { from: 0 }),
            Frame::Failure(words) => Err(failure::from_words(&words, rank, limit)),
        }
    }

    /// An exchange between those ranks of one machine that give one number, in their order, which goes on by itself. They meet at
    /// the machine's own address, 127.0.0.1. All ranks of `exchange` have to call it, those of other machines too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tilewright_dp::collective::{CollectiveError, Exchange, TcpExchange, ThreadExchange};
    ///
    /// let exchanges = ThreadExchange::ranks(3, Duration::from_secs(10))?;
    /// let rank = |exchange: &ThreadExchange| {
    ///     let odd = TcpExchange::among(exchange, exchange.rank() as u64 % 2)?;
    ///     odd.all_gather(&[exchange.rank() as u64])
    /// };
    /// let found = std::thread::scope(|scope| {
    ///     let ranks: Vec<_> = exchanges.iter().map(|exchange| scope.spawn(move || rank(exchange))).collect();
    ///     ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect::<Result<Vec<_>, CollectiveError>>()
    /// })?;
    /// assert_eq!(found[0], [[0], [2]]);
    /// assert_eq!(found[1], [[1]]);
    /// # Ok::<(), CollectiveError>(())
    /// ```
    ///
    /// # Errors
    /// A rank is gone or late, or the system gives the first rank of a group no port, which is an error on all ranks.
    pub fn among(exchange: &dyn Exchange, group: u64) -> Result<Self, CollectiveError> {
        let (rank, limit) = (exchange.rank(), exchange.limit());
        let groups = exchange.all_gather(&[group])?;
        let ranks: Vec<usize> = (0..groups.len()).filter(|&rank| groups[rank] == [group]).collect();
        let place = ranks.iter().position(|&other| other == rank).unwrap_or(0);
        let listener = (place == 0).then(listen_at_home).transpose();
        let told = exchange.all_gather(&match &listener {
            Ok(Some((_, port))) => vec![u64::from(*port)],
            Ok(None) => vec![0],
            Err(_) => vec![],
        })?;
        let listener = listener.map_err(|error| connection(rank, &error))?;
        if let Some(rank) = told.iter().position(Vec::is_empty) {
            let reason = "the system gives it no port to listen at; its own error says why".to_owned();
            return Err(CollectiveError::Connection { rank, reason });
        }
        let met = match listener {
            Some((listener, _)) => Self::host(listener, ranks.len(), limit),
            None => {
                let first = ranks[0];
                let port = told[first].first().and_then(|&port| u16::try_from(port).ok());
                let port = port.ok_or(CollectiveError::Malformed { from: first })?;
                Self::join(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), place, ranks.len(), limit)
            }
        };
        met.map_err(|error| error.renumbered(|place| ranks.get(place).copied().unwrap_or(place)))
    }

    fn of(rank: usize, size: usize, limit: Duration, peers: Vec<Peer>) -> Self {
        Self {
            rank,
            size,
            limit,
            peers: Mutex::new(Ok(peers)),
        }
    }

    /// What rank 0 does: hears everyone, and tells everyone.
    fn collect(&self, peers: &mut [Peer], words: &[u64], limit: Duration) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let deadline = Deadline::after(limit);
        let (mut all, mut missing, mut count) = (vec![words.to_vec()], Vec::new(), words.len());
        for (seat, peer) in peers.iter_mut().enumerate() {
            let from = seat + 1;
            match peer.receive(deadline) {
                Ok(Frame::Words(words)) => {
                    count += words.len();
                    check_words(count, MOST_WORDS_OF_ALL)?;
                    all.push(words);
                }
                Ok(Frame::Failure(_)) => return Err(CollectiveError::Malformed { from }),
                Err(error) => match lost(0, limit, from, &error) {
                    // Others may be late, too: what they have sent is there.
                    CollectiveError::Late { .. } => missing.push(from),
                    error => return Err(error),
                },
            }
        }
        if !missing.is_empty() {
            return Err(CollectiveError::Late {
                rank: 0,
                limit,
                missing,
            });
        }
        let mut told = Vec::with_capacity(8 * (count + all.len()));
        all.iter().for_each(|words| Frame::put_words(words, &mut told));
        for (seat, peer) in peers.iter_mut().enumerate() {
            peer.send(&told, deadline)
                .map_err(|error| lost(0, limit, seat + 1, &error))?;
        }
        Ok(all)
    }

    /// What the others do: tell rank 0, and hear what all have said.
    fn contribute(&self, host: &mut Peer, words: &[u64], limit: Duration) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let rank = self.rank;
        let lost = |error: io::Error| lost(rank, limit, 0, &error);
        // Rank 0 knows who is missing, and says so when its own time is over.
        let deadline = Deadline::after(with_margin(limit, limit));
        let mut bytes = Vec::new();
        Frame::put_words(words, &mut bytes);
        if let Err(error) = host.send(&bytes, deadline) {
            // Rank 0 may have said why before it left.
            return Err(match host.receive(Deadline::after(Duration::ZERO)) {
                Ok(Frame::Failure(words)) => failure::from_words(&words, rank, limit),
                _ => lost(error),
            });
        }
        let hear = |_| match host.receive(deadline).map_err(lost)? {
            Frame::Words(words) => Ok(words),
            Frame::Failure(words) => Err(failure::from_words(&words, rank, limit)),
        };
        (0..self.size).map(hear).collect()
    }
}

impl Exchange for TcpExchange {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn limit(&self) -> Duration {
        self.limit
    }

    fn all_gather(&self, words: &[u64]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        self.all_gather_within(words, self.limit)
    }

    fn all_gather_within(&self, words: &[u64], limit: Duration) -> Result<Vec<Vec<u64>>, CollectiveError> {
        check_words(words.len(), MOST_WORDS)?;
        let mut peers = self.peers.lock();
        let connected = peers.as_mut().map_err(|error| repeated(error))?;
        let all = match &mut connected[..] {
            [host] if self.rank > 0 => self.contribute(host, words, limit),
            others => self.collect(others, words, limit),
        };
        if let Err(error) = &all {
            if self.rank == 0 {
                tell_all(connected.iter_mut(), error);
            }
            *peers = Err(error.clone());
        }
        all
    }
}

/// Listens at a port of this machine that only it reaches.
fn listen_at_home() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// A connection to rank 0 at one of its addresses, as soon as it listens.
fn connect(addresses: &[SocketAddr], deadline: Deadline) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let [mut patience, most] = TRIES;
    loop {
        let mut is_late = false;
        for address in addresses {
            let left = or_grace(deadline).left().unwrap_or(Duration::MAX);
            let connected = TcpStream::connect_timeout(address, left.min(patience));
            match connected {
                // A port that the system gives out may be given to this very connection, which then has itself for a peer.
                Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => {}
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    is_late |= error.kind() == io::ErrorKind::TimedOut;
                    refused = error;
                }
            }
        }
        if deadline.is_past() {
            return Err(refused);
        }
        if is_late {
            patience = most.min(patience * 2);
        }
        thread::sleep(RETRY);
    }
}

/// Tells ranks that the group is over, as far as they hear it.
fn tell_all<'p>(peers: impl Iterator<Item = &'p mut Peer>, error: &CollectiveError) {
    let (told, deadline) = (Frame::failure(&failure::to_words(error)), Deadline::after(TELL));
    for peer in peers {
        // Who does not hear it finds the connection closed.
        let _ = peer.send(&told, deadline);
    }
}

/// A little longer than what is left of a limit, so that rank 0's word is heard, which has the same limit.
fn with_margin(limit: Duration, left: Duration) -> Duration {
    left.saturating_add((limit / 8).clamp(TELL, Duration::from_secs(1)))
}

fn check_words(words: usize, most: usize) -> Result<(), CollectiveError> {
    match words <= most {
        true => Ok(()),
        false => Err(CollectiveError::TooManyWords { words, most }),
    }
}

/// What an error on the connection to another rank says about it.
fn lost(rank: usize, limit: Duration, other: usize, error: &io::Error) -> CollectiveError {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, TimedOut, UnexpectedEof, WriteZero,
    };
    match error.kind() {
        TimedOut => CollectiveError::Late {
            rank,
            limit,
            missing: vec![other],
        },
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof | WriteZero => {
            CollectiveError::Gone { gone: other }
        }
        InvalidData => CollectiveError::Malformed { from: other },
        _ => connection(rank, error),
    }
}

fn connection(rank: usize, error: &io::Error) -> CollectiveError {
    CollectiveError::Connection {
        rank,
        reason: error.to_string(),
    }
}
