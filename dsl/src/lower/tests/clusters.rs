//! Rows that the blocks of a cluster combine together.

use fastrand::Rng;

use super::run::{Argument, bind, check, launched, schedule};
use super::wide::Case;
use crate::backend::{cuda, ptx};
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{BinaryOp, Combine, CompareOp, Expression, Kernel, Layout, ParameterKind, Reduction, Shape, UnaryOp};
use crate::lower::{LowerError, Lowered, lower};
use crate::schedule::{Machine, Schedule, ScheduleError, choose};
use crate::thread::verify::verify;
use crate::thread::{Block, Statement};
use crate::transform::checked;

const F32: ElementType = ElementType::F32;

fn in_cluster(threads: u32, blocks: u32) -> Schedule {
    Schedule {
        splits: blocks,
        ..schedule(threads, 4)
    }
}

fn reduced(b: &mut Builder, value: Value, reduction: Reduction) -> Value {
    b.emit(Expression::Reduce {
        value,
        axis: 0,
        reduction,
    })
}

/// Places on a line: most often each element's own, or some behind it, the other way round, or as an index says.
fn places(b: &mut Builder, rng: &mut Rng, columns: Value, extent: u32) -> Value {
    let way = rng.u8(0..12);
    match way {
        0 | 1 => {
            let by = b.index([1, 8][usize::from(way)]);
            b.add(columns, by)
        }
        2 => {
            let last = b.index(i64::from(extent) - 1);
            b.binary(BinaryOp::Subtract, last, columns)
        }
        3 => b.load(4, &[columns]),
        _ => columns,
    }
}

