//! How an example ends, whoever reads what it prints.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a shell sees a program that SIGPIPE ended: 128 and the signal's number.
pub const CLOSED_PIPE: u8 = 128 + 13;

/// The exit code for what was done. A failure is told, unless it is that whoever read has seen enough.
pub fn code(done: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    let failed = error.downcast_ref::<io::Error>();
    if failed.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::from(CLOSED_PIPE);
    }
    // If standard error fails, there is nowhere to tell.
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::FAILURE
}
