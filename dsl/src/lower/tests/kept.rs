//! What threads keep of what they combine: nothing is loaded twice, and nothing exchanged that a thread has.

use super::run::schedule;
use super::wide::{Case, is_wide, loads, stores};
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{BinaryOp, Combine, CompareOp, Expression, Reduction, Shape, UnaryOp};
use crate::lower::Lowered;
use crate::schedule::Schedule;
use crate::thread::{Operation, Statement, passes::Why};

const F32: ElementType = ElementType::F32;
const BF16: ElementType = ElementType::BF16;
const F16: ElementType = ElementType::F16;
const I32: ElementType = ElementType::I32;

fn barriers(lowered: &Lowered) -> usize {
    let mut count = 0;
    lowered.kernel.body.walk(&mut |statement, _| {
        count += usize::from(matches!(statement, Statement::Barrier { .. }));
    });
    count
}

fn statements(lowered: &Lowered) -> usize {
    let mut count = 0;
    lowered.kernel.body.walk(&mut |_, _| count += 1);
    count
}

fn reduced(b: &mut Builder, value: Value, op: BinaryOp) -> Value {
    let axis = b.shape(value).rank() as u8 - 1;
    let reduction = Reduction::Combine(Combine::Operator(op));
    b.emit(Expression::Reduce { value, axis, reduction })
}

/// What a row is reduced to, for each of its elements.
fn stretched(b: &mut Builder, value: Value, op: BinaryOp) -> Value {
    let shape = b.shape(value);
    let one = reduced(b, value, op);
    b.stretch(one, shape)
}

fn function(b: &mut Builder, op: UnaryOp, value: Value) -> Value {
    b.emit(Expression::Unary { op, value })
}

/// Of each row what is exponential in it, over the sum.
fn softmax(b: &mut Builder, value: Value) -> Value {
    let most = stretched(b, value, BinaryOp::Max);
    let less = b.binary(BinaryOp::Subtract, value, most);
    let exponential = function(b, UnaryOp::Exp2, less);
    let sum = stretched(b, exponential, BinaryOp::Add);
    b.binary(BinaryOp::Divide, exponential, sum)
}

/// Rows of so many elements, and what `made` makes of each, by so many threads; so many programs share a block.
fn rows(
    element: ElementType,
    extent: u32,
    [threads, beside]: [u32; 2],
    made: impl Fn(&mut Builder, Value) -> Value,
) -> Lowered {
    let schedule = Schedule {
        programs_per_block: beside,
        ..schedule(threads, 4)
    };
    rows_by(element, extent, &schedule, made)
}

/// The same, by a schedule.
fn rows_by(
    element: ElementType,
    extent: u32,
    schedule: &Schedule,
    made: impl Fn(&mut Builder, Value) -> Value,
) -> Lowered {
    let extents = [5, u64::from(extent)];
    let mut case = Case::new(&[(element, &extents), (element, &extents)]);
    let b = &mut case.b;
    let (row, cols) = (b.program(0), b.arange(extent));
    let value = b.load(1, &[row, cols]);
    let value = made(b, value);
    b.store(0, &[row, cols], value);
    case.lowered_by(5, false, schedule)
}

#[test]
fn a_row_of_a_warp_needs_no_shared_memory_and_no_barrier() {
    for (extent, beside) in [(8, 1), (64, 4), (256, 1), (256, 8), (512, 4)] {
        let lowered = rows(F32, extent, [32, beside], softmax);
        assert_eq!(lowered.kernel.shared_bytes(), 0, "{}", lowered.kernel);
        assert_eq!(barriers(&lowered), 0, "{}", lowered.kernel);
        is_wide(&lowered);
        // Nothing is loaded twice.
        let packets = extent.div_ceil(8 * 32) as usize * 2;
        assert_eq!(loads(&lowered, 16), packets, "{}", lowered.kernel);
        assert_eq!(stores(&lowered, 16), packets, "{}", lowered.kernel);
    }
}

#[test]
fn the_threads_of_a_block_meet_once_for_each_result_that_all_need() {
    for (extent, threads) in [(512, 128), (1024, 128), (2048, 256), (4096, 256)] {
        let lowered = rows(F32, extent, [threads, 1], softmax);
        assert_eq!(barriers(&lowered), 2, "{}", lowered.kernel);
        assert!(lowered.kernel.shared_bytes() <= 8 * threads, "{}", lowered.kernel);
        let packets = extent.div_ceil(8 * threads) as usize * 2;
        assert_eq!(stores(&lowered, 16), packets, "{}", lowered.kernel);
        let shared = (threads / 32) as usize * 2;
        assert_eq!(loads(&lowered, 16), packets, "{}", lowered.kernel);
        assert!(loads(&lowered, 4) <= shared, "{}", lowered.kernel);
    }
}

