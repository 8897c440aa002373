//! Where in the author's Rust source a part of a kernel was written.

use std::fmt;
use std::panic::Location;

/// A position in a Rust source file; [`Span::UNKNOWN`] for what no author wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file as rustc names it.
    pub file: &'static str,
    /// The line, from 1; 0 if unknown.
    pub line: u32,
    /// The column, from 1; 0 if unknown.
    pub column: u32,
}

impl Span {
    /// No position.
    pub const UNKNOWN: Span = Span {
        file: "",
        line: 0,
        column: 0,
    };

    /// The position of the caller of the nearest function that is not `#[track_caller]`.
    #[track_caller]
    pub fn here() -> Self {
        Location::caller().into()
    }

    /// Whether this names a position.
    pub fn is_known(&self) -> bool {
        self.line != 0
    }
}

impl From<&'static Location<'static>> for Span {
    fn from(location: &'static Location<'static>) -> Self {
        Self {
            file: location.file(),
            line: location.line(),
            column: location.column(),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_known() {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        } else {
            f.write_str("<unknown>")
        }
    }
}
