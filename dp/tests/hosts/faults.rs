//! Ranks that leave, come late, or fail: an error on all within the limit, whatever the part of the group that they are in.

use std::thread;
use std::time::{Duration, Instant};

use tilewright_dp::collective::{CollectiveError, Group, HostsGroup, LocalGroup, PeerGroup};

use super::groups::{Part, on_all};
use super::place::AMPLE;

/// Short enough to wait for a rank that does not come.
const LIMIT: Duration = Duration::from_millis(1200);

/// What is asked for and waited for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Gather,
    ReduceScatter,
    AllReduce,
}

const ALL: [Asked; 3] = [Asked::Gather, Asked::ReduceScatter, Asked::AllReduce];

fn asks<W: Part, R: Part>(group: &HostsGroup<W, R>, asked: Asked) -> Result<(), CollectiveError> {
    let device = group.stream().device().clone();
    let mut buffer = device.upload(&[1.0f32; 40], [10, 4]).unwrap();
    let (mut rows, parts) = (buffer.view_mut(), vec![2; group.size()]);
    match asked {
        Asked::Gather => group.all_gather(&mut rows, &parts)?,
        Asked::ReduceScatter => group.reduce_scatter(&mut rows, &parts)?,
        Asked::AllReduce => group.all_reduce(&mut rows)?,
    }
    group.finish()
}

/// One rank does not come any more, and then leaves: at once, or when the others have given up.
fn is_an_error_on_all_others<W: Part, R: Part>(stays: Duration, all: &[Asked]) {
    for &asked in all {
        for dead in [0, 3] {
            on_all::<W, R, _>([2, 2], LIMIT, |group| {
                let rank = group.rank();
                asks(&group, asked).unwrap();
                if rank == dead {
                    thread::sleep(stays);
                    return;
                }
                let began = Instant::now();
                let error = asks(&group, asked).unwrap_err();
                assert!(began.elapsed() < 6 * LIMIT, "{:?} {asked:?}: {error}", began.elapsed());
                // One that has seen it first may have left since, and who waits for one that waits for it is late as well. Of two
                // groups of peers on one device, either may have the report of the other.
                let is_of_others = match &error {
                    CollectiveError::Gone { gone } => *gone != rank,
                    CollectiveError::Late { .. }
                    | CollectiveError::Disagreement { .. }
                    | CollectiveError::Unfinished { .. }
                    | CollectiveError::Failed { .. } => true,
                    _ => false,
                };
                assert!(is_of_others, "{rank} {asked:?}: {error}");
                // That is the end of the group.
                assert!(asks(&group, asked).is_err());
                group.stream().device().synchronize().unwrap();
            });
        }
    }
}

#[test]
fn a_rank_that_leaves_is_an_error_on_all_others() {
    is_an_error_on_all_others::<LocalGroup, LocalGroup>(Duration::ZERO, &ALL);
    is_an_error_on_all_others::<PeerGroup, LocalGroup>(Duration::ZERO, &[Asked::AllReduce]);
    is_an_error_on_all_others::<PeerGroup, PeerGroup>(Duration::ZERO, &[Asked::Gather, Asked::ReduceScatter]);
}

#[test]
fn a_rank_that_does_not_come_is_an_error_on_all_others() {
    is_an_error_on_all_others::<LocalGroup, LocalGroup>(3 * LIMIT, &[Asked::Gather]);
    is_an_error_on_all_others::<PeerGroup, LocalGroup>(3 * LIMIT, &[Asked::ReduceScatter]);
    is_an_error_on_all_others::<PeerGroup, PeerGroup>(3 * LIMIT, &[Asked::AllReduce]);
}

/// A rank whose part of the group is well hears of one whose is not: what came over the rail may be no sum.
#[test]
fn what_one_rank_did_not_finish_none_has_finished() {
    let ended = on_all::<PeerGroup, PeerGroup, _>([2, 2], LIMIT, |group| {
        asks(&group, Asked::Gather).unwrap();
        // The others ask for nothing and only wait for what they have asked for.
        if group.rank() == 0 {
            let mut buffer = group.stream().device().upload(&[1.0f32; 40], [10, 4]).unwrap();
            group.within().all_reduce(&mut buffer.view_mut()).unwrap();
        }
        group.finish()
    });
    for (rank, ended) in ended.iter().enumerate() {
        assert!(ended.is_err(), "{rank}: {ended:?}");
    }
}

/// A rank that comes within the limit is waited for.
#[test]
fn a_slow_rank_is_no_error() {
    on_all::<PeerGroup, LocalGroup, _>([2, 2], AMPLE, |group| {
        for (turn, asked) in [Asked::Gather, Asked::ReduceScatter, Asked::AllReduce]
            .into_iter()
            .enumerate()
        {
            if group.rank() == turn + 1 {
                thread::sleep(Duration::from_millis(300));
            }
            asks(&group, asked).unwrap();
        }
    });
}
