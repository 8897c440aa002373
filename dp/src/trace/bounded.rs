//! A reader that stops.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};

use super::{MAX_BYTES, MAX_LINE};

/// Reads until there is too much to keep in memory: over [`MAX_BYTES`], or a line of over [`MAX_LINE`].
pub(super) struct Bounded<R> {
    reader: R,
    bytes: u64,
    line: u64,
    /// Bytes of the line so far.
    length: u64,
}

/// Where a [`Bounded`] stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum TooMuch {
    Bytes,
    Line(u64),
}

impl<R> Bounded<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            bytes: 0,
            line: 1,
            length: 0,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes += read as u64;
        if self.bytes > MAX_BYTES {
            return Err(io::Error::other(TooMuch::Bytes));
        }
        for byte in &buffer[..read] {
            match byte {
                b'\n' => (self.line, self.length) = (self.line + 1, 0),
                _ => self.length += 1,
            }
            if self.length > MAX_LINE {
                return Err(io::Error::other(TooMuch::Line(self.line)));
            }
        }
        Ok(read)
    }
}

impl TooMuch {
    /// What a reader stopped at, if that is why it failed.
    pub fn of(error: &csv::Error) -> Option<Self> {
        match error.kind() {
            csv::ErrorKind::Io(error) => error.get_ref()?.downcast_ref().copied(),
            _ => None,
        }
    }
}

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too much to keep")
    }
}

impl Error for TooMuch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_is_read_and_one_more_is_an_error() {
        let read = |bytes: &[u8]| {
            let mut reader = Bounded {
                bytes: MAX_BYTES - 4,
                ..Bounded::new(bytes)
            };
            let mut text = String::new();
            let read = reader.read_to_string(&mut text).map_err(csv::Error::from);
            read.map_err(|error| TooMuch::of(&error))
        };
        assert_eq!(read(b"1\n2\n").unwrap(), 4);
        assert!(matches!(read(b"1\n2\n3").unwrap_err(), Some(TooMuch::Bytes)));
    }
}
