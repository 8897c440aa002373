//! `tilewright inspect`: what is made of a kernel, shown.

mod bundle;
mod catalogue;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use tilewright::dp::catalogue::ENTRIES;
use tilewright::runtime::compile::Architecture;
use tilewright::runtime::inspect::Section;

use crate::error::CommandError;
use crate::output;

/// What the command line asks for.
#[derive(Args)]
#[command(group = ArgGroup::new("subject").args(["name", "bundle", "list"]).required(true))]
pub struct Arguments {
    /// A kernel of the catalogue
    #[arg(value_name = "KERNEL")]
    name: Option<String>,
    /// Lists the kernels of the catalogue
    #[arg(long)]
    list: bool,
    /// Shows what the kernels of a bundle tell of themselves instead: registers, memory, occupancy, and with --section sass
    /// their instructions
    #[arg(long, value_name = "FILE", conflicts_with_all = ["html", "hidden", "rows"])]
    bundle: Option<PathBuf>,
    /// Only those kernels of the bundle whose names have this in them
    #[arg(long, value_name = "NAME", requires = "bundle")]
    kernel: Option<String>,
    /// For which architecture, such as sm_90; of a bundle, only kernels for it [default: sm_90; all of a bundle]
    #[arg(long, value_name = "ARCHITECTURE")]
    arch: Option<Architecture>,
    /// What to show, separated by commas: launch, class, schedule, proofs, accesses, traffic, code, source, tile-ir, thread-ir,
    /// cuda, ptx, nvrtc-ptx, sass [default: all up to code]
    #[arg(long, value_name = "SECTIONS", value_delimiter = ',', conflicts_with_all = ["json", "html"])]
    section: Vec<Section>,
    /// Prints everything as JSON
    #[arg(long)]
    json: bool,
    /// Writes everything as one page for a browser, which needs no network
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    #[command(flatten)]
    launch: catalogue::LaunchArguments,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let text = match (&arguments.bundle, &arguments.name) {
        _ if arguments.list => ENTRIES.iter().map(|entry| format!("{}\n", entry.name)).collect(),
        (Some(file), _) => bundle::show(arguments, file)?,
        (None, Some(name)) => catalogue::show(arguments, name)?,
        (None, None) => return Err(CommandError::NoKernel),
    };
    Ok(output::print(&text)?)
}
