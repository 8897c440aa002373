//! `tilewright bundle`: kernels that were compiled, as one file for servers that compile nothing.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use tilewright::dp::text;
use tilewright::runtime::cache::{Bundle, BundleBuilder, CubinCache, DiskCache, StoredCubin};
use tilewright::runtime::compile::Architecture;

use crate::error::CommandError;
use crate::output;

/// What the command line asks for.
#[derive(Args)]
#[command(group = ArgGroup::new("task").args(["list", "out"]).required(true))]
pub struct Arguments {
    /// Prints what a bundle holds: architecture, bytes, key and name of each kernel, by the compiler that made it
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Writes the kernels of a disk cache into a bundle
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The folder of the disk cache [default: that of TILEWRIGHT_CACHE, or the user's]
    #[arg(long, value_name = "FOLDER", requires = "out")]
    from: Option<PathBuf>,
    /// Only kernels for this architecture, such as sm_90; may be repeated
    #[arg(long, value_name = "ARCHITECTURE")]
    arch: Vec<Architecture>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    if let Some(file) = &arguments.list {
        let mut cubins = Bundle::open(file)?.cubins()?;
        cubins.retain(|stored| arguments.wants(stored));
        output::print(&list(file, &cubins))?;
    }
    if let Some(file) = &arguments.out {
        write(arguments, file)?;
    }
    Ok(())
}

fn write(arguments: &Arguments, file: &Path) -> Result<(), CommandError> {
    let cache = match &arguments.from {
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
    Ok(output::print(&text)?)
}

impl Arguments {
    fn wants(&self, stored: &StoredCubin) -> bool {
        self.arch.is_empty() || self.arch.contains(&stored.cubin.architecture)
    }
}

/// A number of things, as one says it.
pub fn counted(count: u64, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    }
}

/// A line for each kernel, by compiler, architecture and name.
fn list(file: &Path, cubins: &[StoredCubin]) -> String {
    let shown = |text: &str| text::shortened(text, text::VALUE);
    let bytes: usize = cubins.iter().map(|stored| stored.cubin.bytes.len()).sum();
    let mut text = format!(
        "{}: {}, {bytes} bytes of code\n",
        shown(&file.to_string_lossy()),
        counted(cubins.len() as u64, "kernel")
    );
    let mut sorted: Vec<_> = cubins.iter().collect();
    sorted.sort_by_key(|stored| (&stored.compiler, stored.cubin.architecture, &stored.name, stored.key));
    for of_compiler in sorted.chunk_by(|one, other| one.compiler == other.compiler) {
        let _ = writeln!(
            text,
            "\nby {}",
            text::shortened(&of_compiler[0].compiler, text::MESSAGE)
        );
        for stored in of_compiler {
            let (architecture, length) = (stored.cubin.architecture.to_string(), stored.cubin.bytes.len());
            let _ = writeln!(
                text,
                "  {architecture:<7} {length:>9}  {}  {}",
                stored.key,
                shown(&stored.name)
            );
        }
    }
    text
}
