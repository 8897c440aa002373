//! Data-parallel attention's gathered buffer, from token counts to checked bits, on one device or with a device for each rank.
//!
//! Every data-parallel rank has hidden states of its own. For the MLP they meet in one gathered buffer, padded to the
//! longest rank (MAX) or packed (SUM); afterwards every rank takes its rows back. This program does all of that for the
//! ranks of one step, with kernels specialised to the exact token counts, and compares every bit with the host:
//!
//! ```text
//! cargo run --release --example dp_attention -- --counts 20,20,20,20,20,20,20,20
//! cargo run --release --example dp_attention -- --trace trace.csv --ranks 8 --steps 50 --svg buffer.svg
//! cargo run --release --example dp_attention -- --counts 20,0,7,31 --gpus 4
//! cargo run --release --example dp_attention -- --counts 20,0,7,31 --processes 4
//! cargo run --release --example dp_attention -- --counts 20,0,7,31 --processes 4 --hosts 2
//! ```
//!
//! With `--gpus` and `--processes` every rank has a GPU, and rows go from GPU to GPU; with the feature `nccl`, NCCL's gather is
//! timed beside. Without GPUs the ranks have a CPU device each. With `--hosts`, ranks of this machine stand for several hosts: within
//! one they store into each other's memory, and each row crosses between hosts once.

mod arguments;
mod between;
mod check;
#[path = "../support/drawing.rs"]
mod drawing;
#[path = "../support/exit.rs"]
mod exit;
#[path = "../support/place.rs"]
mod place;
mod report;
mod source;
mod step;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use arguments::Arguments;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use report::Table;
use tilewright::dp::draw;
use tilewright::dp::layout::{GatheredLayout, HiddenState};

/// Runs of more steps than this show a progress bar.
const QUIET_STEPS: u64 = 4;

/// The counts of each step, and a layout for each mode.
type Steps<'a> = &'a [(Vec<u64>, Vec<GatheredLayout>)];

fn main() -> ExitCode {
    exit::code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let hidden = HiddenState::bf16(arguments.hidden);
    // All layouts first: a mistake in the counts shows before any work is done.
    let mut steps = Vec::new();
    for counts in arguments.steps()? {
        let mut layouts = Vec::new();
        for mode in arguments.mode.modes() {
            let layout = GatheredLayout::new(mode, &counts, arguments.attention_tp, hidden)?;
            step::check_size(&layout)?;
            layouts.push(layout);
        }
        steps.push((counts, layouts));
    }
    let draws = match arguments.between(&steps)? {
        Some((ranks, false)) => between::threads(arguments, ranks, &steps)?,
        Some((ranks, true)) => between::processes(arguments, ranks, &steps)?,
        None => on_one_device(arguments, &steps)?,
    };
    if !draws {
        return Ok(());
    }
    for layout in steps.last().map_or(&[][..], |(_, layouts)| layouts) {
        writeln!(io::stdout(), "\n{}", draw::terminal(layout, columns()).trim_end())?;
        if let Some(file) = arguments.svg_file(layout.mode()) {
            drawing::write(&file, &draw::svg(layout))?;
            writeln!(io::stdout(), "drawn in {}", file.display())?;
        }
    }
    Ok(())
}

/// Runs the steps with all ranks on one device.
fn on_one_device(arguments: &Arguments, steps: Steps<'_>) -> Result<bool, Box<dyn Error>> {
    let device = arguments.device.open()?;
    place::describe(&device)?;
    let mut table = Table::default();
    let progress = progress_bar(steps.len() as u64);
    for (counts, layouts) in steps {
        progress.set_message(format!("{} tokens", counts.iter().sum::<u64>()));
        progress.suspend(|| table.begin_step(counts))?;
        for layout in layouts {
            let measured = step::run(&device, layout)?;
            progress.suspend(|| table.print(layout, &measured))?;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    table.print_summary(&device)?;
    Ok(true)
}

fn progress_bar(steps: u64) -> ProgressBar {
    if steps <= QUIET_STEPS {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left   {msg}");
    let bar = ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The width of the terminal as shells export it, within what reads well.
fn columns() -> usize {
    let exported = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    exported.unwrap_or(80usize).clamp(60, 120)
}
