//! The smallest useful kernel, from its definition to its checked result: every row of a matrix times its own factor.
//!
//! Run it with `cargo run --example quickstart`; without a GPU it runs on the CPU device.

#[path = "support/exit.rs"]
mod exit;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use tilewright::prelude::*;

// ANCHOR: kernel
/// `y[i] = factors[i] * x[i]`, one program for each row. A row of any length is one tile.
#[kernel(grid = [y.extent(0)])]
fn scale_rows(y: &mut Tensor<f32, 2>, x: &Tensor<f32, 2>, factors: &Tensor<f32, 1>) {
    let row = program_id(0);
    let cols = arange(x.extent(1));
    y.store([row, cols], factors.load([row]) * x.load([row, cols]));
}
// ANCHOR_END: kernel

fn main() -> ExitCode {
    exit::code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    const ROWS: usize = 20;
    const COLUMNS: usize = 7168;
    // ANCHOR: launch
    let device = Device::best();

    let x: Vec<f32> = (0..ROWS * COLUMNS).map(|i| i as f32).collect();
    let factors: Vec<f32> = (0..ROWS).map(|row| 1.0 / (row + 1) as f32).collect();
    let mut y = device.zeros([ROWS, COLUMNS])?;
    scale_rows(
        &mut y,
        &device.upload(&x, [ROWS, COLUMNS])?,
        &device.upload(&factors, [ROWS])?,
    )
    .launch(&device)?;
    // ANCHOR_END: launch

    for (i, found) in y.download()?.into_iter().enumerate() {
        let expected = factors[i / COLUMNS] * x[i];
        if found.to_bits() != expected.to_bits() {
            return Err(format!("element {i} is {found} and should be {expected}").into());
        }
    }
    writeln!(
        io::stdout(),
        "scale_rows on {device}: all {ROWS} x {COLUMNS} elements are equal to the host's, bit for bit"
    )?;
    Ok(())
}
