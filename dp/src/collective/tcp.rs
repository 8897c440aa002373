//! An exchange between processes, over TCP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tilewright_runtime::Deadline;

use super::{CollectiveError, Exchange, check_ranks};

/// How long a rank waits before it tries again to reach rank 0, which may not be there yet.
const RETRY: Duration = Duration::from_millis(20);

/// What has arrived is read even if the time is just over.
const GRACE: Duration = Duration::from_millis(1);

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
    /// There are no ranks, or more than [`MAX_RANKS`](crate::plan::MAX_RANKS); not all have joined within the limit, or the
    /// system refuses.
    pub fn host(listener: TcpListener, size: usize, limit: Duration) -> Result<Self, CollectiveError> {
        check_ranks(size)?;
        let deadline = Deadline::after(limit);
        let failed = |error: io::Error| connection(0, &error);
        listener.set_nonblocking(true).map_err(failed)?;
        let mut peers: Vec<Option<TcpStream>> = (1..size).map(|_| None).collect();
        let mut newcomers: Vec<Newcomer> = Vec::new();
        while peers.iter().any(Option::is_none) {
            let came = match listener.accept() {
                Ok((peer, _)) => Some(Newcomer::new(peer).map_err(failed)?),
                Err(error) if is_for_now(&error) => None,
                Err(error) => return Err(failed(error)),
            };
            let is_quiet = came.is_none();
            newcomers.extend(came);
            for mut newcomer in std::mem::take(&mut newcomers) {
                match newcomer.listen() {
                    Ok(None) => newcomers.push(newcomer),
                    Ok(Some([2, rank, of])) if of == size as u64 => {
                        let seat = rank.checked_sub(1).and_then(|seat| peers.get_mut(seat as usize));
                        if let Some(seat) = seat {
                            *seat = Some(newcomer.seated().map_err(failed)?);
                        }
                    }
                    // Whoever is no rank of this group, or leaves, is not let in.
                    Ok(Some(_)) | Err(_) => {}
                }
            }
            if is_quiet && peers.iter().any(Option::is_none) {
                if deadline.is_past() {
                    let absent = peers.iter().enumerate().filter(|(_, peer)| peer.is_none());
                    let missing = absent.map(|(seat, _)| seat + 1).collect();
                    return Err(CollectiveError::Late {
                        rank: 0,
                        limit,
                        missing,
                    });
                }
                thread::sleep(RETRY);
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
    /// There are no ranks, or more than [`MAX_RANKS`](crate::plan::MAX_RANKS), or `rank` is none of those that join; rank 0
    /// is not there within the limit, or the system refuses.
    pub fn join(address: SocketAddr, rank: usize, size: usize, limit: Duration) -> Result<Self, CollectiveError> {
        check_ranks(size)?;
        if !(1..size).contains(&rank) {
            return Err(CollectiveError::WrongRank { rank, ranks: size });
        }
        let deadline = Deadline::after(limit);
        let mut peer = loop {
            let connected = match or_grace(deadline).left() {
                Some(left) => TcpStream::connect_timeout(&address, left),
                None => TcpStream::connect(address),
            };
            match connected {
                Ok(peer) => break peer,
                Err(_) if !deadline.is_past() => thread::sleep(RETRY),
                Err(error) => return Err(connection(rank, &error)),
            }
        };
        let greeted = peer.set_nodelay(true).and_then(|()| {
            let mut host = Timed(&mut peer, or_grace(deadline));
            write_words(&mut host, &[rank as u64, size as u64])
        });
        greeted.map_err(|error| connection(rank, &error))?;
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
        let deadline = Deadline::after(self.limit);
        for (seat, peer) in peers.iter_mut().enumerate() {
            let heard = read_words(&mut Timed(peer, or_grace(deadline)));
            all.push(heard.map_err(|error| self.lost(seat + 1, &error))?);
        }
        for (seat, peer) in peers.iter_mut().enumerate() {
            let mut peer = Timed(peer, or_grace(deadline));
            let told = all.iter().try_for_each(|words| write_words(&mut peer, words));
            told.map_err(|error| self.lost(seat + 1, &error))?;
        }
        Ok(all)
    }

    /// What the others do: tell rank 0, and hear what all have said.
    fn contribute(&self, host: &mut TcpStream, words: &[u64]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let lost = |error: io::Error| self.lost(0, &error);
        let mut host = Timed(host, or_grace(Deadline::after(self.limit)));
        write_words(&mut host, words).map_err(lost)?;
        (0..self.size).map(|_| read_words(&mut host).map_err(lost)).collect()
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

/// Someone who has connected, and has yet to say which rank it is.
struct Newcomer {
    peer: TcpStream,
    heard: Vec<u8>,
}

impl Newcomer {
    fn new(peer: TcpStream) -> io::Result<Self> {
        peer.set_nonblocking(true)?;
        let heard = Vec::new();
        Ok(Self { peer, heard })
    }

    /// The three words of a greeting, when they are there.
    fn listen(&mut self) -> io::Result<Option<[u64; 3]>> {
        let mut bytes = [0; 24];
        let rest = bytes.len() - self.heard.len();
        match self.peer.read(&mut bytes[..rest]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.heard.extend_from_slice(&bytes[..count]),
            Err(error) if is_for_now(&error) => {}
            Err(error) => return Err(error),
        }
        let words = self.heard.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        Ok(words.collect::<Vec<_>>().try_into().ok())
    }

    fn seated(self) -> io::Result<TcpStream> {
        self.peer.set_nonblocking(false)?;
        self.peer.set_nodelay(true)?;
        Ok(self.peer)
    }
}

/// Whether another try may succeed.
fn is_for_now(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted)
}

/// A connection that is used until a deadline, however little comes at a time.
struct Timed<'a>(&'a mut TcpStream, Deadline);

impl Timed<'_> {
    /// A time of zero would mean none to the system.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.1.left() {
            Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.set_read_timeout(self.left()?)?;
        self.0.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set_write_timeout(self.left()?)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn or_grace(deadline: Deadline) -> Deadline {
    match deadline.left() {
        Some(left) => Deadline::after(left.max(GRACE)),
        None => deadline,
    }
}

fn write_words(peer: &mut impl Write, words: &[u64]) -> io::Result<()> {
    let all = std::iter::once(words.len() as u64).chain(words.iter().copied());
    let bytes: Vec<u8> = all.flat_map(u64::to_le_bytes).collect();
    peer.write_all(&bytes)
}

fn read_words(peer: &mut impl Read) -> io::Result<Vec<u64>> {
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
