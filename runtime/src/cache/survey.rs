//! What there is of a disk cache, for people.

use std::fmt;
use std::path::PathBuf;

use super::DiskCache;
use super::disk::DiskCounters;

/// What there is of a disk cache.
#[derive(Clone, Debug)]
pub struct DiskSurvey {
    /// Its folder; `None` if none could be told.
    pub folder: Option<PathBuf>,
    /// The most bytes that its cubins may have together.
    pub bound: u64,
    /// Whether this process is to change nothing in it.
    pub is_read_only: bool,
    /// How many whole cubins there are.
    pub cubins: u64,
    /// The bytes of their files.
    pub bytes: u64,
    /// Files that are not what they should be.
    pub damaged: u64,
    /// What else cannot be read.
    pub failures: u64,
    /// Why nothing can be stored in it, if that was to be tried and failed.
    pub refusal: Option<String>,
}

impl DiskCache {
    /// Looks at every file, and tries whether one can be written. Nothing is changed, and nothing counted.
    pub fn survey(&self) -> DiskSurvey {
        let reader = self.reader();
        let (cubins, bytes) = reader.whole_files();
        let DiskCounters { damaged, failures, .. } = reader.counters();
        DiskSurvey {
            folder: self.folder().map(ToOwned::to_owned),
            bound: self.bound(),
            is_read_only: self.is_read_only(),
            cubins,
            bytes,
            damaged,
            failures,
            refusal: self.try_to_write().err().map(|error| error.to_string()),
        }
    }
}

impl fmt::Display for DiskSurvey {
    /// Several lines, of which all but the first are indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        match &self.folder {
            Some(folder) => write!(f, "{}", folder.display())?,
            None => f.write_str("no folder")?,
        }
        let (cubins, plural) = (self.cubins, if self.cubins == 1 { "" } else { "s" });
        write!(
            f,
            ": {cubins} kernel{plural}, {:.1} of at most {:.1} MiB",
            mib(self.bytes),
            mib(self.bound)
        )?;
        if self.is_read_only {
            f.write_str(", read-only")?;
        }
        for (count, what) in [
            (self.damaged, "damaged, and compiled again"),
            (self.failures, "not to be read"),
        ] {
            if count > 0 {
                write!(f, "\n{:10}{count} of its files {what}", "")?;
            }
        }
        match &self.refusal {
            Some(refusal) => write!(f, "\n{:10}nothing can be stored in it: {refusal}", ""),
            None => Ok(()),
        }
    }
}
