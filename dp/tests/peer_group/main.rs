//! Groups of ranks that store into each other's memory: what they compute, in one launch each, and what goes wrong. Ranks are
//! threads with a CPU device each, and with a GPU each where there are several.

#[path = "../movement/ranks.rs"]
#[allow(dead_code)] // The suite of movement uses the rest.
mod ranks;

mod any;
mod computed;
mod faults;
mod movement;
mod place;
mod planted;
mod processes;
mod texts;
mod wrap;
