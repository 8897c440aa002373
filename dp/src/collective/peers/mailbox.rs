//! Files that pass between the ranks of several processes of one host.
//!
//! Each rank has a Unix socket without a file in the file system, by a name that nobody guesses, and a secret: what does not
//! begin with it is dropped. A message is whole or not there, and the system keeps the file that is in it, so that nobody has to
//! wait for who sends, and a stranger is no matter.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tilewright_runtime::Deadline;

use super::seat::Address;

/// The receiver's secret, which trade it is, and the rank of who sends.
const MESSAGE: usize = 16 + 8 + 8;

/// Where a rank receives files.
pub(super) struct Mailbox {
    socket: UnixDatagram,
    address: Address,
}

/// What kept files from passing.
#[derive(Debug)]
pub(super) enum TradeError {
    /// A rank's mailbox is gone.
    Gone { rank: usize },
    /// These ranks were not heard, or did not take what was sent.
    Late { missing: Vec<usize> },
    /// The system refuses.
    System(io::Error),
}

impl From<Errno> for TradeError {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

impl From<io::Error> for TradeError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A message that is not sent yet.
struct Outgoing {
    rank: usize,
    socket: UnixDatagram,
    message: [u8; MESSAGE],
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Self> {
        let address = Address::new();
        let socket = UnixDatagram::bind_addr(&named(address)?)?;
        Ok(Self { socket, address })
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    /// Sends a file to each of `peers` and returns those that they have sent, by their ranks. `number` is the same on all ranks
    /// and of this trade alone.
    pub(super) fn trade(
        &self,
        number: u64,
        rank: usize,
        file: &OwnedFd,
        peers: &[(usize, Address)],
        deadline: Deadline,
    ) -> Result<BTreeMap<usize, OwnedFd>, TradeError> {
        let mut outgoing = Vec::with_capacity(peers.len());
        for &(to, address) in peers {
            let socket = UnixDatagram::unbound()?;
            if let Err(error) = socket.connect_addr(&named(address)?) {
                return Err(lost(to, error));
            }
            let message = message_of(address.secret, number, rank);
            outgoing.push(Outgoing {
                rank: to,
                socket,
                message,
            });
        }
        let mut received = BTreeMap::new();
        loop {
            let mut waiting = Vec::new();
            for out in outgoing {
                if !out.send(file)? {
                    waiting.push(out);
                }
            }
            outgoing = waiting;
            while let Some((from, file)) = self.receive(number)? {
                if peers.iter().any(|&(rank, _)| rank == from) {
                    received.insert(from, file);
                }
            }
            let silent = peers
                .iter()
                .map(|&(rank, _)| rank)
                .filter(|rank| !received.contains_key(rank));
            let mut missing: Vec<usize> = silent.chain(outgoing.iter().map(|out| out.rank)).collect();
            if missing.is_empty() {
                return Ok(received);
            }
            if deadline.is_past() {
                missing.sort_unstable();
                missing.dedup();
                return Err(TradeError::Late { missing });
            }
            let mut sockets = vec![PollFd::new(&self.socket, PollFlags::IN)];
            sockets.extend(outgoing.iter().map(|out| PollFd::new(&out.socket, PollFlags::OUT)));
            // Whoever cannot take more now is asked again soon: not every system says when it can.
            let limit = match outgoing.is_empty() {
                true => deadline.left(),
                false => Some(deadline.left().unwrap_or(RETRY).min(RETRY)),
            };
            let limit = limit.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut sockets, limit.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message of this trade that is there, without waiting.
    fn receive(&self, number: u64) -> Result<Option<(usize, OwnedFd)>, TradeError> {
        loop {
            // One byte more, by which a longer message is seen.
            let mut bytes = [0; MESSAGE + 1];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let len = match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                Ok(message) => message.bytes,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut files = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(files) => Some(files),
                _ => None,
            });
            let file = files.next().and_then(|mut files| files.next());
            let from = sender_of(&bytes[..len], self.address.secret, number);
            // A stranger's, or one of a trade that failed.
            let (Some(from), Some(file)) = (from, file) else {
                continue;
            };
            return Ok(Some((from, file)));
        }
    }
}

/// How long a rank is left in peace that cannot take more.
const RETRY: std::time::Duration = std::time::Duration::from_millis(20);

impl Outgoing {
    /// Whether it is sent now.
    fn send(&self, file: &OwnedFd) -> Result<bool, TradeError> {
        loop {
            let files = [file.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&files));
            let message = [IoSlice::new(&self.message)];
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            return match sendmsg(&self.socket, &message, &mut control, flags) {
                Ok(_) => Ok(true),
                Err(Errno::AGAIN | Errno::NOBUFS) => Ok(false),
                Err(Errno::INTR) => continue,
                Err(error) => Err(lost(self.rank, error.into())),
            };
        }
    }
}

fn lost(rank: usize, error: io::Error) -> TradeError {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotConnected, NotFound};
    match error.kind() {
        ConnectionRefused | ConnectionReset | NotConnected | NotFound => TradeError::Gone { rank },
        _ => TradeError::System(error),
    }
}

