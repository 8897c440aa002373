//! Tilewright's side of `benches/peers_gather.py`: one rank of a group, in the process that asks. Each rank captures graphs of the
//! same collectives, which are replayed by turns, from a gate on at which all ranks begin together.

mod limit;

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use half::bf16;
use serde::Deserialize;
use serde_json::{Value, json};
#[cfg(feature = "nccl")]
use tilewright_dp::collective::NcclGroup;
use tilewright_dp::collective::{Exchange, Group, PeerGroup, Peers, Reduction, Rendezvous, ThreadExchange};
use tilewright_dp::kernels::convert_rows;
use tilewright_dp::movement::{BoundGather, Contribution, Counts, GatheredHalves, Groups, Movement, QuantizedHalves};
use tilewright_dp::plan::{Plan, Request, Topology};
use tilewright_runtime::device::cuda::{CudaEvent, CudaStream};
use tilewright_runtime::{Device, DeviceTensor, Graph, Launch, Stream};

use limit::Limit;

const LIMIT: Duration = Duration::from_secs(60);
/// Calls before those whose host time is taken: launches that come often cost less.
const WARM_UP: usize = 20;

/// What a rank can be asked for.
#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Ask {
    /// Meet the others, at this port of this host and the next two, for so many rows of all ranks at most.
    Join {
        rank: usize,
        ranks: usize,
        port: u16,
        rows: u64,
        columns: usize,
    },
    /// Capture a collective of so many rows of each rank under a name, compare what it does, and time it as the host sees it.
    Prepare {
        name: String,
        way: Way,
        counts: Vec<u64>,
        batch: usize,
        calls: usize,
        check: bool,
    },
    /// Open the gate and replay what was captured: microseconds of one collective.
    Replay { name: String },
    /// Put the gate into a stream of somebody else's.
    Gate { stream: u64 },
    /// What a launch of one row takes of the host.
    Launch { calls: usize },
    /// Forget what was captured.
    Clear,
    /// Leave.
    Leave,
}

/// How ranks' rows come together.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The fused gather, into every rank's gathered buffer.
    Push,
    /// The same, bound to the tensor that the rows are in.
    PushBound,
    /// The same in 8 bits, left to the reader.
    PushQuantized,
    /// Collectives through stores to peers, in place.
    PeersGather,
    PeersScatter,
    PeersOneShot,
    PeersTwoShots,
    /// Those of NCCL's group.
    NcclGather,
    NcclScatter,
    NcclReduce,
    /// The kernel by hand, on so many blocks of so many threads.
    Limit {
        blocks: u32,
        threads: u32,
    },
}

/// One rank, and what it has for all collectives.
pub struct Rank {
    device: Device,
    group: PeerGroup,
    own: PeerGroup,
    #[cfg(feature = "nccl")]
    nccl: NcclGroup,
    exchange: Arc<dyn Exchange>,
    limit: Limit,
    halves: GatheredHalves<bf16>,
    bound: BoundGather<bf16>,
    quantized: QuantizedHalves,
    local: DeviceTensor<bf16, 2>,
    buffer: DeviceTensor<bf16, 2>,
    /// The last step that was planned: an engine plans once for all that it gathers.
    step: Option<Step>,
    graphs: HashMap<String, (Graph, usize)>,
    events: [CudaEvent; 2],
}

/// Where the rows of a step belong.
struct Step {
    counts: Vec<u64>,
    plan: Plan,
    topology: Topology,
}

impl Step {
    fn new(counts: &[u64], columns: usize) -> Result<Self, Box<dyn Error>> {
        let ranks = counts.len() as u64;
        let request = Request {
            // The rows of each where those before it end, whether they are as many or not.
            extend: true,
            row_bytes: 2 * columns as u64,
            ..Request::new(counts.to_vec(), ranks)
        };
        Ok(Self {
            counts: counts.to_vec(),
            plan: Plan::new(&request)?,
            topology: Topology::new(ranks, ranks)?,
        })
    }
}

