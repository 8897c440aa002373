//! Where ranks are.

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, Once};
use std::thread;
use std::time::Duration;

use tilewright_dp::collective::{Exchange, PeerGroup, ThreadExchange};
use tilewright_runtime::Device;
use tilewright_runtime::cache::{CubinCache, DiskCache};
use tilewright_runtime::device::cuda::{Reach, device_count};
use tilewright_testing::turn;

/// Long enough for every rank that comes.
pub const AMPLE: Duration = Duration::from_secs(60);

/// Whose devices ranks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Cpu,
    Gpus,
}

impl Place {
    pub fn device(self, rank: usize) -> Device {
        match self {
            Self::Cpu => Device::cpu(),
            Self::Gpus => {
                keep_cubins();
                Device::cuda(rank as u32).unwrap()
            }
        }
    }
}

/// What a rank has compiled the others find, also those that are processes: a suite is no test of how long that takes.
fn keep_cubins() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        CubinCache::new().with_disk(DiskCache::at(cubins())).install();
    });
}

fn cubins() -> PathBuf {
    std::env::temp_dir().join("tilewright-tests-of-peers")
}

/// The numbers of GPUs from two on that reach each other.
fn gpus() -> usize {
    let found = device_count().unwrap_or(0);
    let reach = |from, to| Reach::between(from, to).is_ok_and(|reach| reach != Reach::None);
    let all = |count: &u32| (0..*count).all(|from| (0..*count).all(|to| from == to || reach(from, to)));
    match (2..=found).rev().find(all) {
        Some(count) => count as usize,
        None => {
            println!("ran with no two GPUs that reach each other ({found} are here)");
            0
        }
    }
}

/// Runs a test of one turn for each number of ranks: on CPU devices, and on GPUs as far as there are so many.
pub fn for_each_place(ranks: &[usize], test: impl Fn(Place, usize)) {
    let _turn: MutexGuard<'_, ()> = turn();
    for &ranks in ranks {
        test(Place::Cpu, ranks);
    }
    let gpus = gpus();
    for &ranks in ranks.iter().filter(|&&ranks| ranks <= gpus) {
        test(Place::Gpus, ranks);
    }
}

/// Runs every rank in a thread, with its exchange.
pub fn on_exchanges<R: Send>(
    ranks: usize,
    limit: Duration,
    run: impl Fn(usize, Arc<dyn Exchange>) -> R + Sync,
) -> Vec<R> {
    let run = &run;
    thread::scope(|scope| {
        let exchanges = ThreadExchange::ranks(ranks, limit).unwrap().into_iter().enumerate();
        let threads: Vec<_> = exchanges
            .map(|(rank, exchange)| scope.spawn(move || run(rank, Arc::new(exchange))))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Runs every rank in a thread, with its end of a group.
pub fn on_all<R: Send>(
    place: Place,
    ranks: usize,
    limit: Duration,
    run: impl Fn(usize, PeerGroup) -> R + Sync,
) -> Vec<R> {
    on_exchanges(ranks, limit, |rank, exchange| {
        run(rank, PeerGroup::join(&place.device(rank).stream(), exchange).unwrap())
    })
}