fn named(address: Address) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("tilewright-peers-{:032x}", address.name))
}

fn message_of(secret: u128, number: u64, rank: usize) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    message[..16].copy_from_slice(&secret.to_le_bytes());
    message[16..24].copy_from_slice(&number.to_le_bytes());
    message[24..].copy_from_slice(&(rank as u64).to_le_bytes());
    message
}

/// Who has sent a message of this trade.
fn sender_of(message: &[u8], secret: u128, number: u64) -> Option<usize> {
    let message: &[u8; MESSAGE] = message.try_into().ok()?;
    let (head, rank) = message.split_last_chunk::<8>()?;
    let expected = message_of(secret, number, 0);
    let rank = usize::try_from(u64::from_le_bytes(*rank)).ok()?;
    (head == &expected[..24]).then_some(rank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::thread;
    use std::time::{Duration, Instant};

    /// A file that says whose it is.
    fn file_of(rank: usize) -> OwnedFd {
        let mut file = tempfile::tempfile().unwrap();
        write!(file, "rank {rank}").unwrap();
        file.into()
    }

    fn text(file: OwnedFd) -> String {
        // All who have the file share its position.
        let mut bytes = [0; 16];
        let len = File::from(file).read_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    #[test]
    fn files_of_more_ranks_than_a_socket_holds_messages_pass_to_all_of_them_beside_strangers() {
        const RANKS: usize = 40;
        let boxes: Vec<_> = (0..RANKS).map(|_| Mailbox::new().unwrap()).collect();
        let addresses: Vec<_> = boxes.iter().map(Mailbox::address).enumerate().collect();
        // Whoever knows the name and not the secret, with a file and without.
        let stranger = UnixDatagram::unbound().unwrap();
        stranger.connect_addr(&named(boxes[0].address()).unwrap()).unwrap();
        stranger.send(b"hello").unwrap();
        stranger.send(&message_of(0, 7, 1)).unwrap();
        stranger.send(&[0; 4000]).unwrap();
        let out = Outgoing {
            rank: 0,
            socket: stranger,
            message: message_of(5, 7, 2),
        };
        assert!(out.send(&file_of(99)).unwrap());
        thread::scope(|scope| {
            for (rank, mailbox) in boxes.iter().enumerate() {
                let peers: Vec<_> = addresses.iter().copied().filter(|&(other, _)| other != rank).collect();
                scope.spawn(move || {
                    let deadline = Deadline::after(Duration::from_secs(60));
                    let files = mailbox.trade(7, rank, &file_of(rank), &peers, deadline).unwrap();
                    let found: Vec<_> = files.into_iter().map(|(rank, file)| (rank, text(file))).collect();
                    let expected = peers.iter().map(|&(rank, _)| (rank, format!("rank {rank}")));
                    assert_eq!(found, expected.collect::<Vec<_>>());
                });
            }
        });
    }

    #[test]
    fn a_rank_that_is_gone_is_named_at_once_and_one_that_is_silent_at_the_deadline() {
        let (here, silent) = (Mailbox::new().unwrap(), Mailbox::new().unwrap());
        let began = Instant::now();
        let limit = Duration::from_millis(200);
        let late = here.trade(0, 0, &file_of(0), &[(3, silent.address())], Deadline::after(limit));
        assert!(matches!(late, Err(TradeError::Late { missing }) if missing == [3]));
        assert!(began.elapsed() >= limit);
        let gone = silent.address();
        drop(silent);
        let deadline = Deadline::after(Duration::from_secs(60));
        let gone = here.trade(1, 0, &file_of(0), &[(3, gone)], deadline);
        assert!(matches!(gone, Err(TradeError::Gone { rank: 3 })));
    }

    #[test]
    fn what_was_sent_for_another_trade_is_not_taken_for_this_one() {
        let (one, two) = (Mailbox::new().unwrap(), Mailbox::new().unwrap());
        let soon = || Deadline::after(Duration::from_millis(50));
        let peer = [(1, two.address())];
        assert!(one.trade(4, 0, &file_of(0), &peer, soon()).is_err());
        let late = two.trade(5, 1, &file_of(1), &[(0, one.address())], soon());
        assert!(matches!(late, Err(TradeError::Late { missing }) if missing == [0]));
    }
}
