//! Kernels that are lowered, and do the same as the tile interpreter says.

mod apart;
mod barriers;
mod effects;
mod in_order;
mod loops;
mod marks;
mod meeting;
mod movement;
mod ptx;
mod random;
mod run;
mod wide;
