//! Operators on one value, as C++ expressions that mean what `arithmetic` computes.

use super::prelude::Need;
use super::types::{c_type, unsigned_type};
use crate::element::{ElementKind, ElementType};
use crate::ir::{BinaryOp, CompareOp, Expression, Handle, UnaryOp};

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

/// An operation on the elements at one coordinate, given the texts of its operands; `None` for whatever else an expression is.
pub(super) fn operation(
    expression: &Expression,
    element: impl Fn(Handle<Expression>) -> ElementType,
    mut operand: impl FnMut(Handle<Expression>) -> String,
) -> Option<Text> {
    Some(match *expression {
        Expression::Unary { op, value } => unary(op, element(value), &operand(value)),
        Expression::Binary { op, left, right } => binary(op, element(left), &operand(left), &operand(right)),
        Expression::MulAdd { left, right, addend } => {
            mul_add(element(left), &operand(left), &operand(right), &operand(addend))
        }
        Expression::Compare { op, left, right } => compare(op, element(left), &operand(left), &operand(right)),
        Expression::Select {
            condition,
            accept,
            reject,
        } => Text::plain(format!(
            "({} ? {} : {})",
            operand(condition),
            operand(accept),
            operand(reject)
        )),
        Expression::Cast { value, to } => cast(element(value), to, &operand(value)),
        Expression::Bitcast { value, to } => bitcast(element(value), to, &operand(value)),
        _ => return None,
    })
}

/// A float of less than 32 bits as `float`; any other value as it is.
fn widen(element: ElementType, value: &str) -> String {
    match element {
        ElementType::F16 => format!("tw_f16_to_f32({value})"),
        ElementType::BF16 => format!("tw_bf16_to_f32({value})"),
        ElementType::F8E4M3 => format!("tw_e4m3_to_f32({value})"),
        ElementType::F8E5M2 => format!("tw_e5m2_to_f32({value})"),
        _ => value.to_owned(),
    }
}

/// A `float` rounded to a float of less than 32 bits; for f32 and f64, the value with NaN made canonical.
fn narrow(element: ElementType, value: &str) -> String {
    match element {
        ElementType::F16 => format!("tw_f32_to_f16({value})"),
        ElementType::BF16 => format!("tw_f32_to_bf16({value})"),
        ElementType::F8E4M3 => format!("tw_f32_to_f8<3>({value})"),
        ElementType::F8E5M2 => format!("tw_f32_to_f8<2>({value})"),
        ElementType::F64 => format!("tw_canonical_f64({value})"),
        _ => format!("tw_canonical({value})"),
    }
}

fn conversions(element: ElementType) -> Need {
    match element {
        ElementType::F16 => Need::F16,
        ElementType::BF16 => Need::BF16,
        ElementType::F8E4M3 | ElementType::F8E5M2 => Need::F8,
        _ => Need::Canonical,
    }
}

/// What a float operation on `value` calls, rounded to its type.
fn rounded(element: ElementType, value: &str, need: Option<Need>) -> Text {
    Text {
        text: narrow(element, value),
        needs: [conversions(element)].into_iter().chain(need).collect(),
    }
}

pub(super) fn unary(op: UnaryOp, element: ElementType, value: &str) -> Text {
    match element.kind() {
        ElementKind::Float => float_unary(op, element, value),
        ElementKind::Bool => Text::plain(format!("!{value}")),
        ElementKind::Signed | ElementKind::Unsigned | ElementKind::Storage => {
            let text = integer_unary(op, element, value);
            match op {
                UnaryOp::Abs => Text::with(text, Need::IntegerAbs),
                _ => Text::plain(text),
            }
        }
    }
}

fn integer_unary(op: UnaryOp, element: ElementType, value: &str) -> String {
    let (ty, unsigned, bits) = (c_type(element), unsigned_type(element), element.bits());
    let suffix = if bits == 64 { "ll" } else { "" };
    // At least 32 bits; the narrower types are extended with zeros.
    let (wide, signed) = if bits == 64 {
        ("unsigned long long", "long long")
    } else {
        ("unsigned int", "int")
    };
    let extended = format!("({wide})({unsigned}){value}");
    match op {
        UnaryOp::Not => format!("({ty})~{value}"),
        UnaryOp::Negate => format!("({ty})(({unsigned})0 - ({unsigned}){value})"),
        UnaryOp::Abs => format!("tw_abs<{ty}>({value})"),
        UnaryOp::CountOnes => format!("({ty})__popc{suffix}({extended})"),
        UnaryOp::LeadingZeros => {
            format!(
                "({ty})(__clz{suffix}(({signed})({extended})) - {})",
                32u32.saturating_sub(bits)
            )
        }
        // The ones below the lowest one; a one above a narrow type's bits ends those of zero.
        UnaryOp::TrailingZeros => {
            let ended = if bits < 32 {
                format!("({extended} | {}U)", 1u32 << bits)
            } else {
                format!("({extended})")
            };
            format!("({ty})__popc{suffix}(~{ended} & ({ended} - 1U))")
        }
        // Of floats only.
        UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round
        | UnaryOp::Trunc
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Ln
        | UnaryOp::Log2
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh => value.to_owned(),
    }
}

