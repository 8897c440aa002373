//! Kernels that are lowered, and do the same as the tile interpreter says.

mod effects;
mod movement;
mod random;
mod run;
mod wide;
