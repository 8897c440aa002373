//! Tensors of which every rank has one, and that all ranks reach.

use std::ops::{Deref, DerefMut};

use super::atomic::WaitOptions;
use super::create::arange;
use super::index::ScalarIndex;
use super::list::TensorList;
use super::parameter::Parameter;
use super::recorder::{self, DETACHED};
use super::tensor::{StoreValue, Tensor};
use super::tile::{Scalar, Tile};
use crate::argument::{Argument, Arguments, HostCount, OfRank};
use crate::element::{Element, ElementType};
use crate::ir::{AtomicUpdate, CompareOp, Expression, ParameterKind, Shape, Span, Symbol, Type};

/// One tensor of every rank, in the order of the ranks, each in its own rank's memory and reached by all of them: a
/// [`TensorList`] that other ranks read and write while the kernel runs.
///
/// As a kernel parameter it is written `&PeerTensors<T, R>` to load from, or `&mut PeerTensors<T, R>` to store to, and takes the tensors
/// with this rank's number, [`OfRank`], or what a runtime has for such memory. `peers[p]` is the tensor of rank `p`; `p` is any
/// integer or scalar. Plain loads and stores are as fast to a peer's tensor as the way there is, and in no order with what
/// other ranks do. What orders them is *flags*, a `PeerTensors<u32, 2>` beside the data: flag `[r, i]` of every rank's tensor says
/// how far rank `r` has come at the place `i`, which is whatever the kernel takes it for, mostly a program.
///
/// * [`PeerTensors::raise`] sets this rank's flag in every rank's tensor: what the program did before is seen by whoever waits for it.
/// * [`PeerTensors::wait`] waits until all ranks have raised their flags here, for a limited time.
///
/// A flag is never taken back; it counts launches, which is what [`Epoch`](super::Epoch) is for. A buffer of two halves used
/// by turns is enough so that nobody writes what a slower rank still reads: who has come past the wait of this epoch knows
/// that all ranks are done with the one before.
///
/// ```
/// # use tilewright_dsl::{kernel, lang::*};
/// /// Every rank's row in every rank's buffer of two halves: row `r` of a half is that of rank `r`.
/// #[kernel(grid = [1])]
/// fn all_gather(
///     buffers: &mut PeerTensors<f32, 3>,
///     flags: &mut PeerTensors<u32, 2>,
///     epoch: &mut Epoch,
///     row: &Tensor<f32, 1>,
/// ) {
///     let cols = arange(row.extent(0));
///     let value = row.load([cols]);
///     let (rank, half) = (buffers.rank(), epoch.half());
///     for peer in 0..buffers.len() {
///         buffers[peer].store([half, rank, cols], value);
///     }
///     flags.raise(0, epoch.now());
///     flags.wait(0, epoch.now());
/// }
/// ```
///
/// The CPU device runs ranks as threads, and knows what flags order between them: it reports an element that one rank writes
/// and another one reads or writes with no flag in between, whatever the timing. What the host orders by itself, it sees
/// where a device is synchronized.
pub struct PeerTensors<T: Element, const R: usize> {
    list: TensorList<T, R>,
    rank: Scalar<i64>,
}

impl<T: Element, const R: usize> PeerTensors<T, R> {
    /// This rank, from 0: it is less than [`len`](TensorList::len), which is the number of ranks.
    pub fn rank(&self) -> Scalar<i64> {
        self.rank
    }

    /// The tensor in this rank's own memory.
    #[track_caller]
    pub fn own(&self) -> &Tensor<T, R> {
        &self.list[self.rank]
    }

    /// The tensor in this rank's own memory, to be stored to.
    #[track_caller]
    pub fn own_mut(&mut self) -> &mut Tensor<T, R> {
        let rank = self.rank;
        &mut self.list[rank]
    }
}

impl PeerTensors<u32, 2> {
    /// Sets flag `[rank, place]` of every rank's tensor to `epoch`, this rank's own included. All that the program did before
    /// is seen by whoever waits for it, on whatever device. The flags are set at once, each by a thread of its own.
    #[track_caller]
    pub fn raise(&mut self, place: impl ScalarIndex, epoch: impl StoreValue<u32, 0>) {
        let (place, epoch, span) = (place.scalar_index(), epoch.stored(), Span::here());
        let everybody = arange(self.list.len());
        let flags = Tensor::<u32, 2>::of_list(self.list.parameter(), everybody.handle);
        recorder::with((), |r| {
            let indices = [self.rank.handle, place.handle];
            let what = "`raise`";
            let (access, shape) = flags.access(r, indices, None, r.bounds(), what, span);
            let value = r.stretch(epoch, shape, span);
            let update = AtomicUpdate::Store { value };
            r.atomic(access, update, None, None, ElementType::U32, shape, what, span);
        });
    }

