//! Mistakes that people make. Each of them is a typed error that says what is wrong, where, and what to do; nothing has
//! been written by then, and the next launch is right. What rustc refuses is in `compile_fail.rs`.

mod arguments;
mod counts;
mod grids;
mod kernels;
mod memory;
mod nvrtc;
mod shapes;
mod support;
mod traces;
