//! The `tilewright` command.

mod bundle;
mod error;
mod inspect;
mod new;
mod output;
mod plan;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};
use error::CommandError;
use output::OutputError;
use tilewright::dp::text;
use tilewright::runtime::doctor::doctor;

/// How a shell sees a program that SIGPIPE ended, as it ends most: 128 and the signal's number.
const CLOSED_PIPE: u8 = 128 + 13;

/// Tile kernels in Rust, compiled at run time.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tells which of driver, GPU and compiler are there, and what to install.
    Doctor,
    /// Plans a step of data-parallel attention: padding, buffers, graph and logits, by the rules of an engine version.
    Plan(Box<plan::Arguments>),
    /// Compiles an engine's kernels into a bundle, for GPUs that need not be here; or lists those of one.
    Bundle(Box<bundle::Arguments>),
    /// Shows what is made of a kernel of the catalogue, from tile IR to instructions, and what it costs; or what the kernels of a
    /// bundle tell of themselves. No GPU is needed.
    Inspect(Box<inspect::Arguments>),
    /// Makes a crate with one kernel, its test and its bench.
    New(new::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::try_parse() {
        Ok(arguments) => run(&arguments.command).map(|()| ExitCode::SUCCESS),
        Err(error) => answer(error),
    };
    match done {
        Ok(code) => code,
        Err(CommandError::Output(OutputError::Closed)) => ExitCode::from(CLOSED_PIPE),
        Err(error) => {
            // If standard error fails, there is nowhere to tell.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<(), CommandError> {
    match command {
        Command::Doctor => Ok(output::print(&format!("{}\n", doctor()))?),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Bundle(arguments) => bundle::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::New(arguments) => new::run(arguments),
    }
}

/// Prints what there is instead of arguments: help, or what is wrong with them.
fn answer(mut error: clap::Error) -> Result<ExitCode, CommandError> {
    let long = error.context().filter_map(|(kind, value)| match value {
        ContextValue::String(value) => {
            let short = text::shortened(value, text::VALUE);
            (short != *value).then_some((kind, short))
        }
        _ => None,
    });
    let long: Vec<_> = long.collect();
    for (kind, short) in long {
        error.insert(kind, ContextValue::String(short));
        // It may repeat the value.
        error.remove(ContextKind::Suggested);
    }
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    match error.print().and_then(|()| io::stdout().flush()) {
        Err(failure) if !error.use_stderr() => Err(OutputError::standard(failure).into()),
        _ => Ok(code),
    }
}
