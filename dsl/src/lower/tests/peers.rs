//! Peers' tensors, flags and epochs: as tiles and as threads, one rank at a time, with the flags of the others as they left
//! them.

use super::run::{Argument, bind, check, lowered_and_run, schedule};
use crate::call::{Definition, ParameterFacts, TensorFacts, TraceRequest};
use crate::element::ElementType::{self, F32, U32, U64};
use crate::ir::{self, Kernel, Literal};
use crate::kernel;
use crate::lang::*;
use crate::schedule::Schedule;

const RANKS: u64 = 3;
const COLUMNS: u64 = 40;

/// Every rank's row in every rank's buffer, then a copy of what is there.
#[kernel(grid = [programs])]
fn gather(
    out: &mut Tensor<f32, 2>,
    buffers: &mut PeerTensors<f32, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    row: &Tensor<f32, 2>,
    programs: Count,
    limit_ns: u64,
) {
    let (program, rank, half) = (program_id(0), buffers.rank(), epoch.half());
    let cols = arange(buffers.extent(2));
    let value = row.load([program, cols]);
    for peer in 0..buffers.len() {
        buffers[peer].store([half, rank * num_programs(0) + program, cols], value);
    }
    flags.raise(program, epoch.now());
    flags.wait_with(program, epoch.now(), WaitOptions::new().limit_ns(limit_ns));
    for peer in 0..buffers.len() {
        let row = peer * num_programs(0) + program;
        out.store([row, cols], buffers.own().load([half, row, cols]));
    }
}

fn recorded(definition: Definition, parameters: Vec<ParameterFacts>) -> Kernel {
    let traced = definition.trace(&TraceRequest { parameters }).unwrap();
    let literals = ir::Bindings {
        exact: traced.pinned,
        device: vec![],
    };
    crate::transform::bind(&traced.kernel, &literals)
}

fn tensor(extents: &[u64]) -> ParameterFacts {
    ParameterFacts::Tensor(TensorFacts::contiguous(extents))
}

fn list(extents: &[u64]) -> ParameterFacts {
    ParameterFacts::List(TensorFacts::contiguous(extents))
}

fn gathering(programs: u64) -> Kernel {
    let parameters = vec![
        tensor(&[RANKS * programs, COLUMNS]),
        list(&[RANKS, 2, RANKS * programs, COLUMNS]),
        ParameterFacts::Value,
        list(&[RANKS, RANKS, programs]),
        ParameterFacts::Value,
        tensor(&[1]),
        tensor(&[programs, COLUMNS]),
        ParameterFacts::Value,
        ParameterFacts::Value,
    ];
    recorded(gather::definition(), parameters)
}

/// What rank 1 launches with, at this epoch, where flag `[rank, program]` of its own is what `flag` says.
fn arguments(programs: u64, epoch: u32, limit_ns: u64, flag: impl Fn(u64, u64) -> u32) -> Vec<Argument> {
    let of = |extents: &[u64], seed: u64| Argument::tensor(F32, extents, 0, move |at| at + seed);
    let buffers = (0..RANKS).map(|rank| of(&[2, RANKS * programs, COLUMNS], 1000 * rank));
    let flags = (0..RANKS).map(|owner| {
        Argument::tensor(U32, &[RANKS, programs], 0, |at| match owner {
            1 => flag(at / programs, at % programs).into(),
            _ => 7,
        })
    });
    vec![
        of(&[RANKS * programs, COLUMNS], 0),
        Argument::List(buffers.collect()),
        Argument::Count(1),
        Argument::List(flags.collect()),
        Argument::Count(1),
        Argument::tensor(U64, &[1], 0, |_| u64::from(epoch.wrapping_sub(1)) << 32),
        of(&[programs, COLUMNS], 500_000),
        Argument::Count(programs as i64),
        Argument::Scalar(Literal::new(limit_ns)),
    ]
}

