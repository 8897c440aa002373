//! Loops, branches and variables.

use super::run::{Argument, bind, check, schedule};
use crate::element::ElementType;
use crate::ir::verify::build::Builder;
use crate::ir::{BinaryOp, CompareOp, Statement};

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