/// Answers a request of the rank that this process is.
pub fn answer(rank: &mut Option<Rank>, ask: Ask) -> Result<Value, Box<dyn Error>> {
    if let Ask::Join {
        rank: number,
        ranks,
        port,
        rows,
        columns,
    } = ask
    {
        *rank = Some(Rank::join(number, ranks, port, rows, columns)?);
        return Ok(json!({ "joined": true }));
    }
    let joined = rank.as_mut().ok_or("the rank has not joined")?;
    Ok(match ask {
        Ask::Join { .. } => json!({}),
        Ask::Prepare {
            name,
            way,
            counts,
            batch,
            calls,
            check,
        } => {
            joined.begin(way, &counts, check)?;
            json!({ "host_us": joined.prepare(name, way, &counts, batch, calls)? })
        }
        Ask::Replay { name } => json!({ "us": joined.replay(&name)? }),
        Ask::Gate { stream } => {
            let cuda = joined.device.as_cuda().ok_or("the device is no GPU")?;
            // SAFETY: the driver's process has the stream, of this GPU, and outlives the launch.
            #[allow(unsafe_code)]
            let stream = unsafe { CudaStream::from_raw(cuda, stream as *mut _) }?;
            joined.limit.gate(&stream)?;
            json!({})
        }
        Ask::Launch { calls } => json!({ "host_us": joined.launch_time(calls)? }),
        Ask::Clear => {
            joined.device.synchronize()?;
            joined.graphs.clear();
            json!({})
        }
        Ask::Leave => {
            let left = rank.take().ok_or("the rank has not joined")?;
            left.group.finish()?;
            #[cfg(feature = "nccl")]
            left.nccl.leave()?;
            json!({})
        }
    })
}

fn meet(rank: usize, size: usize, port: u16) -> Result<Arc<dyn Exchange>, Box<dyn Error>> {
    let place = Rendezvous {
        rank,
        size,
        local_rank: rank,
        address: "127.0.0.1".to_owned(),
        port,
    };
    Ok(Arc::new(place.meet(LIMIT)?))
}

/// What a rank's elements are: its number, from 1.
fn value(rank: usize) -> bf16 {
    bf16::from_f32(rank as f32 + 1.0)
}

impl Rank {
    fn join(rank: usize, ranks: usize, port: u16, rows: u64, columns: usize) -> Result<Self, Box<dyn Error>> {
        let device = Device::cuda(rank as u32)?;
        let cuda = device.as_cuda().ok_or("the device is no GPU")?;
        let stream = device.stream();
        let exchange = meet(rank, ranks, port)?;
        let group = PeerGroup::join(&stream, exchange.clone())?;
        let peers = Peers::join(&device, meet(rank, ranks, port + 1)?)?;
        let alone = ThreadExchange::ranks(1, LIMIT)?.remove(0);
        let total = rows as usize;
        group.reserve::<bf16>(total as u64, columns as u64)?;
        let mut halves = GatheredHalves::new(&group, columns)?;
        halves.reserve(total as u64)?;
        let mut quantized = QuantizedHalves::new(&group, columns)?;
        quantized.reserve(total as u64)?;
        let mut of_bound = GatheredHalves::new(&group, columns)?;
        of_bound.reserve(total as u64)?;
        let rows = vec![value(rank); total * columns];
        let local = || device.upload(&rows, [total, columns]);
        let bound = BoundGather::new(of_bound, local()?);
        Ok(Self {
            own: PeerGroup::join(&stream, Arc::new(alone))?,
            #[cfg(feature = "nccl")]
            nccl: NcclGroup::join(&stream, meet(rank, ranks, port + 2)?)?,
            limit: Limit::new(&peers, total, columns)?,
            buffer: device.zeros([total, columns])?,
            step: None,
            graphs: HashMap::new(),
            events: [CudaEvent::timed(cuda)?, CudaEvent::timed(cuda)?],
            local: local()?,
            device,
            group,
            exchange,
            halves,
            bound,
            quantized,
        })
    }