fn schedules() -> impl Iterator<Item = Schedule> {
    [(32, 1), (64, 4), (256, 1)]
        .into_iter()
        .map(|(threads, unroll)| schedule(threads, unroll))
}

#[test]
fn a_gather_is_the_same_as_tiles_and_as_threads() {
    for schedule in schedules() {
        for (programs, epoch) in [(1, 1), (4, 2), (3, 0), (2, u32::MAX)] {
            // Others may be ahead.
            let flag = |rank: u64, program: u64| epoch.wrapping_add((rank / 2 * (program + 1)) as u32);
            let arguments = arguments(programs, epoch, 1 << 40, flag);
            let mut kernel = gathering(programs);
            bind(&mut kernel, &arguments, false);
            check(&kernel, &schedule, &arguments);
        }
    }
}

#[test]
fn what_goes_to_peers_and_comes_from_them_moves_in_whole_vectors() {
    let arguments = arguments(1, 1, 1 << 40, |_, _| 1);
    let mut kernel = gathering(1);
    // As runtimes know of a list's tensors, all of them begin at whole vectors.
    bind(&mut kernel, &arguments, true);
    for parameter in [1, 3] {
        if let ir::ParameterKind::Tensor(tensor) = &mut kernel.parameters[parameter].kind {
            tensor.alignment = 16;
        }
    }
    let row = ir::Symbol::Extent { tensor: 1, axis: 3 };
    kernel.bindings.exact.push((row, COLUMNS as i64));
    kernel.bindings.exact.sort_unstable();
    kernel.bindings.exact.dedup();
    let text = check(&kernel, &schedule(32, 1), &arguments).kernel.to_string();
    let stores = text
        .lines()
        .filter(|line| line.trim_start().starts_with("store cs buffers@"));
    let offsets: Vec<_> = stores.filter_map(|line| line.split_once('[')).collect();
    let is_wide = offsets.iter().all(|(_, offset)| offset.starts_with("16 * thread"));
    assert!(!offsets.is_empty() && is_wide, "{text}");
}

#[test]
fn a_flag_that_does_not_come_is_reported_and_ends_the_whole_program() {
    let (programs, epoch) = (2, 5);
    // Rank 2 is late in program 1.
    let flag = |rank: u64, program: u64| if (rank, program) == (2, 1) { 4 } else { 5 };
    for schedule in schedules() {
        let arguments = arguments(programs, epoch, 10_000, flag);
        let mut kernel = gathering(programs);
        bind(&mut kernel, &arguments, false);
        let (lowered, outcome, bytes) = lowered_and_run(&kernel, &schedule, &arguments, [programs, 1, 1]);
        let [report] = outcome.reports[..] else {
            panic!("{outcome:?}");
        };
        assert_eq!((report.program, report.met), (1, 2));
        assert_eq!(report.value, 4 << 32 | 5);
        let site = &lowered.sites[report.site as usize];
        assert_eq!(site.fault, crate::lower::TrapFault::Wait { tensor: 3 });
        // Of the rows of program 1 none is written, of program 0 all are.
        let before = match &arguments[0] {
            Argument::Tensor { bytes, .. } => bytes.clone(),
            other => panic!("{other:?}"),
        };
        let row = COLUMNS as usize * 4;
        for (number, (now, before)) in bytes[0].chunks(row).zip(before.chunks(row)).enumerate() {
            assert_eq!(now == before, number % 2 == 1, "row {number}, {schedule}");
        }
    }
}

#[kernel(grid = [1])]
fn atomics(out: &mut Tensor<u32, 1>, words: &mut Tensor<u32, 1>, other: &mut Tensor<f32, 1>) {
    let all = arange(words.extent(0));
    let relaxed = AtomicOptions::new().order(MemoryOrder::Relaxed);
    words.atomic_store_with([all], all.cast::<u32>() * 3, relaxed.mask(all != 2));
    let one = words.atomic_load([4]);
    let many = words.atomic_load_with([all], AtomicOptions::new().scope(MemoryScope::System));
    other.atomic_store([1], 2.5);
    out.store([all], many + one + other.atomic_load([1]).cast::<u32>());
}

