//! Rows through the gathered buffer and back, between ranks that are threads.

mod bound;
mod context;
mod devices;
mod mismatch;
mod push;
mod ranks;
#[path = "../nvfp4/reference.rs"]
mod reference;
mod round_trips;
mod sums;
mod wire;
