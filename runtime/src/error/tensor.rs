//! What can go wrong with tensors on a device.

use tilewright_dsl::element::ElementType;

use super::DeviceError;

/// Why a tensor could not be made, filled, read or sliced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// An axis is longer than any axis may be.
    #[error("axis {axis} of a tensor of extents {extents:?} is too long: at most 2^40 elements")]
    TooLong {
        /// The extents asked for.
        extents: Vec<usize>,
        /// The axis, outermost first.
        axis: usize,
    },
    /// The tensor has more bytes than an allocation can have.
    #[error("a tensor of extents {extents:?} with elements of {element_bytes} bytes is too large for any memory")]
    TooLarge {
        /// The extents asked for.
        extents: Vec<usize>,
        /// Bytes of one element.
        element_bytes: usize,
    },
    /// As many elements were given as the tensor does not have.
    #[error("{found} elements were given for a tensor of extents {extents:?}, which has {expected}")]
    WrongLength {
        /// The tensor's extents.
        extents: Vec<usize>,
        /// The number of its elements.
        expected: usize,
        /// The number of elements given.
        found: usize,
    },
    /// There is no such axis.
    #[error("axis {axis} of a tensor of rank {rank}: axes are numbered from 0, outermost first")]
    NoSuchAxis {
        /// The axis asked for.
        axis: usize,
        /// The tensor's rank.
        rank: usize,
    },
    /// A slice that is not within its axis.
    #[error("the slice {start}..{end} of axis {axis} is not within its extent of {extent}")]
    OutOfRange {
        /// The axis, outermost first.
        axis: usize,
        /// The first index.
        start: usize,
        /// The index after the last.
        end: usize,
        /// The extent of the axis.
        extent: usize,
    },
    /// Elements were written to a view whose elements do not follow each other in memory.
    #[error(
        "the elements of a view of extents {extents:?} and strides {strides:?} do not follow each other: write its rows"
    )]
    NotContiguous {
        /// The view's extents.
        extents: Vec<usize>,
        /// The view's strides, in elements.
        strides: Vec<i64>,
    },
    /// A view was to be a matrix, and the other axes of its tensor are not one run of elements.
    #[error(
        "a view of extents {extents:?} and strides {strides:?} is no matrix of rows along axis {axis}: its other axes do not follow each other"
    )]
    NoMatrix {
        /// The view's extents.
        extents: Vec<usize>,
        /// The view's strides, in elements.
        strides: Vec<i64>,
        /// The axis of the rows.
        axis: usize,
    },
    /// A view was to have extents for more or fewer elements than it has.
    #[error("a view of extents {from:?} cannot be reshaped to {to:?}: the products of the extents must be equal")]
    OtherCount {
        /// The view's extents.
        from: Vec<usize>,
        /// The extents asked for.
        to: Vec<usize>,
    },
    /// A view was to have axes across which its elements do not follow each other.
    #[error(
        "a view of extents {extents:?} and strides {strides:?} cannot be reshaped to {to:?}: an axis would go over a gap; reshape before it is sliced or transposed, or copy its elements"
    )]
    NoReshape {
        /// The view's extents.
        extents: Vec<usize>,
        /// The view's strides, in elements.
        strides: Vec<i64>,
        /// The extents asked for.
        to: Vec<usize>,
    },
    /// Elements of one size were to be seen as elements of another size.
    #[error("{from} has elements of {} bytes and {to} of {}: the bits of one are not one of the other", from.size(), to.size())]
    OtherSize {
        /// The type of the elements.
        from: ElementType,
        /// The type that was asked for.
        to: ElementType,
    },
    /// The greatest value of a count in device memory is more than a count may be.
    #[error("a count in device memory may be at most 2^40, and {maximum} was named as its maximum")]
    MaximumTooLarge {
        /// The maximum named.
        maximum: u64,
    },
    /// A tensor of others that has elements lies nowhere.
    #[error("a tensor of extents {extents:?} was given at address 0: pass where its first element is")]
    Nowhere {
        /// The extents.
        extents: Vec<usize>,
    },
    /// A tensor of others does not begin where its elements may be.
    #[error("a tensor begins at address {address:#x}, which is no multiple of its element size, {element_bytes} bytes")]
    Misaligned {
        /// Where its first element is.
        address: u64,
        /// Bytes of one element.
        element_bytes: usize,
    },
    /// A tensor of others leaves the address space, or the memory that it was said to lie in.
    #[error("a tensor of extents {extents:?} and strides {strides:?} is not within its memory, of {bytes} bytes")]
    NotWithin {
        /// The extents.
        extents: Vec<usize>,
        /// The strides, in elements.
        strides: Vec<i64>,
        /// The bytes of the memory, or of the address space.
        bytes: u64,
    },
    /// There is no such rank among peers.
    #[error("there is no rank {rank} among {ranks}: ranks are counted from 0")]
    NoSuchRank {
        /// The rank asked for.
        rank: usize,
        /// How many there are.
        ranks: usize,
    },
    /// A DLPack tensor is not what it was taken for.
    #[error("the DLPack tensor {reason}")]
    Dlpack {
        /// What is wrong with it.
        reason: String,
    },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