#[test]
fn a_line_that_a_warp_can_have_every_warp_combines_for_itself() {
    for extent in [8, 100, 256] {
        let lowered = rows(F32, extent, [64, 1], softmax);
        assert_eq!(barriers(&lowered), 0, "{}", lowered.kernel);
        assert_eq!(lowered.kernel.shared_bytes(), 0, "{}", lowered.kernel);
    }
}

/// Lines of fewer chunks than threads, of numbers that all lie on one side of zero.
#[test]
fn threads_without_a_chunk_add_nothing_to_the_least_and_the_largest() {
    for element in [F32, ElementType::F64, F16, BF16] {
        for extent in [3, 17, 24, 40, 131] {
            for op in [BinaryOp::Min, BinaryOp::Max, BinaryOp::Minimum, BinaryOp::Maximum] {
                let is_most = matches!(op, BinaryOp::Max | BinaryOp::Maximum);
                for threads in [32, 64] {
                    // Of magnitudes, or of what is as far below zero.
                    rows(element, extent, [threads, 1], |b, value| {
                        let shape = b.shape(value);
                        let positive = b.emit(Expression::Unary {
                            op: UnaryOp::Abs,
                            value,
                        });
                        let signed = match is_most {
                            true => b.emit(Expression::Unary {
                                op: UnaryOp::Negate,
                                value: positive,
                            }),
                            false => positive,
                        };
                        let found = reduced(b, signed, op);
                        b.stretch(found, shape)
                    });
                }
            }
        }
    }
}

#[test]
fn what_is_combined_in_any_order_stays_with_its_threads_whatever_its_elements() {
    for element in [
        F32,
        ElementType::F64,
        BF16,
        I32,
        ElementType::I64,
        ElementType::U8,
        ElementType::I8,
    ] {
        let mut case = Case::new(&[(element, &[5]), (element, &[5, 256])]);
        let b = &mut case.b;
        let (row, cols) = (b.program(0), b.arange(256));
        let mut value = b.load(1, &[row, cols]);
        if element.is_float() {
            value = function(b, UnaryOp::Tanh, value);
        }
        let most = stretched(b, value, BinaryOp::Max);
        let less = b.binary(BinaryOp::Subtract, most, value);
        let spread = reduced(b, less, BinaryOp::Max);
        b.store(0, &[row], spread);
        let lowered = case.lowered_by(5, false, &schedule(32, 4));
        assert_eq!(lowered.kernel.shared_bytes(), 0, "{}", lowered.kernel);
        assert_eq!(barriers(&lowered), 0, "{}", lowered.kernel);
        // Each element is loaded once, and its function found once.
        let mut bytes = 0;
        lowered.kernel.body.walk(&mut |statement, _| {
            if let Statement::Let {
                operation: Operation::Load(load),
                ..
            } = statement
            {
                bytes += load.ty.bytes();
            }
        });
        assert_eq!(bytes, 256 / 32 * element.size() as u32, "{}", lowered.kernel);
    }
}

#[test]
fn a_row_is_changed_in_place_by_what_it_adds_up_to() {
    for (extent, threads) in [(1024, 128), (2048, 256), (7168, 256), (700, 96), (701, 96)] {
        let extents = [3, u64::from(extent)];
        let mut case = Case::new(&[(BF16, &extents)]);
        let b = &mut case.b;
        let (row, cols) = (b.program(0), b.arange(extent));
        let value = b.load(0, &[row, cols]);
        let shape = b.shape(value);
        let wide = b.cast(value, F32);
        let square = b.mul(wide, wide);
        let sum = reduced(b, square, BinaryOp::Add);
        let sum = b.stretch(sum, shape);
        let scaled = b.binary(BinaryOp::Divide, wide, sum);
        let scaled = b.cast(scaled, BF16);
        b.store(0, &[row, cols], scaled);
        let lowered = case.lowered_by(3, false, &schedule(threads, 4));
        if extent % 8 == 0 {
            assert_eq!(barriers(&lowered), 1, "{}", lowered.kernel);
            is_wide(&lowered);
        }
    }
}

