//! Atomic operations on tensors: reading and changing an element in one step, among programs that meet there.

mod operations;
mod wait;

pub use wait::WaitOptions;

use super::tile::Tile;
use crate::element::Number;
use crate::ir::{MemoryOrder, MemoryScope};

/// An element type with atomic addition: i32, i64, u32, u64, f16, bf16, f32 and f64.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no atomic addition",
    note = "it is defined on i32, i64, u32, u64, f16, bf16, f32 and f64: use a tensor of one of these"
)]
pub trait AtomicAdd: Number {}

/// An element type with atomic minimum, maximum and exchange: i32, i64, u32, u64, f32 and f64.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no atomic minimum, maximum and exchange",
    note = "they are defined on i32, i64, u32, u64, f32 and f64: use a tensor of one of these"
)]
pub trait AtomicNumber: AtomicAdd {}

/// An element type with atomic bitwise operations and compare-exchange: i32, i64, u32 and u64.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no atomic bitwise operations and no atomic compare-exchange",
    note = "they are defined on i32, i64, u32 and u64: use a tensor of one of these"
)]
pub trait AtomicInteger: AtomicNumber {}

// Written out, here and below, so that rustc shows no macro of ours where a type does not have an operation.

impl AtomicAdd for i32 {}
impl AtomicAdd for i64 {}
impl AtomicAdd for u32 {}
impl AtomicAdd for u64 {}
impl AtomicAdd for half::f16 {}
impl AtomicAdd for half::bf16 {}
impl AtomicAdd for f32 {}
impl AtomicAdd for f64 {}

impl AtomicNumber for i32 {}
impl AtomicNumber for i64 {}
impl AtomicNumber for u32 {}
impl AtomicNumber for u64 {}
impl AtomicNumber for f32 {}
impl AtomicNumber for f64 {}

impl AtomicInteger for i32 {}
impl AtomicInteger for i64 {}
impl AtomicInteger for u32 {}
impl AtomicInteger for u64 {}

/// How an atomic operation is done: its order, its scope and its mask. By default it is ordered as much as it can be: what
/// reads acquires, what writes releases. Its scope is [`MemoryScope::Device`], and on the tensors of [peers](super::PeerTensors)
/// [`MemoryScope::System`]; and it has no mask.
///
/// ```
/// use tilewright_dsl::{kernel, lang::*};
///
/// /// counts[values[i]] += 1, for values that are not negative.
/// #[kernel(grid = [cdiv(values.extent(0), 256)])]
/// fn histogram(counts: &mut Tensor<u32, 1>, values: &Tensor<i32, 1>) {
///     let value = values.load([program_id(0) * 256 + arange(256)]);
///     let options = AtomicOptions::new().order(MemoryOrder::Relaxed).mask(value >= 0);
///     counts.atomic_add_with([value], 1, options);
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "options do nothing until they are given to an operation"]
pub struct AtomicOptions<const M: usize = 0> {
    order: Option<MemoryOrder>,
    scope: Option<MemoryScope>,
    mask: Option<Tile<bool, M>>,
}

impl AtomicOptions {
    /// The defaults.
    #[allow(clippy::new_without_default)] // `Default` would let the rank of a mask that is not there be anything.
    pub fn new() -> Self {
        Self {
            order: None,
            scope: None,
            mask: None,
        }
    }
}

impl<const M: usize> AtomicOptions<M> {
    /// With this order.
    pub fn order(self, order: MemoryOrder) -> Self {
        Self {
            order: Some(order),
            ..self
        }
    }

    /// One step for these observers.
    pub fn scope(self, scope: MemoryScope) -> Self {
        Self {
            scope: Some(scope),
            ..self
        }
    }

    /// Only where `mask` holds; elsewhere the result is zero.
    pub fn mask<const N: usize>(self, mask: Tile<bool, N>) -> AtomicOptions<N> {
        AtomicOptions {
            order: self.order,
            scope: self.scope,
            mask: Some(mask),
        }
    }
}
