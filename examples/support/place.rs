//! Where an example runs its kernels.

use std::error::Error;
use std::io::{self, Write};

use clap::ValueEnum;
use tilewright::prelude::*;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// The interpreter, which is always there
    Cpu,
    /// The first GPU
    #[value(alias = "gpu")]
    Cuda,
    /// The first GPU if there is one
    Best,
}

impl Place {
    pub fn open(self) -> Result<Device, Box<dyn Error>> {
        match self {
            Self::Cpu => Ok(Device::cpu()),
            Self::Best => Ok(Device::best()),
            Self::Cuda => {
                let advice = "run on the CPU device with `--device cpu`";
                Device::cuda(0).map_err(|error| format!("cannot use a GPU: {error}; {advice}").into())
            }
        }
    }
}

/// Says what the kernels run on.
pub fn describe(device: &Device) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "running on {device}")?;
    if let Some(reason) = device.why() {
        writeln!(out, "no GPU is used, because {reason}")?;
    }
    if !device.is_cuda() {
        let advice = "interprets kernels and checks every access: its times say nothing about a GPU";
        writeln!(out, "the CPU device {advice}")?;
    }
    writeln!(out)
}
