//! Operations on one lane, as expressions of the texts of their operands. Of floats there are only `float` and
//! `double`.

use super::prelude::Need;
use super::types::{c_type, unsigned_type};
use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, CompareOp, UnaryOp};
use crate::thread::Rounding;

/// An expression and what of the prelude it calls.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) needs: Vec<Need>,
}

impl Text {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            text,
            needs: Vec::new(),
        }
    }

    fn with(text: String, need: Need) -> Self {
        let needs = vec![need];
        Self { text, needs }
    }
}

/// Whether the bits of a NaN are seen is said of the result.
pub(super) fn unary(op: UnaryOp, element: ElementType, is_seen: bool, value: &str) -> Text {
    match element.kind() {
        ElementKind::Float | ElementKind::Storage => Text::plain(float_unary(op, element, is_seen, value)),
        ElementKind::Bool => Text::plain(format!("!{value}")),
        ElementKind::Signed | ElementKind::Unsigned => integer_unary(op, element, value),
    }
}

fn integer_unary(op: UnaryOp, element: ElementType, value: &str) -> Text {
    let (ty, unsigned, bits) = (c_type(element), unsigned_type(element.size()), element.bits());
    let suffix = if bits == 64 { "ll" } else { "" };
    // At least 32 bits; the narrower types are extended with zeros.
    let (wide, signed) = match bits {
        64 => ("unsigned long long", "long long"),
        _ => ("unsigned int", "int"),
    };
    let extended = format!("({wide})({unsigned}){value}");
    Text::plain(match op {
        UnaryOp::Not => format!("({ty})~{value}"),
        UnaryOp::Negate => format!("({ty})(({unsigned})0 - ({unsigned}){value})"),
        UnaryOp::Abs => return Text::with(format!("tw_abs<{ty}>({value})"), Need::IntegerAbs),
        UnaryOp::CountOnes => format!("({ty})__popc{suffix}({extended})"),
        UnaryOp::LeadingZeros => {
            let above = 32u32.saturating_sub(bits);
            format!("({ty})(__clz{suffix}(({signed})({extended})) - {above})")
        }
        // The ones below the lowest one; a one above a narrow type's bits ends those of zero.
        UnaryOp::TrailingZeros => {
            let ended = match bits < 32 {
                true => format!("({extended} | {}U)", 1u32 << bits),
                false => format!("({extended})"),
            };
            format!("({ty})__popc{suffix}(~{ended} & ({ended} - 1U))")
        }
        // Of floats only.
        UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc | UnaryOp::Sqrt => value.to_owned(),
        // Sequences of operations.
        UnaryOp::Rsqrt
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Ln
        | UnaryOp::Log2
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh => value.to_owned(),
    })
}

fn float_unary(op: UnaryOp, element: ElementType, is_seen: bool, value: &str) -> String {
    let is_double = element == ElementType::F64;
    let library = |name: &str| format!("{name}{}({value})", if is_double { "" } else { "f" });
    match op {
        // What takes the result does this on the way, but to any NaN.
        UnaryOp::Abs if !is_seen => library("fabs"),
        UnaryOp::Negate if !is_seen => format!("(-({value}))"),
        // The sign alone, of NaN as well.
        UnaryOp::Negate if is_double => {
            format!("__longlong_as_double(__double_as_longlong({value}) ^ (long long)0x8000000000000000ULL)")
        }
        UnaryOp::Negate => format!("__int_as_float(__float_as_int({value}) ^ (int)0x80000000)"),
        UnaryOp::Abs if is_double => {
            format!("__longlong_as_double(__double_as_longlong({value}) & 0x7fffffffffffffffLL)")
        }
        UnaryOp::Abs => format!("__int_as_float(__float_as_int({value}) & 0x7fffffff)"),
        UnaryOp::Floor => library("floor"),
        UnaryOp::Ceil => library("ceil"),
        UnaryOp::Round => library("rint"),
        UnaryOp::Trunc => library("trunc"),
        UnaryOp::Sqrt if is_double => format!("__dsqrt_rn({value})"),
        UnaryOp::Sqrt => format!("__fsqrt_rn({value})"),
        // Of integers only.
        UnaryOp::Not | UnaryOp::CountOnes | UnaryOp::LeadingZeros | UnaryOp::TrailingZeros => value.to_owned(),
        // Sequences of operations.
        UnaryOp::Rsqrt
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Ln
        | UnaryOp::Log2
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh => value.to_owned(),
    }
}

