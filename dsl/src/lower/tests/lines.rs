//! What lines are reduced to stays with the threads that did it: they meet only where others want it.

use super::run::{Argument, bind, lowered_and_run, schedule};
use super::wide::Case;
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{Access, BinaryOp, Bounds, Combine, CompareOp, Expression, Reduction, Shape, Statement};
use crate::lower::Lowered;
use crate::thread::{self, BufferKind, Order};

const F32: ElementType = ElementType::F32;

/// What there is in a kernel that threads exchange something by, in its order: `|` where they meet, `s` where some store in shared
/// memory, `g` where they store a result.
fn exchanges(lowered: &Lowered) -> String {
    let mut found = String::new();
    lowered.kernel.body.walk(&mut |statement, _| match statement {
        thread::Statement::Barrier { .. } => found.push('|'),
        thread::Statement::Store(store) => match lowered.kernel.buffers[store.place.buffer].kind {
            BufferKind::Shared { .. } => {
                assert_eq!(store.order, Order::Weak);
                found.push('s');
            }
            _ => found.push('g'),
        },
        _ => {}
    });
    found
}

fn reduced(b: &mut Builder, value: Value, reduction: Reduction) -> Value {
    let axis = b.shape(value).rank() as u8 - 1;
    b.emit(Expression::Reduce { value, axis, reduction })
}

fn sum(b: &mut Builder, value: Value) -> Value {
    reduced(b, value, Reduction::Combine(Combine::Operator(BinaryOp::Add)))
}

/// Lines of a row of so many, each of so many elements, by so many threads; `made` is given the row, its elements and what each line
/// adds up to. Tensors are a row of elements, to be stored, elements to be loaded, one of lines, to be stored,
/// and one in which every other element is for a line.
fn lines(
    [lines, extent, threads]: [u32; 3],
    reduce: impl Fn(&mut Builder, Value) -> Value,
    made: impl Fn(&mut Builder, Value, Value, Value),
) -> Lowered {
    let all = [3, u64::from(lines * extent)];
    let [of_lines, apart] = [1, 2].map(|step| [3, u64::from(lines * step)]);
    let mut case = Case::new(&[(F32, &all), (F32, &all), (F32, &of_lines), (F32, &apart)]);
    for results in [2, 3] {
        case.b.tensor_mut(results).mutable = true;
    }
    let b = &mut case.b;
    let (row, cols) = (b.program(0), b.arange(lines * extent));
    let x = b.load(1, &[row, cols]);
    let x = b.reshape(x, &[lines, extent]);
    let of_lines = reduce(b, x);
    made(b, row, x, of_lines);
    case.lowered_by(3, false, &schedule(threads, 4))
}

/// Stores each element less its line's sum, with the threads that hold it.
fn store_less(b: &mut Builder, row: Value, x: Value, sums: Value) {
    let shape = b.shape(x);
    let [lines, extent] = [shape.extents()[0], shape.extents()[1]];
    let (sums, cols) = (b.reshape(sums, &[lines, 1]), b.arange(lines * extent));
    let sums = b.stretch(sums, shape);
    let less = b.binary(BinaryOp::Subtract, x, sums);
    let less = b.reshape(less, &[lines * extent]);
    b.store(0, &[row, cols], less);
}

/// Stores each line's sum, several in a packet.
fn store_sums(b: &mut Builder, row: Value, sums: Value) {
    let each = b.arange(b.shape(sums).innermost());
    b.store(2, &[row, each], sums);
}

/// Stores each line's sum, one by one.
fn store_sums_apart(b: &mut Builder, row: Value, sums: Value) {
    let (each, two) = (b.arange(b.shape(sums).innermost()), b.index(2));
    let shape = b.shape(each);
    let two = b.stretch(two, shape);
    let each = b.mul(each, two);
    b.store(3, &[row, each], sums);
}

#[test]
fn threads_that_use_only_what_they_reduced_do_not_meet() {
    for shape in [[16, 128, 256], [56, 128, 512], [32, 16, 64], [8, 256, 256], [6, 8, 32]] {
        let lowered = lines(shape, sum, store_less);
        assert_eq!(exchanges(&lowered).replace('g', ""), "", "{}", lowered.kernel);
    }
}

/// Stores each line's sum twice, side by side.
fn store_sums_twice(b: &mut Builder, row: Value, sums: Value) {
    let lines = b.shape(sums).innermost();
    let (sums, each) = (b.reshape(sums, &[lines, 1]), b.arange(2 * lines));
    let twice = b.stretch(sums, Shape::new(&[lines, 2]).unwrap());
    let twice = b.reshape(twice, &[2 * lines]);
    b.store(3, &[row, each], twice);
}

