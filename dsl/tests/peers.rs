//! Ranks that share memory, as threads of the interpreter: what flags order, and what is reported where they do not.

#![allow(clippy::result_large_err)] // The error is looked at, and nothing else is done with it.

use std::thread;
use std::time::Duration;

use tilewright_dsl::call::{ParameterFacts, TensorFacts, TraceRequest, Traced};
use tilewright_dsl::interpret::{self, HostArgument, HostMemory, HostTensor, InterpretError, Options};
use tilewright_dsl::ir::{Bindings, Kernel};
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;
use tilewright_dsl::transform::bind;

const COLUMNS: u64 = 8;
const PROGRAMS: u64 = 2;

/// What is wrong with a kernel.
mod fault {
    pub const NONE: usize = 0;
    pub const FLAG_BEFORE_DATA: usize = 1;
    pub const RELAXED_FLAG: usize = 2;
    pub const PLAIN_FLAG: usize = 3;
    pub const ONE_HALF: usize = 4;
    pub const EPOCH_NOT_ADVANCED: usize = 5;
    pub const NO_WAIT: usize = 6;
    pub const FLAG_OF_ONE_PROGRAM: usize = 7;
    pub const RELAXED_WAIT: usize = 8;
    pub const NO_FLAG: usize = 9;
}

/// Gathers a row of every rank; each program does a part of it.
#[kernel(grid = [2])]
fn gather<const FAULT: usize>(
    out: &mut Tensor<i32, 2>,
    buffers: &mut PeerTensors<i32, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    row: &Tensor<i32, 1>,
    limit_ns: u64,
) {
    let (program, rank) = (program_id(0), buffers.rank());
    let cols = arange(4) + program * 4;
    let half = if FAULT == fault::ONE_HALF {
        epoch.half() * 0
    } else {
        epoch.half()
    };
    let place = if FAULT == fault::FLAG_OF_ONE_PROGRAM {
        program * 0
    } else {
        program
    };
    let now = if FAULT == fault::EPOCH_NOT_ADVANCED {
        epoch.now() * 0 + 1
    } else {
        epoch.now()
    };
    if FAULT == fault::FLAG_BEFORE_DATA {
        flags.raise(place, now);
    }
    let value = row.load([cols]);
    for peer in 0..buffers.len() {
        buffers[peer].store([half, rank, cols], value);
    }
    let relaxed = AtomicOptions::new().order(MemoryOrder::Relaxed);
    match FAULT {
        fault::FLAG_BEFORE_DATA | fault::NO_FLAG => {}
        fault::RELAXED_FLAG => {
            for peer in 0..flags.len() {
                flags[peer].atomic_store_with([rank, place], now, relaxed);
            }
        }
        fault::PLAIN_FLAG => {
            for peer in 0..flags.len() {
                flags[peer].store([rank, place], now);
            }
        }
        fault::FLAG_OF_ONE_PROGRAM => {
            if program == 0 {
                flags.raise(place, now);
            }
        }
        _ => flags.raise(place, now),
    }
    if FAULT == fault::RELAXED_WAIT {
        for peer in 0..flags.len() {
            while flags.own().atomic_load_with([peer, place], relaxed) != now {}
        }
    } else if FAULT != fault::NO_WAIT {
        flags.wait_with(place, now, WaitOptions::new().limit_ns(limit_ns));
    }
    for peer in 0..buffers.len() {
        out.store([peer, cols], buffers.own().load([half, peer, cols]));
    }
}

/// The memory of all ranks.
struct Ranks {
    buffers: Vec<HostMemory>,
    flags: Vec<HostMemory>,
    epochs: Vec<HostMemory>,
    outs: Vec<HostMemory>,
}

impl Ranks {
    fn new(ranks: u64) -> Self {
        let each = |bytes: u64| {
            (0..ranks)
                .map(|_| HostMemory::zeroed(bytes).unwrap())
                .collect::<Vec<_>>()
        };
        Self {
            buffers: each(2 * ranks * COLUMNS * 4),
            flags: each(ranks * PROGRAMS * 4),
            epochs: each(8),
            outs: each(ranks * COLUMNS * 4),
        }
    }

    fn len(&self) -> u64 {
        self.buffers.len() as u64
    }

