//! The operations, as methods of tensors.

use super::{AtomicAdd, AtomicInteger, AtomicNumber, AtomicOptions};
use crate::element::{Element, ElementType};
use crate::ir::{
    Access, Atomic, AtomicOp, AtomicUpdate, Expression, Handle, MemoryOrder, MemoryScope, Shape, Span, Type,
};
use crate::lang::broadcast::Rank;
use crate::lang::index::Indices;
use crate::lang::recorder::{self, DETACHED, Recorder};
use crate::lang::tensor::{StoreValue, Tensor};

/// Atomic operations. Each one returns what the elements held before; where the mask does not hold, or an index is out of
/// bounds under the default policy, that is zero and nothing happens.
///
/// A scalar operation happens once per program. Of a tile every element happens once, in no order: where two elements of
/// one operation are in the same place, which of them comes first differs from run to run.
///
/// A lock is an element that programs take by a scalar operation that acquires and give back by one that releases, as
/// [`Tensor::atomic_compare_exchange_with`] shows. What they load and store in between is theirs alone. The CPU device
/// reports two stores to one element unless the earlier program released to some element behind its store, and the later
/// one then acquired from that very element ahead of its own; an order that only a third program makes does not count.
impl<T: Element, const R: usize> Tensor<T, R> {
    /// Adds `value` to the elements at `indices`. Integers wrap. The sum of f32 takes subnormal numbers for zero, on every
    /// device.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// /// Gives every row that is not empty a slot of its own: slots[row] is its number.
    /// #[kernel(grid = [lengths.extent(0)])]
    /// fn assign_slots(slots: &mut Tensor<i32, 1>, next: &mut Tensor<i32, 1>, lengths: &Tensor<i32, 1>) {
    ///     let row = program_id(0);
    ///     if lengths.load([row]) > 0 {
    ///         let slot = next.atomic_add([0], 1);
    ///         slots.store([row], slot);
    ///     }
    /// }
    /// # use tilewright_dsl::{call::*, interpret::{self, HostArgument, HostMemory}};
    /// # let facts = |n| ParameterFacts::Tensor(TensorFacts::contiguous(&[n]));
    /// # let request = TraceRequest { parameters: vec![facts(3), facts(1), facts(3)] };
    /// # let kernel = assign_slots::definition().trace(&request).unwrap().kernel;
    /// # let memory = |v: [i32; 3]| HostMemory::from_bytes(&v.map(i32::to_le_bytes).concat()).unwrap();
    /// # let (slots, next, lengths) = (memory([-1; 3]), memory([0; 3]), memory([5, 0, 2]));
    /// # let arguments = [(&slots, 3), (&next, 1), (&lengths, 3)].map(|(m, n)| HostArgument::contiguous(m, &[n]));
    /// # interpret::run(&kernel, &arguments, &interpret::Options::default()).unwrap();
    /// # assert_eq!(slots.get(4, 4), Ok(0xffff_ffff));
    /// # assert_eq!(slots.get(0, 4).unwrap() + slots.get(8, 4).unwrap(), 1);
    /// # assert_eq!(next.get(0, 4), Ok(2));
    /// ```
    #[track_caller]
    pub fn atomic_add<I: Indices<R>, const V: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicAdd,
    {
        self.atomic_add_with(indices, value, AtomicOptions::new())
    }

    /// As [`Tensor::atomic_add`], with an order, scope or mask.
    #[track_caller]
    pub fn atomic_add_with<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        options: AtomicOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicAdd,
    {
        self.combine(
            AtomicOp::Add,
            indices,
            value.stored(),
            options,
            "`atomic_add`",
            Span::here(),
        )
    }

    /// Makes the elements at `indices` no larger than `value`. Of floats, the other one if one is NaN.
    #[track_caller]
    pub fn atomic_min<I: Indices<R>, const V: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicNumber,
    {
        self.atomic_min_with(indices, value, AtomicOptions::new())
    }

