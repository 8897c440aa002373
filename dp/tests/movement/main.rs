//! Rows through the gathered buffer and back, between ranks that are threads.

mod context;
mod mismatch;
mod push;
mod ranks;
mod round_trips;
mod sums;
mod wire;
