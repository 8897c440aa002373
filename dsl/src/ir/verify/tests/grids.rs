//! Numbers of programs.

use super::*;
use crate::ir::{BinaryOp, Expression, Symbol, Type};

#[test]
fn a_grid_has_one_to_three_axes() {
    for rank in [0, 4] {
        let (mut b, ..) = builder();
        let one = b.index(1);
        assert_eq!(b.verified(&vec![one; rank]).unwrap_err().fault, Fault::GridRank(rank));
    }
}

#[test]
fn grid_extents_are_scalar_i64() {
    let (mut b, ..) = builder();
    let one = b.literal(1i32);
    let fault = b.verified(&[one]).unwrap_err().fault;
    assert_eq!(
        fault,
        Fault::GridType {
            axis: 0,
            found: Type::scalar(ElementType::I32)
        }
    );
}

#[test]
fn the_host_can_compute_the_grid() {
    let grid_of = |make: &dyn Fn(&mut Builder) -> crate::ir::Handle<Expression>| {
        let (mut b, ..) = builder();
        let (extent, value) = (b.extent(0, 0), make(&mut b));
        let sum = b.append(Expression::Binary {
            op: BinaryOp::Add,
            left: extent,
            right: value,
        });
        b.verified(&[extent, sum]).unwrap_err().fault
    };
    let unknown = |what| Fault::GridValue { axis: 1, what };
    assert_eq!(grid_of(&|b| b.program(0)), unknown("the program's id"));
    assert_eq!(
        grid_of(&|b| b.scalar("n", ElementType::I64)),
        unknown("a scalar argument")
    );
    let loaded = grid_of(&|b| {
        let zero = b.index(0);
        let value = b.load(1, &[zero]);
        b.cast(value, ElementType::I64)
    });
    assert_eq!(loaded, unknown("a value in memory"));
}

#[test]
fn a_grid_of_shared_subexpressions_is_checked_in_linear_time() {
    let (mut b, ..) = builder();
    let mut value = b.extent(0, 0);
    for _ in 0..200 {
        value = b.append(Expression::Binary {
            op: BinaryOp::Add,
            left: value,
            right: value,
        });
    }
    assert!(b.verified(&[value]).is_ok());
}

#[test]
fn a_grid_may_be_left_to_the_host() {
    let (mut b, ..) = builder();
    let own = [b.symbol(Symbol::NumPrograms(0)), b.symbol(Symbol::NumPrograms(1))];
    assert!(b.verified(&own).is_ok());
    let (mut b, ..) = builder();
    let other = b.symbol(Symbol::NumPrograms(1));
    assert_eq!(
        b.verified(&[other]).unwrap_err().fault,
        Fault::GridValue {
            axis: 0,
            what: "the grid itself"
        }
    );
}
