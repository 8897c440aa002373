//! Tiles that threads hold, and operations in which elements meet.

use super::run::{Argument, bind, check, schedule};
use super::wide::Case;
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{Arena, BinaryOp, Combine, CompareOp, Expression, Function, Kernel, MemoryScope, Reduction, Type};
use crate::schedule::Schedule;
use crate::thread::{Space, Statement};

const I64: ElementType = ElementType::I64;
const F32: ElementType = ElementType::F32;

fn zeros(element: ElementType, extents: &[u64]) -> Argument {
    Argument::tensor(element, extents, 0, |_| 0)
}

/// Numbers whose sums depend on the order, and now and then a NaN.
fn floats(extents: &[u64], nan: bool) -> Argument {
    Argument::tensor(F32, extents, 0, |at| {
        let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        match mixed % 61 == 5 && nan {
            true => u64::from(f32::NAN.to_bits()),
            false => u64::from(((mixed % 100_000) as f32 * 1.37 - 40_000.5).to_bits()),
        }
    })
}

/// What becomes of a tile of `[rows, columns]`: `make` says it of the tile, and it is stored as it is.
fn made(rows: u32, columns: u32, threads: u32, nan: bool, make: impl Fn(&mut Builder, Value) -> Value) {
    let mut b = Builder::new("meeting");
    let extents: Vec<u32> = [rows, columns].into_iter().skip(usize::from(rows == 1)).collect();
    let long: Vec<u64> = extents.iter().map(|extent| u64::from(*extent)).collect();
    let src = b.tensor("src", F32, extents.len() as u8);
    b.tensor_mut(src).mutable = false;
    let indices: Vec<Value> = extents
        .iter()
        .enumerate()
        .map(|(axis, extent)| {
            let range = b.arange(*extent);
            match (axis, extents.len()) {
                (0, 2) => b.reshape(range, &[*extent, 1]),
                _ => range,
            }
        })
        .collect();
    let value = b.load(src, &indices);
    let value = make(&mut b, value);
    let Type { element, shape } = b.kernel.ty(value);
    let all = shape.elements() as u32;
    let flat = match shape.rank() {
        0 => b.stretch(value, crate::ir::Shape::new(&[1]).unwrap()),
        _ => b.reshape(value, &[all]),
    };
    let out = b.tensor("out", element, 1);
    let range = b.arange(all);
    b.store(out, &[range], flat);
    run(
        b.launch(1),
        &[floats(&long, nan), zeros(element, &[u64::from(all)])],
        threads,
    );
}

fn run(mut kernel: Kernel, arguments: &[Argument], threads: u32) -> crate::lower::Lowered {
    bind(&mut kernel, arguments, true);
    check(&kernel, &schedule(threads, 2), arguments)
}

/// Neither associative nor commutative.
fn lopsided() -> Combine {
    let scalar = Type::scalar(F32);
    let mut expressions = Arena::new();
    let left = expressions.append(Expression::Argument(0));
    let right = expressions.append(Expression::Argument(1));
    let half = expressions.append(Expression::Literal(crate::ir::Literal::new(0.5f32)));
    let result = expressions.append(Expression::MulAdd {
        left,
        right: half,
        addend: right,
    });
    Combine::Function(Function {
        element: F32,
        types: vec![scalar; expressions.len()],
        expressions,
        result,
    })
}

/// Where a part of a warp does a program.
const SHORT: [(u32, u32, u32); 8] = [
    (1, 8, 1),
    (1, 5, 2),
    (1, 40, 4),
    (1, 64, 8),
    (1, 131, 16),
    (1, 777, 8),
    (3, 40, 8),
    (7, 12, 16),
];

const EXTENTS: [(u32, u32, u32); 9] = [
    (1, 1, 32),
    (1, 5, 32),
    (1, 13, 64),
    (3, 40, 32),
    (5, 256, 64),
    (1, 300, 128),
    (2, 777, 96),
    (1, 9000, 256),
    (1, 20_003, 128),
];

#[test]
fn elements_are_reduced_in_the_stated_order() {
    for (rows, columns, threads) in EXTENTS.into_iter().chain(SHORT) {
        for combine in [Combine::Operator(BinaryOp::Add), lopsided()] {
            made(rows, columns, threads, false, |b, value| {
                let axis = b.shape(value).rank() as u8 - 1;
                let reduction = Reduction::Combine(combine.clone());
                b.emit(Expression::Reduce { value, axis, reduction })
            });
        }
    }
    // Along the outer axis too.
    made(40, 12, 64, false, |b, value| {
        let reduction = Reduction::Combine(lopsided());
        b.emit(Expression::Reduce {
            value,
            axis: 0,
            reduction,
        })
    });
}

