//! What an eager gather over `NcclGroup` takes of the host's time, and how unequal parts are gathered best. Ranks are
//! threads, each with a GPU of this host.
//!
//! ```text
//! cargo run --release -p tilewright-dp --features nccl --example gather_host_time -- --gpus 2
//! ```
//!
//! `NCCL_COMM_BLOCKING=0` makes NCCL begin a thread for each call, for comparison.

use std::error::Error;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use half::bf16;
use tilewright_dp::collective::{Group, NcclGroup, ThreadExchange};
use tilewright_runtime::device::cuda::{CudaEvent, Nccl, UnequalGather, device_count};
use tilewright_runtime::{Device, TensorViewMut};

const COLUMNS: usize = 7168;
const ROWS: [u64; 7] = [1, 8, 32, 128, 512, 2048, 8192];
const LIMIT: Duration = Duration::from_secs(60);
const WARM_UP: usize = 10;
const CALLS: usize = 200;
/// How many gathers the GPU's time is taken of at once.
const BATCH: usize = 20;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = match arguments.as_slice() {
        [] => 2,
        [option, gpus] if option == "--gpus" => gpus.parse()?,
        _ => return Err("usage: gather_host_time [--gpus N]".into()),
    };
    let found = device_count().unwrap_or(0) as usize;
    if found == 0 {
        println!("no GPU: nothing to measure");
        return Ok(());
    }
    let nccl = match Nccl::load() {
        Ok(nccl) => nccl,
        Err(error) => {
            println!("nothing to measure: {error}");
            return Ok(());
        }
    };
    println!("NCCL {:?} of {}", nccl.version(), nccl.path().display());
    println!(
        "{}, rows of {COLUMNS} bf16, {CALLS} calls, microseconds of the slowest rank",
        Device::cuda(0)?
    );
    println!("gpus rows parts             host p50  host p99  GPU median");
    for gpus in 1..=asked.min(found) {
        measure(gpus)?;
    }
    Ok(())
}

/// How parts are, and how they are gathered.
#[derive(Clone, Copy)]
enum Parts {
    Equal,
    Unequal(UnequalGather),
}

impl Parts {
    const ALL: [Self; 3] = [
        Self::Equal,
        Self::Unequal(UnequalGather::Sends),
        Self::Unequal(UnequalGather::Broadcasts),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Unequal(UnequalGather::Sends) => "unequal, sent",
            Self::Unequal(UnequalGather::Broadcasts) => "unequal, broadcast",
        }
    }

    /// The rows of each rank, `rows` at most.
    fn rows(self, rows: u64, gpus: usize) -> Vec<u64> {
        let of_rank = |rank: u64| match self {
            Self::Equal => rows,
            Self::Unequal(_) => (rows * (rank + 1) / gpus as u64).max(1),
        };
        (0..gpus as u64).map(of_rank).collect()
    }
}

/// What one rank measured, in microseconds.
struct Times {
    host: Vec<f64>,
    gpu: Vec<f64>,
}

fn measure(gpus: usize) -> Result<()> {
    let exchanges = ThreadExchange::ranks(gpus, LIMIT)?;
    let together = &Barrier::new(gpus);
    let ranks: Vec<Vec<Times>> = thread::scope(|scope| {
        let rank = |(gpu, exchange)| scope.spawn(move || run(gpu as u32, exchange, together));
        let ranks: Vec<_> = exchanges.into_iter().enumerate().map(rank).collect();
        let times = ranks
            .into_iter()
            .map(|rank| rank.join().map_err(|_| "a rank panicked")?);
        times.collect::<Result<_>>()
    })?;
    let cases = ROWS.iter().flat_map(|rows| Parts::ALL.map(|parts| (rows, parts)));
    for (case, (rows, parts)) in cases.enumerate() {
        let slowest = |take: &dyn Fn(&Times) -> f64| ranks.iter().map(|times| take(&times[case])).fold(0.0, f64::max);
        let host = |part: f64| slowest(&|times| quantile(&times.host, part));
        println!(
            "{gpus:>4} {rows:>4} {:<18} {:>7.1} {:>9.1} {:>11.1}",
            parts.name(),
            host(0.5),
            host(0.99),
            slowest(&|times| quantile(&times.gpu, 0.5))
        );
    }
    Ok(())
}

/// One rank: all that is measured, in the same order as the others.
fn run(gpu: u32, exchange: ThreadExchange, together: &Barrier) -> Result<Vec<Times>> {
    let device = Device::cuda(gpu)?;
    let stream = device.stream();
    let group = NcclGroup::join(&stream, Arc::new(exchange))?;
    let mut all = Vec::new();
    for rows in ROWS {
        for parts in Parts::ALL {
            let shares = parts.rows(rows, group.size());
            let mut buffer = device.zeros::<bf16, 2>([shares.iter().sum::<u64>() as usize, COLUMNS])?;
            let gather = |buffer: &mut TensorViewMut<'_, bf16, 2>| match parts {
                Parts::Equal => group.all_gather(buffer, &shares),
                Parts::Unequal(way) => group.all_gather_by(buffer, &shares, way),
            };
            for _ in 0..WARM_UP {
                gather(&mut buffer.view_mut())?;
            }
            group.finish()?;
            let mut host = Vec::with_capacity(CALLS);
            for _ in 0..CALLS {
                together.wait();
                let began = Instant::now();
                gather(&mut buffer.view_mut())?;
                host.push(began.elapsed().as_secs_f64() * 1e6);
                group.finish()?;
            }
            let (cuda, queue) = device.as_cuda().zip(stream.as_cuda()).ok_or("a GPU has a stream")?;
            let mut times = Vec::new();
            for _ in 0..CALLS / BATCH {
                let (begin, end) = (CudaEvent::timed(cuda)?, CudaEvent::timed(cuda)?);
                together.wait();
                begin.record(queue)?;
                for _ in 0..BATCH {
                    gather(&mut buffer.view_mut())?;
                }
                end.record(queue)?;
                group.finish()?;
                times.push(begin.elapsed_us(&end)? / BATCH as f64);
            }
            all.push(Times { host, gpu: times });
        }
    }
    group.leave()?;
    Ok(all)
}

fn quantile(times: &[f64], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}
