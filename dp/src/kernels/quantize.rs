//! Rows in 8-bit floats, with a scale for every 128 columns.

use float8::F8E4M3;
use tilewright_dsl::{device, kernel, lang::*};

use super::place::report_rows;

/// Columns that share a scale.
pub const GROUP: usize = 128;

/// The largest e4m3.
const LARGEST: f32 = 448.0;

/// The smallest magnitude that a scale is made for, so that rows of zeros have one.
const SMALLEST: f32 = 1e-10;

/// Quantises rows to e4m3: each group of 128 columns is divided by its scale, the largest magnitude in it over 448.
///
/// * `out` `[n, hidden]`, `scales` `[n, hidden / 128]` of f32, `src` `[n, hidden]` of a float type; `hidden` is a multiple of
///   128. A group of zeros stays zero, with the scale of 1e-10.
/// * The division is f32, rounded to nearest even once more to e4m3; NaN stays NaN and does not count for the scale.
/// * One program per row. Specialised for the type and the hidden size.
/// * SGLang's `per_token_group_quant_8bit`, DeepEP's fp8 dispatch. Bytes of a row of 7168: 7392 instead of 14336.
///
/// ```
/// use tilewright_dp::kernels::quantize_rows;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[[3.5f32; 64], [-0.875; 64]].concat(), [1, 128])?;
/// let mut out = device.zeros::<float8::F8E4M3, 2>([1, 128])?;
/// let mut scales = device.zeros::<f32, 2>([1, 1])?;
/// quantize_rows(&mut out, &mut scales, &src).launch(&device)?;
/// assert_eq!(scales.download()?, [3.5 / 448.0]);
/// assert_eq!(out.download()?[0].to_f32(), 448.0);
/// assert_eq!(out.download()?[127].to_f32(), -112.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0).min(src.extent(0))])]
pub fn quantize_rows<T: Float>(out: &mut Tensor<F8E4M3, 2>, scales: &mut Tensor<f32, 2>, src: &Tensor<T, 2>) {
    require(src.extent(1) % GROUP == 0 && scales.extent(1) == src.extent(1) / GROUP && out.extent(1) == src.extent(1));
    let row = program_id(0);
    let (cols, groups) = (arange(src.extent(1)), comptime(src.extent(1)) / GROUP);
    let x = src.load([row, cols]).cast::<f32>().reshape([groups, GROUP]);
    let scale = x.abs().max_axis(1).max(SMALLEST) / LARGEST;
    let quantized = (x / scale.expand_dims(1)).cast::<F8E4M3>();
    out.store([row, cols], quantized.reshape([src.extent(1)]));
    // Threads meet for what few of them store: last, when nobody waits for it.
    scales.store([row, arange(groups)], scale);
}

/// The rows that [`quantize_rows()`] or [`quantize_to_slot()`] has quantised: `out = src * scale` of the group, in f32, rounded to the type of `out`.
///
/// * `out` `[n, hidden]` of a float type, `src` `[n, hidden]`, `scales` `[n, hidden / 128]`; `hidden` is a multiple of 128. Rows
///   that the others do not have are zeros.
/// * One program per row. Specialised for the type and the hidden size.
/// * SGLang's fp8 wire of the gathered buffer.
///
/// ```
/// use float8::F8E4M3;
/// use tilewright_dp::kernels::dequantize_rows;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[F8E4M3::from_f32(2.0); 128], [1, 128])?;
/// let scales = device.upload(&[0.25f32], [1, 1])?;
/// let mut out = device.zeros::<f32, 2>([1, 128])?;
/// dequantize_rows(&mut out, &src, &scales).launch(&device)?;
/// assert_eq!(out.download()?, [0.5; 128]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0)])]
pub fn dequantize_rows<T: Number>(out: &mut Tensor<T, 2>, src: &Tensor<F8E4M3, 2>, scales: &Tensor<f32, 2>) {
    require(out.extent(1) % GROUP == 0 && scales.extent(1) == out.extent(1) / GROUP && src.extent(1) == out.extent(1));
    let row = program_id(0);
    let (cols, groups) = (arange(out.extent(1)), comptime(out.extent(1)) / GROUP);
    let x = src.load([row, cols]).cast::<f32>().reshape([groups, GROUP]);
    let scale = scales.load([row, arange(groups)]);
    let wide = (x * scale.expand_dims(1)).cast::<T>();
    out.store([row, cols], wide.reshape([out.extent(1)]));
}