    /// As [`Tensor::atomic_min`], with an order, scope or mask.
    #[track_caller]
    pub fn atomic_min_with<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        options: AtomicOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicNumber,
    {
        self.combine(
            AtomicOp::Min,
            indices,
            value.stored(),
            options,
            "`atomic_min`",
            Span::here(),
        )
    }

    /// Makes the elements at `indices` no smaller than `value`. Of floats, the other one if one is NaN.
    #[track_caller]
    pub fn atomic_max<I: Indices<R>, const V: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicNumber,
    {
        self.atomic_max_with(indices, value, AtomicOptions::new())
    }

    /// As [`Tensor::atomic_max`], with an order, scope or mask.
    #[track_caller]
    pub fn atomic_max_with<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        options: AtomicOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicNumber,
    {
        self.combine(
            AtomicOp::Max,
            indices,
            value.stored(),
            options,
            "`atomic_max`",
            Span::here(),
        )
    }

    /// Clears the bits that `value` does not have.
    #[track_caller]
    pub fn atomic_and<I: Indices<R>, const V: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicInteger,
    {
        self.atomic_and_with(indices, value, AtomicOptions::new())
    }

    /// As [`Tensor::atomic_and`], with an order, scope or mask.
    #[track_caller]
    pub fn atomic_and_with<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        options: AtomicOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicInteger,
    {
        self.combine(
            AtomicOp::And,
            indices,
            value.stored(),
            options,
            "`atomic_and`",
            Span::here(),
        )
    }

    /// Sets the bits that `value` has.
    #[track_caller]
    pub fn atomic_or<I: Indices<R>, const V: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicInteger,
    {
        self.atomic_or_with(indices, value, AtomicOptions::new())
    }

    /// As [`Tensor::atomic_or`], with an order, scope or mask.
    #[track_caller]
    pub fn atomic_or_with<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        options: AtomicOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicInteger,
    {
        self.combine(
            AtomicOp::Or,
            indices,
            value.stored(),
            options,
            "`atomic_or`",
            Span::here(),
        )
    }

    /// Flips the bits that `value` has.
    #[track_caller]
    pub fn atomic_xor<I: Indices<R>, const V: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicInteger,
    {
        self.atomic_xor_with(indices, value, AtomicOptions::new())
    }

    /// As [`Tensor::atomic_xor`], with an order, scope or mask.
    #[track_caller]
    pub fn atomic_xor_with<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        options: AtomicOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicInteger,
    {
        self.combine(
            AtomicOp::Xor,
            indices,
            value.stored(),
            options,
            "`atomic_xor`",
            Span::here(),
        )
    }

    /// Replaces the elements at `indices` by `value`.
    #[track_caller]
    pub fn atomic_exchange<I: Indices<R>, const V: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicNumber,
    {
        self.atomic_exchange_with(indices, value, AtomicOptions::new())
    }

    /// As [`Tensor::atomic_exchange`], with an order, scope or mask.
    #[track_caller]
    pub fn atomic_exchange_with<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        options: AtomicOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicNumber,
    {
        self.combine(
            AtomicOp::Exchange,
            indices,
            value.stored(),
            options,
            "`atomic_exchange`",
            Span::here(),
        )
    }

