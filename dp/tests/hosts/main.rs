//! Groups of ranks of several hosts, several on each: what they compute, and what goes wrong. Ranks are threads with a CPU device each,
//! or processes, with a GPU each where there are four.

#[path = "../movement/ranks.rs"]
#[allow(dead_code)] // The suite of movement uses the rest.
mod ranks;

#[path = "../peer_group/place.rs"]
#[allow(dead_code)] // The suite of peers uses the rest.
mod place;

mod computed;
mod faults;
mod groups;
mod layout;
mod movement;
mod processes;
mod sums;
mod times;
