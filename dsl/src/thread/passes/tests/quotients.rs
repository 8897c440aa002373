//! Where packets are divided.

use super::super::quotients;
use super::*;

/// Packets of two divisors, the second of which `between` makes, and what is stored of both: where each quotient stands.
fn quotients(between: impl Fn(&mut Example, Use) -> Use) -> Vec<usize> {
    let kernel = changed(
        |e| {
            let packet = Type::packet(ElementType::F32, 4);
            let load = strided(e, 16);
            let dividends = e.b.load(Load { ty: packet, ..load });
            let divide = |e: &mut Example, by| e.b.binary(BinaryOp::Divide, dividends, by);
            let first = divide(e, Literal::new(3f32).into());
            let place = e.own(e.target, 32);
            let store = |e: &mut Example, value, place| {
                let store = e.store(value);
                e.b.store(Store { place, ..store });
            };
            store(e, first, place);
            let by = between(e, first);
            let second = divide(e, by);
            let offset = e.b.indices().offset(place.offset, 16);
            store(e, second, Place { offset, ..place });
        },
        quotients::run,
    );
    let statements = kernel.body.iter().enumerate();
    let divides = statements.filter(|(_, (statement, _))| match statement {
        Statement::Let { value, operation } => kernel.divides_several(*value, operation),
        _ => false,
    });
    divides.map(|(at, _)| at).collect()
}

#[test]
fn packets_are_divided_one_after_the_other_unless_one_needs_what_comes_of_another() {
    let together = |between: fn(&mut Example, Use) -> Use| {
        let found = quotients(between);
        found[1] == found[0] + 1
    };
    // What the second divisor is made of is computed ahead.
    assert!(together(|e, _| {
        let load = strided(e, 4);
        let ty = Type::scalar(ElementType::F32);
        e.b.load(Load { ty, ..load });
        e.b.binary(BinaryOp::Add, Literal::new(1f32).into(), Literal::new(4f32).into())
    }));
    assert!(together(|e, _| {
        let two = Literal::new(2f32).into();
        e.b.binary(BinaryOp::Multiply, two, two)
    }));
    // Not what is found of the first quotients, loaded behind them, or found together.
    assert!(!together(|e, first| e.b.part(first, 1, 1)));
    assert!(!together(|e, _| {
        let load = strided(e, 4);
        let ty = Type::scalar(ElementType::F32);
        e.b.load(Load { ty, ..load })
    }));
    assert!(!together(|e, _| {
        handed(e);
        Literal::new(7f32).into()
    }));
}
