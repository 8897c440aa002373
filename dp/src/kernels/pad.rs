//! Whole padded buffers, written in one pass; padded ids and masks.

use tilewright_dsl::{kernel, lang::*};

use super::integer::{counted, nowhere};

/// Pads a batch to the length of `out`: `out[0..rows) = src[0..rows)`, `out[rows..) = 0`.
///
/// * `out` `[bucket, hidden]`, `src` `[n, hidden]` of any element type; `rows` a count. Rows that `src` does not have are
///   zeros too.
/// * One program per row of `out`, each written once. Specialised for the element type and the hidden size, and for the
///   count if it is exact.
/// * Engines pad batches to the token counts their graphs were captured for, with a fill and a copy.
///
/// ```
/// use tilewright_dp::kernels::pad_rows;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[1i16, 2, 3], [3, 1])?;
/// let mut out = device.upload(&[9i16; 4], [4, 1])?;
/// pad_rows(&mut out, &src, Exact(2)).launch(&device)?;
/// assert_eq!(out.download()?, [1, 2, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0)])]
pub fn pad_rows<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, rows: Count) {
    require(out.extent(1) == src.extent(1));
    let row = program_id(0);
    let cols = arange(out.extent(1));
    if row < rows {
        out.store([row, cols], src.load([row, cols]));
    } else {
        out.store([row, cols], zero::<T>());
    }
}

/// Pads a batch to the length of `out` with a value: `out[0..rows) = src[0..rows)`, `out[rows..) = fill`.
///
/// * As [`pad_rows()`], for element types with arithmetic; `fill` is converted as by `as`. Rows that `src` does not have are
///   filled.
/// * TensorRT-LLM fills the ids of padding tokens with 1, because zeros gave NaNs.
///
/// ```
/// use tilewright_dp::kernels::pad_rows_with;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[1.0f32, 2.0], [2, 1])?;
/// let mut out = device.zeros::<f32, 2>([3, 1])?;
/// pad_rows_with(&mut out, &src, Exact(1), 0.5f32).launch(&device)?;
/// assert_eq!(out.download()?, [1.0, 0.5, 0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0)])]
pub fn pad_rows_with<T: Number>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, rows: Count, fill: f32) {
    require(out.extent(1) == src.extent(1));
    let row = program_id(0);
    let cols = arange(out.extent(1));
    if row < rows && row < src.extent(0) {
        out.store([row, cols], src.load([row, cols]));
    } else {
        out.store([row, cols], fill.cast::<T>());
    }
}

/// Ids per program of [`pad_ids()`].
const IDS: usize = 1024;

/// Pads a list of ids to the length of `out`: `out[0..count) = ids[0..count)`, `out[count..) = fill`.
///
/// * `out` `[bucket]` and `ids` `[n]` of any integer type; `fill` wraps to it. Entries that `ids` does not have are filled.
/// * One program per 1024 ids. Specialised for the type, and for the count if it is exact.
/// * Engines pad token ids, positions and cache locations with 0, sequence lengths with 1, room ids with -1.
///
/// ```
/// use tilewright_dp::kernels::pad_ids;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let ids = device.upload(&[5i64, 6, 7], [3])?;
/// let mut out = device.zeros::<i64, 1>([5])?;
/// pad_ids(&mut out, &ids, Exact(2), -1i64).launch(&device)?;
/// assert_eq!(out.download()?, [5, 6, -1, -1, -1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(out.extent(0), IDS)])]
pub fn pad_ids<I: Integer>(out: &mut Tensor<I, 1>, ids: &Tensor<I, 1>, count: Count, fill: i64) {
    require(fill.cast::<I>().cast::<i64>() == fill);
    let at = program_id(0) * IDS + arange(IDS);
    let real = at < count.min(ids.extent(0));
    out.store([at], select(real, ids.load_where([at], real), fill.cast::<I>()));
}

/// Pads rows of raw bits with a pattern: `out[0..rows) = src[0..rows)`, `out[rows..) = fill`.
///
/// * `out` `[length, columns]`, `src` `[n, columns]` of an unsigned type as wide as the elements; `rows` a count; the low bits
///   of `fill` are the pattern. Rows that `src` does not have are filled. Without `fills`, rows from `rows` on keep what they
///   have.
/// * One program per `block` rows. Specialised for the width, the columns, `block` and `fills`, and for the count if it is
///   exact.
/// * [`Padding`](crate::batch::Padding) fuses it for all tensors of a batch.
///
/// ```
/// use tilewright_dp::kernels::pad_bits;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[1.0f32, 2.0, 3.0], [3, 1])?;
/// let mut out = device.zeros::<f32, 2>([4, 1])?;
/// let fill = u64::from(0.5f32.to_bits());
/// pad_bits::<u32>(out.view_mut().bits()?, src.view().bits()?, Exact(2), fill, 16, true).launch(&device)?;
/// assert_eq!(out.download()?, [1.0, 2.0, 0.5, 0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(out.extent(0), block)])]
pub fn pad_bits<W: Integer>(
    out: &mut Tensor<W, 2>,
    src: &Tensor<W, 2>,
    rows: Count,
    fill: u64,
    #[comptime] block: usize,
    #[comptime] fills: bool,
) {
    require(out.extent(1) == src.extent(1));
    let cols = arange(out.extent(1));
    let rows = rows.min(src.extent(0));
    if block == 1 {
        let row = program_id(0);
        if row < rows {
            out.store([row, cols], src.load([row, cols]));
        } else if fills {
            out.store([row, cols], fill.cast::<W>());
        }
    } else {
        let row = (program_id(0) * block + arange(block)).expand_dims(1);
        let real = row < rows;
        let bits = src.load_where([row, cols], real);
        if fills {
            out.store([row, cols], select(real, bits, fill.cast::<W>()));
        } else {
            out.store_where([row, cols], bits, real);
        }
    }
}

