//! Ranks that are late, gone, or ask for something else: an error on the others within the limit, no row where none belongs, and
//! devices that go on.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tilewright_dp::collective::{CollectiveError, Exchange, Group, PeerGroup, Reduction, ThreadExchange};
use tilewright_dp::kernels::copy_to_slot;
use tilewright_dsl::call::Runtime;
use tilewright_runtime::{Device, DeviceError, Graph, Launch, LaunchError};

use super::place::{AMPLE, Place, for_each_place, on_all, on_exchanges};
use tilewright_harness::testing::*;

/// Short enough to wait for a rank that does not come.
const LIMIT: Duration = Duration::from_millis(1200);
const COLUMNS: usize = 24;

/// A rank's buffer for a gather of equal parts: its own rows, and sentinels.
struct Gathered {
    buffer: Guarded<u16>,
    before: Rows,
    expected: Rows,
    parts: Vec<u64>,
}

impl Gathered {
    fn new(device: &Device, rank: usize, ranks: usize, rows: usize, salt: u64) -> Self {
        let expected = unique::<u16>(rows * ranks, COLUMNS, salt);
        let mut before = sentinels::<u16>(rows * ranks, COLUMNS);
        let own = rank * rows..(rank + 1) * rows;
        before[own.clone()].clone_from_slice(&expected[own]);
        Self {
            buffer: Guarded::new(device, &before, COLUMNS, Placement::Misaligned),
            before,
            expected,
            parts: vec![rows as u64; ranks],
        }
    }

    /// Other rows, of which this rank has its own again.
    fn again(&mut self, rank: usize, salt: u64) {
        let (ranks, rows) = (self.parts.len(), self.parts[0] as usize);
        let next = Self::new(self.buffer.view().device(), rank, ranks, rows, salt);
        let device = self.buffer.view().device().clone();
        let all = next.buffer.view();
        copy_to_slot(self.buffer.view_mut(), all, Runtime(0), Runtime((ranks * rows) as u64))
            .launch(&device)
            .unwrap();
        (self.before, self.expected) = (next.before, next.expected);
    }

    fn ask(&mut self, group: &PeerGroup) -> Result<(), CollectiveError> {
        group.all_gather(&mut self.buffer.view_mut(), &self.parts)
    }

    #[track_caller]
    fn assert_there(&self) {
        assert_rows(&self.buffer.read(), &self.expected, "gathered");
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_rows(&self.buffer.read(), &self.before, "not gathered");
    }
}

/// Gathers once, and everybody finds every row.
#[track_caller]
fn gathers(group: &PeerGroup, salt: u64) {
    let device = group.stream().device();
    let mut rows = Gathered::new(device, group.rank(), group.size(), 2, salt);
    rows.ask(group).unwrap();
    group.finish().unwrap();
    rows.assert_there();
}

/// The group is over, and its device is not: another group of it works.
fn goes_on(place: Place, group: PeerGroup, again: Arc<dyn Exchange>) {
    let rank = group.rank();
    drop(group);
    let group = PeerGroup::join(&place.device(rank).stream(), again).unwrap();
    gathers(&group, 77);
}

/// Exchanges for a second group.
fn spare(ranks: usize) -> Vec<std::sync::Mutex<Option<Arc<dyn Exchange>>>> {
    let exchanges = ThreadExchange::ranks(ranks, AMPLE).unwrap().into_iter();
    exchanges
        .map(|exchange| std::sync::Mutex::new(Some(Arc::new(exchange) as Arc<dyn Exchange>)))
        .collect()
}

