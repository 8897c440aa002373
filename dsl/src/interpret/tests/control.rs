//! Control flow and locals.

use super::*;
use crate::ir::{BinaryOp, CompareOp, Statement, Type};

/// What one program that records its answers in `out`, an i64 tensor of 4, writes.
fn answers(fill: impl FnOnce(&mut Builder, u32)) -> Vec<i64> {
    let mut b = Builder::new("control");
    let out = b.tensor("out", ElementType::I64, 1);
    fill(&mut b, out);
    let out = memory::<i64>(&[-1; 4]);
    run(
        &b.launch(1),
        &[whole::<i64>(&out)],
        &Options {
            max_steps: 10_000,
            ..Options::default()
        },
    )
    .unwrap();
    values(&out)
}

#[test]
fn a_conditional_runs_one_branch() {
    for (condition, expected) in [(true, [1, -1, -1, -1]), (false, [-1, 2, -1, -1])] {
        let out = answers(|b, out| {
            let (condition, zero, one, two) = (b.literal(condition), b.index(0), b.index(1), b.index(2));
            b.if_else(condition, |b| b.store(out, &[zero], one), |b| b.store(out, &[one], two));
        });
        assert_eq!(out, expected);
    }
}

#[test]
fn a_while_loop_computes_its_header_before_every_trip() {
    // The powers of two below 100 are 7.
    let out = answers(|b, out| {
        let (zero, one, two, hundred) = (b.index(0), b.index(1), b.index(2), b.index(100));
        let (power, count) = (b.variable("power", one), b.variable("count", zero));
        b.while_loop(
            |b| {
                let now = b.read(power);
                b.compare(CompareOp::Less, now, hundred)
            },
            |b| {
                let (p, c) = (b.read(power), b.read(count));
                let (p, c) = (b.mul(p, two), b.add(c, one));
                b.assign(power, p);
                b.assign(count, c);
            },
        );
        let (power, count) = (b.read(power), b.read(count));
        b.store(out, &[zero], power);
        b.store(out, &[one], count);
    });
    assert_eq!(out, [128, 7, -1, -1]);
}

/// The sum of the values of a loop, and how many there were.
fn sum_of_loop(start: i64, end: i64, step: i128) -> (i64, i64) {
    let out = answers(|b, out| {
        let (zero, one, start, end) = (b.index(0), b.index(1), b.index(start), b.index(end));
        let (sum, count) = (b.variable("sum", zero), b.variable("count", zero));
        b.for_loop(start, end, step, |b, i| {
            let (s, c) = (b.read(sum), b.read(count));
            let (s, c) = (b.add(s, i), b.add(c, one));
            b.assign(sum, s);
            b.assign(count, c);
        });
        let (sum, count) = (b.read(sum), b.read(count));
        b.store(out, &[zero], sum);
        b.store(out, &[one], count);
    });
    (out[0], out[1])
}

#[test]
fn a_for_loop_counts_both_ways_and_stops_before_its_end() {
    assert_eq!(sum_of_loop(2, 11, 3), (2 + 5 + 8, 3));
    assert_eq!(sum_of_loop(5, 0, -2), (5 + 3 + 1, 3));
    assert_eq!(sum_of_loop(5, 5, 1), (0, 0));
    assert_eq!(sum_of_loop(0, 9, -1), (0, 0));
    assert_eq!(sum_of_loop(9, 0, 1), (0, 0));
    assert_eq!(sum_of_loop(i64::MAX - 1, i64::MAX, 5), (i64::MAX - 1, 1));
    assert_eq!(sum_of_loop(i64::MIN + 3, i64::MIN, i64::MIN.into()), (i64::MIN + 3, 1));
}

#[test]
fn a_loop_over_a_narrow_type_ends_at_the_end_of_the_type() {
    let out = answers(|b, out| {
        let (start, end, zero, one) = (b.literal(250u8), b.literal(255u8), b.index(0), b.index(1));
        let count = b.variable("count", zero);
        b.for_loop(start, end, 2, |b, i| {
            let wide = b.cast(i, ElementType::I64);
            b.store(out, &[one], wide);
            let c = b.read(count);
            let c = b.add(c, one);
            b.assign(count, c);
        });
        let count = b.read(count);
        b.store(out, &[zero], count);
    });
    assert_eq!(out, [3, 254, -1, -1]);
}

