//! What exactness buys: each kernel that moves rows, by the variant that serves every launch of its class, by the one without
//! the checks that its counts and extents make needless, and by the one with counts and extents as literals.
//!
//! Device times, of launches in a graph, the variants by turns; also where they show that nothing is bought:
//!
//! ```text
//! cargo run --release --example exactness -- --device cuda
//! ```

#[path = "support/exit.rs"]
mod exit;
#[path = "support/place.rs"]
mod place;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use place::Place;
use tilewright::dp::kernels::quantize::GROUP;
use tilewright::dp::kernels::{
    copy_from_slot, copy_to_slot, dequantize_rows, gather_rows, pad_rows, place_rows, quantize_rows, quantize_to_slot,
    scatter_rows,
};
use tilewright::prelude::*;
use tilewright::runtime::device::Graph;
use tilewright::runtime::device::cuda::CudaEvent;
use tilewright::runtime::{Tier, VariantId};

/// Measures what literals and proofs save of the device times of the catalogue's kernels that move rows.
#[derive(Parser)]
struct Arguments {
    /// Where the kernels run
    #[arg(long, value_enum, default_value_t = Place::Best)]
    device: Place,
}

/// How much is measured.
struct Extent {
    rows: &'static [usize],
    columns: &'static [usize],
    /// Launches in a graph, which are timed together.
    launches: usize,
    /// How often each graph is timed.
    times: usize,
}

const ON_A_GPU: Extent = Extent {
    rows: &[1, 8, 64, 512, 4096],
    columns: &[576, 7168],
    launches: 16,
    times: 31,
};

/// Enough to show that it runs: the CPU device interprets.
const ON_THE_CPU: Extent = Extent {
    rows: &[1, 4],
    columns: &[24, 128],
    launches: 1,
    times: 3,
};

/// A difference of a smaller share is none.
const NOTHING: f64 = 0.02;

/// What the kernels move: `rows` rows, into tensors of as many, or of twice as many in which they begin at half of them.
struct Rows {
    rows: u64,
    src: DeviceTensor<bf16, 2>,
    out: DeviceTensor<bf16, 2>,
    /// Where each row comes from, or goes: from the last one to the first.
    index: DeviceTensor<i32, 1>,
    wide: DeviceTensor<bf16, 2>,
    payload: DeviceTensor<F8E4M3, 2>,
    scales: DeviceTensor<f32, 2>,
    wide_payload: DeviceTensor<F8E4M3, 2>,
    wide_scales: DeviceTensor<f32, 2>,
}

impl Rows {
    fn on(device: &Device, rows: usize, columns: usize) -> Result<Self, TensorError> {
        let index: Vec<i32> = (0..rows as i32).rev().collect();
        let groups = columns.div_ceil(GROUP);
        Ok(Self {
            rows: rows as u64,
            src: device.zeros([rows, columns])?,
            out: device.zeros([rows, columns])?,
            index: device.upload(&index, [rows])?,
            wide: device.zeros([2 * rows, columns])?,
            payload: device.zeros([rows, columns])?,
            scales: device.zeros([rows, groups])?,
            wide_payload: device.zeros([2 * rows, columns])?,
            wide_scales: device.zeros([2 * rows, groups])?,
        })
    }
}

/// A call over some rows, whose counts are bound in some way.
type Mover = for<'r> fn(&'r mut Rows, fn(u64) -> HostCount) -> Call<'r>;

const MOVERS: [(&str, Mover); 6] = [
    ("gather_rows", |r, _| gather_rows(&mut r.out, &r.src, &r.index)),
    ("scatter_rows", |r, _| scatter_rows(&mut r.out, &r.src, &r.index)),
    ("pad_rows", |r, bind| pad_rows(&mut r.wide, &r.src, bind(r.rows))),
    ("place_rows", |r, bind| {
        place_rows(&mut r.wide, &r.src, bind(r.rows / 2), bind(0), bind(r.rows))
    }),
    ("copy_to_slot", |r, bind| {
        copy_to_slot(&mut r.wide, &r.src, bind(r.rows / 2), bind(r.rows))
    }),
    ("copy_from_slot", |r, bind| {
        copy_from_slot(&mut r.out, &r.wide, bind(r.rows / 2), bind(r.rows))
    }),
];

/// Those of rows in groups of columns.
const OF_GROUPS: [(&str, Mover); 3] = [
    ("quantize_rows", |r, _| {
        quantize_rows(&mut r.payload, &mut r.scales, &r.src)
    }),
    ("dequantize_rows", |r, _| {
        dequantize_rows(&mut r.out, &r.payload, &r.scales)
    }),
    ("quantize_to_slot", |r, bind| {
        let (start, rows) = (bind(r.rows / 2), bind(r.rows));
        quantize_to_slot(&mut r.wide_payload, &mut r.wide_scales, &r.src, start, bind(0), rows)
    }),
];

/// What a count is bound as.
type Bind = fn(u64) -> HostCount;

/// How the three variants of a launch are asked for.
const TIERS: [(Tier, Bind); 3] = [
    (Tier::Resident, HostCount::Runtime),
    (Tier::Proved, HostCount::Runtime),
    (Tier::Literal, HostCount::Exact),
];

