//! Gathered buffers in memory that all ranks reach.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use float8::F8E4M3;
use tilewright_dsl::element::{Element, ElementType};
use tilewright_runtime::{DeviceTensor, PeerBuffer, TensorView, TensorViewMut};

use crate::collective::{CollectiveError, PeerArena, PeerGroup, Peers};
use crate::kernels::peers::PLACES;
use crate::kernels::quantize::GROUP;

/// A gathered buffer that all ranks of a group store into: rows of `columns` elements in memory that peers reach, never more
/// than the largest plan had. It has two halves, which are filled by turns, so that nobody waits until slower ranks have read
/// what was gathered before: what is in a half stays until the one after next is filled, and must have been asked for, on the
/// group's stream, before the next one is.
///
/// [`Movement::push`](super::Movement::push) fills it; a [`BoundGather`](super::BoundGather) has one. All ranks have to make it, and to
/// ask for the same sizes in the same order.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tilewright_dp::collective::{Exchange, PeerGroup, ThreadExchange};
/// use tilewright_dp::movement::{Contribution, Counts, GatheredHalves, Groups, Movement, MovementError};
/// use tilewright_dp::plan::{Plan, Request, Topology};
/// use tilewright_runtime::Device;
///
/// let topology = Topology::new(2, 2)?;
/// let plan = Plan::new(&Request { row_bytes: 4, extend: true, ..Request::new(vec![2, 1], 2) })?;
/// let rank = |exchange: ThreadExchange| -> Result<Vec<i32>, MovementError> {
///     let (rank, device) = (exchange.rank(), Device::cpu());
///     let alone = ThreadExchange::ranks(1, Duration::from_secs(10))?.remove(0);
///     let join = |exchange| PeerGroup::join(&device.stream(), Arc::new(exchange));
///     let groups = Groups::new(join(exchange)?, join(alone)?);
///     let movement = Movement::new(&plan, &topology, &groups)?;
///     let local = match rank {
///         0 => device.upload(&[10, 11], [2, 1])?,
///         _ => device.upload(&[20], [1, 1])?,
///     };
///     let mut buffer = GatheredHalves::new(groups.world(), 1)?;
///     movement.push(&mut buffer, local.view(), Contribution::Replicate, Counts::Planned)?;
///     Ok(buffer.rows(3)?.download()?)
/// };
/// let found: Vec<_> = std::thread::scope(|scope| {
///     let exchanges = ThreadExchange::ranks(2, Duration::from_secs(10))?.into_iter();
///     let ranks: Vec<_> = exchanges.map(|exchange| scope.spawn(move || rank(exchange))).collect();
///     ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect::<Result<_, MovementError>>()
/// })?;
/// assert_eq!(found, [[10, 11, 20], [10, 11, 20]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GatheredHalves<T: Element> {
    pub(super) turns: Turns,
    pub(super) rows: Halves<T>,
}

impl<T: Element> GatheredHalves<T> {
    /// A buffer without memory yet, for the ranks of a group.
    ///
    /// # Errors
    /// As for [`Peers::buffer`].
    pub fn new(group: &PeerGroup, columns: usize) -> Result<Self, CollectiveError> {
        let turns = Turns::new(group)?;
        let rows = Halves::new(&turns.peers, columns);
        Ok(Self { turns, rows })
    }

    /// Memory for at least so many rows in each half. If there is less, all ranks replace it together, and what was in it is
    /// lost. A graph needs it beforehand.
    ///
    /// # Errors
    /// As for [`PeerArena::reserve`].
    pub fn reserve(&mut self, rows: u64) -> Result<(), CollectiveError> {
        self.rows.reserve(rows)
    }

    /// Refuses to grow from now on.
    pub fn seal(&mut self) {
        self.rows.arena.seal();
    }

