//! What a class of launches has in common: the facts about each parameter that a kernel is recorded with.

use tilewright_dsl::call::{
    ArgumentValue, Call, CountArgument, ListArgument, ParameterFacts, TensorArgument, TensorFacts, TraceRequest,
};
use tilewright_dsl::ir::Layout;

use super::list_extents;
use crate::hardware::memory::Storage;

/// The widest access of a thread, in bytes: no alignment beyond it is of use.
pub(super) const WIDEST: u64 = 16;

/// How the strides of a tensor relate to its extents.
pub(crate) fn layout_of(tensor: &TensorArgument<'_>) -> Layout {
    let axes = || tensor.extents.iter().zip(&tensor.strides).rev();
    let mut expected = 1i128;
    let contiguous = axes().all(|(&extent, &stride)| {
        let fits = extent == 1 || i128::from(stride) == expected;
        expected *= i128::from(extent);
        fits
    });
    if contiguous || tensor.extents.contains(&0) {
        return Layout::Contiguous;
    }
    rows_of(tensor).map_or(Layout::Strided, |multiple| Layout::Rows { multiple })
}

/// What divides the strides of a tensor whose neighbours on the innermost axis are adjacent; `None` of another one. That of an axis of
/// one element counts too: it is what an index beyond the axis is multiplied by, before it is found to be that.
fn rows_of(tensor: &TensorArgument<'_>) -> Option<u32> {
    let most = WIDEST / tensor.element.size() as u64;
    let Some((innermost, outer)) = tensor.strides.split_last() else {
        return Some(most as u32);
    };
    let has_neighbours = tensor.extents.last().is_some_and(|&extent| extent > 1);
    if has_neighbours && *innermost != 1 {
        return None;
    }
    let multiple = outer.iter().fold(most, |multiple, stride| {
        multiple.min(power_of_two_in(stride.unsigned_abs()))
    });
    Some(multiple as u32)
}

/// What the strides of all tensors of a list have in common.
pub(crate) fn layout_of_list(list: &ListArgument<'_>) -> Layout {
    if list
        .tensors
        .iter()
        .all(|tensor| layout_of(tensor) == Layout::Contiguous)
    {
        return Layout::Contiguous;
    }
    let multiple = list
        .tensors
        .iter()
        .map(rows_of)
        .try_fold(u32::MAX, |least, one| Some(least.min(one?)));
    multiple.map_or(Layout::Strided, |multiple| Layout::Rows { multiple })
}

/// What divides the addresses of all tensors of a list that have elements.
pub(crate) fn alignment_of_list(list: &ListArgument<'_>) -> u32 {
    let some = list.tensors.iter().filter(|tensor| !tensor.extents.contains(&0));
    some.map(alignment_of).min().unwrap_or(WIDEST as u32)
}

/// The largest power of two, up to 16, that divides the address of a tensor's first element.
pub(crate) fn alignment_of(tensor: &TensorArgument<'_>) -> u32 {
    let address = Storage::of(tensor.memory).map_or(1, |storage| storage.address().wrapping_add(tensor.offset));
    if address == 0 {
        WIDEST as u32
    } else {
        power_of_two_in(address).min(WIDEST) as u32
    }
}

fn power_of_two_in(value: u64) -> u64 {
    1 << value.trailing_zeros().min(u64::BITS - 1)
}

/// What a recording for this launch may rely on.
pub(crate) fn trace_request(call: &Call<'_>) -> TraceRequest {
    let facts = |argument: &ArgumentValue<'_>| match argument {
        ArgumentValue::Tensor(tensor) => ParameterFacts::Tensor(TensorFacts {
            extents: tensor.extents.clone(),
            layout: layout_of(tensor),
            alignment: alignment_of(tensor),
        }),
        ArgumentValue::Count(CountArgument::Exact(value)) => ParameterFacts::Exact(*value),
        ArgumentValue::List(list) => ParameterFacts::List(TensorFacts {
            extents: list_extents(list),
            layout: layout_of_list(list),
            alignment: alignment_of_list(list),
        }),
        ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => ParameterFacts::Value,
    };
    TraceRequest {
        parameters: call.arguments().iter().map(facts).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, TensorView};
    use tilewright_dsl::call::{Argument, Arguments};
    use tilewright_dsl::element::Element;
    use tilewright_dsl::lang::Tensor;

    fn facts<T: Element, const R: usize>(view: TensorView<'_, T, R>) -> (Layout, u32) {
        let mut arguments = Arguments::new();
        Argument::<&Tensor<T, R>>::pass(view, &mut arguments);
        match &arguments.values()[0] {
            ArgumentValue::Tensor(tensor) => (layout_of(tensor), alignment_of(tensor)),
            _ => panic!("a tensor is pushed"),
        }
    }

    #[test]
    fn whole_rows_are_contiguous_and_parts_of_rows_are_rows() -> Result<(), crate::TensorError> {
        let tensor = Device::cpu().zeros::<half::bf16, 2>([4, 24])?;
        assert_eq!(facts(tensor.view()), (Layout::Contiguous, 16));
        assert_eq!(facts(tensor.rows(1..3)?), (Layout::Contiguous, 16));
        assert_eq!(facts(tensor.columns(..8)?), (Layout::Rows { multiple: 8 }, 16));
        assert_eq!(facts(tensor.columns(1..8)?), (Layout::Rows { multiple: 8 }, 2));
        assert_eq!(facts(tensor.columns(2..3)?.rows(0..1)?), (Layout::Contiguous, 4));
        assert_eq!(facts(tensor.transpose(0, 1)?), (Layout::Strided, 16));
        Ok(())
    }

    #[test]
    fn the_stride_of_an_axis_of_one_element_is_no_fact() -> Result<(), crate::TensorError> {
        let tensor = Device::cpu().zeros::<f32, 3>([3, 5, 7])?;
        assert_eq!(facts(tensor.slice(0, 1..2)?), (Layout::Contiguous, 4));
        assert_eq!(facts(tensor.columns(0..1)?), (Layout::Rows { multiple: 1 }, 16));
        assert_eq!(
            facts(tensor.slice(1, 0..1)?.transpose(0, 1)?),
            (Layout::Rows { multiple: 1 }, 16)
        );
        assert_eq!(facts(tensor.slice(1, 2..2)?), (Layout::Contiguous, 16));
        Ok(())
    }

    #[test]
    fn a_stride_counts_that_only_an_index_beyond_its_axis_is_multiplied_by() -> Result<(), crate::TensorError> {
        let tensor = Device::cpu().zeros::<f32, 3>([3, 5, 8])?;
        let rows = |columns| facts(tensor.columns(..columns).expect("columns"));
        assert_eq!(rows(7), (Layout::Rows { multiple: 4 }, 16));
        let first_row = |columns| {
            facts(
                tensor
                    .slice(1, 0..1)
                    .and_then(|row| row.columns(..columns))
                    .expect("a row"),
            )
        };
        for (columns, multiple) in [(4, 4), (6, 2), (7, 1)] {
            assert_eq!(first_row(columns), (Layout::Rows { multiple }, 16), "{columns} columns");
        }
        Ok(())
    }
}