#[test]
fn the_first_of_the_best_elements_is_found_and_numbers_before_nan() {
    for (rows, columns, threads) in EXTENTS.into_iter().chain(SHORT) {
        for reduction in [Reduction::ArgMin, Reduction::ArgMax] {
            made(rows, columns, threads, true, |b, value| {
                let axis = b.shape(value).rank() as u8 - 1;
                let reduction = reduction.clone();
                b.emit(Expression::Reduce { value, axis, reduction })
            });
        }
    }
}

#[test]
fn elements_are_scanned_in_the_stated_order() {
    for (rows, columns, threads) in EXTENTS {
        for combine in [Combine::Operator(BinaryOp::Add), lopsided()] {
            made(rows, columns, threads, false, |b, value| {
                let axis = b.shape(value).rank() as u8 - 1;
                let combine = combine.clone();
                b.emit(Expression::Scan { value, axis, combine })
            });
        }
    }
    made(300, 3, 64, false, |b, value| {
        let combine = lopsided();
        b.emit(Expression::Scan {
            value,
            axis: 0,
            combine,
        })
    });
}

#[test]
fn equal_elements_are_sorted_by_index_and_nan_is_the_largest() {
    for (rows, columns, threads) in EXTENTS.into_iter().take(7).chain(SHORT) {
        for descending in [false, true] {
            made(rows, columns, threads, true, |b, value| {
                let axis = b.shape(value).rank() as u8 - 1;
                b.emit(Expression::ArgSort {
                    value,
                    axis,
                    descending,
                })
            });
        }
    }
}

#[test]
fn what_is_below_the_bins_and_beyond_them_counts_for_nothing() {
    for element in [I64, ElementType::I32, ElementType::U8, ElementType::U64] {
        for masked in [false, true] {
            made(3, 100, 64, false, |b, value| {
                let value = b.cast(value, element);
                let thirteen = b.literal(13i64);
                let shape = b.shape(value);
                let thirteen = b.cast(thirteen, element);
                let thirteen = b.stretch(thirteen, shape);
                let value = b.binary(BinaryOp::Remainder, value, thirteen);
                let nine = b.literal(9i64);
                let nine = b.cast(nine, element);
                let nine = b.stretch(nine, shape);
                let mask = b.compare(CompareOp::NotEqual, value, nine);
                b.emit(Expression::Histogram {
                    value,
                    mask: masked.then_some(mask),
                    bins: 11,
                })
            });
        }
    }
}

#[test]
fn a_result_is_used_by_all_threads_again_and_again() {
    // The largest is subtracted, twice, in a loop: shared memory is used again only when all have read it.
    for (rows, columns, threads) in [(1, 77, 64), (4, 40, 96), (2, 3000, 64)] {
        made(rows, columns, threads, false, |b, value| {
            let kept = b.variable("kept", value);
            let (zero, end) = (b.index(0), b.index(3));
            let shape = b.shape(value);
            let axis = shape.rank() as u8 - 1;
            b.for_loop(zero, end, 1, |b, _| {
                let now = b.read(kept);
                let combine = Combine::Operator(BinaryOp::Add);
                let reduction = Reduction::Combine(combine.clone());
                let sum = b.emit(Expression::Reduce {
                    value: now,
                    axis,
                    reduction,
                });
                let sum = match shape.rank() {
                    1 => sum,
                    _ => b.reshape(sum, &[rows, 1]),
                };
                let sum = b.stretch(sum, shape);
                let less = b.binary(BinaryOp::Subtract, now, sum);
                let next = b.emit(Expression::Scan {
                    value: less,
                    axis,
                    combine,
                });
                b.assign(kept, next);
            });
            b.read(kept)
        });
    }
}

#[test]
fn elements_of_other_threads_come_through_shared_memory_and_own_ones_do_not() {
    for turned in [false, true] {
        let mut b = Builder::new("turning");
        let src = b.tensor("src", F32, 1);
        b.tensor_mut(src).mutable = false;
        let out = b.tensor("out", F32, 1);
        let range = b.arange(160);
        let value = b.load(src, &[range]);
        let kept = b.variable("kept", value);
        let mut now = b.read(kept);
        if turned {
            now = b.emit(Expression::Slice {
                value: now,
                axis: 0,
                start: 159,
                step: -1,
                extent: 160,
            });
        }
        b.store(out, &[range], now);
        let lowered = run(b.launch(1), &[floats(&[160], false), zeros(F32, &[160])], 32);
        let shared = lowered.kernel.shared_bytes();
        assert_eq!(shared > 0, turned, "{}", lowered.kernel);
        let mut barriers = 0;
        lowered.kernel.body.walk(&mut |statement, _| {
            barriers += usize::from(matches!(statement, Statement::Barrier { .. }));
        });
        assert_eq!(barriers, usize::from(turned), "{}", lowered.kernel);
    }
}

