//! What was measured, in a live table, a last one, and words.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tilewright::dp::draw::{Marks, Times, times};
use tilewright::dp::text;
use tilewright::prelude::*;
use tilewright::runtime::{Counters, Measured};

use crate::drawing;
use crate::watch::{Happening, Operation, Quantiles, Sample, Watch};

/// How many of the last launches the live table is of.
const RECENT: usize = 4096;
/// The most that the slowest of a hundred launches may take, in times of the middle one.
const TAIL: f64 = 2.0;
/// The most that the middle launch with new counts may take, in times of the middle one with old ones.
const NEW: f64 = 1.2;

/// Of how many sets of literals the times are printed, and how much of a set.
const MOST_MEASURED: usize = 8;
const MOST_LITERALS: usize = 120;

const HEADER: &str = "                                launches        p50        p99      p99.9       most";

/// The launches of an operation that are alike.
struct Group(&'static str, fn(&Sample) -> bool);

const GROUPS: [Group; 5] = [
    Group("all", |_| true),
    Group("pool busy", |sample| sample.is_busy),
    Group("pool idle", |sample| !sample.is_busy),
    Group("new counts", |sample| sample.is_first),
    Group("seen before", |sample| !sample.is_first),
];

/// What a loop came to.
pub struct Outcome {
    pub steps: u64,
    pub checked: u64,
    /// The first mistake, and its step.
    pub wrong: Option<(u64, String)>,
    pub before: Counters,
    pub after: Counters,
}

/// The table while the loop runs.
pub fn live(watch: &Watch, before: &Counters, now: &Counters) -> String {
    let recent = &watch.samples[watch.samples.len().saturating_sub(RECENT)..];
    let mut text = HEADER.to_owned();
    for operation in Operation::ALL {
        let times = recent.iter().filter(|sample| sample.operation == operation);
        let _ = write!(text, "\n{}", line(operation.name(), "of late", times));
    }
    let _ = write!(text, "\n{}", counted(before, now));
    text
}

/// The last tables.
pub fn print(watch: &Watch, outcome: &Outcome) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "host time of launches, sealed:\n{HEADER}")?;
    for operation in Operation::ALL {
        for Group(name, belongs) in GROUPS {
            let of = |sample: &&Sample| sample.operation == operation && belongs(sample);
            writeln!(out, "{}", line(operation.name(), name, watch.samples.iter().filter(of)))?;
        }
    }
    let alone = watch
        .samples
        .iter()
        .filter(|sample| sample.operation == Operation::Driver);
    writeln!(out, "{}", line(Operation::Driver.name(), "an empty kernel", alone))?;
    writeln!(
        out,
        "\nsince the device was sealed: {}",
        counted(&outcome.before, &outcome.after)
    )
}

/// What literals bought where they were tried, the most first.
pub fn print_measured(device: &Device) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let ratio = |measured: &Measured| {
        let [without, with] = measured.medians.map(|time| time.map_or(0.0, |time| time.as_secs_f64()));
        with / without.max(1e-9)
    };
    let mut measured = device.measured();
    measured.retain(|measured| measured.kept.is_some());
    measured.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
    let kept = measured.iter().filter(|measured| measured.kept == Some(true)).count();
    let tried = measured.len();
    writeln!(
        out,
        "literals were tried for {tried} sets of values, and kept for {kept} of them"
    )?;
    for measured in measured.iter().take(MOST_MEASURED) {
        let [without, with] = measured.medians.map(|median| median.map_or_else(String::new, time));
        let literals = measured.literals.join(", ");
        let literals = text::shortened(&literals, MOST_LITERALS);
        writeln!(out, "  {with} with, {without} without: {}, {literals}", measured.kernel)?;
    }
    Ok(())
}

/// Says what holds. What must hold on any device and does not is the error.
pub fn judge(device: &Device, watch: &Watch, outcome: &Outcome) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let waits = outcome.after.waits - outcome.before.waits;
    let failures = outcome.after.failures - outcome.before.failures;
    writeln!(out, "\n{}: {waits} launches waited for a compiler", verdict(waits == 0))?;
    writeln!(out, "{}: {failures} compiles behind failed", verdict(failures == 0))?;
    let (checked, steps) = (outcome.checked, outcome.steps);
    match &outcome.wrong {
        None => writeln!(
            out,
            "holds: all bits of {checked} of {steps} steps are the host's, whatever served them"
        )?,
        Some((step, what)) => writeln!(out, "DOES NOT HOLD: bits are the host's; in step {step}, {what}")?,
    }
    for operation in Operation::ALL {
        judge_times(&mut out, device, watch, operation)?;
    }
    if outcome.wrong.is_some() {
        return Err("bits were wrong".into());
    }
    if waits + failures > 0 {
        return Err("launches waited for a compiler, or compiles behind failed".into());
    }
    Ok(())
}

