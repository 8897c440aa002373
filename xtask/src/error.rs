//! What can go wrong in a task.

use std::{io, path::PathBuf};

/// A task that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The project's own folder is not where it was when this was built.
    #[error("no Cargo.toml of the workspace at {}: run this through `cargo xtask` in the project", .0.display())]
    NoWorkspace(PathBuf),
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program that could not be started.
    #[error("`{program}` does not start ({source}): is it installed, and on the PATH?")]
    NotStarted {
        /// Which.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// A program that ended badly.
    #[error("`{command}` failed: {status}")]
    Failed {
        /// The whole command.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
    },
    /// Output of a program that could not be read.
    #[error("the output of `{command}` cannot be read: {source}")]
    Output {
        /// The whole command.
        command: String,
        /// What the system says.
        source: io::Error,
    },
    /// A Python package that pip did not bring.
    #[error("pip did not fetch {requirement}: {reason}")]
    NotFetched {
        /// The package and its version.
        requirement: String,
        /// The last lines pip printed.
        reason: String,
    },
    /// A package that holds other files than it did when its version was pinned.
    #[error("{requirement} was fetched, but holds no {}", file.display())]
    NotInPackage {
        /// The package and its version.
        requirement: String,
        /// The file looked for.
        file: PathBuf,
    },
    /// A library or program that the caller cannot do without.
    #[error(
        "{name} is required and was not found: {reason}\n\
         Install it, name the file in {variable}, or make `python3 -m pip` work."
    )]
    Required {
        /// What people call it.
        name: &'static str,
        /// The environment variable that can name it.
        variable: &'static str,
        /// Why it could not be fetched.
        reason: Box<TaskError>,
    },
    /// A bundle that a GPU host may not accept.
    #[error(
        "the bundle is {} MiB, more than {limit_mib} MiB; the largest of its programs, unpacked:\n{largest}\n\
         Merge test binaries, or name one in xtask/src/bundle.rs among those left out.",
        size.div_ceil(1 << 20)
    )]
    TooLarge {
        /// Bytes in all.
        size: u64,
        /// The most it may be, in MiB.
        limit_mib: u64,
        /// The largest programs, one a line.
        largest: String,
    },
    /// A file of bars that has none.
    #[error("{}: {reason}", path.display())]
    Bars {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that nothing was measured in.
    #[error("{} has no reading: it is to be what a script in `benches/` wrote", path.display())]
    NoReading {
        /// The file.
        path: PathBuf,
    },
    /// A line of a reading that is not what the scripts in `benches/` write.
    #[error("{}:{line}: {reason}", path.display())]
    Reading {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Names the file in what the system says about it.
pub trait At<T> {
    /// The error, with the path.
    fn at(self, path: impl Into<PathBuf>) -> Result<T, TaskError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, TaskError> {
        self.map_err(|source| TaskError::File {
            path: path.into(),
            source,
        })
    }
}
