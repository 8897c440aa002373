//! One step between devices: every rank has one of its own, in a thread or a process, and checks every bit that it sees.

use std::error::Error;
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tilewright::dp::collective::{
    AnyGroup, CollectiveError, Exchange, Group, HostsGroup, Rail, Rendezvous, ThreadExchange,
};
use tilewright::dp::kernels::{copy_from_slot_padded, place_rows};
use tilewright::dp::layout::GatheredLayout;
use tilewright::prelude::*;
use tilewright::runtime::device::cuda::device_count;

use crate::Steps;
use crate::arguments::Arguments;
use crate::check;
use crate::exit;
use crate::place::{self, Place};
use crate::report::Table;
use crate::source;
use crate::step::{Measured, Phase, guarded, inner, inner_mut, measure};

/// How long a rank waits for the others, which may be compiling.
const LIMIT: Duration = Duration::from_secs(60);

/// What a step of one rank needs of the others.
struct Rank<'a, G> {
    device: Device,
    exchange: Arc<dyn Exchange>,
    group: G,
    arrived: Arrived<G>,
    #[cfg(feature = "nccl")]
    nccl: Option<tilewright::dp::collective::NcclGroup>,
    steps: Steps<'a>,
}

/// Waits until a rank has its rows, within the limit, and tells nobody: what is timed.
type Arrived<G> = fn(&G) -> Result<(), CollectiveError>;

/// Why a rank did not do its steps.
enum Failure {
    /// Another one left, which says why.
    Gone,
    /// Nobody takes what it prints.
    Output(io::Error),
    Other(String),
}

impl From<Box<dyn Error>> for Failure {
    fn from(error: Box<dyn Error>) -> Self {
        match error.downcast_ref::<CollectiveError>() {
            Some(CollectiveError::Gone { .. }) => Self::Gone,
            _ => match error.downcast::<io::Error>() {
                Ok(error) => Self::Output(*error),
                Err(error) => Self::Other(error.to_string()),
            },
        }
    }
}

impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        match failure {
            // The group is as good as a pipe that somebody has closed.
            Failure::Gone => io::Error::from(io::ErrorKind::BrokenPipe).into(),
            Failure::Output(error) => error.into(),
            Failure::Other(reason) => reason.into(),
        }
    }
}

/// Runs the steps with a thread for each rank. Returns whether this process is to draw.
pub fn threads(arguments: &Arguments, ranks: usize, steps: Steps<'_>) -> Result<bool, Box<dyn Error>> {
    let exchanges = ThreadExchange::ranks(ranks, LIMIT)?;
    let done: Vec<Result<(), Failure>> = thread::scope(|scope| {
        let start =
            |exchange: ThreadExchange| scope.spawn(move || Ok(run(arguments, Arc::new(exchange), "threads", steps)?));
        let threads: Vec<_> = exchanges.into_iter().map(start).collect();
        let ended = |thread: thread::ScopedJoinHandle<'_, Result<(), Failure>>| {
            thread
                .join()
                .unwrap_or_else(|_| Err(Failure::Other("a rank panicked".to_owned())))
        };
        threads.into_iter().map(ended).collect()
    });
    let failures = done.into_iter().filter_map(Result::err);
    // The cause, and not what came of it.
    match failures.min_by_key(|failure| matches!(failure, Failure::Gone)) {
        None => Ok(true),
        Some(cause) => Err(cause.into()),
    }
}

/// Runs the steps with a process for each rank: starts them, or is one of them if a launcher has said so. Returns whether this
/// process is to draw.
pub fn processes(arguments: &Arguments, ranks: usize, steps: Steps<'_>) -> Result<bool, Box<dyn Error>> {
    if std::env::var_os("RANK").is_some() {
        let exchange = Rendezvous::from_env()?.meet(LIMIT)?;
        if exchange.size() != ranks {
            return Err(format!("--processes {ranks}, and the launcher started {}", exchange.size()).into());
        }
        let draws = exchange.rank() == 0;
        run(arguments, Arc::new(exchange), "processes", steps).map_err(Failure::from)?;
        return Ok(draws);
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let start = |rank| start(rank, ranks, arguments.host(rank, ranks), port);
    let started: io::Result<Vec<Child>> = (0..ranks).map(start).collect();
    let mut failed = Vec::new();
    for (rank, mut process) in started?.into_iter().enumerate() {
        let status = process.wait()?;
        match status.code() {
            Some(0) => {}
            Some(code) => failed.push(code),
            None => return Err(format!("rank {rank} was ended: {status}").into()),
        }
    }
    // They have said why; one that only lost another says nothing.
    if let Some(code) = failed
        .into_iter()
        .min_by_key(|&code| code == i32::from(exit::CLOSED_PIPE))
    {
        std::process::exit(code);
    }
    // Rank 0 has drawn.
    Ok(false)
}

/// Starts this program again as one rank, as torchrun would. Between ranks of what are different hosts to it, NCCL takes neither
/// NVLink nor shared memory.
fn start(rank: usize, ranks: usize, host: Option<usize>, port: u16) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(host) = host {
        command.envs([
            ("NCCL_HOSTID", format!("host-{host}")),
            ("NCCL_MNNVL_ENABLE", "0".to_owned()),
        ]);
    }
    command
        .args(std::env::args_os().skip(1))
        .envs([("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", &port.to_string())])
        .envs([("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", ranks)].map(|(name, n)| (name, n.to_string())))
        .spawn()
}

