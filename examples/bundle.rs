//! Kernels compiled ahead of time: a bundle for a GPU that need not be here, made once and used by servers that have no
//! compiler.
//!
//! `cargo run --example bundle -- gathers.bundle` makes one for H100 and H200, or for the GPU that is here, and uses it there.
//! A crate of kernels can do the same in its build script.

#[path = "support/exit.rs"]
mod exit;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use tilewright::dp::kernels::gather_rows;
use tilewright::prelude::*;
use tilewright::runtime::Target;
use tilewright::runtime::cache::{Bundle, BundleBuilder, CubinCache};
use tilewright::runtime::compile::Architecture;

/// The widths of the rows that are gathered.
const COLUMNS: [usize; 3] = [576, 2048, 7168];
/// How many rows there are, and how many of them are gathered.
const ROWS: usize = 512;
const GATHERED: [usize; 4] = [1, 16, 128, 512];

/// Adds the variants of one width. The tensors are stand-ins: what they hold is not looked at.
fn compile(builder: &BundleBuilder, target: &Target, columns: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let cpu = Device::cpu();
    let src = cpu.zeros::<u16, 2>([ROWS, columns])?;
    for gathered in GATHERED {
        let index = cpu.zeros::<i32, 1>([gathered])?;
        let mut out = cpu.zeros::<u16, 2>([gathered, columns])?;
        builder.add_call(&gather_rows::<u16, i32>(&mut out, &src, &index), target)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    exit::code(run().map_err(|error| error as Box<dyn Error>))
}

fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut out = io::stdout();
    let temporary = tempfile::tempdir()?;
    let file = std::env::args_os().nth(1).map(PathBuf::from);
    let file = file.unwrap_or_else(|| temporary.path().join("gathers.bundle"));
    let gpu = Device::cuda(0).ok();
    let properties = gpu.as_ref().and_then(Device::as_cuda).map(|cuda| cuda.properties());
    let target = properties.map_or(Target::new(Architecture::new(9, 0), 132), Target::from);

    // Where kernels are compiled. It needs NVRTC and no GPU, and may use every processor.
    let builder = BundleBuilder::new();
    thread::scope(|scope| {
        let (builder, target) = (&builder, &target);
        let threads = COLUMNS.map(|columns| scope.spawn(move || compile(builder, target, columns)));
        let mut done = threads
            .into_iter()
            .map(|thread| thread.join().expect("it does not panic"));
        done.try_for_each(|done| done)
    })?;
    builder.write(&file)?;
    writeln!(
        out,
        "{}: {} kernels serve {} launches on {} with {} multiprocessors",
        file.display(),
        builder.len(),
        COLUMNS.len() * GATHERED.len(),
        target.architecture,
        target.multiprocessors
    )?;

    // Where they run. It needs a GPU and no NVRTC.
    let Some(gpu) = gpu else {
        writeln!(out, "There is no GPU here to use them on.")?;
        return Ok(());
    };
    let cache = CubinCache::new().with_bundle(Bundle::open(&file)?).install();
    for columns in COLUMNS {
        let rows: Vec<u16> = (0..ROWS * columns).map(|element| element as u16).collect();
        let src = gpu.upload(&rows, [ROWS, columns])?;
        for gathered in GATHERED {
            let index: Vec<_> = (0..gathered as i32).rev().collect();
            let mut gathered_rows = gpu.zeros::<u16, 2>([gathered, columns])?;
            gather_rows::<u16, i32>(&mut gathered_rows, &src, &gpu.upload(&index, [gathered])?).launch(&gpu)?;
            let expected = index.iter().flat_map(|&row| &rows[row as usize * columns..][..columns]);
            if !gathered_rows.download()?.iter().eq(expected) {
                return Err(format!("{gathered} rows of {columns} columns are wrong").into());
            }
        }
    }
    let counters = cache.counters();
    writeln!(
        out,
        "On {gpu}: {} kernels from the bundle, {} compiled",
        counters.bundle_hits, counters.compiled
    )?;
    match counters.compiled {
        0 => Ok(()),
        _ => Err("a kernel was missing in the bundle".into()),
    }
}