#[test]
fn what_is_scanned_stays_with_its_threads() {
    let scan = |b: &mut Builder, value| {
        b.emit(Expression::Scan {
            value,
            axis: 0,
            combine: Combine::Operator(BinaryOp::Add),
        })
    };
    for (extent, threads, meets) in [(256, 32, false), (8, 64, false), (2048, 128, true), (7168, 256, true)] {
        let lowered = rows(I32, extent, [threads, 1], scan);
        assert_eq!(barriers(&lowered), usize::from(meets), "{}", lowered.kernel);
        assert!(lowered.kernel.shared_bytes() <= 4 * 32, "{}", lowered.kernel);
        is_wide(&lowered);
    }
    for element in [ElementType::I64, ElementType::F16, ElementType::U8] {
        rows(element, 1024, [128, 1], scan);
    }
}

#[test]
fn the_text_of_a_sort_does_not_grow_with_the_threads_that_do_it() {
    let sort = |b: &mut Builder, value| {
        let order = b.emit(Expression::ArgSort {
            value,
            axis: 0,
            descending: false,
        });
        b.emit(Expression::Take {
            value,
            index: order,
            axis: 0,
        })
    };
    let lengths = [(256, 32), (1000, 128), (2048, 256)].map(|(extent, threads)| {
        let lowered = rows(F32, extent, [threads, 1], sort);
        statements(&lowered)
    });
    // Beyond a warp there is what threads exchange through shared memory, once.
    assert!(
        lengths[1] <= 2 * lengths[0] && lengths[2] <= lengths[1] + lengths[0] / 10,
        "{lengths:?}"
    );
}

#[test]
fn variables_hold_packets() {
    for (element, lanes) in [(F32, 4), (BF16, 8)] {
        let lowered = rows(element, 1024, [64, 1], |b, value| {
            let kept = b.variable("kept", value);
            let now = b.read(kept);
            let twice = b.add(now, now);
            b.assign(kept, twice);
            b.read(kept)
        });
        is_wide(&lowered);
        let packets = 1024 / lanes / 64;
        assert_eq!(
            (loads(&lowered, 16), stores(&lowered, 16)),
            (packets, packets),
            "{}",
            lowered.kernel
        );
        assert_eq!(barriers(&lowered), 0, "{}", lowered.kernel);
    }
}

#[test]
fn what_is_kept_is_kept_to_the_end_of_its_block() {
    for large in [false, true] {
        let extents = [4, 512];
        let mut case = Case::new(&[(F32, &extents), (F32, &extents)]);
        let b = &mut case.b;
        let (row, cols, two) = (b.program(0), b.arange(512), b.index(2));
        let value = b.load(1, &[row, cols]);
        let shape = b.shape(value);
        let inside = b.compare(CompareOp::Less, row, two);
        let double = b.add(value, value);
        b.if_else(
            inside,
            |b| {
                let sum = reduced(b, double, BinaryOp::Add);
                let sum = b.stretch(sum, shape);
                let less = b.binary(BinaryOp::Subtract, double, sum);
                b.store(0, &[row, cols], less);
            },
            |_| {},
        );
        let before = b.load(0, &[row, cols]);
        let both = b.add(before, double);
        b.store(0, &[row, cols], both);
        case.lowered_by(4, false, &schedule(if large { 128 } else { 32 }, 2));
    }
}

#[test]
fn rows_of_groups_are_reduced_by_those_who_hold_them() {
    // As rows are quantised: the largest of each group of 128 elements is stored, and divides them.
    for (groups, threads) in [(56, 256), (56, 448), (56, 224), (10, 96), (8, 128), (3, 64)] {
        let extents = [2, u64::from(groups) * 128];
        let scales = [2, u64::from(groups)];
        let mut case = Case::new(&[(ElementType::F8E4M3, &extents), (BF16, &extents), (F32, &scales)]);
        case.b.tensor_mut(2).mutable = true;
        let b = &mut case.b;
        let (row, cols, each) = (b.program(0), b.arange(groups * 128), b.arange(groups));
        let value = b.load(1, &[row, cols]);
        let wide = b.cast(value, F32);
        let wide = b.reshape(wide, &[groups, 128]);
        let positive = b.emit(Expression::Unary {
            op: UnaryOp::Abs,
            value: wide,
        });
        let most = reduced(b, positive, BinaryOp::Max);
        b.store(2, &[row, each], most);
        let most = b.reshape(most, &[groups, 1]);
        let shape = b.shape(wide);
        let most = b.stretch(most, shape);
        let scaled = b.binary(BinaryOp::Divide, wide, most);
        let scaled = b.cast(scaled, ElementType::F8E4M3);
        let scaled = b.reshape(scaled, &[groups * 128]);
        b.store(0, &[row, cols], scaled);
        let lowered = case.lowered_by(2, false, &schedule(threads, 4));
        let packets = (groups * 16).div_ceil(threads) as usize;
        // Who has one result stores it.
        let hand_over = packets > 1;
        assert_eq!(barriers(&lowered), usize::from(hand_over), "{}", lowered.kernel);
        // Nothing is loaded twice; several results come in packets from where they were combined.
        let combined = usize::from(hand_over && groups % 4 == 0);
        assert_eq!(loads(&lowered, 16), packets + combined, "{}", lowered.kernel);
    }
}

