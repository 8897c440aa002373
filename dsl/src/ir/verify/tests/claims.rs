//! What authors claim and demand.

use super::*;
use crate::ir::{CheckKind, Conflict, Expression, Statement, Type};

#[test]
fn a_check_tests_bools() {
    let (mut b, ..) = builder();
    let condition = b.literal(1i32);
    b.push(Statement::Check {
        condition,
        kind: CheckKind::Assert,
        message: "it holds".into(),
    });
    let fault = fault(b);
    assert_eq!(fault, Fault::CheckType(Type::scalar(ElementType::I32)));
    assert_eq!(
        fault.to_string(),
        "a check is of the type i32; it must be a bool or a tile of bool"
    );
}

#[test]
fn a_check_sees_what_is_in_scope() {
    let (mut b, ..) = builder();
    let condition = b.append(Expression::Arange(3));
    b.push(Statement::Check {
        condition,
        kind: CheckKind::Assume,
        message: String::new(),
    });
    assert_eq!(fault(b), Fault::OutOfScope(condition.index()));
}

#[test]
fn only_integers_are_multiples_of_numbers_that_they_can_hold() {
    for (value, by) in [(ElementType::F32, 4), (ElementType::I8, 128), (ElementType::I64, 0)] {
        let (mut b, ..) = builder();
        let operand = b.scalar("x", value);
        b.append(Expression::MultipleOf { value: operand, by });
        b.kernel.types.pop();
        b.kernel.types.push(Type::scalar(value));
        assert_eq!(fault(b), Fault::MultipleOf(Type::scalar(value), by));
    }
    let (mut b, ..) = builder();
    let value = b.scalar("x", ElementType::U8);
    b.emit(Expression::MultipleOf { value, by: 255 });
    let grid = b.index(1);
    assert_eq!(b.verified(&[grid]).map(|_| ()), Ok(()));
}

#[test]
fn contracts_and_claims_show_in_the_text() {
    let (mut b, _, index) = builder();
    let (at, value, holds) = (b.index(2), b.literal(5i32), b.literal(true));
    let start = b.program(0);
    let start = b.emit(Expression::MultipleOf { value: start, by: 8 });
    for conflict in [Conflict::Disjoint, Conflict::LastWins] {
        let access = b.access(index, &[at]);
        b.push(Statement::Store {
            access,
            value,
            conflict: Some(conflict),
        });
    }
    b.push(Statement::Check {
        condition: holds,
        kind: CheckKind::Assert,
        message: "a \"name\"".into(),
    });
    b.variable("start", start);
    b.kernel.checked = true;
    let grid = b.index(1);
    let text = b.verified(&[grid]).unwrap().to_string();
    for line in [
        "checked\n",
        "multiple_of 8 program(0) : i64\n",
        "store disjoint index[2i64] guard",
        "store last_wins index[2i64] guard",
        "assert true \"a \\\"name\\\"\"\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_printed_line_has_a_place_for_every_scalar() {
    let print = |format: &str, element: ElementType| {
        let (mut b, ..) = builder();
        let value = b.scalar("x", element);
        b.push(Statement::Print {
            format: format.into(),
            values: vec![value],
        });
        fault(b)
    };
    assert_eq!(
        print("none", ElementType::I32),
        Fault::PrintValues { places: 0, values: 1 }
    );
    let storage = ElementType::F8E4M3;
    assert_eq!(print("{}", storage), Fault::PrintType(Type::scalar(storage)));
    let (mut b, ..) = builder();
    let values = vec![b.arange(4)];
    b.push(Statement::Print {
        format: "{}".into(),
        values: values.clone(),
    });
    let ty = b.kernel.ty(values[0]);
    assert_eq!(fault(b), Fault::PrintType(ty));
}
