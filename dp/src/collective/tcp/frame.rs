//! What goes over a connection once it is greeted: frames of words, each with one word before it that says what it is.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tilewright_runtime::Deadline;

/// The most words that a rank shows at once.
pub(super) const MOST_WORDS: usize = 1 << 20;

/// The most words that all ranks together show at once.
pub(super) const MOST_WORDS_OF_ALL: usize = 1 << 24;

/// What has arrived is read even if the time is just over.
const GRACE: Duration = Duration::from_millis(1);

/// The upper half of the word before a frame; the lower one is how many words come.
const WORDS: u32 = 0x7477_0001;
const FAILURE: u32 = 0x7477_0002;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// What a rank shows.
    Words(Vec<u64>),
    /// Why there is nothing to show, as [`failure`](super::failure) writes it.
    Failure(Vec<u64>),
}

impl Frame {
    /// Appends what is sent for words.
    pub(super) fn put_words(words: &[u64], bytes: &mut Vec<u8>) {
        put(WORDS, words, bytes);
    }

    /// What is sent for a failure.
    pub(super) fn failure(words: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(FAILURE, words, &mut bytes);
        bytes
    }
}

fn put(kind: u32, words: &[u64], bytes: &mut Vec<u8>) {
    bytes.reserve(8 * (words.len() + 1));
    let head = u64::from(kind) << 32 | words.len() as u64;
    bytes.extend(std::iter::once(&head).chain(words).flat_map(|word| word.to_le_bytes()));
}

/// Words of bytes; an incomplete one at the end is left out.
pub(super) fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word))
}

/// Bytes that have arrived, and the frames in them. It never holds room for more than has arrived.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    bytes: Vec<u8>,
    /// Those of them that were taken.
    taken: usize,
}

impl Arrived {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// What is there is the beginning of none.
    pub(super) fn take(&mut self) -> io::Result<Option<Frame>> {
        let rest = &self.bytes[self.taken..];
        let Some(head) = words_of(rest).next() else {
            return Ok(None);
        };
        let (kind, count) = ((head >> 32) as u32, (head & u64::from(u32::MAX)) as usize);
        if !matches!(kind, WORDS | FAILURE) || count > MOST_WORDS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let bytes = 8 * (count + 1);
        let Some(frame) = rest.get(8..bytes) else {
            return Ok(None);
        };
        let words = words_of(frame).collect();
        self.taken += bytes;
        Ok(Some(match kind {
            WORDS => Frame::Words(words),
            _ => Frame::Failure(words),
        }))
    }
}

/// A greeted connection. A message that is small is one call of the system, on either side.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    arrived: Arrived,
    /// How long the system waits at most, for reading and for writing.
    allowed: Option<Option<Duration>>,
}

impl Peer {
    /// A connection that blocks from now on, and sends everything at once.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            arrived: Arrived::default(),
            allowed: None,
        })
    }

    /// Whether the other side has closed the connection, or speaks before it may.
    pub(super) fn is_lost(&self) -> bool {
        let looked = self.stream.set_nonblocking(true).and_then(|()| {
            let looked = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            looked
        });
        !matches!(looked, Err(error) if is_for_now(&error))
    }

    /// Sends bytes until the deadline.
    pub(super) fn send(&mut self, mut bytes: &[u8], deadline: Deadline) -> io::Result<()> {
        let deadline = or_grace(deadline);
        while !bytes.is_empty() {
            self.allow(deadline)?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_for_now(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next frame, if it comes before the deadline, however little comes at a time.
    pub(super) fn receive(&mut self, deadline: Deadline) -> io::Result<Frame> {
        let deadline = or_grace(deadline);
        let mut chunk = [0; 1 << 13];
        loop {
            if let Some(frame) = self.arrived.take()? {
                return Ok(frame);
            }
            self.allow(deadline)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.arrived.push(&chunk[..count]),
                Err(error) if is_for_now(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets the system wait no longer than to the deadline, or an eighth of the time beyond: then nothing has to be told to
    /// it anew for each message.
    fn allow(&mut self, deadline: Deadline) -> io::Result<()> {
        let left = deadline.left();
        // A time of zero would mean none to the system.
        if left.is_some_and(|left| left.is_zero()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let fits = match (self.allowed, left) {
            (Some(None), None) => true,
            (Some(Some(allowed)), Some(left)) => allowed <= left.saturating_add(left / 8) && allowed >= left / 8,
            _ => false,
        };
        if !fits {
            self.stream.set_read_timeout(left)?;
            self.stream.set_write_timeout(left)?;
            self.allowed = Some(left);
        }
        Ok(())
    }
}

/// Whether another try may succeed.
pub(super) fn is_for_now(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// A deadline that leaves time to look once.
pub(super) fn or_grace(deadline: Deadline) -> Deadline {
    match deadline.left() {
        Some(left) => Deadline::after(left.max(GRACE)),
        None => deadline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            match frame {
                Frame::Words(words) => Frame::put_words(words, &mut bytes),
                Frame::Failure(words) => bytes.extend(Frame::failure(words)),
            }
        }
        bytes
    }

    #[test]
    fn frames_arrive_whole_however_they_are_cut() {
        let frames = [
            Frame::Words(vec![]),
            Frame::Words(vec![7, u64::MAX]),
            Frame::Failure(vec![1, 2, 3]),
            Frame::Words((0..3000).collect()),
        ];
        let bytes = sent(&frames);
        for piece in [1, 3, 8, 9, 8192, bytes.len()] {
            let mut arrived = Arrived::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(piece) {
                arrived.push(piece);
                while let Some(frame) = arrived.take().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames, "{piece}");
        }
    }

    /// Whatever comes is a frame, the beginning of one, or an error: no panic, and no room for what did not come.
    #[test]
    fn damaged_frames_take_no_more_room_than_they_have_bytes() {
        let mut random = fastrand::Rng::with_seed(7);
        let frames = [
            Frame::Words(vec![1, 2, 3]),
            Frame::Failure(vec![4]),
            Frame::Words(vec![]),
        ];
        let whole = sent(&frames);
        let mut refused = 0;
        for _ in 0..100_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(..=bytes.len()));
            let mut arrived = Arrived::default();
            arrived.push(&bytes);
            let mut words = 0;
            loop {
                match arrived.take() {
                    Ok(Some(Frame::Words(more) | Frame::Failure(more))) => words += more.len() + 1,
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                        refused += 1;
                        break;
                    }
                }
            }
            assert!(8 * words <= bytes.len());
        }
        assert!(refused > 1000, "{refused}");
    }

    #[test]
    fn lengths_beyond_the_bound_are_refused_at_once() {
        for count in [MOST_WORDS as u64 + 1, u64::from(u32::MAX), 1 << 31] {
            let mut arrived = Arrived::default();
            arrived.push(&(u64::from(WORDS) << 32 | count).to_le_bytes());
            assert_eq!(
                arrived.take().unwrap_err().kind(),
                io::ErrorKind::InvalidData,
                "{count}"
            );
        }
        let mut arrived = Arrived::default();
        arrived.push(&u64::MAX.to_le_bytes());
        assert!(arrived.take().is_err());
    }
}
