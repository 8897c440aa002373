//! Which buffers may come from symmetric memory.
//!
//! Allocating there is a collective: if one rank allocates another size, or in another order, all wait for ever. So a
//! buffer may come from it only if every rank knows that all allocate the same.

use serde::Serialize;

use super::PlanError;
use super::sizes::are_equal;
use crate::layout::{GatheredLayout, PaddingMode};

/// What of a step may come from symmetric memory. Before the first forward of a program nothing may. A draft model's
/// buffers follow the same rules, and the part of the memory that was allocated ahead is the target's alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Symmetric {
    /// The gathered buffer and the local one; the norm output that is gathered, what attention TP gathers, and the
    /// quantised activations of 4-bit experts with what routes them.
    pub step: bool,
    /// The output of a gather of sizes, which are equal and so a plain gather's.
    pub gather: bool,
    /// The gathered logits, and keys and values that context-parallel parts gather.
    pub logits: bool,
}

impl Symmetric {
    /// Of `gpus` GPUs in `dp` data-parallel ranks, which gather these buffers, one for each micro-batch, and so many
    /// rows of logits each.
    ///
    /// ```
    /// use tilewright_dp::layout::{GatheredLayout, HiddenState, PaddingMode};
    /// use tilewright_dp::plan::Symmetric;
    ///
    /// let of = |mode| {
    ///     let layout = GatheredLayout::new(mode, &[64, 64], 1, HiddenState::bf16(7168))?;
    ///     Ok::<_, Box<dyn std::error::Error>>(Symmetric::new(2, 2, [&layout], &[64, 64]))
    /// };
    /// let packed = of(PaddingMode::Sum)?;
    /// assert_eq!((packed.step, packed.gather), (false, true));
    /// assert!(of(PaddingMode::Max)?.step);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<'a>(
        gpus: u64,
        dp: u64,
        gathered: impl IntoIterator<Item = &'a GatheredLayout, IntoIter: Clone>,
        logits: &[u64],
    ) -> Self {
        let (shared, mut gathered) = (gpus > 1, gathered.into_iter());
        let mut modes = gathered.clone().map(GatheredLayout::mode);
        Self {
            step: shared && (dp <= 1 || modes.all(|mode| mode == PaddingMode::Max)),
            gather: shared && gathered.all(|layout| are_equal(layout.padded())),
            logits: shared && are_equal(logits),
        }
    }
}

/// Three equal buffers of an all-reduce, which grow (TensorRT-LLM).
///
/// ```
/// use tilewright_dp::plan::ReduceWorkspace;
///
/// let mut workspace = ReduceWorkspace::of_elements(2);
/// assert!(!workspace.grow(10 << 20)?);
/// assert_eq!(workspace.bytes(), 48 << 20);
/// assert!(workspace.grow(20 << 20)?);
/// assert_eq!(workspace.bytes(), 72 << 20);
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReduceWorkspace {
    buffer: u64,
}

/// Buffers of an all-reduce.
const BUFFERS: u64 = 3;
/// What a buffer grows to a multiple of.
const STEP: u64 = 8 << 20;
/// The largest buffer, so that three of them have a number of bytes.
const LARGEST: u64 = 1 << 60;

impl ReduceWorkspace {
    /// As a layer makes it before there is a need: for 1024 × 8192 elements of so many bytes.
    pub const fn of_elements(element_bytes: u32) -> Self {
        Self {
            buffer: 1024 * 8192 * element_bytes as u64,
        }
    }

    /// As a first call with a need makes it: of exactly that.
    ///
    /// # Errors
    /// It is over 1 EiB.
    pub fn of_need(bytes: u64) -> Result<Self, PlanError> {
        Ok(Self { buffer: check(bytes)? })
    }

    /// Makes room for a need, in steps of 8 MiB, and returns whether it grew.
    ///
    /// # Errors
    /// It is over 1 EiB.
    pub fn grow(&mut self, bytes: u64) -> Result<bool, PlanError> {
        let grows = check(bytes)? > self.buffer;
        if grows {
            self.buffer = bytes.next_multiple_of(STEP);
        }
        Ok(grows)
    }

    /// Bytes of all its buffers.
    pub const fn bytes(&self) -> u64 {
        BUFFERS * self.buffer
    }
}

fn check(bytes: u64) -> Result<u64, PlanError> {
    match bytes {
        0..=LARGEST => Ok(bytes),
        _ => Err(PlanError::WorkspaceTooLarge { bytes }),
    }
}
