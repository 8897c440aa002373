//! Printing, through the function that every GPU program has for it.

use super::prelude::Need;
use super::scalar;
use super::writer::Writer;
use crate::element::{ElementKind, ElementType};
use crate::ir::{Expression, Handle};

impl Writer<'_> {
    /// Prints a line from the first thread of the program.
    pub(super) fn print(&mut self, format: &str, values: &[Handle<Expression>]) {
        self.need(Need::Print);
        let (mut text, mut fields, mut arguments) = (String::new(), String::new(), Vec::new());
        for (number, part) in format.split("{}").enumerate() {
            if let Some(&value) = number.checked_sub(1).and_then(|number| values.get(number)) {
                let (element, name) = (self.kernel.ty(value).element, self.scalar(value));
                let (place, ty, argument) = match element.kind() {
                    ElementKind::Bool => ("%s", "const char*", format!("{name} ? \"true\" : \"false\"")),
                    ElementKind::Signed => ("%lld", "long long", format!("(long long){name}")),
                    ElementKind::Unsigned | ElementKind::Storage => {
                        ("%llu", "unsigned long long", format!("(unsigned long long){name}"))
                    }
                    ElementKind::Float if element == ElementType::F64 => ("%.17g", "double", name),
                    ElementKind::Float => {
                        let wide = self.text(scalar::cast(element, ElementType::F64, &name));
                        ("%.9g", "double", wide)
                    }
                };
                text += place;
                fields += &format!("{ty} v{number}; ");
                arguments.push(argument);
            }
            text += &in_quotes(&part.replace('%', "%%"));
        }
        self.open("if (worker == 0) {");
        if arguments.is_empty() {
            self.line(format!("vprintf(\"{text}\\n\", nullptr);"));
        } else {
            self.line(format!("struct {{ {fields}}} line = {{ {} }};", arguments.join(", ")));
            self.line(format!("vprintf(\"{text}\\n\", &line);"));
        }
        self.close();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_author_writes_stays_inside_its_quotes() {
        assert_eq!(in_quotes("50% of \"a\\b\"\n7"), "50% of \\042a\\134b\\042\\0127");
        assert_eq!(in_quotes("é??/\r\0"), "\\303\\251\\077\\077/\\015\\000");
    }
}