pub(super) fn binary(op: BinaryOp, element: ElementType, left: &str, right: &str) -> Text {
    match element.kind() {
        ElementKind::Float | ElementKind::Storage => float_binary(op, left, right),
        ElementKind::Bool => Text::plain(format!("({left} {} {right})", operator(op))),
        ElementKind::Signed | ElementKind::Unsigned => integer_binary(op, element, left, right),
    }
}

fn operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::And => "&",
        BinaryOp::Or => "|",
        BinaryOp::Xor => "^",
        // Whatever else is an operator of floats; the others are no operators.
        BinaryOp::Divide
        | BinaryOp::MultiplyHigh
        | BinaryOp::Remainder
        | BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::Minimum
        | BinaryOp::Maximum
        | BinaryOp::Power
        | BinaryOp::ShiftLeft
        | BinaryOp::ShiftRight => "/",
    }
}

fn integer_binary(op: BinaryOp, element: ElementType, left: &str, right: &str) -> Text {
    let (ty, unsigned) = (c_type(element), unsigned_type(element.size()));
    // Arithmetic is done unsigned, where it wraps, in at least 32 bits, so that no promotion to `int` can overflow.
    let wide = if element.size() < 4 { "unsigned int" } else { unsigned };
    let (bits, mask) = (element.bits(), element.bits() - 1);
    let division = |function: &str| Text::with(format!("{function}<{ty}>({left}, {right})"), Need::Division);
    let comparison = |symbol: &str| format!("({left} {symbol} {right} ? {left} : {right})");
    let eight = |function: &str| Text::with(format!("{function}({left}, {right})"), Need::MinMaxI8);
    let is_i8 = element == ElementType::I8;
    Text::plain(match op {
        BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply => {
            format!("({ty})(({wide}){left} {} ({wide}){right})", operator(op))
        }
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => format!("({ty})({left} {} {right})", operator(op)),
        BinaryOp::MultiplyHigh => match element {
            ElementType::I64 => format!("__mul64hi({left}, {right})"),
            ElementType::U64 => format!("__umul64hi({left}, {right})"),
            ElementType::I32 => format!("__mulhi({left}, {right})"),
            ElementType::U32 => format!("__umulhi({left}, {right})"),
            _ if element.is_signed() => format!("({ty})((int){left} * (int){right} >> {bits})"),
            _ => format!("({ty})((unsigned int){left} * (unsigned int){right} >> {bits})"),
        },
        BinaryOp::Min | BinaryOp::Minimum if is_i8 => return eight("tw_min_i8"),
        BinaryOp::Max | BinaryOp::Maximum if is_i8 => return eight("tw_max_i8"),
        BinaryOp::Min | BinaryOp::Minimum => comparison("<"),
        BinaryOp::Max | BinaryOp::Maximum => comparison(">"),
        BinaryOp::ShiftLeft => format!("({ty})(({wide}){left} << ((unsigned int){right} & {mask}U))"),
        BinaryOp::ShiftRight => format!("({ty})({left} >> ((unsigned int){right} & {mask}U))"),
        BinaryOp::Divide => return division("tw_div"),
        BinaryOp::Remainder => return division("tw_rem"),
        // Of floats only.
        BinaryOp::Power => left.to_owned(),
    })
}

fn float_binary(op: BinaryOp, left: &str, right: &str) -> Text {
    let function = match op {
        BinaryOp::Min => "tw_fmin",
        BinaryOp::Max => "tw_fmax",
        BinaryOp::Minimum => "tw_fminimum",
        BinaryOp::Maximum => "tw_fmaximum",
        _ => return Text::plain(format!("({left} {} {right})", operator(op))),
    };
    Text::with(format!("{function}({left}, {right})"), Need::FloatMinMax)
}

pub(super) fn mul_add(element: ElementType, left: &str, right: &str, addend: &str) -> Text {
    let function = match element {
        ElementType::F64 => "__fma_rn",
        _ => "__fmaf_rn",
    };
    Text::plain(format!("{function}({left}, {right}, {addend})"))
}

