//! One case: a kernel, the arguments of a launch of it, and how they are bound. All of it is data, so that a case can be
//! run in many ways.

use tilewright::dsl::call::{Definition, Traced};
use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{Kernel, Literal, Symbol};
use tilewright::dsl::transform::fuse;

/// A random kernel and a launch of it.
pub struct Case {
    /// As generated, before any transformation.
    pub kernel: Kernel,
    /// Extents that become literals.
    pub pinned: Vec<Symbol>,
    pub arguments: Vec<Argument>,
    /// Whether all extents and strides become literals.
    pub exact_extents: bool,
    /// Whether what the kernel claims is tested; it holds.
    pub checked: bool,
    /// How many units in the last place a float may differ on a GPU: 0 unless an operation of the kernel says otherwise.
    pub ulps: u64,
}

/// The argument of one parameter.
#[derive(Debug, Clone)]
pub enum Argument {
    Tensor(Tensor),
    Count(Count),
    Scalar(Literal),
}

/// A tensor somewhere in a memory of its own, whose other bytes are guards.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub element: ElementType,
    pub mutable: bool,
    pub extents: Vec<u64>,
    /// In elements; of a list there are none.
    pub strides: Vec<i64>,
    /// The byte where the first element starts.
    pub offset: u64,
    /// What the whole memory holds.
    pub bytes: Vec<u8>,
    /// Of a list, its tensors, which have no bytes of their own; then the extents are what the list's symbols mean.
    pub members: Option<Vec<Tensor>>,
}

/// A count and how it is bound.
#[derive(Debug, Clone, Copy)]
pub enum Count {
    Exact(i64),
    Runtime(i64),
    Device {
        /// The value in memory, which may be out of range.
        stored: i64,
        element: ElementType,
        maximum: i64,
    },
}

impl Count {
    /// The value that the kernel sees.
    pub fn value(self) -> i64 {
        match self {
            Self::Exact(value) | Self::Runtime(value) => value,
            Self::Device { stored, maximum, .. } => stored.clamp(0, maximum),
        }
    }

    /// The value that sizes the grid.
    pub fn maximum(self) -> i64 {
        match self {
            Self::Exact(value) | Self::Runtime(value) => value,
            Self::Device { maximum, .. } => maximum,
        }
    }
}

impl Case {
    /// The value of an extent, stride or count in this launch.
    pub fn value(&self, symbol: Symbol) -> Option<i64> {
        let argument = |position: u32| self.arguments.get(position as usize);
        match (symbol, symbol_position(symbol).and_then(argument)?) {
            (Symbol::Extent { axis, .. }, Argument::Tensor(tensor)) => {
                tensor.extents.get(axis as usize).map(|&extent| extent as i64)
            }
            (Symbol::Stride { axis, .. }, Argument::Tensor(tensor)) => tensor.strides.get(axis as usize).copied(),
            (Symbol::Count(_), Argument::Count(count)) => Some(count.value()),
            _ => None,
        }
    }

    /// The launches of all `parts` as one. They agree on what is reported.
    pub fn fused(parts: &[&Self]) -> Self {
        let Traced { mut kernel, pinned, .. } = fuse(&parts.iter().map(|part| part.traced()).collect::<Vec<_>>());
        kernel.reports = parts.iter().any(|part| part.kernel.reports);
        Self {
            kernel,
            pinned: pinned.into_iter().map(|(symbol, _)| symbol).collect(),
            arguments: parts.iter().flat_map(|part| part.arguments.clone()).collect(),
            exact_extents: parts.iter().any(|part| part.exact_extents),
            checked: parts.iter().any(|part| part.checked),
            ulps: parts.iter().map(|part| part.ulps).max().unwrap_or(0),
        }
    }

    fn traced(&self) -> Traced {
        let with_value = |&symbol: &Symbol| self.value(symbol).map(|value| (symbol, value));
        Traced {
            kernel: self.kernel.clone(),
            pinned: self.pinned.iter().filter_map(with_value).collect(),
            lengths: Vec::new(),
        }
    }

    /// The kernel with its pinned extents, as a definition that a runtime can launch.
    pub fn definition(&self) -> Definition {
        // SAFETY: every promise that the generator makes holds in the launch that it makes for the kernel; the oracle,
        // which checks all of them, has run it.
        #[allow(unsafe_code)]
        let definition = unsafe { Definition::of_ir_unchecked("fuzz", self.traced()) };
        definition.expect("what is generated is well-formed")
    }

    /// The symbols of all tensors, with their values.
    pub fn tensor_symbols(&self) -> Vec<(Symbol, i64)> {
        let mut symbols = Vec::new();
        for (tensor, argument) in (0u32..).zip(&self.arguments) {
            let Argument::Tensor(argument) = argument else { continue };
            for axis in 0..argument.extents.len() as u8 {
                for symbol in [Symbol::Extent { tensor, axis }, Symbol::Stride { tensor, axis }] {
                    symbols.extend(self.value(symbol).map(|value| (symbol, value)));
                }
            }
        }
        symbols
    }
}

/// The parameter that a symbol belongs to.
fn symbol_position(symbol: Symbol) -> Option<u32> {
    match symbol {
        Symbol::Extent { tensor, .. } | Symbol::Stride { tensor, .. } => Some(tensor),
        Symbol::Count(position) => Some(position),
        Symbol::ProgramId(_) | Symbol::NumPrograms(_) => None,
    }
}
