//! Random kernels, run in every way there is: the interpreter on the kernel as generated is the oracle; the kernel after
//! each transformation, the CPU device and, where there is one, a GPU under several schedules and with each compiler must leave the same bits in
//! memory, guards included. So must the kernel fused with others, of each of them. Texts are compiled wherever NVRTC is.
//!
//! A failure prints the seed of its case and the kernel. To run that case alone, and to run more cases:
//!
//! ```text
//! TILEWRIGHT_FUZZ_SEED=1234 cargo test --test differential
//! TILEWRIGHT_FUZZ_CASES=10000 cargo test --release --test differential
//! ```
//!
//! `TILEWRIGHT_FUZZ_FIRST` is the seed of the first case (0 by default).

mod case;
mod cases;
mod conditions;
mod generate;
mod identity;
mod launch;
mod mutate;
mod oracle;
mod races;
mod schedules;
mod statistics;
mod threads;
mod verifier;
