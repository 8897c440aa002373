//! What gathers take that store into every rank's gathered buffer (place, pad, zero and push in one launch), as lines of JSON.
//! Ranks are threads, each with a GPU of this host.
//!
//! ```text
//! cargo run --release -p tilewright-dp --example push_times -- --gpus 2 > times.jsonl
//! ```
//!
//! Times are of graphs of 20 gathers: the median of 24 replays on the rank where it is the longest. *Ragged* ranks have as many
//! rows together as equal ones, in a buffer without padding; *padded* ones the same in a buffer padded to the largest.

use std::error::Error;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use half::bf16;
use serde_json::json;
use tilewright_dp::collective::{Group, PeerGroup, ThreadExchange};
use tilewright_dp::kernels::dequantize_rows;
use tilewright_dp::movement::{Contribution, Counts, GatheredHalves, Groups, Movement, MovementError, QuantizedHalves};
use tilewright_dp::plan::{Plan, Request, Topology};
use tilewright_runtime::device::cuda::{CudaEvent, device_count};
use tilewright_runtime::{Device, DeviceTensor, Launch, Stream};

const COLUMNS: usize = 7168;
/// Rows of a rank.
const ROWS: [u64; 9] = [1, 4, 8, 32, 128, 512, 1024, 2048, 8192];
const PARTS: [&str; 3] = ["equal", "ragged", "padded"];
const LIMIT: Duration = Duration::from_secs(60);
/// Gathers of a graph, and its replays, of which the first ones are not counted.
const BATCH: usize = 20;
const REPLAYS: usize = 28;
const WARM_UP: usize = 4;

type Failed = Box<dyn Error + Send + Sync>;

/// How rows go.
#[derive(Clone, Copy)]
enum Wire {
    Bf16,
    /// Left to the reader.
    Quantized,
    /// And dequantised by a launch of its own.
    Dequantized,
}

impl Wire {
    const ALL: [Self; 3] = [Self::Bf16, Self::Quantized, Self::Dequantized];

    fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Quantized => "8 bits",
            Self::Dequantized => "8 bits, dequantised",
        }
    }
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ranks = match arguments.as_slice() {
        [] => 2,
        [option, gpus] if option == "--gpus" => gpus.parse()?,
        _ => return Err("usage: push_times [--gpus N]".into()),
    };
    let found = device_count().unwrap_or(0) as usize;
    if found < ranks || ranks < 2 {
        let why = format!("{found} GPUs are here, of {ranks} asked for, and two are needed");
        println!("{}", json!({ "not_measured": why }));
        return Ok(());
    }
    let together = &Barrier::new(ranks);
    let measured: Vec<Vec<f64>> = thread::scope(|scope| {
        let exchanges = ThreadExchange::ranks(ranks, LIMIT)?;
        let rank = |(gpu, exchange)| scope.spawn(move || run(gpu, ranks, exchange, together));
        let threads: Vec<_> = exchanges.into_iter().enumerate().map(rank).collect();
        let measured = threads
            .into_iter()
            .map(|rank| rank.join().map_err(|_| "a rank panicked")?);
        measured.collect::<Result<_, Failed>>()
    })?;
    let device = Device::cuda(0)?.to_string();
    for (at, (rows, parts, wire)) in cases().enumerate() {
        let slowest = measured.iter().map(|all| all[at]).fold(0.0, f64::max);
        let line = json!({
            "device": device,
            "ranks": ranks,
            "columns": COLUMNS,
            "rows_per_rank": rows,
            "parts": parts,
            "wire": wire.name(),
            "gpu_us": (slowest * 100.0).round() / 100.0,
        });
        println!("{line}");
    }
    Ok(())
}

fn cases() -> impl Iterator<Item = (u64, &'static str, Wire)> {
    let parts = ROWS.into_iter().flat_map(|rows| PARTS.map(|parts| (rows, parts)));
    parts.flat_map(|(rows, parts)| Wire::ALL.map(|wire| (rows, parts, wire)))
}

/// The rows of each rank: equal, or as different as 1 to the number of ranks, as many together.
fn counts(parts: &str, rows: u64, ranks: usize) -> Vec<u64> {
    let ranks = ranks as u64;
    let total = rows * ranks;
    match parts {
        "equal" => vec![rows; ranks as usize],
        _ => {
            let share = |rank: u64| total * rank * (rank + 1) / (ranks * (ranks + 1));
            (0..ranks).map(|rank| share(rank + 1) - share(rank)).collect()
        }
    }
}

