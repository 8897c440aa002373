//! Scopes, control flow and locals.

use super::*;
use crate::ir::{CompareOp, Expression, Statement, Type, UnaryOp};

fn negated(value: crate::ir::Handle<Expression>) -> Expression {
    Expression::Unary {
        op: UnaryOp::Negate,
        value,
    }
}

#[test]
fn global_values_are_not_defined() {
    let (mut b, ..) = builder();
    let one = b.index(1);
    b.push(Statement::Let(one));
    assert_eq!(fault(b), Fault::LetOfGlobal(0));
}

#[test]
fn loop_values_are_defined_by_their_loop_only() {
    let (mut b, ..) = builder();
    let i = b.append(Expression::Induction(ElementType::I64));
    b.push(Statement::Let(i));
    assert_eq!(fault(b), Fault::LetOfInduction(0));
}

#[test]
fn a_value_is_defined_once() {
    let (mut b, ..) = builder();
    let tile = b.arange(3);
    b.push(Statement::Let(tile));
    assert_eq!(fault(b), Fault::Redefinition(0));
}

#[test]
fn two_loops_cannot_share_a_value() {
    let (mut b, ..) = builder();
    let zero = b.index(0);
    let mut value = None;
    b.for_loop(zero, zero, 1, |_, i| value = Some(i));
    let body = b.block(|_| {});
    b.push(Statement::For {
        induction: value.unwrap(),
        start: zero,
        end: zero,
        step: 1,
        body,
    });
    assert_eq!(fault(b), Fault::Redefinition(1));
}

#[test]
fn a_value_is_used_after_its_definition() {
    let (mut b, ..) = builder();
    let x = b.scalar("x", ElementType::I64);
    let undefined = b.append(negated(x));
    b.emit(negated(undefined));
    b.push(Statement::Let(undefined));
    assert_eq!(fault(b), Fault::OutOfScope(1));
}

#[test]
fn a_value_of_one_branch_is_unknown_to_the_other_and_afterwards() {
    for afterwards in [false, true] {
        let (mut b, ..) = builder();
        let (x, condition) = (b.scalar("x", ElementType::I64), b.literal(true));
        let inner = b.append(negated(x));
        let accept = b.block(|b| b.push(Statement::Let(inner)));
        let reject = b.block(|b| {
            if !afterwards {
                b.emit(negated(inner));
            }
        });
        b.push(Statement::If {
            condition,
            accept,
            reject,
        });
        if afterwards {
            b.emit(negated(inner));
        }
        assert_eq!(fault(b), Fault::OutOfScope(2));
    }
}

#[test]
fn what_a_header_defines_is_known_in_the_body_and_not_after_the_loop() {
    for afterwards in [false, true] {
        let (mut b, ..) = builder();
        let x = b.scalar("x", ElementType::I64);
        let inner = std::cell::Cell::new(None);
        b.while_loop(
            |b| {
                let value = b.emit(negated(x));
                inner.set(Some(value));
                b.compare(CompareOp::Less, value, x)
            },
            |b| {
                b.emit(negated(inner.get().unwrap()));
            },
        );
        if afterwards {
            b.emit(negated(inner.get().unwrap()));
        }
        let grid = b.index(1);
        let result = b.verified(&[grid]).map(|_| ()).map_err(|e| e.fault);
        assert_eq!(
            result,
            if afterwards {
                Err(Fault::OutOfScope(inner.get().unwrap().index()))
            } else {
                Ok(())
            }
        );
    }
}

#[test]
fn a_loop_value_is_unknown_after_its_loop_and_without_one() {
    let (mut b, ..) = builder();
    let zero = b.index(0);
    let mut value = None;
    b.for_loop(zero, zero, 1, |_, i| value = Some(i));
    b.emit(negated(value.unwrap()));
    assert_eq!(fault(b), Fault::OutOfScope(1));
    let (mut b, ..) = builder();
    let i = b.append(Expression::Induction(ElementType::I64));
    b.emit(negated(i));
    assert_eq!(fault(b), Fault::OutOfScope(0));
}

#[test]
fn a_for_loop_has_an_induction_value_a_step_and_bounds_of_its_type() {
    let (mut b, ..) = builder();
    let zero = b.index(0);
    b.push(Statement::For {
        induction: zero,
        start: zero,
        end: zero,
        step: 1,
        body: Default::default(),
    });
    assert_eq!(fault(b), Fault::NotAnInduction(0));
    let (mut b, ..) = builder();
    let zero = b.index(0);
    b.for_loop(zero, zero, 0, |_, _| {});
    assert_eq!(fault(b), Fault::ZeroStep);
    let (mut b, ..) = builder();
    let (zero, end) = (b.index(0), b.literal(4i32));
    b.for_loop(zero, end, 1, |_, _| {});
    assert_eq!(
        fault(b),
        Fault::LoopBound {
            expected: Type::INDEX,
            found: Type::scalar(ElementType::I32)
        }
    );
}

