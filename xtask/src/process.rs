//! Running other programs.

use std::{
    io::{BufRead, BufReader, PipeReader, pipe},
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
pub fn read_lines(command: &mut Command, line: impl FnMut(&str)) -> Result<ExitStatus, TaskError> {
    let (output, input) = pipe().map_err(|source| unreadable(command, source))?;
    command.stdout(input);
    read_from(command, output, line)
}

/// The same with the lines of its standard error among them, in the order in which it wrote them.
pub fn read_all_lines(command: &mut Command, line: impl FnMut(&str)) -> Result<ExitStatus, TaskError> {
    let (output, input) = pipe().map_err(|source| unreadable(command, source))?;
    let errors = input.try_clone().map_err(|source| unreadable(command, source))?;
    command.stdout(input).stderr(errors);
    read_from(command, output, line)
}

/// Runs it and hands over every line from the pipe that it writes to.
fn read_from(command: &mut Command, output: PipeReader, mut line: impl FnMut(&str)) -> Result<ExitStatus, TaskError> {
    let started = command.spawn();
    // The command holds ends to write to, and while one is open there may be more to read.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = started.map_err(|source| not_started(command, source))?;
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while output
        .read_until(b'\n', &mut bytes)
        .map_err(|source| unreadable(command, source))?
        > 0
    {
        line(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
        bytes.clear();
    }
    child.wait().map_err(|source| unreadable(command, source))
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

fn unreadable(command: &Command, source: std::io::Error) -> TaskError {
    TaskError::Output {
        command: shown(command),
        source,
    }
}

fn not_started(command: &Command, source: std::io::Error) -> TaskError {
    TaskError::NotStarted {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}
