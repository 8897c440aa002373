//! What the small examples share: the device that the command line names, the comparison with the host, and their end.

pub mod exit;

use std::error::Error;
use std::fmt::Debug;
use std::io::{self, Write};

use clap::{Parser, ValueEnum};
use tilewright::prelude::*;

/// Every value is checked on the host; a mismatch ends the program with a failure.
#[derive(Parser)]
struct Arguments {
    /// Where the kernels run
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    device: Place,
}

#[derive(Clone, Copy, ValueEnum)]
enum Place {
    /// The interpreter, which is always there
    Cpu,
    /// The first GPU
    Cuda,
}

/// The device that the command line asks for.
pub fn device() -> Result<Device, Box<dyn Error>> {
    let device = match Arguments::parse().device {
        Place::Cpu => Device::cpu(),
        Place::Cuda => Device::cuda(0).map_err(|error| format!("cannot use a GPU: {error}"))?,
    };
    writeln!(io::stdout(), "running on {device}")?;
    Ok(device)
}

/// Compares all values with those of the host, and says so.
pub fn check<T: PartialEq + Debug>(what: &str, found: &[T], expected: &[T]) -> Result<(), Box<dyn Error>> {
    if found.len() != expected.len() {
        return Err(format!("{what}: {} values instead of {}", found.len(), expected.len()).into());
    }
    if let Some(i) = (0..found.len()).find(|&i| found[i] != expected[i]) {
        return Err(format!("{what}: value {i} is {:?} and should be {:?}", found[i], expected[i]).into());
    }
    writeln!(
        io::stdout(),
        "  {what}: all {} values are equal to the host's",
        found.len()
    )?;
    Ok(())
}