#[test]
fn conditions_are_scalar_bools() {
    let (mut b, ..) = builder();
    let one = b.index(1);
    b.if_else(one, |_| {}, |_| {});
    assert_eq!(fault(b), Fault::ConditionType(Type::INDEX));
    let (mut b, ..) = builder();
    b.while_loop(|b| b.arange(3), |_| {});
    assert_eq!(
        fault(b),
        Fault::ConditionType(Type {
            shape: shape(&[3]),
            ..Type::INDEX
        })
    );
}

#[test]
fn a_local_holds_one_type() {
    let (mut b, ..) = builder();
    let (one, other) = (b.index(1), b.literal(1f32));
    let x = b.variable("x", one);
    b.assign(x, other);
    let found = Type::scalar(ElementType::F32);
    assert_eq!(
        fault(b),
        Fault::AssignType {
            local: "x".into(),
            expected: Type::INDEX,
            found
        }
    );
}

#[test]
fn break_and_continue_are_in_a_loops_body() {
    for (statement, name) in [(Statement::Break, "break"), (Statement::Continue, "continue")] {
        let (mut b, ..) = builder();
        b.push(statement.clone());
        assert_eq!(fault(b), Fault::OutsideLoop(name));
        let (mut b, ..) = builder();
        let condition = b.literal(true);
        b.while_loop(
            |b| {
                b.push(statement);
                condition
            },
            |_| {},
        );
        assert_eq!(fault(b), Fault::OutsideLoop(name));
    }
}

#[test]
fn nothing_follows_a_statement_that_leaves_the_block() {
    let (mut b, ..) = builder();
    b.push(Statement::Return);
    b.push(Statement::Return);
    assert_eq!(fault(b), Fault::Unreachable("return"));
    let (mut b, ..) = builder();
    let condition = b.literal(true);
    b.while_loop(
        |_| condition,
        |b| {
            b.push(Statement::Break);
            b.arange(2);
        },
    );
    assert_eq!(fault(b), Fault::Unreachable("break"));
}

#[test]
fn a_local_is_read_only_where_every_path_has_assigned_it() {
    /// Whether reading `x` after what `fill` records is accepted.
    fn accepted(fill: impl FnOnce(&mut Builder, crate::ir::Handle<crate::ir::Local>)) -> bool {
        let (mut b, ..) = builder();
        let x = b.declare("x", Type::INDEX);
        fill(&mut b, x);
        b.read(x);
        let grid = b.index(1);
        match b.verified(&[grid]) {
            Ok(_) => true,
            Err(e) => {
                assert_eq!(e.fault, Fault::UnassignedLocal("x".into()));
                false
            }
        }
    }
    fn set(b: &mut Builder, x: crate::ir::Handle<crate::ir::Local>) {
        let one = b.index(1);
        b.assign(x, one);
    }
    assert!(!accepted(|_, _| {}));
    assert!(accepted(set));
    for (both, expected) in [(false, false), (true, true)] {
        assert_eq!(
            accepted(|b, x| {
                let condition = b.scalar("c", ElementType::Bool);
                b.if_else(
                    condition,
                    |b| set(b, x),
                    |b| {
                        if both {
                            set(b, x)
                        }
                    },
                );
            }),
            expected
        );
    }
    // A branch that ends the program does not matter.
    assert!(accepted(|b, x| {
        let condition = b.scalar("c", ElementType::Bool);
        b.if_else(condition, |b| set(b, x), |b| b.push(Statement::Return));
    }));
    // A loop may have no trips; an endless one is left by `break` only.
    assert!(!accepted(|b, x| {
        let (low, high) = (b.index(0), b.index(9));
        b.for_loop(low, high, 1, |b, _| set(b, x));
    }));
    assert!(accepted(|b, x| {
        let forever = b.literal(true);
        b.while_loop(
            |_| forever,
            |b| {
                set(b, x);
                b.push(Statement::Break);
            },
        );
    }));
    assert!(!accepted(|b, x| {
        let (forever, condition) = (b.literal(true), b.scalar("c", ElementType::Bool));
        b.while_loop(
            |_| forever,
            |b| {
                b.if_else(condition, |b| b.push(Statement::Break), |_| {});
                set(b, x);
            },
        );
    }));
}
