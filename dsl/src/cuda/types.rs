//! Element types and literals in CUDA C++.
//!
//! Floats of 16 bits and less are carried as raw bits (`unsigned short`, `unsigned char`): moving them is exact, and
//! arithmetic converts to `float` and back.

use crate::element::ElementType;
use crate::ir::Literal;

/// The C++ type that holds one value.
pub(super) fn c_type(element: ElementType) -> &'static str {
    match element {
        ElementType::Bool => "bool",
        ElementType::I8 => "signed char",
        ElementType::I16 => "short",
        ElementType::I32 => "int",
        ElementType::I64 => "long long",
        ElementType::U8 | ElementType::F8E4M3 | ElementType::F8E5M2 => "unsigned char",
        ElementType::U16 | ElementType::F16 | ElementType::BF16 => "unsigned short",
        ElementType::U32 => "unsigned int",
        ElementType::U64 => "unsigned long long",
        ElementType::F32 => "float",
        ElementType::F64 => "double",
    }
}

/// The C++ type of one element in memory: bool is a byte that may hold anything.
pub(super) fn memory_type(element: ElementType) -> &'static str {
    match element {
        ElementType::Bool => "unsigned char",
        other => c_type(other),
    }
}

/// The unsigned C++ type of the same width.
pub(super) fn unsigned_type(element: ElementType) -> &'static str {
    match element.size() {
        1 => "unsigned char",
        2 => "unsigned short",
        4 => "unsigned int",
        _ => "unsigned long long",
    }
}

/// A literal, suffixed so that it has exactly its type.
pub(super) fn literal(literal: Literal) -> String {
    let bits = literal.bits;
    match literal.element {
        ElementType::Bool => if literal.as_bool() { "true" } else { "false" }.to_owned(),
        ElementType::I64 if bits == i64::MIN as u64 => "(-9223372036854775807LL - 1LL)".to_owned(),
        ElementType::I64 => signed(bits as i64, "LL"),
        ElementType::I32 if bits as u32 == i32::MIN as u32 => "(-2147483647 - 1)".to_owned(),
        ElementType::I32 => signed(bits as u32 as i32 as i64, ""),
        ElementType::I8 => format!("(signed char){}", signed(bits as u8 as i8 as i64, "")),
        ElementType::I16 => format!("(short){}", signed(bits as u16 as i16 as i64, "")),
        ElementType::U64 => format!("{bits}ULL"),
        ElementType::U32 => format!("{bits}U"),
        ElementType::U8 | ElementType::F8E4M3 | ElementType::F8E5M2 => format!("(unsigned char){bits}U"),
        ElementType::U16 => format!("(unsigned short){bits}U"),
        ElementType::F16 | ElementType::BF16 => format!("(unsigned short)0x{bits:04x}U"),
        ElementType::F32 => format!("__int_as_float(0x{bits:08x})"),
        ElementType::F64 => format!("__longlong_as_double(0x{bits:016x}LL)"),
    }
}

fn signed(value: i64, suffix: &str) -> String {
    if value < 0 {
        format!("({value}{suffix})")
    } else {
        format!("{value}{suffix}")
    }
}
