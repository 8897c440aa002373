//! Printers: thread IR as text. They decide nothing.

pub mod ptx;
