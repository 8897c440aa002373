//! What accesses ask of the caches, and kernels of the launches around them.

use super::broadcast::Rank;
use super::index::Indices;
use super::recorder::{self, DETACHED, Recorder};
use super::tensor::{StoreValue, Tensor};
use super::tile::Tile;
use crate::element::Element;
use crate::ir::{Access, Bounds, CacheHint, Expression, GridDependency, Handle, Span, Statement, Type};

/// How a load or store is done: its cache hint, its mask, and whether it may be narrow where the kernel denies that. The
/// default is none of it: the schedule then chooses the hint.
#[derive(Debug, Clone, Copy)]
#[must_use = "options do nothing until they are given to an access"]
pub struct AccessOptions<const M: usize = 0> {
    cache: Option<CacheHint>,
    mask: Option<Tile<bool, M>>,
    may_be_narrow: bool,
}

impl AccessOptions {
    /// The defaults.
    #[allow(clippy::new_without_default)] // `Default` would let the rank of a mask that is not there be anything.
    pub fn new() -> Self {
        Self {
            cache: None,
            mask: None,
            may_be_narrow: false,
        }
    }
}

impl<const M: usize> AccessOptions<M> {
    /// With this hint. It is in the instruction that a GPU runs, or the kernel is refused: loads have no hints about
    /// writing, and stores none about reading.
    pub fn cache(self, hint: CacheHint) -> Self {
        Self {
            cache: Some(hint),
            ..self
        }
    }

    /// Only where `mask` holds; elsewhere a load reads zero and a store writes nothing.
    pub fn mask<const N: usize>(self, mask: Tile<bool, N>) -> AccessOptions<N> {
        AccessOptions {
            cache: self.cache,
            mask: Some(mask),
            may_be_narrow: self.may_be_narrow,
        }
    }

    /// Lets this access be narrow in a kernel that is marked `deny_narrow`: it is meant to be.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// #[kernel(grid = [cdiv(out.extent(0), 1024)], deny_narrow)]
    /// fn gather(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, index: &Tensor<i32, 1>) {
    ///     let i = arange(1024) + program_id(0) * 1024;
    ///     // Elements from all over `src`; the others are neighbours.
    ///     let anywhere = AccessOptions::new().allow_narrow();
    ///     out.store([i], src.load_with([index.load([i])], anywhere));
    /// }
    /// # use tilewright_dsl::{call::*, lower::lower, schedule::*};
    /// # let tensor = || ParameterFacts::Tensor(TensorFacts::contiguous(&[4096]));
    /// # let request = TraceRequest { parameters: vec![tensor(), tensor(), tensor()] };
    /// # let kernel = gather::definition().trace(&request).unwrap().kernel;
    /// # let accesses = lower(&kernel, &choose(&kernel, &Machine::H200, 4)).unwrap().accesses;
    /// # assert_eq!((accesses.narrow().count(), accesses.check()), (1, Ok(())));
    /// ```
    pub fn allow_narrow(self) -> Self {
        Self {
            may_be_narrow: true,
            ..self
        }
    }

    pub(super) fn mask_handle(&self) -> Option<Handle<Expression>> {
        self.mask.map(|mask| mask.handle)
    }

    /// Asks a load or store for all of it but the mask.
    pub(super) fn apply(&self, r: &Recorder, access: &mut Access) {
        access.cache = self.cache;
        access.must_be_wide = r.denies_narrow() && !self.may_be_narrow;
    }
}

const LOADS: &str = "a load asks for AllLevels, GlobalLevel, Streaming, Volatile, NoAllocate, EvictFirst or EvictLast";
const STORES: &str = "a store asks for WriteBack, GlobalLevel, Streaming, WriteThrough, EvictFirst or EvictLast";

