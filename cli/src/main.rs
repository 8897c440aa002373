//! The `tilewright` command.

mod plan;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tilewright::runtime::doctor::doctor;

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
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Doctor => {
            let report = doctor();
            println!("{report}");
            ExitCode::SUCCESS
        }
        Command::Plan(arguments) => match plan::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