#[test]
fn what_takes_long_is_computed_once_of_rows_that_begin_anywhere_and_handed_to_the_threads_that_store_it() {
    let powers = |lowered: &Lowered| {
        let mut count = 0;
        lowered.kernel.body.walk(&mut |statement, _| {
            let is_power = |operation: &Operation| matches!(operation, Operation::MulAdd { .. });
            count += usize::from(matches!(statement, Statement::Let { operation, .. } if is_power(operation)));
        });
        count
    };
    for (extent, spread) in [
        (131, [16, 8]),
        (131, [16, 2]),
        (131, [32, 1]),
        (9, [1, 32]),
        (1003, [128, 1]),
        (7167, [256, 1]),
    ] {
        for element in [F32, F16] {
            let lowered = rows(element, extent, spread, softmax);
            let chunks = extent.div_ceil(8).div_ceil(spread[0]) as usize;
            // A polynomial of degree 6 for each chunk that a thread has.
            assert_eq!(powers(&lowered), 6 * chunks, "{}", lowered.kernel);
            let bytes = extent * element.size() as u32 * spread[1];
            assert!(lowered.kernel.shared_bytes() >= bytes, "{}", lowered.kernel);
            assert!(stores(&lowered, 16) > 0 || extent < 16, "{}", lowered.kernel);
        }
    }
    // What is soon loaded and computed again is not.
    let doubled = |b: &mut Builder, value: Value| {
        let sum = stretched(b, value, BinaryOp::Add);
        b.binary(BinaryOp::Add, value, sum)
    };
    let lowered = rows(F32, 131, [16, 8], doubled);
    assert_eq!(lowered.kernel.shared_bytes(), 0, "{}", lowered.kernel);
}

#[test]
fn lines_of_any_extent_are_handed_over_as_they_are() {
    let mut random = fastrand::Rng::with_seed(7);
    // Functions of what is combined, of what functions are combined to, and combined once more.
    let centred = |b: &mut Builder, value: Value| {
        let tanh = function(b, UnaryOp::Tanh, value);
        let sum = stretched(b, tanh, BinaryOp::Add);
        b.binary(BinaryOp::Subtract, tanh, sum)
    };
    let often = |b: &mut Builder, value: Value| {
        let (once, twice) = (softmax(b, value), centred(b, value));
        let both = b.binary(BinaryOp::Multiply, once, twice);
        let least = stretched(b, both, BinaryOp::Min);
        let sine = function(b, UnaryOp::Sin, both);
        b.binary(BinaryOp::Subtract, sine, least)
    };
    for _ in 0..60 {
        let extent = random.u32(9..700);
        let threads = 1 << random.u32(0..9);
        let beside = if threads < 32 { 32 / threads } else { 1 } * random.u32(1..3);
        let element = [F32, F16, BF16, ElementType::F64][random.usize(0..4)];
        let schedule = Schedule {
            programs_per_block: beside,
            wide: random.bool(),
            ..schedule(threads, 4)
        };
        match random.u8(0..3) {
            0 => rows_by(element, extent, &schedule, softmax),
            1 => rows_by(element, extent, &schedule, centred),
            _ => rows_by(element, extent, &schedule, often),
        };
    }
}

#[test]
fn rows_that_begin_anywhere_are_stored_as_they_are_held_where_each_element_is_accessed_alone() {
    for element in [F32, BF16, ElementType::F64] {
        for extent in (9..70).chain([131, 255, 256, 257, 300, 1003]) {
            for (threads, programs_per_block) in [(32, 1), (32, 3), (16, 2), (64, 1), (1, 32)] {
                let schedule = Schedule {
                    programs_per_block,
                    wide: false,
                    ..schedule(threads, 4)
                };
                let lowered = rows_by(element, extent, &schedule, softmax);
                let has_one_chunk = extent.div_ceil(8) <= threads;
                assert!(
                    !has_one_chunk || threads > 32 || lowered.kernel.shared_bytes() == 0,
                    "{extent} by {threads}: {}",
                    lowered.kernel
                );
            }
        }
    }
}

