//! Rows in 4-bit floats, with an 8-bit scale for every 16 columns and one for all.
//!
//! An element is an e2m1 (a sign and one of 0, 0.5, 1, 1.5, 2, 3, 4 and 6), two of them a byte with the even column in its low
//! half; a scale is an e4m3. What is meant is `element * scale / global`, where `global` is made once for all rows that
//! are ever quantised: 448 * 6 over the largest magnitude expected of them. So engines have it: ModelOpt's checkpoints keep its
//! reciprocal as `input_scale`, FlashInfer's `fp4_quantize` takes it as `global_scale`.

use float8::F8E4M3;
use tilewright_dsl::{device, kernel, lang::*};

use super::place::report_rows;

/// Columns that share a scale.
pub const NVFP4_GROUP: usize = 16;

/// The largest e2m1.
const LARGEST: f32 = 6.0;

/// Rows and scales of a block of the layout that tensor cores read.
const BLOCK: [usize; 2] = [128, 4];

/// Rows of a block whose scales of a column are next to each other.
const LANES: usize = 32;

/// Those of them that a program swizzles: so each warp reads and writes whole sectors of 32 bytes.
const PART: usize = 4;

/// Quantises a rank's rows into its slot of a buffer for the wire, as [`quantize_to_slot()`](super::quantize_to_slot()) does,
/// in 4 bits.
///
/// * `payload` `[n, groups * 8]`, `scales` `[n, groups]`; `src` `[m, groups * 16]`; `start`, `first` and `rows` as in
///   [`place_rows()`](super::place_rows()); `global` is finite and above zero.
/// * A scale is `most * (1 / 6) * global` rounded to nearest even to e4m3, at most 448, where `most` is the largest magnitude of
///   its 16 columns; each of these is multiplied by `1 / (scale * (1 / global))`, the largest f32 at most, and rounded to
///   nearest even to e2m1, at most 6. All in f32, each operation rounded: the reference of vLLM's tests (`ref_nvfp4_quant`).
///   Kernels of vLLM and FlashInfer take reciprocals that are off by a last bit or two, and now and then round to the neighbour.
/// * Rows without a token are zero bytes. Groups of zeros, and of what is too small for a scale, are zeros with a scale of
///   zero. Zeros, and what rounds to zero, keep their sign.
/// * Infinities count as such: the scale is 448, and they become 6, with their sign. NaN becomes +6, as the hardware's
///   conversions have it, and does not count for the scale, unless all 16 are NaN: then the scale is.
/// * One program per row of `payload`, each byte written once. Specialised for the element type and the hidden size, and for
///   the counts if they are exact.
/// * SGLang's and vLLM's all-gather before NVFP4 experts: 4032 bytes for a row of 7168 bf16 instead of 14336.
///
/// ```
/// use float8::F8E4M3;
/// use tilewright_dp::kernels::quantize_nvfp4_to_slot;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[[-3.0f32; 8], [1.0; 8]].concat(), [1, 16])?;
/// let (mut payload, mut scales) = (device.zeros::<u8, 2>([2, 8])?, device.zeros::<F8E4M3, 2>([2, 1])?);
/// quantize_nvfp4_to_slot(&mut payload, &mut scales, &src, 2.0, Exact(1), Exact(0), Exact(1)).launch(&device)?;
/// // 3 is the largest, and 6 with a scale of 1/2, which 2 makes 1.
/// assert_eq!(scales.download()?, [0.0, 1.0].map(F8E4M3::from_f32));
/// assert_eq!(payload.download()?[8..], [0xff, 0xff, 0xff, 0xff, 0x44, 0x44, 0x44, 0x44]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [payload.extent(0)])]
pub fn quantize_nvfp4_to_slot<T: Number>(
    payload: &mut Tensor<u8, 2>,
    scales: &mut Tensor<F8E4M3, 2>,
    src: &Tensor<T, 2>,
    global: f32,
    start: Count,
    first: Count,
    rows: Count,
) {
    quantize_row(payload, scales, src, global, start, first, rows);
}

