//! Ranks that are processes of one machine which stand for hosts: with CPU devices, and with GPUs where there are two or more, NCCL
//! between hosts and stores to peers within them.

use std::fmt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use half::bf16;
#[cfg(feature = "nccl")]
use tilewright_dp::collective::{AnyGroup, HostsError, NcclGroup};
use tilewright_dp::collective::{CollectiveError, Exchange, Group, HostsGroup, PeerGroup, Rendezvous, TcpExchange};
use tilewright_dp::movement::Groups;
use tilewright_dp::plan::Topology;
use tilewright_harness::testing::*;
#[cfg(feature = "nccl")]
use tilewright_runtime::device::cuda::{Nccl, device_count};
use tilewright_runtime::{Device, Stream};
#[cfg(feature = "nccl")]
use tilewright_testing::{Part, skip};
use tilewright_testing::{ended, start_ranks, turn};

use super::computed::gathers;
use super::movement::{round_trips, topologies};
use super::place::{AMPLE, Place};
use super::sums::sums;
use super::times::{medians, print};

/// What a rank that is a process of its own is to do, and how many ranks each host has.
const ROLE: &str = "TILEWRIGHT_TEST_ROLE";
const PLACES: &str = "TILEWRIGHT_TEST_PLACES";
/// Whether it has a GPU.
const ON_GPU: &str = "TILEWRIGHT_TEST_ON_GPU";

/// How long one waits for another that dies, on CPU devices and on GPUs.
const LIMITS: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(8)];

/// Starts ranks, so many for each host, between which NCCL finds neither NVLink nor shared memory.
fn start(on_gpus: bool, places: usize, roles: &[&str]) -> Vec<Child> {
    start_ranks("processes::a_rank", roles.len(), |rank, command| {
        command
            .env(ROLE, roles[rank])
            .env(ON_GPU, u8::from(on_gpus).to_string())
            .env(PLACES, places.to_string())
            .env("NCCL_HOSTID", format!("tilewright-test-{}", rank / places))
            .env("NCCL_MNNVL_ENABLE", "0");
    })
}

/// A rank, and how it joins other groups of hosts.
struct Rank<J> {
    device: Device,
    exchange: Arc<dyn Exchange>,
    hosts: [usize; 2],
    join: J,
}

#[test]
#[ignore = "run by the tests of this file"]
fn a_rank() {
    let (role, number) = (std::env::var(ROLE).unwrap(), |name| {
        std::env::var(name).unwrap().parse().unwrap()
    });
    let limit = match role.as_str() {
        "computes" | "moves" | "captures" | "times" => AMPLE,
        _ => LIMITS[number(ON_GPU)],
    };
    let exchange: Arc<dyn Exchange> = Arc::new(Rendezvous::from_env().unwrap().meet(limit).unwrap());
    let (rank, ranks, places): (usize, usize, usize) = (exchange.rank(), exchange.size(), number(PLACES));
    let (hosts, host) = ([ranks / places, places], (rank / places) as u64);
    if number(ON_GPU) == 0 {
        let device = Place::Cpu.device(rank);
        // NCCL has no CPU devices, and every rank hears which of them has one.
        #[cfg(feature = "nccl")]
        {
            let error = AnyGroup::join(&device.stream(), exchange.clone()).unwrap_err();
            assert!(
                matches!(error, CollectiveError::Hosts(HostsError::NoGpu { rank: 0 })),
                "{error}"
            );
        }
        let join = |device: &Device, exchange| HostsGroup::rehearse(&device.stream(), exchange, host);
        return Rank {
            device,
            exchange,
            hosts,
            join,
        }
        .run(&role);
    }
    #[cfg(feature = "nccl")]
    {
        let join = |device: &Device, exchange| AnyGroup::join(&device.stream(), exchange);
        let device = Device::cuda(gpu_of(rank, places)).unwrap();
        Rank {
            device,
            exchange,
            hosts,
            join,
        }
        .run(&role);
    }
}

/// A group of several hosts.
trait OfHosts: Group + fmt::Debug + Sized {
    fn on(&self, stream: &Stream) -> Result<Self, CollectiveError>;

    /// Waits for this rank's rows alone.
    fn arrived(&self) -> Result<(), CollectiveError>;
}

impl OfHosts for HostsGroup<PeerGroup, PeerGroup> {
    fn on(&self, stream: &Stream) -> Result<Self, CollectiveError> {
        self.on_stream(stream)
    }

    fn arrived(&self) -> Result<(), CollectiveError> {
        self.rail().finish()?;
        self.within().finish()
    }
}

#[cfg(feature = "nccl")]
impl OfHosts for AnyGroup {
    fn on(&self, stream: &Stream) -> Result<Self, CollectiveError> {
        self.on_stream(stream)
    }

    fn arrived(&self) -> Result<(), CollectiveError> {
        match self {
            Self::Hosts(group) => {
                group.rail().finish()?;
                group.within().finish()
            }
            group => group.finish(),
        }
    }
}

