//! An exchange between processes, over TCP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{CollectiveError, Exchange};

/// How long a rank waits before it tries again to reach rank 0, which may not be there yet.
const RETRY: Duration = Duration::from_millis(20);

/// The most words a rank shows at once: what is longer is no exchange's.
const MOST_WORDS: u64 = 1 << 20;

/// An exchange between processes: all ranks talk to rank 0, which tells each what all have said. After an error it stays
/// failed: the connections are closed, so that the other ranks notice at once.
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
#[derive(Debug)]
pub struct TcpExchange {
    rank: usize,
    size: usize,
    limit: Duration,
    /// To rank 0; on rank 0 to all others, in their order. Empty after an error.
    peers: Mutex<Option<Vec<TcpStream>>>,
}

impl TcpExchange {
    /// Rank 0 of a group of `size`: waits until the others have joined.
    ///
    /// # Errors
    /// Not all have joined within the limit, or the system refuses.
    pub fn host(listener: TcpListener, size: usize, limit: Duration) -> Result<Self, CollectiveError> {
        let deadline = Instant::now() + limit;
        let failed = |error: io::Error| connection(0, &error);
        listener.set_nonblocking(true).map_err(failed)?;
        let mut peers: Vec<Option<TcpStream>> = (1..size).map(|_| None).collect();
        while peers.iter().any(Option::is_none) {
            match listener.accept() {
                Ok((mut peer, _)) => {
                    peer.set_nonblocking(false).map_err(failed)?;
                    prepare(&peer, limit).map_err(failed)?;
                    // Whoever is no rank of this group, or says nothing, is not let in.
                    let seat = match read_words(&mut peer).ok().as_deref() {
                        Some(&[rank, of]) if of == size as u64 => rank.checked_sub(1),
                        _ => None,
                    };
                    if let Some(seat) = seat.and_then(|seat| peers.get_mut(seat as usize)) {
                        *seat = Some(peer);
                    }
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(failed(error)),
                Err(_) if Instant::now() < deadline => thread::sleep(RETRY),
                Err(_) => {
                    let absent = peers.iter().enumerate().filter(|(_, peer)| peer.is_none());
                    let missing = absent.map(|(seat, _)| seat + 1).collect();
                    return Err(CollectiveError::Late {
                        rank: 0,
                        limit,
                        missing,
                    });
                }
            }
        }
        Ok(Self {
            rank: 0,
            size,
            limit,
            peers: Mutex::new(Some(peers.into_iter().flatten().collect())),
        })
    }

    /// Any other rank: joins the group whose rank 0 listens at `address`, and waits for it to listen.
    ///
    /// # Errors
    /// Rank 0 is not there within the limit, or the system refuses.
    pub fn join(address: SocketAddr, rank: usize, size: usize, limit: Duration) -> Result<Self, CollectiveError> {
        let deadline = Instant::now() + limit;
        let mut peer = loop {
            match TcpStream::connect_timeout(&address, limit) {
                Ok(peer) => break peer,
                Err(_) if Instant::now() < deadline => thread::sleep(RETRY),
                Err(error) => return Err(connection(rank, &error)),
            }
        };
        let greeting = prepare(&peer, limit).and_then(|()| write_words(&mut peer, &[rank as u64, size as u64]));
        greeting.map_err(|error| connection(rank, &error))?;
        Ok(Self {
            rank,
            size,
            limit,
            peers: Mutex::new(Some(vec![peer])),
        })
    }

    /// What rank 0 does: hears everyone, and tells everyone.
    fn collect(&self, peers: &mut [TcpStream], words: &[u64]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let mut all = vec![words.to_vec()];
        let deadline = Instant::now() + self.limit;
        for (seat, peer) in peers.iter_mut().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let heard = prepare(peer, left).and_then(|()| read_words(peer));
            all.push(heard.map_err(|error| self.lost(seat + 1, &error))?);
        }
        for (seat, peer) in peers.iter_mut().enumerate() {
            let told = all.iter().try_for_each(|words| write_words(peer, words));
            told.map_err(|error| self.lost(seat + 1, &error))?;
        }
        Ok(all)
    }

    /// What the others do: tell rank 0, and hear what all have said.
    fn contribute(&self, host: &mut TcpStream, words: &[u64]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let lost = |error: io::Error| self.lost(0, &error);
        write_words(host, words).map_err(lost)?;
        (0..self.size).map(|_| read_words(host).map_err(lost)).collect()
    }

    fn lost(&self, other: usize, error: &io::Error) -> CollectiveError {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
        match error.kind() {
            TimedOut | WouldBlock => CollectiveError::Late {
                rank: self.rank,
                limit: self.limit,
                missing: vec![other],
            },
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => CollectiveError::Gone { gone: other },
            _ => connection(self.rank, error),
        }
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
        let mut peers = self.peers.lock();
        let connected = peers.as_deref_mut().ok_or_else(|| CollectiveError::Failed {
            reason: "the connections are closed".to_owned(),
        })?;
        let all = match connected {
            [host] if self.rank > 0 => self.contribute(host, words),
            others => self.collect(others, words),
        };
        if all.is_err() {
            *peers = None;
        }
        all
    }
}

fn prepare(peer: &TcpStream, limit: Duration) -> io::Result<()> {
    peer.set_nodelay(true)?;
    // A limit of zero would mean none.
    let limit = Some(limit.max(Duration::from_millis(1)));
    peer.set_read_timeout(limit)?;
    peer.set_write_timeout(limit)
}

fn write_words(peer: &mut TcpStream, words: &[u64]) -> io::Result<()> {
    let all = std::iter::once(words.len() as u64).chain(words.iter().copied());
    let bytes: Vec<u8> = all.flat_map(u64::to_le_bytes).collect();
    peer.write_all(&bytes)
}

fn read_words(peer: &mut TcpStream) -> io::Result<Vec<u64>> {
    let mut word = [0; 8];
    let mut read = || {
        peer.read_exact(&mut word)?;
        Ok(u64::from_le_bytes(word))
    };
    let count = read()?;
    if count > MOST_WORDS {
        return Err(io::ErrorKind::InvalidData.into());
    }
    (0..count).map(|_| read()).collect()
}

fn connection(rank: usize, error: &io::Error) -> CollectiveError {
    CollectiveError::Connection {
        rank,
        reason: error.to_string(),
    }
}
