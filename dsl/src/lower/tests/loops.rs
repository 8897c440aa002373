//! Loops, branches and variables.

use super::run::{Argument, bind, check, schedule};
use crate::element::ElementType;
use crate::ir::verify::build::Builder;
use crate::ir::{BinaryOp, CompareOp, Literal, Statement};

const I64: ElementType = ElementType::I64;

fn checked(b: Builder, count: i64) {
    let mut kernel = b.launch(3);
    let arguments = [Argument::tensor(I64, &[3], 0, |_| 0), Argument::Count(count)];
    bind(&mut kernel, &arguments, false);
    check(&kernel, &schedule(32, 1), &arguments);
}

#[test]
fn a_loop_makes_the_trips_that_its_bounds_say() {
    for step in [1i128, 2, 3, 7, -1, -4, i128::from(i64::MAX)] {
        for count in [0, 1, 2, 6, 7, 8, 21] {
            let mut b = Builder::new("trips");
            let out = b.tensor("out", I64, 1);
            let n = b.count("n");
            let (program, zero, ten) = (b.program(0), b.index(0), b.index(10));
            let sum = b.variable("sum", program);
            let (start, end) = if step > 0 { (zero, n) } else { (n, zero) };
            b.for_loop(start, end, step, |b, i| {
                let before = b.read(sum);
                let more = b.mul(before, ten);
                let after = b.add(more, i);
                b.assign(sum, after);
            });
            let sum = b.read(sum);
            b.store(out, &[program], sum);
            checked(b, count);
        }
    }
}

/// The sum of what a loop counts, and of its trips, over bounds that are scalars of a type.
fn long<T: crate::element::Element>(start: T, end: T, step: i128) {
    let mut b = Builder::new("long");
    let out = b.tensor("out", T::TYPE, 1);
    let (first, last) = (b.scalar("first", T::TYPE), b.scalar("last", T::TYPE));
    let zero = b.index(0);
    let (sum, one) = (b.variable("sum", first), b.index(1));
    let one = b.cast(one, T::TYPE);
    b.for_loop(first, last, step, |b, i| {
        let before = b.read(sum);
        let more = b.add(before, i);
        let more = b.add(more, one);
        b.assign(sum, more);
    });
    let sum = b.read(sum);
    b.store(out, &[zero], sum);
    let mut kernel = b.launch(1);
    let arguments = [
        Argument::tensor(T::TYPE, &[1], 0, |_| 0),
        Argument::Scalar(Literal::new(start)),
        Argument::Scalar(Literal::new(end)),
    ];
    bind(&mut kernel, &arguments, false);
    check(&kernel, &schedule(32, 1), &arguments);
}

#[test]
fn loops_between_any_two_integers_make_the_trips_that_their_bounds_say() {
    for step in [
        1i128 << 62,
        -(1i128 << 62),
        (1 << 64) - 1,
        1 - (1i128 << 64),
        (1 << 63) + 5,
    ] {
        for (start, end) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (5, 5), (-1, 1), (1, -1)] {
            long(start, end, step);
        }
        for (start, end) in [(0, u64::MAX), (u64::MAX, 0), (1 << 63, (1 << 63) + 9), (7, 7)] {
            long(start, end, step);
        }
        for (start, end) in [(i32::MIN, i32::MAX), (i32::MAX, i32::MIN)] {
            long(start, end, step);
        }
    }
    for (start, end) in [(i64::MIN, i64::MIN + 20), (i64::MAX - 20, i64::MAX), (-10, 11)] {
        for step in [1, 3, 7] {
            long(start, end, step);
            long(end, start, -step);
        }
    }
    for step in [1, 3, 7] {
        long(u64::MAX - 20, u64::MAX, step);
        long(u64::MAX, u64::MAX - 20, -step);
        long((1u64 << 63) - 9, (1 << 63) + 9, step);
    }
}

/// A loop from a number that is in the code to one that is not.
fn from_there(start: i64, end: i64, step: i128) {
    let mut b = Builder::new("from_there");
    let out = b.tensor("out", I64, 1);
    let (first, last, zero, one) = (b.index(start), b.scalar("last", I64), b.index(0), b.index(1));
    let trips = b.variable("trips", zero);
    b.for_loop(first, last, step, |b, _| {
        let before = b.read(trips);
        let after = b.add(before, one);
        b.assign(trips, after);
    });
    let trips = b.read(trips);
    b.store(out, &[zero], trips);
    let mut kernel = b.launch(1);
    let arguments = [
        Argument::tensor(I64, &[1], 0, |_| 7),
        Argument::Scalar(Literal::new(end)),
    ];
    bind(&mut kernel, &arguments, false);
    check(&kernel, &schedule(32, 1), &arguments);
}