#[test]
fn threads_meet_where_others_want_what_lines_came_to() {
    for shape in [[16, 128, 256], [56, 128, 512], [32, 16, 64]] {
        let lowered = lines(shape, sum, |b, row, x, sums| {
            store_less(b, row, x, sums);
            store_sums_twice(b, row, sums);
            store_sums(b, row, sums);
        });
        let found = exchanges(&lowered);
        let (before, behind) = found.split_once('|').expect("they meet");
        // The elements are stored before anybody waits, and nobody waits twice.
        assert!(
            before.starts_with('s') && before.ends_with('g'),
            "{found}\n{}",
            lowered.kernel
        );
        assert_eq!(behind, "gg", "{}", lowered.kernel);
    }
}

#[test]
fn who_found_the_only_line_of_each_thread_stores_it_and_nobody_waits() {
    let stored = |shape, must_be_wide: bool| {
        let lowered = lines(shape, sum, |b, row, x, sums| {
            store_less(b, row, x, sums);
            store_sums_apart(b, row, sums);
            let each = b.arange(b.shape(sums).innermost());
            let access = Access {
                must_be_wide,
                ..b.access(2, &[row, each])
            };
            b.push(Statement::Store {
                access,
                value: sums,
                conflict: None,
            });
        });
        exchanges(&lowered).replace('g', "")
    };
    for shape in [[16, 128, 256], [32, 16, 64], [8, 128, 128], [3, 128, 64], [4, 8, 16]] {
        assert_eq!(stored(shape, false), "", "{shape:?}");
    }
    // What its author wants in packets is handed to those who store them.
    assert_eq!(stored([16, 128, 256], true), "s|");
    // So are several of a thread.
    assert_eq!(stored([56, 128, 512], false), "ss|");
}

#[test]
fn who_found_a_line_loads_nothing_for_it_that_its_author_wants_in_packets() {
    let scaled = |must_be_wide| {
        let lowered = lines([32, 16, 64], sum, |b, row, _, sums| {
            let each = b.arange(32);
            let access = Access {
                must_be_wide,
                ..b.access(1, &[row, each])
            };
            let weights = b.emit(Expression::Load(access));
            let scaled = b.mul(sums, weights);
            store_sums(b, row, scaled);
        });
        assert!(lowered.accesses.check().is_ok(), "{}", lowered.accesses);
        exchanges(&lowered)
    };
    assert_eq!([false, true].map(scaled), ["g", "s|g"]);
}