/// A row of what random operations and reductions make of rows, and a number of each.
fn random(rng: &mut Rng, extent: u32) -> (Kernel, Vec<Argument>) {
    let element = [F32, F32, ElementType::BF16, ElementType::I32][rng.usize(0..4)];
    let computed = if element == ElementType::BF16 { F32 } else { element };
    let programs = 3;
    let line = [u64::from(extent) + 16];
    let rows = [programs, line[0]];
    let mut b = Builder::new("lines");
    let bits = |at: u64| match element {
        ElementType::I32 => at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52,
        _ => {
            let float = (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as f32 / 4096.0 - 7.0;
            u64::from(float.to_bits()) >> (32 - 8 * element.size())
        }
    };
    let arguments = vec![
        Argument::tensor(computed, &rows, 0, |_| 0),
        Argument::tensor(element, &rows, 0, bits),
        Argument::tensor(element, &line, 0, |at| bits(at + 99)),
        Argument::tensor(computed, &[programs], 0, |_| 0),
        // No place twice, where the extent is no multiple of 7.
        Argument::tensor(ElementType::I64, &line, 0, |at| (at * 7 + 3) % u64::from(extent)),
    ];
    let types = [
        (2, computed),
        (2, element),
        (1, element),
        (1, computed),
        (1, ElementType::I64),
    ];
    for (number, (rank, element)) in types.into_iter().enumerate() {
        let tensor = b.tensor(&format!("t{number}"), element, rank);
        b.tensor_mut(tensor).mutable = matches!(number, 0 | 3);
    }
    let (row, columns) = (b.program(0), b.arange(extent));
    let [own, weights, stored] = [(); 3].map(|()| places(&mut b, rng, columns, extent));
    let (own, weights) = (b.load(1, &[row, own]), b.load(2, &[weights]));
    let mut tiles = [own, weights].map(|tile| b.cast(tile, computed)).to_vec();
    let shape = b.shape(tiles[0]);
    let mut numbers = Vec::new();
    for _ in 0..rng.u32(2..6) {
        let one = tiles[rng.usize(..tiles.len())];
        let other = tiles[rng.usize(..tiles.len())];
        let op = [BinaryOp::Add, BinaryOp::Max, BinaryOp::Min, BinaryOp::Multiply][rng.usize(0..4)];
        let made = match rng.u8(0..4) {
            0 if computed == F32 => b.emit(Expression::Unary {
                op: UnaryOp::Exp2,
                value: one,
            }),
            0 | 1 => b.binary(op, one, other),
            2 => {
                let op = [BinaryOp::Add, BinaryOp::Max, BinaryOp::Min][rng.usize(0..3)];
                let number = reduced(&mut b, one, Reduction::Combine(Combine::Operator(op)));
                numbers.push(number);
                let number = b.stretch(number, shape);
                b.binary(BinaryOp::Subtract, other, number)
            }
            _ => {
                let reduction = [Reduction::ArgMax, Reduction::ArgMin][rng.usize(0..2)].clone();
                let number = reduced(&mut b, one, reduction);
                let number = b.cast(number, computed);
                numbers.push(number);
                let number = b.stretch(number, shape);
                b.binary(BinaryOp::Add, other, number)
            }
        };
        tiles.push(made);
    }
    let last = tiles[tiles.len() - 1];
    let number = match numbers.last() {
        Some(number) => *number,
        None => reduced(&mut b, last, Reduction::Combine(Combine::Operator(BinaryOp::Max))),
    };
    if rng.bool() {
        b.store(0, &[row, stored], last);
    }
    let number = b.reshape(number, &[1]);
    let row = b.stretch(row, Shape::new(&[1]).expect("a shape"));
    b.store(3, &[row], number);
    let mut kernel = b.launch(programs as i64);
    bind(&mut kernel, &arguments, true);
    if rng.u8(0..8) == 0
        && let ParameterKind::Tensor(out) = &mut kernel.parameters[0].kind
    {
        out.layout = Layout::Strided;
    }
    (kernel, arguments)
}

#[test]
fn blocks_of_a_cluster_find_what_one_block_finds() {
    let mut met = 0;
    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        let extent = [256, 264, 300, 320, 1000, 1024, 2048, 2504][rng.usize(0..8)];
        let (mut kernel, arguments) = random(&mut rng, extent);
        if rng.u8(0..4) == 0 {
            kernel = checked(kernel);
        }
        let by = Schedule {
            wide: rng.u8(0..4) > 0,
            ..in_cluster([32, 64, 96][rng.usize(0..3)], rng.u32(2..=8))
        };
        // Bytes and halves of a row of 300 begin anywhere, and 256 elements are combined by a warp.
        let fits = by.fits(&kernel);
        assert_eq!(fits.is_ok(), extent > 256 && extent != 300, "{seed}: {fits:?}");
        if fits.is_ok() {
            let lowered = check(&kernel, &by, &arguments);
            assert_eq!(lowered.kernel.cluster, by.splits);
            met += usize::from(tells_in_order(&lowered) > 0);
        }
    }
    assert!(met > 80, "{met}");
}

#[test]
fn what_is_chosen_for_a_cluster_is_lowered() {
    let mut clusters = 0;
    for seed in 0..120 {
        let mut rng = Rng::with_seed(seed);
        let extent = [1024, 4096, 4104, 7168, 7172, 16_384, 20_480, 32_768, 65_536][rng.usize(0..9)];
        let (mut kernel, _) = random(&mut rng, extent);
        if rng.u8(0..4) == 0 {
            kernel = checked(kernel);
        }
        for programs in [1, 16, 17, 33, 34] {
            let by = choose(&kernel, &Machine::H200, programs);
            let lowered = lower(&kernel, &by).unwrap_or_else(|error| panic!("{seed}, {by}: {error}"));
            assert_eq!(verify(&lowered.kernel), Ok(()), "{seed}, {by}");
            clusters += usize::from(by.splits > 1);
            assert!(choose(&kernel, &Machine::new(80, 108), programs).splits == 1);
        }
    }
    assert!(clusters > 100, "{clusters}");
}

