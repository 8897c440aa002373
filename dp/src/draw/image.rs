//! An SVG document: what all drawings share.

use std::fmt::{self, Write};

/// The width of every image.
pub(super) const WIDTH: f64 = 960.0;
pub(super) const MARGIN: f64 = 24.0;

const STYLE: &str = "\
text { font-family: ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; font-size: 13px; fill: #1f2430 }
.title { font-size: 18px; font-weight: 600 }
.quiet { fill: #5b6474; font-size: 12px }
.number { font-variant-numeric: tabular-nums }
.right { text-anchor: end }
.middle { text-anchor: middle }
.real { fill: #1769aa }
.padding { fill: url(#hatch) }
.outline { fill: none; stroke: #8b95a5; stroke-width: 1 }
.tick { stroke: #8b95a5; stroke-width: 1 }
";

/// An image that grows by a line for each thing drawn.
pub(super) struct Image {
    text: String,
}

impl Image {
    /// An empty image with a heading; `title` is what it is called where it is not seen.
    pub fn new(title: &str, heading: &str, height: f64) -> Self {
        let mut image = Self { text: String::new() };
        image.line(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">"#
        ));
        image.line(format_args!("<title>{}</title>", Escaped(title)));
        image.line(format_args!("<style>\n{STYLE}</style>"));
        image.line(format_args!(concat!(
            r##"<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">"##,
            r##"<rect width="6" height="6" fill="#f0f2f5"/><rect width="2" height="6" fill="#c3cad4"/></pattern></defs>"##,
        )));
        image.line(format_args!(
            r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##
        ));
        image.label("title", MARGIN, 36.0, heading);
        image
    }

    pub fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    pub fn label(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = Escaped(text);
        self.line(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#
        ));
    }

    /// A rectangle, unless it is empty.
    pub fn rectangle(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        if width > 0.0 {
            self.line(format_args!(
                r#"<rect class="{class}" x="{x:.2}" y="{y:.1}" width="{width:.2}" height="{height:.1}"/>"#
            ));
        }
    }

    /// The whole document.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// Text whose characters are no markup, and none of which breaks a document.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            // XML has no way to write most of them.
            character if character.is_control() => f.write_char('\u{fffd}'),
            character => f.write_char(character),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        let mut image = Image::new("a<b", "a & b", 10.0);
        image.label("quiet", 1.0, 2.0, "<c\0\u{1b}");
        let text = image.finish();
        for part in [
            "<title>a&lt;b</title>",
            ">a &amp; b</text>",
            ">&lt;c\u{fffd}\u{fffd}</text>",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