/// Their author is told why, and of the store too.
#[test]
fn what_is_accessed_one_by_one_as_the_schedule_has_it_is_told_of() {
    let schedule = Schedule {
        wide: false,
        ..schedule(32, 4)
    };
    let told = rows_by(F32, 131, &schedule, softmax).accesses.to_string();
    for why in [Why::Scheduled, Why::Beside] {
        assert!(told.contains(&why.to_string()), "{why}: {told}");
    }
}

#[test]
fn rows_that_are_changed_in_place_or_loaded_again_are_stored_by_those_who_loaded_them() {
    for (extent, spread) in [
        (131, [16, 2]),
        (131, [64, 1]),
        (131, [1, 32]),
        (131, [32, 1]),
        (1003, [128, 1]),
    ] {
        let extents = [5, u64::from(extent)];
        let [threads, programs_per_block] = spread;
        let schedule = Schedule {
            programs_per_block,
            ..schedule(threads, 4)
        };
        // What is stored is the function, or what it is a function of, over the sum.
        for is_function in [true, false] {
            let mut case = Case::new(&[(F32, &extents)]);
            let b = &mut case.b;
            let (row, cols) = (b.program(0), b.arange(extent));
            let value = b.load(0, &[row, cols]);
            let power = function(b, UnaryOp::Exp2, value);
            let sum = stretched(b, power, BinaryOp::Add);
            let over = b.binary(BinaryOp::Divide, if is_function { power } else { value }, sum);
            b.store(0, &[row, cols], over);
            case.lowered_by(5, false, &schedule);
        }
        let mut case = Case::new(&[(F32, &extents), (F32, &extents)]);
        let b = &mut case.b;
        let (row, cols) = (b.program(0), b.arange(extent));
        let value = b.load(1, &[row, cols]);
        let once = softmax(b, value);
        b.store(0, &[row, cols], once);
        let again = b.load(0, &[row, cols]);
        let twice = softmax(b, again);
        b.store(0, &[row, cols], twice);
        case.lowered_by(5, false, &schedule);
    }
}

#[test]
fn many_long_lines_are_not_all_handed_over_at_once() {
    let extents = [2, 8191];
    let tensors: Vec<(ElementType, &[u64])> = vec![(F32, &extents); 9];
    let mut case = Case::new(&tensors);
    let b = &mut case.b;
    let (row, cols) = (b.program(0), b.arange(8191));
    let each: Vec<Value> = (1..9)
        .map(|tensor| {
            let value = b.load(tensor, &[row, cols]);
            softmax(b, value)
        })
        .collect();
    let all = each.into_iter().reduce(|sum, value| b.add(sum, value)).expect("some");
    b.store(0, &[row, cols], all);
    let lowered = case.lowered_by(2, false, &schedule(256, 4));
    assert!(lowered.kernel.shared_bytes() < 70 << 10);
}

/// What is subtracted from is no row of what the largest is of: a number, or a column.
#[test]
fn exponentials_of_anything_less_the_largest_of_rows_are_computed() {
    for wide in [false, true] {
        let mut case = Case::new(&[(F32, &[8]), (F32, &[8, 128]), (F32, &[8])]);
        let b = &mut case.b;
        let (rows, columns) = (b.arange(8), b.arange(128));
        let both = Shape::new(&[8, 128]).expect("a shape");
        let [row, column] = [(rows, [8, 1]), (columns, [1, 128])].map(|(index, extents)| {
            let index = b.reshape(index, &extents);
            b.stretch(index, both)
        });
        let tile = b.load(1, &[row, column]);
        let most = match wide {
            true => reduced(b, tile, BinaryOp::Max),
            false => {
                let zero = b.index(0);
                let row = b.load(1, &[zero, columns]);
                reduced(b, row, BinaryOp::Max)
            }
        };
        let (old, place) = match wide {
            true => (b.load(2, &[rows]), rows),
            false => {
                let zero = b.index(0);
                (b.load(2, &[zero]), zero)
            }
        };
        let most = if wide { b.reshape(most, &[8]) } else { most };
        let less = b.binary(BinaryOp::Subtract, old, most);
        let exponential = function(b, UnaryOp::Exp, less);
        b.store(0, &[place], exponential);
        case.lowered_by(1, false, &schedule(32, 1));
    }
}
