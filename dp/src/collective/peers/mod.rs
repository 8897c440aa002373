//! Memory that the devices of all ranks reach.
//!
//! Ranks tell each other through their [`Exchange`] where they are, and then what they have. In one process they give each other
//! the memory itself; between processes of one host a file passes through a Unix socket, by which the other one maps the same
//! memory. It lives until the last mapping of it is gone, so that a rank may leave, grow or die while its peers still store into
//! its memory: they store into memory that is there.

mod arena;
mod error;
mod mailbox;
mod seat;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use tilewright_runtime::{Deadline, Device, PeerBuffer, PeerMemory};

use super::{CollectiveError, Exchange};
pub use arena::PeerArena;
pub use error::{Apart, PeersError};
use mailbox::{Mailbox, TradeError};
use seat::{Address, Seat};
pub(super) use seat::{host, network};

/// One rank of a group whose devices reach each other's memory.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tilewright_dp::collective::{CollectiveError, Exchange, Peers, ThreadExchange};
/// use tilewright_runtime::Device;
///
/// let exchanges = ThreadExchange::ranks(2, Duration::from_secs(10))?;
/// let rank = |exchange: ThreadExchange| -> Result<Vec<u32>, CollectiveError> {
///     let (rank, exchange) = (exchange.rank(), Arc::new(exchange));
///     let peers = Peers::join(&Device::cpu(), exchange.clone())?;
///     let mut buffer = peers.buffer(64)?;
///     // Each stores into the memory of the other.
///     buffer.tensor_mut::<u32, 1>(1 - rank, 0, [1])?.copy_from(&[rank as u32 + 10])?;
///     exchange.all_gather(&[])?;
///     Ok(buffer.tensor(rank, 0, [2])?.download()?)
/// };
/// let found: Vec<_> = std::thread::scope(|scope| {
///     let ranks: Vec<_> = exchanges.into_iter().map(|exchange| scope.spawn(move || rank(exchange))).collect();
///     ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect::<Result<_, _>>()
/// })?;
/// assert_eq!(found, [[11, 0], [10, 0]]);
/// # Ok::<(), CollectiveError>(())
/// ```
pub struct Peers {
    device: Device,
    exchange: Arc<dyn Exchange>,
    seats: Vec<Seat>,
    /// With the number of the next buffer.
    mailbox: Mutex<(Mailbox, u64)>,
}

impl Peers {
    /// Joins all ranks of an exchange, each with a device of its own or with one that it shares with others.
    ///
    /// # Errors
    /// The devices of two ranks do not reach each other, or memory cannot be given between them ([`CollectiveError::Peers`]): this
    /// is the same error on all ranks, which can gather through NCCL then. Or not all ranks come.
    pub fn join(device: &Device, exchange: Arc<dyn Exchange>) -> Result<Self, CollectiveError> {
        let rank = exchange.rank();
        let mailbox = Mailbox::new().map_err(|error| socket_error(rank, &error));
        let (mailbox, told) = all_have(&*exchange, mailbox, |mailbox| {
            Seat::new(device, mailbox.address()).words().to_vec()
        })?;
        let seat =
            |(from, words): (usize, &Vec<u64>)| Seat::from_words(words).ok_or(CollectiveError::Malformed { from });
        let seats: Vec<Seat> = told.iter().enumerate().map(seat).collect::<Result<_, _>>()?;
        // What one rank sees, all have to know.
        let own = seats[rank];
        let seen = seats
            .iter()
            .enumerate()
            .map(|(other, seat)| own.check(rank, seat, other));
        let verdict = seen.collect::<Result<Vec<()>, _>>().err();
        let verdicts = exchange.all_gather(&verdict_words(verdict.as_ref()))?;
        for (rank, words) in verdicts.iter().enumerate() {
            if let Some(error) = verdict_of(rank, words)? {
                return Err(error.into());
            }
        }
        Ok(Self {
            device: device.clone(),
            exchange,
            seats,
            mailbox: Mutex::new((mailbox, 0)),
        })
    }

