//! Tiers on the CPU device, where building can be held up, fail and panic.

use std::sync::Arc;

use crate::error::LaunchError;

/// What is done instead of compiling: it is told the kernel, and whether nobody waits.
pub(super) type Injected = Arc<dyn Fn(&str, bool) -> Result<(), LaunchError> + Send + Sync>;
