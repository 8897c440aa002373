//! What the search asks of a file system, so that it can be tried on any.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// A file system, as far as a search sees it.
pub(super) trait Disk {
    /// Whether there is anything of that name, a link that leads nowhere included.
    fn exists(&self, path: &Path) -> bool;

    /// Whether it is a folder, or a link to one.
    fn is_folder(&self, path: &Path) -> bool;

    /// The names in a folder, in any order; none if there is no folder.
    fn names(&self, folder: &Path) -> Vec<OsString>;

    /// The path without links; `None` if it leads nowhere.
    fn canonical(&self, path: &Path) -> Option<PathBuf>;
}

/// That of this machine.
pub(super) struct Machine;

impl Disk for Machine {
    fn exists(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok()
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn names(&self, folder: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).collect()
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        fs::canonicalize(path).ok()
    }
}
