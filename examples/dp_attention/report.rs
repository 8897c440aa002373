//! What was measured, as a table.

use std::io::{self, Write};
use std::time::Duration;

use tilewright::dp::draw;
use tilewright::dp::layout::GatheredLayout;
use tilewright::prelude::*;

use crate::step::{Measured, Phase};

/// A table with a line for each phase of each layout of a step, printed as the steps are done.
#[derive(Default)]
pub struct Table {
    steps: usize,
    bytes: u64,
}

impl Table {
    /// Prints the counts of a step.
    pub fn begin_step(&mut self, counts: &[u64]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.steps == 0 {
            writeln!(
                out,
                "mode  tokens   rows      buffer  variants  phase   first run   best run   bandwidth"
            )?;
        }
        self.steps += 1;
        writeln!(out, "counts {}", list(counts))
    }

    /// Prints what was measured of a layout of the step.
    pub fn print(&mut self, layout: &GatheredLayout, measured: &Measured) -> io::Result<()> {
        let mut out = io::stdout().lock();
        self.bytes += layout.bytes();
        if layout.padded() != layout.counts() {
            writeln!(out, "padded {}", list(layout.padded()))?;
        }
        let step = format!(
            "{:<4}  {:>6}  {:>5}  {:>10}  {:>8}",
            layout.mode().name(),
            layout.real_rows(),
            layout.rows(),
            draw::bytes(layout.bytes()),
            measured.compiles
        );
        for (i, (name, phase)) in measured.phases.iter().enumerate() {
            let step = if i == 0 { step.as_str() } else { "" };
            let (first, best) = (time(phase.first), time(phase.best));
            let bandwidth = bandwidth(phase);
            writeln!(out, "{step:<41}  {name:<6}  {first:>9}  {best:>9}  {bandwidth:>10}")?;
        }
        Ok(())
    }

    /// Prints what holds for all steps.
    pub fn print_summary(&self, device: &Device) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let counters = device.counters();
        writeln!(
            out,
            "\nevery bit of {} gathered in {} step{} was checked: tokens, padding and guard rows are right",
            draw::bytes(self.bytes),
            self.steps,
            if self.steps == 1 { "" } else { "s" }
        )?;
        writeln!(
            out,
            "{} launches, {} of them without building a variant; {} variants",
            counters.launches, counters.hits, counters.variants
        )
    }
}

fn list(counts: &[u64]) -> String {
    let counts: Vec<_> = counts.iter().map(u64::to_string).collect();
    counts.join(",")
}

fn time(time: Duration) -> String {
    let microseconds = time.as_secs_f64() * 1e6;
    match microseconds {
        0.0..1e3 => format!("{microseconds:.1} us"),
        1e3..1e6 => format!("{:.2} ms", microseconds / 1e3),
        _ => format!("{:.2} s", microseconds / 1e6),
    }
}

fn bandwidth(phase: &Phase) -> String {
    match phase.best.as_secs_f64() {
        0.0 => "-".to_owned(),
        seconds => format!("{:.2} GB/s", phase.bytes as f64 / seconds / 1e9),
    }
}
