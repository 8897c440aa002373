//! A serving loop: every step has other token counts, and no launch waits for a compiler.
//!
//! A trace of requests is served by data-parallel ranks, and every step of it is planned. For each rank of a step one
//! launch brings its rows into the gathered buffer, one takes them back, and one pads its batch, all with the plan's
//! counts. Before the first step all that launches wait for is built, and the device is sealed; what serves better is
//! compiled behind and swapped in. Once in each step the driver launches an empty kernel by itself, for comparison. Every step's
//! bits are compared with the host's:
//!
//! ```text
//! cargo run --release --example serving_loop
//! cargo run --release --example serving_loop -- --trace trace.csv --steps 20000 --dp 8 --svg launches.svg
//! ```

mod arguments;
#[path = "../support/drawing.rs"]
mod drawing;
mod driver;
mod engine;
#[path = "../support/exit.rs"]
mod exit;
#[path = "../support/place.rs"]
mod place;
mod report;
mod steps;
mod watch;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arguments::Arguments;
use clap::Parser;
use engine::Engine;
use indicatif::{ProgressBar, ProgressStyle};
use report::Outcome;
use steps::Steps;
use tilewright::prelude::*;
use watch::Watch;

/// How often the live table is made anew.
const REFRESH: Duration = Duration::from_millis(250);
/// How long what is being compiled when the loop ends is waited for.
const SETTLE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    exit::code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let trace = arguments.trace()?;
    let steps = Steps::plan(&trace, arguments)?;
    let device = arguments.device.open()?;
    place::describe(&device)?;
    device.set_specialize(Specialize::Tiered);
    let count = steps.steps.len() as u64;
    writeln!(
        io::stdout(),
        "{count} steps of {} ranks, {} elements a row; at most {} rows, and {} of a rank",
        arguments.dp,
        arguments.hidden,
        steps.most_rows,
        steps.most_of_rank
    )?;
    if count < arguments.steps {
        writeln!(io::stdout(), "the trace ends before its step {}", arguments.steps)?;
    }

    let mut engine = Engine::new(&device, &steps, arguments.dp as usize, arguments.hidden as usize)?;
    warm_up(&mut engine)?;
    device.seal();

    let mut watch = Watch::new(&device);
    let outcome = serve(arguments, &device, &steps, &mut engine, &mut watch)?;
    report::print(&watch, &outcome)?;
    report::print_measured(&device)?;
    let judged = report::judge(&device, &watch, &outcome);
    if let Some(file) = &arguments.svg {
        report::draw(&watch, count, &device, file)?;
        writeln!(io::stdout(), "\ndrawn in {}", file.display())?;
    }
    judged
}

fn warm_up(engine: &mut Engine) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let bar = ProgressBar::no_length().with_style(style("warming up: {pos} keys, {elapsed}"));
    let done = engine.warm_up(|_| bar.inc(1))?;
    bar.finish_and_clear();
    let keys: usize = done.iter().map(|one| one.keys).sum();
    let built: u64 = done.iter().map(|one| one.built).sum();
    let elapsed = started.elapsed();
    writeln!(
        io::stdout(),
        "warmed up: {built} variants for {keys} keys in {elapsed:.2?}; sealed from now on\n"
    )?;
    Ok(())
}

/// Runs all steps.
fn serve(
    arguments: &Arguments,
    device: &Device,
    steps: &Steps,
    engine: &mut Engine,
    watch: &mut Watch,
) -> Result<Outcome, Box<dyn Error>> {
    let count = steps.steps.len() as u64;
    let bar = ProgressBar::new(count).with_style(style("{bar:30} {pos}/{len} steps, {eta} left\n{msg}"));
    let before = device.counters();
    let (mut checked, mut wrong) = (0, None);
    let mut refreshed = Instant::now();
    for (step, ranks) in (0..).zip(&steps.steps) {
        watch.begin(step);
        engine.run(step, ranks, watch)?;
        if step % arguments.check_every == 0 {
            checked += 1;
            let mistake = engine.check(step, ranks)?;
            wrong = wrong.or(mistake.map(|what| (step, what)));
        }
        bar.inc(1);
        if refreshed.elapsed() > REFRESH {
            bar.set_message(report::live(watch, &before, &device.counters()));
            refreshed = Instant::now();
        }
    }
    bar.finish_and_clear();
    Device::settle(SETTLE);
    Ok(Outcome {
        steps: count,
        checked,
        wrong,
        before,
        after: device.counters(),
    })
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