/// [`quantize_nvfp4_to_slot()`], and says how many rows that were planned had a row of `src` and one of `payload`.
///
/// * `report` `[2]` as in [`place_rows_with_report()`](super::place_rows_with_report()).
///
/// ```
/// use float8::F8E4M3;
/// use tilewright_dp::kernels::quantize_nvfp4_to_slot_with_report;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch, device_count};
///
/// let device = Device::cpu();
/// let src = device.upload(&[1.5f32; 16], [1, 16])?;
/// let planned = device.upload(&[20i64], [1])?;
/// let (mut payload, mut scales) = (device.zeros::<u8, 2>([2, 8])?, device.zeros::<F8E4M3, 2>([2, 1])?);
/// let mut report = device.zeros::<i64, 1>([2])?;
/// let (start, rows) = (Exact(1), device_count(&planned, 0, 64)?);
/// quantize_nvfp4_to_slot_with_report(&mut payload, &mut scales, &mut report, &src, 1.0, start, Exact(0), rows)
///     .launch(&device)?;
/// assert_eq!(payload.download()?, [[0; 8], [0x77; 8]].concat());
/// assert_eq!(report.download()?, [20, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [payload.extent(0).max(1)])]
pub fn quantize_nvfp4_to_slot_with_report<T: Number>(
    payload: &mut Tensor<u8, 2>,
    scales: &mut Tensor<F8E4M3, 2>,
    report: &mut Tensor<i64, 1>,
    src: &Tensor<T, 2>,
    global: f32,
    start: Count,
    first: Count,
    rows: Count,
) {
    quantize_row(payload, scales, src, global, start, first, rows);
    if program_id(0) == 0 {
        report_rows(
            report,
            rows - first,
            (src.extent(0) - first).min(payload.extent(0) - start),
        );
    }
}

/// The rows that [`quantize_nvfp4_to_slot()`] has quantised: `out = element * (scale / global)`, in f32, rounded to the type of
/// `out`.
///
/// * `out` `[n, groups * 16]` of a float type, `payload` `[n, groups * 8]`, `scales` `[n, groups]`. Rows that the others do not
///   have are zeros. A scale that is NaN makes its group NaN.
/// * One program per row. Specialised for the type and the hidden size.
/// * vLLM's `dequantize_nvfp4_to_dtype`, for those who read the rows otherwise than with NVFP4 tensor cores.
///
/// ```
/// use float8::F8E4M3;
/// use tilewright_dp::kernels::dequantize_nvfp4;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let payload = device.upload(&[0x10u8, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe], [1, 8])?;
/// let scales = device.upload(&[F8E4M3::from_f32(3.0)], [1, 1])?;
/// let mut out = device.zeros::<f32, 2>([1, 16])?;
/// dequantize_nvfp4(&mut out, &payload, &scales, 1.5).launch(&device)?;
/// let magnitudes = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];
/// assert_eq!(out.download()?, [magnitudes, magnitudes.map(|x: f32| -x)].concat());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0)])]
pub fn dequantize_nvfp4<T: Number>(
    out: &mut Tensor<T, 2>,
    payload: &Tensor<u8, 2>,
    scales: &Tensor<F8E4M3, 2>,
    global: f32,
) {
    require(payload.extent(1) == scales.extent(1) * (NVFP4_GROUP / 2) && out.extent(1) == payload.extent(1) * 2);
    let (row, groups) = (program_id(0), comptime(scales.extent(1)));
    let columns = groups * NVFP4_GROUP;
    let bytes = payload.load([row, arange(columns / 2)]).cast::<u32>();
    let elements = (bytes & 15).join(bytes >> 4).reshape([groups, NVFP4_GROUP]);
    let scale = scales.load([row, arange(groups)]).cast::<f32>() / global;
    let wide = (value(elements) * scale.expand_dims(1)).cast::<T>();
    out.store([row, arange(columns)], wide.reshape([columns]));
}

/// Brings scales from rows, as they travel, into the blocks of 128 rows and 4 columns in which tensor cores read them.
///
/// * `src` `[rows, groups]`, `out` [`swizzled_extents`]`(rows, groups)`: blocks of rows, blocks of columns, and the 512 bytes of
///   each, of which row `r` and column `c` is at `(r % 32) * 16 + (r / 32) * 4 + c`. Rows and columns that `src` does not have
///   are zeros. Its memory is what engines have as `[rows, groups]`, each rounded up to whole blocks.
/// * Parts swizzled by themselves could not be gathered, since each is padded to 128 rows: they are gathered first.
/// * One program for 16 rows of a block of rows, each byte written once. Specialised for the number of groups.
/// * The layout of cuBLAS's and CUTLASS's block scales of 16 elements; FlashInfer's `nvfp4_block_scale_interleave`.
///
/// ```
/// use float8::F8E4M3;
/// use tilewright_dp::kernels::nvfp4::{swizzle_scales, swizzled_extents};
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let bytes: Vec<_> = (0..99).map(|i| F8E4M3::from_bits(1 + i)).collect();
/// let src = device.upload(&bytes, [33, 3])?;
/// let mut out = device.zeros::<F8E4M3, 4>(swizzled_extents(33, 3))?;
/// swizzle_scales(&mut out, &src).launch(&device)?;
/// // Row 0, row 32 behind it, and row 1 sixteen bytes on.
/// let swizzled: Vec<u8> = out.download()?.iter().map(|scale| scale.to_bits()).collect();
/// assert_eq!(swizzled[..20], [1, 2, 3, 0, 97, 98, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 5, 6, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0) * (LANES / PART)])]
pub fn swizzle_scales(out: &mut Tensor<F8E4M3, 4>, src: &Tensor<F8E4M3, 2>) {
    let blocks = comptime(src.extent(1)).div_ceil(BLOCK[1]);
    require(out.extent(2) == LANES && out.extent(3) == BLOCK[0] / LANES * BLOCK[1]);
    require(out.extent(1) == blocks && out.extent(0) == cdiv(src.extent(0), BLOCK[0]));
    let (block, part) = (program_id(0) / (LANES / PART), program_id(0) % (LANES / PART));
    let blocks = arange(blocks).expand_dims(1).expand_dims(2);
    let lanes = (arange(PART) + part * PART).expand_dims(0).expand_dims(2);
    let byte = arange(BLOCK[0] / LANES * BLOCK[1]).expand_dims(0).expand_dims(1);
    let row = lanes + byte / BLOCK[1] * LANES + block * BLOCK[0];
    let column = blocks * BLOCK[1] + byte % BLOCK[1];
    out.store([block, blocks, lanes, byte], src.load([row, column]));
}