fn asking(call: Call<'_>, tier: Tier) -> Call<'_> {
    match tier {
        Tier::Resident => call.specialize(Specialize::Resident),
        Tier::Proved => call.specialize(Specialize::Exact),
        Tier::Literal => call.exact_extents().specialize(Specialize::Exact),
    }
}

fn main() -> ExitCode {
    exit::code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let device = arguments.device.open()?;
    place::describe(&device)?;
    let extent = if device.is_cuda() { ON_A_GPU } else { ON_THE_CPU };
    writeln!(
        io::stdout(),
        "microseconds of a launch, the middle of {} times {} launches in a graph, by turns; shares of the resident variant's\n\n\
         {:<16} {:>5} {:>7} {:>9} {:>9} {:>9} {:>8} {:>8}",
        extent.times,
        extent.launches,
        "kernel",
        "rows",
        "columns",
        "resident",
        "proved",
        "literal",
        "proved",
        "literal"
    )?;
    for (name, mover) in MOVERS.into_iter().chain(OF_GROUPS) {
        let of_groups = OF_GROUPS.iter().any(|(other, _)| *other == name);
        let mut found = Vec::new();
        for &columns in extent
            .columns
            .iter()
            .filter(|columns| !of_groups || columns.is_multiple_of(GROUP))
        {
            for &rows in extent.rows {
                let mut tensors = Rows::on(&device, rows, columns)?;
                let measured = Measured::of(&device, &extent, &mut tensors, mover)?;
                writeln!(io::stdout(), "{name:<16} {rows:>5} {columns:>7} {measured}")?;
                found.push(measured);
            }
        }
        writeln!(io::stdout(), "{name:<16} {}\n", Summary(&found))?;
    }
    Ok(())
}

/// The middle times of a launch's variants, in the order of [`TIERS`].
struct Measured {
    micros: [f64; 3],
    variants: [Option<VariantId>; 3],
}

impl Measured {
    fn of(device: &Device, extent: &Extent, rows: &mut Rows, mover: Mover) -> Result<Self, Box<dyn Error>> {
        let mut variants = [None; 3];
        let mut graphs = Vec::new();
        for ((tier, bind), variant) in TIERS.into_iter().zip(&mut variants) {
            // Once before, so that it is compiled and loaded.
            *variant = asking(mover(rows, bind), tier).launch(device)?.variant_id();
            graphs.push(device.capture(|stream| {
                (0..extent.launches).try_for_each(|_| asking(mover(rows, bind), tier).launch_on(stream).map(drop))
            })?);
        }
        let mut times = [const { Vec::new() }; 3];
        for time in 0..=extent.times {
            for (graph, times) in graphs.iter_mut().zip(&mut times) {
                let micros = timed(device, graph)? / extent.launches as f64;
                // The first time of each is for what is done once.
                if time > 0 {
                    times.push(micros);
                }
            }
        }
        let micros = times.map(|mut times| {
            times.sort_unstable_by(f64::total_cmp);
            times[times.len() / 2]
        });
        Ok(Self { micros, variants })
    }

    /// Times with proofs and with literals over those without.
    fn shares(&self) -> [f64; 2] {
        let [resident, proved, literal] = self.micros;
        [proved / resident, literal / resident]
    }
}

/// Microseconds that a graph takes where it runs.
fn timed(device: &Device, graph: &mut Graph) -> Result<f64, Box<dyn Error>> {
    let stream = device.stream();
    let (Some(gpu), Some(queue)) = (device.as_cuda(), stream.as_cuda()) else {
        let started = Instant::now();
        graph.launch()?;
        return Ok(started.elapsed().as_secs_f64() * 1e6);
    };
    let (start, end) = (CudaEvent::timed(gpu)?, CudaEvent::timed(gpu)?);
    start.record(queue)?;
    graph.launch_on(&stream)?;
    end.record(queue)?;
    Ok(start.elapsed_us(&end)?)
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [resident, proved, literal] = self.micros;
        let [with_proofs, with_literals] = self.shares();
        write!(
            f,
            "{resident:>9.2} {proved:>9.2} {literal:>9.2} {with_proofs:>8.3} {with_literals:>8.3}"
        )?;
        // What has no effect on the code has none on the time.
        let [of_resident, of_proved, of_literal] = self.variants;
        match (of_resident == of_proved, of_proved == of_literal) {
            (true, true) => f.write_str("  one code for all"),
            (true, false) => f.write_str("  proofs change no code"),
            (false, true) => f.write_str("  literals change no code"),
            (false, false) => Ok(()),
        }
    }
}

/// What a kernel's sizes show together.
struct Summary<'m>(&'m [Measured]);

impl std::fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let say = |share: fn(&Measured) -> f64| {
            let all = self.0.iter().map(share);
            let mean = (all.clone().map(f64::ln).sum::<f64>() / self.0.len() as f64).exp();
            let [less, more] = [
                all.clone().filter(|share| *share < 1.0 - NOTHING).count(),
                all.filter(|share| *share > 1.0 + NOTHING).count(),
            ];
            match (less, more) {
                (0, 0) => "buy nothing at any size".to_owned(),
                _ => format!("take {mean:.3} of the time on average, less at {less} sizes and more at {more}"),
            }
        };
        let literals = say(|measured| measured.shares()[1] / measured.shares()[0]);
        write!(
            f,
            "of {} sizes, proofs {}; literals beside them {literals}",
            self.0.len(),
            say(|measured| measured.shares()[0])
        )
    }
}
