//! Ranks that are processes, and processes that die.

use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tilewright_dp::collective::{CollectiveError, Exchange, Group, PeerGroup, Reduction, Rendezvous};
use tilewright_runtime::Device;

use super::place::{Place, for_each_place};
use tilewright_harness::testing::*;
use tilewright_testing::{ended, start_ranks};

/// What a rank that is a process of its own is to do, and where.
const ROLE: &str = "TILEWRIGHT_TEST_ROLE";
const PLACE: &str = "TILEWRIGHT_TEST_PLACE";

const LIMIT: Duration = Duration::from_secs(5);
const ROWS: usize = 96;
const COLUMNS: usize = 520;

fn start(place: Place, roles: &[&str]) -> Vec<Child> {
    start_ranks("processes::a_rank", roles.len(), |rank, command| {
        command.envs([
            (ROLE, roles[rank]),
            (PLACE, if place == Place::Cpu { "cpu" } else { "gpus" }),
        ]);
    })
}

#[test]
#[ignore = "run by the tests of this file"]
fn a_rank() {
    let role = std::env::var(ROLE).unwrap();
    let place = match std::env::var(PLACE).unwrap().as_str() {
        "cpu" => Place::Cpu,
        _ => Place::Gpus,
    };
    let exchange: Arc<dyn Exchange> = Arc::new(Rendezvous::from_env().unwrap().meet(LIMIT).unwrap());
    let device = place.device(exchange.rank());
    let group = PeerGroup::join(&device.stream(), exchange.clone()).unwrap();
    match role.as_str() {
        "computes" => computes(&device, &group),
        role => dies_or_sees_it(role, &device, &group, &exchange),
    }
}

fn computes(device: &Device, group: &PeerGroup) {
    let (rank, ranks) = (group.rank(), group.size());
    for step in 0..20u64 {
        let parts: Vec<u64> = (0..ranks as u64).map(|rank| (rank + step) % 4).collect();
        let rows = parts.iter().sum::<u64>() as usize;
        let expected = unique::<u8>(rows, 37, step);
        let mut mine = sentinels::<u8>(rows, 37);
        let start = parts[..rank].iter().sum::<u64>() as usize;
        let own = start..start + parts[rank] as usize;
        mine[own.clone()].clone_from_slice(&expected[own]);
        let mut buffer = Guarded::<u8>::new(device, &mine, 37, Placement::Misaligned);
        group.all_gather(&mut buffer.view_mut(), &parts).unwrap();
        group.finish().unwrap();
        assert_rows(&buffer.read(), &expected, (step, rank));
        let mut sums = device.upload(&vec![rank as u32 + 1; 60], [6, 10]).unwrap();
        let reduction = [Reduction::OneShot, Reduction::TwoShot][step as usize % 2];
        group.all_reduce_by(&mut sums.view_mut(), reduction).unwrap();
        let sum = (ranks * (ranks + 1) / 2) as u32;
        assert_eq!(sums.download().unwrap(), [sum; 60]);
        let parts: Vec<u64> = (0..ranks as u64).map(|rank| rank % 2).collect();
        let start = parts[..rank].iter().sum::<u64>() as usize * 10;
        group.reduce_scatter(&mut sums.view_mut(), &parts).unwrap();
        let own = &sums.download().unwrap()[start..start + parts[rank] as usize * 10];
        assert!(own.iter().all(|&found| found == sum * ranks as u32));
    }
    group.finish().unwrap();
}

#[test]
fn processes_gather_and_sum() {
    for_each_place(&[2, 3], |place, ranks| {
        let ended = ended(start(place, &vec!["computes"; ranks]));
        assert!(ended.iter().all(ExitStatus::success), "{place:?}: {ended:?}");
    });
}

/// Gathers over and over until a rank dies: what is gathered is right until then, and what is not is an error within the limit.
fn dies_or_sees_it(role: &str, device: &Device, group: &PeerGroup, exchange: &Arc<dyn Exchange>) {
    let (rank, ranks) = (group.rank(), group.size());
    let parts = vec![ROWS as u64; ranks];
    let gather = |step: u64| -> Result<(Guarded<u16>, Rows), CollectiveError> {
        let expected = unique::<u16>(ROWS * ranks, COLUMNS, step);
        let mut mine = sentinels::<u16>(ROWS * ranks, COLUMNS);
        let own = ROWS * rank..ROWS * (rank + 1);
        mine[own.clone()].clone_from_slice(&expected[own]);
        let mut buffer = Guarded::<u16>::new(device, &mine, COLUMNS, Placement::Contiguous);
        group.all_gather(&mut buffer.view_mut(), &parts)?;
        Ok((buffer, expected))
    };
    let gathers = |step| {
        let (buffer, expected) = gather(step)?;
        group.finish()?;
        assert_rows(&buffer.read(), &expected, (step, rank));
        Ok::<(), CollectiveError>(())
    };
    gathers(0).unwrap();
    exchange.all_gather(&[]).unwrap();
    match role {
        "dies before its stores" => std::process::abort(),
        "dies after its stores" => {
            // On a GPU the kernel may be anywhere.
            let _stored = gather(1);
            std::process::abort();
        }
        "dies during its stores" => {
            let us = u64::from(std::process::id()) % 7 * 500;
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(us));
                std::process::abort();
            });
            (1..).try_for_each(gathers).unwrap();
        }
        _ => {
            let began = Instant::now();
            let error = (1..).try_for_each(gathers).unwrap_err();
            let is_named = match &error {
                CollectiveError::Gone { gone } => *gone == 1,
                CollectiveError::Late { missing, .. } => missing.contains(&1),
                // Another rank has seen it first and left.
                CollectiveError::Failed { .. } | CollectiveError::Connection { .. } => true,
                _ => false,
            };
            assert!(is_named, "{error}");
            assert!(began.elapsed() < 4 * LIMIT, "{:?}", began.elapsed());
            assert!(
                group
                    .all_reduce(&mut device.zeros::<f32, 2>([1, 8]).unwrap().view_mut())
                    .is_err()
            );
            // The device goes on.
            assert_eq!(device.upload(&[7u8], [1]).unwrap().download().unwrap(), [7]);
            device.synchronize().unwrap();
        }
    }
}

#[test]
fn a_process_that_dies_before_during_or_after_its_stores_is_an_error_on_the_others() {
    for_each_place(&[2, 3], |place, ranks| {
        for dies in [
            "dies before its stores",
            "dies during its stores",
            "dies after its stores",
        ] {
            let mut roles = vec!["goes on"; ranks];
            roles[1] = dies;
            let ended = ended(start(place, &roles));
            for (rank, status) in ended.iter().enumerate() {
                assert_eq!(status.success(), rank != 1, "{place:?}, {dies}: rank {rank}: {status}");
            }
        }
    });
}
