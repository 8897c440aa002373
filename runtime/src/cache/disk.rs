//! The disk cache: cubins in a folder that any number of processes share.
//!
//! A cubin is one file. It is written under a temporary name and brought to the disk before it gets its own, so that a file
//! under a cubin's name is whole whenever it is read, also after a crash. What a reader opens it can read to the end,
//! whoever removes the file meanwhile. Readers wait for nobody; writers take turns ([`Ledger`]) from making room to
//! publishing, which keeps the folder within its bytes at every moment.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::CubinKey;
use super::file::{Damage, MAX_CUBIN_BYTES, ReadError, StoredCubin, read_plain};
use super::ledger::{Ledger, PATIENCE, Turn};
use super::temporary::Temporary;
use crate::behind::STORES;

/// Files of another layout lie in another folder.
const FOLDER: &str = "cubins-1";
const EXTENSION: &str = "cubin";

/// How many cubins are stored at once behind those who made them.
const MOST_STORES: usize = 64;

/// Cubins kept in a folder, bounded in bytes, the least recently used removed first. Clones are the same cache.
///
/// Any number of threads and processes may use one folder at once, end at any moment, and find it on a file system that is
/// full, read-only or gone: whatever goes wrong is a miss, [counted](Self::counters) and told once as a `tracing` warning,
/// and never an error. A damaged file is removed where that is possible. Whoever may write the folder decides what runs on
/// the GPU: checksums find damage, not malice.
///
/// ```
/// use tilewright_runtime::cache::{CubinKey, DiskCache, StoredCubin};
/// use tilewright_runtime::compile::{Architecture, CompileOptions, Cubin};
///
/// let folder = tempfile::tempdir()?;
/// let cache = DiskCache::at(folder.path()).bytes(64 << 20);
/// let architecture = Architecture::new(9, 0);
/// let key = CubinKey::of("the source", "copy", &CompileOptions::new(architecture));
/// assert!(cache.get(&key, "nvrtc 1").is_none());
///
/// let (bytes, log) = (b"machine code".as_slice().into(), String::new());
/// let cubin = Cubin { bytes, architecture, log };
/// let stored = StoredCubin { key, compiler: "nvrtc 1".into(), name: "copy".into(), cubin };
/// cache.put(&stored);
/// assert_eq!(cache.get(&key, "nvrtc 1"), Some(stored));
/// assert!(cache.get(&key, "nvrtc 2").is_none(), "of another compiler");
/// assert_eq!(cache.counters().hits, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct DiskCache {
    /// `None` if no folder could be told.
    folder: Option<PathBuf>,
    bytes: u64,
    read_only: bool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    tally: Tally,
    /// Whether this process has looked at every file once: what others have removed, and what a crash has left, shows then.
    looked: AtomicBool,
    /// Whether the last wait for a turn was in vain: the next is short, so that not every cubin is waited for.
    is_stuck: AtomicBool,
    told_damage: AtomicBool,
    told_failure: AtomicBool,
}

#[derive(Default)]
struct Tally {
    hits: AtomicU64,
    misses: AtomicU64,
    stores: AtomicU64,
    evictions: AtomicU64,
    damaged: AtomicU64,
    failures: AtomicU64,
    bytes: AtomicU64,
}

/// How often what happened to a disk cache in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskCounters {
    /// Cubins found.
    pub hits: u64,
    /// Cubins not found, for whatever reason.
    pub misses: u64,
    /// Cubins published: one that another process published first is not.
    pub stores: u64,
    /// Cubins removed to make room.
    pub evictions: u64,
    /// Files that were not what they should be.
    pub damaged: u64,
    /// What else the file system refused.
    pub failures: u64,
    /// The bytes of the cubins in the folder, when this process last published one.
    pub bytes: u64,
}

impl DiskCache {
    /// The most bytes that a cache holds unless [`bytes`](Self::bytes) says otherwise: 256 MiB.
    pub const DEFAULT_BYTES: u64 = 256 << 20;

