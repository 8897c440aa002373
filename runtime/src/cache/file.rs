//! A cubin as bytes that can be kept anywhere: what a file of the disk cache holds, and a bundle many of.
//!
//! ```text
//!  0   8  "TWCUBIN\n"
//!  8   4  version of this layout
//! 12   4  architecture: major, minor
//! 16  32  key
//! 48   8  bytes that follow the checksum
//! 56  32  BLAKE3 of all before and all behind
//! 88      name, compiler, log and cubin, each behind its length in 4 bytes
//! ```
//!
//! Numbers are little-endian. Nothing is believed before the checksum is right, and nothing may be left over.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::CubinKey;
use crate::compile::{Architecture, Cubin};

const MAGIC: [u8; 8] = *b"TWCUBIN\n";
const VERSION: u32 = 1;
const CHECKSUM_AT: usize = 56;
const HEAD: usize = CHECKSUM_AT + 32;

/// The most bytes that one kept cubin may have: thousands of times what a kernel takes.
pub const MAX_CUBIN_BYTES: u64 = 64 << 20;

/// A cubin that is kept, with what tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCubin {
    /// What it is found by.
    pub key: CubinKey,
    /// The [identity](crate::compile::Nvrtc::identity) of the NVRTC that made it, or what tells the driver that did.
    pub compiler: String,
    /// The name of its kernel.
    pub name: String,
    /// The machine code.
    pub cubin: Cubin,
}

/// Why kept bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It begins otherwise, or is no file at all.
    #[error("it is none of Tilewright's")]
    Foreign,
    /// It has the layout of another version of Tilewright.
    #[error("it has layout {found}, and this version reads layout {expected}")]
    OtherVersion {
        /// What it says.
        found: u32,
        /// What is read.
        expected: u32,
    },
    /// It is shorter or longer than it says.
    #[error("it has {found} bytes and should have {expected}")]
    Length {
        /// The bytes that are there.
        found: u64,
        /// The bytes that there should be.
        expected: u64,
    },
    /// Some of its bytes have changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// Its checksum is right, and its parts are not.
    #[error("its parts do not fit")]
    Parts,
    /// It is whole, and another one than was asked for.
    #[error("it holds another cubin")]
    OtherCubin,
}

impl StoredCubin {
    /// The bytes to keep.
    ///
    /// # Errors
    /// There are over [`MAX_CUBIN_BYTES`].
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let Self {
            key,
            compiler,
            name,
            cubin,
        } = self;
        let parts = [name.as_bytes(), compiler.as_bytes(), cubin.log.as_bytes(), &cubin.bytes];
        let length: usize = parts.iter().map(|part| 4 + part.len()).sum();
        let Architecture { major, minor } = cubin.architecture;
        let (Ok(major), Ok(minor)) = (u16::try_from(major), u16::try_from(minor)) else {
            return Err(io::Error::other(format!("{} is no architecture", cubin.architecture)));
        };
        if (HEAD + length) as u64 > MAX_CUBIN_BYTES {
            let limit = MAX_CUBIN_BYTES >> 20;
            return Err(io::Error::other(format!("a cubin over {limit} MiB is not kept")));
        }
        let mut bytes = Vec::with_capacity(HEAD + length);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&major.to_le_bytes());
        bytes.extend_from_slice(&minor.to_le_bytes());
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(&(length as u64).to_le_bytes());
        bytes.extend_from_slice(&[0; 32]);
        for part in parts {
            // The limit above is far below 2^32.
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        let checksum = checksum(&bytes);
        bytes[CHECKSUM_AT..HEAD].copy_from_slice(checksum.as_bytes());
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) made.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut rest = Parts::behind(bytes, MAGIC, VERSION)?;
        let major = u16::from_le_bytes(rest.array()?).into();
        let minor = u16::from_le_bytes(rest.array()?).into();
        let key = CubinKey::from_bytes(rest.array()?);
        let length = u64::from_le_bytes(rest.array()?);
        let expected: [u8; 32] = rest.array()?;
        if length != rest.0.len() as u64 {
            return Err(Damage::Length {
                found: bytes.len() as u64,
                expected: length.saturating_add(HEAD as u64),
            });
        }
        if checksum(bytes) != expected {
            return Err(Damage::Checksum);
        }
        let name = rest.text()?;
        let compiler = rest.text()?;
        let log = rest.text()?;
        let code = rest.part()?;
        match rest.0 {
            [] => Ok(Self {
                key,
                compiler,
                name,
                cubin: Cubin {
                    bytes: code.into(),
                    architecture: Architecture { major, minor },
                    log,
                },
            }),
            _ => Err(Damage::Parts),
        }
    }
}

/// Of everything but the checksum's own bytes.
fn checksum(bytes: &[u8]) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    hash.update(&bytes[..CHECKSUM_AT]);
    hash.update(&bytes[HEAD..]);
    hash.finalize()
}

/// Bytes that are taken apart from the front.
pub(super) struct Parts<'a>(pub &'a [u8]);

impl<'a> Parts<'a> {
    /// What follows the mark and the version that a file begins with.
    pub fn behind<const N: usize>(bytes: &'a [u8], magic: [u8; N], expected: u32) -> Result<Self, Damage> {
        let mut rest = Self(bytes);
        if rest.array()? != magic {
            return Err(Damage::Foreign);
        }
        match u32::from_le_bytes(rest.array()?) {
            found if found != expected => Err(Damage::OtherVersion { found, expected }),
            _ => Ok(rest),
        }
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Damage::Foreign)?;
        self.0 = rest;
        Ok(*array)
    }

    fn part(&mut self) -> Result<&'a [u8], Damage> {
        let length = u32::from_le_bytes(self.array().map_err(|_| Damage::Parts)?);
        let (part, rest) = self.0.split_at_checked(length as usize).ok_or(Damage::Parts)?;
        self.0 = rest;
        Ok(part)
    }

    fn text(&mut self) -> Result<String, Damage> {
        let text = std::str::from_utf8(self.part()?).map_err(|_| Damage::Parts)?;
        Ok(text.to_owned())
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    Damaged(Damage),
}

/// The bytes of a plain file of at most so many, and the file. Nothing is waited for, and no more is read.
pub(super) fn read_plain(path: &Path, flags: i32, limit: u64) -> Result<(File, Vec<u8>), ReadError> {
    let open = OpenOptions::new()
        .read(true)
        // A pipe would wait for somebody to write.
        .custom_flags(libc::O_NONBLOCK | flags)
        .open(path);
    let file = open.map_err(|error| match error.raw_os_error() {
        // A link where none is followed, a socket, a device without a driver.
        Some(libc::ELOOP | libc::ENXIO | libc::ENODEV) => ReadError::Damaged(Damage::Foreign),
        _ => ReadError::Io(error),
    })?;
    let metadata: Metadata = file.metadata().map_err(ReadError::Io)?;
    if !metadata.is_file() {
        return Err(ReadError::Damaged(Damage::Foreign));
    }
    let found = metadata.len();
    if found > limit {
        let expected = limit;
        return Err(ReadError::Damaged(Damage::Length { found, expected }));
    }
    let mut bytes = Vec::with_capacity(found as usize + 1);
    // It may grow meanwhile.
    (&file)
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(ReadError::Io)?;
    Ok((file, bytes))
}