    /// This rank, from 0.
    pub fn rank(&self) -> usize {
        self.exchange.rank()
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.exchange.size()
    }

    /// This rank's device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Memory of each rank that all ranks reach, filled with zeros: at least as many bytes as any rank asks for. All ranks have to
    /// call it, in the same order.
    ///
    /// # Errors
    /// A rank has no room, or its memory cannot be given to the others: the rank has its own error, and the others are told which
    /// it is ([`PeersError::NotThere`]). Or a rank is gone or late.
    pub fn buffer(&self, bytes: usize) -> Result<PeerBuffer, CollectiveError> {
        let mut mailbox = self.mailbox.lock();
        let (mailbox, number) = &mut *mailbox;
        *number += 1;
        let asked = self.exchange.all_gather(&[*number, bytes as u64])?;
        let mut most = bytes as u64;
        for (from, words) in asked.iter().enumerate() {
            match words[..] {
                [theirs, bytes] if theirs == *number => most = most.max(bytes),
                _ => return Err(CollectiveError::Malformed { from }),
            }
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let own = self.own_memory(most);
        // It is there for the threads of this process before they hear of it, until all have taken it.
        let key = Key(mailbox.address(), *number);
        let _shown = own.as_ref().ok().map(|own| Shown::new(key, &own.memory));
        let (own, told) = all_have(&*self.exchange, own, |own| vec![own.memory.bytes() as u64])?;
        let buffer = self.reach_all(mailbox, *number, &own, &told);
        self.all_have(buffer)
    }

    /// What this rank has made by itself, if all ranks have made theirs. All ranks have to call it, in the same order.
    pub(super) fn all_have<T>(&self, mine: Result<T, CollectiveError>) -> Result<T, CollectiveError> {
        all_have(&*self.exchange, mine, |_| vec![1]).map(|(mine, _)| mine)
    }

    /// The ranks of other processes, and where each receives files.
    fn apart(&self) -> impl Iterator<Item = (usize, Address)> {
        let own = &self.seats[self.rank()];
        let others = self.seats.iter().enumerate();
        others
            .filter(|(_, seat)| !seat.shares_process_with(own))
            .map(|(rank, seat)| (rank, seat.address))
    }

    fn own_memory(&self, bytes: usize) -> Result<Own, CollectiveError> {
        let memory = PeerMemory::new(&self.device, bytes)?;
        let is_for_others = self.apart().next().is_some();
        let file = is_for_others.then(|| memory.file()).transpose()?;
        Ok(Own { memory, file })
    }

    /// Maps the memory of all ranks.
    fn reach_all(
        &self,
        mailbox: &Mailbox,
        number: u64,
        own: &Own,
        told: &[Vec<u64>],
    ) -> Result<PeerBuffer, CollectiveError> {
        let (rank, limit) = (self.rank(), self.exchange.limit());
        let apart: Vec<_> = self.apart().collect();
        let mut files = match &own.file {
            None => BTreeMap::new(),
            // The others wait for this rank afterwards, as long as the limit.
            Some(file) => mailbox
                .trade(number, rank, file, &apart, Deadline::after(limit / 2))
                .map_err(|error| match error {
                    TradeError::Gone { rank } => CollectiveError::Gone { gone: rank },
                    TradeError::Late { missing } => CollectiveError::Late { rank, limit, missing },
                    TradeError::System(error) => socket_error(rank, &error),
                })?,
        };
        let part = |(from, (seat, told)): (usize, (&Seat, &Vec<u64>))| {
            if from == rank {
                return Ok(own.memory.clone());
            }
            match files.remove(&from) {
                Some(file) => {
                    let bytes = told.first().and_then(|&bytes| usize::try_from(bytes).ok());
                    let bytes = bytes.ok_or(CollectiveError::Malformed { from })?;
                    Ok(PeerMemory::import(&self.device, file, bytes)?)
                }
                None => shown(Key(seat.address, number)).ok_or(CollectiveError::Gone { gone: from }),
            }
        };
        let parts: Vec<PeerMemory> = self
            .seats
            .iter()
            .zip(told)
            .enumerate()
            .map(part)
            .collect::<Result<_, CollectiveError>>()?;
        Ok(PeerBuffer::new(&self.device, rank, &parts)?)
    }
}

/// What a rank gives to the others.
struct Own {
    memory: PeerMemory,
    /// What other processes have it by, if there are any.
    file: Option<OwnedFd>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peers(rank {} of {}, {})", self.rank(), self.size(), self.device)
    }
}