    /// The first rows of the half that was filled last.
    ///
    /// # Errors
    /// It has fewer.
    pub fn rows(&mut self, rows: u64) -> Result<TensorView<'_, T, 2>, CollectiveError> {
        let half = self.turns.half;
        self.rows.own(half, rows)
    }

    /// The same to be written, as by an MLP that works in place.
    ///
    /// # Errors
    /// It has fewer.
    pub fn rows_mut(&mut self, rows: u64) -> Result<TensorViewMut<'_, T, 2>, CollectiveError> {
        let half = self.turns.half;
        self.rows.own_mut(half, rows)
    }

    /// The first rows of either half, 0 or 1. Of the one that is not [the last](Self::rows_mut), other ranks may be storing
    /// into it already.
    ///
    /// # Errors
    /// It has fewer.
    pub fn rows_of_half_mut(&mut self, half: usize, rows: u64) -> Result<TensorViewMut<'_, T, 2>, CollectiveError> {
        self.rows.own_mut(half % 2, rows)
    }
}

impl<T: Element> fmt::Debug for GatheredHalves<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, columns) = (self.rows.capacity(), self.rows.columns);
        write!(f, "GatheredHalves({rows} rows of {columns} {} in each)", T::TYPE)
    }
}

/// A gathered buffer of rows in 8 bits, each group of 128 elements with a scale: as [`GatheredHalves`], which
/// [`Movement::push_quantized`](super::Movement::push_quantized) fills.
pub struct QuantizedHalves {
    pub(super) turns: Turns,
    pub(super) payloads: Halves<F8E4M3>,
    pub(super) scales: Halves<f32>,
}

/// Rows in 8 bits, and their scales.
pub type QuantizedRows<'h> = (TensorView<'h, F8E4M3, 2>, TensorView<'h, f32, 2>);

impl QuantizedHalves {
    /// A buffer without memory yet, for the ranks of a group.
    ///
    /// # Errors
    /// As for [`GatheredHalves::new`].
    pub fn new(group: &PeerGroup, columns: usize) -> Result<Self, CollectiveError> {
        let turns = Turns::new(group)?;
        let payloads = Halves::new(&turns.peers, columns);
        let scales = Halves::new(&turns.peers, columns / GROUP);
        Ok(Self {
            turns,
            payloads,
            scales,
        })
    }

    /// As [`GatheredHalves::reserve`].
    ///
    /// # Errors
    /// As there.
    pub fn reserve(&mut self, rows: u64) -> Result<(), CollectiveError> {
        self.payloads.reserve(rows)?;
        self.scales.reserve(rows)
    }

    /// Refuses to grow from now on.
    pub fn seal(&mut self) {
        self.payloads.arena.seal();
        self.scales.arena.seal();
    }

    /// The first rows of the half that was filled last: payloads and scales.
    ///
    /// # Errors
    /// It has fewer.
    pub fn rows(&mut self, rows: u64) -> Result<QuantizedRows<'_>, CollectiveError> {
        let half = self.turns.half;
        Ok((self.payloads.own(half, rows)?, self.scales.own(half, rows)?))
    }
}

impl fmt::Debug for QuantizedHalves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, columns) = (self.payloads.capacity(), self.payloads.columns);
        write!(f, "QuantizedHalves({rows} rows of {columns} in each)")
    }
}

/// Halves of whatever is in them.
pub(super) trait InTurns {
    /// The type by which what is asked for is compared.
    const ELEMENT: ElementType;

    fn columns(&self) -> usize;
    fn turns(&mut self) -> &mut Turns;
    /// Memory for so many rows.
    fn make_room(&mut self, rows: u64) -> Result<(), CollectiveError>;
}

impl<T: Element> InTurns for GatheredHalves<T> {
    const ELEMENT: ElementType = T::TYPE;

    fn columns(&self) -> usize {
        self.rows.columns
    }

    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn make_room(&mut self, rows: u64) -> Result<(), CollectiveError> {
        self.reserve(rows)
    }
}

impl InTurns for QuantizedHalves {
    const ELEMENT: ElementType = F8E4M3::TYPE;

    fn columns(&self) -> usize {
        self.payloads.columns
    }

    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn make_room(&mut self, rows: u64) -> Result<(), CollectiveError> {
        self.reserve(rows)
    }
}

