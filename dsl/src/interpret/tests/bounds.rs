//! Policies, guards and what becomes of accesses outside.

use super::*;
use crate::ir::{Bounds, Expression, Guard, Statement};

/// out[i] = src[i + shift] for 4 lanes, under `bounds`; `guard` changes that of the load.
fn shifted(bounds: Bounds, guard: Option<Guard>) -> Kernel {
    let mut b = Builder::new("shifted");
    let out = b.tensor("out", ElementType::I32, 1);
    let src = b.tensor("src", ElementType::I32, 1);
    let shift = b.scalar("shift", ElementType::I64);
    let lanes = b.arange(4);
    let from = b.add(lanes, shift);
    b.bounds = bounds;
    let mut access = b.access(src, &[from]);
    access.guards[0] = guard.unwrap_or(access.guards[0]);
    let value = b.emit(Expression::Load(access));
    b.bounds = Bounds::ReadZeroSkipWrite;
    b.store(out, &[lanes], value);
    b.launch(1)
}

fn run_shifted(bounds: Bounds, guard: Option<Guard>, shift: i64) -> (Result<Outcome, InterpretError>, Vec<i32>) {
    let (out, src) = (memory::<i32>(&[-1; 4]), memory::<i32>(&[10, 11, 12, 13, 14]));
    let arguments = [
        whole::<i32>(&out),
        whole::<i32>(&src),
        HostArgument::Scalar(Literal::index(shift)),
    ];
    let result = run_default(&shifted(bounds, guard), &arguments);
    (result, values(&out))
}

#[test]
fn skipping_reads_zero_on_both_sides() {
    assert_eq!(run_shifted(Bounds::ReadZeroSkipWrite, None, 3).1, [13, 14, 0, 0]);
    assert_eq!(run_shifted(Bounds::ReadZeroSkipWrite, None, -2).1, [0, 0, 10, 11]);
    assert_eq!(
        run_shifted(Bounds::ReadZeroSkipWrite, None, i64::MAX - 1).1,
        [0, 0, 0, 0]
    );
    assert_eq!(
        run_shifted(Bounds::ReadZeroSkipWrite, None, 1).0.map(|o| o.outside),
        Ok(None)
    );
}

#[test]
fn clamping_takes_the_nearest_element() {
    assert_eq!(run_shifted(Bounds::Clamp, None, 3).1, [13, 14, 14, 14]);
    assert_eq!(run_shifted(Bounds::Clamp, None, -2).1, [10, 10, 10, 11]);
    // The index wraps within the tile.
    assert_eq!(run_shifted(Bounds::Clamp, None, i64::MAX - 1).1, [14, 14, 10, 10]);
}

#[test]
fn clamping_to_an_empty_tensor_reads_zero() {
    let (out, src) = (memory::<i32>(&[-1; 4]), HostMemory::zeroed(0).unwrap());
    let arguments = [
        whole::<i32>(&out),
        HostArgument::contiguous(&src, &[0]),
        HostArgument::Scalar(Literal::index(0)),
    ];
    run_default(&shifted(Bounds::Clamp, None), &arguments).unwrap();
    assert_eq!(values::<i32>(&out), [0; 4]);
}

#[test]
fn a_trap_is_reported_and_the_rest_runs_on() {
    let (result, out) = run_shifted(Bounds::Trap, None, 3);
    assert_eq!(out, [13, 14, 0, 0]);
    let Err(InterpretError::OutOfBounds(bad)) = result else {
        panic!("{result:?}")
    };
    let expected = BadAccess {
        kernel: "shifted".into(),
        span: line(5),
        tensor: "src".into(),
        axis: 0,
        index: 5,
        extent: 5,
        program: [0, 0, 0],
    };
    assert_eq!(*bad, expected);
    assert_eq!(
        InterpretError::OutOfBounds(bad).to_string(),
        "out of bounds: kernel `shifted`, program [0, 0, 0]: index 5 of axis 0 of `src`, whose extent is 5 (kernel.rs:5:5)"
    );
}