pub(super) fn compare(op: CompareOp, left: &str, right: &str) -> Text {
    Text::plain(format!("({left} {} {right})", op.symbol()))
}

pub(super) fn canonical(value: &str) -> Text {
    Text::with(format!("tw_canonical({value})"), Need::Canonical)
}

pub(super) fn cast(from: ElementType, to: ElementType, rounding: Rounding, value: &str) -> Text {
    let is_integral = |element: ElementType| element == ElementType::Bool || element.is_integer();
    if from == to {
        return Text::plain(value);
    }
    match (rounding, to) {
        (Rounding::Zero, _) => toward_zero(from, value),
        (_, ElementType::Bool) => Text::plain(format!("({value} != 0)")),
        _ if is_integral(from) => Text::plain(format!("({}){value}", c_type(to))),
        _ if is_integral(to) => Text::plain(float_to_integer(from, to, value)),
        (_, ElementType::F64) => Text::plain(format!("(double){value}")),
        (_, ElementType::F32) if from == ElementType::F64 => Text::plain(format!("(float){value}")),
        _ => narrow_float(from, to, value),
    }
}

/// Between f32 and a narrower float.
fn narrow_float(from: ElementType, to: ElementType, value: &str) -> Text {
    let (function, need) = match (from, to) {
        (ElementType::F16, _) => ("tw_f16_to_f32", Need::F16),
        (_, ElementType::F16) => ("tw_f32_to_f16", Need::F16),
        (ElementType::BF16, _) => ("tw_bf16_to_f32", Need::BF16),
        (_, ElementType::BF16) => ("tw_f32_to_bf16", Need::BF16),
        (ElementType::F8E4M3, _) => ("tw_e4m3_to_f32", Need::F8),
        (_, ElementType::F8E4M3) => ("tw_f32_to_f8<3>", Need::F8),
        (ElementType::F8E5M2, _) => ("tw_e5m2_to_f32", Need::F8),
        (_, _) => ("tw_f32_to_f8<2>", Need::F8),
    };
    Text::with(format!("{function}({value})"), need)
}

/// What makes two narrower floats of f32 at once.
pub(super) fn narrows_pairs(from: ElementType, to: ElementType) -> Option<(&'static str, Need)> {
    match (from, to) {
        (ElementType::F32, ElementType::F16) => Some(("tw_f32s_to_f16s", Need::F16)),
        (ElementType::F32, ElementType::BF16) => Some(("tw_f32s_to_bf16s", Need::BF16)),
        (ElementType::F32, ElementType::F8E4M3) => Some(("tw_f32s_to_f8s<3>", Need::F8)),
        (ElementType::F32, ElementType::F8E5M2) => Some(("tw_f32s_to_f8s<2>", Need::F8)),
        _ => None,
    }
}

/// To f32.
fn toward_zero(from: ElementType, value: &str) -> Text {
    match from {
        ElementType::F64 => Text::plain(format!("__double2float_rz({value})")),
        ElementType::I64 => Text::plain(format!("__ll2float_rz({value})")),
        ElementType::U64 => Text::plain(format!("__ull2float_rz({value})")),
        ElementType::U32 => Text::plain(format!("__uint2float_rz({value})")),
        _ => Text::plain(format!("__int2float_rz({value})")),
    }
}

/// Instructions saturate to their own width, of 32 bits at least; NaN becomes 0 where neither side has 64.
fn float_to_integer(from: ElementType, to: ElementType, value: &str) -> String {
    let is_double = from == ElementType::F64;
    let source = if is_double { "double" } else { "float" };
    let target = match to {
        ElementType::I64 => "ll",
        ElementType::U64 => "ull",
        _ if to.is_signed() => "int",
        _ => "uint",
    };
    let (ty, converted) = (c_type(to), format!("__{source}2{target}_rz({value})"));
    let text = match to {
        ElementType::I8 | ElementType::I16 => {
            let most = (1i32 << (to.bits() - 1)) - 1;
            format!("({ty})min(max({converted}, {}), {most})", -most - 1)
        }
        ElementType::U8 | ElementType::U16 => format!("({ty})min({converted}, {}U)", (1u32 << to.bits()) - 1),
        _ => converted,
    };
    match is_double || to.size() == 8 {
        true => format!("({value} != {value} ? ({ty})0 : {text})"),
        false => text,
    }
}