#[test]
fn who_stores_what_it_found_reports_once_that_it_is_out_of_bounds() {
    let mut b = Builder::new("trapping");
    let out = b.tensor("out", F32, 1);
    let src = b.tensor("src", F32, 1);
    b.tensor_mut(src).mutable = false;
    let (cols, each) = (b.arange(16 * 64), b.arange(16));
    let x = b.load(src, &[cols]);
    let x = b.reshape(x, &[16, 64]);
    let sums = sum(&mut b, x);
    b.bounds = Bounds::Trap;
    b.store(out, &[each], sums);
    let mut kernel = b.launch(1);
    let arguments = [
        Argument::tensor(F32, &[13], 0, |_| 0),
        Argument::tensor(F32, &[16 * 64], 0, |at| (at as f32).to_bits().into()),
    ];
    bind(&mut kernel, &arguments, false);
    let (lowered, outcome, memory) = lowered_and_run(&kernel, &schedule(128, 4), &arguments, [1, 1, 1]);
    assert!(!exchanges(&lowered).contains(['s', '|']), "{}", lowered.kernel);
    let mut reported: Vec<i64> = outcome.reports.iter().map(|report| report.value).collect();
    reported.sort_unstable();
    assert_eq!(reported, [13, 14, 15], "{}", lowered.kernel);
    let stored = memory[0]
        .chunks(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    let line = |number: u32| (number * 64..number * 64 + 64).sum::<u32>() as f32;
    assert_eq!(stored.collect::<Vec<_>>(), (0..13).map(line).collect::<Vec<_>>());
}

#[test]
fn whoever_has_a_line_has_what_it_came_to_however_many_threads_there_are() {
    for extent in [2, 3, 7, 16, 100] {
        for count in [2, 5, 40, 150, 333] {
            for threads in [32, 64, 96, 160, 352, 640] {
                lines([count, extent, threads], sum, |b, row, x, sums| {
                    store_less(b, row, x, sums);
                    store_sums_apart(b, row, sums);
                });
            }
        }
    }
}

#[test]
fn places_of_the_largest_elements_stay_with_their_threads_too() {
    let largest = |b: &mut Builder, x| {
        let place = reduced(b, x, Reduction::ArgMax);
        b.cast(place, F32)
    };
    for shape in [[16, 128, 256], [56, 8, 64], [300, 2, 96]] {
        lines(shape, largest, |b, row, x, places| {
            store_less(b, row, x, places);
            store_sums(b, row, places);
        });
    }
}

#[test]
fn what_a_loop_or_a_branch_wants_of_others_is_there_before_it() {
    let lowered = lines([32, 16, 64], sum, |b, row, _, sums| {
        let (start, end) = (b.index(0), b.index(4));
        b.for_loop(start, end, 1, |b, trip| {
            let (each, one) = (b.arange(32), b.index(1));
            let is_second = b.compare(CompareOp::Equal, trip, one);
            let shape = b.shape(each);
            let is_second = b.stretch(is_second, shape);
            b.store_where(2, &[row, each], sums, is_second);
        });
    });
    let found = exchanges(&lowered);
    assert_eq!(found.matches('|').count(), 1, "{found}\n{}", lowered.kernel);
}

#[test]
fn memory_is_taken_by_others_only_when_all_have_met() {
    // What a branch keeps for its lines is where those behind it keep theirs.
    for shape in [[16, 128, 256], [40, 8, 96]] {
        lines(shape, sum, |b, row, x, sums| {
            let one = b.index(1);
            let is_first = b.compare(CompareOp::Less, row, one);
            let twice = b.add(x, x);
            b.if_else(
                is_first,
                |b| {
                    let inner = sum(b, twice);
                    store_less(b, row, x, inner);
                },
                |_| {},
            );
            let squares = b.mul(x, x);
            let squares = sum(b, squares);
            let both = b.add(squares, sums);
            store_sums(b, row, both);
        });
    }
}

#[test]
fn what_is_loaded_by_what_lines_came_to_is_kept_only_where_no_other_thread_has_that() {
    for (across, shape) in [
        (true, [32, 16, 64]),
        (true, [16, 16, 128]),
        (false, [32, 16, 64]),
        (true, [64, 8, 32]),
    ] {
        lines(shape, sum, |b, row, _, sums| {
            let [lines, extent] = [shape[0], shape[1]];
            let places = b.cast(sums, ElementType::I64);
            // As many rows of as many elements, or the other way round: then each row takes what all lines came to.
            let (places, extents) = match across {
                true => (b.reshape(places, &[1, lines]), [extent, lines]),
                false => (b.reshape(places, &[lines, 1]), [lines, extent]),
            };
            let shape = crate::ir::Shape::new(&extents).expect("a shape");
            let places = b.stretch(places, shape);
            let (all, zero) = (b.index(i64::from(lines * extent)), b.index(0));
            let [all, zero] = [all, zero].map(|value| b.stretch(value, shape));
            let places = b.binary(BinaryOp::Remainder, places, all);
            let places = b.binary(BinaryOp::Max, places, zero);
            let found = b.load(1, &[row, places]);
            let of_rows = sum(b, found);
            let of_rows = b.reshape(of_rows, &[extents[0], 1]);
            let of_rows = b.stretch(of_rows, shape);
            let less = b.binary(BinaryOp::Subtract, found, of_rows);
            let (less, cols) = (b.reshape(less, &[lines * extent]), b.arange(lines * extent));
            b.store(0, &[row, cols], less);
        });
    }
}

#[test]
fn what_is_kept_takes_what_lines_of_others_came_to() {
    // Columns are brought to a sum of one, and then rows.
    for (rows, columns, threads) in [(8, 128, 128), (16, 64, 64), (3, 256, 96), (4, 24, 32)] {
        let all = [3, u64::from(rows * columns)];
        let mut case = Case::new(&[(F32, &all), (F32, &all)]);
        let b = &mut case.b;
        let (row, cols) = (b.program(0), b.arange(rows * columns));
        let x = b.load(1, &[row, cols]);
        let x = b.reshape(x, &[rows, columns]);
        let shape = b.shape(x);
        let of_columns = b.emit(Expression::Reduce {
            value: x,
            axis: 0,
            reduction: Reduction::Combine(Combine::Operator(BinaryOp::Add)),
        });
        let of_columns = b.reshape(of_columns, &[1, columns]);
        let of_columns = b.stretch(of_columns, shape);
        let y = b.binary(BinaryOp::Divide, x, of_columns);
        let of_rows = sum(b, y);
        let of_rows = b.reshape(of_rows, &[rows, 1]);
        let of_rows = b.stretch(of_rows, shape);
        let y = b.binary(BinaryOp::Divide, y, of_rows);
        let y = b.reshape(y, &[rows * columns]);
        b.store(0, &[row, cols], y);
        case.lowered_by(3, false, &schedule(threads, 4));
    }
}