fn judge_times(out: &mut impl Write, device: &Device, watch: &Watch, operation: Operation) -> io::Result<()> {
    let name = operation.name();
    if !device.is_cuda() {
        return writeln!(
            out,
            "not judged: times of `{name}`, as this device runs kernels as it launches them"
        );
    }
    let alone = watch
        .samples
        .iter()
        .filter(|sample| sample.operation == Operation::Driver);
    let tail = |times: &Quantiles| times.p99.as_secs_f64() / times.p50.as_secs_f64().max(1e-9);
    let alone = Quantiles::of(alone.map(|sample| sample.time)).map_or(0.0, |alone| tail(&alone));
    let quantiles = |belongs: fn(&Sample) -> bool| {
        let of = |sample: &&Sample| sample.operation == operation && belongs(sample);
        Quantiles::of(watch.samples.iter().filter(of).map(|sample| sample.time))
    };
    for Group(group, belongs) in &GROUPS[..3] {
        if let Some(all) = quantiles(*belongs) {
            let ratio = tail(&all);
            let holds = verdict(ratio <= TAIL);
            writeln!(
                out,
                "{holds}: {name}, {group}: p99 is {ratio:.2} x p50, and may be {TAIL} x; that of the driver alone is {alone:.2} x"
            )?;
        }
    }
    if let (Some(new), Some(old)) = (
        quantiles(|sample| sample.is_first),
        quantiles(|sample| !sample.is_first),
    ) {
        let all = new.p50.as_secs_f64() / old.p50.as_secs_f64().max(1e-9);
        let samples = watch.samples.iter().filter(|sample| sample.operation == operation);
        let Some(ratio) = new_over_old(&samples.collect::<Vec<_>>()) else {
            return Ok(());
        };
        let holds = verdict(ratio <= NEW);
        writeln!(
            out,
            "{holds}: {name}: new counts take {ratio:.2} x what seen ones of as many tokens do, the middle of all, and may take {NEW} x; \
             p50 of all new ones is {all:.2} x that of all others"
        )?;
    }
    Ok(())
}

/// The middle of what launches with new counts took, each in times of what those with old ones did that were for about as many
/// tokens: most steps have few, and new counts many.
fn new_over_old(samples: &[&Sample]) -> Option<f64> {
    let (new, old): (Vec<&Sample>, Vec<&Sample>) = samples.iter().partition(|sample| sample.is_first);
    let mut ratios = Vec::new();
    for size in 0..=u64::BITS {
        let of_size = |samples: &[&Sample]| -> Vec<Duration> {
            let of_size = samples.iter().filter(|sample| sample.size == size);
            of_size.map(|sample| sample.time).collect()
        };
        if let Some(old) = Quantiles::of(of_size(&old).into_iter()) {
            let times = of_size(&new).into_iter();
            ratios.extend(times.map(|time| time.as_secs_f64() / old.p50.as_secs_f64().max(1e-9)));
        }
    }
    ratios.sort_unstable_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// Draws all launches.
pub fn draw(watch: &Watch, steps: u64, device: &Device, file: &Path) -> Result<(), Box<dyn Error>> {
    let panel = |operation: Operation| {
        let of = || watch.samples.iter().filter(|sample| sample.operation == operation);
        let note = Quantiles::of(of().map(|sample| sample.time)).map_or_else(String::new, |all| {
            let [p50, p99, most] = [all.p50, all.p99, all.most].map(time);
            format!("p50 {p50}, p99 {p99}, most {most}")
        });
        Times {
            name: operation.name().to_owned(),
            note,
            points: of().map(|sample| (sample.step, sample.time)).collect(),
        }
    };
    let marks = [
        ("compiles", Happening::Built),
        ("promotions", Happening::Promoted),
        ("rejections", Happening::Rejected),
    ];
    let marks = marks.map(|(name, happening)| Marks {
        name: name.to_owned(),
        steps: watch.steps_of(happening),
    });
    let title = format!("Host time of launches over {steps} steps on {device}");
    drawing::write(file, &times(&title, steps, &Operation::ALL.map(panel), &marks))
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "DOES NOT HOLD" }
}

fn counted(before: &Counters, now: &Counters) -> String {
    format!(
        "{} launches, {} waited; served resident {}, proved {}, literal {}; {} compiles, {} promotions, {} rejections, \
         {} evictions, {} failures; {} variants",
        now.launches - before.launches,
        now.waits - before.waits,
        now.served_resident - before.served_resident,
        now.served_proved - before.served_proved,
        now.served_literal - before.served_literal,
        now.compiles - before.compiles,
        now.promotions - before.promotions,
        now.rejections - before.rejections,
        now.evictions - before.evictions,
        now.failures - before.failures,
        now.variants,
    )
}

fn line<'s>(operation: &str, group: &str, samples: impl Iterator<Item = &'s Sample>) -> String {
    let Some(all) = Quantiles::of(samples.map(|sample| sample.time)) else {
        return format!("{operation:<12}  {group:<12}  {:>12}", 0);
    };
    let [p50, p99, p999, most] = [all.p50, all.p99, all.p999, all.most].map(time);
    let count = all.count;
    format!("{operation:<12}  {group:<12}  {count:>12}  {p50:>9}  {p99:>9}  {p999:>9}  {most:>9}")
}

fn time(time: Duration) -> String {
    let microseconds = time.as_secs_f64() * 1e6;
    match microseconds {
        0.0..1e3 => format!("{microseconds:.2} us"),
        1e3..1e6 => format!("{:.2} ms", microseconds / 1e3),
        _ => format!("{:.2} s", microseconds / 1e6),
    }
}
