//! Groups of ranks that store into each other's memory: what they compute, in one launch each, and what goes wrong. Ranks are
//! threads with a CPU device each, and with a GPU each where there are several.

#[path = "../support/mod.rs"]
mod support;

mod any;
mod computed;
mod faults;
mod place;
mod planted;
mod processes;
mod texts;
