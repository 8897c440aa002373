//! What a trace is asked for, and what it gives.

use arrayvec::ArrayVec;

use crate::ir::{Kernel, Layout, Symbol};

/// What a trace may rely on: the facts about each parameter that hold for every launch of the traced class.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TraceRequest {
    /// One entry per parameter, array parameters element by element.
    pub parameters: Vec<ParameterFacts>,
}

/// What is known about one parameter when a kernel is traced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ParameterFacts {
    /// A tensor.
    Tensor(TensorFacts),
    /// A list of tensors: what all of them have in common. The first extent is their number, and the others are the largest.
    List(TensorFacts),
    /// A count that is bound as a literal, and its value in the launch at hand. Only a count that shapes a tile becomes part of
    /// the class.
    Exact(i64),
    /// Any other count or scalar: nothing.
    Value,
}

/// What is known about a tensor when a kernel is traced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorFacts {
    /// The extents of the launch at hand. Only those that shape a tile become part of the class.
    pub extents: ArrayVec<u64, 4>,
    /// How strides relate to extents.
    pub layout: Layout,
    /// The largest power of two, up to 16, that divides the address of the first element.
    pub alignment: u32,
}

impl TensorFacts {
    /// A row-major tensor without gaps whose first element is 16-byte aligned.
    pub fn contiguous(extents: &[u64]) -> Self {
        Self {
            extents: extents.iter().copied().take(4).collect(),
            layout: Layout::Contiguous,
            alignment: 16,
        }
    }
}

/// A recorded kernel and what its shape depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// The kernel, verified.
    pub kernel: Kernel,
    /// The extents and exact counts that shaped a tile or a compile-time decision, with the values they had. The kernel
    /// serves exactly the launches that agree with them.
    pub pinned: Vec<(Symbol, i64)>,
}

impl Traced {
    /// The extents that are literals in every variant of this class, given the extents of the launch at hand: the pinned
    /// ones, and every other inner extent that equals a pinned one. The rows of a destination are usually as long as
    /// those of the source that shaped the tile; saying so makes addresses and alignment known.
    pub fn literal_extents(&self, launch: &TraceRequest) -> Vec<(Symbol, i64)> {
        let mut literals = self.pinned.clone();
        for (position, facts) in launch.parameters.iter().enumerate() {
            let (ParameterFacts::Tensor(facts) | ParameterFacts::List(facts)) = facts else {
                continue;
            };
            for (axis, &extent) in facts.extents.iter().enumerate().skip(1) {
                let symbol = Symbol::Extent {
                    tensor: position as u32,
                    axis: axis as u8,
                };
                let value = extent.min(i64::MAX as u64) as i64;
                if self.pinned.iter().any(|(_, pinned)| *pinned == value) {
                    literals.push((symbol, value));
                }
            }
        }
        literals.sort_unstable();
        literals.dedup();
        literals
    }
}
