//! Numbers of programs.

use super::*;
use crate::ir::{BinaryOp, CompareOp, Expression, Requirement, Symbol, Type};

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
    let loaded = grid_of(&|b| {
        let zero = b.index(0);
        let value = b.load(1, &[zero]);
        b.cast(value, ElementType::I64)
    });
    assert_eq!(loaded, unknown("a value in memory"));
}

#[test]
fn a_grid_may_depend_on_a_scalar_argument() {
    let (mut b, ..) = builder();
    let n = b.scalar("n", ElementType::I64);
    let kernel = b.verified(&[n]).unwrap();
    assert_eq!(kernel.host_scalars(), [2]);
}

#[test]
fn requirements_are_conditions_that_the_host_can_test() {
    let fault_of = |make: &dyn Fn(&mut Builder) -> crate::ir::Handle<Expression>| {
        let (mut b, ..) = builder();
        let (condition, one) = (make(&mut b), b.index(1));
        let span = b.kernel.span;
        b.kernel.requirements.push(Requirement { condition, span });
        b.verified(&[one]).err().map(|error| error.fault)
    };
    let compared = |b: &mut Builder, right| {
        let left = b.extent(0, 0);
        b.append(Expression::Compare {
            op: CompareOp::Less,
            left,
            right,
        })
    };
    let scalar = fault_of(&|b| {
        let n = b.scalar("n", ElementType::I64);
        compared(b, n)
    });
    assert_eq!(scalar, None);
    assert_eq!(fault_of(&|b| b.extent(0, 0)), Some(Fault::RequirementType(Type::INDEX)));
    let program = fault_of(&|b| {
        let id = b.program(0);
        compared(b, id)
    });
    assert_eq!(program, Some(Fault::RequirementValue("the program's id")));
    let loaded = fault_of(&|b| {
        let zero = b.index(0);
        let value = b.load(1, &[zero]);
        let value = b.cast(value, ElementType::I64);
        compared(b, value)
    });
    assert_eq!(loaded, Some(Fault::RequirementValue("a value in memory")));
    let missing = fault_of(&|_| crate::ir::Handle::from_index(99));
    assert_eq!(missing, Some(Fault::UnknownExpression(99)));
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
