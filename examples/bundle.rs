//! Kernels compiled ahead of time: a bundle for a GPU that need not be here, made once and used by servers that have no
//! compiler.
//!
//! `cargo run --example bundle -- blends.bundle` makes one of a kernel of its own for H100 and H200, or for the GPU that is
//! here, and uses it there. A crate of kernels can do the same in its build script. Those of `tilewright::dp` are
//! compiled by `tilewright bundle --arch sm_90 --out dp.bundle`.

#[path = "support/exit.rs"]
mod exit;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tilewright::prelude::*;
use tilewright::runtime::Target;
use tilewright::runtime::cache::{Bundle, BundleBuilder, CubinCache};
use tilewright::runtime::compile::Architecture;

/// The widths of the rows that are blended.
const COLUMNS: [usize; 3] = [576, 2048, 7168];
/// The most rows that a server blends at once.
const ROWS: usize = 512;

/// `out[r] = a[r] * (1 - share) + b[r] * share` for the first `rows` rows.
#[kernel(grid = [rows])]
fn blend(out: &mut Tensor<f32, 2>, a: &Tensor<f32, 2>, b: &Tensor<f32, 2>, rows: Count, share: f32) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    let (a, b) = (a.load([row, cols]), b.load([row, cols]));
    out.store([row, cols], a * (1.0 - share) + b * share);
}

// ANCHOR: register
/// Registers what servers launch: all counts of rows that there may be, for each width.
fn register(device: &Device) -> Result<(), Box<dyn Error>> {
    let policy = CountPolicy::Runtime;
    for columns in COLUMNS {
        let stand_in = || device.zeros::<f32, 2>([ROWS, columns]);
        let (mut out, a, b) = (stand_in()?, stand_in()?, stand_in()?);
        let call = blend(&mut out, &a, &b, policy.bind(1), 0.0);
        device.warm_up([call], &policy, 0..=ROWS as u64, |_| {})?;
    }
    Ok(())
}
// ANCHOR_END: register

/// Launches what is registered, as a server does, and compares the results. It has to be given a GPU.
fn serve(gpu: &Device) -> Result<(), Box<dyn Error>> {
    let mut random = fastrand::Rng::with_seed(4);
    for columns in COLUMNS {
        let mut rows_of = || (0..ROWS * columns).map(|_| random.u8(..) as f32).collect::<Vec<_>>();
        let (a, b) = (rows_of(), rows_of());
        let (a_there, b_there) = (gpu.upload(&a, [ROWS, columns])?, gpu.upload(&b, [ROWS, columns])?);
        for _ in 0..20 {
            let rows = random.usize(0..=ROWS);
            let mut out = gpu.zeros::<f32, 2>([ROWS, columns])?;
            blend(&mut out, &a_there, &b_there, Runtime(rows as u64), 0.25).launch(gpu)?;
            let blended = a.iter().zip(&b).map(|(a, b)| a * 0.75 + b * 0.25).take(rows * columns);
            let expected = blended.chain(std::iter::repeat(0.0));
            if !out
                .download()?
                .into_iter()
                .zip(expected)
                .all(|(found, expected)| found == expected)
            {
                return Err(format!("{rows} rows of {columns} columns are wrong").into());
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    exit::code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let temporary = tempfile::tempdir()?;
    let file = std::env::args_os().nth(1).map(PathBuf::from);
    let file = file.unwrap_or_else(|| temporary.path().join("blends.bundle"));
    let gpu = Device::cuda(0).ok();
    let properties = gpu.as_ref().and_then(Device::as_cuda).map(|cuda| cuda.properties());
    let target = properties.map_or(Target::new(Architecture::new(9, 0), 132), Target::from);

    // ANCHOR: make
    // Where kernels are compiled: it needs NVRTC and no GPU, and uses every processor.
    let builder = BundleBuilder::new();
    let offline = builder.device(target);
    register(&offline)?;
    builder.write(&file)?;
    writeln!(out, "{}: {} kernels for {offline}", file.display(), builder.len())?;
    // ANCHOR_END: make

    // ANCHOR: use
    // Where they run: it needs a GPU and no NVRTC.
    let Some(gpu) = gpu else {
        writeln!(out, "There is no GPU here to use them on.")?;
        return Ok(());
    };
    let cache = CubinCache::new().with_bundle(Bundle::open(&file)?).install();
    serve(&gpu)?;
    // ANCHOR_END: use
    Device::settle(std::time::Duration::from_secs(60));
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
