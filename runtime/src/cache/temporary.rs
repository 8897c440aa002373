//! Files on their way to their names.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;

const PREFIX: &str = ".tilewright-";
const SUFFIX: &str = ".tmp";

/// A file that is on the disk as a whole, under a name that nobody looks for. It is locked for as long as it has a writer,
/// which tells what a process has left behind that was ended.
pub(super) struct Temporary(NamedTempFile);

impl Temporary {
    /// Writes one, and waits until it is on the disk.
    pub fn write(folder: &Path, bytes: &[u8]) -> io::Result<Self> {
        let mut file = Self::locked(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(Self(file))
    }

    fn locked(folder: &Path) -> io::Result<NamedTempFile> {
        /// Whoever removes what was left behind may take the file before it is locked, so seldom that twice says something.
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            let file = named(folder)?;
            match file.as_file().try_lock() {
                Ok(()) if file.as_file().metadata()?.nlink() > 0 => return Ok(file),
                Ok(()) | Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("temporary files are removed as soon as they are made"))
    }

    pub fn file(&self) -> &File {
        self.0.as_file()
    }

    /// Gives it its name, whatever had that before.
    pub fn rename(self, path: &Path) -> io::Result<()> {
        self.0.persist(path).map(|_| ()).map_err(|error| error.error)
    }

    /// Whether a file has the name of a temporary one.
    pub fn is_named(path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
    }

    /// Removes one that no writer holds.
    pub fn reap(path: &Path) {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
            .open(path);
        // It stays locked until its name is gone. If it fails, the next look at the folder tries again.
        if let Ok(file) = &file
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn named(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(SUFFIX)
        // The system takes away what the user's mask says.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
}

/// Writes a plain file as a whole or not at all, and waits until it is on the disk.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A device would be replaced by a file of its name.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::other("it is there and no plain file"));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = named(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
