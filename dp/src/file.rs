//! Files that are named by whoever runs a program.

use std::path::Path;

/// Whether a file is a named pipe: opening one waits for somebody to open its other end, who may never come. Other pipes
/// have a name under `/dev` only, which leads nowhere.
///
/// ```
/// use std::path::Path;
/// use tilewright_dp::file::is_named_pipe;
///
/// assert!(!is_named_pipe(Path::new("/dev/stdout")) && !is_named_pipe(Path::new("no such file")));
/// ```
#[cfg(unix)]
pub fn is_named_pipe(file: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;

    let is_pipe = file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
    is_pipe && file.canonicalize().is_ok()
}

/// Whether a file is a named pipe, which this system has none of.
#[cfg(not(unix))]
pub fn is_named_pipe(_: &Path) -> bool {
    false
}
