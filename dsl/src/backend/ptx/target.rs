//! What a text is printed for.

use std::fmt;

use crate::ir::Span;
use crate::thread::Features;

/// A GPU and a version of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    capability: u32,
    specific: bool,
    version: (u32, u32),
}

impl Target {
    /// GPUs of a compute capability, and later ones: 80 is 8.0. The version of PTX is the first one that has all that is
    /// printed, so that old drivers take it.
    ///
    /// # Errors
    /// Nothing is printed for GPUs before 8.0.
    pub fn new(capability: u32) -> Result<Self, Unsupported> {
        let version = match capability {
            80..=99 => (7, 8),
            100.. => (8, 6),
            _ => {
                return Err(Unsupported {
                    what: "instructions that are printed".to_owned(),
                    target: format!("sm_{capability}"),
                    span: Span::UNKNOWN,
                });
            }
        };
        Ok(Self {
            capability,
            specific: false,
            version,
        })
    }

    /// GPUs of exactly this compute capability, with what no later one has: `sm_90a`.
    #[must_use]
    pub fn specific(self) -> Self {
        Self {
            specific: true,
            version: self.version.max((8, 0)),
            ..self
        }
    }

    /// With a later version of PTX, which instructions of the author's may want.
    #[must_use]
    pub fn with_version(self, major: u32, minor: u32) -> Self {
        let version = self.version.max((major, minor));
        Self { version, ..self }
    }

    /// The compute capability.
    pub const fn capability(self) -> u32 {
        self.capability
    }

    /// The version of PTX.
    pub const fn version(self) -> (u32, u32) {
        self.version
    }

    /// What it has instructions for.
    pub const fn features(self) -> Features {
        Features::of_compute_capability(self.capability)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}", self.capability, if self.specific { "a" } else { "" })
    }
}

/// Something that PTX cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX for {target} has no {what}{}", at(span))]
pub struct Unsupported {
    /// What it has not.
    pub what: String,
    /// For which GPUs.
    pub target: String,
    /// Where it is wanted, if that is known.
    pub span: Span,
}

fn at(span: &Span) -> String {
    match span.is_known() {
        true => format!("\n  --> {span}"),
        false => String::new(),
    }
}
