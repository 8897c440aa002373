//! What is done over and over.

use std::error::Error;

use tilewright_runtime::{Launched, Stream, TensorError};

use crate::case::Way;

/// What an output holds before a launch that is checked: no padding, and nothing that an operation leaves.
pub const POISON: u16 = 0x5555;

/// An operation on sets of rows of its own.
pub trait Work {
    /// Launches the operation on one set of rows.
    fn launch(&mut self, stream: &Stream, way: &Way, set: usize) -> Result<Launched, Box<dyn Error>>;

    /// Makes every element of the output wrong, unless it belongs to whoever asks, who does.
    fn poison(&mut self) -> Result<(), TensorError> {
        Ok(())
    }

    /// Compares the output, bit for bit, with what the operation leaves after `poison` if every set was launched; or leaves that
    /// to whoever asks.
    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }
}
