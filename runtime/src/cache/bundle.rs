//! Bundles: many cubins in one file, for servers that compile nothing.
//!
//! ```text
//!  0   8  "TWBUNDLE"
//!  8   4  version of this layout
//! 12   4  number of cubins
//! 16  32  BLAKE3 of the 16 bytes before and of the index
//! 48      the index: for each cubin, in the order of their keys, its key (32), where it begins (8) and its bytes (8)
//!         the cubins, each as a file of the disk cache has it, with its own checksum
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::CubinKey;
use super::file::{Damage, Parts, ReadError, StoredCubin, read_plain};
use super::lookup::{CubinCache, Origin};
use super::temporary::write_whole;
use crate::compile::{CompileError, CompileOptions};

const MAGIC: [u8; 8] = *b"TWBUNDLE";
const VERSION: u32 = 1;
const CHECKSUM_AT: usize = 16;
const HEAD: usize = CHECKSUM_AT + 32;
const ENTRY: usize = 32 + 8 + 8;

/// The most bytes of a bundle: some hundred thousand kernels.
pub const MAX_BUNDLE_BYTES: u64 = 2 << 30;

/// Cubins that were compiled before, by key. A cubin is found whatever compiler made it, and none has to be installed.
///
/// Its index is checked when it is opened, a cubin when it is asked for, so that damage to one leaves the others usable.
///
/// ```
/// use tilewright_runtime::cache::{Bundle, BundleBuilder, CubinCache, CubinKey};
/// use tilewright_runtime::compile::{Architecture, CompileOptions};
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("kernels.bundle");
/// let source = "extern \"C\" __global__ void idle() {}";
/// let hopper = CompileOptions::new(Architecture::new(9, 0));
///
/// // Where kernels are compiled: NVRTC is needed, a GPU is not.
/// let builder = BundleBuilder::new();
/// if builder.compile(source, "idle", &hopper).is_ok() {
///     builder.write(&file)?;
///
///     // Where they run: no NVRTC is needed.
///     let bundle = Bundle::open(&file)?;
///     let key = CubinKey::of(source, "idle", &hopper);
///     assert_eq!(bundle.get(&key)?.map(|stored| stored.name).as_deref(), Some("idle"));
///     CubinCache::new().with_bundle(bundle).install();
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Bundle {
    /// Where it came from, for messages.
    origin: PathBuf,
    bytes: Cow<'static, [u8]>,
    /// Sorted by key.
    index: Vec<(CubinKey, Range<usize>)>,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file failed.
    #[error("cannot {action} the bundle {}: {source}", path.display())]
    Io {
        /// What was done: read or write.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("the bundle {} cannot be used: {reason}. Build it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Damage,
    },
    /// It would have more than [`MAX_BUNDLE_BYTES`].
    #[error("{cubins} cubins of {bytes} bytes are more than a bundle holds: make one for each architecture")]
    TooLarge {
        /// How many cubins.
        cubins: usize,
        /// The bytes of all.
        bytes: u64,
    },
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// The file cannot be read, is no plain file, or has an index that is damaged or of another version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BundleError> {
        let path = path.as_ref();
        match read_plain(path, 0, MAX_BUNDLE_BYTES) {
            Ok((_, bytes)) => Self::read(path.to_owned(), bytes.into()),
            Err(ReadError::Io(source)) => Err(BundleError::Io {
                action: "read",
                path: path.to_owned(),
                source,
            }),
            Err(ReadError::Damaged(reason)) => Err(BundleError::Damaged {
                path: path.to_owned(),
                reason,
            }),
        }
    }

    /// A bundle that is in memory, such as one that the program includes.
    ///
    /// # Errors
    /// Its index is damaged or of another version.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, BundleError> {
        Self::read("in memory".into(), bytes.into())
    }

    fn read(origin: PathBuf, bytes: Cow<'static, [u8]>) -> Result<Self, BundleError> {
        match index(&bytes) {
            Ok(index) => Ok(Self { origin, bytes, index }),
            Err(reason) => Err(BundleError::Damaged { path: origin, reason }),
        }
    }

    /// How many cubins it holds.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The keys of its cubins, in order.
    pub fn keys(&self) -> impl Iterator<Item = CubinKey> + '_ {
        self.index.iter().map(|(key, _)| *key)
    }

    /// The cubin of a key; `None` if it has none of that key.
    ///
    /// # Errors
    /// That cubin is damaged.
    pub fn get(&self, key: &CubinKey) -> Result<Option<StoredCubin>, BundleError> {
        let Ok(at) = self.index.binary_search_by_key(key, |(key, _)| *key) else {
            return Ok(None);
        };
        let damaged = |reason| BundleError::Damaged {
            path: self.origin.clone(),
            reason,
        };
        let bytes = &self.bytes[self.index[at].1.clone()];
        let stored = StoredCubin::decode(bytes).map_err(damaged)?;
        match stored.key == *key {
            true => Ok(Some(stored)),
            false => Err(damaged(Damage::OtherCubin)),
        }
    }

    /// All of its cubins, in the order of their keys.
    ///
    /// # Errors
    /// One of them is damaged.
    pub fn cubins(&self) -> Result<Vec<StoredCubin>, BundleError> {
        let found = self.keys().map(|key| self.get(&key));
        found.filter_map(Result::transpose).collect()
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({}, {} cubins)", self.origin.display(), self.len())
    }
}

