//! Rows between GPUs, through NCCL, on as many as there are: one will do.
//!
//! Needs the feature `nccl`. Without a GPU or NCCL a reason is printed; with `TILEWRIGHT_REQUIRE_GPU=1` a missing GPU is a
//! failure, with `TILEWRIGHT_REQUIRE_NCCL=1` a missing NCCL.

#![cfg(feature = "nccl")]

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use half::bf16;
use support::*;
use tilewright_dp::collective::{CollectiveError, Group, NcclGroup, ThreadExchange};
use tilewright_dp::movement::{Contribution, Counts, Groups, Movement};
use tilewright_dp::plan::{Plan, Request, Topology};
use tilewright_runtime::Device;
use tilewright_runtime::device::cuda::{Nccl, NcclError, device_count};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a rank for each GPU. Nothing, with a reason, where there is none or no NCCL.
fn on_all_gpus(run: impl Fn(&Device, NcclGroup, NcclGroup) + Sync) {
    let required = |variable| std::env::var(variable).is_ok_and(|value| value == "1");
    let gpus = match device_count() {
        Ok(gpus @ 1..) => gpus as usize,
        found if required("TILEWRIGHT_REQUIRE_GPU") => {
            panic!("TILEWRIGHT_REQUIRE_GPU=1, and there is no GPU: {found:?}");
        }
        found => return println!("skipped: no GPU ({found:?})"),
    };
    match Nccl::load() {
        Ok(_) => {}
        Err(error) if required("TILEWRIGHT_REQUIRE_NCCL") => panic!("TILEWRIGHT_REQUIRE_NCCL=1: {error}"),
        Err(error) => return println!("skipped: no NCCL ({error})"),
    }
    let exchanges = ThreadExchange::ranks(gpus, LIMIT);
    thread::scope(|scope| {
        for (gpu, exchange) in exchanges.into_iter().enumerate() {
            let run = &run;
            scope.spawn(move || {
                let device = Device::cuda(gpu as u32).unwrap();
                // Attention is not shared: its group is the rank alone.
                let alone = ThreadExchange::ranks(1, LIMIT).remove(0);
                let join = |exchange| NcclGroup::join(&device.stream(), Arc::new(exchange));
                run(&device, join(exchange).unwrap(), join(alone).unwrap());
            });
        }
    });
}

#[test]
fn parts_are_gathered_and_sums_are_right() {
    on_all_gpus(|device, group, _| {
        let (rank, size) = (group.rank(), group.size());
        for part in [|_| 3u64, |rank: usize| rank as u64 % 3] {
            let parts: Vec<u64> = (0..size).map(part).collect();
            let rows = parts.iter().sum::<u64>() as usize + 1;
            let start = parts[..rank].iter().sum::<u64>() as usize;
            let all = unique::<bf16>(rows, 9, 1);
            let mut mine = sentinels::<bf16>(rows, 9);
            let own = start..start + parts[rank] as usize;
            mine[own.clone()].clone_from_slice(&all[own.clone()]);
            let mut buffer = Guarded::<bf16>::new(device, &mine, 9, Placement::Contiguous);
            group.all_gather(&mut buffer.view_mut(), &parts).unwrap();
            group.finish().unwrap();
            let mut expected = all;
            expected[rows - 1] = sentinels::<bf16>(1, 9).remove(0);
            assert_rows(&buffer.read(), &expected, &parts);

            let ints: Vec<i32> = (0..rows as i32 * 9).map(|i| i + 1000 * rank as i32).collect();
            let sum = |i: usize| (i * size + 1000 * size * (size - 1) / 2) as i32;
            let mut buffer = device.upload(&ints, [rows, 9]).unwrap();
            group.reduce_scatter(&mut buffer.view_mut(), &parts).unwrap();
            let found = buffer.download().unwrap();
            assert!((own.start * 9..own.end * 9).all(|i| found[i] == sum(i)), "{parts:?}");
            let mut buffer = device.upload(&ints, [rows, 9]).unwrap();
            group.all_reduce(&mut buffer.view_mut()).unwrap();
            let found = buffer.download().unwrap();
            assert!((0..rows * 9).all(|i| found[i] == sum(i)), "{parts:?}");
        }
    });
}

#[test]
fn ranks_make_the_round_trip_in_both_modes() {
    on_all_gpus(|device, world, alone| {
        let (rank, size) = (world.rank(), world.size() as u64);
        let topology = Topology::new(size, size).unwrap();
        let groups = Groups::new(world, alone);
        for extend in [false, true] {
            let counts: Vec<u64> = (0..size).map(|rank| [5, 0, 2][rank as usize % 3]).collect();
            let plan = Plan::new(&Request {
                extend,
                ..Request::new(counts, size)
            })
            .unwrap();
            let movement = Movement::new(&plan, &topology, &groups).unwrap();
            let tokens = movement.slot().tokens as usize;
            let rows: Rows = (0..tokens)
                .map(|row| vec![0x3c00 + (rank * 40 + row) as u64; 128])
                .collect();
            let local = Guarded::<bf16>::new(device, &rows, 128, Placement::Contiguous);
            let mut buffer =
                Guarded::<bf16>::untouched(device, plan.layout().rows() as usize, 128, Placement::Contiguous);
            movement
                .gather(
                    &mut buffer.view_mut(),
                    local.view(),
                    Contribution::Partial,
                    Counts::Planned,
                )
                .unwrap();
            let padded = movement.slot().rows as usize;
            let mut back = Guarded::<bf16>::untouched(device, padded, 128, Placement::Contiguous);
            movement
                .scatter(&mut back.view_mut(), buffer.view(), Counts::Planned)
                .unwrap();
            groups.world().finish().unwrap();
            let mut expected = rows;
            expected.resize(padded, vec![0; 128]);
            assert_rows(&back.read(), &expected, plan.mode());
        }
    });
}

#[test]
fn rows_with_gaps_are_refused() {
    on_all_gpus(|device, group, _| {
        let mut wide = device.zeros::<f32, 2>([4, 8]).unwrap();
        let mut part = wide.view_mut().columns(..4).unwrap();
        let error = group.all_reduce(&mut part).unwrap_err();
        assert!(
            matches!(error, CollectiveError::Nccl(NcclError::NotContiguous)),
            "{error}"
        );
    });
}
