//! Operators on one value, as C++ expressions that mean what `arithmetic` computes.

use super::prelude::Need;
use super::types::{c_type, unsigned_type};
use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, CompareOp, UnaryOp};

/// The text of an operation and what of the prelude it calls.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) needs: Vec<Need>,
}

impl Text {
    fn plain(text: String) -> Self {
        Self {
            text,
            needs: Vec::new(),
        }
    }

    fn with(text: String, need: Need) -> Self {
        Self {
            text,
            needs: vec![need],
        }
    }
}

/// A 16-bit float as `float`; any other float as it is.
fn widen(element: ElementType, value: &str) -> String {
    match element {
        ElementType::F16 => format!("tw_f16_to_f32({value})"),
        ElementType::BF16 => format!("tw_bf16_to_f32({value})"),
        _ => value.to_owned(),
    }
}

/// A `float` rounded to a 16-bit float; for f32 and f64, the value with NaN made canonical.
fn narrow(element: ElementType, value: &str) -> String {
    match element {
        ElementType::F16 => format!("tw_f32_to_f16({value})"),
        ElementType::BF16 => format!("tw_f32_to_bf16({value})"),
        ElementType::F64 => format!("tw_canonical_f64({value})"),
        _ => format!("tw_canonical({value})"),
    }
}

fn conversions(element: ElementType) -> Need {
    match element {
        ElementType::F16 => Need::F16,
        ElementType::BF16 => Need::BF16,
        _ => Need::Canonical,
    }
}

pub(super) fn unary(op: UnaryOp, element: ElementType, value: &str) -> Text {
    let (ty, unsigned) = (c_type(element), unsigned_type(element));
    Text::plain(match (op, element.kind()) {
        (UnaryOp::Not, ElementKind::Bool) => format!("!{value}"),
        (UnaryOp::Not, _) => format!("({ty})~{value}"),
        (UnaryOp::Negate, ElementKind::Float) => match element {
            ElementType::F32 => format!("__int_as_float(__float_as_int({value}) ^ (int)0x80000000)"),
            ElementType::F64 => {
                format!("__longlong_as_double(__double_as_longlong({value}) ^ (long long)0x8000000000000000ULL)")
            }
            _ => format!("(unsigned short)({value} ^ 0x8000U)"),
        },
        (UnaryOp::Abs, ElementKind::Float) => match element {
            ElementType::F32 => format!("__int_as_float(__float_as_int({value}) & 0x7fffffff)"),
            ElementType::F64 => format!("__longlong_as_double(__double_as_longlong({value}) & 0x7fffffffffffffffLL)"),
            _ => format!("(unsigned short)({value} & 0x7fffU)"),
        },
        (UnaryOp::Negate, _) => format!("({ty})(({unsigned})0 - ({unsigned}){value})"),
        (UnaryOp::Abs, _) => format!("({value} < 0 ? ({ty})(({unsigned})0 - ({unsigned}){value}) : {value})"),
    })
}

pub(super) fn binary(op: BinaryOp, element: ElementType, left: &str, right: &str) -> Text {
    match element.kind() {
        ElementKind::Float => float_binary(op, element, left, right),
        ElementKind::Bool => Text::plain(format!("({left} {} {right})", bit_operator(op))),
        ElementKind::Signed | ElementKind::Unsigned | ElementKind::Storage => integer_binary(op, element, left, right),
    }
}

fn bit_operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::And => "&",
        BinaryOp::Or => "|",
        BinaryOp::Xor => "^",
        // On bool nothing else is defined; on floats these are the operators.
        BinaryOp::Divide
        | BinaryOp::Remainder
        | BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::ShiftLeft
        | BinaryOp::ShiftRight => "/",
    }
}

fn integer_binary(op: BinaryOp, element: ElementType, left: &str, right: &str) -> Text {
    let (ty, unsigned) = (c_type(element), unsigned_type(element));
    // Arithmetic is done unsigned, where it wraps, in at least 32 bits, so that no promotion to `int` can overflow.
    let wide = if element.size() < 4 { "unsigned int" } else { unsigned };
    let mask = element.bits() - 1;
    match op {
        BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply => {
            Text::plain(format!("({ty})(({wide}){left} {} ({wide}){right})", bit_operator(op)))
        }
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => {
            Text::plain(format!("({ty})({left} {} {right})", bit_operator(op)))
        }
        BinaryOp::Min => Text::plain(format!("({left} < {right} ? {left} : {right})")),
        BinaryOp::Max => Text::plain(format!("({left} > {right} ? {left} : {right})")),
        BinaryOp::ShiftLeft => Text::plain(format!("({ty})(({wide}){left} << ((unsigned int){right} & {mask}U))")),
        BinaryOp::ShiftRight => Text::plain(format!("({ty})({left} >> ((unsigned int){right} & {mask}U))")),
        BinaryOp::Divide => Text::with(format!("tw_div<{ty}>({left}, {right})"), Need::Division),
        BinaryOp::Remainder => Text::with(format!("tw_rem<{ty}>({left}, {right})"), Need::Division),
    }
}

fn float_binary(op: BinaryOp, element: ElementType, left: &str, right: &str) -> Text {
    let (l, r) = (widen(element, left), widen(element, right));
    let value = match op {
        BinaryOp::Min => format!("tw_fmin({l}, {r})"),
        BinaryOp::Max => format!("tw_fmax({l}, {r})"),
        _ => format!("({l} {} {r})", bit_operator(op)),
    };
    let mut needs = vec![conversions(element), Need::Canonical];
    if matches!(op, BinaryOp::Min | BinaryOp::Max) {
        needs.push(Need::FloatMinMax);
    }
    Text {
        text: narrow(element, &value),
        needs,
    }
}

pub(super) fn compare(op: CompareOp, element: ElementType, left: &str, right: &str) -> Text {
    let text = format!("({} {} {})", widen(element, left), op.symbol(), widen(element, right));
    match element {
        ElementType::F16 | ElementType::BF16 => Text::with(text, conversions(element)),
        _ => Text::plain(text),
    }
}

pub(super) fn cast(from: ElementType, to: ElementType, value: &str) -> Text {
    let wide = widen(from, value);
    let mut needs = Vec::new();
    if matches!(from, ElementType::F16 | ElementType::BF16) {
        needs.push(conversions(from));
    }
    let text = match (from.kind(), to.kind()) {
        (ElementKind::Float, ElementKind::Bool) => format!("({wide} != 0)"),
        (_, ElementKind::Bool) => format!("({value} != 0)"),
        (ElementKind::Float, ElementKind::Float) => {
            needs.push(conversions(to));
            match (from, to) {
                (ElementType::F64, ElementType::F16) => {
                    needs.push(Need::NarrowF64);
                    format!("tw_f64_to_f16({wide})")
                }
                (ElementType::F64, ElementType::BF16) => {
                    needs.push(Need::NarrowF64);
                    format!("tw_f64_to_bf16({wide})")
                }
                (_, ElementType::F64) => format!("tw_canonical_f64((double){wide})"),
                _ => narrow(to, &format!("(float){wide}")),
            }
        }
        (ElementKind::Float, _) => {
            needs.push(Need::FloatToInteger);
            format!("tw_float_to_integer<{}>((double){wide})", c_type(to))
        }
        (_, ElementKind::Float) => {
            needs.push(conversions(to));
            match to {
                ElementType::F64 => format!("(double){value}"),
                _ => narrow(to, &format!("(float){value}")),
            }
        }
        _ => format!("({}){value}", c_type(to)),
    };
    Text { text, needs }
}
