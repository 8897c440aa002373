//! Gathers out of the same tensor, step by step.

use std::fmt;

use tilewright_dsl::element::Element;
use tilewright_runtime::{Bound, Device, DeviceTensor, TensorView, TensorViewMut};

use super::GatheredHalves;
use crate::collective::CollectiveError;

/// The tensor that a rank's rows are in at each step, and the gathered buffer that they go to.
///
/// [`Movement::push_bound`](super::Movement::push_bound) gathers as [`Movement::push`](super::Movement::push) does rows that are the same on
/// all GPUs of a rank. Its launches are bound to both, as a [`Bound`] is, so that of a step only its counts are looked at: for an engine
/// that launches step by step, without a graph, and keeps rows in a [`DeviceTensor`] from step to step.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tilewright_dp::collective::{PeerGroup, ThreadExchange};
/// use tilewright_dp::movement::{BoundGather, GatheredHalves, Groups, Movement};
/// use tilewright_dp::plan::{Plan, Request, Topology};
/// use tilewright_runtime::Device;
///
/// let (device, topology) = (Device::cpu(), Topology::new(1, 1)?);
/// let join = || -> Result<_, Box<dyn std::error::Error>> {
///     let exchange = ThreadExchange::ranks(1, Duration::from_secs(10))?.remove(0);
///     Ok(PeerGroup::join(&device.stream(), Arc::new(exchange))?)
/// };
/// let groups = Groups::new(join()?, join()?);
/// let local = device.upload(&[1, 2, 3, 4, 5, 6], [3, 2])?;
/// let mut gather = BoundGather::new(GatheredHalves::new(groups.world(), 2)?, local);
/// for tokens in [2, 3] {
///     let plan = Plan::new(&Request { row_bytes: 8, extend: true, ..Request::new(vec![tokens], 1) })?;
///     Movement::new(&plan, &topology, &groups)?.push_bound(&mut gather)?;
///     assert_eq!(gather.rows(tokens)?.download()?[..2], [1, 2]);
/// }
/// assert_eq!(gather.rows(3)?.download()?, [1, 2, 3, 4, 5, 6]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BoundGather<T: Element> {
    pub(super) buffer: GatheredHalves<T>,
    pub(super) local: DeviceTensor<T, 2>,
    /// Those for rows that are cut into pieces of so many elements, all on one device.
    pub(super) launches: Vec<(usize, Bound)>,
}

impl<T: Element> BoundGather<T> {
    /// A gather of the rows of `local` `[most rows, columns]` into a buffer. Nothing is bound before it is launched.
    pub fn new(buffer: GatheredHalves<T>, local: DeviceTensor<T, 2>) -> Self {
        Self {
            buffer,
            local,
            launches: Vec::new(),
        }
    }

    /// The rank's rows.
    pub fn local(&self) -> TensorView<'_, T, 2> {
        self.local.view()
    }

    /// The same to be written, as by the layer before.
    pub fn local_mut(&mut self) -> TensorViewMut<'_, T, 2> {
        self.local.view_mut()
    }

    /// As [`GatheredHalves::rows`].
    ///
    /// # Errors
    /// As there.
    pub fn rows(&mut self, rows: u64) -> Result<TensorView<'_, T, 2>, CollectiveError> {
        self.buffer.rows(rows)
    }

    /// As [`GatheredHalves::rows_mut`].
    ///
    /// # Errors
    /// As there.
    pub fn rows_mut(&mut self, rows: u64) -> Result<TensorViewMut<'_, T, 2>, CollectiveError> {
        self.buffer.rows_mut(rows)
    }

    /// As [`GatheredHalves::reserve`].
    ///
    /// # Errors
    /// As there.
    pub fn reserve(&mut self, rows: u64) -> Result<(), CollectiveError> {
        self.forget_if_more(rows);
        self.buffer.reserve(rows)
    }

    /// The buffer and the tensor, as they were given.
    pub fn into_parts(self) -> (GatheredHalves<T>, DeviceTensor<T, 2>) {
        (self.buffer, self.local)
    }

    /// Forgets launches by another device, as of a rank's stream that was made of the same GPU once more.
    pub(super) fn forget_others(&mut self, device: &Device) {
        self.launches.retain(|(_, launch)| launch.device().is(device));
    }

    /// Forgets launches into memory that is about to be replaced by more.
    pub(super) fn forget_if_more(&mut self, rows: u64) {
        if !self.buffer.rows.has_room(rows) {
            self.launches.clear();
        }
    }
}

impl<T: Element> fmt::Debug for BoundGather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundGather({:?} into {:?})", self.local, self.buffer)
    }
}
