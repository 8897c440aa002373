//! Writing to whoever reads.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tilewright::dp::file::is_named_pipe;
use tilewright::dp::text;

/// What was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Whoever read has seen enough, which is no mistake of anybody.
    #[error("nobody reads the output any more")]
    Closed,
    /// Standard output failed.
    #[error("cannot write to standard output: {0}")]
    Standard(io::Error),
    /// A file failed.
    #[error("cannot write {}: {source}", text::shortened(&file.to_string_lossy(), text::VALUE))]
    File { file: PathBuf, source: io::Error },
    /// A file is a named pipe.
    #[error(
        "cannot write {}: it is a named pipe, from which nobody may ever read; write to a file",
        text::shortened(&file.to_string_lossy(), text::VALUE)
    )]
    Pipe { file: PathBuf },
}

impl OutputError {
    /// What a failure of standard output means.
    pub fn standard(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Standard(error),
        }
    }
}

/// Writes a text to standard output, all of it or an error.
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    // What is left in the buffer at the end of the program would fail unseen.
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(OutputError::standard)
}

/// Writes a text to a file, which may be standard output or a pipe that a shell made.
pub fn write(file: &Path, text: &str) -> Result<(), OutputError> {
    if is_named_pipe(file) {
        return Err(OutputError::Pipe { file: file.to_owned() });
    }
    let written = File::create(file).and_then(|mut out| out.write_all(text.as_bytes()));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::BrokenPipe => OutputError::Closed,
        _ => OutputError::File {
            file: file.to_owned(),
            source,
        },
    })
}