/// The extents of so many rows of scales as [`swizzle_scales()`] writes them.
/// [`WireFormat::swizzled_scale_bytes`](crate::plan::WireFormat::swizzled_scale_bytes) is their product.
pub const fn swizzled_extents(rows: usize, groups: usize) -> [usize; 4] {
    [
        rows.div_ceil(BLOCK[0]),
        groups.div_ceil(BLOCK[1]),
        LANES,
        BLOCK[0] / LANES * BLOCK[1],
    ]
}

/// A program's row of a slot.
#[device]
fn quantize_row<T: Number>(
    payload: &mut Tensor<u8, 2>,
    scales: &mut Tensor<F8E4M3, 2>,
    src: &Tensor<T, 2>,
    global: Scalar<f32>,
    start: Scalar<i64>,
    first: Scalar<i64>,
    rows: Scalar<i64>,
) {
    require(payload.extent(1) == scales.extent(1) * (NVFP4_GROUP / 2) && src.extent(1) == payload.extent(1) * 2);
    let (row, groups) = (program_id(0), comptime(scales.extent(1)));
    let columns = groups * NVFP4_GROUP;
    let local = row - start;
    let from = local + first;
    let bytes = arange(columns / 2);
    if local >= 0 && from < rows {
        // Of a group 8 even columns and 8 odd ones: a byte has one of each.
        let x = src.load([from, arange(columns)]).cast::<f32>();
        let (even, odd) = x.reshape([groups, NVFP4_GROUP / 2, 2]).split();
        let (scale, inverse) = scale(even.abs().max(odd.abs()).max_axis(1), global);
        let (low, high) = (
            nearest(even * inverse.expand_dims(1)),
            nearest(odd * inverse.expand_dims(1)),
        );
        payload.store([row, bytes], (low | high << 4).cast::<u8>().reshape([columns / 2]));
        scales.store([row, arange(groups)], scale);
    } else {
        scales.store([row, arange(groups)], zero::<F8E4M3>());
        payload.store([row, bytes], 0);
    }
}

/// The scales of groups whose largest magnitudes are these, and what their elements are multiplied by.
#[device]
fn scale(most: Tile<f32, 1>, global: Scalar<f32>) -> (Tile<F8E4M3, 1>, Tile<f32, 1>) {
    let scale = (most * (1.0 / LARGEST) * global).cast::<F8E4M3>();
    let step = scale.cast::<f32>();
    // Limited, so that a zero times it is zero whatever the group.
    let inverse = select(step == 0.0, 0.0, (1.0 / (step * (1.0 / global))).min(f32::MAX));
    (scale, inverse)
}

/// The bits of the nearest e2m1, of two that are as near the even one, and of NaN those of 6.
#[device]
fn nearest(x: Tile<f32, 2>) -> Tile<u32, 2> {
    // As integers magnitudes have the order that they have as floats, and NaN, whose sign is clear, is the largest.
    let bits = x.bitcast::<u32>();
    let magnitude = (bits & 0x7fff_ffff).min(LARGEST.to_bits());
    // The power of two below, 1 at least: an e2m1 of that exponent is a multiple of half of it, as is an f32 of 2^22 times it.
    let power = magnitude.max(1f32.to_bits()) & 0x7f80_0000;
    let rounded = power.bitcast::<f32>().mul_add(4_194_304.0, magnitude.bitcast::<f32>());
    // The multiples are told by the last bits, and two of each exponent were there before.
    let multiples = rounded.bitcast::<u32>() - power - (22 << 23);
    multiples + (power >> 22) - (127 << 1) | bits >> 28 & 8
}

/// What the bits of an e2m1 mean.
#[device]
fn value(bits: Tile<u32, 2>) -> Tile<f32, 2> {
    // Where an f32 has its exponent and mantissa they mean the same, but for the bias: 127 instead of 1.
    let placed = (bits & 8) << 28 | (bits & 7) << 22;
    placed.bitcast::<f32>() * f32::from_bits((127 + 126) << 23)
}