fn float_unary(op: UnaryOp, element: ElementType, value: &str) -> Text {
    let is_double = element == ElementType::F64;
    let x = widen(element, value);
    let library = |name: &str| {
        let suffix = if is_double { "" } else { "f" };
        rounded(element, &format!("{name}{suffix}({x})"), None)
    };
    let function = |name: &str, need| rounded(element, &format!("{name}({x})"), Some(need));
    let sqrt = if is_double { "__dsqrt_rn" } else { "__fsqrt_rn" };
    match op {
        UnaryOp::Negate => Text::plain(match element {
            ElementType::F32 => format!("__int_as_float(__float_as_int({value}) ^ (int)0x80000000)"),
            ElementType::F64 => {
                format!("__longlong_as_double(__double_as_longlong({value}) ^ (long long)0x8000000000000000ULL)")
            }
            _ => format!("(unsigned short)({value} ^ 0x8000U)"),
        }),
        UnaryOp::Abs => Text::plain(match element {
            ElementType::F32 => format!("__int_as_float(__float_as_int({value}) & 0x7fffffff)"),
            ElementType::F64 => format!("__longlong_as_double(__double_as_longlong({value}) & 0x7fffffffffffffffLL)"),
            _ => format!("(unsigned short)({value} & 0x7fffU)"),
        }),
        UnaryOp::Floor => library("floor"),
        UnaryOp::Ceil => library("ceil"),
        UnaryOp::Round => library("rint"),
        UnaryOp::Trunc => library("trunc"),
        UnaryOp::Sqrt => rounded(element, &format!("{sqrt}({x})"), None),
        UnaryOp::Rsqrt => rounded(element, &format!("1 / {sqrt}({x})"), None),
        UnaryOp::Exp => function("tw_exp", Need::Functions),
        UnaryOp::Exp2 => function("tw_exp2", Need::Functions),
        UnaryOp::Ln => function("tw_ln", Need::Functions),
        UnaryOp::Log2 => function("tw_log2", Need::Functions),
        UnaryOp::Sin => function("tw_sin", Need::Trigonometry),
        UnaryOp::Cos => function("tw_cos", Need::Trigonometry),
        UnaryOp::Tanh => function("tw_tanh", Need::Powers),
        // Of integers only.
        UnaryOp::Not | UnaryOp::CountOnes | UnaryOp::LeadingZeros | UnaryOp::TrailingZeros => {
            Text::plain(value.to_owned())
        }
    }
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
        BinaryOp::MultiplyHigh => Text::plain(match element {
            ElementType::I64 => format!("__mul64hi({left}, {right})"),
            ElementType::U64 => format!("__umul64hi({left}, {right})"),
            ElementType::I32 => format!("__mulhi({left}, {right})"),
            ElementType::U32 => format!("__umulhi({left}, {right})"),
            _ if element.is_signed() => format!("({ty})((int){left} * (int){right} >> {})", element.bits()),
            _ => format!(
                "({ty})((unsigned int){left} * (unsigned int){right} >> {})",
                element.bits()
            ),
        }),
        // NVRTC 13.0 loses the sign extension of an 8-bit sum whose minimum it takes in 16 bits; it does not look into this.
        BinaryOp::Min | BinaryOp::Minimum if element == ElementType::I8 => {
            Text::with(format!("tw_min_i8({left}, {right})"), Need::MinMaxI8)
        }
        BinaryOp::Max | BinaryOp::Maximum if element == ElementType::I8 => {
            Text::with(format!("tw_max_i8({left}, {right})"), Need::MinMaxI8)
        }
        BinaryOp::Min | BinaryOp::Minimum => Text::plain(format!("({left} < {right} ? {left} : {right})")),
        BinaryOp::Max | BinaryOp::Maximum => Text::plain(format!("({left} > {right} ? {left} : {right})")),
        // Of floats only.
        BinaryOp::Power => Text::plain(left.to_owned()),
        BinaryOp::ShiftLeft => Text::plain(format!("({ty})(({wide}){left} << ((unsigned int){right} & {mask}U))")),
        BinaryOp::ShiftRight => Text::plain(format!("({ty})({left} >> ((unsigned int){right} & {mask}U))")),
        BinaryOp::Divide => Text::with(format!("tw_div<{ty}>({left}, {right})"), Need::Division),
        BinaryOp::Remainder => Text::with(format!("tw_rem<{ty}>({left}, {right})"), Need::Division),
    }
}

