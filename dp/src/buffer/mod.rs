//! The memory of gathered buffers: one arena for each device and role, reused by every layer and step.
//!
//! Engines have allocated these buffers for every forward, and for every layer of one; the churn fragments memory, and a
//! step that a graph serves never looks at what was allocated for it (SGLang's pull request 8277). An [`Arena`] grows to
//! the largest plan it has seen and no further, gives a step a view with its plan's rows, and gives a step that a graph
//! serves nothing.
//!
//! ```
//! use tilewright_dp::buffer::{Arena, Role};
//! use tilewright_dp::plan::{Plan, Request};
//! use tilewright_runtime::Device;
//!
//! let mut arena = Arena::<f32>::new(&Device::cpu(), Role::Gathered, 4);
//! for counts in [[20, 3], [1, 2], [9, 9]] {
//!     let plan = Plan::new(&Request { row_bytes: 16, ..Request::new(counts.to_vec(), 2) })?;
//!     let view = arena.for_plan(&plan)?.expect("an eager step has a buffer");
//!     assert_eq!(view.extents(), [plan.layout().rows() as usize, 4]);
//! }
//! assert_eq!(arena.usage().growths, 1);
//! assert_eq!(arena.usage().peak_bytes, 40 * 16);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arena;
mod parts;
mod usage;

pub use arena::{Arena, Pinned};
pub use parts::PartArenas;
pub use usage::{Role, Usage};

use tilewright_runtime::TensorError;

/// Why an arena has no buffer to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BufferError {
    /// The rows of the plan are of another size than those of the arena.
    #[error(
        "the {role} arena has rows of {arena} bytes and the plan has rows of {plan}: make one arena for each width and \
         element type"
    )]
    OtherRow {
        /// What the arena is for.
        role: Role,
        /// Bytes of a row of the arena.
        arena: u64,
        /// Bytes of a row of the plan.
        plan: u64,
    },
    /// The plan has fewer micro-batches.
    #[error("there is no micro-batch {index} of the {role} buffer; the plan has {parts}, counted from 0")]
    NoSuchPart {
        /// What the arena is for.
        role: Role,
        /// The micro-batch asked for.
        index: usize,
        /// Micro-batches of the plan.
        parts: usize,
    },
    /// The buffer has to grow where it must not.
    #[error(
        "the {role} arena has {capacity} rows and {rows} are needed, and it was told to grow no more: size it with the \
         largest plan before graphs are captured"
    )]
    Sealed {
        /// What the arena is for.
        role: Role,
        /// The rows it has.
        capacity: u64,
        /// The rows asked for.
        rows: u64,
    },
    /// The device has no room, or its stream is being captured.
    #[error("the {role} arena cannot grow to {rows} rows: {source}")]
    Memory {
        /// What the arena is for.
        role: Role,
        /// The rows asked for.
        rows: u64,
        /// What the device says.
        source: TensorError,
    },
}