#[test]
fn a_loop_whose_end_lies_far_behind_its_start_makes_no_trip() {
    for near in [i64::MIN, i64::MIN + 3, -7, -1, 0, 1, 5, i64::MAX - 3, i64::MAX] {
        for far in [i64::MIN, i64::MIN + 1, -2, 0, 1, i64::MAX - 1, i64::MAX] {
            for step in [1, 2] {
                let forwards = i128::from(far) - i128::from(near);
                if forwards <= 64 {
                    from_there(near, far, step);
                }
                if forwards >= -64 {
                    from_there(near, far, -step);
                }
            }
        }
    }
}

#[test]
fn what_stands_behind_a_jump_that_is_always_made_is_left_out() {
    for jump in [Statement::Return, Statement::Break, Statement::Continue] {
        let mut b = Builder::new("behind");
        let out = b.tensor("out", I64, 1);
        let n = b.count("n");
        let (zero, one, cols) = (b.index(0), b.index(1), b.arange(40));
        let always = b.compare(CompareOp::Less, zero, one);
        b.for_loop(zero, n, 1, |b, i| {
            b.store(out, &[i], i);
            let sum = b.variable("sum", i);
            b.if_else(always, |b| b.push(jump.clone()), |_| {});
            b.assign(sum, n);
            let sum = b.read(sum);
            let sum = b.add(cols, sum);
            b.store(out, &[cols], sum);
        });
        b.store(out, &[one], n);
        let mut kernel = b.launch(1);
        let arguments = [Argument::tensor(I64, &[40], 0, |at| at + 7), Argument::Count(3)];
        bind(&mut kernel, &arguments, false);
        check(&kernel, &schedule(32, 1), &arguments);
    }
}

#[test]
fn a_long_loop_is_left_and_continued() {
    let mut b = Builder::new("left");
    let out = b.tensor("out", I64, 1);
    let (first, last) = (b.scalar("first", I64), b.scalar("last", I64));
    let (program, two, limit) = (b.program(0), b.index(2), b.index(12));
    let sum = b.variable("sum", program);
    b.for_loop(first, last, 1, |b, i| {
        let odd = b.binary(BinaryOp::Remainder, i, two);
        let odd = b.compare(CompareOp::NotEqual, odd, program);
        b.if_else(odd, |b| b.push(Statement::Continue), |_| {});
        let all = b.read(sum);
        let all = b.add(all, i);
        b.assign(sum, all);
        let enough = b.compare(CompareOp::Greater, i, limit);
        b.if_else(enough, |b| b.push(Statement::Break), |_| {});
    });
    let sum = b.read(sum);
    b.store(out, &[program], sum);
    let mut kernel = b.launch(2);
    let bounds = [-3i64, i64::MAX - 1].map(|bound| Argument::Scalar(Literal::new(bound)));
    let [first, last] = bounds;
    let arguments = [Argument::tensor(I64, &[3], 0, |_| 0), first, last];
    bind(&mut kernel, &arguments, false);
    check(&kernel, &schedule(32, 1), &arguments);
}

#[test]
fn loops_are_left_and_continued_from_where_it_is_said() {
    for count in [0, 1, 5, 9, 40] {
        let mut b = Builder::new("left");
        let out = b.tensor("out", I64, 1);
        let n = b.count("n");
        let (program, one, two, limit) = (b.program(0), b.index(1), b.index(2), b.index(30));
        let (i, sum) = (b.variable("i", program), b.variable("sum", program));
        b.while_loop(
            |b| {
                let i = b.read(i);
                b.compare(CompareOp::Less, i, n)
            },
            |b| {
                let before = b.read(i);
                let next = b.add(before, one);
                b.assign(i, next);
                let odd = b.binary(BinaryOp::Remainder, before, two);
                let odd = b.compare(CompareOp::Equal, odd, one);
                b.if_else(odd, |b| b.push(Statement::Continue), |_| {});
                let all = b.read(sum);
                let all = b.add(all, before);
                b.assign(sum, all);
                let enough = b.compare(CompareOp::Greater, all, limit);
                b.if_else(enough, |b| b.push(Statement::Break), |_| {});
            },
        );
        let last = b.compare(CompareOp::Equal, program, two);
        b.if_else(last, |b| b.push(Statement::Return), |_| {});
        let sum = b.read(sum);
        b.store(out, &[program], sum);
        checked(b, count);
    }
}
