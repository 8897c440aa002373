//! All kernels, by name.

use super::{Entry, batch, experts, hidden, peers, wire};

/// An entry: the function that calls the kernel, for whichever types it has.
macro_rules! entry {
    ($file:ident :: $name:ident) => {
        Entry {
            name: stringify!($name),
            launch: $file::$name,
        }
    };
    ($file:ident :: $name:ident of T) => {
        Entry {
            name: stringify!($name),
            launch: |sample, act| with_float!(sample.shapes.element, T => $file::$name::<T>(sample, act)),
        }
    };
    ($file:ident :: $name:ident of I) => {
        Entry {
            name: stringify!($name),
            launch: |sample, act| with_index!(sample.shapes.index, I => $file::$name::<I>(sample, act)),
        }
    };
    ($file:ident :: $name:ident of T, I) => {
        Entry {
            name: stringify!($name),
            launch: |sample, act| {
                with_float!(sample.shapes.element, T => {
                    with_index!(sample.shapes.index, I => $file::$name::<T, I>(sample, act))
                })
            },
        }
    };
}

/// Every kernel of the catalogue, in the order of the files.
pub const ENTRIES: &[Entry] = &[
    entry!(hidden::store_kv of T, I),
    entry!(hidden::store_mla of T, I),
    entry!(hidden::copy_kv_layers of T, I),
    entry!(hidden::zero_pages of T, I),
    entry!(peers::gather_parts of T),
    entry!(peers::sum_parts of T),
    entry!(peers::sum_all of T),
    entry!(peers::sum_all_in_shares of T),
    entry!(experts::count_experts of I),
    entry!(experts::expert_offsets of I),
    entry!(experts::claim_slots of I),
    entry!(experts::permute_rows of T, I),
    entry!(experts::combine_rows of T, I),
    entry!(experts::invert_permutation of I),
    entry!(hidden::gather_rows of T, I),
    entry!(hidden::gather_rows_of of T, I),
    entry!(hidden::gather_four of T, I),
    entry!(wire::quantize_nvfp4_to_slot of T),
    entry!(wire::quantize_nvfp4_to_slot_with_report of T),
    entry!(wire::dequantize_nvfp4 of T),
    entry!(wire::swizzle_scales),
    entry!(hidden::pad_rows of T),
    entry!(hidden::pad_rows_with of T),
    entry!(batch::pad_ids of I),
    entry!(batch::pad_bits),
    entry!(batch::fill_bits),
    entry!(hidden::fill_and_place of T),
    entry!(experts::mask_padding_ids of I),
    entry!(peers::push_gather of T),
    entry!(peers::await_gather),
    entry!(peers::push_own_rows of T),
    entry!(peers::push_quantized of T),
    entry!(hidden::place_rows of T),
    entry!(hidden::place_rows_with_report of T),
    entry!(hidden::take_rows_with_report of T),
    entry!(experts::mask_rows_outside of I),
    entry!(wire::quantize_rows of T),
    entry!(wire::dequantize_rows of T),
    entry!(wire::quantize_to_slot of T),
    entry!(wire::quantize_to_slot_with_report of T),
    entry!(hidden::convert_rows of T),
    entry!(hidden::add_rows of T),
    entry!(batch::ragged_positions of I),
    entry!(batch::kv_indices of I),
    entry!(batch::last_slot of I),
    entry!(batch::alloc_extend of I),
    entry!(batch::translate_ids of I),
    entry!(batch::copy_fields),
    entry!(hidden::scatter_rows of T, I),
    entry!(hidden::scatter_rows_except of T, I),
    entry!(batch::pack_segments of T, I),
    entry!(batch::pad_segments of T, I),
    entry!(batch::pad_segments_with_mask of T, I),
    entry!(hidden::copy_to_slot of T),
    entry!(hidden::copy_from_slot of T),
    entry!(hidden::copy_from_slot_padded of T),
];