/// What orders the ranks that fill halves by turns.
pub(super) struct Turns {
    pub(super) peers: Arc<Peers>,
    flags: PeerBuffer,
    epoch: DeviceTensor<u64, 1>,
    state: DeviceTensor<u64, 1>,
    report: DeviceTensor<i64, 1>,
    /// The half that was filled last.
    pub(super) half: usize,
}

/// What a launch takes of it.
pub(super) struct Turn<'h> {
    pub(super) flags: Vec<TensorViewMut<'h, u32, 2>>,
    pub(super) epoch: TensorViewMut<'h, u64, 1>,
    pub(super) state: TensorViewMut<'h, u64, 1>,
    /// For what nobody asked for.
    pub(super) report: TensorViewMut<'h, i64, 1>,
    pub(super) half: u64,
}

impl Turns {
    fn new(group: &PeerGroup) -> Result<Self, CollectiveError> {
        let peers = group.peers().clone();
        let (device, ranks) = (peers.device(), peers.size());
        // What can fail here alone comes first.
        let (epoch, state, report) = (device.zeros([1])?, device.zeros([PLACES])?, device.zeros([2])?);
        let flags = peers.buffer(ranks * 2 * PLACES * size_of::<u32>())?;
        Ok(Self {
            peers,
            flags,
            epoch,
            state,
            report,
            half: 0,
        })
    }

    /// For a launch that fills the half whose turn it is.
    pub(super) fn lend(&mut self) -> Result<Turn<'_>, CollectiveError> {
        let flags = self.flags.tensors_mut(0, [self.flags.ranks(), 2 * PLACES])?;
        Ok(Turn {
            flags,
            epoch: self.epoch.view_mut(),
            state: self.state.view_mut(),
            report: self.report.view_mut(),
            half: self.half as u64,
        })
    }
}

/// The memory of two halves.
pub(super) struct Halves<T> {
    arena: PeerArena,
    pub(super) columns: usize,
    element: PhantomData<T>,
}

impl<T: Element> Halves<T> {
    fn new(peers: &Arc<Peers>, columns: usize) -> Self {
        Self {
            arena: PeerArena::new(peers.clone()),
            columns,
            element: PhantomData,
        }
    }

    fn row_bytes(&self) -> usize {
        self.columns.saturating_mul(T::TYPE.size()).max(1)
    }

    /// Whether there is memory for so many rows in each half.
    pub(super) fn has_room(&self, rows: u64) -> bool {
        self.capacity() as u64 >= rows.max(1)
    }

    /// The rows of each half.
    fn capacity(&self) -> usize {
        self.arena.capacity() / 2 / self.row_bytes()
    }

    pub(super) fn reserve(&mut self, rows: u64) -> Result<(), CollectiveError> {
        if self.has_room(rows) {
            return Ok(());
        }
        let rows = usize::try_from(rows).unwrap_or(usize::MAX).max(1);
        let bytes = rows.saturating_mul(2).saturating_mul(self.row_bytes());
        self.arena.reserve(bytes).map(drop)
    }

    /// Those of every rank, of as many rows as there is memory for, so that the list is the same for every plan.
    pub(super) fn of_all(&mut self) -> Result<Vec<TensorViewMut<'_, T, 3>>, CollectiveError> {
        let extents = [2, self.capacity(), self.columns];
        Ok(self.arena.reserve(0)?.tensors_mut(0, extents)?)
    }

    /// Rows of this rank's own.
    fn own(&mut self, half: usize, rows: u64) -> Result<TensorView<'_, T, 2>, CollectiveError> {
        let (start, columns) = (half * self.capacity() * self.row_bytes(), self.columns);
        let buffer = &*self.arena.reserve(0)?;
        Ok(buffer.tensor(buffer.rank(), start, [rows as usize, columns])?)
    }

    pub(super) fn own_mut(&mut self, half: usize, rows: u64) -> Result<TensorViewMut<'_, T, 2>, CollectiveError> {
        let (start, columns) = (half * self.capacity() * self.row_bytes(), self.columns);
        let buffer = self.arena.reserve(0)?;
        Ok(buffer.tensor_mut(buffer.rank(), start, [rows as usize, columns])?)
    }
}