#[test]
fn atomic_loads_and_stores_are_the_same_as_tiles_and_as_threads() {
    let kernel = recorded(atomics::definition(), vec![tensor(&[50]), tensor(&[50]), tensor(&[2])]);
    let arguments = [
        Argument::tensor(U32, &[50], 0, |_| 0),
        Argument::tensor(U32, &[50], 0, |at| at),
        Argument::tensor(F32, &[2], 0, |_| 0),
    ];
    for schedule in schedules() {
        let mut kernel = kernel.clone();
        bind(&mut kernel, &arguments, false);
        let text = check(&kernel, &schedule, &arguments).kernel.to_string();
        assert!(text.contains("acquire"), "{text}");
    }
}

/// Waits in a loop, and behind it.
#[kernel(grid = [2])]
fn waits(out: &mut Tensor<f32, 1>, flags: &mut Tensor<u32, 2>, epoch: u32, limit_ns: u64) {
    let limit = WaitOptions::new().limit_ns(limit_ns);
    for place in 0..flags.extent(1) {
        flags.wait_until_with([program_id(0), place], epoch, limit);
    }
    flags.wait_until_with([arange(2), 0], epoch, limit);
    out.store([program_id(0)], 1.0);
}

#[test]
fn waits_follow_each_other() {
    let parameters = vec![
        tensor(&[2]),
        tensor(&[2, 3]),
        ParameterFacts::Value,
        ParameterFacts::Value,
    ];
    let kernel = recorded(waits::definition(), parameters);
    let arguments = |late: Option<u64>| {
        [
            Argument::tensor(F32, &[2], 0, |_| 0),
            Argument::tensor(U32, &[2, 3], 0, |at| 9 - u64::from(Some(at) == late)),
            Argument::Scalar(Literal::new(9u32)),
            Argument::Scalar(Literal::new(5_000u64)),
        ]
    };
    for schedule in schedules() {
        let mut kernel = kernel.clone();
        bind(&mut kernel, &arguments(None), false);
        check(&kernel, &schedule, &arguments(None));
        // Of program 1 a flag in the loop; of program 0 the one behind it, which is its own, or the other one's.
        for (late, reported) in [(5, vec![(1, 1)]), (3, vec![(0, 1), (1, 1)])] {
            let (_, outcome, _) = lowered_and_run(&kernel, &schedule, &arguments(Some(late)), [2, 1, 1]);
            let found: Vec<_> = outcome
                .reports
                .iter()
                .map(|report| (report.program, report.met))
                .collect();
            assert_eq!(found, reported, "{schedule}");
        }
    }
}

/// Rows that are loaded before anybody is waited for.
#[kernel(grid = [programs])]
fn wait_and_store(
    buffers: &mut PeerTensors<f32, 2>,
    flags: &mut PeerTensors<u32, 2>,
    row: &Tensor<f32, 2>,
    programs: Count,
    epoch: u32,
    limit_ns: u64,
    rows: Count,
) {
    let (program, cols) = (program_id(0), arange(comptime(buffers.extent(1))));
    let value = row.load_where([program, cols], program < rows);
    flags.wait_with(program, epoch, WaitOptions::new().limit_ns(limit_ns));
    require(flags.len() == comptime(flags.len()));
    for peer in 0..comptime(buffers.len()) {
        buffers[peer].store([program, cols], value);
    }
}

