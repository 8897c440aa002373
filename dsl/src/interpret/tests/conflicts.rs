//! Two programs that write one element.

use super::*;
use crate::ir::BinaryOp;

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
    assert!(run_default(&rows_shared_by(1, 1000), &[Binding::contiguous(&out, &[1000, 4])]).is_ok());
}

#[test]
fn two_programs_writing_one_row_are_named() {
    let out = memory::<i32>(&[0; 4000]);
    let arguments = [strided(&out, 0, &[100, 4], &[8, 2])];
    let error = run_default(&rows_shared_by(7, 20), &arguments).unwrap_err();
    let InterpretError::WriteConflict(conflict) = error else {
        panic!("{error}")
    };
    assert_eq!((conflict.tensor.as_str(), &conflict.element[..]), ("out", &[0, 0][..]));
    assert_eq!((conflict.programs, conflict.span), ([[0, 0, 0], [1, 0, 0]], line(6)));
    assert_eq!(
        conflict.to_string(),
        "kernel `rows`: programs [0, 0, 0] and [1, 0, 0] both wrote `out`[0, 0] (kernel.rs:6:5)"
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
        let error = run_default(&b.launch(2), &[strided(&out, offset, &[10, 10], &strides)]).unwrap_err();
        let InterpretError::WriteConflict(conflict) = error else {
            panic!("{error}")
        };
        assert_eq!(conflict.element[..], [3, 7], "{strides:?}");
    }
}

#[test]
fn one_program_may_write_an_element_twice() {
    let mut b = Builder::new("twice");
    let out = b.tensor("out", ElementType::I8, 1);
    let (row, lanes) = (b.program(0), b.arange(5));
    let (one, two, zero) = (b.literal(1i8), b.literal(2i8), b.index(0));
    // Two stores of one program, and one store whose elements all have one place.
    b.store(out, &[row], one);
    b.store(out, &[row], two);
    let place = b.mul(lanes, zero);
    let place = b.add(place, row);
    b.store(out, &[place], one);
    let out = memory::<i8>(&[0; 9]);
    run_default(&b.launch(9), &[whole::<i8>(&out)]).unwrap();
    assert_eq!(values::<i8>(&out), [1; 9]);
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
        let error = run_default(&kernel, &[whole::<u16>(&out)]).unwrap_err();
        let InterpretError::WriteConflict(conflict) = error else {
            panic!("{error}")
        };
        assert_eq!((conflict.element[0], conflict.programs), (3, [[0, 0, 0], [1, 0, 0]]));
    }
}
