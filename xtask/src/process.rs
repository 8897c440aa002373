//! Running other programs.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use crate::error::TaskError;

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    // Where cargo lies is nobody's concern.
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs it to a good end.
pub fn run(command: &mut Command) -> Result<(), TaskError> {
    let status = command.status().map_err(|source| not_started(command, source))?;
    succeeded(command, status)
}

/// Runs it and hands over every line of its standard output. What is not UTF-8 is replaced.
pub fn read_lines(command: &mut Command, mut line: impl FnMut(&str)) -> Result<ExitStatus, TaskError> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| not_started(command, source))?;
    let unreadable = |source| TaskError::Output {
        command: shown(command),
        source,
    };
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        while output.read_until(b'\n', &mut bytes).map_err(unreadable)? > 0 {
            line(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
            bytes.clear();
        }
    }
    child.wait().map_err(unreadable)
}

/// An error unless it ended well.
pub fn succeeded(command: &Command, status: ExitStatus) -> Result<(), TaskError> {
    if status.success() {
        Ok(())
    } else {
        Err(TaskError::Failed {
            command: shown(command),
            status,
        })
    }
}

fn not_started(command: &Command, source: std::io::Error) -> TaskError {
    TaskError::NotStarted {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}
