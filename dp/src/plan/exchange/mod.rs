//! What the ranks tell each other before a step, packed into one vector, and what all of them conclude from it.
//!
//! Every decision that involves a collective has to be the same on every rank. Each rank packs what it knows into a few
//! words, one all-gather shows all of them to all ([`Agreement::tell`]), and a conclusion depends on that table and on the
//! configuration alone. The engines' forms are types of what a rank tells ([`Packed`]): [`Vllm4`], [`Vllm6`],
//! [`Sglang8`] and [`TensorRt`]; their [columns](Packed::COLUMNS) and conclusions differ, the mechanism does not. A request
//! that has what ranks [`Told`] is planned by what follows from it.
//!
//! [`Agreement::tell`]: crate::collective::Agreement::tell
//!
//! ```
//! use std::{sync::Arc, thread, time::Duration};
//! use tilewright_dp::collective::{Agreement, ThreadExchange};
//! use tilewright_dp::plan::exchange::{GraphMode, Vllm4};
//!
//! let ranks = ThreadExchange::ranks(2, Duration::from_secs(10))?.into_iter().zip([600, 700]);
//! let step = |exchange, tokens| {
//!     let mine = Vllm4 { tokens, padded: tokens, vote: true, mode: GraphMode::None };
//!     Agreement::new(Arc::new(exchange)).tell(&mine, &[]).unwrap().conclude(2).unwrap()
//! };
//! let ranks: Vec<_> = ranks.map(|(exchange, tokens)| thread::spawn(move || step(exchange, tokens))).collect();
//! for rank in ranks {
//!     let conclusion = rank.join().unwrap();
//!     assert!(conclusion.split && conclusion.counts == [700, 700]);
//! }
//! # Ok::<(), tilewright_dp::collective::CollectiveError>(())
//! ```

mod error;
mod sglang;
mod table;
mod tensorrt;
#[cfg(test)]
mod tests;
mod told;
mod vllm4;
mod vllm6;

pub(super) use told::Rows;

pub use error::ExchangeError;
pub use sglang::{SchedulerMode, Sglang8, Sglang8Conclusion};
pub use table::{Column, Packed, Reduction, Table};
pub use tensorrt::{Captured, NewRequest, TensorRt, TensorRtConclusion, route};
pub use told::{Conclusion, ExchangeForm, Told, ToldPlan};
pub use vllm4::{GraphMode, Vllm4, Vllm4Conclusion};
pub use vllm6::{Vllm6, Vllm6Conclusion, Vllm6Rules};
