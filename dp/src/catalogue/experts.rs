//! Kernels that are about experts, called.

use tilewright_dsl::call::Exact;
use tilewright_dsl::element::{Element, Float, Integer};
use tilewright_runtime::{DeviceTensor, TensorError};

use super::{Act, Done, Sample};
use crate::kernels;

/// Rows in the order of experts.
fn routed<T: Element>(sample: &Sample<'_>) -> Result<DeviceTensor<T, 2>, TensorError> {
    sample.states(sample.shapes.rows.saturating_mul(sample.shapes.experts_per_token))
}

pub(crate) fn permute_rows<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut out, src) = (routed::<T>(sample)?, sample.local()?);
    act(kernels::permute_rows(&mut out, &src, &sample.routes::<I>()?));
    Ok(())
}

pub(crate) fn combine_rows<T: Float, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut out, x) = (sample.local::<T>()?, routed(sample)?);
    let (positions, weights) = (sample.routes::<I>()?, sample.routes()?);
    act(kernels::combine_rows(&mut out, &x, &positions, &weights));
    Ok(())
}

pub(super) fn count_experts<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let mut counts = sample.list(sample.shapes.experts)?;
    let ids = sample.list::<I>(sample.shapes.rows * sample.shapes.experts_per_token)?;
    act(kernels::count_experts(&mut counts, &ids));
    Ok(())
}

pub(super) fn expert_offsets<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let experts = sample.shapes.experts;
    let (mut starts, counts) = (sample.list::<I>(experts + 1)?, sample.list::<i32>(experts)?);
    act(kernels::expert_offsets(&mut starts, &counts, Exact(128)));
    Ok(())
}

pub(super) fn claim_slots<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let experts = sample.shapes.experts;
    let (mut slots, mut cursor) = (sample.routes::<I>()?, sample.list(experts)?);
    let (ids, starts) = (sample.routes::<I>()?, sample.list(experts + 1)?);
    act(kernels::claim_slots(&mut slots, &mut cursor, &ids, &starts));
    Ok(())
}

pub(super) fn invert_permutation<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut out, index) = (sample.index::<I>()?, sample.index::<I>()?);
    act(kernels::invert_permutation(&mut out, &index));
    Ok(())
}

pub(super) fn mask_padding_ids<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let shapes = sample.shapes;
    let rows = shapes.rows.saturating_mul(shapes.ranks);
    let mut ids = sample.device.zeros::<I, 2>([rows, shapes.experts_per_token])?;
    let counts = sample.list::<i32>(shapes.ranks)?;
    act(kernels::mask_padding_ids(&mut ids, &counts, Exact(shapes.rows as u64)));
    Ok(())
}

pub(super) fn mask_rows_outside<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let shapes = sample.shapes;
    let rows = shapes.rows.saturating_mul(shapes.ranks);
    let mut ids = sample.device.zeros::<I, 2>([rows, shapes.experts_per_token])?;
    let [starts, counts] = [sample.list::<i32>(shapes.ranks)?, sample.list(shapes.ranks)?];
    act(kernels::mask_rows_outside(&mut ids, &starts, &counts));
    Ok(())
}
