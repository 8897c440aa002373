//! What is proved about a kernel.
//!
//! * [`linear`]: integer values as sums of multiples of unknowns,
//! * [`range`]: bounds of every integer value, symbolic and numeric, refined by the conditions around it,
//! * [`condition`]: what is proved of some launches only, as conditions on their integers,
//! * [`divisibility`]: which powers of two divide a value,
//! * [`contiguity`]: how an access moves through memory as the innermost tile axis advances,
//! * `lines`: which elements that are combined take long to compute, and which threads hand each other,
//! * [`effects`]: which tensors are read and written, and whether a program's threads are independent,
//! * [`races`]: which accesses can be part of a race between programs, and what may order them,
//! * [`opening`]: what a program does before it waits for the launches before its own.
//!
//! Uniformity needs no analysis: scalars are uniform over a program by construction.

pub mod atomics;
pub mod condition;
pub mod contiguity;
pub mod divisibility;
pub mod effects;
pub mod linear;
pub(crate) mod lines;
pub mod opening;
pub mod races;
pub mod range;
