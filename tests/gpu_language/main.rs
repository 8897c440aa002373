//! The language on every device: each kernel runs on the CPU device, where the host checks it, and on a GPU if there is
//! one, which must give the same bits. The first variants of each kernel are also compiled, the very first for all
//! architectures, by what compilers there are; `TILEWRIGHT_COMPILED_VARIANTS` says how many, 6 by default.

mod atomics;
mod caches;
mod casts;
mod clusters;
mod collectives;
mod contracts;
mod control_flow;
mod devices;
mod empty;
mod fusion;
mod inline_ptx;
mod lists;
mod literals;
mod loops;
mod memory;
mod operators;
mod overlap;
mod policies;
mod races;
mod requirements;
mod schedules;
mod shapes;
mod strides;
mod tiles;
mod values;
