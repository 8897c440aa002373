//! Tensors for a call.

use tilewright_dsl::call::Exact;
use tilewright_dsl::element::Element;
use tilewright_runtime::{Device, DeviceTensor, TensorError};

use super::{CatalogueError, Shapes};

/// Shapes, and where tensors of them are made.
pub(crate) struct Sample<'s> {
    pub(crate) device: &'s Device,
    pub(crate) shapes: &'s Shapes,
}

impl Sample<'_> {
    /// So many hidden states.
    pub(super) fn states<T: Element>(&self, rows: usize) -> Result<DeviceTensor<T, 2>, TensorError> {
        self.device.zeros([rows, self.shapes.hidden])
    }

    /// Those of a rank.
    pub(super) fn local<T: Element>(&self) -> Result<DeviceTensor<T, 2>, TensorError> {
        self.states(self.shapes.rows)
    }

    /// Those of all ranks.
    pub(super) fn buffer<T: Element>(&self) -> Result<DeviceTensor<T, 2>, TensorError> {
        self.states(self.all())
    }

    /// The rows of all ranks.
    pub(super) fn all(&self) -> usize {
        self.shapes.rows.saturating_mul(self.shapes.ranks)
    }

    /// Whether hidden states are whole groups of so many elements, which have a scale each.
    pub(super) fn check_groups(&self, group: usize) -> Result<(), CatalogueError> {
        let hidden = self.shapes.hidden;
        match hidden.is_multiple_of(group) {
            true => Ok(()),
            false => Err(CatalogueError::Groups { hidden, group }),
        }
    }

    /// So many indices, ids or counts.
    pub(super) fn list<I: Element>(&self, length: usize) -> Result<DeviceTensor<I, 1>, TensorError> {
        self.device.zeros([length])
    }

    /// As many as rows.
    pub(super) fn index<I: Element>(&self) -> Result<DeviceTensor<I, 1>, TensorError> {
        self.list(self.shapes.rows)
    }

    /// The experts of each row.
    pub(super) fn routes<I: Element>(&self) -> Result<DeviceTensor<I, 2>, TensorError> {
        self.device.zeros([self.shapes.rows, self.shapes.experts_per_token])
    }

    /// How many tokens there are.
    pub(super) fn tokens(&self) -> Exact {
        Exact(self.shapes.tokens as u64)
    }

    /// Where the rank's rows begin.
    pub(super) fn start(&self) -> Exact {
        Exact((self.shapes.rank as u64).saturating_mul(self.shapes.rows as u64))
    }
}
