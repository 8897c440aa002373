//! Hidden states in 8 bits for the way between ranks.

use float8::F8E4M3;
use tilewright_dsl::{kernel, lang::*};

/// Elements that share a scale on the wire.
pub const WIRE_GROUP: usize = 128;

/// The largest value of `F8E4M3`.
const LARGEST: f32 = 448.0;

/// Places a rank's rows as [`place_rows()`](super::place_rows()) does, each group of 128 elements as 8-bit floats with one
/// scale: `payload[r, c] * scales[r, c / 128]` is close to `src[i, c]`, and a scale is the largest magnitude of its group
/// over 448.
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
    let row = program_id(0);
    let local = row - start;
    let from = local + first;
    let groups = arange(scales.extent(1));
    let cols = groups.expand_dims(1) * WIRE_GROUP + arange(WIRE_GROUP).expand_dims(0);
    if local >= 0 && from < rows {
        let x = src.load([from, cols]).cast::<f32>();
        let most = x.abs().max_axis(1);
        scales.store([row, groups], most / LARGEST);
        // One division for a group. Limited, so that a zero times it is zero whatever the group.
        let inverse = (full([1], LARGEST) / most).min(f32::MAX);
        payload.store([row, cols], (x * inverse.expand_dims(1)).cast::<F8E4M3>());
    } else {
        scales.store([row, groups], 0.0);
        payload.store([row, cols], zero::<F8E4M3>());
    }
}

/// Brings rows back from the wire: `out[r, c] = payload[r, c] * scales[r, c / 128]`, computed in f32 and rounded once.
///
/// * `out` and `payload` `[n, groups * 128]`, `scales` `[n, groups]`. Rows that the others do not have are zeros.
/// * One program per row of `out`. Specialised for the element type and the hidden size.
///
/// ```
/// use float8::F8E4M3;
/// use tilewright_dp::kernels::dequantize_rows;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let payload = device.upload(&[F8E4M3::from_f32(-448.0); 128], [1, 128])?;
/// let scales = device.upload(&[0.5f32], [1, 1])?;
/// let mut out = device.zeros::<f32, 2>([1, 128])?;
/// dequantize_rows(&mut out, &payload, &scales).launch(&device)?;
/// assert_eq!(out.download()?, [-224.0; 128]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0)])]
pub fn dequantize_rows<T: Number>(out: &mut Tensor<T, 2>, payload: &Tensor<F8E4M3, 2>, scales: &Tensor<f32, 2>) {
    let row = program_id(0);
    let groups = arange(scales.extent(1));
    let cols = groups.expand_dims(1) * WIRE_GROUP + arange(WIRE_GROUP).expand_dims(0);
    let scale = scales.load([row, groups]).expand_dims(1);
    let x = payload.load([row, cols]).cast::<f32>() * scale;
    out.store([row, cols], x.cast::<T>());
}
