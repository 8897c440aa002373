//! Accesses to one element that do not go together: of two programs, and of one store.

use super::*;
use crate::analysis::races::Touch;
use crate::ir::verify::build::Value;
use crate::ir::{BinaryOp, Bounds, CompareOp, Conflict as Promise, Statement};

/// What a run with these arguments finds.
fn conflict(kernel: &Kernel, arguments: &[HostArgument<'_>]) -> Option<Conflict> {
    match run_default(kernel, arguments) {
        Ok(_) => None,
        Err(InterpretError::Conflict(conflict)) => Some(*conflict),
        Err(error) => panic!("{error}"),
    }
}

/// out[program / divisor, ..] = program, rows of 4.
fn rows_shared_by(divisor: i64, programs: i64) -> Kernel {
    let mut b = Builder::new("rows");
    let out = b.tensor("out", ElementType::I32, 2);
    let (row, by, cols) = (b.program(0), b.index(divisor), b.arange(4));
    let (to, value) = (b.binary(BinaryOp::Divide, row, by), b.cast(row, ElementType::I32));
    b.store(out, &[to, cols], value);
    b.launch(programs)
}

#[test]
fn programs_with_rows_of_their_own_do_not_conflict() {
    let out = memory::<i32>(&[0; 4000]);
    assert!(run_default(&rows_shared_by(1, 1000), &[HostArgument::contiguous(&out, &[1000, 4])]).is_ok());
}

#[test]
fn two_programs_writing_one_row_are_named() {
    let out = memory::<i32>(&[0; 4000]);
    let arguments = [strided(&out, 0, &[100, 4], &[8, 2])];
    let found = conflict(&rows_shared_by(7, 20), &arguments).unwrap();
    assert_eq!((found.tensor.as_str(), &found.element[..]), ("out", &[0, 0][..]));
    let access = |number| ConflictingAccess {
        program: [number, 0, 0],
        span: line(6),
        touch: Touch::Write,
    };
    assert_eq!(found.accesses, [0, 1].map(access));
    assert_eq!(
        found.to_string(),
        "kernel `rows`: `out`[0, 0] is written by program [0, 0, 0] (kernel.rs:6:5) and written by program [1, 0, 0] \
         (kernel.rs:6:5), and nothing orders the two\n  = help: let programs keep to elements of their own, put them in \
         order with a lock, or change the element atomically"
    );
    let relaxed = Options {
        check_conflicts: false,
        ..Options::default()
    };
    assert!(run(&rows_shared_by(7, 20), &arguments, &relaxed).is_ok());
}

#[test]
fn the_element_is_named_for_any_strides() {
    for (offset, strides) in [(0, [1, 10]), (396, [-10, -1]), (36, [10, -1])] {
        let mut b = Builder::new("one");
        let out = b.tensor("out", ElementType::I32, 2);
        let (three, seven, one) = (b.index(3), b.index(7), b.literal(1i32));
        b.store(out, &[three, seven], one);
        let out = memory::<i32>(&[0; 100]);
        let found = conflict(&b.launch(2), &[strided(&out, offset, &[10, 10], &strides)]).unwrap();
        assert_eq!(found.element[..], [3, 7], "{strides:?}");
    }
}

#[test]
fn one_program_may_write_an_element_twice_and_read_it() {
    let mut b = Builder::new("twice");
    let out = b.tensor("out", ElementType::I8, 1);
    let row = b.program(0);
    let (one, two) = (b.literal(1i8), b.literal(2i8));
    b.store(out, &[row], one);
    let read = b.load(out, &[row]);
    let sum = b.add(read, two);
    b.store(out, &[row], sum);
    let out = memory::<i8>(&[0; 9]);
    run_default(&b.launch(9), &[whole::<i8>(&out)]).unwrap();
    assert_eq!(values::<i8>(&out), [3; 9]);
}

#[test]
fn rows_that_overlap_in_part_conflict_at_the_first_common_element() {
    let mut b = Builder::new("overlap");
    let out = b.tensor("out", ElementType::U16, 1);
    let (row, three, lanes, value) = (b.program(0), b.index(3), b.arange(4), b.literal(1u16));
    let start = b.mul(row, three);
    let place = b.add(start, lanes);
    b.store(out, &[place], value);
    let kernel = b.launch(600);
    let out = memory::<u16>(&[0; 2000]);
    for _ in 0..5 {
        let found = conflict(&kernel, &[whole::<u16>(&out)]).unwrap();
        let programs = found.accesses.map(|access| access.program);
        assert_eq!((found.element[0], programs), (3, [[0, 0, 0], [1, 0, 0]]));
    }
}

/// out[i + to] = out[i + from], one element a program.
fn shift(from: i64, to: i64) -> Kernel {
    let mut b = Builder::new("shift");
    let out = b.tensor("out", ElementType::F32, 1);
    let i = b.program(0);
    let (from, to) = (b.index(from), b.index(to));
    let (from, to) = (b.add(i, from), b.add(i, to));
    let value = b.load(out, &[from]);
    b.store(out, &[to], value);
    b.launch(3)
}

#[test]
fn a_program_that_reads_what_another_writes_is_named_with_it() {
    // Upwards, and downwards, where the values happen to be right when programs run in order.
    for (from, to, element, touches) in [
        (0, 1, 1, [Touch::Write, Touch::Read]),
        (1, 0, 1, [Touch::Read, Touch::Write]),
        (0, 2, 2, [Touch::Write, Touch::Read]),
    ] {
        let out = memory::<f32>(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let found = conflict(&shift(from, to), &[whole::<f32>(&out)]).unwrap();
        assert_eq!(found.element[..], [element]);
        assert_eq!(found.accesses.map(|access| access.touch), touches);
        assert!(found.accesses[0].program < found.accesses[1].program);
        let lines = found.accesses.map(|access| access.span.line);
        assert_eq!(
            lines[0] < lines[1],
            touches[0] == Touch::Read,
            "the load is written above the store"
        );
    }
    for at in [0, 1] {
        let out = memory::<f32>(&[1.0; 5]);
        assert_eq!(conflict(&shift(at, at), &[whole::<f32>(&out)]), None);
    }
    // A parallel run reads either value, but in one program nothing is parallel.
    let out = memory::<f32>(&[1.0; 5]);
    let alone = Options {
        grid: Some([1; 3]),
        ..Options::default()
    };
    assert!(run(&shift(0, 1), &[whole::<f32>(&out)], &alone).is_ok());
}

#[test]
fn an_index_that_is_read_from_a_tensor_that_another_program_writes_is_a_read() {
    let mut b = Builder::new("follow");
    let (next, out) = (
        b.tensor("next", ElementType::I64, 1),
        b.tensor("out", ElementType::I64, 1),
    );
    let (i, zero) = (b.program(0), b.index(0));
    let head = b.load(next, &[zero]);
    b.store(out, &[i], head);
    b.store(next, &[i], i);
    let kernel = b.launch(4);
    let (next, out) = (memory::<i64>(&[0; 4]), memory::<i64>(&[0; 4]));
    let found = conflict(&kernel, &[whole::<i64>(&next), whole::<i64>(&out)]).unwrap();
    assert_eq!((found.tensor.as_str(), found.element[0]), ("next", 0));
    assert_eq!(found.accesses.map(|access| access.touch), [Touch::Write, Touch::Read]);
}

/// One program that stores 16 elements where `index` says, in this way, to a tensor `out: i32[R]`.
fn one_store<const R: usize>(
    promise: Option<Promise>,
    bounds: Bounds,
    index: impl FnOnce(&mut Builder, Value) -> ([Value; R], Option<Value>),
) -> Kernel {
    let mut b = Builder::new("one");
    let out = b.tensor("out", ElementType::I32, R as u8);
    let lanes = b.arange(16);
    let (indices, mask) = index(&mut b, lanes);
    let value = b.cast(lanes, ElementType::I32);
    let mut access = b.access(out, &indices);
    (access.bounds, access.mask) = (bounds, mask);
    b.push(Statement::Store {
        access,
        value,
        conflict: promise,
    });
    b.launch(1)
}

fn divided(b: &mut Builder, lanes: Value, by: i64) -> Value {
    let (by, shape) = (b.index(by), b.shape(lanes));
    let by = b.stretch(by, shape);
    b.binary(BinaryOp::Divide, lanes, by)
}

#[test]
fn two_elements_of_one_store_in_one_place_are_reported() {
    let halves = |b: &mut Builder, lanes| ([divided(b, lanes, 2)], None);
    let out = memory::<i32>(&[0; 16]);
    let found = conflict(&one_store(None, Bounds::default(), halves), &[whole::<i32>(&out)]).unwrap();
    assert_eq!((found.element[0], found.accesses[0]), (0, found.accesses[1]));
    assert_eq!(
        found.to_string(),
        "kernel `one`: `out`[0] is written twice by one store of program [0, 0, 0] (kernel.rs:6:5)\n  = help: \
         make the indices differ, use `scatter` with `Conflict::LastWins`, or an atomic operation"
    );
    let found = conflict(
        &one_store(Some(Promise::Disjoint), Bounds::default(), halves),
        &[whole::<i32>(&out)],
    );
    assert_eq!(
        found.unwrap().to_string(),
        "kernel `one`: `out`[0] is written twice by program [0, 0, 0], in a scatter that is declared disjoint \
         (kernel.rs:6:5)\n  = help: make the indices differ, declare `Conflict::LastWins`, or use an atomic operation"
    );
    // The last of several writes is the one with the largest index.
    let last = one_store(Some(Promise::LastWins), Bounds::default(), halves);
    assert_eq!(conflict(&last, &[whole::<i32>(&out)]), None);
    assert_eq!(values::<i32>(&out)[..8], [1, 3, 5, 7, 9, 11, 13, 15]);
    let off = Options {
        check_conflicts: false,
        ..Options::default()
    };
    let kernel = one_store(None, Bounds::default(), halves);
    assert!(run(&kernel, &[whole::<i32>(&out)], &off).is_ok());
}

#[test]
fn elements_meet_whatever_brings_them_together() {
    type Indices = fn(&mut Builder, Value) -> ([Value; 1], Option<Value>);
    let place = |bounds, index: Indices| {
        let out = memory::<i32>(&[0; 64]);
        let found = conflict(&one_store(None, bounds, index), &[whole::<i32>(&out)]);
        found.map(|found| found.element[0])
    };
    let policy = Bounds::default();
    // One index for all, as a scalar and as an affine tile.
    let still: Indices = |b, lanes| {
        let (five, shape) = (b.index(5), b.shape(lanes));
        ([b.stretch(five, shape)], None)
    };
    assert_eq!(place(policy, still), Some(5));
    let steps = |by: i64| {
        move |b: &mut Builder, lanes: Value| {
            let (by, shape) = (b.index(by), b.shape(lanes));
            let by = b.stretch(by, shape);
            ([b.mul(lanes, by)], None)
        }
    };
    for (by, found) in [(0, Some(0)), (1, None), (-1, None), (3, None)] {
        let out = memory::<i32>(&[0; 64]);
        let kernel = one_store(None, policy, steps(by));
        assert_eq!(
            conflict(&kernel, &[whole::<i32>(&out)]).map(|found| found.element[0]),
            found
        );
    }
    // What a clamped access moves to the edge; what is skipped there is in nobody's way.
    let beyond: Indices = |b, lanes| {
        let (more, shape) = (b.index(50), b.shape(lanes));
        let more = b.stretch(more, shape);
        ([b.add(lanes, more)], None)
    };
    assert_eq!(place(Bounds::Clamp, beyond), Some(63));
    assert_eq!(place(policy, beyond), None);
    // A mask that leaves one element of each place.
    let even: Indices = |b, lanes| {
        let (half, two, shape) = (divided(b, lanes, 2), b.index(2), b.shape(lanes));
        let (two, zero) = (b.stretch(two, shape), b.index(0));
        let (rest, zero) = (b.binary(BinaryOp::Remainder, lanes, two), b.stretch(zero, shape));
        ([half], Some(b.compare(CompareOp::Equal, rest, zero)))
    };
    assert_eq!(place(policy, even), None);
    let most: Indices = |b, lanes| {
        let (half, three, shape) = (divided(b, lanes, 2), b.index(3), b.shape(lanes));
        let three = b.stretch(three, shape);
        ([half], Some(b.compare(CompareOp::Greater, lanes, three)))
    };
    assert_eq!(place(policy, most), Some(2));
}

#[test]
fn indices_from_a_tensor_meet_where_they_are_equal() {
    let mut b = Builder::new("indexed");
    let (out, index) = (
        b.tensor("out", ElementType::U8, 2),
        b.tensor("index", ElementType::I32, 1),
    );
    b.tensor_mut(index).mutable = false;
    let (lanes, one, zero) = (b.arange(6), b.literal(1u8), b.index(0));
    let rows = b.load(index, &[lanes]);
    let shape = b.shape(lanes);
    let value = b.stretch(one, shape);
    b.store(out, &[rows, zero], value);
    let kernel = b.launch(1);
    for (rows, found) in [
        ([0, 1, 2, 3, 4, 5], None),
        ([5, 3, 1, 0, 2, 4], None),
        ([5, 3, 1, 0, 2, 3], Some(3)),
        // Out of bounds, and so nowhere.
        ([9, 9, -1, -1, 0, 1], None),
    ] {
        let (out, index) = (memory::<u8>(&[0; 12]), memory::<i32>(&rows));
        let arguments = [HostArgument::contiguous(&out, &[6, 2]), whole::<i32>(&index)];
        let found_there = conflict(&kernel, &arguments).map(|found| found.element[0]);
        assert_eq!(found_there, found, "{rows:?}");
    }
}

#[test]
fn elements_of_a_tensor_that_share_memory_meet() {
    let mut b = Builder::new("tile");
    let out = b.tensor("out", ElementType::I16, 2);
    let (rows, cols, zero) = (b.arange(3), b.arange(4), b.literal(0i16));
    let rows = b.reshape(rows, &[3, 1]);
    let shape = Shape::new(&[3, 4]).unwrap();
    let value = b.stretch(zero, shape);
    let (rows, cols) = (b.stretch(rows, shape), b.stretch(cols, shape));
    b.store(out, &[rows, cols], value);
    let kernel = b.launch(1);
    for (strides, meets) in [
        ([4, 1], false),
        ([1, 3], false),
        ([-5, 1], false),
        // No axis steps over the other, and still all are apart.
        ([5, 3], false),
        ([3, 1], true),
        ([0, 1], true),
        ([4, 0], true),
        ([1, 1], true),
        ([4, 2], true),
    ] {
        let out = memory::<i16>(&[0; 64]);
        let found = conflict(&kernel, &[strided(&out, 40, &[3, 4], &strides)]);
        assert_eq!(found.is_some(), meets, "{strides:?}");
    }
}

#[test]
fn programs_that_run_in_order_meet_where_they_like() {
    let build = |promise: Option<Promise>| {
        let mut b = Builder::new("order");
        let (out, last) = (
            b.tensor("out", ElementType::I64, 1),
            b.tensor("last", ElementType::I64, 1),
        );
        let (i, one, zero) = (b.program(0), b.index(1), b.index(0));
        let next = b.add(i, one);
        let value = b.load(out, &[i]);
        b.store(out, &[next], value);
        b.store(out, &[zero], i);
        let access = b.access(last, &[zero]);
        b.push(Statement::Store {
            access,
            value: i,
            conflict: promise,
        });
        b.launch(3)
    };
    let (out, last) = (memory::<i64>(&[7; 4]), memory::<i64>(&[0; 1]));
    let arguments = [whole::<i64>(&out), whole::<i64>(&last)];
    assert_eq!(conflict(&build(Some(Promise::LastWins)), &arguments), None);
    assert_eq!((values::<i64>(&out), values::<i64>(&last)), (vec![2, 7, 7, 7], vec![2]));
    assert!(conflict(&build(None), &arguments).is_some());
    assert!(conflict(&build(Some(Promise::Disjoint)), &arguments).is_some());
}