impl<T: Element, const R: usize> Tensor<T, R> {
    /// As [`Tensor::load`], with a cache hint or mask.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// #[kernel(grid = [out.extent(0)])]
    /// fn copy(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    ///     let (row, cols) = (program_id(0), arange(src.extent(1)));
    ///     let once = AccessOptions::new().cache(CacheHint::EvictFirst);
    ///     let value = src.load_with([row, cols], once);
    ///     out.store_with([row, cols], value, AccessOptions::new().cache(CacheHint::Streaming));
    /// }
    /// # use tilewright_dsl::call::*;
    /// # let facts = ParameterFacts::Tensor(TensorFacts::contiguous(&[4, 64]));
    /// # let request = TraceRequest { parameters: vec![facts.clone(), facts] };
    /// # let text = copy::definition().trace(&request).unwrap().kernel.to_string();
    /// # assert!(text.contains("cache L1::evict_first") && text.contains("cache cs"));
    /// ```
    #[track_caller]
    pub fn load_with<I: Indices<R>, const M: usize>(
        &self,
        indices: I,
        options: AccessOptions<M>,
    ) -> <I::Rank as Rank>::Tile<T> {
        let (indices, span) = (indices.indices(), Span::here());
        let handle = recorder::with(DETACHED, |r| {
            if let Some(hint) = options.cache.filter(|hint| !hint.is_for_loads()) {
                r.fail(span, format!("a load has no cache hint {hint:?}"), Some(LOADS));
            }
            let (mut access, shape) = self.access(r, indices, options.mask_handle(), r.bounds(), "`load_with`", span);
            options.apply(r, &mut access);
            let ty = Type {
                element: T::TYPE,
                shape,
            };
            r.emit(Expression::Load(access), ty, span)
        });
        <I::Rank as Rank>::tile(handle)
    }

    /// As [`Tensor::store`], with a cache hint or mask.
    #[track_caller]
    pub fn store_with<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        options: AccessOptions<M>,
    ) {
        let (indices, value, span) = (indices.indices(), value.stored(), Span::here());
        recorder::with((), |r| {
            if let Some(hint) = options.cache.filter(|hint| !hint.is_for_stores()) {
                r.fail(span, format!("a store has no cache hint {hint:?}"), Some(STORES));
            }
        });
        self.write(indices, value, options, None, None, span);
    }

    /// Asks for the elements at `indices` to be brought into L2, for a load that comes later. Nothing happens where an index
    /// is out of bounds, nor on the CPU device.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// #[kernel(grid = [1])]
    /// fn sum_rows(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 2>) {
    ///     let cols = arange(src.extent(1));
    ///     let mut sum = full([src.extent(1)], 0.0);
    ///     for row in 0..src.extent(0) {
    ///         src.prefetch([row + 4, cols]);
    ///         sum += src.load([row, cols]);
    ///     }
    ///     out.store([cols], sum);
    /// }
    /// ```
    #[track_caller]
    pub fn prefetch<I: Indices<R>>(&self, indices: I) {
        let (indices, span) = (indices.indices(), Span::here());
        recorder::with((), |r| {
            // A hint does not trap.
            let bounds = Bounds::ReadZeroSkipWrite;
            let (access, _) = self.access(r, indices, None, bounds, "`prefetch`", span);
            r.push(Statement::Prefetch(access), span);
        });
    }
}

/// Waits until the launches before this one are done and what they wrote can be seen, where the launch lets them overlap:
/// see [`Call::overlapping`](crate::call::Call::overlapping), which takes kernels that begin with this. Everywhere else
/// there is nothing to wait for.
#[track_caller]
pub fn wait_for_previous_launch() {
    dependency(GridDependency::Wait, Span::here());
}

/// Lets the launches after this one begin, where they are made to overlap with it; see [`wait_for_previous_launch`]. It
/// promises nothing about memory: what they read of this launch's results, they wait for themselves.
#[track_caller]
pub fn trigger_next_launch() {
    dependency(GridDependency::Trigger, Span::here());
}

fn dependency(dependency: GridDependency, span: Span) {
    recorder::with((), |r| r.push(Statement::GridDependency(dependency), span));
}