/// The index, whose ranges are within the bytes.
fn index(bytes: &[u8]) -> Result<Vec<(CubinKey, Range<usize>)>, Damage> {
    let mut rest = Parts::behind(bytes, MAGIC, VERSION)?;
    let count = u32::from_le_bytes(rest.array()?);
    let expected: [u8; 32] = rest.array()?;
    let end = HEAD as u64 + u64::from(count) * ENTRY as u64;
    let found = bytes.len() as u64;
    if end > found {
        return Err(Damage::Length { found, expected: end });
    }
    let end = end as usize;
    if checksum(bytes, end) != expected {
        return Err(Damage::Checksum);
    }
    let mut entries = Parts(&bytes[HEAD..end]);
    let mut index = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let key = CubinKey::from_bytes(entries.array()?);
        let start = u64::from_le_bytes(entries.array()?);
        let length = u64::from_le_bytes(entries.array()?);
        let behind = start.checked_add(length).ok_or(Damage::Parts)?;
        if behind > found {
            return Err(Damage::Length {
                found,
                expected: behind,
            });
        }
        if index.last().is_some_and(|(last, _)| *last >= key) {
            return Err(Damage::Parts);
        }
        index.push((key, start as usize..behind as usize));
    }
    Ok(index)
}

/// Of the head, without the checksum's own bytes, and of the index up to its end.
fn checksum(bytes: &[u8], end: usize) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    hash.update(&bytes[..CHECKSUM_AT]);
    hash.update(&bytes[HEAD..end]);
    hash.finalize()
}

/// What becomes a bundle. Clones are the same one; any number of threads may add to it at once.
#[derive(Clone, Default)]
pub struct BundleBuilder {
    cubins: Arc<Mutex<BTreeMap<CubinKey, StoredCubin>>>,
}

impl BundleBuilder {
    /// One without cubins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compiles a source for the bundle, unless it has it already. No GPU is needed; what the process's
    /// [`CubinCache`] has is taken from there.
    ///
    /// # Errors
    /// It does not compile, or there is no NVRTC.
    pub fn compile(&self, source: &str, name: &str, options: &CompileOptions) -> Result<CubinKey, CompileError> {
        Ok(self.compiled(source, name, options)?.0)
    }

    /// The same, and where the cubin came from: this bundle is one.
    pub(crate) fn compiled(
        &self,
        source: &str,
        name: &str,
        options: &CompileOptions,
    ) -> Result<(CubinKey, Origin), CompileError> {
        let key = CubinKey::of(source, name, options);
        if self.cubins.lock().contains_key(&key) {
            return Ok((key, Origin::Bundle));
        }
        let (stored, origin) = CubinCache::current().stored(source, name, options)?;
        self.add(stored);
        Ok((key, origin))
    }

    /// The keys of its cubins, in order.
    pub fn keys(&self) -> Vec<CubinKey> {
        self.cubins.lock().keys().copied().collect()
    }

    /// Adds a cubin, in place of one of the same key.
    pub fn add(&self, stored: StoredCubin) {
        self.cubins.lock().insert(stored.key, stored);
    }

    /// How many cubins there are.
    pub fn len(&self) -> usize {
        self.cubins.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the bundle. The same cubins give the same bytes.
    ///
    /// # Errors
    /// They are too many.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        let cubins = self.cubins.lock();
        let too_large = |bytes| BundleError::TooLarge {
            cubins: cubins.len(),
            bytes,
        };
        let encoded: Result<Vec<_>, _> = cubins.values().map(StoredCubin::encode).collect();
        let encoded = encoded.map_err(|_| too_large(u64::MAX))?;
        let start = HEAD + encoded.len() * ENTRY;
        let length = start as u64 + encoded.iter().map(|cubin| cubin.len() as u64).sum::<u64>();
        let count = u32::try_from(encoded.len()).map_err(|_| too_large(length))?;
        if length > MAX_BUNDLE_BYTES {
            return Err(too_large(length));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&[0; 32]);
        let mut at = start as u64;
        for (key, cubin) in cubins.keys().zip(&encoded) {
            bytes.extend_from_slice(key.as_bytes());
            bytes.extend_from_slice(&at.to_le_bytes());
            bytes.extend_from_slice(&(cubin.len() as u64).to_le_bytes());
            at += cubin.len() as u64;
        }
        let checksum = checksum(&bytes, start);
        bytes[CHECKSUM_AT..HEAD].copy_from_slice(checksum.as_bytes());
        encoded.iter().for_each(|cubin| bytes.extend_from_slice(cubin));
        Ok(bytes)
    }

    /// Writes the bundle, as a whole or not at all: a server that has the old one open keeps it.
    ///
    /// # Errors
    /// There are too many cubins, or the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), BundleError> {
        let path = path.as_ref();
        write_whole(path, &self.to_bytes()?).map_err(|source| BundleError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }
}

impl fmt::Debug for BundleBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleBuilder({} cubins)", self.len())
    }
}
