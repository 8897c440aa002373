//! The catalogue: every kernel of [`kernels`](crate::kernels) by its name, called with tensors of given shapes.
//!
//! What goes through kernels one by one takes them from here: an engine's kernels that are launched by themselves, compiled
//! [before it runs](crate::offline), and `tilewright inspect`.
//!
//! ```
//! use tilewright_dp::catalogue::{ENTRIES, Shapes};
//! use tilewright_runtime::inspect::Inspect;
//! use tilewright_runtime::{Device, compile::Architecture};
//!
//! let entry = ENTRIES.iter().find(|entry| entry.name == "gather_rows").expect("it is there");
//! let shapes = Shapes { rows: 16, tokens: 16, hidden: 64, ..Shapes::default() };
//! let ptx = entry.call(&Device::cpu(), &shapes, |call| call.ptx(Architecture::new(9, 0)))??;
//! assert!(ptx.contains(".entry tilewright_gather_rows("));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

/// Does something for the type of hidden states, which are of floats that engines compute with.
macro_rules! with_float {
    ($element:expr, $of:ident => $work:expr) => {
        match $element {
            tilewright_dsl::element::ElementType::F16 => {
                type $of = half::f16;
                $work
            }
            tilewright_dsl::element::ElementType::BF16 => {
                type $of = half::bf16;
                $work
            }
            tilewright_dsl::element::ElementType::F32 => {
                type $of = f32;
                $work
            }
            element => Err($crate::catalogue::CatalogueError::Element { element }.into()),
        }
    };
}
pub(crate) use with_float;

/// Does something for the type of indices, ids and counts.
macro_rules! with_index {
    ($element:expr, $of:ident => $work:expr) => {
        match $element {
            tilewright_dsl::element::ElementType::I32 => {
                type $of = i32;
                $work
            }
            tilewright_dsl::element::ElementType::I64 => {
                type $of = i64;
                $work
            }
            element => Err($crate::catalogue::CatalogueError::Index { element }.into()),
        }
    };
}

mod batch;
mod entries;
mod experts;
mod hidden;
mod peers;
mod sample;
mod wire;

pub use entries::ENTRIES;
pub(crate) use {experts::*, hidden::*, sample::Sample};

use tilewright_dsl::call::Call;
use tilewright_dsl::element::ElementType;
use tilewright_runtime::{Device, TensorError};

/// A kernel of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name of the kernel.
    pub name: &'static str,
    launch: fn(&Sample<'_>, Act<'_>) -> Done,
}

/// What is done with a call.
type Act<'f> = &'f mut dyn FnMut(Call<'_>);

/// Whether there was one.
type Done = Result<(), CatalogueError>;

/// What a call's tensors are like, as far as the kernel has such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shapes {
    /// The type of hidden states: f16, bf16 or f32.
    pub element: ElementType,
    /// The type of indices, ids and counts in tensors: i32 or i64.
    pub index: ElementType,
    /// Rows of a rank, padding included; slots, segments or requests, where a kernel is about these.
    pub rows: usize,
    /// Those of them that hold a token: the count that is passed.
    pub tokens: usize,
    /// Elements of a hidden state.
    pub hidden: usize,
    /// Data-parallel ranks.
    pub ranks: usize,
    /// Which of them is meant, where a kernel is about one.
    pub rank: usize,
    /// Experts.
    pub experts: usize,
    /// Experts that a token is routed to.
    pub experts_per_token: usize,
}

impl Default for Shapes {
    /// 128 rows of 7168 bf16, all of them tokens, of the second of 8 ranks, i32 indices, and 8 of 256 experts for a token.
    fn default() -> Self {
        Self {
            element: ElementType::BF16,
            index: ElementType::I32,
            rows: 128,
            tokens: 128,
            hidden: 7168,
            ranks: 8,
            rank: 1,
            experts: 256,
            experts_per_token: 8,
        }
    }
}

/// Why a kernel of the catalogue is not called with some shapes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogueError {
    /// Hidden states of that type are not moved.
    #[error("hidden states are f16, bf16 or f32, not {element}")]
    Element {
        /// The type.
        element: ElementType,
    },
    /// Indices are not of that type.
    #[error("indices are i32 or i64, not {element}")]
    Index {
        /// The type.
        element: ElementType,
    },
    /// Scales are those of whole groups.
    #[error(
        "{hidden} elements of a hidden state: scales are those of {group} each, so that it is a multiple of {group}"
    )]
    Groups {
        /// The elements.
        hidden: usize,
        /// Those that share a scale.
        group: usize,
    },
    /// There is no such rank.
    #[error("rank {rank} of {ranks}: ranks are counted from 0, and there is 1 at least")]
    Rank {
        /// The rank.
        rank: usize,
        /// How many there are.
        ranks: usize,
    },
    /// There is no tensor of that size.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Entry {
    /// Does something with a call of this kernel, whose tensors hold zeros and are of such shapes, on a device.
    ///
    /// # Errors
    /// The kernel is not called with tensors of such shapes.
    pub fn call<R>(
        &self,
        device: &Device,
        shapes: &Shapes,
        act: impl FnOnce(Call<'_>) -> R,
    ) -> Result<R, CatalogueError> {
        let &Shapes { rank, ranks, .. } = shapes;
        if rank >= ranks {
            return Err(CatalogueError::Rank { rank, ranks });
        }
        let (mut act, mut result) = (Some(act), None);
        let mut once = |call: Call<'_>| {
            if let Some(act) = act.take() {
                result = Some(act(call));
            }
        };
        (self.launch)(&Sample { device, shapes }, &mut once)?;
        result.ok_or(CatalogueError::Rank { rank, ranks })
    }
}

/// The texts of the kernels' files, by the ends of their names.
pub const SOURCES: [(&str, &str); 16] = [
    ("src/kernels/cache.rs", include_str!("../kernels/cache.rs")),
    ("src/kernels/collective.rs", include_str!("../kernels/collective.rs")),
    ("src/kernels/expert.rs", include_str!("../kernels/expert.rs")),
    ("src/kernels/gather.rs", include_str!("../kernels/gather.rs")),
    ("src/kernels/integer.rs", include_str!("../kernels/integer.rs")),
    ("src/kernels/nvfp4.rs", include_str!("../kernels/nvfp4.rs")),
    ("src/kernels/pad.rs", include_str!("../kernels/pad.rs")),
    ("src/kernels/peers.rs", include_str!("../kernels/peers.rs")),
    ("src/kernels/pieces.rs", include_str!("../kernels/pieces.rs")),
    ("src/kernels/place.rs", include_str!("../kernels/place.rs")),
    ("src/kernels/quantize.rs", include_str!("../kernels/quantize.rs")),
    ("src/kernels/reduce.rs", include_str!("../kernels/reduce.rs")),
    ("src/kernels/request.rs", include_str!("../kernels/request.rs")),
    ("src/kernels/scatter.rs", include_str!("../kernels/scatter.rs")),
    ("src/kernels/segment.rs", include_str!("../kernels/segment.rs")),
    ("src/kernels/slot.rs", include_str!("../kernels/slot.rs")),
];

#[cfg(test)]
mod tests;