#[test]
fn a_rank_that_is_late_is_named_on_the_others_and_their_rows_are_untouched() {
    for_each_place(&[2, 3], |place, ranks| {
        let again = spare(ranks);
        let late = ranks - 1;
        let began = Instant::now();
        on_all(place, ranks, LIMIT, |rank, group| {
            gathers(&group, 1);
            let device = group.stream().device().clone();
            let mut rows = Gathered::new(&device, rank, ranks, 3, 2);
            if rank == late {
                thread::sleep(3 * LIMIT);
                // The others had stored before they waited, and are gone now.
                rows.ask(&group).unwrap();
                let _ = group.finish();
                let error = rows.ask(&group).and_then(|()| group.finish()).unwrap_err();
                assert!(!error.to_string().is_empty());
            } else {
                let asked = Instant::now();
                rows.ask(&group).unwrap();
                let error = group.finish().unwrap_err();
                assert!(
                    matches!(&error, CollectiveError::Late { missing, .. } if missing == &[late]),
                    "{error}"
                );
                assert!(asked.elapsed() >= LIMIT / 2, "{:?}", asked.elapsed());
                rows.assert_untouched();
                let error = rows.ask(&group).unwrap_err();
                assert!(matches!(error, CollectiveError::Failed { .. }), "{error}");
                assert!(group.finish().is_err());
                device.synchronize().unwrap();
            }
            let again = again[rank].lock().unwrap().take().unwrap();
            goes_on(place, group, again);
        });
        assert!(began.elapsed() < 20 * LIMIT, "{:?}", began.elapsed());
    });
}

/// A rank that does not look at errors does not wait for each of its collectives.
#[test]
fn what_is_asked_behind_a_failure_ends_at_once() {
    for_each_place(&[2], |place, ranks| {
        on_all(place, ranks, LIMIT, |rank, group| {
            gathers(&group, 1);
            if rank == 1 {
                thread::sleep(2 * LIMIT);
                return;
            }
            let began = Instant::now();
            let mut rows = Gathered::new(group.stream().device(), rank, ranks, 3, 2);
            for _ in 0..10 {
                rows.ask(&group).unwrap();
            }
            assert!(group.finish().is_err());
            assert!(began.elapsed() < 4 * LIMIT, "{:?}", began.elapsed());
            rows.assert_untouched();
        });
    });
}

/// The report of a collective is taken by whoever asks the device for it; the group does not forget.
#[test]
fn a_failure_whose_report_was_taken_is_one() {
    for_each_place(&[2], |place, ranks| {
        on_all(place, ranks, LIMIT, |rank, group| {
            gathers(&group, 1);
            if rank == 1 {
                return;
            }
            let device = group.stream().device().clone();
            let mut rows = Gathered::new(&device, rank, ranks, 3, 2);
            rows.ask(&group).unwrap();
            let reported = device.synchronize().unwrap_err();
            assert!(matches!(reported, LaunchError::WaitEnded { rank: 1, .. }), "{reported}");
            assert!(group.finish().is_err());
            device.synchronize().unwrap();
        });
    });
}

#[test]
fn a_rank_that_leaves_before_its_stores_is_named_on_the_others() {
    for_each_place(&[3], |place, ranks| {
        let again = spare(ranks);
        on_all(place, ranks, LIMIT, |rank, group| {
            gathers(&group, 1);
            if rank == 1 {
                return goes_on(place, group, again[rank].lock().unwrap().take().unwrap());
            }
            let mut rows = Gathered::new(group.stream().device(), rank, ranks, 3, 2);
            rows.ask(&group).unwrap();
            let error = group.finish().unwrap_err();
            assert!(matches!(error, CollectiveError::Gone { gone: 1 }), "{error}");
            rows.assert_untouched();
            goes_on(place, group, again[rank].lock().unwrap().take().unwrap());
        });
    });
}

#[test]
fn what_a_rank_stored_before_it_left_is_there_and_its_peers_go_on_storing() {
    for_each_place(&[2, 3], |place, ranks| {
        on_all(place, ranks, LIMIT, |rank, group| {
            let device = group.stream().device().clone();
            let mut all: Vec<_> = (0..4)
                .map(|salt| Gathered::new(&device, rank, ranks, 40, salt))
                .collect();
            if rank == 0 {
                // Their stores are on their way, into memory of ranks that are gone by then.
                thread::sleep(LIMIT / 8);
            }
            all.iter_mut().for_each(|rows| rows.ask(&group).unwrap());
            if rank > 0 {
                return drop(group);
            }
            group.finish().unwrap();
            all.iter().for_each(Gathered::assert_there);
            let mut rows = Gathered::new(&device, rank, ranks, 3, 9);
            rows.ask(&group).unwrap();
            let error = group.finish().unwrap_err();
            assert!(matches!(error, CollectiveError::Gone { .. }), "{error}");
            rows.assert_untouched();
        });
    });
}

