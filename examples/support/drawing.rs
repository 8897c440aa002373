//! Where an example's drawing goes.

use std::error::Error;
use std::io;
use std::path::Path;

use tilewright::dp::file::is_named_pipe;

/// Writes a drawing to a file, which may be standard output or a pipe that a shell made.
pub fn write(file: &Path, drawing: &str) -> Result<(), Box<dyn Error>> {
    let at = file.display();
    if is_named_pipe(file) {
        return Err(
            format!("cannot write the drawing {at}: it is a named pipe, from which nobody may ever read").into(),
        );
    }
    let written = std::fs::write(file, drawing);
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => error.into(),
        _ => format!("cannot write the drawing {at}: {error}").into(),
    })
}