fn waiting(ranks: u64) -> (Kernel, Vec<Argument>) {
    let programs = 2;
    let parameters = vec![
        list(&[ranks, programs, COLUMNS]),
        ParameterFacts::Value,
        list(&[ranks, ranks, programs]),
        ParameterFacts::Value,
        tensor(&[programs, COLUMNS]),
        ParameterFacts::Value,
        ParameterFacts::Value,
        ParameterFacts::Value,
        ParameterFacts::Value,
    ];
    let of = |extents: &[u64], seed: u64| Argument::tensor(F32, extents, 0, move |at| at + seed);
    let buffers = (0..ranks).map(|rank| of(&[programs, COLUMNS], 1000 * rank));
    let flags = (0..ranks).map(|_| Argument::tensor(U32, &[ranks, programs], 0, |_| 1));
    let arguments = vec![
        Argument::List(buffers.collect()),
        Argument::Count(1),
        Argument::List(flags.collect()),
        Argument::Count(1),
        of(&[programs, COLUMNS], 500_000),
        Argument::Count(programs as i64),
        Argument::Scalar(Literal::new(1u32)),
        Argument::Scalar(Literal::new(1u64 << 40)),
        Argument::Count(1),
    ];
    let mut kernel = recorded(wait_and_store::definition(), parameters);
    bind(&mut kernel, &arguments, false);
    (kernel, arguments)
}

#[test]
fn what_is_loaded_before_a_wait_is_on_its_way_meanwhile() {
    let (kernel, arguments) = waiting(RANKS);
    for schedule in schedules() {
        let text = check(&kernel, &schedule, &arguments).kernel.to_string();
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(at(" row[") < at("timer"), "{text}");
        // Once, and not where it is stored.
        assert_eq!(text.rfind(" row[").filter(|last| *last > at("timer")), None, "{text}");
    }
}

#[test]
fn short_lists_are_arguments_and_long_ones_are_in_memory() {
    for (ranks, name) in [(2, "entries"), (16, "entries"), (17, "table")] {
        let (kernel, arguments) = waiting(ranks);
        let lowered = check(&kernel, &schedule(64, 1), &arguments);
        let text = lowered.kernel.to_string();
        let found = ["buffers", "flags"].map(|list| text.contains(&format!("argument {name}_{list}: ")));
        assert_eq!(found, [true; 2], "{ranks} ranks: {text}");
        let words: usize = lowered.arguments.iter().map(|argument| argument.words()).sum();
        assert!(words <= crate::lower::MAX_ARGUMENT_WORDS, "{words}");
    }
}

/// What is loaded ahead of a wait is stored behind it, and then something else in the same places.
#[kernel(grid = [2])]
fn wait_and_store_twice<T: Number>(
    out: &mut Tensor<T, 2>,
    flags: &mut Tensor<u32, 1>,
    row: &Tensor<T, 2>,
    other: &Tensor<T, 2>,
    epoch: u32,
    limit_ns: u64,
) {
    let (program, cols) = (program_id(0), arange(comptime(out.extent(1))));
    let value = row.load([program, cols]);
    flags.wait_until_with([arange(2)], epoch, WaitOptions::new().limit_ns(limit_ns));
    out.store([program, cols], value);
    if program == 1 {
        out.store([program, cols], other.load([program, cols]));
    }
}

/// What is in a peer's memory is held where it is loaded, and then something else is stored in the same places.
#[kernel(grid = [2])]
fn store_twice_from_peers<T: Number>(out: &mut Tensor<T, 2>, buffers: &mut PeerTensors<T, 2>, other: &Tensor<T, 2>) {
    let (program, cols) = (program_id(0), arange(comptime(out.extent(1))));
    let value = buffers.own().load([program, cols]);
    out.store([program, cols], value);
    if program == 1 {
        out.store([program, cols], other.load([program, cols]));
    }
}