/// Something that ranks ask for differently.
type Asked = fn(&PeerGroup, &mut Guarded<u16>) -> Result<(), CollectiveError>;

#[test]
fn ranks_that_ask_for_different_things_are_told_and_their_rows_are_untouched() {
    let parts: Asked = |group, rows| {
        let parts = [[2, 1], [1, 2]][group.rank()];
        group.all_gather(&mut rows.view_mut(), &parts)
    };
    let rows: Asked = |group, rows| {
        let count = 40 + group.rank();
        let mut rows = rows.view_mut().rows(..count).unwrap();
        group.all_gather(&mut rows, &[20, 20])
    };
    let columns: Asked = |group, rows| {
        let count = 7 + group.rank();
        let mut rows = rows.view_mut().columns(..count).unwrap();
        group.all_gather(&mut rows, &[3, 3])
    };
    let types: Asked = |group, rows| match group.rank() {
        0 => group.all_gather(&mut rows.view_mut(), &[3, 3]),
        _ => group.all_gather::<i16>(&mut rows.view_mut().bits().unwrap(), &[3, 3]),
    };
    let operations: Asked = |group, rows| match group.rank() {
        0 => group.all_gather(&mut rows.view_mut(), &[3, 3]),
        _ => group.reduce_scatter(&mut rows.view_mut(), &[3, 3]),
    };
    let many: Asked = |group, rows| {
        let parts = [[1, 0], [20, 20]][group.rank()];
        group.all_gather(&mut rows.view_mut(), &parts)
    };
    let reductions: Asked = |group, rows| {
        let reduction = [Reduction::OneShot, Reduction::TwoShot][group.rank()];
        group.all_reduce_by(&mut rows.view_mut(), reduction)
    };
    let all = [
        ("in parts of", parts),
        ("of 40 x", rows),
        ("x 7 u16", columns),
        ("i16", types),
        ("reduce-scatter", operations),
        ("in parts of", many),
        ("different", reductions),
    ];
    for_each_place(&[2], |place, ranks| {
        for (says, ask) in all {
            let again = spare(ranks);
            let errors = on_all(place, ranks, LIMIT, |rank, group| {
                let device = group.stream().device().clone();
                group.reserve::<u64>(100, 64).unwrap();
                let before = unique::<u16>(45, COLUMNS, rank as u64);
                let mut rows = Guarded::<u16>::new(&device, &before, COLUMNS, Placement::Misaligned);
                ask(&group, &mut rows).unwrap();
                let error = group.finish().unwrap_err();
                assert_rows(&rows.read(), &before, (says, rank));
                device.synchronize().unwrap();
                goes_on(place, group, again[rank].lock().unwrap().take().unwrap());
                error
            });
            for error in errors {
                let is_right = matches!(
                    error,
                    CollectiveError::Disagreement { .. } | CollectiveError::Failed { .. }
                );
                assert!(is_right && error.to_string().contains(says), "{says}: {error}");
            }
        }
    });
}

#[test]
fn ranks_that_grow_and_ranks_that_do_not_are_told() {
    for_each_place(&[2], |place, ranks| {
        let began = Instant::now();
        let errors = on_all(place, ranks, LIMIT, |rank, group| {
            let device = group.stream().device().clone();
            gathers(&group, 1);
            let capacity = group.staging();
            let parts = [[1, 1], [capacity as u64, 1]][rank];
            let mut rows = device.zeros::<u8, 2>([capacity + 1, 4]).unwrap();
            let error = group
                .all_gather(&mut rows.view_mut(), &parts)
                .and_then(|()| group.finish());
            assert!(rows.download().unwrap().iter().all(|&byte| byte == 0));
            error.unwrap_err()
        });
        for error in errors {
            assert!(
                matches!(
                    error,
                    CollectiveError::Disagreement { .. } | CollectiveError::Late { .. }
                ),
                "{error}"
            );
        }
        assert!(began.elapsed() < 10 * LIMIT, "{:?}", began.elapsed());
    });
}

