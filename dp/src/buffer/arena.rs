//! A buffer that grows to the largest plan and is reused for the others.

use std::sync::{Arc, Weak};

use tilewright_dsl::element::Element;
use tilewright_runtime::tensor::Hold;
use tilewright_runtime::{Device, DeviceTensor, TensorViewMut};

use super::{BufferError, Role, Usage};
use crate::plan::Plan;

/// The memory of one role on one device: rows of `columns` elements, never more than the largest plan had.
///
/// What a view holds at first is what the last user of the arena left; the movement operations write every row.
#[derive(Debug)]
pub struct Arena<T: Element> {
    device: Device,
    role: Role,
    columns: usize,
    buffer: Option<DeviceTensor<T, 2>>,
    /// Pins of the buffer at hand.
    pin: Weak<Hold>,
    /// Buffers that were outgrown while a graph used them.
    outgrown: Vec<Weak<Hold>>,
    sealed: bool,
    usage: Usage,
}

/// Keeps the buffer of an arena where it is, for as long as a captured graph may be replayed. Keep it beside the graph.
#[derive(Debug, Clone)]
pub struct Pinned(Arc<Hold>);

impl Pinned {
    /// Where the buffer begins in the device's address space.
    pub fn address(&self) -> u64 {
        self.0.address()
    }

    /// Its bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// The memory, for whoever shows it to others.
    pub fn hold(&self) -> &Arc<Hold> {
        &self.0
    }
}

impl<T: Element> Arena<T> {
    /// An arena without memory yet.
    pub fn new(device: &Device, role: Role, columns: usize) -> Self {
        Self {
            device: device.clone(),
            role,
            columns,
            buffer: None,
            pin: Weak::new(),
            outgrown: Vec::new(),
            sealed: false,
            usage: Usage::default(),
        }
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The device whose memory it has.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The rows that it has memory for.
    pub fn capacity(&self) -> u64 {
        self.buffer.as_ref().map_or(0, |buffer| buffer.extents()[0] as u64)
    }

    /// The gathered buffer of a step: a view with the rows of its plan. Nothing if a graph serves the step, which has a
    /// buffer of its own.
    ///
    /// # Errors
    /// The plan's rows are of another size, or [as for `rows`](Self::rows).
    pub fn for_plan(&mut self, plan: &Plan) -> Result<Option<TensorViewMut<'_, T, 2>>, BufferError> {
        self.check_row(plan)?;
        if plan.graph().is_some() {
            self.usage.graph_steps += 1;
            return Ok(None);
        }
        self.rows(plan.layout().rows()).map(Some)
    }

    /// The buffer of the graph that serves a step, which all graphs share: a view with the rows of its plan. Nothing if the
    /// step is eager.
    ///
    /// # Errors
    /// The plan's rows are of another size, or [as for `rows`](Self::rows).
    pub fn for_graph(&mut self, plan: &Plan) -> Result<Option<TensorViewMut<'_, T, 2>>, BufferError> {
        self.check_row(plan)?;
        match plan.graph() {
            Some(graph) => self.rows(graph.rows).map(Some),
            None => Ok(None),
        }
    }

    /// A view of so many rows. If there are fewer, the buffer is replaced by one of exactly as many; what was in it is lost.
    ///
    /// # Errors
    /// The arena is sealed, the device has no room, or a stream is being captured.
    pub fn rows(&mut self, rows: u64) -> Result<TensorViewMut<'_, T, 2>, BufferError> {
        if self.buffer.is_none() || self.capacity() < rows {
            self.grow(rows)?;
        }
        self.usage.views += 1;
        let (role, wanted) = (self.role, usize::try_from(rows).unwrap_or(usize::MAX));
        let memory = |source| BufferError::Memory { role, rows, source };
        match &mut self.buffer {
            Some(buffer) => buffer.view_mut().rows(..wanted).map_err(memory),
            None => Err(BufferError::Sealed {
                role,
                capacity: 0,
                rows,
            }),
        }
    }

    /// Refuses to grow from now on: an engine that has warmed up with its largest plan then allocates no more.
    pub fn seal(&mut self) {
        self.sealed = true;
    }

    /// Keeps the buffer at hand allocated while the pin or a clone of it lives. `None` if there is none yet.
    ///
    /// ```
    /// # use tilewright_dp::buffer::{Arena, Role};
    /// # use tilewright_runtime::Device;
    /// let mut arena = Arena::<u8>::new(&Device::cpu(), Role::Graph, 2);
    /// arena.rows(4)?;
    /// let pin = arena.pin().expect("it has rows");
    /// arena.rows(5)?;
    /// assert_eq!(arena.usage().live_bytes, 8 + 10);
    /// drop(pin);
    /// assert_eq!(arena.usage().live_bytes, 10);
    /// # Ok::<(), tilewright_dp::buffer::BufferError>(())
    /// ```
    pub fn pin(&mut self) -> Option<Pinned> {
        if let Some(hold) = self.pin.upgrade() {
            return Some(Pinned(hold));
        }
        let hold = Arc::new(self.buffer.as_ref()?.hold());
        self.pin = Arc::downgrade(&hold);
        Some(Pinned(hold))
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        Usage {
            live_bytes: self.live_bytes(),
            ..self.usage
        }
    }

    fn live_bytes(&self) -> u64 {
        let outgrown = self.outgrown.iter().filter_map(Weak::upgrade);
        let held: u64 = outgrown.map(|hold| hold.bytes()).sum();
        self.buffer.as_ref().map_or(0, |buffer| buffer.bytes() as u64) + held
    }

    fn grow(&mut self, rows: u64) -> Result<(), BufferError> {
        let (role, capacity) = (self.role, self.capacity());
        if self.sealed {
            return Err(BufferError::Sealed { role, capacity, rows });
        }
        let extents = [usize::try_from(rows).unwrap_or(usize::MAX), self.columns];
        // The old buffer goes first, so that there are never two; one that a graph uses stays with its pin.
        self.outgrown.retain(|hold| hold.strong_count() > 0);
        let pin = std::mem::take(&mut self.pin);
        if pin.strong_count() > 0 {
            self.outgrown.push(pin);
        }
        self.buffer = None;
        let buffer = self.device.zeros::<T, 2>(extents);
        self.buffer = Some(buffer.map_err(|source| BufferError::Memory { role, rows, source })?);
        self.usage.growths += 1;
        self.usage.peak_bytes = self.usage.peak_bytes.max(self.live_bytes());
        Ok(())
    }

    pub(super) fn check_row(&self, plan: &Plan) -> Result<(), BufferError> {
        let arena = (self.columns * T::TYPE.size()) as u64;
        match plan.layout().row_bytes() {
            row if row == arena => Ok(()),
            plan => Err(BufferError::OtherRow {
                role: self.role,
                arena,
                plan,
            }),
        }
    }
}