/// What one block's threads hand each other, those of a cluster compute again: so it is left to one block, but for who asks.
#[test]
fn rows_whose_elements_are_stored_elsewhere_than_in_their_places_are_left_to_one_block() {
    let stored = |by: i64, layout: Layout| {
        let mut b = Builder::new("stored");
        for number in 0..2 {
            let tensor = b.tensor(&format!("t{number}"), F32, 2);
            b.tensor_mut(tensor).mutable = number == 0;
        }
        let (row, columns) = (b.program(0), b.arange(7168));
        let value = b.load(1, &[row, columns]);
        let exponential = b.emit(Expression::Unary {
            op: UnaryOp::Exp,
            value,
        });
        let shape = b.shape(value);
        let sum = reduced(
            &mut b,
            exponential,
            Reduction::Combine(Combine::Operator(BinaryOp::Add)),
        );
        let sum = b.stretch(sum, shape);
        let value = b.binary(BinaryOp::Divide, exponential, sum);
        let columns = match by {
            0 => columns,
            _ => {
                let by = b.index(by);
                b.add(columns, by)
            }
        };
        b.store(0, &[row, columns], value);
        let mut kernel = b.launch(3);
        let tensor = Argument::tensor(F32, &[3, 7184], 0, |_| 0);
        bind(&mut kernel, &[tensor.clone(), tensor], true);
        if let ParameterKind::Tensor(out) = &mut kernel.parameters[0].kind {
            out.layout = layout;
        }
        for by in [in_cluster(224, 4), choose(&kernel, &Machine::H200, 3)] {
            let lowered = lower(&kernel, &by).expect("a schedule that fits");
            assert_eq!(verify(&lowered.kernel), Ok(()));
        }
        choose(&kernel, &Machine::H200, 3).splits
    };
    assert_eq!(stored(0, Layout::Contiguous), 4);
    for (by, layout) in [(0, Layout::Strided), (1, Layout::Contiguous), (8, Layout::Contiguous)] {
        assert_eq!(stored(by, layout), 1, "{by} {layout:?}");
    }
}

fn softmax(extent: u32, by: &Schedule) -> Lowered {
    softmax_of(extent, by, |_, _, value| value)
}

/// Softmax of rows of what is made of a row, its columns and its elements.
fn softmax_of(extent: u32, by: &Schedule, made: impl Fn(&mut Builder, [Value; 2], Value) -> Value) -> Lowered {
    let extents = [3, u64::from(extent)];
    let mut case = Case::new(&[(F32, &extents), (F32, &extents)]);
    let b = &mut case.b;
    let (row, columns) = (b.program(0), b.arange(extent));
    let value = b.load(1, &[row, columns]);
    let value = made(b, [row, columns], value);
    let shape = b.shape(value);
    let most = reduced(b, value, Reduction::Combine(Combine::Operator(BinaryOp::Max)));
    let most = b.stretch(most, shape);
    let less = b.binary(BinaryOp::Subtract, value, most);
    let exponential = b.emit(Expression::Unary {
        op: UnaryOp::Exp,
        value: less,
    });
    let sum = reduced(b, exponential, Reduction::Combine(Combine::Operator(BinaryOp::Add)));
    let sum = b.stretch(sum, shape);
    let value = b.binary(BinaryOp::Divide, exponential, sum);
    b.store(0, &[row, columns], value);
    case.lowered_by(3, true, by)
}