    /// One launch of one rank.
    fn launch(&self, kernel: &Kernel, rank: u64, row: &[i32], limit: Duration) -> Result<(), InterpretError> {
        let ranks = self.len();
        let row: Vec<u8> = row.iter().flat_map(|x| x.to_le_bytes()).collect();
        let row = HostMemory::from_bytes(&row).unwrap();
        let arguments = [
            HostArgument::contiguous(&self.outs[rank as usize], &[ranks, COLUMNS]),
            list(&self.buffers, &[2, ranks, COLUMNS]),
            HostArgument::Count(rank as i64),
            list(&self.flags, &[ranks, PROGRAMS]),
            HostArgument::Count(rank as i64),
            HostArgument::contiguous(&self.epochs[rank as usize], &[1]),
            HostArgument::contiguous(&row, &[COLUMNS]),
            HostArgument::Scalar(tilewright_dsl::ir::Literal::new(limit.as_nanos() as u64)),
        ];
        // A spin without a limit ends too.
        let options = Options {
            max_steps: 100_000,
            ..Options::default()
        };
        interpret::run(kernel, &arguments, &options).map(|_| ())
    }

    fn gathered(&self, rank: u64) -> Vec<i32> {
        let bytes = self.outs[rank as usize].to_vec();
        bytes
            .chunks_exact(4)
            .map(|x| i32::from_le_bytes(x.try_into().unwrap()))
            .collect()
    }
}

fn list<'a>(memories: &'a [HostMemory], extents: &[u64]) -> HostArgument<'a> {
    let tensor = |memory| HostTensor::contiguous(memory, extents);
    HostArgument::List(memories.iter().map(tensor).collect())
}

fn recorded<const FAULT: usize>(ranks: u64) -> Kernel {
    let tensor = |extents: &[u64]| ParameterFacts::Tensor(TensorFacts::contiguous(extents));
    let list = |extents: &[u64]| ParameterFacts::List(TensorFacts::contiguous(extents));
    let request = TraceRequest {
        parameters: vec![
            tensor(&[ranks, COLUMNS]),
            list(&[ranks, 2, ranks, COLUMNS]),
            ParameterFacts::Value,
            list(&[ranks, ranks, PROGRAMS]),
            ParameterFacts::Value,
            tensor(&[1]),
            tensor(&[COLUMNS]),
            ParameterFacts::Value,
        ],
    };
    let Traced { kernel, pinned, .. } = gather::<FAULT>::definition().trace(&request).unwrap();
    bind(
        &kernel,
        &Bindings {
            exact: pinned,
            device: vec![],
        },
    )
}

fn row_of(rank: u64, step: u64) -> Vec<i32> {
    (0..COLUMNS)
        .map(|column| (1000 * step + 100 * rank + column) as i32)
        .collect()
}