fn float_binary(op: BinaryOp, element: ElementType, left: &str, right: &str) -> Text {
    let (l, r) = (widen(element, left), widen(element, right));
    let function = |name: &str, need| rounded(element, &format!("{name}({l}, {r})"), Some(need));
    match op {
        BinaryOp::Min => function("tw_fmin", Need::FloatMinMax),
        BinaryOp::Max => function("tw_fmax", Need::FloatMinMax),
        BinaryOp::Minimum => function("tw_fminimum", Need::FloatMinMax),
        BinaryOp::Maximum => function("tw_fmaximum", Need::FloatMinMax),
        BinaryOp::Power => function("tw_power", Need::Powers),
        _ => rounded(element, &format!("({l} {} {r})", bit_operator(op)), None),
    }
}

pub(super) fn mul_add(element: ElementType, left: &str, right: &str, addend: &str) -> Text {
    let [l, r, a] = [left, right, addend].map(|value| widen(element, value));
    let function = if element == ElementType::F64 {
        "__fma_rn"
    } else {
        "__fmaf_rn"
    };
    rounded(element, &format!("{function}({l}, {r}, {a})"), None)
}

pub(super) fn compare(op: CompareOp, element: ElementType, left: &str, right: &str) -> Text {
    let text = format!("({} {} {})", widen(element, left), op.symbol(), widen(element, right));
    match element {
        ElementType::F16 | ElementType::BF16 => Text::with(text, conversions(element)),
        _ => Text::plain(text),
    }
}

pub(super) fn cast(from: ElementType, to: ElementType, value: &str) -> Text {
    // Nothing is rounded, so a NaN keeps its bits.
    if from == to {
        return Text::plain(value.to_owned());
    }
    let wide = widen(from, value);
    let mut needs = Vec::new();
    if wide != value {
        needs.push(conversions(from));
    }
    let is_integer = matches!(
        from.kind(),
        ElementKind::Bool | ElementKind::Signed | ElementKind::Unsigned
    );
    let text = match (to.kind(), to) {
        (ElementKind::Bool, _) => format!("({wide} != 0)"),
        (ElementKind::Signed | ElementKind::Unsigned, _) if is_integer => format!("({}){value}", c_type(to)),
        (ElementKind::Signed | ElementKind::Unsigned, _) => {
            needs.push(Need::FloatToInteger);
            format!("tw_float_to_integer<{}>({wide})", c_type(to))
        }
        (ElementKind::Float | ElementKind::Storage, ElementType::F32 | ElementType::F64) if is_integer => {
            format!("({}){value}", c_type(to))
        }
        (ElementKind::Float | ElementKind::Storage, ElementType::F32 | ElementType::F64) => {
            needs.push(conversions(to));
            narrow(to, &format!("({}){wide}", c_type(to)))
        }
        // Narrower floats: from what a `float` holds exactly, or else from a `float` that was rounded to odd.
        (ElementKind::Float | ElementKind::Storage, _) => {
            needs.push(conversions(to));
            if from.size() < 4 || from == ElementType::F32 {
                narrow(to, &format!("(float){wide}"))
            } else {
                needs.push(Need::RoundToOdd);
                narrow(to, &format!("tw_to_odd({wide})"))
            }
        }
    };
    Text { text, needs }
}

pub(super) fn bitcast(from: ElementType, to: ElementType, value: &str) -> Text {
    Text::plain(match (from, to) {
        (ElementType::F32, ElementType::F32) | (ElementType::F64, ElementType::F64) => value.to_owned(),
        (ElementType::F32, _) => format!("({})__float_as_int({value})", c_type(to)),
        (ElementType::F64, _) => format!("({})__double_as_longlong({value})", c_type(to)),
        (_, ElementType::F32) => format!("__int_as_float((int){value})"),
        (_, ElementType::F64) => format!("__longlong_as_double((long long){value})"),
        _ => format!("({}){value}", c_type(to)),
    })
}