#[test]
fn break_and_continue_belong_to_the_innermost_loop() {
    // Of 0..4 outer and 0..10 inner trips, the inner loop skips odd values and ends at 6: it counts 0, 2, 4.
    let out = answers(|b, out| {
        let (zero, one, two, four, six, ten) =
            (b.index(0), b.index(1), b.index(2), b.index(4), b.index(6), b.index(10));
        let count = b.variable("count", zero);
        b.for_loop(zero, four, 1, |b, _| {
            b.for_loop(zero, ten, 1, |b, i| {
                let end = b.compare(CompareOp::Equal, i, six);
                b.if_else(end, |b| b.push(Statement::Break), |_| {});
                let odd = b.binary(BinaryOp::Remainder, i, two);
                let odd = b.compare(CompareOp::Equal, odd, one);
                b.if_else(odd, |b| b.push(Statement::Continue), |_| {});
                let c = b.read(count);
                let c = b.add(c, one);
                b.assign(count, c);
            });
        });
        let forever = b.literal(true);
        b.while_loop(
            |_| forever,
            |b| {
                let c = b.read(count);
                let c = b.add(c, ten);
                b.assign(count, c);
                let done = b.compare(CompareOp::Greater, c, ten);
                b.if_else(done, |b| b.push(Statement::Break), |b| b.push(Statement::Continue));
            },
        );
        let count = b.read(count);
        b.store(out, &[zero], count);
    });
    assert_eq!(out[0], 22);
}

#[test]
fn return_ends_the_program_from_inside_loops() {
    let out = answers(|b, out| {
        let (zero, one, nine) = (b.index(0), b.index(1), b.index(9));
        b.for_loop(zero, nine, 1, |b, i| {
            b.store(out, &[zero], i);
            let end = b.compare(CompareOp::Equal, i, one);
            b.while_loop(|_| end, |b| b.push(Statement::Return));
        });
        b.store(out, &[one], nine);
    });
    assert_eq!(out, [1, -1, -1, -1]);
}

#[test]
fn a_local_holds_a_tile_and_a_read_keeps_the_value_of_its_moment() {
    let out = answers(|b, out| {
        let lanes = b.arange(4);
        let tile = b.variable("tile", lanes);
        let before = b.read(tile);
        let (zero, three) = (b.index(0), b.index(3));
        b.for_loop(zero, three, 1, |b, _| {
            let now = b.read(tile);
            let twice = b.add(now, now);
            b.assign(tile, twice);
        });
        let after = b.read(tile);
        let difference = b.binary(BinaryOp::Subtract, after, before);
        b.store(out, &[lanes], difference);
    });
    assert_eq!(out, [0, 7, 14, 21]);
}

#[test]
fn a_local_assigned_in_both_branches_joins_them() {
    let out = answers(|b, out| {
        let (condition, zero, one, two) = (b.literal(false), b.index(0), b.index(1), b.index(2));
        let x = b.declare("x", Type::INDEX);
        b.if_else(condition, |b| b.assign(x, one), |b| b.assign(x, two));
        let x = b.read(x);
        b.store(out, &[zero], x);
    });
    assert_eq!(out[0], 2);
}

#[test]
fn programs_know_their_place_in_the_grid() {
    let mut b = Builder::new("places");
    let out = b.tensor("out", ElementType::I64, 3);
    let ids = [b.program(2), b.program(1), b.program(0)];
    let sizes = [0, 1, 2].map(|axis| b.symbol(crate::ir::Symbol::NumPrograms(axis)));
    let (plane, line) = (b.mul(ids[0], sizes[1]), b.add(ids[1], ids[1]));
    let line = b.binary(BinaryOp::Subtract, line, ids[1]);
    let line = b.add(plane, line);
    let place = b.mul(line, sizes[0]);
    let place = b.add(place, ids[2]);
    b.store(out, &ids, place);
    let grid = [2, 1, 0].map(|axis| b.extent(out, axis));
    let kernel = b.finish(&grid);
    let out = memory::<i64>(&[-1; 24]);
    let outcome = run_default(&kernel, &[HostArgument::contiguous(&out, &[2, 3, 4])]).unwrap();
    assert_eq!(outcome.grid, [4, 3, 2]);
    assert_eq!(values::<i64>(&out), (0..24).collect::<Vec<_>>());
}