impl<G: OfHosts, J: Fn(&Device, Arc<dyn Exchange>) -> Result<G, CollectiveError>> Rank<J> {
    fn run(&self, role: &str) {
        match role {
            "computes" => self.computes(),
            "moves" => self.moves(),
            "captures" => self.captures(),
            "times" => self.times(),
            "dies" => self.dies_or_sees_it(true),
            _ => self.dies_or_sees_it(false),
        }
    }

    fn group(&self, exchange: Arc<dyn Exchange>) -> G {
        (self.join)(&self.device, exchange).unwrap()
    }

    fn world(&self) -> G {
        let world = self.group(self.exchange.clone());
        let text = format!("{world:?}");
        assert!(
            text.contains(&format!("host {} of {}", world.rank() / self.hosts[1], self.hosts[0])),
            "{text}"
        );
        world
    }

    fn computes(&self) {
        let (world, device) = (self.world(), &self.device);
        for step in 0..6 {
            let parts: Vec<u64> = (0..world.size() as u64)
                .map(|rank| [0, 3, 1, 70][(rank + step) as usize % 4])
                .collect();
            // NCCL takes no rows with gaps.
            gathers::<bf16>(&world, device, &parts, 64, Placement::Contiguous);
            gathers::<u8>(&world, device, &parts, 37, Placement::Contiguous);
            gathers::<f32>(&world, device, &vec![9; world.size()], 129, Placement::Contiguous);
            sums::<bf16>(&world, device, self.hosts, &parts, 64);
            sums::<f32>(&world, device, self.hosts, &parts, 33);
            sums::<i32>(&world, device, self.hosts, &parts, 7);
        }
        // As many rows as are broadcast.
        gathers::<bf16>(
            &world,
            device,
            &[900, 0, 300, 1100][..world.size()],
            1024,
            Placement::Contiguous,
        );
    }

    fn moves(&self) {
        let gpu = self.exchange.rank() as u64;
        for topology in topologies(self.exchange.size() as u64) {
            let groups = self.groups(&topology, gpu);
            round_trips(&groups, &topology);
        }
    }

    fn groups(&self, topology: &Topology, gpu: u64) -> Groups<G> {
        let group = |groups: u64| {
            let size = topology.tp() / groups;
            self.group(Arc::new(TcpExchange::among(&*self.exchange, gpu / size).unwrap()))
        };
        let attention = topology.dp() * topology.context().size();
        Groups::with_context(group(1), group(topology.dp()), group(attention))
    }

    /// A graph of a gather and a sum follows what is in their buffers.
    fn captures(&self) {
        let (world, device) = (self.world(), &self.device);
        let (rank, parts) = (world.rank(), [3, 0, 2, 4]);
        let start = parts[..rank].iter().sum::<u64>() as usize * 64;
        let own = start..start + parts[rank] as usize * 64;
        let mut rows = device.zeros::<u16, 2>([9, 64]).unwrap();
        let mut sums = device.zeros::<u32, 2>([5, 16]).unwrap();
        // What a graph launches is built before, and there is room for it.
        world.all_gather(&mut rows.view_mut(), &parts).unwrap();
        world.all_reduce(&mut sums.view_mut()).unwrap();
        world.finish().unwrap();
        let mut graph = device
            .capture(|stream| {
                let world = world.on(stream)?;
                world.all_gather(&mut rows.view_mut(), &parts)?;
                world.all_reduce(&mut sums.view_mut())
            })
            .unwrap();
        for round in 1..5 {
            let element = |i: usize| (1000 * round + i) as u16;
            let mine: Vec<u16> = (0..576)
                .map(|i| if own.contains(&i) { element(i) } else { 0 })
                .collect();
            rows.copy_from(&mine).unwrap();
            sums.copy_from(&[(round * 10 + rank) as u32; 80]).unwrap();
            graph.launch().unwrap();
            world.finish().unwrap();
            assert!(
                rows.download()
                    .unwrap()
                    .into_iter()
                    .enumerate()
                    .all(|(i, found)| found == element(i))
            );
            assert_eq!(sums.download().unwrap(), [(round * 40 + 6) as u32; 80]);
        }
        drop(graph);
    }

    fn times(&self) {
        let (world, device, exchange) = (self.world(), &self.device, &self.exchange);
        let sizes = match device.is_cuda() {
            true => &[(1, 7168), (8, 7168), (128, 7168), (1024, 7168), (4096, 7168)][..],
            false => &[(2, 64)],
        };
        #[cfg(feature = "nccl")]
        let alone = device
            .is_cuda()
            .then(|| NcclGroup::join(&device.stream(), exchange.clone()).unwrap());
        for &(rows, columns) in sizes {
            let ours = medians(device, &**exchange, &world, G::arrived, rows, columns);
            if world.rank() == 0 {
                print(rows, columns, "two hosts of two", ours);
            }
            #[cfg(feature = "nccl")]
            if let Some(alone) = &alone {
                let theirs = medians(device, &**exchange, alone, NcclGroup::finish, rows, columns);
                if world.rank() == 0 {
                    print(rows, columns, "NCCL alone over all four", theirs);
                }
            }
        }
    }