/// The device of a rank.
fn device(place: Place, rank: usize, ranks: usize) -> Result<Device, Box<dyn Error>> {
    let found = device_count();
    let gpus = *found.as_ref().unwrap_or(&0) as usize;
    match place {
        Place::Cpu => Ok(Device::cpu()),
        Place::Best if gpus == 0 => Ok(Device::cpu()),
        Place::Cuda | Place::Best if gpus >= ranks => Ok(Device::cuda(rank as u32)?),
        Place::Cuda | Place::Best => {
            let why = found
                .err()
                .map_or_else(|| format!("there are {gpus}"), |error| error.to_string());
            let advice = "run ranks on the CPU device with `--device cpu`";
            Err(format!("{ranks} ranks need a GPU each: {why}; {advice}").into())
        }
    }
}

/// All steps of one rank. The first rank prints.
fn run(arguments: &Arguments, exchange: Arc<dyn Exchange>, what: &str, steps: Steps<'_>) -> Result<(), Box<dyn Error>> {
    let (number, ranks) = (exchange.rank(), exchange.size());
    // A rank without a device must not let the others wait for it.
    let device = device(arguments.device, number, ranks);
    let has_one = exchange.all_gather(&[u64::from(device.is_ok())])?;
    let device = device?;
    if let Some(without) = has_one.iter().position(|words| words != &[1]) {
        return Err(format!("rank {without} has no device").into());
    }
    if let Some(host) = arguments.host(number, ranks).filter(|_| !device.is_cuda()) {
        let group = HostsGroup::rehearse(&device.stream(), exchange.clone(), host as u64)?;
        let how = format!(
            "{}, store into each other's memory within them and between them",
            on_hosts(group.rail().size())
        );
        return run_on(device, exchange, group, on_its_own, what, &how, steps);
    }
    if arguments.hosts.is_some() && arguments.processes.is_none() {
        return Err(
            "NCCL tells hosts apart by a variable of the process: with `--hosts`, give GPUs to `--processes`".into(),
        );
    }
    let group = AnyGroup::join(&device.stream(), exchange.clone())?;
    let how = match &group {
        AnyGroup::Peers(_) if arguments.hosts.is_some_and(|hosts| hosts > 1) => {
            return Err(
                "between hosts rows go through NCCL: `--hosts` needs the feature `nccl`, and several ranks on each"
                    .into(),
            );
        }
        AnyGroup::Peers(_) => "store into each other's memory".to_owned(),
        #[cfg(feature = "nccl")]
        AnyGroup::Hosts(group) => format!(
            "{}, store into each other's memory within them and meet through NCCL between them",
            on_hosts(group.rail().size())
        ),
        #[cfg(feature = "nccl")]
        AnyGroup::Nccl { why, .. } => format!("meet through NCCL, because {why}"),
    };
    let arrived = |group: &AnyGroup| match group {
        #[cfg(feature = "nccl")]
        AnyGroup::Hosts(group) => on_its_own(group),
        group => group.finish(),
    };
    run_on(device, exchange, group, arrived, what, &how, steps)
}

/// Of ranks on several hosts, what [`Group::finish`] does but that all of them hear of it.
fn on_its_own<W: Group, R: Rail>(group: &HostsGroup<W, R>) -> Result<(), CollectiveError> {
    group.rail().finish()?;
    group.within().finish()
}

fn on_hosts(hosts: usize) -> String {
    format!("on {hosts} host{}", if hosts == 1 { "" } else { "s" })
}

