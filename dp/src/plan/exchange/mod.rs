//! What the ranks tell each other before a step, packed into one vector, and what all of them conclude from it.
//!
//! Every decision that involves a collective has to be the same on every rank. Each rank packs what it knows into a few
//! words ([`Form::encode`]), one all-gather shows all of them to all ([`Form::exchange`]), and the conclusion
//! depends on nothing else. The forms of the engines differ in their [columns](Form::columns) alone.

mod conclude;
mod error;
mod form;

pub use conclude::Agreement;
pub use error::ExchangeError;
pub use form::{Column, Form, Reduction, Table};
