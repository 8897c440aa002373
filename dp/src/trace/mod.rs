//! Recorded request traces, and the token counts that serving them produces.
//!
//! A [`Trace`] is a list of requests with an arrival time, a prompt length and an answer length, read from a CSV file with
//! the columns `TIMESTAMP,ContextTokens,GeneratedTokens`: the format of the Azure LLM inference traces (Azure Public
//! Dataset, CC-BY 4.0; Patel et al., "Splitwise: Efficient generative LLM inference using phase splitting", ISCA 2024).
//! [`Trace::replay`] simulates data-parallel ranks serving it and yields the counts of every step.

mod read;
mod replay;
mod timestamp;

pub use read::TraceError;
pub use replay::{Replay, ReplayOptions, Step};

use std::time::Duration;

/// One request of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// When it arrived, after the first request of the trace.
    pub arrival: Duration,
    /// Tokens of its prompt.
    pub context_tokens: u64,
    /// Tokens of its answer.
    pub generated_tokens: u64,
}

/// A list of requests, ordered by arrival. It is never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    requests: Vec<Request>,
}

impl Trace {
    /// The requests, ordered by arrival.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }
}
