//! Stores that say what holds where an element is written more than once.

use super::cache::AccessOptions;
use super::index::Indices;
use super::tensor::{StoreValue, Tensor};
use super::tile::Tile;
use crate::element::Element;
use crate::ir::{Conflict, Span};

impl<T: Element, const R: usize> Tensor<T, R> {
    /// Writes `value` to the elements at `indices`, as [`Tensor::store`] does, and declares what holds where an element is
    /// written more than once:
    ///
    /// * [`Conflict::Disjoint`]: none is. No two elements that such scatters write to the tensor in one launch are in one
    ///   place, be it in one tile, in two trips of a loop or in two programs. The CPU device reports a broken promise, and so
    ///   does a [checked build](crate::call::Call::checked) on a GPU; elsewhere what stays is one of the values.
    /// * [`Conflict::LastWins`]: the last one stays, in the order of programs, then of statements, then of the tile in
    ///   row-major order. It is the same on every device and in every run. On a GPU the programs of such a kernel run one
    ///   after the other in a single block, and a tile whose elements may meet is stored by a single thread: use it for small
    ///   things.
    ///
    /// To combine what meets instead, use an atomic operation: [`Tensor::atomic_add`], for example.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// /// The last request that names a slot gets it.
    /// #[kernel(grid = [slots.extent(0)])]
    /// fn assign(owner: &mut Tensor<i32, 1>, slots: &Tensor<i32, 1>) {
    ///     let request = program_id(0);
    ///     owner.scatter([slots.load([request])], request as i32, Conflict::LastWins);
    /// }
    /// # use tilewright_dsl::{call::*, interpret::{self, HostArgument, HostMemory}};
    /// # let facts = |n| ParameterFacts::Tensor(TensorFacts::contiguous(&[n]));
    /// # let request = TraceRequest { parameters: vec![facts(3), facts(4)] };
    /// # let kernel = assign::definition().trace(&request).unwrap().kernel;
    /// # let memory = |v: &[i32]| HostMemory::from_bytes(&v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    /// # let (owner, slots) = (memory(&[-1; 3]), memory(&[2, 0, 2, 0]));
    /// # let arguments = [HostArgument::contiguous(&owner, &[3]), HostArgument::contiguous(&slots, &[4])];
    /// # interpret::run(&kernel, &arguments, &interpret::Options::default()).unwrap();
    /// # assert_eq!([0, 4, 8].map(|at| owner.get(at, 4).unwrap() as i32), [3, -1, 2]);
    /// ```
    #[track_caller]
    pub fn scatter<I: Indices<R>, const V: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        conflict: Conflict,
    ) {
        let (indices, value) = (indices.indices(), value.stored());
        let options = AccessOptions::new();
        self.write(indices, value, options, None, Some(conflict), Span::here());
    }

    /// As [`Tensor::scatter`], where `mask` holds.
    #[track_caller]
    pub fn scatter_where<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        mask: Tile<bool, M>,
        conflict: Conflict,
    ) {
        let (indices, value) = (indices.indices(), value.stored());
        let options = AccessOptions::new().mask(mask);
        self.write(indices, value, options, None, Some(conflict), Span::here());
    }
}