/// All steps of one rank of a group.
fn run_on<G: Group>(
    device: Device,
    exchange: Arc<dyn Exchange>,
    group: G,
    arrived: Arrived<G>,
    what: &str,
    how: &str,
    steps: Steps<'_>,
) -> Result<(), Box<dyn Error>> {
    let (number, ranks) = (exchange.rank(), exchange.size());
    #[cfg(feature = "nccl")]
    let nccl = match device.is_cuda() {
        true => Some(tilewright::dp::collective::NcclGroup::join(
            &device.stream(),
            exchange.clone(),
        )?),
        false => None,
    };
    let rank = Rank {
        device,
        exchange,
        group,
        arrived,
        #[cfg(feature = "nccl")]
        nccl,
        steps,
    };
    let mut table = Table::default();
    if number == 0 {
        place::describe(&rank.device)?;
        writeln!(io::stdout(), "{ranks} ranks, {what} with a device each, {how}\n")?;
    }
    for (counts, layouts) in rank.steps {
        if number == 0 {
            table.begin_step(counts)?;
        }
        for layout in layouts {
            let before = rank.device.counters().compiles;
            let phases = rank.step(layout)?;
            if number == 0 {
                let compiles = rank.device.counters().compiles - before;
                table.print(layout, &Measured { phases, compiles })?;
            }
        }
    }
    // Every rank has checked what it has.
    rank.exchange.all_gather(&[])?;
    if number == 0 {
        table.print_summary(&rank.device)?;
    }
    Ok(())
}

impl<G: Group> Rank<'_, G> {
    /// Places this rank's rows, gathers all ranks', runs the MLP over them and takes its own back; every bit is checked.
    fn step(&self, layout: &GatheredLayout) -> Result<Vec<(&'static str, Phase)>, Box<dyn Error>> {
        let (device, rank) = (&self.device, self.group.rank());
        let hidden = layout.hidden().size as usize;
        let (start, count) = (layout.starts()[rank] as usize, layout.counts()[rank]);
        let padded = layout.padded()[rank] as usize;
        let local = device.upload(
            &source::hidden_states(rank, count as usize, hidden),
            [count as usize, hidden],
        )?;
        let mut gathered = guarded(device, layout.rows(), hidden)?;
        let mut computed = guarded(device, layout.rows(), hidden)?;
        let mut result = guarded(device, padded as u64, hidden)?;
        let row = layout.hidden().size * layout.hidden().element_bytes;

        let mut phases = Vec::new();
        let place = self.slowest((count + padded as u64) * row, || {
            let own = inner_mut(&mut gathered)?.rows(start..start + padded)?;
            place_rows(own, &local, Exact(0), Exact(0), Exact(count)).launch(device)?;
            Ok(())
        })?;
        phases.push(("place", place));
        let gather = self.slowest(layout.bytes(), || {
            self.group.all_gather(&mut inner_mut(&mut gathered)?, layout.padded())?;
            Ok((self.arrived)(&self.group)?)
        })?;
        self.group.finish()?;
        phases.push(("gather", gather));
        check::gathered(layout, &gathered.download()?)?;
        #[cfg(feature = "nccl")]
        if let Some(nccl) = &self.nccl {
            let mut beside = guarded(device, layout.rows(), hidden)?;
            let own = inner_mut(&mut beside)?.rows(start..start + padded)?;
            place_rows(own, &local, Exact(0), Exact(0), Exact(count)).launch(device)?;
            let gather = self.slowest(layout.bytes(), || {
                nccl.all_gather(&mut inner_mut(&mut beside)?, layout.padded())?;
                Ok(nccl.finish()?)
            })?;
            phases.push(("NCCL", gather));
            check::gathered(layout, &beside.download()?)?;
        }
        let mlp = self.slowest(2 * layout.bytes(), || {
            source::mlp(inner_mut(&mut computed)?, inner(&gathered)?).launch(device)?;
            Ok(())
        })?;
        phases.push(("MLP", mlp));
        check::computed(layout, &computed.download()?)?;
        let take = self.slowest((count + padded as u64) * row, || {
            let (own, all) = (inner_mut(&mut result)?, inner(&computed)?);
            copy_from_slot_padded(own, all, Exact(start as u64), Exact(count)).launch(device)?;
            Ok(())
        })?;
        phases.push(("take", take));
        check::result(layout, rank, &result.download()?)?;
        Ok(phases)
    }

    /// Times a phase as [`measure`] does, on the rank where it took longest; all begin it together.
    fn slowest(
        &self,
        bytes: u64,
        mut phase: impl FnMut() -> Result<(), Box<dyn Error>>,
    ) -> Result<Phase, Box<dyn Error>> {
        let own = measure(
            &self.device,
            bytes,
            || {
                self.exchange.all_gather(&[])?;
                Ok(())
            },
            &mut phase,
        )?;
        let times = [own.first, own.best].map(|time| time.as_nanos() as u64);
        let all = self.exchange.all_gather(&times)?;
        let most = |at: usize| all.iter().filter_map(|times| times.get(at)).max().copied().unwrap_or(0);
        Ok(Phase {
            first: Duration::from_nanos(most(0)),
            best: Duration::from_nanos(most(1)),
            bytes,
        })
    }
}
