//! What the arguments of a launch say, read in one place: the values of the symbols that kernels name them with, the facts
//! that a recording may rely on, what differs from one launch to the next, and the words of lists' tables and of kernels'
//! arguments.

mod facts;
mod seen;
mod table;
mod values;
mod word;

pub(crate) use facts::{alignment_of, alignment_of_list, layout_of, layout_of_list, trace_request};
pub(crate) use seen::{Alike, SeenArguments};
pub(crate) use table::{elements, words_of};
pub(crate) use values::{AtMost, HostKnows, differing, has_pinned, list_extents, scalar, tensor_symbols, value_of};
pub(crate) use word::{list_of, word_of};
