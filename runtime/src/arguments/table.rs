//! The words of a list's table: where each tensor is, how many elements lie in those before it, its extents and its strides.

use tilewright_dsl::call::ListArgument;
use tilewright_dsl::lower::KernelArgument;

use crate::hardware::memory::Storage;

/// Hands over the words of a list's table, in order; `None` where a tensor is memory of another runtime.
pub(crate) fn words_of(list: &ListArgument<'_>, mut word: impl FnMut(u64)) -> Option<()> {
    let mut before = 0u64;
    for tensor in &list.tensors {
        word(Storage::of(tensor.memory)?.address() + tensor.offset);
        word(before);
        tensor.extents.iter().for_each(|&extent| word(extent));
        tensor.strides.iter().for_each(|stride| word(stride.cast_unsigned()));
        before = before.saturating_add(elements(&tensor.extents));
    }
    if list.tensors.is_empty() {
        // An entry that there always is: that of a tensor without elements.
        (0..KernelArgument::table_words(list.rank)).for_each(|_| word(0));
    }
    Some(())
}

/// The number of elements of a tensor.
pub(crate) fn elements(extents: &[u64]) -> u64 {
    extents.iter().fold(1, |all, &extent| all.saturating_mul(extent))
}
