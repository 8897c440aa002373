//! What can go wrong while a kernel is recorded.

use crate::ir::Span;

/// A kernel that cannot be recorded for the extents at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kernel `{kernel}`: {message}\n  --> {span}{}", advice.as_ref().map(|a| format!("\n  = help: {a}")).unwrap_or_default())]
pub struct TraceError {
    /// The kernel's name.
    pub kernel: String,
    /// What is wrong.
    pub message: String,
    /// Where it was written.
    pub span: Span,
    /// What to write instead, if there is one answer.
    pub advice: Option<String>,
}
