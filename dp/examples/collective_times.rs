//! What collectives between GPUs take, through stores to peers and, with the feature `nccl`, through NCCL, as JSON. Ranks are
//! threads, each with a GPU of this host.
//!
//! ```text
//! cargo run --release -p tilewright-dp --features nccl --example collective_times -- --gpus 2 > times.json
//! ```
//!
//! Times of the GPU are of graphs of 20 collectives: the median on the rank where it is the longest. Of the host, what an eager
//! call takes, and what a launch does that moves one row on one GPU. Graphs of both groups are replayed by turns.

use std::error::Error;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use half::bf16;
use serde_json::{Value, json};
#[cfg(feature = "nccl")]
use tilewright_dp::collective::NcclGroup;
use tilewright_dp::collective::{CollectiveError, Group, PeerGroup, Reduction, ThreadExchange};
use tilewright_dp::kernels::convert_rows;
use tilewright_runtime::device::cuda::{CudaEvent, device_count};
use tilewright_runtime::{Device, Graph, Launch, Stream, TensorViewMut};

const COLUMNS: usize = 7168;
/// Rows of a rank.
const ROWS: [u64; 9] = [1, 4, 8, 32, 128, 512, 1024, 2048, 8192];
const LIMIT: Duration = Duration::from_secs(60);
/// Collectives of a graph, and its replays, of which the first ones are not counted.
const BATCH: usize = 20;
const REPLAYS: usize = 24;
const WARM_UP: usize = 4;
/// Eager calls.
const CALLS: usize = 50;
/// The most bytes of a buffer that one shot is tried on.
const MOST_ONE_SHOT: usize = 8 << 20;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = match arguments.as_slice() {
        [] => 2,
        [option, gpus] if option == "--gpus" => gpus.parse()?,
        _ => return Err("usage: collective_times [--gpus N]".into()),
    };
    let found = device_count().unwrap_or(0) as usize;
    if found < asked || asked < 2 {
        println!(
            "{}",
            json!({ "not_measured": format!("{found} GPUs are here, of {asked} asked for, and two are needed") })
        );
        return Ok(());
    }
    let together = &Barrier::new(asked);
    let ranks: Vec<Vec<Measured>> = thread::scope(|scope| {
        let exchanges = [
            ThreadExchange::ranks(asked, LIMIT)?,
            ThreadExchange::ranks(asked, LIMIT)?,
        ];
        let [peers, nccl] = exchanges.map(Vec::into_iter);
        let rank = |(gpu, (peers, nccl))| scope.spawn(move || run(gpu as u32, peers, nccl, together));
        let ranks: Vec<_> = peers.zip(nccl).enumerate().map(rank).collect();
        let measured = ranks
            .into_iter()
            .map(|rank| rank.join().map_err(|_| "a rank panicked")?);
        measured.collect::<Result<_, Failed>>()
    })?;
    let results: Vec<Value> = (0..ranks[0].len())
        .map(|at| {
            let slowest = |time: fn(&Measured) -> f64| ranks.iter().map(|all| time(&all[at])).fold(0.0, f64::max);
            let Case {
                collective,
                parts,
                rows,
                by,
            } = ranks[0][at].case;
            json!({
                "collective": collective,
                "parts": parts,
                "rows_per_rank": rows,
                "by": by,
                "gpu_us": round(slowest(|measured| measured.gpu)),
                "host_us": round(slowest(|measured| measured.host)),
            })
        })
        .collect();
    let launch = launch_time(&Device::cuda(0)?)?;
    let all = json!({
        "device": Device::cuda(0)?.to_string(),
        "ranks": asked,
        "columns": COLUMNS,
        "element": "bf16",
        "launch_host_us": round(launch),
        "results": results,
    });
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}

fn round(us: f64) -> f64 {
    (us * 100.0).round() / 100.0
}

/// What is measured.
#[derive(Clone, Copy)]
struct Case {
    collective: &'static str,
    parts: &'static str,
    rows: u64,
    by: &'static str,
}

/// What one rank measured of it, in microseconds.
struct Measured {
    case: Case,
    gpu: f64,
    host: f64,
}

/// The rows of each rank: equal, or as different as 1 to the number of ranks, as many together.
fn parts(name: &str, rows: u64, ranks: usize) -> Vec<u64> {
    let ranks = ranks as u64;
    let total = rows * ranks;
    match name {
        "equal" => vec![rows; ranks as usize],
        _ => {
            let share = |rank: u64| total * rank * (rank + 1) / (ranks * (ranks + 1));
            (0..ranks).map(|rank| share(rank + 1) - share(rank)).collect()
        }
    }
}

/// A collective on a stream.
type Ask<'a> = Box<dyn Fn(&Stream, &mut TensorViewMut<'_, bf16, 2>) -> Result<(), CollectiveError> + 'a>;

