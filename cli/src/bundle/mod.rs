//! `tilewright bundle`: compiled kernels as one file, for servers that compile nothing.

mod engine;
mod pack;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use engine::EngineArguments;
pub use engine::parser;
use tilewright::dp::text;
use tilewright::runtime::cache::{Bundle, StoredCubin};
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
    /// Compiles the kernels of an engine's steps into a bundle, for the GPUs of --arch, none of which need be here; with
    /// --from, writes those of a disk cache into it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Takes the kernels of a disk cache instead [default folder: that of TILEWRIGHT_CACHE, or the user's]
    #[arg(long, value_name = "FOLDER", requires = "out")]
    from: Option<Option<PathBuf>>,
    /// For which architectures to compile, such as sm_90; only their kernels, with --list and --from
    #[arg(
        long,
        value_name = "ARCHITECTURE",
        value_delimiter = ',',
        required_unless_present_any = ["list", "from"]
    )]
    arch: Vec<Architecture>,
    #[command(flatten)]
    engine: EngineArguments,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    if let Some(file) = &arguments.list {
        let mut cubins = Bundle::open(file)?.cubins()?;
        cubins.retain(|stored| arguments.wants(stored));
        output::print(&list(file, &cubins))?;
    }
    if let Some(file) = &arguments.out {
        let text = match &arguments.from {
            Some(folder) => pack::write(arguments, folder.as_deref(), file)?,
            None => engine::write(arguments, file)?,
        };
        output::print(&text)?;
    }
    Ok(())
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
