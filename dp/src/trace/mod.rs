//! Recorded request traces.
//!
//! A [`Trace`] is a list of requests with an arrival time, a prompt length and an answer length, read from a CSV file with
//! the columns `TIMESTAMP,ContextTokens,GeneratedTokens`: the format of the Azure LLM inference traces (Azure Public
//! Dataset, CC-BY 4.0; Patel et al., "Splitwise: Efficient generative LLM inference using phase splitting", ISCA 2024).
//! A [`Simulation`](crate::simulate::Simulation) serves one with data-parallel ranks and yields the counts of every step.

mod bounded;
mod read;
mod timestamp;

pub use read::TraceError;

use std::time::Duration;

/// The most tokens of a request's prompt or answer in a file; more are a mistake in it. No model has so long a context.
pub const MAX_TOKENS: u64 = 1 << 24;

/// The most requests of a trace in a file. They are kept in memory, as is what every step of serving them allocates.
pub const MAX_REQUESTS: usize = 1 << 22;

/// The most bytes of a trace in a file.
pub const MAX_BYTES: u64 = 1 << 29;

/// The most bytes of a line of a trace.
pub const MAX_LINE: u64 = 1 << 16;

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
    /// A trace of these requests, in the order of their arrival; `None` if there are none.
    pub fn new(mut requests: Vec<Request>) -> Option<Self> {
        requests.sort_by_key(|request| request.arrival);
        (!requests.is_empty()).then_some(Self { requests })
    }

    /// The requests, ordered by arrival.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }
}
