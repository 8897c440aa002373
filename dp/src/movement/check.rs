//! What was planned against what is there.

use tilewright_runtime::{DeviceTensor, TensorError};

use super::{Movement, MovementError};
use crate::collective::Group;

/// What to do with a rank's tensor that the plan does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMismatch {
    /// Refuse to move anything.
    #[default]
    Refuse,
    /// Move the rows that are both planned and there, and say how many.
    Clamp,
}

/// The rows of a rank that were moved.
///
/// An engine that plans a draft-extend for 5 requests of 4 tokens plans 20 rows, and has 7 if most requests have finished
/// or rejected their drafts:
///
/// ```
/// use tilewright_dp::movement::Moved;
///
/// let moved = Moved { planned: 20, moved: 7 };
/// assert!(!moved.is_all());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Tokens that the plan has.
    pub planned: u64,
    /// Those of them for which there was a row in the tensor and one in the buffer.
    pub moved: u64,
}

impl Moved {
    /// Whether every token was moved.
    pub fn is_all(&self) -> bool {
        self.planned == self.moved
    }

    /// Reads a report from device memory, once all that was asked of it is done. A report that a kernel did not write, as
    /// where it had no rows, is what it was before.
    ///
    /// # Errors
    /// The device failed, or its stream is being captured.
    pub fn read(report: &DeviceTensor<i64, 1>) -> Result<Self, TensorError> {
        let report = report.download()?;
        let at = |index: usize| report.get(index).copied().unwrap_or(0).max(0).cast_unsigned();
        Ok(Self {
            planned: at(0),
            moved: at(1),
        })
    }
}

impl<G: Group> Movement<'_, G> {
    /// Checks a buffer's rows against the plan.
    pub(super) fn check_buffer(&self, what: &'static str, rows: usize) -> Result<(), MovementError> {
        match (rows as u64, self.layout.rows()) {
            (found, planned) if found != planned => Err(MovementError::WrongBuffer { what, found, planned }),
            _ => Ok(()),
        }
    }

    /// Checks the buffer, and a rank's tensor.
    pub(super) fn check(
        &self,
        buffer: [usize; 2],
        local: [usize; 2],
        on_mismatch: OnMismatch,
    ) -> Result<Moved, MovementError> {
        self.check_buffer("the gathered buffer", buffer[0])?;
        check_columns("the rank's tensor", local[1], buffer[1])?;
        self.check_rows(local[0], on_mismatch)
    }

    /// Checks the rows of a rank's tensor: at least the tokens planned, at most the rows planned.
    fn check_rows(&self, local: usize, on_mismatch: OnMismatch) -> Result<Moved, MovementError> {
        let (found, slot) = (local as u64, self.slot);
        if on_mismatch == OnMismatch::Refuse && !(slot.tokens..=slot.rows).contains(&found) {
            return Err(MovementError::Uncovered {
                rank: self.position,
                rows: slot.rows,
                tokens: slot.tokens,
                found,
            });
        }
        Ok(Moved {
            planned: slot.tokens,
            moved: slot.tokens.min(found),
        })
    }

    /// Checks the tensors of a wire, of which a row of a rank's tensor has so many elements for a scale, and `packed` of them
    /// in an element of the payload; and that tensor.
    pub(super) fn check_wire(
        &self,
        payload: [usize; 2],
        scales: [usize; 2],
        local: [usize; 2],
        (group, packed): (usize, usize),
        on_mismatch: OnMismatch,
    ) -> Result<Moved, MovementError> {
        let [rows, columns] = local;
        if !columns.is_multiple_of(group) {
            return Err(MovementError::NoGroups {
                columns: columns as u64,
                group: group as u64,
            });
        }
        self.check_buffer("the payload", payload[0])?;
        self.check_buffer("the tensor of scales", scales[0])?;
        check_columns("the payload", payload[1], columns / packed)?;
        check_columns("the tensor of scales", scales[1], columns / group)?;
        self.check_rows(rows, on_mismatch)
    }
}

pub(super) fn check_columns(what: &'static str, found: usize, expected: usize) -> Result<(), MovementError> {
    match found == expected {
        true => Ok(()),
        false => Err(MovementError::WrongColumns {
            what,
            found: found as u64,
            expected: expected as u64,
        }),
    }
}
