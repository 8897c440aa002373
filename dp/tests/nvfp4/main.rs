//! Rows in 4 bits and back, value by value against the tables of their types.

mod reference;
mod rounding;
mod slots;
mod swizzle;
mod threads;
