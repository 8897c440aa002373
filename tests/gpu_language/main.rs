//! The language on every device: each kernel runs on the CPU device, where the host checks it, and on a GPU if there is
//! one, which must give the same bits. Every variant is also compiled for all architectures, wherever NVRTC is.

mod atomics;
mod caches;
mod casts;
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
