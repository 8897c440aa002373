//! The buffers of micro-batches: one that grows for each of them.

use tilewright_dsl::element::Element;
use tilewright_runtime::{Device, TensorViewMut};

use super::{Arena, BufferError, Role, Usage};
use crate::plan::Plan;

/// An arena for each micro-batch of a step, so that one is filled while the other is computed with. They stay from step to
/// step, and each grows to the largest part that it has seen.
///
/// ```
/// use tilewright_dp::buffer::{PartArenas, Role};
/// use tilewright_dp::plan::micro::{Micro, TwoBatch};
/// use tilewright_dp::plan::{Plan, Request};
/// use tilewright_runtime::Device;
///
/// let micro = Some(Micro::Tbo(TwoBatch::default()));
/// let plan = Plan::new(&Request { micro, row_bytes: 16, ..Request::new(vec![9, 5], 2) })?;
/// let mut arenas = PartArenas::<f32>::new(&Device::cpu(), Role::Gathered, 4);
/// assert_eq!(arenas.for_part(&plan, 0)?.extents(), [4 + 2, 4]);
/// assert_eq!(arenas.for_part(&plan, 1)?.extents(), [5 + 3, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PartArenas<T: Element> {
    device: Device,
    role: Role,
    columns: usize,
    arenas: Vec<Arena<T>>,
}

impl<T: Element> PartArenas<T> {
    /// Arenas without memory yet.
    pub fn new(device: &Device, role: Role, columns: usize) -> Self {
        Self {
            device: device.clone(),
            role,
            columns,
            arenas: Vec::new(),
        }
    }

    /// The buffer of a micro-batch: a view with the rows of its part of the plan.
    ///
    /// # Errors
    /// The plan has no such part, its rows are of another size, or [as for an arena's `rows`](Arena::rows).
    pub fn for_part(&mut self, plan: &Plan, index: usize) -> Result<TensorViewMut<'_, T, 2>, BufferError> {
        let parts = plan.parts();
        let part = parts.get(index).ok_or(BufferError::NoSuchPart {
            role: self.role,
            index,
            parts: parts.len(),
        })?;
        while self.arenas.len() <= index {
            self.arenas.push(Arena::new(&self.device, self.role, self.columns));
        }
        let arena = &mut self.arenas[index];
        arena.check_row(plan)?;
        arena.rows(part.layout().rows())
    }

    /// Rows that each part has memory for.
    pub fn capacities(&self) -> Vec<u64> {
        self.arenas.iter().map(Arena::capacity).collect()
    }

    /// Refuses to grow those that there are.
    pub fn seal(&mut self) {
        self.arenas.iter_mut().for_each(Arena::seal);
    }

    /// What all have used.
    pub fn usage(&self) -> Usage {
        self.arenas.iter().map(Arena::usage).sum()
    }
}