/// Fills rows of raw bits from a row on: `out[rows..) = fill`.
///
/// * As [`pad_bits()`], in place: rows before `rows` keep what they have.
///
/// ```
/// use tilewright_dp::kernels::fill_bits;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let mut lengths = device.upload(&[7i32, 8, 9], [3, 1])?;
/// fill_bits::<u32>(lengths.view_mut().bits()?, Exact(1), 1, 16).launch(&device)?;
/// assert_eq!(lengths.download()?, [7, 1, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(out.extent(0), block)])]
pub fn fill_bits<W: Integer>(out: &mut Tensor<W, 2>, rows: Count, fill: u64, #[comptime] block: usize) {
    let row = (program_id(0) * block + arange(block)).expand_dims(1);
    out.store_where([row, arange(out.extent(1))], fill.cast::<W>(), row >= rows);
}

/// Writes a whole gathered buffer in one pass: `N` segments at their places, zeros everywhere else.
///
/// * `out` `[n, hidden]`; `segments[s]` `[m_s, hidden]`; `starts[s]` and `rows[s]` counts: `out[starts[s] + i] =
///   segments[s][i]` for `i < rows[s]`. Rows that a segment does not have are zeros. Segments must not overlap; where they
///   do, the first one counts.
/// * With starts `s * max` this is the MAX layout of a gathered buffer, with exclusive prefix sums the SUM layout: pass
///   [`GatheredLayout::starts`](crate::layout::GatheredLayout::starts) and
///   [`counts`](crate::layout::GatheredLayout::counts).
/// * One program per row of `out`, which finds its segment by comparing with each: every byte is written once, with no fill
///   before. Specialised for the element type, the hidden size and `N`, and for the counts if they are exact.
/// * SGLang does it in two passes per rank: a fill of the whole buffer, then the memcpy kernel of `dp_gather`.
///
/// ```
/// use tilewright_dp::kernels::fill_and_place;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let first = device.upload(&[1i32, 2], [2, 1])?;
/// let second = device.upload(&[7i32], [1, 1])?;
/// let mut out = device.upload(&[9i32; 6], [6, 1])?;
/// fill_and_place(&mut out, [&first, &second], [Exact(0), Exact(3)], [Exact(2), Exact(1)]).launch(&device)?;
/// assert_eq!(out.download()?, [1, 2, 0, 7, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0)])]
pub fn fill_and_place<T: Element, const N: usize>(
    out: &mut Tensor<T, 2>,
    segments: [&Tensor<T, 2>; N],
    starts: [Count; N],
    rows: [Count; N],
) {
    let row = program_id(0);
    let cols = arange(out.extent(1));
    for s in 0..N {
        require(segments[s].extent(1) == out.extent(1));
        let local = row - starts[s];
        if local >= 0 && local < rows[s] {
            out.store([row, cols], segments[s].load([local, cols]));
            return;
        }
    }
    out.store([row, cols], zero::<T>());
}

/// Rows per program of [`mask_padding_ids()`].
const ID_ROWS: usize = 128;

/// Takes the padding rows of a MAX layout out of expert routing: `ids[r * rows_per_rank + p] = -1` for `p >= counts[r]`.
///
/// * `ids` `[ranks * rows_per_rank, k]`, the top-k expert ids of every row; `counts` `[ranks]`, the real tokens of each
///   rank, in device memory; both i32 or i64. Rows behind the last rank are padding too.
/// * Ids of real rows keep their values.
/// * One program per 128 rows. Specialised for the types and `k`, and for `rows_per_rank` if it is exact.
/// * SGLang has it as `mask_dp_pad_moe_topk_ids`.
///
/// ```
/// use tilewright_dp::kernels::mask_padding_ids;
/// use tilewright_dsl::call::Runtime;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let mut ids = device.upload(&[5i32, 6, 7, 8], [4, 1])?;
/// let counts = device.upload(&[1i64, 2], [2])?;
/// mask_padding_ids(&mut ids, &counts, Runtime(2)).launch(&device)?;
/// assert_eq!(ids.download()?, [5, -1, 7, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(ids.extent(0), ID_ROWS)])]
pub fn mask_padding_ids<I: Integer, C: Integer>(ids: &mut Tensor<I, 2>, counts: &Tensor<C, 1>, rows_per_rank: Count) {
    let rows = program_id(0) * ID_ROWS + arange(ID_ROWS);
    // Where ranks have no rows, none of those here is a rank's.
    let real = counted(counts.load([rows / rows_per_rank])).min(rows_per_rank);
    let is_padding = rows % rows_per_rank >= real;
    let cols = arange(ids.extent(1));
    ids.store_where([rows.expand_dims(1), cols], nowhere::<I>(), is_padding.expand_dims(1));
}
