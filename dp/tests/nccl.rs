//! Rows between GPUs, through NCCL, on as many as there are: one will do, but for what takes two.
//!
//! Needs the feature `nccl`.

#![cfg(feature = "nccl")]
#![allow(unsafe_code)] // Replaying a graph is unsafe: it owns nothing of what its work uses.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use half::bf16;
use tilewright_dp::collective::{CollectiveError, Group, NcclGroup, Rail, TcpExchange, ThreadExchange};
use tilewright_dp::kernels::convert_rows;
use tilewright_dp::movement::{Contribution, Counts, Groups, Movement};
use tilewright_dp::plan::{Plan, Request, Topology};
use tilewright_harness::testing::*;
use tilewright_runtime::communicator::Communicator;
use tilewright_runtime::device::cuda::{CudaGraph, Nccl, NcclError, UnequalGather, device_count};
use tilewright_runtime::{Device, DeviceError, DeviceTensor, Launch};
use tilewright_testing::{Part, silent_process_of, skip, turn};

const LIMIT: Duration = Duration::from_secs(60);

/// How many GPUs there are, for one test at a time. Nothing, with a reason, where there are fewer than a test needs or no
/// NCCL.
fn gpus(at_least: usize) -> Option<(usize, MutexGuard<'static, ()>)> {
    let found = device_count().and_then(|gpus| {
        if gpus == 0 {
            Err(DeviceError::NoDevice)
        } else {
            Ok(gpus as usize)
        }
    });
    let gpus = Part::Gpu.or_skip(found)?;
    Part::Nccl.or_skip(Nccl::load())?;
    if gpus < at_least {
        skip(format_args!("{at_least} GPUs are needed, and there are {gpus}"));
        return None;
    }
    Some((gpus, turn()))
}

