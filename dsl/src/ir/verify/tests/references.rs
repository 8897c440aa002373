//! Handles, parameters and shapes.

use super::*;
use crate::ir::verify::MAX_NESTING;
use crate::ir::{Block, Expression, Handle, Layout, Literal, ParameterKind, Statement, Symbol, Type, UnaryOp};

#[test]
fn every_expression_needs_a_type_and_a_span() {
    let (mut b, ..) = builder();
    b.index(3);
    b.kernel.types.pop();
    b.kernel.grid = vec![Handle::from_index(0)];
    assert_eq!(
        fault_of(&b.kernel),
        Fault::ArenaLengths {
            expressions: 1,
            types: 0,
            spans: 1
        }
    );
}

#[test]
fn an_expression_cannot_refer_to_itself_or_a_later_one() {
    let (mut b, ..) = builder();
    let own = Handle::from_index(0);
    b.append(Expression::Literal(Literal::index(0)));
    b.kernel.expressions[own] = Expression::Unary {
        op: UnaryOp::Negate,
        value: own,
    };
    assert_eq!(
        fault(b),
        Fault::ForwardReference {
            expression: 0,
            operand: 0
        }
    );
}

#[test]
fn statements_and_grids_name_values_that_exist() {
    let missing = Handle::from_index(9);
    let (mut b, ..) = builder();
    b.push(Statement::Let(missing));
    assert_eq!(fault(b), Fault::UnknownExpression(9));
    let (b, ..) = builder();
    assert_eq!(b.verified(&[missing]).unwrap_err().fault, Fault::UnknownExpression(9));
    let (mut b, ..) = builder();
    let access = b.access(0, &[missing, missing]);
    b.push(Statement::Store {
        access,
        value: missing,
        conflict: None,
    });
    assert_eq!(fault(b), Fault::UnknownExpression(9));
}

#[test]
fn locals_exist() {
    let (mut b, ..) = builder();
    b.append(Expression::Local(Handle::from_index(2)));
    assert_eq!(fault(b), Fault::UnknownLocal(2));
    let (mut b, ..) = builder();
    let one = b.index(1);
    b.assign(Handle::from_index(4), one);
    assert_eq!(fault(b), Fault::UnknownLocal(4));
}

#[test]
fn blocks_do_not_nest_without_limit() {
    let nested = |depth: usize| {
        let (mut b, ..) = builder();
        let condition = b.literal(true);
        let mut block = Block::new();
        for _ in 0..depth {
            let mut outer = Block::new();
            outer.push(
                Statement::If {
                    condition,
                    accept: block,
                    reject: Block::new(),
                },
                Span::UNKNOWN,
            );
            block = outer;
        }
        for (statement, _) in block {
            b.push(statement);
        }
        let grid = b.index(1);
        b.verified(&[grid]).map(|_| ()).map_err(|e| e.fault)
    };
    assert_eq!(nested(MAX_NESTING), Ok(()));
    assert_eq!(nested(MAX_NESTING + 1), Err(Fault::NestingTooDeep));
}

#[test]
fn parameters_have_different_names() {
    let (mut b, ..) = builder();
    b.parameter("out", ParameterKind::Count);
    assert_eq!(fault(b), Fault::DuplicateParameter("out".into()));
}

#[test]
fn tensors_have_one_to_four_axes() {
    for rank in [0, 5] {
        let (mut b, ..) = builder();
        b.tensor("odd", ElementType::I8, rank);
        assert_eq!(
            fault(b),
            Fault::TensorRank {
                name: "odd".into(),
                rank
            }
        );
    }
}

#[test]
fn alignments_are_powers_of_two_and_cover_an_element() {
    for alignment in [0, 2, 12] {
        let (mut b, out, _) = builder();
        b.tensor_mut(out).alignment = alignment;
        assert_eq!(
            fault(b),
            Fault::Alignment {
                name: "out".into(),
                element: ElementType::F32,
                alignment
            }
        );
    }
}

#[test]
fn row_strides_are_multiples_of_something() {
    let (mut b, out, _) = builder();
    let layout = Layout::Rows { multiple: 0 };
    b.tensor_mut(out).layout = layout;
    assert_eq!(
        fault(b),
        Fault::RowMultiple {
            name: "out".into(),
            layout
        }
    );
}

#[test]
fn tiles_and_locals_are_neither_empty_nor_huge() {
    let (mut b, ..) = builder();
    b.declare(
        "x",
        Type {
            shape: shape(&[4, 0]),
            ..Type::INDEX
        },
    );
    assert_eq!(fault(b), Fault::EmptyShape(shape(&[4, 0])));
    let (mut b, ..) = builder();
    b.append(Expression::Arange(0));
    b.kernel.types[0] = Type {
        shape: shape(&[0]),
        ..Type::INDEX
    };
    assert_eq!(fault(b), Fault::EmptyShape(shape(&[0])));
    let huge = shape(&[u32::MAX, u32::MAX, u32::MAX]);
    let (mut b, ..) = builder();
    b.declare(
        "x",
        Type {
            shape: huge,
            ..Type::INDEX
        },
    );
    assert_eq!(fault(b), too_many(huge));
    let (mut b, ..) = builder();
    b.append(Expression::Arange((1 << 24) + 1));
    assert_eq!(fault(b), too_many(shape(&[(1 << 24) + 1])));
}

#[test]
fn symbols_are_bound_once_and_to_values_they_can_have() {
    let bound = |exact: &[(Symbol, i64)], device: &[(u32, ElementType)]| {
        let (mut b, ..) = builder();
        b.parameter("n", ParameterKind::Count);
        b.kernel.bindings.exact = exact.to_vec();
        b.kernel.bindings.device = device.to_vec();
        let grid = b.index(1);
        b.verified(&[grid]).map(|_| ()).map_err(|e| e.fault)
    };
    let (extent, count) = (Symbol::Extent { tensor: 0, axis: 1 }, Symbol::Count(2));
    assert_eq!(
        bound(
            &[(extent, 8), (Symbol::Stride { tensor: 0, axis: 0 }, -8)],
            &[(2, ElementType::I32)]
        ),
        Ok(())
    );
    assert_eq!(
        bound(&[(count, 3)], &[(2, ElementType::I64)]),
        Err(Fault::Binding(count))
    );
    assert_eq!(bound(&[(count, 3), (count, 3)], &[]), Err(Fault::Binding(count)));
    assert_eq!(
        bound(&[(Symbol::ProgramId(0), 0)], &[]),
        Err(Fault::Binding(Symbol::ProgramId(0)))
    );
    assert_eq!(
        bound(&[(extent, -1)], &[]),
        Err(Fault::NegativeBinding {
            symbol: extent,
            value: -1
        })
    );
    assert_eq!(
        bound(&[], &[(2, ElementType::F32)]),
        Err(Fault::DeviceCount(ElementType::F32))
    );
    assert_eq!(
        bound(&[], &[(0, ElementType::I32)]),
        Err(Fault::ParameterKind {
            position: 0,
            expected: "count"
        })
    );
}

#[test]
fn no_expression_refers_to_a_symbol_bound_to_a_literal() {
    let (mut b, out, _) = builder();
    let symbol = Symbol::Extent { tensor: out, axis: 0 };
    b.kernel.bindings.exact = vec![(symbol, 4)];
    b.symbol(symbol);
    assert_eq!(fault(b), Fault::BoundSymbol(symbol));
}
