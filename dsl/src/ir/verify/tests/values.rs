//! Typing rules.

use super::*;
use crate::ir::{BinaryOp, CompareOp, Expression, Handle, Literal, Ptx, Symbol, Type, UnaryOp};

/// The fault of appending the expression that `make` gives.
fn fault_with(make: impl FnOnce(&mut Builder) -> Expression) -> Fault {
    let (mut b, ..) = builder();
    let expression = make(&mut b);
    b.append(expression);
    fault(b)
}

#[test]
fn literals_have_only_the_bits_of_their_type() {
    for (element, bits) in [
        (ElementType::Bool, 2),
        (ElementType::I8, 256),
        (ElementType::BF16, 1 << 16),
    ] {
        assert_eq!(
            fault_with(|_| Expression::Literal(Literal { element, bits })),
            Fault::LiteralBits { element, bits }
        );
    }
}

#[test]
fn symbols_and_arguments_name_parameters_of_the_right_kind() {
    let tensor = |position| Fault::ParameterKind {
        position,
        expected: "tensor",
    };
    assert_eq!(
        fault_with(|_| Expression::Symbol(Symbol::Extent { tensor: 7, axis: 0 })),
        tensor(7)
    );
    assert_eq!(
        fault_with(|_| Expression::Symbol(Symbol::Stride {
            tensor: u32::MAX,
            axis: 0
        })),
        tensor(u32::MAX)
    );
    let count = Fault::ParameterKind {
        position: 0,
        expected: "count",
    };
    assert_eq!(fault_with(|_| Expression::Symbol(Symbol::Count(0))), count);
    assert_eq!(
        fault_with(|_| Expression::Argument(0)),
        Fault::ParameterKind {
            position: 0,
            expected: "scalar"
        }
    );
}

#[test]
fn axes_exist() {
    let missing = Fault::TensorAxis {
        tensor: "out".into(),
        axis: 2,
        rank: 2,
    };
    assert_eq!(
        fault_with(|_| Expression::Symbol(Symbol::Extent { tensor: 0, axis: 2 })),
        missing
    );
    assert_eq!(
        fault_with(|_| Expression::Symbol(Symbol::ProgramId(3))),
        Fault::GridAxis(3)
    );
    assert_eq!(
        fault_with(|_| Expression::Symbol(Symbol::NumPrograms(9))),
        Fault::GridAxis(9)
    );
}

#[test]
fn loops_count_with_integers() {
    let fault = fault_with(|_| Expression::Induction(ElementType::F32));
    assert_eq!(fault, Fault::InductionElement(ElementType::F32));
}

#[test]
fn the_recorded_type_is_the_actual_one() {
    let (mut b, ..) = builder();
    let one = b.index(1);
    let recorded = Type::scalar(ElementType::I32);
    b.kernel.types[one.index()] = recorded;
    assert_eq!(
        fault(b),
        Fault::RecordedType {
            recorded,
            actual: Type::INDEX
        }
    );
}

#[test]
fn broadcasts_stretch_and_never_shrink() {
    for to in [shape(&[5]), shape(&[1]), Shape::SCALAR] {
        let fault = fault_with(|b| Expression::Broadcast {
            value: b.arange(4),
            shape: to,
        });
        assert_eq!(fault, Fault::Broadcast { from: shape(&[4]), to });
    }
}

#[test]
fn reshapes_keep_the_element_count() {
    let to = shape(&[2, 3]);
    let fault = fault_with(|b| Expression::Reshape {
        value: b.arange(4),
        shape: to,
    });
    assert_eq!(fault, Fault::Reshape { from: shape(&[4]), to });
}

#[test]
fn operators_are_defined_on_their_element_type() {
    let fault = fault_with(|b| Expression::Unary {
        op: UnaryOp::Negate,
        value: b.literal(1u8),
    });
    assert_eq!(
        fault,
        Fault::Operator {
            operator: "neg",
            element: ElementType::U8
        }
    );
    let fault = fault_with(|b| {
        let x = b.literal(1f32);
        Expression::Binary {
            op: BinaryOp::Xor,
            left: x,
            right: x,
        }
    });
    assert_eq!(
        fault,
        Fault::Operator {
            operator: "xor",
            element: ElementType::F32
        }
    );
    let fault = fault_with(|b| {
        let x = b.literal(true);
        Expression::Compare {
            op: CompareOp::Less,
            left: x,
            right: x,
        }
    });
    assert_eq!(
        fault,
        Fault::Operator {
            operator: "lt",
            element: ElementType::Bool
        }
    );
    let fault = fault_with(|b| {
        let x = b.literal(float8::F8E4M3::from_bits(0));
        Expression::Binary {
            op: BinaryOp::Add,
            left: x,
            right: x,
        }
    });
    assert_eq!(
        fault,
        Fault::Operator {
            operator: "add",
            element: ElementType::F8E4M3
        }
    );
}

