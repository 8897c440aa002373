//! Faults in kernels that meet in staging, one at a time: the CPU device reports each, whatever the timing.

use tilewright_dp::collective::Peers;
use tilewright_dsl::call::OfRank;
use tilewright_dsl::{kernel, lang::*};
use tilewright_runtime::{Device, Launch, LaunchError};

use super::place::{AMPLE, on_exchanges};

mod fault {
    pub const NONE: usize = 0;
    pub const FLAG_BEFORE_ROWS: usize = 1;
    pub const NO_WAIT: usize = 2;
    pub const NO_SECOND_WAIT: usize = 3;
    pub const NO_SECOND_FLAG: usize = 4;
    pub const ONE_HALF: usize = 5;
    pub const EPOCH_NOT_ADVANCED: usize = 6;
    pub const PIECE_OF_ANOTHER_PROGRAM: usize = 7;
    pub const HEAD_BEHIND_THE_FLAG: usize = 8;
}

const COLUMNS: usize = 8;
const PROGRAMS: usize = 2;
/// A rank that has reported comes no more.
const LIMIT_NS: u64 = 500_000_000;

/// Sums over two meetings, as [`tilewright_dp::kernels::collective::sum_all_in_shares`] does: each program of a rank has a piece of
/// the rank's share.
#[kernel(grid = [PROGRAMS])]
fn sum<const FAULT: usize>(
    buffer: &mut Tensor<i32, 2>,
    staging: &mut PeerTensors<i32, 3>,
    heads: &mut PeerTensors<u64, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    places: Count,
) {
    let (program, rank, ranks) = (program_id(0), staging.rank(), comptime(staging.len()));
    let half = if FAULT == fault::ONE_HALF {
        epoch.half() * 0
    } else {
        epoch.half()
    };
    let now = if FAULT == fault::EPOCH_NOT_ADVANCED {
        epoch.now() * 0 + 1
    } else {
        epoch.now()
    };
    let cols = arange(COLUMNS / PROGRAMS) + program * (COLUMNS / PROGRAMS);
    if FAULT == fault::FLAG_BEFORE_ROWS {
        flags.raise(program, now);
    }
    for peer in 0..ranks {
        staging[peer].store([half, rank, cols], buffer.load([peer, cols]));
        if FAULT != fault::HEAD_BEHIND_THE_FLAG {
            heads[peer].store([half, rank, program], 7);
        }
    }
    if FAULT != fault::FLAG_BEFORE_ROWS {
        flags.raise(program, now);
    }
    for peer in 0..ranks {
        if FAULT == fault::HEAD_BEHIND_THE_FLAG {
            heads[peer].store([half, rank, program], 7);
        }
    }
    if FAULT != fault::NO_WAIT {
        flags.wait_with(program, now, WaitOptions::new().limit_ns(LIMIT_NS));
    }
    // A head that is not there yet shows in the sum, and ends nothing.
    let asked = (0..ranks).fold(zero::<u64>(), |asked, peer| {
        asked + heads.own().load([half, peer, program])
    });
    let differs = select(asked == 7 * ranks as u64, 0, 1);
    let taken = if FAULT == fault::PIECE_OF_ANOTHER_PROGRAM {
        arange(COLUMNS / PROGRAMS) + (1 - program) * (COLUMNS / PROGRAMS)
    } else {
        cols
    };
    let sum = (1..ranks).fold(staging.own().load([half, 0, taken]) + differs, |sum, rank| {
        sum + staging.own().load([half, rank, taken])
    });
    for peer in 0..ranks {
        staging[peer].store([half, rank + ranks, cols], sum);
    }
    if FAULT != fault::NO_SECOND_FLAG {
        flags.raise(program + places, now);
    }
    if FAULT != fault::NO_SECOND_WAIT && FAULT != fault::NO_SECOND_FLAG {
        flags.wait_with(program + places, now, WaitOptions::new().limit_ns(LIMIT_NS));
    }
    for peer in 0..ranks {
        buffer.store([peer, cols], staging.own().load([half, peer + ranks, cols]));
    }
}

/// What two ranks' launches come to.
fn launched<const FAULT: usize>() -> Vec<Result<(), LaunchError>> {
    on_exchanges(2, AMPLE, |rank, exchange| {
        let device = Device::cpu();
        let peers = Peers::join(&device, exchange.clone()).unwrap();
        let mut memory = peers.buffer(3 * 4096).unwrap();
        let mut heads = memory.split_off(4096).unwrap();
        let mut flags = heads.split_off(4096).unwrap();
        let mut epoch = device.zeros::<u64, 1>([1]).unwrap();
        let mut launch = |value: i32| -> Result<Vec<i32>, LaunchError> {
            let mut buffer = device.upload(&[value; 2 * COLUMNS], [2, COLUMNS]).unwrap();
            let mut staging = memory.tensors_mut::<i32, 3>(0, [2, 4, COLUMNS]).unwrap();
            let mut heads = heads.tensors_mut::<u64, 3>(0, [2, 2, PROGRAMS]).unwrap();
            let mut flags = flags.tensors_mut::<u32, 2>(0, [2, 2 * PROGRAMS]).unwrap();
            let places = tilewright_dsl::call::Runtime(PROGRAMS as u64);
            let (staging, heads) = (OfRank(rank, &mut staging), OfRank(rank, &mut heads));
            let call = sum::<FAULT>(
                &mut buffer,
                staging,
                heads,
                OfRank(rank, &mut flags),
                &mut epoch,
                places,
            );
            // Nobody synchronises: what a host has waited for comes before all that it launches, on whatever rank.
            call.launch(&device)?;
            Ok(buffer.download().unwrap())
        };
        for step in 0..4 {
            let found = launch(1 + rank as i32 + step)?;
            if FAULT == fault::NONE {
                assert!(found.iter().all(|&found| found == 3 + 2 * step), "{found:?}");
            }
        }
        // Nobody's memory is gone before all are done.
        let _ = exchange.all_gather(&[]);
        Ok(())
    })
}

#[track_caller]
fn is_reported<const FAULT: usize>(what: &str) {
    let errors: Vec<String> = launched::<FAULT>()
        .into_iter()
        .filter_map(|result| Some(result.err()?.to_string()))
        .collect();
    let is_told = |error: &String| error.contains(what) && error.contains("orders the two");
    assert!(errors.iter().any(is_told), "{FAULT}: {errors:#?}");
}

#[test]
fn staging_that_flags_order_is_right_and_what_they_do_not_order_is_reported() {
    let _turn = tilewright_testing::turn();
    for result in launched::<{ fault::NONE }>() {
        result.unwrap();
    }
    is_reported::<{ fault::FLAG_BEFORE_ROWS }>("`");
    is_reported::<{ fault::NO_WAIT }>("`");
    is_reported::<{ fault::NO_SECOND_WAIT }>("`staging[");
    is_reported::<{ fault::NO_SECOND_FLAG }>("`staging[");
    // Two meetings of one launch keep slower ranks' rows as a second half does.
    for result in launched::<{ fault::ONE_HALF }>() {
        result.unwrap();
    }
    is_reported::<{ fault::EPOCH_NOT_ADVANCED }>("`");
    is_reported::<{ fault::PIECE_OF_ANOTHER_PROGRAM }>("`staging[");
    is_reported::<{ fault::HEAD_BEHIND_THE_FLAG }>("`heads[");
}
