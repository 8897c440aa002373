//! What was measured, by architecture. `cargo xtask tune` writes this file and those beside it.

mod sm_90;

use super::Tuning;

pub(super) const TABLES: &[(u32, Tuning)] = &[(90, sm_90::TUNING)];