/// One rank: all that is measured, in the same order as the others.
fn run(gpu: u32, peers: ThreadExchange, nccl: ThreadExchange, together: &Barrier) -> Result<Vec<Measured>, Failed> {
    let device = Device::cuda(gpu)?;
    let stream = device.stream();
    let group = PeerGroup::join(&stream, Arc::new(peers))?;
    let ranks = group.size();
    group.reserve::<bf16>(ROWS[ROWS.len() - 1] * ranks as u64, COLUMNS as u64)?;
    #[cfg(feature = "nccl")]
    let nccl = NcclGroup::join(&stream, Arc::new(nccl))?;
    #[cfg(not(feature = "nccl"))]
    drop(nccl);
    let mut all = Vec::new();
    for rows in ROWS {
        let bytes = rows as usize * ranks * COLUMNS * 2;
        let mut buffer = device.zeros::<bf16, 2>([rows as usize * ranks, COLUMNS])?;
        for (collective, by_parts) in [
            ("all_gather", "equal"),
            ("all_gather", "ragged"),
            ("reduce_scatter", "equal"),
            ("reduce_scatter", "ragged"),
            ("all_reduce", "all"),
        ] {
            let shares = parts(by_parts, rows, ranks);
            let (shares, group) = (&shares, &group);
            let mut asked: Vec<(&'static str, Ask<'_>)> = Vec::new();
            match collective {
                "all_gather" => asked.push((
                    "peers",
                    Box::new(move |stream, buffer| group.on_stream(stream)?.all_gather(buffer, shares)),
                )),
                "reduce_scatter" => asked.push((
                    "peers",
                    Box::new(move |stream, buffer| group.on_stream(stream)?.reduce_scatter(buffer, shares)),
                )),
                _ => {
                    let reduce = |reduction| -> Ask<'_> {
                        Box::new(move |stream, buffer| group.on_stream(stream)?.all_reduce_by(buffer, reduction))
                    };
                    if bytes <= MOST_ONE_SHOT {
                        asked.push(("peers, one shot", reduce(Reduction::OneShot)));
                    }
                    asked.push(("peers, two shots", reduce(Reduction::TwoShot)));
                }
            }
            #[cfg(feature = "nccl")]
            {
                let nccl = &nccl;
                asked.push((
                    "NCCL",
                    Box::new(move |stream, buffer| {
                        let nccl = nccl.on_stream(stream)?;
                        match collective {
                            "all_gather" => nccl.all_gather(buffer, shares),
                            "reduce_scatter" => nccl.reduce_scatter(buffer, shares),
                            _ => nccl.all_reduce(buffer),
                        }
                    }),
                ));
            }
            let case = |by| Case {
                collective,
                parts: by_parts,
                rows,
                by,
            };
            all.extend(measure(&device, &mut buffer.view_mut(), &asked, together, case)?);
        }
    }
    group.finish()?;
    #[cfg(feature = "nccl")]
    nccl.leave()?;
    Ok(all)
}

/// The times of one collective by several ways.
fn measure(
    device: &Device,
    buffer: &mut TensorViewMut<'_, bf16, 2>,
    asked: &[(&'static str, Ask<'_>)],
    together: &Barrier,
    case: impl Fn(&'static str) -> Case,
) -> Result<Vec<Measured>, Failed> {
    let stream = device.stream();
    let (cuda, queue) = device.as_cuda().zip(stream.as_cuda()).ok_or("a GPU has a stream")?;
    let mut hosts = Vec::new();
    let mut graphs: Vec<Graph> = Vec::new();
    for (_, ask) in asked {
        let mut host = Vec::new();
        for _ in 0..CALLS {
            together.wait();
            let began = Instant::now();
            ask(&stream, buffer)?;
            host.push(began.elapsed().as_secs_f64() * 1e6);
            stream.synchronize()?;
        }
        hosts.push(median(host));
        // What is measured of the GPU is the best variant.
        Device::settle(LIMIT);
        ask(&stream, buffer)?;
        device.synchronize()?;
        together.wait();
        graphs.push(device.capture(|stream| (0..BATCH).try_for_each(|_| ask(stream, buffer)))?);
    }
    let mut times = vec![Vec::new(); graphs.len()];
    for replay in 0..REPLAYS {
        for (graph, times) in graphs.iter_mut().zip(&mut times) {
            let (begin, end) = (CudaEvent::timed(cuda)?, CudaEvent::timed(cuda)?);
            together.wait();
            begin.record(queue)?;
            graph.launch()?;
            end.record(queue)?;
            device.synchronize()?;
            if replay >= WARM_UP {
                times.push(begin.elapsed_us(&end)? / BATCH as f64);
            }
        }
    }
    let ways = asked.iter().zip(hosts).zip(times);
    Ok(ways
        .map(|(((by, _), host), gpu)| Measured {
            case: case(by),
            gpu: median(gpu),
            host,
        })
        .collect())
}

/// What a launch takes of the host that moves one row.
fn launch_time(device: &Device) -> Result<f64, Failed> {
    let src = device.zeros::<bf16, 2>([1, COLUMNS])?;
    let mut out = device.zeros::<bf16, 2>([1, COLUMNS])?;
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let began = Instant::now();
        convert_rows(&mut out, &src).launch(device)?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
        device.synchronize()?;
    }
    Ok(median(times))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}