/// What the ranks' steps came to; a rank that fails does no more.
fn steps<const FAULT: usize>(ranks: u64, steps: u64, limit: Duration) -> Vec<Result<(), InterpretError>> {
    let all = Ranks::new(ranks);
    let kernel = recorded::<FAULT>(ranks);
    thread::scope(|scope| {
        let run = |rank: u64| {
            let (all, kernel) = (&all, &kernel);
            move || {
                let mut rng = fastrand::Rng::with_seed(rank);
                for step in 0..steps {
                    if rng.u8(..4) == 0 {
                        thread::sleep(Duration::from_micros(rng.u64(..300)));
                    }
                    all.launch(kernel, rank, &row_of(rank, step), limit)?;
                    if FAULT != fault::NONE {
                        continue;
                    }
                    let expected: Vec<i32> = (0..all.len()).flat_map(|rank| row_of(rank, step)).collect();
                    assert_eq!(all.gathered(rank), expected, "rank {rank}, step {step}");
                }
                Ok(())
            }
        };
        let threads: Vec<_> = (0..ranks).map(|rank| scope.spawn(run(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn ranks_gather_what_flags_order() {
    for ranks in [1, 2, 3, 8] {
        let results = steps::<{ fault::NONE }>(ranks, 100, Duration::from_secs(60));
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }
}

/// The conflict that one rank at least reports.
fn conflict<const FAULT: usize>() -> String {
    let results = steps::<FAULT>(2, 4, Duration::from_millis(200));
    let conflicts = results.iter().filter_map(|result| match result {
        Err(InterpretError::RankConflict(conflict)) => Some(conflict.to_string()),
        _ => None,
    });
    conflicts.min().unwrap_or_else(|| panic!("no conflict: {results:?}"))
}

#[test]
fn data_that_no_flag_orders_is_reported_whatever_the_timing() {
    for _ in 0..20 {
        for conflict in [
            conflict::<{ fault::FLAG_BEFORE_DATA }>(),
            conflict::<{ fault::RELAXED_FLAG }>(),
            conflict::<{ fault::ONE_HALF }>(),
            conflict::<{ fault::EPOCH_NOT_ADVANCED }>(),
            conflict::<{ fault::NO_WAIT }>(),
            conflict::<{ fault::FLAG_OF_ONE_PROGRAM }>(),
            conflict::<{ fault::RELAXED_WAIT }>(),
        ] {
            let is_told = conflict.starts_with("kernel `gather`: `buffers[")
                && conflict.contains(" by rank 0 (`gather`, program [")
                && conflict.contains(" by rank 1 (`gather`, program [")
                && conflict.contains(", and no flag orders the two\n");
            assert!(is_told, "{conflict}");
        }
        // A flag that is no atomic store is itself in no order with who waits for it.
        let conflict = conflict::<{ fault::PLAIN_FLAG }>();
        assert!(conflict.starts_with("kernel `gather`: `flags["), "{conflict}");
    }
}

#[test]
fn a_rank_that_does_not_come_is_named_and_nothing_is_done_behind_the_wait() {
    let all = Ranks::new(3);
    let kernel = recorded::<{ fault::NONE }>(3);
    let waited = |rank: u64, step: u64| all.launch(&kernel, rank, &row_of(rank, step), Duration::from_millis(50));
    thread::scope(|scope| {
        let others = [0, 2].map(|rank| scope.spawn(move || waited(rank, 0)));
        for (rank, other) in [0, 2].into_iter().zip(others) {
            let error = other.join().unwrap().unwrap_err();
            let InterpretError::WaitEnded(ended) = &error else {
                panic!("{error:?}");
            };
            assert_eq!((ended.rank, ended.epoch, ended.seen), (1, 1, 0));
            let message = error.to_string();
            assert!(
                message.starts_with(&format!(
                    "kernel `gather`, program [0, 0, 0]: waited in `flags[{rank}]` for rank 1 to reach epoch 1, and it is at 0 (dsl/tests/peers.rs:"
                )),
                "{message}"
            );
            assert_eq!(all.gathered(rank), [0; 24]);
        }
    });
}

#[test]
fn epochs_wrap() {
    let all = Ranks::new(2);
    let start = u32::MAX - 2;
    for memory in &all.epochs {
        memory.set(0, 8, u64::from(start) << 32).unwrap();
    }
    for flag in (0..4).map(|place| 4 * place) {
        all.flags
            .iter()
            .for_each(|flags| flags.set(flag, 4, start.into()).unwrap());
    }
    let kernel = recorded::<{ fault::NONE }>(2);
    thread::scope(|scope| {
        for rank in 0..2 {
            let (all, kernel) = (&all, &kernel);
            scope.spawn(move || {
                for step in 0..6 {
                    all.launch(kernel, rank, &row_of(rank, step), Duration::from_secs(60))
                        .unwrap();
                    assert_eq!(all.gathered(rank), [row_of(0, step), row_of(1, step)].concat());
                }
            });
        }
    });
    assert_eq!(all.epochs[0].get(0, 8), Ok(3 << 32));
}

#[kernel(grid = [first, second])]
fn count(out: &mut Tensor<u32, 2>, epoch: &mut Epoch, first: Count, second: Count) {
    if program_id(0) == 1 {
        return;
    }
    out.store([program_id(0), program_id(1)], epoch.now());
}

#[kernel(grid = [1])]
fn last(out: &mut Tensor<i64, 1>, epoch: &Epoch) {
    out.store([0], epoch.now().cast::<i64>());
    out.store([1], epoch.half());
}

#[test]
fn an_epoch_counts_launches_of_any_grid_whatever_way_programs_go() {
    let tensor = |extents: &[u64]| ParameterFacts::Tensor(TensorFacts::contiguous(extents));
    let request = TraceRequest {
        parameters: vec![
            tensor(&[7, 5]),
            tensor(&[1]),
            ParameterFacts::Value,
            ParameterFacts::Value,
        ],
    };
    let counting = count::definition().trace(&request).unwrap().kernel;
    let request = TraceRequest {
        parameters: vec![tensor(&[2]), tensor(&[1])],
    };
    let reading = last::definition().trace(&request).unwrap().kernel;
    let epoch = HostMemory::zeroed(8).unwrap();
    for (launch, (first, second)) in (1..).zip([(7, 5), (1, 1), (3, 1), (7, 4), (1, 5), (6, 5)]) {
        let out = HostMemory::zeroed(7 * 5 * 4).unwrap();
        let arguments = [
            HostArgument::contiguous(&out, &[7, 5]),
            HostArgument::contiguous(&epoch, &[1]),
            HostArgument::Count(first),
            HostArgument::Count(second),
        ];
        interpret::run(&counting, &arguments, &Options::default()).unwrap();
        for (x, y) in (0..first).flat_map(|x| (0..second).map(move |y| (x, y))) {
            let seen = out.get((x * 5 + y) as u64 * 4, 4).unwrap();
            assert_eq!(
                seen,
                if x == 1 { 0 } else { launch },
                "program {x}, {y} of {first}, {second}"
            );
        }
        let out = HostMemory::zeroed(16).unwrap();
        let arguments = [
            HostArgument::contiguous(&out, &[2]),
            HostArgument::contiguous(&epoch, &[1]),
        ];
        interpret::run(&reading, &arguments, &Options::default()).unwrap();
        assert_eq!([out.get(0, 8), out.get(8, 8)], [Ok(launch), Ok(launch % 2)]);
    }
}

/// Reads what others wrote into the rank's own memory, as any kernel does.
#[kernel(grid = [1])]
fn read(out: &mut Tensor<i32, 1>, buffer: &Tensor<i32, 3>) {
    let cols = arange(8);
    out.store([cols], buffer.load([1, 0, cols]));
}

#[test]
fn a_kernel_without_peers_takes_part_by_the_memory_that_it_reads() {
    let tensor = |extents: &[u64]| ParameterFacts::Tensor(TensorFacts::contiguous(extents));
    let request = TraceRequest {
        parameters: vec![tensor(&[8]), tensor(&[2, 2, COLUMNS])],
    };
    let reading = read::definition().trace(&request).unwrap().kernel;
    let all = Ranks::new(2);
    let gathering = recorded::<{ fault::NONE }>(2);
    let unordered = recorded::<{ fault::NO_WAIT }>(2);
    let read = || {
        let out = HostMemory::zeroed(32).unwrap();
        let arguments = [
            HostArgument::contiguous(&out, &[8]),
            HostArgument::contiguous(&all.buffers[1], &[2, 2, COLUMNS]),
        ];
        interpret::run(&reading, &arguments, &Options::default()).map(|_| ())
    };
    let launch = |rank: u64, kernel| all.launch(kernel, rank, &row_of(rank, 0), Duration::from_secs(60));
    thread::scope(|scope| {
        let other = scope.spawn(|| launch(0, &gathering));
        launch(1, &gathering).unwrap();
        other.join().unwrap().unwrap();
        // Rank 1 has waited for rank 0, whose row it is.
        read().unwrap();
        // Rank 0 goes on to the other half, then to this one, which rank 1 has read since.
        for _ in 0..2 {
            scope.spawn(|| launch(0, &unordered)).join().unwrap().ok();
        }
        let Err(InterpretError::RankConflict(conflict)) = read() else {
            panic!("no conflict");
        };
        let [first, second] = &conflict.accesses;
        assert_eq!((first.rank, second.rank), (0, 1));
        assert_eq!((first.kernel.as_str(), second.kernel.as_str()), ("gather", "read"));
        // Who waits for rank 0 on the host, and goes on then, is behind it.
        scope
            .spawn(|| (launch(0, &unordered).ok(), interpret::synchronize()))
            .join()
            .unwrap();
        read().unwrap();
    });
}