#[test]
fn programs_of_a_warp_share_a_block_and_meet_without_the_others() {
    for (threads, beside, programs) in [(32, 4, 7), (64, 2, 3), (8, 4, 5)] {
        let mut b = Builder::new("sharing");
        let src = b.tensor("src", F32, 2);
        b.tensor_mut(src).mutable = false;
        let out = b.tensor("out", F32, 2);
        let (program, range) = (b.program(0), b.arange(256));
        let mut value = b.load(src, &[program, range]);
        if threads >= 32 {
            let order = b.emit(Expression::ArgSort {
                value,
                axis: 0,
                descending: true,
            });
            let index = b.emit(Expression::Slice {
                value: order,
                axis: 0,
                start: 0,
                step: 1,
                extent: 8,
            });
            value = b.emit(Expression::Take { value, index, axis: 0 });
        }
        let extent = b.shape(value).innermost();
        let kept = b.variable("kept", value);
        let now = b.read(kept);
        let turned = b.emit(Expression::Slice {
            value: now,
            axis: 0,
            start: extent - 1,
            step: -1,
            extent,
        });
        let range = b.arange(extent);
        b.store(out, &[program, range], turned);
        let mut kernel = b.launch(programs as i64);
        let arguments = [
            floats(&[programs, 256], true),
            zeros(F32, &[programs, u64::from(extent)]),
        ];
        bind(&mut kernel, &arguments, true);
        let by = Schedule {
            programs_per_block: beside,
            ..schedule(threads, 2)
        };
        let lowered = check(&kernel, &by, &arguments);
        lowered.kernel.body.walk(&mut |statement, _| {
            if let Statement::Barrier { group } = statement {
                assert_eq!(*group, threads, "{}", lowered.kernel);
            }
        });
    }
}

#[test]
fn a_tile_of_more_elements_than_registers_is_in_the_threads_own_memory() {
    for rows in [1, 2] {
        made(rows, 2000, 32, false, |b, value| {
            let kept = b.variable("kept", value);
            let before = b.read(kept);
            let doubled = b.binary(BinaryOp::Add, before, value);
            b.assign(kept, doubled);
            let after = b.read(kept);
            // What was read before is as it was.
            b.binary(BinaryOp::Subtract, after, before)
        });
    }
}

#[test]
fn what_a_kernel_reads_before_it_writes_is_as_it_was() {
    for threads in [32, 64, 256] {
        let mut b = Builder::new("shifting");
        let data = b.tensor("data", F32, 1);
        let range = b.arange(200);
        let one = b.index(1);
        let next = b.add(range, one);
        let value = b.load(data, &[range]);
        let behind = b.load(data, &[next]);
        b.store(data, &[next], value);
        b.store(data, &[range], behind);
        run(b.launch(1), &[floats(&[201], false)], threads);
    }
}

#[test]
fn each_thread_keeps_what_its_atomic_operations_find() {
    for (element, elements) in [
        (ElementType::U32, 100),
        (F32, 100),
        (ElementType::F64, 100),
        (I64, 1500),
    ] {
        let mut b = Builder::new("finding");
        let count = b.tensor("count", element, 1);
        let out = b.tensor("out", element, 1);
        let range = b.arange(elements);
        let value = b.cast(range, element);
        let found = b.atomic_add(count, &[range], value, MemoryScope::Device);
        let turned = b.emit(Expression::Slice {
            value: found,
            axis: 0,
            start: elements - 1,
            step: -1,
            extent: elements,
        });
        b.store(out, &[range], turned);
        let extents = [u64::from(elements)];
        let first = Argument::tensor(element, &extents, 0, |at| match element {
            F32 => u64::from((at as f32 * 3.0).to_bits()),
            ElementType::F64 => (at as f64 * 3.0).to_bits(),
            _ => at * 3,
        });
        let lowered = run(b.launch(1), &[first, zeros(element, &extents)], 32);
        let local = |space| lowered.kernel.buffers.iter().any(|(_, buffer)| buffer.space() == space);
        assert!(local(Space::Local) && local(Space::Shared), "{}", lowered.kernel);
    }
}

#[test]
fn lanes_under_a_condition_of_their_own_are_each_where_they_say() {
    // Of a chunk of 8 elements the last 4 are beyond the end, and of the first 4 the outermost are one element.
    for (extent, period) in [(12u32, 3), (20, 3), (12, 5), (15, 7), (44, 9)] {
        for threads in [32, 64, 128] {
            let mut case = Case::new(&[(F32, &[3, u64::from(extent)]), (F32, &[u64::from(extent)])]);
            let b = &mut case.b;
            let (row, cols, period) = (b.program(0), b.arange(extent), b.index(period));
            let shape = b.shape(cols);
            let period = b.stretch(period, shape);
            let places = b.binary(BinaryOp::Remainder, cols, period);
            let value = b.load(1, &[places]);
            let sums = b.emit(Expression::Scan {
                value,
                axis: 0,
                combine: Combine::Operator(BinaryOp::Add),
            });
            b.store(0, &[row, cols], sums);
            case.lowered_by(3, false, &schedule(threads, 4));
        }
    }
}
