//! Why the command failed.

use std::io;
use std::path::PathBuf;

use tilewright::dp::catalogue::CatalogueError;
use tilewright::dp::offline::OfflineError;
use tilewright::dp::plan::PlanError;
use tilewright::dp::simulate::SimulationError;
use tilewright::dp::text;
use tilewright::dp::trace::TraceError;
use tilewright::runtime::cache::BundleError;
use tilewright::runtime::compile::{Architecture, CubinError};
use tilewright::runtime::inspect::InspectError;

use crate::bundle::counted;
use crate::output::OutputError;
use crate::plan::MAX_JSON_BYTES;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Output failed.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Standard input failed.
    #[error("cannot read standard input: {0}")]
    Input(#[from] io::Error),
    /// Standard input has nothing in it.
    #[error("standard input is neither a request nor an array of requests: it is empty")]
    NoInput,
    /// Standard input has over [`MAX_JSON_BYTES`].
    #[error("standard input has over {MAX_JSON_BYTES} bytes; plan fewer requests at a time")]
    InputTooLarge,
    /// Standard input begins with the mark of another encoding.
    #[error("standard input is UTF-16; write it as UTF-8")]
    Utf16,
    /// Standard input is not what was asked for.
    #[error(
        "standard input is neither a request nor an array of requests: {}",
        text::shortened(&_0.to_string(), text::MESSAGE)
    )]
    Json(#[from] serde_json::Error),
    /// A request of an array has no plan.
    #[error("request {index}, counted from 0: {source}")]
    Request { index: usize, source: PlanError },
    /// The request of the command line has no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The trace cannot be served.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// A buffer is drawn of one version only.
    #[error("--svg draws the buffer of one version: leave out --compare, or compare over a --trace")]
    ComparisonDrawn,
    /// The picture would take the place of the trace.
    #[error("--svg names the file of --trace; draw into another")]
    TraceOverwritten,
    /// A bundle cannot be read or written.
    #[error("{}", text::shortened(&_0.to_string(), text::MESSAGE))]
    Bundle(#[from] BundleError),
    /// The engine's kernels cannot be compiled.
    #[error("{}", text::shortened(&_0.to_string(), text::MESSAGE))]
    Offline(#[from] OfflineError),
    /// The schedules of a GPU depend on what is not known of it.
    #[error("how many multiprocessors a GPU of {architecture} has is not known: say it with --multiprocessors")]
    UnknownMultiprocessors {
        /// The architecture.
        architecture: Architecture,
    },
    /// The catalogue has no such kernel.
    #[error(
        "the catalogue has no kernel `{}`{}; `tilewright inspect --list` shows all",
        text::shortened(name, text::VALUE),
        suggested(near)
    )]
    UnknownKernel {
        /// What was asked for.
        name: String,
        /// Names that are like it.
        near: Vec<&'static str>,
    },
    /// No kernel was named.
    #[error(
        "which kernel? Name one, or several of a bundle with --bundle; `tilewright inspect --list` shows the catalogue"
    )]
    NoKernel,
    /// A bundle has no such kernel.
    #[error(
        "{} holds no kernel{}{}; `tilewright bundle --list` shows what it holds",
        text::shortened(&file.to_string_lossy(), text::VALUE),
        name.as_deref().map_or_else(String::new, |name| format!(" whose name has `{}` in it", text::shortened(name, text::VALUE))),
        architecture.map_or_else(String::new, |architecture| format!(" for {architecture}"))
    )]
    NotInBundle {
        /// The bundle.
        file: PathBuf,
        /// What its name was to have in it.
        name: Option<String>,
        /// For which GPUs it was to be.
        architecture: Option<Architecture>,
    },
    /// A kernel of the catalogue is not called with such tensors.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A launch cannot be looked at.
    #[error("{}", text::shortened(&_0.to_string(), text::MESSAGE))]
    Inspect(#[from] InspectError),
    /// A bundle's kernel is no cubin.
    #[error(transparent)]
    Cubin(#[from] CubinError),
    /// There is no crate of that name.
    #[error("`{}` is no name for a crate: {why}", text::shortened(name, text::VALUE))]
    CrateName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is something where a crate would be.
    #[error("{} is there already: choose another name, or remove it", text::shortened(&folder.to_string_lossy(), text::VALUE))]
    FolderExists {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder of this project is not one.
    #[error(
        "{} is not the folder of tilewright: it has no Cargo.toml with that package",
        text::shortened(&folder.to_string_lossy(), text::VALUE)
    )]
    NotTilewright {
        /// The folder.
        folder: PathBuf,
    },
    /// The disk cache is turned off.
    #[error("there is no disk cache to take kernels from: TILEWRIGHT_CACHE turns it off; name a folder with --from")]
    NoCache,
    /// The disk cache has none of the kernels that are asked for.
    #[error(
        "{} holds no such kernels{}: run a program that launches them with TILEWRIGHT_CACHE set to that folder",
        text::shortened(&folder.to_string_lossy(), text::VALUE),
        unreadable_files(*unreadable)
    )]
    NothingToBundle {
        /// Where they were looked for.
        folder: PathBuf,
        /// How many files could not be read.
        unreadable: u64,
    },
    /// There is nothing to plan.
    #[error("there are no counts; give them with --raw, or requests with --json")]
    NoCounts,
}

fn suggested(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        names => format!(", but {}", names.join(", ")),
    }
}

fn unreadable_files(count: u64) -> String {
    match count {
        0 => String::new(),
        count => format!(", but {} that cannot be used", counted(count, "file")),
    }
}
