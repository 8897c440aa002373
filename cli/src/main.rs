//! The `tilewright` command.

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
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Doctor => {
            let report = doctor();
            println!("{report}");
            ExitCode::SUCCESS
        }
    }
}