    /// A cache in a folder, which is made when something is put there. A relative path begins at the current folder of now.
    pub fn at(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: std::path::absolute(folder).ok(),
            bytes: Self::DEFAULT_BYTES,
            read_only: false,
            shared: Arc::default(),
        }
    }

    /// The user's: `$XDG_CACHE_HOME/tilewright`, or `$HOME/.cache/tilewright`. If neither is there, all of it misses.
    pub fn of_user() -> Self {
        use etcetera::base_strategy::{BaseStrategy, Xdg};
        match Xdg::new() {
            Ok(user) => Self::at(user.cache_dir().join("tilewright")),
            Err(_) => Self::at(""),
        }
    }

    /// The most bytes that its cubins may have together. A smaller bound than that of others who use the folder counts when
    /// this one puts something there.
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Changes nothing in the folder, not even the times of its files: for folders that others fill.
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// The folder, as it was given to [`at`](Self::at); `None` if that was no path.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// How often what happened in this process. No lock is taken.
    pub fn counters(&self) -> DiskCounters {
        let Tally {
            hits,
            misses,
            stores,
            evictions,
            damaged,
            failures,
            bytes,
        } = &self.shared.tally;
        DiskCounters {
            hits: hits.load(Relaxed),
            misses: misses.load(Relaxed),
            stores: stores.load(Relaxed),
            evictions: evictions.load(Relaxed),
            damaged: damaged.load(Relaxed),
            failures: failures.load(Relaxed),
            bytes: bytes.load(Relaxed),
        }
    }

    /// The cubin of a key that a compiler made, if it is there and whole.
    pub fn get(&self, key: &CubinKey, compiler: &str) -> Option<StoredCubin> {
        self.counted(self.read(key, compiler))
    }

    /// The cubin of a key, whatever compiler made it: for machines that have none. It looks through the whole folder.
    pub fn get_of_any_compiler(&self, key: &CubinKey) -> Option<StoredCubin> {
        let named = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&key.to_hex()))
        };
        let folder = self.usable();
        let paths = folder.as_ref().map_or_else(Vec::new, |folder| self.list(folder));
        let mut found = paths.iter().filter(|path| named(path)).map(|path| self.whole(path));
        let found = found.find_map(|found| found.filter(|(_, stored)| stored.key == *key));
        self.counted(folder.zip(found))
    }

    fn read(&self, key: &CubinKey, compiler: &str) -> Option<(PathBuf, (File, StoredCubin))> {
        let folder = self.usable()?;
        let found = self.whole(&folder.join(file_name(key, compiler)))?;
        Some((folder, found))
    }

    /// Counts what was found or not, and notes that it was used.
    fn counted(&self, found: Option<(PathBuf, (File, StoredCubin))>) -> Option<StoredCubin> {
        let tally = &self.shared.tally;
        let counter = if found.is_some() { &tally.hits } else { &tally.misses };
        counter.fetch_add(1, Relaxed);
        let (folder, (file, stored)) = found?;
        if !self.read_only {
            // Where it cannot be written, the order of use is not noted, and nothing is removed either.
            let _ = Ledger::open(&folder).and_then(|ledger| file.set_modified(ledger.stamp()?));
        }
        Some(stored)
    }

    /// The cubin of a file, if it is whole and the one that the file's name says.
    fn whole(&self, path: &Path) -> Option<(File, StoredCubin)> {
        let named = |stored: &StoredCubin| {
            let name = file_name(&stored.key, &stored.compiler);
            path.file_name().is_some_and(|found| *found == *name)
        };
        match read(path) {
            Ok(found) if named(&found.1) => return Some(found),
            Ok(_) => self.damaged(path, &Damage::OtherCubin),
            Err(ReadError::Damaged(damage)) => self.damaged(path, &damage),
            // Others may remove files at any moment.
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(ReadError::Io(error)) => self.failed(path, &error),
        }
        None
    }

    /// Keeps a cubin, unless it is there already. It waits for the disk, which takes milliseconds.
    pub fn put(&self, stored: &StoredCubin) {
        if self.read_only {
            return;
        }
        let Some(folder) = self.usable() else { return };
        match self.publish(&folder, stored) {
            Ok(true) => {
                self.shared.tally.stores.fetch_add(1, Relaxed);
            }
            Ok(false) => {}
            Err(error) => self.failed(&folder, &error),
        }
    }

    /// The same, without waiting: what is stored when the process ends is waited for then, for a second at most.
    pub fn put_behind(&self, stored: StoredCubin) {
        // Whoever makes it faster than a disk takes it has to wait at last.
        if STORES.under_way() >= MOST_STORES {
            self.put(&stored);
            return;
        }
        let cache = self.clone();
        if let Err(error) = STORES.spawn(move || cache.put(&stored)) {
            self.failed(self.folder().unwrap_or(Path::new("")), &error);
        }
    }

    /// Returns whether it was this call that published the cubin.
    fn publish(&self, folder: &Path, stored: &StoredCubin) -> io::Result<bool> {
        let path = folder.join(file_name(&stored.key, &stored.compiler));
        if read(&path).is_ok() {
            return Ok(false);
        }
        let bytes = stored.encode()?;
        let length = bytes.len() as u64;
        if length > self.bytes {
            let bound = self.bytes;
            return Err(io::Error::other(format!(
                "a cubin of {length} bytes is more than the cache's {bound}"
            )));
        }
        DirBuilder::new().recursive(true).create(folder)?;
        let temporary = Temporary::write(folder, &bytes)?;
        let ledger = Ledger::open(folder)?;
        let turn = self.turn(&ledger)?;
        if read(&path).is_ok() {
            return Ok(false);
        }
        self.make_room(folder, &turn, length)?;
        temporary.file().set_modified(ledger.stamp()?)?;
        temporary.rename(&path)?;
        drop(turn);
        // What the name is, the disk has to know too.
        File::open(folder)?.sync_all()?;
        Ok(true)
    }

    fn turn<'a>(&self, ledger: &'a Ledger) -> io::Result<Turn<'a>> {
        let patience = match self.shared.is_stuck.load(Relaxed) {
            false => PATIENCE,
            true => Duration::ZERO,
        };
        let turn = ledger.turn(patience);
        let timed_out = turn
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
        self.shared.is_stuck.store(timed_out, Relaxed);
        turn
    }

    /// Lets the ledger count a file that is to come, after removing what leaves no room for it. The ledger is ahead of the
    /// folder: whoever ends in between leaves a sum that is too large, which the next look at the folder puts right.
    fn make_room(&self, folder: &Path, turn: &Turn<'_>, length: u64) -> io::Result<()> {
        let known = self.shared.looked.load(Relaxed).then(|| turn.total()).flatten();
        let mut total = match known {
            Some(total) if total.saturating_add(length) <= self.bytes => total,
            _ => self.clean(folder, length)?,
        };
        total += length;
        if total > self.bytes {
            return Err(io::Error::other("old cubins cannot be removed to make room"));
        }
        turn.set_total(total)?;
        self.shared.looked.store(true, Relaxed);
        self.shared.tally.bytes.store(total, Relaxed);
        Ok(())
    }

    /// Removes what writers that ended have left and, if there is no room for so many bytes, the cubins used longest ago, an
    /// eighth more than necessary so that not every call has to. Returns the bytes of those that stay.
    fn clean(&self, folder: &Path, length: u64) -> io::Result<u64> {
        let mut cubins = Vec::new();
        let mut total = 0u64;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if Temporary::is_named(&path) {
                Temporary::reap(&path);
            }
            if path.extension().is_some_and(|extension| extension == EXTENSION)
                && let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                total += metadata.len();
                cubins.push((metadata.modified()?, path, metadata.len()));
            }
        }
        if total.saturating_add(length) <= self.bytes {
            return Ok(total);
        }
        cubins.sort_unstable();
        let wanted = (self.bytes - self.bytes / 8).saturating_sub(length);
        for (_, path, length) in cubins {
            if total <= wanted {
                break;
            }
            match fs::remove_file(&path) {
                Ok(()) => {
                    self.shared.tally.evictions.fetch_add(1, Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.failed(&path, &error);
                    continue;
                }
            }
            total -= length;
        }
        Ok(total)
    }

    /// Every cubin that is there and whole, in the order of their files' names. The rest is passed over, and counted.
    pub fn cubins(&self) -> Vec<StoredCubin> {
        let paths = self.usable().map_or_else(Vec::new, |folder| self.list(&folder));
        let found = paths.iter().filter_map(|path| self.whole(path));
        found.map(|(_, stored)| stored).collect()
    }

    /// How many cubins are there and whole, and the bytes of their files.
    pub(super) fn whole_files(&self) -> (u64, u64) {
        let paths = self.usable().map_or_else(Vec::new, |folder| self.list(&folder));
        let found = paths.iter().filter_map(|path| self.whole(path));
        let lengths = found.map(|(file, _)| file.metadata().map_or(0, |metadata| metadata.len()));
        lengths.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
    }

    /// The same folder for looking at it: nothing is changed, and what is seen is counted by itself.
    pub(super) fn reader(&self) -> Self {
        Self {
            shared: Arc::default(),
            ..self.clone().read_only()
        }
    }

    /// Writes a temporary file, which is removed, if anything is ever written and the folder is there yet.
    pub(super) fn try_to_write(&self) -> io::Result<()> {
        let Some(folder) = self.folder.as_ref().map(|folder| folder.join(FOLDER)) else {
            return Ok(());
        };
        match !self.read_only && folder.is_dir() {
            true => Temporary::write(&folder, &[0; 4096]).map(drop),
            false => Ok(()),
        }
    }

    pub(super) fn bound(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The files of cubins, in the order of their names.
    fn list(&self, folder: &Path) -> Vec<PathBuf> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries.flatten(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.failed(folder, &error);
                return Vec::new();
            }
        };
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
        paths.sort_unstable();
        paths
    }

    /// The folder of the files.
    fn usable(&self) -> Option<PathBuf> {
        let folder = self.folder.as_ref().map(|folder| folder.join(FOLDER));
        if folder.is_none() {
            let error = io::Error::other(
                "there is no folder for it: neither XDG_CACHE_HOME nor HOME is set, or its path is empty",
            );
            self.failed(Path::new(""), &error);
        }
        folder
    }

    fn damaged(&self, path: &Path, damage: &Damage) {
        self.shared.tally.damaged.fetch_add(1, Relaxed);
        let path_shown = path.display();
        match self.shared.told_damage.swap(true, Relaxed) {
            false => tracing::warn!(path = %path_shown, %damage, "a cached cubin is damaged and is compiled again"),
            true => tracing::debug!(path = %path_shown, %damage, "a cached cubin is damaged"),
        }
        if !self.read_only
            && let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            self.failed(path, &error);
        }
    }

    fn failed(&self, path: &Path, error: &io::Error) {
        self.shared.tally.failures.fetch_add(1, Relaxed);
        let path = path.display();
        match self.shared.told_failure.swap(true, Relaxed) {
            false => tracing::warn!(%path, %error, "the disk cache cannot be used as it should; kernels are compiled"),
            true => tracing::debug!(%path, %error, "the disk cache failed"),
        }
    }
}

impl fmt::Debug for DiskCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskCache")
            .field("folder", &self.folder)
            .field("bytes", &self.bytes)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// The key, and in 16 digits the compiler.
fn file_name(key: &CubinKey, compiler: &str) -> String {
    let compiler = blake3::hash(compiler.as_bytes()).to_hex();
    format!("{}-{}.{EXTENSION}", key.to_hex(), &compiler[..16])
}

fn read(path: &Path) -> Result<(File, StoredCubin), ReadError> {
    let (file, bytes) = read_plain(path, libc::O_NOFOLLOW, MAX_CUBIN_BYTES)?;
    let stored = StoredCubin::decode(&bytes).map_err(ReadError::Damaged)?;
    Ok((file, stored))
}
