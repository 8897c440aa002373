//! Kernels that make rows narrower for a wire and wide again, called.

use float8::F8E4M3;
use tilewright_dsl::call::Exact;
use tilewright_dsl::element::{Float, Number};
use tilewright_runtime::DeviceTensor;

use super::{Act, CatalogueError, Done, Sample};
use crate::kernels;
use crate::kernels::nvfp4::{NVFP4_GROUP, swizzled_extents};
use crate::kernels::quantize::GROUP;

/// The scale of all rows in 4 bits.
const GLOBAL: f32 = 448.0;

pub(super) fn quantize_rows<T: Float>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let rows = sample.shapes.rows;
    let (mut out, mut scales) = (sample.local::<F8E4M3>()?, scales_of(sample, rows)?);
    act(kernels::quantize_rows(&mut out, &mut scales, &sample.local::<T>()?));
    Ok(())
}

pub(super) fn dequantize_rows<T: Number>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let rows = sample.shapes.rows;
    let (src, scales) = (sample.local::<F8E4M3>()?, scales_of(sample, rows)?);
    act(kernels::dequantize_rows(&mut sample.local::<T>()?, &src, &scales));
    Ok(())
}

pub(super) fn quantize_to_slot<T: Number>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let mut payload = sample.buffer::<F8E4M3>()?;
    let (mut scales, src) = (scales_of(sample, payload.extents()[0])?, sample.local::<T>()?);
    let (start, tokens) = (sample.start(), sample.tokens());
    act(kernels::quantize_to_slot(
        &mut payload,
        &mut scales,
        &src,
        start,
        Exact(0),
        tokens,
    ));
    Ok(())
}

pub(super) fn quantize_to_slot_with_report<T: Number>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let mut payload = sample.buffer::<F8E4M3>()?;
    let (mut scales, src) = (scales_of(sample, payload.extents()[0])?, sample.local::<T>()?);
    let (start, tokens) = (sample.start(), sample.tokens());
    act(kernels::quantize_to_slot_with_report(
        &mut payload,
        &mut scales,
        &mut sample.list(2)?,
        &src,
        start,
        Exact(0),
        tokens,
    ));
    Ok(())
}

/// Scales of so many hidden states in 8 bits.
fn scales_of(sample: &Sample<'_>, rows: usize) -> Result<DeviceTensor<f32, 2>, CatalogueError> {
    sample.check_groups(GROUP)?;
    Ok(sample.device.zeros([rows, sample.shapes.hidden / GROUP])?)
}

/// So many hidden states in 4 bits, and their scales.
fn nvfp4(sample: &Sample<'_>, rows: usize) -> Result<(DeviceTensor<u8, 2>, DeviceTensor<F8E4M3, 2>), CatalogueError> {
    let hidden = sample.shapes.hidden;
    sample.check_groups(NVFP4_GROUP)?;
    let payload = sample.device.zeros([rows, hidden / 2])?;
    Ok((payload, sample.device.zeros([rows, hidden / NVFP4_GROUP])?))
}

pub(super) fn quantize_nvfp4_to_slot<T: Number>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut payload, mut scales) = nvfp4(sample, sample.all())?;
    let (src, start, tokens) = (sample.local::<T>()?, sample.start(), sample.tokens());
    act(kernels::quantize_nvfp4_to_slot(
        &mut payload,
        &mut scales,
        &src,
        GLOBAL,
        start,
        Exact(0),
        tokens,
    ));
    Ok(())
}

pub(super) fn quantize_nvfp4_to_slot_with_report<T: Number>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut payload, mut scales) = nvfp4(sample, sample.all())?;
    let (src, start, tokens) = (sample.local::<T>()?, sample.start(), sample.tokens());
    act(kernels::quantize_nvfp4_to_slot_with_report(
        &mut payload,
        &mut scales,
        &mut sample.list(2)?,
        &src,
        GLOBAL,
        start,
        Exact(0),
        tokens,
    ));
    Ok(())
}

pub(super) fn dequantize_nvfp4<T: Number>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (payload, scales) = nvfp4(sample, sample.shapes.rows)?;
    act(kernels::dequantize_nvfp4(
        &mut sample.local::<T>()?,
        &payload,
        &scales,
        GLOBAL,
    ));
    Ok(())
}

pub(super) fn swizzle_scales(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (_, scales) = nvfp4(sample, sample.shapes.rows)?;
    let [rows, groups] = scales.extents();
    let mut out = sample.device.zeros(swizzled_extents(rows, groups))?;
    act(kernels::swizzle_scales(&mut out, &scales));
    Ok(())
}
