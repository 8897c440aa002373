//! The kernels of a disk cache as a bundle.

use std::fmt::Write;
use std::path::Path;

use tilewright::runtime::cache::{Bundle, BundleBuilder, CubinCache, DiskCache};

use super::{Arguments, counted, list};
use crate::error::CommandError;

/// Writes the bundle, and tells what is in it.
pub fn write(arguments: &Arguments, folder: Option<&Path>, file: &Path) -> Result<String, CommandError> {
    let cache = match folder {
        Some(folder) => DiskCache::at(folder).read_only(),
        None => {
            let current = CubinCache::current();
            current.disk().ok_or(CommandError::NoCache)?.clone().read_only()
        }
    };
    let builder = BundleBuilder::new();
    let cubins = cache.cubins();
    let wanted = cubins.into_iter().filter(|stored| arguments.wants(stored));
    wanted.for_each(|stored| builder.add(stored));
    let counters = cache.counters();
    let unreadable = counters.damaged + counters.failures;
    if builder.is_empty() {
        return Err(CommandError::NothingToBundle {
            folder: cache.folder().unwrap_or(Path::new("")).to_owned(),
            unreadable,
        });
    }
    builder.write(file)?;
    let mut text = list(file, &Bundle::open(file)?.cubins()?);
    if unreadable > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "left out: {} of the cache, damaged or not to be read",
            counted(unreadable, "file")
        );
    }
    Ok(text)
}