/// Quantises a rank's rows into its slot of a buffer for the wire, where [`place_rows()`](super::place_rows()) would place
/// them: `payload[r, c] * scales[r, c / 128]` is close to `src[i, c]`, and a scale is the largest magnitude of its 128
/// columns over 448.
///
/// * `payload` `[n, groups * 128]`, `scales` `[n, groups]`; `src` `[m, groups * 128]`; `start`, `first` and `rows` as in
///   [`place_rows()`](super::place_rows()).
/// * Rows without a token, and groups of zeros, are zeros with a scale of zero, and come back as exact zeros. NaN stays NaN;
///   a group with an infinity comes back as NaN.
/// * One program per row of `payload`, each byte written once. Specialised for the element type and the hidden size, and for
///   the counts if they are exact.
/// * SGLang has it behind an option of its variable-length gather: 7392 bytes for a row of 7168 bf16.
///
/// ```
/// use float8::F8E4M3;
/// use tilewright_dp::kernels::quantize_to_slot;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[-3.5f32; 128], [1, 128])?;
/// let (mut payload, mut scales) = (device.zeros::<F8E4M3, 2>([2, 128])?, device.zeros::<f32, 2>([2, 1])?);
/// quantize_to_slot(&mut payload, &mut scales, &src, Exact(1), Exact(0), Exact(1)).launch(&device)?;
/// assert_eq!(scales.download()?, [0.0, 3.5 / 448.0]);
/// assert_eq!(payload.download()?[127..129], [F8E4M3::from_f32(0.0), F8E4M3::from_f32(-448.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [payload.extent(0)])]
pub fn quantize_to_slot<T: Number>(
    payload: &mut Tensor<F8E4M3, 2>,
    scales: &mut Tensor<f32, 2>,
    src: &Tensor<T, 2>,
    start: Count,
    first: Count,
    rows: Count,
) {
    quantize_row(payload, scales, src, start, first, rows);
}

/// [`quantize_to_slot()`], and says how many rows that were planned had a row of `src` and one of `payload`.
///
/// * `report` `[2]` as in [`place_rows_with_report()`](super::place_rows_with_report()).
///
/// ```
/// use float8::F8E4M3;
/// use tilewright_dp::kernels::quantize_to_slot_with_report;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch, device_count};
///
/// let device = Device::cpu();
/// let src = device.upload(&[-3.5f32; 128], [1, 128])?;
/// let planned = device.upload(&[20i64], [1])?;
/// let (mut payload, mut scales) = (device.zeros::<F8E4M3, 2>([2, 128])?, device.zeros::<f32, 2>([2, 1])?);
/// let mut report = device.zeros::<i64, 1>([2])?;
/// let rows = device_count(&planned, 0, 64)?;
/// quantize_to_slot_with_report(&mut payload, &mut scales, &mut report, &src, Exact(1), Exact(0), rows).launch(&device)?;
/// assert_eq!(scales.download()?, [0.0, 3.5 / 448.0]);
/// assert_eq!(report.download()?, [20, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [payload.extent(0).max(1)])]
pub fn quantize_to_slot_with_report<T: Number>(
    payload: &mut Tensor<F8E4M3, 2>,
    scales: &mut Tensor<f32, 2>,
    report: &mut Tensor<i64, 1>,
    src: &Tensor<T, 2>,
    start: Count,
    first: Count,
    rows: Count,
) {
    quantize_row(payload, scales, src, start, first, rows);
    if program_id(0) == 0 {
        report_rows(
            report,
            rows - first,
            (src.extent(0) - first).min(payload.extent(0) - start),
        );
    }
}

/// A program's row of a slot.
#[device]
fn quantize_row<T: Number>(
    payload: &mut Tensor<F8E4M3, 2>,
    scales: &mut Tensor<f32, 2>,
    src: &Tensor<T, 2>,
    start: Scalar<i64>,
    first: Scalar<i64>,
    rows: Scalar<i64>,
) {
    require(payload.extent(1) == scales.extent(1) * GROUP && src.extent(1) == payload.extent(1));
    let row = program_id(0);
    let local = row - start;
    let from = local + first;
    let groups = arange(scales.extent(1));
    let cols = groups.expand_dims(1) * GROUP + arange(GROUP).expand_dims(0);
    if local >= 0 && from < rows {
        let (quantized, scale) = quantized(src.load([from, cols]).cast::<f32>());
        payload.store([row, cols], quantized);
        scales.store([row, groups], scale);
    } else {
        scales.store([row, groups], 0.0);
        payload.store([row, cols], zero::<F8E4M3>());
    }
}

/// Groups of a row for the wire, and their scales.
#[device]
pub(super) fn quantized(x: Tile<f32, 2>) -> (Tile<F8E4M3, 2>, Tile<f32, 1>) {
    let most = x.abs().max_axis(1);
    // One division for a group. Limited, so that a zero times it is zero whatever the group.
    let inverse = (full([1], LARGEST) / most).min(f32::MAX);
    ((x * inverse.expand_dims(1)).cast::<F8E4M3>(), most / LARGEST)
}