#[test]
fn of_several_traps_the_first_in_program_order_is_reported() {
    let mut b = Builder::new("traps");
    let out = b.tensor("out", ElementType::I32, 1);
    b.bounds = Bounds::Trap;
    let (row, value) = (b.program(0), b.literal(1i32));
    b.store(out, &[row], value);
    let kernel = b.launch(5000);
    let out = memory::<i32>(&[0; 70]);
    for _ in 0..5 {
        let Err(InterpretError::OutOfBounds(bad)) = run_default(&kernel, &[whole::<i32>(&out)]) else {
            panic!()
        };
        assert_eq!((bad.program, bad.index), ([70, 0, 0], 70));
    }
    assert_eq!(values::<i32>(&out), [1; 70]);
}

#[test]
fn an_unchecked_access_outside_is_an_error_all_the_same() {
    let (result, out) = run_shifted(Bounds::Unchecked, None, 2);
    let Err(InterpretError::OutOfBounds(bad)) = result else {
        panic!("{result:?}")
    };
    assert_eq!((bad.tensor.as_str(), bad.index), ("src", 5));
    assert_eq!(out, [-1; 4]);
    assert_eq!(run_shifted(Bounds::Unchecked, None, 1).1, [11, 12, 13, 14]);
}

#[test]
fn an_index_beyond_a_removed_guard_is_an_unsound_proof() {
    let (lower, upper) = (
        Guard {
            lower: true,
            upper: false,
        },
        Guard {
            lower: false,
            upper: true,
        },
    );
    for bounds in [Bounds::ReadZeroSkipWrite, Bounds::Clamp, Bounds::Trap] {
        for (guard, shift, index) in [(lower, 3, 5), (upper, -1, -1), (Guard::NONE, 2, 5)] {
            let (result, _) = run_shifted(bounds, Some(guard), shift);
            let Err(InterpretError::UnsoundProof(bad)) = result else {
                panic!("{result:?}")
            };
            assert_eq!(bad.index, index);
        }
        assert!(matches!(
            run_shifted(bounds, Some(upper), 3).0,
            Ok(_) | Err(InterpretError::OutOfBounds(_))
        ));
        assert!(run_shifted(bounds, Some(Guard::NONE), 1).0.is_ok());
    }
}

#[test]
fn a_masked_element_may_be_anywhere() {
    let mut b = Builder::new("masked");
    let out = b.tensor("out", ElementType::I32, 1);
    b.bounds = Bounds::Unchecked;
    let (lanes, extent, value) = (b.arange(9), b.extent(out, 0), b.literal(3i32));
    let mask = b.compare(crate::ir::CompareOp::Less, lanes, extent);
    let value = b.stretch(value, b.shape(lanes));
    b.store_where(out, &[lanes], value, mask);
    let out = memory::<i32>(&[0; 4]);
    assert_eq!(
        run_default(&b.launch(1), &[whole::<i32>(&out)]).map(|o| o.outside),
        Ok(None)
    );
    assert_eq!(values::<i32>(&out), [3; 4]);
}

#[test]
fn an_endless_loop_meets_its_limit() {
    let mut b = Builder::new("endless");
    let forever = b.literal(true);
    let (row, three) = (b.program(0), b.index(3));
    let late = b.compare(crate::ir::CompareOp::GreaterEqual, row, three);
    b.if_else(
        late,
        |b| b.while_loop(|_| forever, |_| {}),
        |b| b.push(Statement::Return),
    );
    let options = Options {
        max_steps: 1000,
        ..Options::default()
    };
    let error = run(&b.launch(40), &[], &options).unwrap_err();
    let kernel = "endless".to_string();
    assert_eq!(
        error,
        InterpretError::StepLimit {
            kernel,
            span: line(3),
            program: [3, 0, 0],
            limit: 1000
        }
    );
}