/// Joins a group of a rank for each GPU, and returns what each rank makes of it.
fn joined<R: Send>(gpus: usize, run: impl Fn(&Device, NcclGroup) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let run = &run;
        let exchanges = ThreadExchange::ranks(gpus, LIMIT).unwrap().into_iter().enumerate();
        let rank = |(gpu, exchange)| {
            scope.spawn(move || {
                let device = Device::cuda(gpu as u32).unwrap();
                let group = NcclGroup::join(&device.stream(), Arc::new(exchange)).unwrap();
                run(&device, group)
            })
        };
        let ranks: Vec<_> = exchanges.map(rank).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// Runs a rank for each GPU.
fn on_all_gpus(run: impl Fn(&Device, NcclGroup) + Sync) {
    if let Some((gpus, _turn)) = gpus(1) {
        joined(gpus, run);
    }
}

/// A step of ranks of one GPU each: attention is not shared, so that its group is the rank alone.
fn groups_of(device: &Device, world: NcclGroup) -> Groups<NcclGroup> {
    let alone = ThreadExchange::ranks(1, LIMIT).unwrap().remove(0);
    Groups::new(world, NcclGroup::join(&device.stream(), Arc::new(alone)).unwrap())
}

fn step_of(size: u64, extend: bool) -> (Plan, Topology) {
    let counts: Vec<u64> = (0..size).map(|rank| [5, 0, 2][rank as usize % 3]).collect();
    let plan = Plan::new(&Request {
        extend,
        ..Request::new(counts, size)
    });
    (plan.unwrap(), Topology::new(size, size).unwrap())
}

/// Rows that no other rank has.
fn rows_of(rank: usize, tokens: usize) -> Rows {
    (0..tokens)
        .map(|row| vec![0x3c00 + (rank * 40 + row) as u64; 128])
        .collect()
}

#[test]
fn parts_are_gathered_and_sums_are_right() {
    on_all_gpus(|device, group| {
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
    on_all_gpus(|device, world| {
        let (rank, size) = (world.rank(), world.size() as u64);
        let groups = groups_of(device, world);
        for extend in [false, true] {
            let (plan, topology) = step_of(size, extend);
            let movement = Movement::new(&plan, &topology, &groups).unwrap();
            let rows = rows_of(rank, movement.slot().tokens as usize);
            let local = Guarded::<bf16>::new(device, &rows, 128, Placement::Contiguous);
            let mut buffer =
                Guarded::<bf16>::untouched(device, plan.layout().rows() as usize, 128, Placement::Contiguous);
            let whole = Contribution::Partial;
            movement
                .gather(&mut buffer.view_mut(), local.view(), whole, Counts::Planned)
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

/// Parts that are not equal arrive in either way, from few rows to many, those of ranks that have none among them.
#[test]
fn unequal_parts_arrive_by_sends_and_by_broadcasts() {
    on_all_gpus(|device, group| {
        let (rank, size) = (group.rank(), group.size());
        for rows in [0u64, 1, 5, 700] {
            for way in [UnequalGather::Sends, UnequalGather::Broadcasts] {
                let parts: Vec<u64> = (0..size as u64).map(|rank| rows * (rank % 3)).collect();
                let all = parts.iter().sum::<u64>() as usize + 1;
                let start = parts[..rank].iter().sum::<u64>() as usize;
                let own = start * 1024..(start + parts[rank] as usize) * 1024;
                let word = |i: usize| i as i32 + rows as i32;
                let mine: Vec<i32> = (0..all * 1024)
                    .map(|i| if own.contains(&i) { word(i) } else { -1 })
                    .collect();
                let mut buffer = device.upload(&mine, [all, 1024]).unwrap();
                group.all_gather_by(&mut buffer.view_mut(), &parts, way).unwrap();
                group.finish().unwrap();
                let found = buffer.download().unwrap();
                let (gathered, rest) = found.split_at((all - 1) * 1024);
                assert!(
                    gathered.iter().enumerate().all(|(i, &found)| found == word(i)),
                    "{way:?} {parts:?}"
                );
                assert!(rest.iter().all(|&found| found == -1), "{way:?} {parts:?}");
            }
        }
        group.leave().unwrap();
    });
}

/// Parts may lie anywhere, those of later ranks first, with rows between them that keep their values.
#[test]
fn parts_that_lie_anywhere_are_gathered_and_summed() {
    on_all_gpus(|device, group| {
        let (rank, size) = (group.rank(), group.size());
        for part in [2u64, 700] {
            let places: Vec<_> = (0..size as u64)
                .map(|rank| {
                    let start = (size as u64 - 1 - rank) * (part + 1);
                    start..start + part * (1 - rank / 3)
                })
                .collect();
            let all = size * (part as usize + 1);
            let rank_of = |row: usize| places.iter().position(|place| place.contains(&(row as u64)));
            let word = |row: usize, column: usize| (row * 1024 + column) as i32;
            let filled = |known: &dyn Fn(Option<usize>) -> bool| -> Vec<i32> {
                let row = |row: usize| {
                    let is_known = known(rank_of(row));
                    (0..1024).map(move |column| if is_known { word(row, column) } else { -1 })
                };
                (0..all).flat_map(row).collect()
            };
            let mut buffer = device.upload(&filled(&|of| of == Some(rank)), [all, 1024]).unwrap();
            group.all_gather_at(&mut buffer.view_mut(), &places).unwrap();
            group.finish().unwrap();
            assert!(buffer.download().unwrap() == filled(&|of| of.is_some()), "{places:?}");
            group.reduce_scatter_at(&mut buffer.view_mut(), &places).unwrap();
            group.finish().unwrap();
            let found = buffer.download().unwrap();
            for row in (0..all).filter(|&row| rank_of(row).is_none_or(|of| of == rank)) {
                let expected = |column| match rank_of(row) {
                    Some(_) => size as i32 * word(row, column),
                    None => -1,
                };
                assert!(
                    (0..1024).all(|column| found[row * 1024 + column] == expected(column)),
                    "{places:?} {row}"
                );
            }
        }
        let mut buffer = device.zeros::<i32, 2>([2, 4]).unwrap();
        let overlapping = vec![0..2; size];
        let refused = group.all_gather_at(&mut buffer.view_mut(), &overlapping);
        assert_eq!(refused.is_err(), size > 1);
        group.leave().unwrap();
    });
}

/// Once a graph has them, a group's collectives follow the rows of the moment. The group may be dropped before the graph,
/// which keeps what it needs, and nobody waits for that.
#[test]
fn a_captured_gather_is_replayed_and_its_group_is_dropped_at_once() {
    on_all_gpus(|device, world| {
        let (rank, size) = (world.rank(), world.size() as u64);
        let groups = groups_of(device, world);
        let (plan, topology) = step_of(size, false);
        let layout = plan.layout();
        let movement = Movement::new(&plan, &topology, &groups).unwrap();
        let tokens = movement.slot().tokens as usize;
        let mut local = device.zeros::<bf16, 2>([tokens, 128]).unwrap();
        let mut buffer = Guarded::<bf16>::untouched(device, layout.rows() as usize, 128, Placement::Contiguous);
        let mut gather = || {
            let whole = Contribution::Replicate;
            let moved = movement.gather(&mut buffer.view_mut(), local.view(), whole, Counts::Planned);
            moved.map(|moved| assert!(moved.is_all()))
        };
        // The ranks agree on the shape first.
        gather().unwrap();
        groups.world().finish().unwrap();
        // SAFETY: only this thread uses the rank's device.
        let mut graph = unsafe { device.stream().as_cuda().unwrap().capture(gather) }.unwrap();
        for step in 1..4 {
            let rows = rows_of(10 * step + rank, tokens).concat();
            let bits = |&bits: &u64| bf16::from_bits(bits as u16);
            local.copy_from(&rows.iter().map(bits).collect::<Vec<_>>()).unwrap();
            replay(&mut graph);
            groups.world().finish().unwrap();
            let mut expected = zeros(layout.rows() as usize, 128);
            for (other, (&start, &tokens)) in layout.starts().iter().zip(layout.counts()).enumerate() {
                let part = start as usize..(start + tokens) as usize;
                expected[part].clone_from_slice(&rows_of(10 * step + other, tokens as usize));
            }
            assert_rows(&buffer.read(), &expected, (step, rank));
        }
        let began = Instant::now();
        drop(groups);
        assert!(began.elapsed() < LIMIT / 4, "{:?}", began.elapsed());
        let before = buffer.read();
        replay(&mut graph);
        device.synchronize().unwrap();
        assert_rows(&buffer.read(), &before, ("without the group", rank));
        drop(graph);
        assert!(began.elapsed() < LIMIT / 4, "{:?}", began.elapsed());
    });
}

/// A graph that owns what it uses has the communicator too: it is the only thing that has it in the end.
#[test]
fn a_graph_that_owns_what_it_uses_keeps_its_group_and_memory() {
    on_all_gpus(|device, group| {
        let (rank, size) = (group.rank(), group.size());
        let parts = vec![2u64; size];
        let mut buffer = device.zeros::<i32, 2>([2 * size, 8]).unwrap();
        group.all_gather(&mut buffer.view_mut(), &parts).unwrap();
        let mut graph = device
            .capture(|stream| group.on_stream(stream)?.all_gather(&mut buffer.view_mut(), &parts))
            .unwrap();
        let inside = device
            .capture(|_| group.all_gather(&mut buffer.view_mut(), &parts))
            .err()
            .unwrap();
        assert!(
            matches!(
                inside,
                CollectiveError::Nccl(NcclError::Device(DeviceError::Capturing { .. }))
            ),
            "{inside}"
        );
        drop(group);
        for round in 1..4 {
            let mine: Vec<i32> = (0..16 * size as i32)
                .map(|i| if (i / 16) as usize == rank { i * round } else { -1 })
                .collect();
            buffer.copy_from(&mine).unwrap();
            graph.launch().unwrap();
            let found = buffer.download().unwrap();
            assert!(
                found.iter().enumerate().all(|(i, &found)| found == i as i32 * round),
                "{found:?}"
            );
        }
        // The graph frees it last, after its work.
        drop(buffer);
        graph.launch().unwrap();
        drop(graph);
        device.synchronize().unwrap();
    });
}

/// Steps that ranks exchange what they plan from need no other exchange, whatever their sizes.
#[test]
fn steps_of_ever_new_sizes_are_gathered_with_one_exchange_each() {
    on_all_gpus(|device, group| {
        let (rank, size) = (group.rank(), group.size());
        for step in 0..40u64 {
            let mine = 1 + (step * 7 + rank as u64 * 3) % 11;
            let told = group.agreement().exchange_step(&[mine], &[]).unwrap();
            let parts: Vec<u64> = told.iter().map(|words| words[0]).collect();
            let rows = parts.iter().sum::<u64>() as usize;
            let start = parts[..rank].iter().sum::<u64>() as usize;
            let own = start..start + mine as usize;
            let words: Vec<i32> = (0..rows)
                .map(|row| if own.contains(&row) { row as i32 } else { -1 })
                .collect();
            let mut buffer = device.upload(&words, [rows, 1]).unwrap();
            group.all_gather(&mut buffer.view_mut(), &parts).unwrap();
            let expected: Vec<i32> = (0..rows as i32).collect();
            assert_eq!(buffer.download().unwrap(), expected, "{step} {size}");
        }
        group.leave().unwrap();
    });
}

/// Puts a graph into its stream.
fn replay(graph: &mut CudaGraph) {
    // SAFETY: every tensor of these tests is declared before the graph that uses it and so outlives it, kernels live as
    // long as the device, and nobody else uses the tensors until the stream has been waited for.
    unsafe { graph.launch() }.unwrap();
}

/// What a rank gave to others arrives although it leaves as soon as it has what it asked for itself.
#[test]
fn a_rank_that_leaves_first_takes_nothing_from_the_others() {
    let Some((gpus, _turn)) = gpus(2) else { return };
    for round in 0..4 {
        joined(gpus, |device, group| {
            let rank = group.rank();
            // The last rank's part is empty, so that it only receives, and the first is done before it.
            let parts: Vec<u64> = (0..gpus).map(|rank| (gpus - 1 - rank) as u64 * 2048).collect();
            let rows = parts.iter().sum::<u64>() as usize;
            let word = |i: usize| (i as u64 + 1) << (round + 1);
            let start = parts[..rank].iter().sum::<u64>() as usize * 1024;
            let own = start..start + parts[rank] as usize * 1024;
            let mine: Vec<u64> = (0..rows * 1024)
                .map(|i| word(i) * u64::from(own.contains(&i)))
                .collect();
            let mut buffer = device.upload(&mine, [rows, 1024]).unwrap();
            group.all_gather(&mut buffer.view_mut(), &parts).unwrap();
            group.finish().unwrap();
            drop(group);
            let found = buffer.download().unwrap();
            assert!((0..rows * 1024).all(|i| found[i] == word(i)), "{parts:?}");
        });
    }
}

/// All ranks leave at once, however late one is, and what each frees then nobody uses any more.
#[test]
fn ranks_leave_together() {
    on_all_gpus(|device, group| {
        let (rank, size) = (group.rank(), group.size());
        let parts = vec![1024u64; size];
        let word = |i: usize| i as i32 + 1;
        let own = rank * 1024 * 256..(rank + 1) * 1024 * 256;
        let mine: Vec<i32> = (0..size * 1024 * 256)
            .map(|i| if own.contains(&i) { word(i) } else { 0 })
            .collect();
        let mut buffer = device.upload(&mine, [size * 1024, 256]).unwrap();
        group.all_gather(&mut buffer.view_mut(), &parts).unwrap();
        thread::sleep(Duration::from_millis(50 * rank as u64));
        group.leave().unwrap();
        let found = buffer.download().unwrap();
        assert!(found.iter().enumerate().all(|(i, &found)| found == word(i)));
    });
}

/// A rank that does not leave with the others is named.
#[test]
fn a_rank_that_asks_for_something_else_does_not_leave() {
    let Some((gpus, _turn)) = gpus(2) else { return };
    joined(gpus, |device, group| {
        let error = match group.rank() {
            0 => {
                let mut buffer = device.zeros::<f32, 2>([4, 4]).unwrap();
                group.all_reduce(&mut buffer.view_mut()).unwrap_err()
            }
            _ => group.leave().unwrap_err(),
        };
        assert!(matches!(error, CollectiveError::Disagreement { .. }), "{error}");
    });
}

/// Launches on other streams of the GPU find their order while NCCL waits for a rank that is late.
#[test]
fn a_rank_that_waits_in_nccl_holds_nobody_else_up() {
    let Some((_, _turn)) = gpus(2) else { return };
    let (id, late) = (Communicator::new_id().unwrap(), Duration::from_secs(2));
    let [(device, rank), (other_device, other)] = thread::scope(|scope| {
        [0, 1]
            .map(|gpu| {
                scope.spawn(move || {
                    let device = Device::cuda(gpu as u32).unwrap();
                    // On a stream of its own, which the memory of others does not go through.
                    let stream = device.new_stream().unwrap();
                    let rank = Communicator::join(&stream, &id, gpu, 2, LIMIT).unwrap();
                    (device, rank)
                })
            })
            .map(|rank| rank.join().unwrap())
    });
    let sum = |device: &Device, rank: &Communicator| {
        let mut buffer = device.upload(&[1.0f32; 16], [4, 4]).unwrap();
        rank.all_reduce(&mut buffer.view_mut()).unwrap();
        rank.finish().unwrap();
        assert_eq!(buffer.download().unwrap(), [2.0; 16]);
    };
    let mut buffer = device.zeros::<f32, 2>([64, 64]).unwrap();
    let ones = device.upload(&[1.0f32; 64 * 64], [64, 64]).unwrap();
    let streams = [(); 4].map(|()| device.new_stream().unwrap());
    // Memory that goes from stream to stream takes the order of all.
    let mut pass_on = || {
        for stream in &streams {
            convert_rows(&mut buffer, &ones).launch_on(stream).unwrap();
        }
        assert_eq!(buffer.download().unwrap(), [1.0; 64 * 64]);
    };
    // The kernel is compiled here.
    pass_on();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(late);
            sum(&other_device, &other);
        });
        let began = Instant::now();
        scope.spawn(|| sum(&device, &rank));
        thread::sleep(Duration::from_millis(100));
        pass_on();
        let waited = began.elapsed();
        assert!(waited < late - Duration::from_millis(500), "{waited:?}");
    });
}

/// The first collective connects the ranks: one that does not come to it keeps the others in the call, no longer than the limit.
#[test]
fn a_rank_that_makes_no_call_is_an_error_on_the_others_within_the_limit() {
    let Some((_, _turn)) = gpus(2) else { return };
    let (id, limit) = (Communicator::new_id().unwrap(), Duration::from_secs(8));
    let (done, is_done) = std::sync::mpsc::channel();
    let join = |gpu: usize| {
        let device = Device::cuda(gpu as u32).unwrap();
        let rank = Communicator::join(&device.stream(), &id, gpu, 2, limit).unwrap();
        (device, rank)
    };
    let join = &join;
    thread::scope(|scope| {
        scope.spawn(move || {
            let absent = join(1);
            is_done.recv().unwrap();
            drop(absent);
        });
        let (device, rank) = join(0);
        let mut buffer = device.upload(&[1.0f32; 16], [4, 4]).unwrap();
        let began = Instant::now();
        let error = rank.all_reduce(&mut buffer.view_mut()).unwrap_err();
        assert!(matches!(error, NcclError::Late { .. }), "{error}");
        assert!(
            (limit..limit + limit / 2).contains(&began.elapsed()),
            "{:?}",
            began.elapsed()
        );
        let error = rank.all_reduce(&mut buffer.view_mut()).unwrap_err();
        assert!(matches!(error, NcclError::GivenUp), "{error}");
        drop(rank);
        done.send(()).unwrap();
        // The GPU goes on.
        assert_eq!(buffer.download().unwrap(), [1.0; 16]);
    });
}

/// What NCCL shares between ranks of one process where it is told to: they are refused if it is their tensors, and else may
/// leave in any order.
#[test]
fn ranks_of_one_process_do_not_share_tensors() {
    let Some((_, _turn)) = gpus(2) else { return };
    let run = |test: &str, variables: &[(&str, &str)]| {
        let mut child = silent_process_of(test);
        child.env("NCCL_CUMEM_ENABLE", "0");
        child.envs(variables.iter().copied()).status().unwrap().success()
    };
    assert!(run("ranks_that_would_share_tensors", &[]));
    let apart = [("NCCL_P2P_DIRECT_DISABLE", "1")];
    assert!(run("a_rank_that_leaves_first_takes_nothing_from_the_others", &apart));
    assert!(run("ranks_leave_together", &apart));
}

#[test]
#[ignore = "run by `ranks_of_one_process_do_not_share_tensors`"]
fn ranks_that_would_share_tensors() {
    let exchanges = ThreadExchange::ranks(2, LIMIT).unwrap().into_iter().enumerate();
    thread::scope(|scope| {
        for (gpu, exchange) in exchanges {
            scope.spawn(move || {
                let device = Device::cuda(gpu as u32).unwrap();
                let error = NcclGroup::join(&device.stream(), Arc::new(exchange)).err().unwrap();
                assert!(
                    matches!(error, CollectiveError::Nccl(NcclError::TensorsAreShared)),
                    "{error}"
                );
            });
        }
    });
}

#[test]
fn one_thread_may_drop_all_ranks_of_a_group() {
    let Some((gpus, _turn)) = gpus(2) else { return };
    let ranks = joined(gpus, |device, group| {
        let mut buffer = device.zeros::<f32, 2>([gpus, 4]).unwrap();
        group.all_reduce(&mut buffer.view_mut()).unwrap();
        group.finish().unwrap();
        group
    });
    let began = Instant::now();
    drop(ranks);
    assert!(began.elapsed() < LIMIT / 4, "{:?}", began.elapsed());
}

/// Where a rank that is a process of its own finds the others.
const ADDRESS: &str = "TILEWRIGHT_TEST_ADDRESS";
/// How long the survivors wait.
const SHORT: Duration = Duration::from_secs(15);

/// Adds up a buffer of all ranks, and captures that.
fn summed_and_captured(group: &NcclGroup, buffer: &mut DeviceTensor<f32, 2>) -> CudaGraph {
    let mut sum = || group.all_reduce(&mut buffer.view_mut());
    sum().unwrap();
    group.finish().unwrap();
    // SAFETY: only this rank's thread uses its stream.
    unsafe { group.stream().as_cuda().unwrap().capture(sum) }.unwrap()
}

/// A rank dies while the others replay a graph of collectives: an error within the limit, and their GPUs go on.
#[test]
fn a_process_that_dies_beside_a_graph_is_an_error_within_the_limit() {
    let Some((_, _turn)) = gpus(2) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = silent_process_of("a_rank_that_dies")
        .env(ADDRESS, listener.local_addr().unwrap().to_string())
        .spawn()
        .unwrap();
    let device = Device::cuda(0).unwrap();
    let mut buffer = device.upload(&[1.0f32; 4096], [4, 1024]).unwrap();
    let exchange = Arc::new(TcpExchange::host(listener, 2, SHORT).unwrap());
    let group = NcclGroup::join(&device.stream(), exchange).unwrap();
    let mut graph = summed_and_captured(&group, &mut buffer);
    assert!(!child.wait().unwrap().success());

    replay(&mut graph);
    let began = Instant::now();
    let error = group.finish().unwrap_err();
    assert!(matches!(error, CollectiveError::Gone { gone: 1 }), "{error}");
    assert!(began.elapsed() < 2 * SHORT, "{:?}", began.elapsed());
    let error = group.all_reduce(&mut buffer.view_mut()).unwrap_err();
    assert!(matches!(error, CollectiveError::Nccl(NcclError::GivenUp)), "{error}");
    drop(group);
    // What was broken off ends on the GPU, too.
    device.synchronize().unwrap();
    let rows = rows_of(1, 9);
    let again = Guarded::<bf16>::new(&device, &rows, 128, Placement::Contiguous);
    assert_rows(&again.read(), &rows, "afterwards");
    assert!(began.elapsed() < 3 * SHORT, "{:?}", began.elapsed());
}

#[test]
#[ignore = "run by `a_process_that_dies_beside_a_graph_is_an_error_within_the_limit`"]
fn a_rank_that_dies() {
    let address: SocketAddr = std::env::var(ADDRESS).unwrap().parse().unwrap();
    let device = Device::cuda(1).unwrap();
    let mut buffer = device.upload(&[1.0f32; 4096], [4, 1024]).unwrap();
    let exchange = Arc::new(TcpExchange::join(address, 1, 2, SHORT).unwrap());
    let group = NcclGroup::join(&device.stream(), exchange).unwrap();
    let _graph = summed_and_captured(&group, &mut buffer);
    std::process::abort();
}

#[test]
fn rows_with_gaps_are_refused() {
    on_all_gpus(|device, group| {
        let mut wide = device.zeros::<f32, 2>([4, 8]).unwrap();
        let mut part = wide.view_mut().columns(..4).unwrap();
        let error = group.all_reduce(&mut part).unwrap_err();
        assert!(
            matches!(error, CollectiveError::Nccl(NcclError::NotContiguous)),
            "{error}"
        );
    });
}
