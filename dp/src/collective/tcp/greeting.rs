//! How ranks meet: each greets rank 0, which answers once all have come.
//!
//! Anybody may connect: a scanner of ports, a browser, a rank of another job. Who does not begin as a rank does is no rank and
//! not answered; who does, and cannot be of this group, ends it on all ranks.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tilewright_runtime::Deadline;

use super::super::{CollectiveError, Refusal};
use super::frame::{Frame, Peer, is_for_now, words_of};
use super::tell_all;

/// How every greeting begins, of whatever version, then the version and the rank.
const MAGIC: u64 = u64::from_le_bytes(*b"TWranks\n");

/// The version of all that is said between ranks: the crate's, in 16 bits for each part.
pub(super) const VERSION: u64 = {
    const fn part(text: &str) -> u64 {
        match u64::from_str_radix(text, 10) {
            Ok(part) => part & 0xffff,
            Err(_) => panic!("a version has three numbers"),
        }
    }
    part(env!("CARGO_PKG_VERSION_MAJOR")) << 32
        | part(env!("CARGO_PKG_VERSION_MINOR")) << 16
        | part(env!("CARGO_PKG_VERSION_PATCH"))
};

/// How long rank 0 leaves a quiet listener alone.
const PAUSE: Duration = Duration::from_millis(1);
/// How often rank 0 looks whether those that have come are still there.
const LOOK: Duration = Duration::from_millis(50);
/// How many strangers may be silent at a time, beyond the ranks: the one that has been for longest has to go then.
const STRANGERS: usize = 64;

/// What a rank says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) version: u64,
    pub(super) rank: u64,
    pub(super) size: u64,
    /// The nanoseconds that it has left to wait; all bits for any.
    pub(super) left: u64,
}

/// What some bytes are the beginning of.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Part,
    Whole(Greeting),
    Stranger,
}

impl Greeting {
    pub(super) const BYTES: usize = 40;

    pub(super) fn new(rank: usize, size: usize, deadline: Deadline) -> Self {
        let nanoseconds = |left: Duration| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        Self {
            version: VERSION,
            rank: rank as u64,
            size: size as u64,
            left: deadline.left().map_or(u64::MAX, nanoseconds),
        }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        let words = [MAGIC, self.version, self.rank, self.size, self.left];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn hear(bytes: &[u8]) -> Heard {
        let known = MAGIC.to_le_bytes();
        let begun = bytes.len().min(known.len());
        if bytes[..begun] != known[..begun] {
            return Heard::Stranger;
        }
        let words: Vec<u64> = words_of(bytes).skip(1).collect();
        match words[..] {
            [VERSION, rank, size, left] => Heard::Whole(Self {
                version: VERSION,
                rank,
                size,
                left,
            }),
            // What else a greeting of another version has is not known.
            [version, rank, ..] if version != VERSION => Heard::Whole(Self {
                version,
                rank,
                size: 0,
                left: u64::MAX,
            }),
            _ => Heard::Part,
        }
    }

    /// Why it cannot be of a group.
    fn refusal(self, ranks: usize) -> Option<Refusal> {
        let ranks = ranks as u64;
        if self.version != VERSION {
            return Some(Refusal::OtherVersion {
                theirs: self.version,
                ours: VERSION,
            });
        }
        if self.size != ranks {
            return Some(Refusal::OtherSize {
                theirs: self.size,
                ours: ranks,
            });
        }
        match self.rank {
            0 => Some(Refusal::CameTwice),
            rank if rank >= ranks => Some(Refusal::NoSuchRank { ranks }),
            _ => None,
        }
    }
}

/// Someone who has connected, and has yet to say which rank it is.
struct Newcomer {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Newcomer {
    /// What it has said so far; nothing more is read than a greeting has.
    fn listen(&mut self) -> Heard {
        let mut bytes = [0; Greeting::BYTES];
        match self.stream.read(&mut bytes[self.heard.len()..]) {
            Ok(0) => return Heard::Stranger,
            Ok(count) => self.heard.extend_from_slice(&bytes[self.heard.len()..][..count]),
            Err(error) if is_for_now(&error) => {}
            Err(_) => return Heard::Stranger,
        }
        Greeting::hear(&self.heard)
    }
}

/// What rank 0 knows while the others come.
pub(super) struct Reception {
    size: usize,
    limit: Duration,
    began: Instant,
    /// The earliest of all ranks' that are there.
    deadline: Deadline,
    /// The other ranks, in their order.
    seats: Vec<Option<Peer>>,
    newcomers: Vec<Newcomer>,
}

impl Reception {
    pub(super) fn new(size: usize, limit: Duration) -> Self {
        Self {
            size,
            limit,
            began: Instant::now(),
            deadline: Deadline::after(limit),
            seats: (1..size).map(|_| None).collect(),
            newcomers: Vec::new(),
        }
    }