/// A graph of one gather into `rows`.
fn captured(group: &PeerGroup, rows: &mut Gathered) -> Graph {
    let device = group.stream().device().clone();
    device.capture(|stream| rows.ask(&group.on_stream(stream)?)).unwrap()
}

#[test]
fn graphs_gather_at_every_replay_and_between_other_collectives() {
    for_each_place(&[2, 4], |place, ranks| {
        on_all(place, ranks, AMPLE, |rank, group| {
            let device = group.stream().device().clone();
            group.reserve::<u16>(64, COLUMNS as u64).unwrap();
            let mut rows = Gathered::new(&device, rank, ranks, 3, 2);
            // What the graph launches is built before.
            rows.ask(&group).unwrap();
            group.finish().unwrap();
            let mut graph = captured(&group, &mut rows);
            for step in 0..50 {
                if step % 7 == 0 {
                    gathers(&group, step);
                }
                rows.again(rank, step);
                graph.launch().unwrap();
                group.finish().unwrap();
                rows.assert_there();
            }
            // Staging grows, and the graph keeps what it has.
            let capacity = group.staging();
            group.reserve::<u8>(capacity as u64, 16).unwrap();
            assert!(group.staging() > capacity);
            graph.launch().unwrap();
            gathers(&group, 99);
            rows.again(rank, 98);
            graph.launch().unwrap();
            group.finish().unwrap();
            rows.assert_there();
            // And it outlives the group's own handle.
            drop(group);
            rows.again(rank, 97);
            graph.launch().unwrap();
            device.synchronize().unwrap();
            rows.assert_there();
        });
    });
}

#[test]
fn staging_does_not_grow_in_a_capture_or_when_it_is_sealed() {
    for_each_place(&[2], |place, ranks| {
        on_all(place, ranks, LIMIT, |_, group| {
            let device = group.stream().device().clone();
            gathers(&group, 1);
            let rows = group.staging();
            let mut buffer = device.zeros::<u8, 2>([rows, 16]).unwrap();
            let parts = vec![(rows / ranks) as u64; ranks];
            let mut error = None;
            let captured = device.capture(|stream| {
                let group = group.on_stream(stream).unwrap();
                error = group.all_gather(&mut buffer.view_mut(), &parts).err();
                Ok::<(), LaunchError>(())
            });
            drop(captured);
            let error = error.unwrap().to_string();
            assert!(error.contains("captured") || error.contains("capture"), "{error}");
            // Nothing is lost by it.
            gathers(&group, 2);
            assert_eq!(group.staging(), rows);
            group.seal();
            let error = group
                .all_gather(&mut buffer.view_mut(), &parts)
                .unwrap_err()
                .to_string();
            assert!(error.contains("told to grow no more"), "{error}");
            gathers(&group, 3);
        });
    });
}

#[test]
fn a_replay_on_one_rank_alone_is_an_error_there() {
    for_each_place(&[2], |place, ranks| {
        let again = spare(ranks);
        let done = Barrier::new(ranks);
        on_all(place, ranks, LIMIT, |rank, group| {
            let device = group.stream().device().clone();
            let mut rows = Gathered::new(&device, rank, ranks, 3, 2);
            rows.ask(&group).unwrap();
            group.finish().unwrap();
            let mut graph = captured(&group, &mut rows);
            graph.launch().unwrap();
            group.finish().unwrap();
            if rank == 0 {
                graph.launch().unwrap();
                let error = group.finish().unwrap_err();
                assert!(
                    matches!(&error, CollectiveError::Late { missing, .. } if missing == &[1]),
                    "{error}"
                );
                rows.assert_there();
                // Once more ends at once.
                let began = Instant::now();
                graph.launch().unwrap();
                assert!(device.synchronize().is_err());
                assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
            }
            done.wait();
            goes_on(place, group, again[rank].lock().unwrap().take().unwrap());
        });
    });
}

