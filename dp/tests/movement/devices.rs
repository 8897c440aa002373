//! Ranks that have a device each.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tilewright_dp::collective::{Exchange, PeerGroup, ThreadExchange};
use tilewright_dp::kernels::copy_to_slot;
use tilewright_dp::movement::Groups;
use tilewright_dp::plan::Topology;
use tilewright_dsl::call::Runtime;
use tilewright_dsl::element::Element;
use tilewright_harness::testing::*;
use tilewright_runtime::device::cuda::{Reach, device_count as gpu_count};
use tilewright_runtime::{Device, DeviceTensor, Launch, TensorView};

/// Long enough for every rank that comes.
pub const AMPLE: Duration = Duration::from_secs(20);

/// One GPU of a topology.
pub struct Gpu {
    pub groups: Groups<PeerGroup>,
    pub device: Device,
    pub number: usize,
    pub exchange: Arc<dyn Exchange>,
}

impl Gpu {
    /// Until all ranks are here.
    pub fn meet(&self) {
        self.device.synchronize().unwrap();
        self.exchange.all_gather(&[]).unwrap();
    }
}

/// Runs every GPU of a topology as a thread with a device of its own: a GPU if there are enough that reach each other and
/// `on_gpus` says so, or else a CPU device.
pub fn on_all<R: Send>(on_gpus: bool, topology: &Topology, run: impl Fn(&Gpu) -> R + Sync) -> Vec<R> {
    on_all_within(AMPLE, on_gpus, topology, run)
}

pub fn on_all_within<R: Send>(
    limit: Duration,
    on_gpus: bool,
    topology: &Topology,
    run: impl Fn(&Gpu) -> R + Sync,
) -> Vec<R> {
    let exchanges = |groups: u64| {
        let size = (topology.tp() / groups) as usize;
        (0..groups).flat_map(move |_| ThreadExchange::ranks(size, limit).unwrap())
    };
    let attention = exchanges(topology.dp() * topology.context().size());
    let gpus = exchanges(1).zip(exchanges(topology.dp())).zip(attention);
    let run = &run;
    thread::scope(|scope| {
        let start = |(number, ((world, rank), attention)): (usize, _)| {
            let join = move || {
                let device = match on_gpus {
                    true => Device::cuda(number as u32).unwrap(),
                    false => Device::cpu(),
                };
                let join = |exchange: ThreadExchange| PeerGroup::join(&device.stream(), Arc::new(exchange)).unwrap();
                let world: Arc<dyn Exchange> = Arc::new(world);
                let gpu = Gpu {
                    groups: Groups::with_context(
                        PeerGroup::join(&device.stream(), world.clone()).unwrap(),
                        join(rank),
                        join(attention),
                    ),
                    exchange: world,
                    device,
                    number,
                };
                run(&gpu)
            };
            scope.spawn(join)
        };
        let threads: Vec<_> = gpus.enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// How many GPUs there are that reach each other.
pub fn gpus() -> u64 {
    let found = gpu_count().unwrap_or(0);
    let reach = |from, to| from == to || Reach::between(from, to).is_ok_and(|reach| reach != Reach::None);
    let all = |count: &u32| (0..*count).all(|from| (0..*count).all(|to| reach(from, to)));
    match (2..=found).rev().find(all) {
        Some(count) => count.into(),
        None => {
            println!("ran with no two GPUs that reach each other ({found} are here)");
            0
        }
    }
}

/// Runs a test of a topology with CPU devices, and with GPUs if there are so many.
pub fn on_devices(gpus: u64, topology: &Topology, test: impl Fn(&Gpu) + Sync) {
    on_all(false, topology, &test);
    if topology.tp() <= gpus {
        on_all(true, topology, &test);
    }
}

/// Rows that a launch finds in this rank's memory.
pub fn read<T: Element>(device: &Device, rows: TensorView<'_, T, 2>) -> Rows {
    let extents = rows.extents();
    let mut copy = device.zeros::<T, 2>(extents).unwrap();
    copy_to_slot(&mut copy, rows, Runtime(0), Runtime(extents[0] as u64))
        .launch(device)
        .unwrap();
    let found = copy.download().unwrap();
    let row = |row: &[T]| row.iter().map(|x| x.to_bits64()).collect();
    match extents[1] {
        0 => vec![Vec::new(); extents[0]],
        columns => found.chunks(columns).map(row).collect(),
    }
}

pub fn upload<T: Element>(device: &Device, rows: &Rows, columns: usize) -> DeviceTensor<T, 2> {
    let all: Vec<T> = rows.iter().flatten().map(|&bits| T::from_bits64(bits)).collect();
    device.upload(&all, [rows.len(), columns]).unwrap()
}