    /// Waits until all ranks' flags at `place`, in this rank's own tensor, have reached `epoch`; one that has not after
    /// [`WaitOptions::LIMIT_NS`] is reported, with its rank, and ends the program: see [`Tensor::wait_until`].
    #[track_caller]
    pub fn wait(&self, place: impl ScalarIndex, epoch: impl StoreValue<u32, 0>) {
        self.wait_with(place, epoch, WaitOptions::new());
    }

    /// As [`PeerTensors::wait`], with a limit.
    #[track_caller]
    pub fn wait_with(&self, place: impl ScalarIndex, epoch: impl StoreValue<u32, 0>, options: WaitOptions) {
        let (place, epoch, span) = (place.scalar_index(), epoch.stored(), Span::here());
        let everybody = arange(self.list.len());
        self.own().wait([everybody.handle, place.handle], epoch, options, span);
    }
}

impl<T: Element, const R: usize> Deref for PeerTensors<T, R> {
    type Target = TensorList<T, R>;
    fn deref(&self) -> &TensorList<T, R> {
        &self.list
    }
}

impl<T: Element, const R: usize> DerefMut for PeerTensors<T, R> {
    fn deref_mut(&mut self) -> &mut TensorList<T, R> {
        &mut self.list
    }
}

fn declare<T: Element, const R: usize>(name: String, mutable: bool) -> PeerTensors<T, R> {
    let span = recorder::with(Span::UNKNOWN, |r| r.kernel_span());
    let of_rank = format!("rank of {name}");
    let list = recorder::with(0, |r| r.declare_list(name, T::TYPE, R, mutable, true));
    let position = recorder::with(0, |r| r.declare_value(of_rank, ParameterKind::Count));
    let rank: Scalar<i64> = Tile::emit(Expression::Symbol(Symbol::Count(position)), Shape::SCALAR, span);
    recorder::with((), |r| {
        let length = Symbol::Extent { tensor: list, axis: 0 };
        let length = r.emit(Expression::Symbol(length), Type::INDEX, span);
        let is_one_of_them = Expression::Compare {
            op: CompareOp::Less,
            left: rank.handle,
            right: length,
        };
        let condition = r.emit(is_one_of_them, Type::scalar(ElementType::Bool), span);
        r.require(condition, span);
    });
    debug_assert!(rank.handle != DETACHED || list == 0);
    PeerTensors {
        list: TensorList::from_parameter(list),
        rank,
    }
}

#[diagnostic::do_not_recommend]
impl<'p, T: Element, const R: usize> Parameter<'p> for &'p PeerTensors<T, R> {
    type Owned = PeerTensors<T, R>;
    type Staged = &'p PeerTensors<T, R>;
    fn declare(name: String) -> PeerTensors<T, R> {
        declare(name, false)
    }
    fn lend(owned: &'p mut PeerTensors<T, R>) -> &'p PeerTensors<T, R> {
        owned
    }
}

#[diagnostic::do_not_recommend]
impl<'p, T: Element, const R: usize> Parameter<'p> for &'p mut PeerTensors<T, R> {
    type Owned = PeerTensors<T, R>;
    type Staged = &'p mut PeerTensors<T, R>;
    fn declare(name: String) -> PeerTensors<T, R> {
        declare(name, true)
    }
    fn lend(owned: &'p mut PeerTensors<T, R>) -> &'p mut PeerTensors<T, R> {
        owned
    }
}

fn pass<'a, P, A: Argument<'a, P>>(OfRank(rank, tensors): OfRank<A>, arguments: &mut Arguments<'a>) {
    tensors.pass(arguments);
    Argument::<super::Count>::pass(HostCount::Runtime(rank as u64), arguments);
}

/// What can be passed for a list can be passed for one of peers, with the rank.
#[diagnostic::do_not_recommend]
impl<'a, 'p, T: Element, const R: usize, A> Argument<'a, &'p PeerTensors<T, R>> for OfRank<A>
where
    A: Argument<'a, &'p TensorList<T, R>>,
{
    fn pass(self, arguments: &mut Arguments<'a>) {
        pass::<&'p TensorList<T, R>, A>(self, arguments);
    }
}

#[diagnostic::do_not_recommend]
impl<'a, 'p, T: Element, const R: usize, A> Argument<'a, &'p mut PeerTensors<T, R>> for OfRank<A>
where
    A: Argument<'a, &'p mut TensorList<T, R>>,
{
    fn pass(self, arguments: &mut Arguments<'a>) {
        pass::<&'p mut TensorList<T, R>, A>(self, arguments);
    }
}