#[test]
fn growth_on_one_rank_while_another_replays_an_older_graph_is_an_error_on_both() {
    for_each_place(&[2], |place, ranks| {
        let began = Instant::now();
        on_all(place, ranks, LIMIT, |rank, group| {
            let device = group.stream().device().clone();
            let mut rows = Gathered::new(&device, rank, ranks, 3, 2);
            rows.ask(&group).unwrap();
            group.finish().unwrap();
            let mut graph = captured(&group, &mut rows);
            let capacity = group.staging();
            if rank == 0 {
                graph.launch().unwrap();
                assert!(group.finish().is_err());
                rows.assert_there();
            } else {
                let mut larger = device.zeros::<u8, 2>([capacity, 16]).unwrap();
                let parts = vec![capacity as u64 / 2; 2];
                let error = group.all_gather(&mut larger.view_mut(), &parts);
                error.and_then(|()| group.finish()).unwrap_err();
                assert!(larger.download().unwrap().iter().all(|&byte| byte == 0));
            }
            device.synchronize().unwrap();
        });
        assert!(began.elapsed() < 10 * LIMIT, "{:?}", began.elapsed());
    });
}

/// Each rank has two groups, in threads of their own, whose steps meet as they come.
#[test]
fn two_groups_of_the_same_devices_gather_at_once() {
    for_each_place(&[2, 3], |place, ranks| {
        let (second, loaded) = (spare(ranks), Barrier::new(ranks));
        on_exchanges(ranks, AMPLE, |rank, exchange| {
            let second = second[rank].lock().unwrap().take().unwrap();
            let device = place.device(rank);
            let streams = [device.new_stream().unwrap(), device.new_stream().unwrap()];
            // One after the other, since both meet on the host.
            let groups = [exchange, second];
            let groups: Vec<PeerGroup> = groups
                .into_iter()
                .zip(&streams)
                .map(|(exchange, stream)| PeerGroup::join(stream, exchange).unwrap())
                .collect();
            for group in &groups {
                group.reserve::<u16>(64, COLUMNS as u64).unwrap();
                gathers(group, 1000);
            }
            // Nothing is loaded while a launch waits: both would wait for the other's end.
            Device::settle(AMPLE);
            loaded.wait();
            thread::scope(|scope| {
                for (salt, group) in groups.into_iter().enumerate() {
                    scope.spawn(move || {
                        let mut rng = fastrand::Rng::with_seed((10 * rank + salt) as u64);
                        for step in 0..60 {
                            if rng.u8(..4) == 0 {
                                thread::sleep(Duration::from_micros(rng.u64(..1000)));
                            }
                            gathers(&group, step * 2 + salt as u64);
                        }
                    });
                }
            });
        });
    });
}

#[test]
fn a_group_of_devices_that_do_not_reach_each_other_is_refused_on_all_ranks() {
    if Device::cuda(0).is_err() {
        return tilewright_testing::skip("a GPU is needed beside the CPU device");
    }
    let errors = on_exchanges(2, AMPLE, |rank, exchange| {
        let device = if rank == 0 {
            Device::cpu()
        } else {
            Device::cuda(0).unwrap()
        };
        PeerGroup::join(&device.stream(), exchange).unwrap_err()
    });
    for error in errors {
        assert!(matches!(error, CollectiveError::Peers(_)), "{error}");
    }
}

#[test]
fn a_stream_of_another_device_is_refused() {
    for_each_place(&[2], |place, ranks| {
        if place == Place::Cpu {
            return;
        }
        on_all(place, ranks, AMPLE, |rank, group| {
            let other = place.device(1 - rank).stream();
            let error = group.on_stream(&other).unwrap_err();
            assert!(
                matches!(error, CollectiveError::Device(DeviceError::OtherDevice { .. })),
                "{error}"
            );
        });
    });
}
