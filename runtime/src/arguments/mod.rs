//! What the arguments of a launch say, read in one place: the values of the symbols that kernels name them with, the facts
//! that a recording may rely on, and the words of lists' tables.

mod facts;
mod table;
mod values;

pub(crate) use facts::{alignment_of, alignment_of_list, layout_of, layout_of_list, trace_request};
pub(crate) use table::{elements, words_of};
pub(crate) use values::{AtMost, HostKnows, differing, has_pinned, list_extents, scalar, tensor_symbols, value_of};
