//! Accesses that could not be made as wide as they might be, and why, in an author's words.

use std::fmt;

use crate::element::ElementType;
use crate::ir::{Handle, Span};
use crate::stack::room;
use crate::thread::{Atom, Index, Kernel, Value};

/// An access that could not be made as wide as its packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrow {
    /// The line.
    pub span: Span,
    /// The memory.
    pub buffer: String,
    /// Whether it is a store.
    pub is_store: bool,
    /// Bytes of each access that was made, at least.
    pub bytes: u32,
    /// Bytes that the packet would have had at once.
    pub wanted: u32,
    /// What stood in the way.
    pub why: Why,
}

/// Why an access is narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Where the elements are was read from memory.
    Loaded,
    /// Where the elements are was computed as numbers of this type, of which it is not known how they grow.
    Computed(ElementType),
    /// How far the elements are apart is an argument of the launch.
    Strided,
    /// Which element it is depends on a comparison: an index that is clamped, or chosen.
    Chosen,
    /// Neighbours are so many bytes apart.
    Apart(i64),
    /// No more than this is known to divide the address.
    Unaligned(u64),
    /// Whether an element is accessed depends on a value that changes along the packet.
    Masked,
    /// Rows have only so many bytes.
    Short(u64),
    /// Threads hold the tile element by element, so that each stores its own.
    Held,
    /// Each thread stores what it has found, and hands nothing to others.
    Found,
    /// The store that it is for is done element by element.
    Beside,
    /// The schedule has it so.
    Scheduled,
    /// Elements are stored one after the other, as the last one wins that is in a place.
    InOrder,
    /// It is an atomic operation, which is of one element.
    Atomic,
}

/// What an author is told.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded => f.write_str("the index comes from a loaded value"),
            Self::Computed(ElementType::I64) => {
                f.write_str("the index is computed by operations of which it is not known how they grow")
            }
            Self::Computed(element) => write!(
                f,
                "the index is computed in {element}, which may wrap: compute it in i64, the type of `arange`"
            ),
            Self::Strided => f.write_str(
                "how far neighbours are apart is known only at the launch: pass a tensor whose innermost axis is contiguous",
            ),
            Self::Chosen => f.write_str(
                "the index is clamped or chosen for each element: choose between tiles, or bound the index with an `if`",
            ),
            Self::Apart(bytes) => write!(f, "neighbours are {bytes} bytes apart in memory"),
            Self::Unaligned(by) => write!(
                f,
                "the row's start is divisible by {by} only: pin the extent, say `multiple_of`, or pass rows that begin at \
                 multiples of 16 bytes"
            ),
            Self::Masked => f.write_str("the mask changes along the vector"),
            Self::Short(bytes) => write!(f, "a row has only {bytes} bytes"),
            Self::Held => f.write_str("threads keep the tile element by element, and each stores its own"),
            Self::Found => f.write_str("who found an element stores it, sooner than it is handed to others"),
            Self::Scheduled => f.write_str("rows are short, so that each element by itself is sooner done"),
            Self::Beside => f.write_str("what is stored with it goes element by element"),
            Self::InOrder => f.write_str("elements are stored in order, as the last one in a place stays"),
            Self::Atomic => f.write_str("an atomic operation is of one element"),
        }
    }
}

/// Why it is not known how far the elements at an offset are apart.
pub(crate) fn why_unknown(kernel: &Kernel, offset: Handle<Index>, is_loaded: impl Fn(Handle<Value>) -> bool) -> Why {
    let packets = kernel.indices.atoms(offset).iter().filter_map(|atom| match atom {
        Atom::Value(value) if kernel.values[*value].ty.lanes > 1 => Some(*value),
        _ => None,
    });
    let mut computed = None;
    for value in packets {
        if is_loaded(value) {
            return Why::Loaded;
        }
        computed = Some(Why::Computed(kernel.values[value].ty.element));
    }
    computed.unwrap_or_else(|| match is_chosen(kernel, offset) {
        true => Why::Chosen,
        false => Why::Strided,
    })
}

/// Whether a choice that moves with the lane is part of an index.
fn is_chosen(kernel: &Kernel, index: Handle<Index>) -> bool {
    if kernel.lanes_of(index).is_none() {
        return false;
    }
    let mut found = matches!(
        kernel.indices.get(index),
        Index::Select { .. } | Index::Minimum(..) | Index::Maximum(..)
    );
    kernel
        .indices
        .for_each_operand(index, |operand| found = found || room(|| is_chosen(kernel, operand)));
    found
}