#[test]
fn operands_have_one_type() {
    let (left, right) = (Type::INDEX, Type::scalar(ElementType::I32));
    let fault = fault_with(|b| {
        let (left, right) = (b.index(1), b.literal(1i32));
        Expression::Binary {
            op: BinaryOp::Add,
            left,
            right,
        }
    });
    assert_eq!(
        fault,
        Fault::OperandTypes {
            operator: "add",
            left,
            right
        }
    );
    let fault = fault_with(|b| {
        let (left, right) = (b.index(1), b.literal(1i32));
        Expression::Compare {
            op: CompareOp::Equal,
            left,
            right,
        }
    });
    assert_eq!(
        fault,
        Fault::OperandTypes {
            operator: "eq",
            left,
            right
        }
    );
    let fault = fault_with(|b| {
        let (condition, accept, reject) = (b.literal(true), b.index(1), b.literal(1i32));
        Expression::Select {
            condition,
            accept,
            reject,
        }
    });
    assert_eq!(
        fault,
        Fault::OperandTypes {
            operator: "select",
            left,
            right
        }
    );
}

#[test]
fn selections_have_a_condition_per_element() {
    let fault = fault_with(|b| {
        let (condition, value) = (b.literal(true), b.arange(4));
        Expression::Select {
            condition,
            accept: value,
            reject: value,
        }
    });
    let operands = Type {
        shape: shape(&[4]),
        ..Type::INDEX
    };
    assert_eq!(
        fault,
        Fault::SelectCondition {
            condition: Type::CONDITION,
            operands
        }
    );
}

#[test]
fn a_bitcast_is_between_types_of_one_size_and_never_bool() {
    for (from, to) in [
        (Literal::new(1f32), ElementType::F64),
        (Literal::new(1u8), ElementType::Bool),
        (Literal::new(true), ElementType::I8),
    ] {
        let fault = fault_with(|b| Expression::Bitcast {
            value: b.emit(Expression::Literal(from)),
            to,
        });
        assert_eq!(fault, Fault::Bitcast { from: from.element, to });
    }
}

#[test]
fn a_fused_multiplication_is_of_three_floats_of_one_type() {
    let fault = fault_with(|b| {
        let (left, right) = (b.literal(1f32), b.literal(1f64));
        Expression::MulAdd {
            left,
            right: left,
            addend: right,
        }
    });
    assert!(matches!(fault, Fault::OperandTypes { operator: "fma", .. }), "{fault}");
    let fault = fault_with(|b| {
        let one = b.literal(1i32);
        Expression::MulAdd {
            left: one,
            right: one,
            addend: one,
        }
    });
    assert_eq!(
        fault,
        Fault::Operator {
            operator: "fma",
            element: ElementType::I32
        }
    );
}

#[test]
fn instructions_take_registers_of_one_shape_and_have_the_output_that_is_asked_for() {
    let code = |outputs: &[ElementType], inputs: &[Handle<Expression>], output| {
        Expression::Ptx(Box::new(Ptx {
            text: "mov.u32 %0, %1;".into(),
            outputs: outputs.to_vec(),
            inputs: inputs.to_vec(),
            output,
            meaning: None,
        }))
    };
    let (mut b, ..) = builder();
    let (tile, scalar, byte) = (b.arange(4), b.index(1), b.literal(1u8));
    let two = [ElementType::U32, ElementType::F64];
    // Two outputs and an input.
    let text = |text: &str| match code(&two, &[tile], 0) {
        Expression::Ptx(code) => Expression::Ptx(Box::new(Ptx {
            text: text.into(),
            ..*code
        })),
        other => other,
    };
    let operand = |found: &str| Fault::PtxOperand {
        found: found.into(),
        operands: 3,
    };
    assert!(super::super::values::infer(&b.kernel, &text("mov.u32 %0, %2; mov.u32 %1, %%laneid; // 5%%")).is_ok());
    let value = b.append(code(&two, &[tile, tile], 1));
    assert_eq!(b.kernel.ty(value).to_string(), "f64[4]");
    for (node, expected) in [
        (text("mov.u32 %0, %1; mov.u32 %0, %3;"), operand("3")),
        (text("mov.u32 %0, %1; mov.u32 %laneid, %2;"), operand("laneid")),
        (text("mov.u32 %0, %1; % d"), operand("")),
        (
            text("mov.u32 %0, %1; %99999999999999999999999"),
            operand("99999999999999999999999"),
        ),
        (text("mov.u32 %0, %2;"), Fault::PtxUnwritten(1)),
        (text("mov.u32 %0, %2; mov.u32 %0, %%1;"), Fault::PtxUnwritten(1)),
        (text(""), Fault::PtxUnwritten(0)),
        (text("mov.u32 %0, %1;\0"), Fault::PtxZero),
        (code(&two, &[tile], 2), Fault::PtxOutput { outputs: 2, output: 2 }),
        (code(&two, &[byte], 0), Fault::PtxType(ElementType::U8)),
        (
            code(&[ElementType::Bool], &[tile], 0),
            Fault::PtxType(ElementType::Bool),
        ),
        (
            code(&two, &[tile, scalar], 0),
            Fault::PtxShapes(b.shape(tile), b.shape(scalar)),
        ),
    ] {
        assert_eq!(super::super::values::infer(&b.kernel, &node), Err(expected));
    }
}
