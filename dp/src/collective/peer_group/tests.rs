use std::thread;
use std::time::Duration;

use tilewright_runtime::Device;
use tilewright_runtime::device::cuda::{Reach, device_count};

use super::super::ThreadExchange;
use super::*;

const LIMIT: Duration = Duration::from_secs(30);

/// Runs two ranks in threads, on CPU devices, and on two GPUs if they are here and reach each other.
fn on_two(run: impl Fn(usize, PeerGroup) + Sync) {
    let _turn = tilewright_testing::turn();
    let gpus = device_count().unwrap_or(0) > 1 && Reach::between(0, 1).is_ok_and(|reach| reach != Reach::None);
    let mut places: Vec<fn(usize) -> Device> = vec![|_| Device::cpu()];
    match gpus {
        true => places.push(|rank| Device::cuda(rank as u32).unwrap()),
        false => println!("ran with no two GPUs that reach each other"),
    }
    for device in places {
        thread::scope(|scope| {
            for (rank, exchange) in ThreadExchange::ranks(2, LIMIT).unwrap().into_iter().enumerate() {
                let run = &run;
                scope.spawn(move || {
                    let stream = device(rank).stream();
                    run(rank, PeerGroup::join(&stream, Arc::new(exchange)).unwrap());
                });
            }
        });
    }
}

/// As if there had been so many launches.
fn set_epoch(group: &PeerGroup, epoch: u32) {
    let shared = &group.shared;
    let mut state = shared.state.lock();
    state.room.set_epoch(epoch).unwrap();
    drop(state);
    // Nobody begins before all have it.
    shared.agreement.exchange().all_gather(&[]).unwrap();
}

#[test]
fn epochs_wrap_between_collectives_of_every_kind() {
    on_two(|rank, group| {
        group.reserve::<u32>(64, 8).unwrap();
        group.stream().synchronize().unwrap();
        set_epoch(&group, u32::MAX - 6);
        let device = group.stream().device();
        for step in 0..16u32 {
            let mine = [[step, 0], [0, 10 + step]][rank];
            let mut buffer = device.upload(&mine, [2, 1]).unwrap();
            group.all_gather(&mut buffer.view_mut(), &[1, 1]).unwrap();
            assert_eq!(buffer.download().unwrap(), [step, 10 + step]);
            let reduction = [Reduction::OneShot, Reduction::TwoShot][(step % 2) as usize];
            group.all_reduce_by(&mut buffer.view_mut(), reduction).unwrap();
            assert_eq!(buffer.download().unwrap(), [2 * step, 20 + 2 * step]);
            group.finish().unwrap();
        }
        let epoch = group.shared.state.lock().room.epoch().unwrap();
        assert_eq!(epoch, 25, "it has wrapped");
    });
}

#[test]
fn room_that_was_reserved_is_enough_for_every_collective_of_so_many_rows() {
    const COLUMNS: u64 = 7000;
    on_two(|_, group| {
        let device = group.stream().device();
        group.reserve::<u16>(100, COLUMNS).unwrap();
        group.seal();
        for rows in [1usize, 37, 60, 100] {
            let mut buffer = device.zeros::<half::bf16, 2>([rows, COLUMNS as usize]).unwrap();
            group.all_reduce(&mut buffer.view_mut()).unwrap();
            for parts in [[rows as u64, 0], [1, rows as u64 - 1]] {
                group.all_gather(&mut buffer.view_mut(), &parts).unwrap();
                group.reduce_scatter(&mut buffer.view_mut(), &parts).unwrap();
            }
        }
        group.finish().unwrap();
    });
    // Whatever the number of ranks, and where one shot ends.
    for ranks in 1..=9 {
        for row in [16, 1000 * 16, 1 << 20] {
            for rows in [0u64, 1, 5, 50, 1000] {
                let reserved = most_half_bytes(ranks, rows, row).unwrap();
                for fewer in 0..=rows {
                    let reduction = Reduction::of(ranks, fewer as usize * row);
                    assert!(reduction.half_bytes(ranks, fewer, row).unwrap() <= reserved);
                    assert!(fewer as usize * row <= reserved);
                }
            }
        }
    }
}

#[test]
fn rows_of_staging_begin_at_whole_sixteen_bytes() {
    assert_eq!(row_bytes::<u8>(7168), 7168);
    assert_eq!(row_bytes::<half::bf16>(1), 16);
    assert_eq!(row_bytes::<f64>(3), 32);
    assert_eq!(row_bytes::<f32>(0), 0);
    assert!(bytes_of(u64::MAX, 2).is_err());
}