/// What a rank has for all cases.
struct Rank<'r> {
    device: Device,
    world: PeerGroup,
    own: PeerGroup,
    topology: Topology,
    together: &'r Barrier,
    rows: GatheredHalves<bf16>,
    quantized: QuantizedHalves,
    local: DeviceTensor<bf16, 2>,
    wide: DeviceTensor<bf16, 2>,
}

impl Rank<'_> {
    /// A gather on a stream.
    fn ask(&mut self, stream: &Stream, plan: &Plan, wire: Wire) -> Result<(), MovementError> {
        let groups = Groups::new(self.world.on_stream(stream)?, self.own.on_stream(stream)?);
        let movement = Movement::new(plan, &self.topology, &groups)?;
        let (tokens, total) = (movement.slot().tokens as usize, plan.layout().rows());
        let local = self.local.rows(0..tokens)?;
        match wire {
            Wire::Bf16 => {
                movement.push(&mut self.rows, local, Contribution::Replicate, Counts::Planned)?;
            }
            Wire::Quantized | Wire::Dequantized => {
                movement.push_quantized(&mut self.quantized, local, Counts::Planned)?;
            }
        }
        if let Wire::Dequantized = wire {
            let (payload, scales) = self.quantized.rows(total)?;
            let wide = self.wide.view_mut().rows(0..total as usize)?;
            dequantize_rows(wide, payload, scales).launch_on(stream)?;
        }
        Ok(())
    }

    fn measure(&mut self, plan: &Plan, wire: Wire) -> Result<f64, Failed> {
        let (device, stream) = (self.device.clone(), self.device.stream());
        let (cuda, queue) = device.as_cuda().zip(stream.as_cuda()).ok_or("a GPU has a stream")?;
        for _ in 0..6 {
            self.ask(&stream, plan, wire)?;
        }
        device.synchronize()?;
        // What is measured is the best variant.
        Device::settle(LIMIT);
        self.ask(&stream, plan, wire)?;
        device.synchronize()?;
        self.together.wait();
        let mut graph = device.capture(|stream| (0..BATCH).try_for_each(|_| self.ask(stream, plan, wire)))?;
        let mut times = Vec::new();
        for replay in 0..REPLAYS {
            let (begin, end) = (CudaEvent::timed(cuda)?, CudaEvent::timed(cuda)?);
            self.together.wait();
            begin.record(queue)?;
            graph.launch()?;
            end.record(queue)?;
            device.synchronize()?;
            if replay >= WARM_UP {
                times.push(begin.elapsed_us(&end)? / BATCH as f64);
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}

/// One rank: all cases, in the same order as the others.
fn run(gpu: usize, ranks: usize, exchange: ThreadExchange, together: &Barrier) -> Result<Vec<f64>, Failed> {
    let device = Device::cuda(gpu as u32)?;
    let world = PeerGroup::join(&device.stream(), Arc::new(exchange))?;
    let alone = ThreadExchange::ranks(1, LIMIT)?.remove(0);
    let own = PeerGroup::join(&device.stream(), Arc::new(alone))?;
    // Padded to the largest of ragged ranks.
    let most = counts("padded", ROWS[ROWS.len() - 1], ranks)
        .into_iter()
        .max()
        .unwrap_or(0);
    let total = most as usize * ranks;
    let mut rows = GatheredHalves::new(&world, COLUMNS)?;
    rows.reserve(total as u64)?;
    let mut quantized = QuantizedHalves::new(&world, COLUMNS)?;
    quantized.reserve(total as u64)?;
    let elements: Vec<bf16> = (0..COLUMNS).map(|i| bf16::from_f32(i as f32 / 512.0)).collect();
    let mut local = device.zeros::<bf16, 2>([most as usize, COLUMNS])?;
    local.copy_from(&elements.repeat(most as usize))?;
    let mut rank = Rank {
        wide: device.zeros([total, COLUMNS])?,
        topology: Topology::new(ranks as u64, ranks as u64)?,
        device,
        world,
        own,
        together,
        rows,
        quantized,
        local,
    };
    let mut times = Vec::new();
    for (rows, parts, wire) in cases() {
        let request = Request {
            extend: parts == "ragged",
            row_bytes: 2 * COLUMNS as u64,
            ..Request::new(counts(parts, rows, ranks), ranks as u64)
        };
        times.push(rank.measure(&Plan::new(&request)?, wire)?);
    }
    rank.world.finish()?;
    Ok(times)
}