    /// Replaces the elements at `indices` that equal `current` by `new`. It has succeeded where the result equals `current`.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// /// The first program to come to a slot owns it.
    /// #[kernel(grid = [wanted.extent(0)])]
    /// fn claim(owner: &mut Tensor<i32, 1>, wanted: &Tensor<i32, 1>, won: &mut Tensor<i32, 1>) {
    ///     let program = program_id(0);
    ///     let before = owner.atomic_compare_exchange([wanted.load([program])], -1, program as i32);
    ///     won.store([program], (before == -1) as i32);
    /// }
    /// ```
    #[track_caller]
    pub fn atomic_compare_exchange<I: Indices<R>, const C: usize, const V: usize>(
        &mut self,
        indices: I,
        current: impl StoreValue<T, C>,
        new: impl StoreValue<T, V>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicInteger,
    {
        self.atomic_compare_exchange_with(indices, current, new, AtomicOptions::new())
    }

    /// As [`Tensor::atomic_compare_exchange`], with an order, scope or mask.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// /// Puts the row of `src` whose first element is the largest into `best`, which holds -1 at first.
    /// #[kernel(grid = [src.extent(0)])]
    /// fn largest_row(best: &mut Tensor<i32, 1>, lock: &mut Tensor<i32, 1>, src: &Tensor<i32, 2>) {
    ///     let acquire = AtomicOptions::new().order(MemoryOrder::Acquire);
    ///     let release = AtomicOptions::new().order(MemoryOrder::Release);
    ///     let row = src.load([program_id(0), arange(best.extent(0))]);
    ///     while lock.atomic_compare_exchange_with([0], 0, 1, acquire) != 0 {}
    ///     if src.load([program_id(0), 0]) > best.load([0]) {
    ///         best.store([arange(best.extent(0))], row);
    ///     }
    ///     lock.atomic_exchange_with([0], 0, release);
    /// }
    /// # use tilewright_dsl::{call::*, interpret::{self, HostArgument, HostMemory}};
    /// # let facts = |extents: &[u64]| ParameterFacts::Tensor(TensorFacts::contiguous(extents));
    /// # let request = TraceRequest { parameters: vec![facts(&[2]), facts(&[1]), facts(&[3, 2])] };
    /// # let kernel = largest_row::definition().trace(&request).unwrap().kernel;
    /// # let memory = |v: &[i32]| HostMemory::from_bytes(&v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    /// # let (best, lock, src) = (memory(&[-1, -1]), memory(&[0]), memory(&[4, 40, 7, 70, 5, 50]));
    /// # let arguments = [(&best, &[2][..]), (&lock, &[1]), (&src, &[3, 2])].map(|(m, e)| HostArgument::contiguous(m, e));
    /// # interpret::run(&kernel, &arguments, &interpret::Options::default()).unwrap();
    /// # assert_eq!((best.get(0, 4), best.get(4, 4)), (Ok(7), Ok(70)));
    /// ```
    #[track_caller]
    pub fn atomic_compare_exchange_with<I: Indices<R>, const C: usize, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        current: impl StoreValue<T, C>,
        new: impl StoreValue<T, V>,
        options: AtomicOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicInteger,
    {
        let values = [current.stored(), new.stored()];
        let (update, text) = (compare_exchange, "`atomic_compare_exchange`");
        self.atomic(indices, values, update, options, text, Span::here())
    }

    /// Reads the elements at `indices`, each in one step, whatever others do to them meanwhile. It acquires: what the program
    /// does afterwards sees all that came before the release that it reads from.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// /// How many programs have come by, without counting this one.
    /// #[kernel(grid = [out.extent(0)])]
    /// fn look(out: &mut Tensor<u32, 1>, count: &mut Tensor<u32, 1>) {
    ///     let seen = count.atomic_load_with([0], AtomicOptions::new().order(MemoryOrder::Relaxed));
    ///     out.store([program_id(0)], seen);
    /// }
    /// ```
    #[track_caller]
    pub fn atomic_load<I: Indices<R>>(&self, indices: I) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicNumber,
    {
        self.atomic_load_with(indices, AtomicOptions::new())
    }

    /// As [`Tensor::atomic_load`], with an order, scope or mask.
    #[track_caller]
    pub fn atomic_load_with<I: Indices<R>, const M: usize>(
        &self,
        indices: I,
        options: AtomicOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T>
    where
        T: AtomicNumber,
    {
        let update = |[]: [Handle<Expression>; 0]| AtomicUpdate::Load;
        self.atomic(indices, [], update, options, "`atomic_load`", Span::here())
    }

    /// Writes `value` to the elements at `indices`, each in one step. It releases: who acquires what it writes sees all that
    /// the program did before.
    #[track_caller]
    pub fn atomic_store<I: Indices<R>, const V: usize>(&mut self, indices: I, value: impl StoreValue<T, V>)
    where
        T: AtomicNumber,
    {
        self.atomic_store_with(indices, value, AtomicOptions::new());
    }

    /// As [`Tensor::atomic_store`], with an order, scope or mask.
    #[track_caller]
    pub fn atomic_store_with<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        options: AtomicOptions<M>,
    ) where
        T: AtomicNumber,
    {
        let update = |[value]: [Handle<Expression>; 1]| AtomicUpdate::Store { value };
        self.atomic(
            indices,
            [value.stored()],
            update,
            options,
            "`atomic_store`",
            Span::here(),
        );
    }

    fn combine<I: Indices<R>, const M: usize>(
        &mut self,
        op: AtomicOp,
        indices: I,
        value: Handle<Expression>,
        options: AtomicOptions<M>,
        what: &str,
        span: Span,
    ) -> <I::Rank as Rank>::Tile<T> {
        let update = |[value]: [Handle<Expression>; 1]| AtomicUpdate::Combine { op, value };
        self.atomic(indices, [value], update, options, what, span)
    }

    fn atomic<I: Indices<R>, const M: usize, const N: usize>(
        &self,
        indices: I,
        values: [Handle<Expression>; N],
        update: impl FnOnce([Handle<Expression>; N]) -> AtomicUpdate,
        options: AtomicOptions<M>,
        what: &str,
        span: Span,
    ) -> <I::Rank as Rank>::Tile<T> {
        let indices = indices.indices();
        let handle = recorder::with(DETACHED, |r| {
            let mask = options.mask.map(|mask| mask.handle);
            let (access, shape) = self.access(r, indices, mask, r.bounds(), what, span);
            for value in values {
                let from = r.ty(value).shape;
                if from.broadcast(shape) != Some(shape) {
                    let message = format!("{what} of a tile of shape {from} at indices of shape {shape}");
                    r.fail(
                        span,
                        message,
                        Some("the value must broadcast to the shape of the indices"),
                    );
                    return DETACHED;
                }
            }
            let update = update(values.map(|value| r.stretch(value, shape, span)));
            r.atomic(access, update, options.order, options.scope, T::TYPE, shape, what, span)
        });
        <I::Rank as Rank>::tile(handle)
    }
}

impl Recorder {
    /// An atomic operation with the order and scope that its author names, or those of its kind.
    #[allow(clippy::too_many_arguments)] // They are an operation's; a struct for them would be the expression itself.
    pub(in crate::lang) fn atomic(
        &mut self,
        access: Access,
        update: AtomicUpdate,
        order: Option<MemoryOrder>,
        scope: Option<MemoryScope>,
        element: ElementType,
        shape: Shape,
        what: &str,
        span: Span,
    ) -> Handle<Expression> {
        let of_peers = self.is_of_peers(access.tensor);
        let order = order.unwrap_or(update.default_order());
        let scope = scope.unwrap_or(match of_peers {
            true => MemoryScope::System,
            false => MemoryScope::Device,
        });
        if of_peers && scope != MemoryScope::System {
            let message = format!("{what} at the scope {scope:?} on a tensor of peers, which other devices use too");
            self.fail(span, message, Some("leave the scope out, or say `MemoryScope::System`"));
        }
        if !update.has(order, scope) {
            let message = format!("{what} has no order {order:?} at the scope {scope:?}");
            let advice = "what only reads is Relaxed or Acquire, what only writes is Relaxed or Release";
            self.fail(span, message, Some(advice));
            return DETACHED;
        }
        let atomic = Atomic {
            access,
            update,
            order,
            scope,
        };
        self.emit(Expression::Atomic(atomic), Type { element, shape }, span)
    }
}

fn compare_exchange([current, new]: [Handle<Expression>; 2]) -> AtomicUpdate {
    AtomicUpdate::CompareExchange { current, new }
}