/// Where threads arrive at meetings of all blocks, wait for them and store to other blocks, in both texts: no block arrives twice at once,
/// none is told anything before all have begun, nor after it may have ended.
fn tells_in_order(lowered: &Lowered) -> usize {
    let told = lowered.kernel.first_told().is_some();
    let ptx = ptx::print(&lowered.kernel, ptx::Target::new(90).expect("a target")).expect("a text");
    let texts = [cuda::print(&lowered.kernel), ptx.text];
    let stores = texts.map(|text| {
        let marks = ["barrier.cluster.arrive", "barrier.cluster.wait", "st.shared::cluster"];
        let found = |(mark, number): (&str, usize)| {
            text.match_indices(mark)
                .map(move |(at, _)| (at, number))
                .collect::<Vec<_>>()
        };
        let mut order: Vec<_> = marks.into_iter().zip(0..).flat_map(found).collect();
        order.sort_unstable();
        let (mut is_between, mut have_met, mut untaken, mut stores) = (false, false, false, 0);
        for (_, mark) in order {
            match mark {
                0 => {
                    assert!(!is_between, "{text}");
                    (is_between, untaken) = (true, false);
                }
                1 => {
                    assert!(is_between, "{text}");
                    (is_between, have_met) = (false, true);
                }
                _ => {
                    assert!(have_met && !is_between, "{text}");
                    untaken = true;
                    stores += 1;
                }
            }
        }
        assert!(!is_between && !untaken, "{text}");
        stores
    });
    assert!(!told || stores[0] > 0);
    assert_eq!(stores[0] > 0, stores[1] > 0);
    stores[0]
}

/// What nobody reads is no longer told, but its barrier is still there: then blocks have met before they tell anything.
#[test]
fn blocks_of_a_cluster_arrive_once_for_each_meeting_and_tell_each_other_only_while_all_are_there() {
    let by = in_cluster(64, 4);
    let mean = |b: &mut Builder, value: Value| {
        let shape = b.shape(value);
        let mean = reduced(b, value, Reduction::Combine(Combine::Operator(BinaryOp::Add)));
        b.stretch(mean, shape)
    };
    let of_none = softmax_of(2048, &by, |b, [_, columns], value| {
        let mean = mean(b, value);
        let end = b.index(2048);
        let inside = b.compare(CompareOp::Less, columns, end);
        b.emit(Expression::Select {
            condition: inside,
            accept: value,
            reject: mean,
        })
    });
    let stored_nowhere = softmax_of(2048, &by, |b, [row, columns], value| {
        let mean = mean(b, value);
        let by = b.index(2048);
        let beyond = b.add(columns, by);
        b.store(0, &[row, beyond], mean);
        value
    });
    for dead in [of_none, stored_nowhere] {
        let mut barriers = 0;
        dead.kernel
            .body
            .walk(&mut |statement, _| barriers += usize::from(matches!(statement, Statement::Barrier { .. })));
        assert_eq!(barriers, 3, "{}", dead.kernel);
        assert!(tells_in_order(&dead) > 0);
    }
    assert!(tells_in_order(&softmax(2048, &by)) > 0);
    let mut told = 0;
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let extent = [1024, 2504][rng.usize(0..2)];
        let (kernel, _) = random(&mut rng, extent);
        let kernel = if rng.bool() { checked(kernel) } else { kernel };
        let lowered = lower(&kernel, &in_cluster(32, rng.u32(2..=8))).expect("a schedule that fits");
        told += usize::from(tells_in_order(&lowered) > 0);
    }
    assert!(told > 50, "{told}");
}

#[test]
fn blocks_of_a_cluster_meet_once_for_each_result_and_load_nothing_twice() {
    let lowered = softmax(2048, &in_cluster(64, 4));
    let (mut barriers, mut loads) = (0, 0);
    lowered.kernel.body.walk(&mut |statement, _| match statement {
        Statement::Barrier { group } => {
            assert_eq!(*group, 256);
            barriers += 1;
        }
        Statement::Let {
            operation: crate::thread::Operation::Load(load),
            ..
        } => {
            let space = lowered.kernel.buffers[load.place.buffer].space();
            loads += usize::from(space == crate::thread::Space::Global);
        }
        _ => {}
    });
    assert_eq!((barriers, loads), (2, 2), "{}", lowered.kernel);
}

