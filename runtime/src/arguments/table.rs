//! The words of a list's table: where each tensor is, how many elements lie in those before it, its extents and its strides.

use tilewright_dsl::call::ListArgument;
use tilewright_dsl::lower::KernelArgument;

use crate::hardware::memory::Storage;

/// Fills in the words of a list's table; `None` where a tensor is memory of another runtime.
pub(crate) fn words_of(list: &ListArgument<'_>, words: &mut Vec<u64>) -> Option<()> {
    let size = KernelArgument::table_words(list.rank);
    words.clear();
    let mut before = 0u64;
    for tensor in &list.tensors {
        words.push(Storage::of(tensor.memory)?.address() + tensor.offset);
        words.push(before);
        words.extend(&tensor.extents);
        words.extend(tensor.strides.iter().map(|stride| stride.cast_unsigned()));
        before = before.saturating_add(elements(&tensor.extents));
    }
    // An entry that there always is: that of a tensor without elements.
    words.resize(words.len().max(size), 0);
    Some(())
}

/// The number of elements of a tensor.
pub(crate) fn elements(extents: &[u64]) -> u64 {
    extents.iter().fold(1, |all, &extent| all.saturating_mul(extent))
}
