//! The kernels that move hidden states, ids and masks, each a few lines of the tile language.
//!
//! | kernels | move |
//! |---|---|
//! | [`gather`] | rows from where an index says |
//! | [`scatter`] | rows to where an index says |
//! | [`slot`] | a rank's rows into and out of its slot of a gathered buffer |
//! | [`place`] | a rank's rows into and out of a whole buffer, in one pass, with a report of what did not fit; padding out of routing |
//! | [`reduce`] | sums over ranks |
//! | [`peers`] | a rank's rows into every rank's buffer, padded, with flags that tell when they are there |
//! | [`collective`] | all ranks' rows into every rank's buffer, and their sums, through memory that peers reach |
//! | [`pad`] | a whole padded buffer, written in one pass; padded ids and masks |
//! | [`segment`] | sequences of different lengths between a packed and a padded buffer |
//! | [`expert`] | rows to experts and back, and where each expert's begin |
//! | [`quantize`] | rows to 8-bit floats with scales, and back |
//! | [`nvfp4`] | rows to 4-bit floats with scales, and back; scales as tensor cores read them |
//! | [`cache`] | rows of the key-value cache |
//! | [`request`] | positions, slots and pages of requests; the fields of a batch |
//!
//! What holds for all of them:
//!
//! * A row is one tile. The row length (the hidden size) is a literal of the compiled variant; the number of rows is not,
//!   so one variant serves every batch unless a launch asks for exact counts.
//! * Counts and offsets are parameters of type [`Count`](tilewright_dsl::lang::Count): passed as
//!   [`Exact`](tilewright_dsl::call::Exact) they are literals of the code, as [`Runtime`](tilewright_dsl::call::Runtime)
//!   arguments, and from device memory a captured graph sees new values at every replay.
//! * Nothing outside a tensor is ever read or written. A count that is too large is clamped to the tensors, an index
//!   outside its axis is skipped or gives zeros, as each kernel says. Rows that have to be of one length and lists that belong
//!   together are [required](tilewright_dsl::lang::require) to be: a launch with others is an error.
//! * Indices, counts and ids are of any integer type, i32 or i64 mostly, and mean the same in each: a number that a type cannot
//!   hold is never computed with. -1 in an unsigned type is its largest value. Results that do not fit the type they are stored
//!   in are reported by [`Device::synchronize`](tilewright_runtime::Device::synchronize), or refused at the launch.
//! * Where an extent or a count is 0 there is nothing to do for it.
//! * Elements are moved as raw bits: NaNs keep their payload, and padding is +0.
//! * Index arithmetic is 64-bit wherever 32 bits are not proved enough, so buffers may exceed 2³¹ elements.
//! * The destination is a `&mut` argument and therefore shares no memory with the sources.

pub mod cache;
pub mod collective;
pub mod expert;
pub mod gather;
mod integer;
pub mod nvfp4;
pub mod pad;
pub mod peers;
pub(crate) mod pieces;
pub mod place;
pub mod quantize;
pub mod reduce;
pub mod request;
pub mod scatter;
pub mod segment;
pub mod slot;

pub use cache::{copy_kv_layers, store_kv, store_mla, zero_pages};
pub use expert::{claim_slots, combine_rows, count_experts, expert_offsets, invert_permutation, permute_rows};
pub use gather::{gather_four, gather_rows, gather_rows_of};
pub use nvfp4::{dequantize_nvfp4, quantize_nvfp4_to_slot, quantize_nvfp4_to_slot_with_report, swizzle_scales};
pub use pad::{fill_and_place, fill_bits, mask_padding_ids, pad_bits, pad_ids, pad_rows, pad_rows_with};
pub use peers::{await_gather, push_gather, push_own_rows, push_quantized};
pub use place::{mask_rows_outside, place_rows, place_rows_with_report, take_rows_with_report};
pub use quantize::{dequantize_rows, quantize_rows, quantize_to_slot, quantize_to_slot_with_report};
pub use reduce::{add_rows, convert_rows};
pub use request::{alloc_extend, copy_fields, kv_indices, last_slot, ragged_positions, translate_ids};
pub use scatter::{scatter_rows, scatter_rows_except};
pub use segment::{pack_segments, pad_segments, pad_segments_with_mask};
pub use slot::{copy_from_slot, copy_from_slot_padded, copy_to_slot};