    /// Gathers and sums over and over until a rank dies: what is gathered is right until then, and what is not is an error.
    fn dies_or_sees_it(&self, dies: bool) {
        let (world, device) = (self.world(), &self.device);
        let parts = vec![40; world.size()];
        let gathers = |step: u64| -> Result<(), CollectiveError> {
            let rank = world.rank();
            let expected = unique::<u16>(40 * world.size(), 64, step);
            let mut mine = sentinels::<u16>(40 * world.size(), 64);
            mine[40 * rank..40 * (rank + 1)].clone_from_slice(&expected[40 * rank..40 * (rank + 1)]);
            let mut buffer = Guarded::<u16>::new(device, &mine, 64, Placement::Contiguous);
            world.all_gather(&mut buffer.view_mut(), &parts)?;
            world.finish()?;
            assert_rows(&buffer.read(), &expected, (step, rank));
            let mut sums = device.upload(&vec![rank as u32 + 1; 60], [6, 10]).unwrap();
            world.all_reduce(&mut sums.view_mut())?;
            world.finish()?;
            assert_eq!(sums.download().unwrap(), [10; 60]);
            Ok(())
        };
        gathers(0).unwrap();
        self.exchange.all_gather(&[]).unwrap();
        if dies {
            let us = u64::from(std::process::id()) % 7 * 700;
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(us));
                std::process::abort();
            });
            (1..).try_for_each(gathers).unwrap();
        }
        let mut began = Instant::now();
        let error = (1..).try_for_each(|step| {
            began = Instant::now();
            gathers(step)
        });
        let (error, took) = (error.unwrap_err(), began.elapsed());
        assert!(took < 4 * self.exchange.limit(), "{took:?}: {error}");
        eprintln!("rank {} sees it after {took:?}: {error}", world.rank());
        let mut none = device.zeros::<f32, 2>([1, 8]).unwrap();
        assert!(
            world
                .all_reduce(&mut none.view_mut())
                .and_then(|()| world.finish())
                .is_err()
        );
    }
}

/// The GPU of a rank: one of its own where there are enough. Where there are not, one that no other rank of its host has, and none of
/// its rail.
#[cfg(feature = "nccl")]
fn gpu_of(rank: usize, places: usize) -> u32 {
    match device_count().unwrap() {
        gpus @ ..4 => (rank / places + rank % places) as u32 % gpus,
        _ => rank as u32,
    }
}

/// Runs a test of two hosts of two ranks on CPU devices, and where there are so many GPUs, and NCCL, on these. Two will do for
/// what is not timed.
fn for_each_place(least_gpus: u32, test: impl Fn(bool)) {
    let _turn = turn();
    test(false);
    #[cfg(not(feature = "nccl"))]
    tilewright_testing::skip(format_args!("it takes {least_gpus} GPUs and the feature `nccl`"));
    #[cfg(feature = "nccl")]
    {
        match device_count().unwrap_or(0) {
            gpus if gpus < least_gpus => skip(format_args!("it takes {least_gpus} GPUs, and there are {gpus}")),
            _ => {
                if Part::Nccl.or_skip(Nccl::load()).is_some() {
                    test(true);
                }
            }
        }
    }
}

#[test]
fn processes_of_two_hosts_gather_and_sum() {
    for_each_place(2, |on_gpus| {
        let ended = ended(start(on_gpus, 2, &["computes"; 4]));
        assert!(ended.iter().all(ExitStatus::success), "on GPUs {on_gpus}: {ended:?}");
    });
}

#[test]
fn processes_of_two_hosts_make_the_round_trip_in_every_topology() {
    for_each_place(2, |on_gpus| {
        let ended = ended(start(on_gpus, 2, &["moves"; 4]));
        assert!(ended.iter().all(ExitStatus::success), "on GPUs {on_gpus}: {ended:?}");
    });
}

#[test]
fn processes_of_two_hosts_gather_and_sum_in_graphs() {
    for_each_place(2, |on_gpus| {
        let ended = ended(start(on_gpus, 2, &["captures"; 4]));
        assert!(ended.iter().all(ExitStatus::success), "on GPUs {on_gpus}: {ended:?}");
    });
}

/// Run with `--ignored --exact --nocapture`.
#[test]
#[ignore = "a measurement"]
fn gathers_and_sums_are_timed_beside_nccl_alone() {
    for_each_place(4, |on_gpus| {
        let ended = ended(start(on_gpus, 2, &["times"; 4]));
        assert!(ended.iter().all(ExitStatus::success), "on GPUs {on_gpus}: {ended:?}");
    });
}

#[test]
fn a_process_that_dies_is_an_error_on_all_hosts() {
    for_each_place(2, |on_gpus| {
        for dead in [1, 2] {
            let mut roles = ["goes on"; 4];
            roles[dead] = "dies";
            let ended = ended(start(on_gpus, 2, &roles));
            for (rank, status) in ended.iter().enumerate() {
                assert_eq!(
                    status.success(),
                    rank != dead,
                    "on GPUs {on_gpus}: rank {rank}: {status}"
                );
            }
        }
    });
}
