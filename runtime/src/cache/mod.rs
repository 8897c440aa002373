//! Variants that are kept, so that none is built twice.
//!
//! [`memory`](Variants) keeps them for the process. A disk cache belongs below it, between a missing variant and NVRTC,
//! keyed by the CUDA C++, the compiler's options and its identity.

mod memory;

pub(crate) use memory::Variants;