/// Tells all ranks what this one has, if it has it, and returns it with what they told: on all ranks or on none.
fn all_have<T>(
    exchange: &dyn Exchange,
    mine: Result<T, CollectiveError>,
    words: impl FnOnce(&T) -> Vec<u64>,
) -> Result<(T, Vec<Vec<u64>>), CollectiveError> {
    let told = exchange.all_gather(&mine.as_ref().map(words).unwrap_or_default());
    // What happened here is the cause of what the others say.
    let mine = mine?;
    let told = told?;
    match told.iter().position(Vec::is_empty) {
        Some(rank) => Err(PeersError::NotThere { rank }.into()),
        None => Ok((mine, told)),
    }
}

fn socket_error(rank: usize, error: &std::io::Error) -> CollectiveError {
    let reason = error.to_string();
    PeersError::Socket { rank, reason }.into()
}

/// Which buffer of which rank.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key(Address, u64);

/// Memory that ranks of this process have for each other.
static SHOWN: LazyLock<Mutex<HashMap<Key, PeerMemory>>> = LazyLock::new(Mutex::default);

/// Shows memory to the ranks of this process until it is dropped.
struct Shown(Key);

impl Shown {
    fn new(key: Key, memory: &PeerMemory) -> Self {
        SHOWN.lock().insert(key, memory.clone());
        Self(key)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let memory = SHOWN.lock().remove(&self.0);
        drop(memory);
    }
}

fn shown(key: Key) -> Option<PeerMemory> {
    SHOWN.lock().get(&key).cloned()
}

const FINE: u64 = 0;
const OTHER_HOST: u64 = 1;
const OTHER_NETWORK: u64 = 2;
const NO_ACCESS: u64 = 3;
const MIXED: u64 = 4;

/// What a rank found between itself and another.
fn verdict_words(verdict: Option<&PeersError>) -> Vec<u64> {
    match verdict {
        Some(&PeersError::Elsewhere { other, apart, .. }) => match apart {
            Apart::Host => vec![OTHER_HOST, other as u64],
            Apart::Network => vec![OTHER_NETWORK, other as u64],
        },
        Some(&PeersError::NoAccess { other, .. }) => vec![NO_ACCESS, other as u64],
        Some(&PeersError::Mixed { other, .. }) => vec![MIXED, other as u64],
        // The others are no verdicts.
        Some(_) | None => vec![FINE],
    }
}

fn verdict_of(rank: usize, words: &[u64]) -> Result<Option<PeersError>, CollectiveError> {
    let elsewhere = |other, apart| PeersError::Elsewhere { rank, other, apart };
    let (kind, other) = match *words {
        [FINE] => return Ok(None),
        [kind, other] => (kind, usize::try_from(other).unwrap_or(usize::MAX)),
        _ => return Err(CollectiveError::Malformed { from: rank }),
    };
    Ok(Some(match kind {
        OTHER_HOST => elsewhere(other, Apart::Host),
        OTHER_NETWORK => elsewhere(other, Apart::Network),
        NO_ACCESS => PeersError::NoAccess { rank, other },
        MIXED => PeersError::Mixed { rank, other },
        _ => return Err(CollectiveError::Malformed { from: rank }),
    }))
}