    /// A collective on a stream.
    fn ask(&mut self, stream: &Stream, way: Way, counts: &[u64]) -> Result<(), Box<dyn Error>> {
        let (rank, total) = (self.group.rank(), counts.iter().sum::<u64>() as usize);
        let group = self.group.on_stream(stream)?;
        let buffer = &mut self.buffer.view_mut().rows(..total)?;
        match way {
            Way::Push | Way::PushBound | Way::PushQuantized => {
                let step = match self.step.take().filter(|step| step.counts == counts) {
                    Some(step) => step,
                    None => Step::new(counts, self.local.extents()[1])?,
                };
                let step = self.step.insert(step);
                let groups = Groups::new(group, self.own.on_stream(stream)?);
                let movement = Movement::new(&step.plan, &step.topology, &groups)?;
                let local = || self.local.rows(..counts[rank] as usize);
                match way {
                    Way::Push => movement.push(&mut self.halves, local()?, Contribution::Replicate, Counts::Planned)?,
                    Way::PushBound => movement.push_bound(&mut self.bound)?,
                    _ => movement.push_quantized(&mut self.quantized, local()?, Counts::Planned)?,
                };
            }
            Way::PeersGather => group.all_gather(buffer, counts)?,
            Way::PeersScatter => group.reduce_scatter(buffer, counts)?,
            Way::PeersOneShot => group.all_reduce_by(buffer, Reduction::OneShot)?,
            Way::PeersTwoShots => group.all_reduce_by(buffer, Reduction::TwoShot)?,
            #[cfg(feature = "nccl")]
            Way::NcclGather => self.nccl.on_stream(stream)?.all_gather(buffer, counts)?,
            #[cfg(feature = "nccl")]
            Way::NcclScatter => self.nccl.on_stream(stream)?.reduce_scatter(buffer, counts)?,
            #[cfg(feature = "nccl")]
            Way::NcclReduce => self.nccl.on_stream(stream)?.all_reduce(buffer)?,
            #[cfg(not(feature = "nccl"))]
            Way::NcclGather | Way::NcclScatter | Way::NcclReduce => return Err("built without NCCL".into()),
            Way::Limit { blocks, threads } => {
                let start = counts[..rank].iter().sum();
                let queue = stream.as_cuda().ok_or("a GPU has a stream")?;
                self.limit
                    .gather(queue, &self.local, counts[rank], start, [blocks, threads])?;
            }
        }
        Ok(())
    }

    /// Does it once, and compares.
    fn begin(&mut self, way: Way, counts: &[u64], check: bool) -> Result<(), Box<dyn Error>> {
        if let Way::Limit { .. } = way {
            self.limit.restart()?;
        }
        if check {
            self.lay_down(way, counts)?;
        }
        self.exchange.all_gather(&[])?;
        self.ask(&self.device.stream(), way, counts)?;
        self.group.finish()?;
        match check {
            true => self.check(way, counts),
            false => Ok(()),
        }
    }

    fn prepare(
        &mut self,
        name: String,
        way: Way,
        counts: &[u64],
        batch: usize,
        calls: usize,
    ) -> Result<f64, Box<dyn Error>> {
        let (device, stream) = (self.device.clone(), self.device.stream());
        let host_us = self.host_time(calls, |rank| rank.ask(&stream, way, counts))?;
        let graph =
            device.capture(|stream| (0..batch).try_for_each(|_| self.ask(stream, way, counts).map_err(Captured)));
        let graph = graph.map_err(|Captured(error)| error)?;
        self.graphs.insert(name, (graph, batch));
        self.exchange.all_gather(&[])?;
        Ok(host_us)
    }

    /// What a call takes of the host, the median of so many behind an exchange each: of the best variant, which is built behind.
    fn host_time(
        &mut self,
        calls: usize,
        mut call: impl FnMut(&mut Self) -> Result<(), Box<dyn Error>>,
    ) -> Result<f64, Box<dyn Error>> {
        call(self)?;
        self.device.synchronize()?;
        Device::settle(LIMIT);
        let mut times = Vec::new();
        for number in 0..WARM_UP + calls {
            self.exchange.all_gather(&[])?;
            let began = Instant::now();
            call(self)?;
            if number >= WARM_UP {
                times.push(began.elapsed().as_secs_f64() * 1e6);
            }
            self.device.synchronize()?;
        }
        times.sort_by(f64::total_cmp);
        Ok(times.get(times.len() / 2).copied().unwrap_or(0.0))
    }