#[test]
fn what_is_held_of_peers_is_stored_behind_a_barrier_where_others_store_too() {
    let definitions = [
        (ElementType::U8, store_twice_from_peers::<u8>::definition()),
        (ElementType::I64, store_twice_from_peers::<i64>::definition()),
        (F32, store_twice_from_peers::<f32>::definition()),
    ];
    for (element, definition) in definitions {
        let of = |seed: u64| Argument::tensor(element, &[2, 320], 0, move |at| (at + seed) % 100);
        let (matrix, ranks) = (|| tensor(&[2, 320]), 2);
        let parameters = vec![matrix(), list(&[ranks, 2, 320]), ParameterFacts::Value, matrix()];
        let mut kernel = recorded(definition, parameters);
        let arguments = [of(0), Argument::List(vec![of(1), of(2)]), Argument::Count(1), of(50)];
        bind_all(&mut kernel, &arguments);
        for schedule in schedules() {
            check(&kernel, &schedule, &arguments);
        }
    }
}

/// Which rows are loaded only other threads know.
#[kernel(grid = [2])]
fn wait_and_store_some(
    out: &mut Tensor<f32, 3>,
    flags: &mut Tensor<u32, 1>,
    rows: &Tensor<f32, 2>,
    which: &mut Tensor<u32, 1>,
    epoch: u32,
    limit_ns: u64,
) {
    let (program, cols) = (program_id(0), arange(comptime(out.extent(2))));
    let which = which.atomic_load([arange(2)]).cast::<i32>();
    let value = rows.load([which.expand_dims(1), cols.expand_dims(0)]);
    flags.wait_until_with([program], epoch, WaitOptions::new().limit_ns(limit_ns));
    out.store([program, arange(2).expand_dims(1), cols.expand_dims(0)], value);
}

#[test]
fn threads_store_what_they_hold_over_a_wait_as_they_would_store_anything_else() {
    let definitions = [
        (ElementType::U8, wait_and_store_twice::<u8>::definition()),
        (ElementType::I64, wait_and_store_twice::<i64>::definition()),
        (ElementType::F32, wait_and_store_twice::<f32>::definition()),
        (ElementType::F64, wait_and_store_twice::<f64>::definition()),
    ];
    let [epoch, limit] = [Literal::new(1u32), Literal::new(1u64 << 40)].map(Argument::Scalar);
    let flags = Argument::tensor(U32, &[2], 0, |_| 1);
    for (element, definition) in definitions {
        let of = |seed: u64| Argument::tensor(element, &[2, 320], 0, move |at| (at + seed) % 100);
        let matrix = || tensor(&[2, 320]);
        let parameters = vec![
            matrix(),
            tensor(&[2]),
            matrix(),
            matrix(),
            ParameterFacts::Value,
            ParameterFacts::Value,
        ];
        let mut kernel = recorded(definition, parameters);
        let arguments = [of(0), flags.clone(), of(3), of(50), epoch.clone(), limit.clone()];
        bind_all(&mut kernel, &arguments);
        for schedule in schedules().chain([Schedule {
            wide: false,
            ..schedule(64, 1)
        }]) {
            check(&kernel, &schedule, &arguments);
        }
    }
    let parameters = vec![
        tensor(&[2, 2, 40]),
        tensor(&[2]),
        tensor(&[4, 40]),
        tensor(&[2]),
        ParameterFacts::Value,
        ParameterFacts::Value,
    ];
    let mut kernel = recorded(wait_and_store_some::definition(), parameters);
    let f32s = |extents: &[u64]| Argument::tensor(F32, extents, 0, |at| at + 7);
    let which = Argument::tensor(U32, &[2], 0, |at| 3 - 2 * at);
    let arguments = [f32s(&[2, 2, 40]), flags, f32s(&[4, 40]), which, epoch, limit];
    bind_all(&mut kernel, &arguments);
    for schedule in schedules() {
        check(&kernel, &schedule, &arguments);
    }
}

/// Literals for all extents, those that are pinned already among them.
fn bind_all(kernel: &mut Kernel, arguments: &[Argument]) {
    bind(kernel, arguments, true);
    kernel.bindings.exact.sort_unstable();
    kernel.bindings.exact.dedup();
}
