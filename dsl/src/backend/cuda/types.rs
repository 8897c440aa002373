//! Element types and literals in CUDA C++.
//!
//! Floats of 16 bits and less are carried as raw bits (`unsigned short`, `unsigned char`).

use crate::element::ElementType;
use crate::ir::Literal;

/// The C++ type that holds one element.
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

/// The unsigned C++ type of so many bytes.
pub(super) fn unsigned_type(bytes: usize) -> &'static str {
    match bytes {
        1 => "unsigned char",
        2 => "unsigned short",
        4 => "unsigned int",
        _ => "unsigned long long",
    }
}

/// What the operand of an assembler statement that holds an element is called: a register of its width.
pub(super) fn constraint(element: ElementType) -> &'static str {
    match element {
        ElementType::F32 => "f",
        ElementType::F64 => "d",
        _ => match element.size() {
            1 | 2 => "h",
            4 => "r",
            _ => "l",
        },
    }
}

/// A literal, with exactly its type.
pub(super) fn literal(literal: Literal) -> String {
    let bits = literal.bits;
    match literal.element {
        ElementType::Bool => literal.as_bool().to_string(),
        ElementType::I64 => wide(bits as i64),
        ElementType::I32 => narrow(bits as u32 as i32),
        ElementType::I8 => format!("(signed char){}", narrow((bits as u8 as i8).into())),
        ElementType::I16 => format!("(short){}", narrow((bits as u16 as i16).into())),
        ElementType::U64 => format!("{bits}ULL"),
        ElementType::U32 => format!("{bits}U"),
        ElementType::U8 | ElementType::F8E4M3 | ElementType::F8E5M2 => format!("(unsigned char){bits}U"),
        ElementType::U16 => format!("(unsigned short){bits}U"),
        ElementType::F16 | ElementType::BF16 => format!("(unsigned short)0x{bits:04x}U"),
        ElementType::F32 => format!("__int_as_float(0x{bits:08x})"),
        ElementType::F64 => format!("__longlong_as_double(0x{bits:016x}LL)"),
    }
}

/// An `int`.
pub(super) fn narrow(value: i32) -> String {
    match value {
        i32::MIN => "(-2147483647 - 1)".to_owned(),
        _ if value < 0 => format!("({value})"),
        _ => value.to_string(),
    }
}

/// A `long long`.
pub(super) fn wide(value: i64) -> String {
    match value {
        i64::MIN => "(-9223372036854775807LL - 1LL)".to_owned(),
        _ if value < 0 => format!("({value}LL)"),
        _ => format!("{value}LL"),
    }
}

/// The bits of a value as an unsigned integer of its width.
pub(super) fn bits_of(element: ElementType, value: &str) -> String {
    match element {
        ElementType::F32 => format!("__float_as_uint({value})"),
        ElementType::F64 => format!("(unsigned long long)__double_as_longlong({value})"),
        _ => format!("({}){value}", unsigned_type(element.size())),
    }
}

/// The value of the bits of an unsigned integer of its width.
pub(super) fn of_bits(element: ElementType, bits: &str) -> String {
    match element {
        ElementType::F32 => format!("__uint_as_float({bits})"),
        ElementType::F64 => format!("__longlong_as_double((long long)({bits}))"),
        _ => format!("({})({bits})", c_type(element)),
    }
}

/// Text as it stands in quotes, whatever it is.
pub(super) fn in_quotes(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b' '..=b'~' if !b"\"\\?".contains(&byte) => char::from(byte).to_string(),
        // Three octal digits end wherever the next character begins.
        _ => format!("\\{byte:03o}"),
    };
    text.bytes().map(escape).collect()
}

/// Text as it stands in a comment of one line, whatever it is: a line that ends in a backslash would go on in the next one.
pub(super) fn in_comment(text: &str) -> String {
    let plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '\\' | '?');
    text.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_author_writes_stays_inside_its_quotes() {
        assert_eq!(in_quotes("50% of \"a\\b\"\n7"), "50% of \\042a\\134b\\042\\0127");
        assert_eq!(in_quotes("é??/\r\0"), "\\303\\251\\077\\077/\\015\\000");
    }

    #[test]
    fn whatever_a_comment_says_it_ends_with_its_line() {
        assert_eq!(in_comment("rows of 7 \\"), "rows of 7 _");
        assert_eq!(in_comment("what??/"), "what__/");
    }

    #[test]
    fn literals_have_their_types() {
        let of = |element, bits| literal(Literal { element, bits });
        assert_eq!(of(ElementType::I32, 0x8000_0000), "(-2147483647 - 1)");
        assert_eq!(of(ElementType::I64, 1 << 63), "(-9223372036854775807LL - 1LL)");
        assert_eq!(of(ElementType::I8, 0xff), "(signed char)(-1)");
        assert_eq!(of(ElementType::U32, 7), "7U");
        assert_eq!(of(ElementType::F32, 0x7fff_ffff), "__int_as_float(0x7fffffff)");
        assert_eq!(of(ElementType::Bool, 1), "true");
    }
}
