//! The arguments of kernels on a GPU, each as a word.

use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, ListArgument};
use tilewright_dsl::lower::KernelArgument;

use super::{scalar, value_of};
use crate::hardware::memory::Storage;

/// The value of an argument of one word, in the low bytes where it is smaller: the order of bytes is that of the device. `None`
/// of what belongs to no argument of the call.
#[inline]
pub(crate) fn word_of(call: &Call<'_>, grid: [u64; 3], wanted: KernelArgument) -> Option<u64> {
    let argument = |position: u32| call.arguments().get(position as usize);
    match wanted {
        KernelArgument::Pointer(position) => match argument(position)? {
            ArgumentValue::Tensor(tensor) => Some(Storage::of(tensor.memory)?.address() + tensor.offset),
            _ => None,
        },
        KernelArgument::Symbol(symbol) => value_of(call, grid, symbol).map(i64::cast_unsigned),
        KernelArgument::Scalar(position) => scalar(call.arguments(), position).map(|literal| literal.bits),
        KernelArgument::DeviceCount(position) => match argument(position)? {
            ArgumentValue::Count(CountArgument::Device { memory, offset, .. }) => {
                Some(Storage::of(*memory)?.address() + offset)
            }
            _ => None,
        },
        KernelArgument::DeviceCountMaximum(position) => match argument(position)? {
            ArgumentValue::Count(CountArgument::Device { maximum, .. }) => Some(maximum.cast_unsigned()),
            _ => None,
        },
        KernelArgument::Trap
        | KernelArgument::Marks { .. }
        | KernelArgument::Table(_)
        | KernelArgument::Entries { .. } => None,
    }
}

/// The list parameter at a position.
pub(crate) fn list_of<'c, 'a>(call: &'c Call<'a>, position: u32) -> Option<&'c ListArgument<'a>> {
    match call.arguments().get(position as usize)? {
        ArgumentValue::List(list) => Some(list),
        _ => None,
    }
}