    /// Lays this rank's rows down for what works in place: its part of a gather, or all rows of a sum.
    fn lay_down(&mut self, way: Way, counts: &[u64]) -> Result<(), Box<dyn Error>> {
        let (rank, columns) = (self.group.rank(), self.local.extents()[1]);
        let total: u64 = counts.iter().sum();
        let start: u64 = counts[..rank].iter().sum();
        let own = match way {
            Way::PeersGather | Way::NcclGather => start..start + counts[rank],
            _ => 0..total,
        };
        let mut rows = vec![bf16::ZERO; total as usize * columns];
        rows[own.start as usize * columns..own.end as usize * columns].fill(value(rank));
        self.buffer.view_mut().rows(..total as usize)?.copy_from(&rows)?;
        Ok(())
    }

    /// Whether all rows are there that a first collective brings.
    fn check(&mut self, way: Way, counts: &[u64]) -> Result<(), Box<dyn Error>> {
        let (rank, ranks, total) = (self.group.rank(), counts.len(), counts.iter().sum::<u64>());
        let all = 0..total as usize;
        let start = counts[..rank].iter().sum::<u64>() as usize;
        let (found, rows) = match way {
            Way::Push => (self.halves.rows(total)?.download()?, all),
            Way::PushBound => (self.bound.rows(total)?.download()?, all),
            Way::Limit { .. } => (self.limit.gathered(&self.device, 1, total)?, all),
            // What the wire carries is compared by the tests.
            Way::PushQuantized => return Ok(()),
            Way::PeersScatter | Way::NcclScatter => {
                let own = start..start + counts[rank] as usize;
                (self.buffer.rows(own.clone())?.download()?, own)
            }
            _ => (self.buffer.rows(..total as usize)?.download()?, all),
        };
        let sum = bf16::from_f32((1..=ranks).sum::<usize>() as f32);
        let of_ranks = counts.iter().enumerate();
        let gathered: Vec<bf16> = of_ranks
            .flat_map(|(rank, &rows)| std::iter::repeat_n(value(rank), rows as usize))
            .collect();
        let expected = |row: usize| match way {
            Way::Push | Way::PushBound | Way::PeersGather | Way::NcclGather | Way::Limit { .. } => gathered[row],
            _ => sum,
        };
        let columns = self.local.extents()[1];
        for (row, found) in rows.zip(found.chunks(columns)) {
            if let Some(wrong) = found.iter().find(|&&found| found != expected(row)) {
                return Err(format!("row {row} holds {wrong} and should hold {}", expected(row)).into());
            }
        }
        Ok(())
    }

    fn replay(&mut self, name: &str) -> Result<f64, Box<dyn Error>> {
        let (graph, batch) = self.graphs.get_mut(name).ok_or("nothing is prepared under that name")?;
        let stream = self.device.stream();
        let queue = stream.as_cuda().ok_or("a GPU has a stream")?;
        let [begin, end] = &self.events;
        self.limit.gate(queue)?;
        begin.record(queue)?;
        graph.launch()?;
        end.record(queue)?;
        Ok(begin.elapsed_us(end)? / *batch as f64)
    }

    fn launch_time(&mut self, calls: usize) -> Result<f64, Box<dyn Error>> {
        let mut out = self.device.zeros::<bf16, 2>([1, self.local.extents()[1]])?;
        self.host_time(calls, |rank| {
            convert_rows(&mut out, rank.local.rows(..1)?).launch(&rank.device)?;
            Ok(())
        })
    }
}

/// What goes wrong in a capture.
struct Captured(Box<dyn Error>);

impl From<tilewright_runtime::DeviceError> for Captured {
    fn from(error: tilewright_runtime::DeviceError) -> Self {
        Self(error.into())
    }
}