/// Without one of its barriers some thread reads what another may not have told it yet, or tells what is still read.
#[test]
fn a_barrier_that_is_left_out_is_found() {
    let by = in_cluster(32, 4);
    let mut lowered = softmax(1024, &by);
    let bits = |at: u64| u64::from((at as f32 / 512.0).to_bits());
    let arguments = [
        Argument::tensor(F32, &[3, 1024], 0, |_| 0),
        Argument::tensor(F32, &[3, 1024], 0, bits),
    ];
    assert!(launched(&lowered, &arguments, [3, 1, 1]).0.is_ok());
    let body = std::mem::take(&mut lowered.kernel.body);
    let is_barrier = |statement: &Statement| matches!(statement, Statement::Barrier { .. });
    let barriers = body.iter().filter(|(statement, _)| is_barrier(statement)).count();
    assert_eq!(barriers, 2);
    for left_out in 0..barriers {
        let (mut without, mut at) = (Block::new(), 0);
        for (statement, span) in &body {
            let is_left_out = is_barrier(statement) && at == left_out;
            at += usize::from(is_barrier(statement));
            if !is_left_out {
                without.push(statement.clone(), *span);
            }
        }
        lowered.kernel.body = without;
        let fault = launched(&lowered, &arguments, [3, 1, 1]).0.expect_err("a race");
        assert!(fault.what.contains("with no barrier in between"), "{fault}");
    }
}

#[test]
fn what_blocks_cannot_tell_each_other_is_refused() {
    let kernel = |made: &dyn Fn(&mut Builder, Value) -> Value| {
        let mut b = Builder::new("refused");
        let src = b.tensor("src", F32, 1);
        b.tensor_mut(src).mutable = false;
        let out = b.tensor("out", F32, 1);
        let columns = b.arange(1024);
        let value = b.load(src, &[columns]);
        let value = made(&mut b, value);
        b.store(out, &[columns], value);
        b.launch(1)
    };
    let refused = |by: Schedule, made: &dyn Fn(&mut Builder, Value) -> Value| match lower(&kernel(made), &by) {
        Err(LowerError::Schedule { source, .. }) => Some(source),
        _ => None,
    };
    let centred = |b: &mut Builder, value: Value| {
        let shape = b.shape(value);
        let most = reduced(b, value, Reduction::Combine(Combine::Operator(BinaryOp::Max)));
        let most = b.stretch(most, shape);
        b.binary(BinaryOp::Subtract, value, most)
    };
    let scanned = |b: &mut Builder, value: Value| {
        b.emit(Expression::Scan {
            value,
            axis: 0,
            combine: Combine::Operator(BinaryOp::Add),
        })
    };
    assert_eq!(refused(in_cluster(64, 4), &centred), None);
    let (blocks, threads) = (9, 32);
    assert_eq!(
        refused(in_cluster(threads, blocks), &centred),
        Some(ScheduleError::Cluster { blocks, threads })
    );
    let (blocks, threads) = (2, 16);
    assert_eq!(
        refused(in_cluster(threads, blocks), &centred),
        Some(ScheduleError::Cluster { blocks, threads })
    );
    let dependent = Some(ScheduleError::Dependent("refused".to_owned()));
    assert_eq!(refused(in_cluster(32, 2), &scanned), dependent);

    // A GPU that has no clusters can split what does not meet, and nothing else.
    let on = |machine, splits| in_cluster(64, splits).fits_on(&kernel(&centred), &machine);
    let old = Machine::new(80, 108);
    let (kernel_name, blocks) = ("refused".to_owned(), 4);
    assert_eq!((on(Machine::H200, blocks), on(old, 1)), (Ok(()), Ok(())));
    assert_eq!(
        on(old, blocks),
        Err(ScheduleError::NoClusters {
            kernel: kernel_name,
            blocks
        })
    );
    let copied = kernel(&|_, value| value);
    assert_eq!(in_cluster(64, blocks).fits_on(&copied, &old), Ok(()));
}
