//! Sequences of different lengths between a packed and a padded buffer.
//!
//! A packed buffer `[total, hidden]` holds the sequences one after the other; `starts` `[batch + 1]`, often called
//! `cu_seqlens`, says where each begins and the last one ends. A padded buffer `[batch, length, hidden]` gives every
//! sequence `length` rows.

use tilewright_dsl::{kernel, lang::*};

/// Packs sequences: `out[starts[b] + i] = padded[b][i]` for `i < starts[b + 1] - starts[b]`.
///
/// * `out` `[total, hidden]`, `padded` `[batch, length, hidden]` of any element type, `sequences` the [`Ragged`] layout of
///   the packed rows: a tensor `[batch + 1]` of starts, i32 or i64. Rows of `out` that no sequence covers keep their
///   values; a sequence longer than `length` has only `length` rows to give.
/// * One program per row of `padded`. Specialised for the element and index type and the hidden size.
/// * TensorRT-LLM's MLA kernels have it as `unpad_draft_extend_output`; others mask and select.
///
/// ```
/// use tilewright_dp::kernels::pack_segments;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let padded = device.upload(&[1i32, 2, 0, 3, 0, 0], [2, 3, 1])?;
/// let starts = device.upload(&[0i32, 2, 3], [3])?;
/// let mut out = device.zeros::<i32, 2>([3, 1])?;
/// pack_segments(&mut out, &padded, &starts).launch(&device)?;
/// assert_eq!(out.download()?, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [padded.extent(0) * padded.extent(1)])]
pub fn pack_segments<T: Element, I: Integer>(out: &mut Tensor<T, 2>, padded: &Tensor<T, 3>, sequences: &Ragged<I>) {
    require(out.extent(1) == padded.extent(2));
    let (sequence, position) = (program_id(0) / padded.extent(1), program_id(0) % padded.extent(1));
    let (start, rows) = sequences.span(sequence);
    if position < rows {
        let cols = arange(out.extent(1));
        out.store([start + position, cols], padded.load([sequence, position, cols]));
    }
}

/// Pads sequences: `out[b][i] = packed[starts[b] + i]` for `i < starts[b + 1] - starts[b]`, zeros behind.
///
/// * `out` `[batch, length, hidden]`, `packed` `[total, hidden]` of any element type, `sequences` the [`Ragged`] layout of
///   the packed rows: a tensor `[batch + 1]` of starts, i32 or i64. A sequence longer than `length` is cut.
/// * One program per row of `out`, each written once. Specialised for the element and index type and the hidden size.
/// * TensorRT-LLM's MLA kernels have it as `pad_draft_extend_query`, onto a buffer that was zeroed before.
///
/// ```
/// use tilewright_dp::kernels::pad_segments;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let packed = device.upload(&[1i32, 2, 3], [3, 1])?;
/// let starts = device.upload(&[0i64, 2, 3], [3])?;
/// let mut out = device.upload(&[9i32; 6], [2, 3, 1])?;
/// pad_segments(&mut out, &packed, &starts).launch(&device)?;
/// assert_eq!(out.download()?, [1, 2, 0, 3, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0) * out.extent(1)])]
pub fn pad_segments<T: Element, I: Integer>(out: &mut Tensor<T, 3>, packed: &Tensor<T, 2>, sequences: &Ragged<I>) {
    require(out.extent(2) == packed.extent(1));
    let (sequence, position) = (program_id(0) / out.extent(1), program_id(0) % out.extent(1));
    let (start, rows) = sequences.span(sequence);
    let cols = arange(out.extent(2));
    if position < rows {
        out.store([sequence, position, cols], packed.load([start + position, cols]));
    } else {
        out.store([sequence, position, cols], zero::<T>());
    }
}

/// Pads sequences as [`pad_segments()`] does and says which rows are real: `mask[b][i] = i < starts[b + 1] - starts[b]`.
///
/// * `mask` `[batch, length]`; the rest as there.
/// * One launch for what engines do in two.
///
/// ```
/// use tilewright_dp::kernels::pad_segments_with_mask;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let packed = device.upload(&[1i32, 2, 3], [3, 1])?;
/// let starts = device.upload(&[0i64, 2, 3], [3])?;
/// let mut out = device.zeros::<i32, 3>([2, 2, 1])?;
/// let mut mask = device.zeros::<bool, 2>([2, 2])?;
/// pad_segments_with_mask(&mut out, &mut mask, &packed, &starts).launch(&device)?;
/// assert_eq!(out.download()?, [1, 2, 3, 0]);
/// assert_eq!(mask.download()?, [true, true, true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0) * out.extent(1)])]
pub fn pad_segments_with_mask<T: Element, I: Integer>(
    out: &mut Tensor<T, 3>,
    mask: &mut Tensor<bool, 2>,
    packed: &Tensor<T, 2>,
    sequences: &Ragged<I>,
) {
    require(out.extent(2) == packed.extent(1));
    require(mask.extent(0) == out.extent(0) && mask.extent(1) == out.extent(1));
    let (sequence, position) = (program_id(0) / out.extent(1), program_id(0) % out.extent(1));
    let (start, rows) = sequences.span(sequence);
    let cols = arange(out.extent(2));
    let is_real = position < rows;
    mask.store([sequence, position], is_real);
    if is_real {
        out.store([sequence, position, cols], packed.load([start + position, cols]));
    } else {
        out.store([sequence, position, cols], zero::<T>());
    }
}