    /// Waits for all ranks, and tells them that all have come; or why not.
    pub(super) fn receive(mut self, listener: &TcpListener) -> Result<Vec<Peer>, CollectiveError> {
        let received = self.wait(listener);
        let deadline = Deadline::after(LOOK);
        let mut peers: Vec<(usize, Peer)> = self
            .seats
            .into_iter()
            .enumerate()
            .filter_map(|(seat, peer)| Some((seat + 1, peer?)))
            .collect();
        let welcomed = received.and_then(|()| {
            let mut welcome = Vec::new();
            Frame::put_words(&[], &mut welcome);
            let mut tell = |(rank, peer): &mut (usize, Peer)| {
                let gone = *rank;
                peer.send(&welcome, deadline)
                    .map_err(|_| CollectiveError::Gone { gone })
            };
            peers.iter_mut().try_for_each(&mut tell)
        });
        if let Err(error) = &welcomed {
            tell_all(peers.iter_mut().map(|(_, peer)| peer), error);
        }
        welcomed.map(|()| peers.into_iter().map(|(_, peer)| peer).collect())
    }

    fn wait(&mut self, listener: &TcpListener) -> Result<(), CollectiveError> {
        listener
            .set_nonblocking(true)
            .map_err(|error| super::connection(0, &error))?;
        let mut looked = Instant::now();
        while self.seats.iter().any(Option::is_none) {
            let is_quiet = !self.accept(listener);
            self.listen()?;
            let beyond = self.newcomers.len().saturating_sub(self.room());
            self.newcomers.drain(..beyond);
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                self.look()?;
            }
            let is_complete = self.seats.iter().all(Option::is_some);
            if !is_complete && self.deadline.is_past() {
                return Err(self.late());
            }
            if !is_complete && is_quiet {
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// How many may be silent at a time.
    fn room(&self) -> usize {
        self.size.saturating_add(STRANGERS)
    }

    /// Lets in those that have connected, and says whether there were any. A rank may stand behind many strangers, or find no room
    /// among those that wait for that, and come again later: so as many as there is room for here come in before anybody is heard.
    fn accept(&mut self, listener: &TcpListener) -> bool {
        for count in 0..self.room() {
            // That one connection fails, or that there is no room for it now, is none of the ranks' business.
            let Ok((stream, _)) = listener.accept() else {
                return count > 0;
            };
            if stream.set_nonblocking(true).is_ok() {
                let heard = Vec::with_capacity(Greeting::BYTES);
                self.newcomers.push(Newcomer { stream, heard });
            }
        }
        true
    }

    /// Hears all that were not heard to the end.
    fn listen(&mut self) -> Result<(), CollectiveError> {
        for mut newcomer in std::mem::take(&mut self.newcomers) {
            match newcomer.listen() {
                Heard::Part => self.newcomers.push(newcomer),
                Heard::Stranger => {}
                Heard::Whole(greeting) => self.seat(greeting, newcomer.stream)?,
            }
        }
        Ok(())
    }

    fn seat(&mut self, greeting: Greeting, stream: TcpStream) -> Result<(), CollectiveError> {
        // A connection that is closed already was a rank's all the same.
        let gone = |_: io::Error| CollectiveError::Gone {
            gone: usize::try_from(greeting.rank).unwrap_or(usize::MAX),
        };
        let mut peer = Peer::new(stream).map_err(gone)?;
        let seat = greeting.rank.wrapping_sub(1) as usize;
        let taken = || {
            self.seats
                .get(seat)
                .is_some_and(Option::is_some)
                .then_some(Refusal::CameTwice)
        };
        if let Some(refusal) = greeting.refusal(self.size).or_else(taken) {
            let error = CollectiveError::Refused {
                rank: greeting.rank,
                refusal,
            };
            tell_all([&mut peer].into_iter(), &error);
            return Err(error);
        }
        if greeting.left < u64::MAX {
            let theirs = Deadline::after(Duration::from_nanos(greeting.left));
            let is_earlier = self
                .deadline
                .instant()
                .is_none_or(|ours| theirs.instant().is_some_and(|theirs| theirs < ours));
            self.deadline = if is_earlier { theirs } else { self.deadline };
        }
        if let Some(free) = self.seats.get_mut(seat) {
            *free = Some(peer);
        }
        Ok(())
    }

    /// Finds ranks that came and died.
    fn look(&self) -> Result<(), CollectiveError> {
        let lost = |peer: &Option<Peer>| peer.as_ref().is_some_and(Peer::is_lost);
        match self.seats.iter().position(lost) {
            Some(seat) => Err(CollectiveError::Gone { gone: seat + 1 }),
            None => Ok(()),
        }
    }

    fn late(&self) -> CollectiveError {
        let absent = self.seats.iter().enumerate().filter(|(_, peer)| peer.is_none());
        CollectiveError::Late {
            rank: 0,
            // Less, if another rank has less patience.
            limit: self.limit.min(self.began.elapsed()),
            missing: absent.map(|(seat, _)| seat + 1).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_heard_however_it_is_cut_and_nothing_else_is() {
        let greeting = Greeting::new(3, 8, Deadline::after(Duration::from_secs(9)));
        let bytes = greeting.bytes();
        assert_eq!(bytes.len(), Greeting::BYTES);
        for end in 0..bytes.len() {
            assert_eq!(Greeting::hear(&bytes[..end]), Heard::Part, "{end}");
        }
        assert_eq!(Greeting::hear(&bytes), Heard::Whole(greeting));
        for stranger in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01",
            b"\0",
            b"TWrank\n",
            b"SSH-2.0-",
        ] {
            assert_eq!(Greeting::hear(stranger), Heard::Stranger, "{stranger:?}");
        }
        let later = Greeting {
            version: VERSION + 1,
            ..greeting
        };
        assert_eq!(Greeting::hear(&later.bytes()[..23]), Heard::Part);
        let heard = Greeting::hear(&later.bytes()[..24]);
        assert!(matches!(heard, Heard::Whole(Greeting { rank: 3, version, .. }) if version == VERSION + 1));
    }

    /// Whatever comes is refused, a part, or a greeting that says which rank of which group it is.
    #[test]
    fn damaged_greetings_seat_nobody_who_is_not_of_the_group() {
        let mut random = fastrand::Rng::with_seed(11);
        let whole = Greeting::new(1, 2, Deadline::after(Duration::MAX)).bytes();
        for _ in 0..100_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..4) {
                bytes[random.usize(..Greeting::BYTES)] = random.u8(..);
            }
            let end = random.usize(..=Greeting::BYTES);
            if let Heard::Whole(greeting) = Greeting::hear(&bytes[..end]) {
                let is_it = (greeting.version, greeting.rank, greeting.size) == (VERSION, 1, 2);
                assert_eq!(greeting.refusal(2).is_none(), is_it, "{greeting:?}");
            }
        }
        for word in [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 32] {
            let huge = Greeting {
                version: VERSION,
                rank: word,
                size: word,
                left: word,
            };
            assert!(huge.refusal(2).is_some());
            assert!(matches!(
                Greeting { size: 2, ..huge }.refusal(2),
                Some(Refusal::NoSuchRank { .. })
            ));
        }
    }
}
