//! What a trace is asked for, and what it gives.

use std::collections::HashMap;

use arrayvec::ArrayVec;

use crate::arithmetic;
use crate::ir::{CompareOp, Expression, Handle, Kernel, Layout, Literal, Symbol};

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
    /// What was computed of pinned symbols while recording, in order: the lengths of tiles, sums and products among them.
    pub lengths: Vec<i64>,
}

impl Traced {
    /// The extents that are literals in every variant of this class, given the extents of the launch at hand: the pinned
    /// ones, every other inner extent that [is as long](Traced::is_length) as a tile, and those that the kernel requires
    /// to equal what these are known by. The rows of a destination are usually as long as those of the source that shaped
    /// the tile, or several sources together; saying so makes addresses and alignment known.
    ///
    /// ```
    /// use tilewright_dsl::call::{ParameterFacts, TensorFacts, TraceRequest};
    /// use tilewright_dsl::ir::Symbol;
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// #[kernel(grid = [out.extent(0)])]
    /// fn beside(out: &mut Tensor<f32, 2>, a: &Tensor<f32, 2>, b: &Tensor<f32, 2>) {
    ///     let row = program_id(0);
    ///     let (left, right) = (a.load([row, arange(a.extent(1))]), b.load([row, arange(b.extent(1))]));
    ///     out.store([row, arange(a.extent(1) + b.extent(1))], left.concatenate(right, 0));
    /// }
    ///
    /// let rows = |columns| ParameterFacts::Tensor(TensorFacts::contiguous(&[4, columns]));
    /// let launch = TraceRequest { parameters: vec![rows(576), rows(512), rows(64)] };
    /// let literals = beside::definition().trace(&launch)?.literal_extents(&launch);
    /// let extent = |tensor| Symbol::Extent { tensor, axis: 1 };
    /// assert_eq!(literals, [(extent(0), 576), (extent(1), 512), (extent(2), 64)]);
    /// # Ok::<(), TraceError>(())
    /// ```
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
                if self.is_length(value) {
                    literals.push((symbol, value));
                }
            }
        }
        while let Some(found) = self.required(&literals, launch) {
            literals.push(found);
        }
        literals.sort_unstable();
        literals.dedup();
        literals
    }

    /// Whether an inner extent of so many is a literal because a pinned symbol, or what was computed of some, is as much.
    pub fn is_length(&self, extent: i64) -> bool {
        self.lengths.binary_search(&extent).is_ok() || self.pinned.iter().any(|(_, pinned)| *pinned == extent)
    }

    /// An inner extent that is no literal yet, and that the kernel requires to equal what is known of those that are.
    fn required(&self, literals: &[(Symbol, i64)], launch: &TraceRequest) -> Option<(Symbol, i64)> {
        let kernel = &self.kernel;
        let known = |symbol| {
            literals
                .iter()
                .find(|(known, _)| *known == symbol)
                .map(|(_, value)| *value)
        };
        let extent_of = |symbol| match symbol {
            Symbol::Extent { tensor, axis } if axis > 0 => match launch.parameters.get(tensor as usize)? {
                ParameterFacts::Tensor(facts) | ParameterFacts::List(facts) => {
                    facts.extents.get(axis as usize).copied()
                }
                ParameterFacts::Exact(_) | ParameterFacts::Value => None,
            },
            _ => None,
        };
        kernel.requirements.iter().find_map(|requirement| {
            let Expression::Compare {
                op: CompareOp::Equal,
                left,
                right,
            } = kernel.expressions[requirement.condition]
            else {
                return None;
            };
            [(left, right), (right, left)].into_iter().find_map(|(one, other)| {
                let Expression::Symbol(symbol) = kernel.expressions[one] else {
                    return None;
                };
                let value = known_integer(kernel, other, known)?;
                // A launch with another extent is refused.
                let is_asked = known(symbol).is_none() && extent_of(symbol) == u64::try_from(value).ok();
                is_asked.then_some((symbol, value))
            })
        })
    }
}

/// The value of a scalar that is computed of literals and `known` symbols, if it is an integer that 64 bits hold.
fn known_integer(kernel: &Kernel, value: Handle<Expression>, known: impl Fn(Symbol) -> Option<i64>) -> Option<i64> {
    let mut values = HashMap::new();
    for one in kernel.made_of([value]) {
        let found = match kernel.expressions.get(one)? {
            Expression::Symbol(symbol) => known(*symbol).map(Literal::index),
            node => arithmetic::evaluate(node, |operand| values.get(&operand).copied()),
        };
        values.insert(one, found?);
    }
    i64::try_from(values.get(&value)?.as_integer()?).ok()
}
