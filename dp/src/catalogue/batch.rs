//! Kernels that are about the requests of a batch, called.

use tilewright_dsl::call::Exact;
use tilewright_dsl::element::{Element, Integer};

use super::{Act, Done, Sample};
use crate::kernels;

/// Tokens of a sequence, or slots of a request in the pool.
const LENGTH: usize = 64;

pub(super) fn pad_ids<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut out, ids) = (sample.index::<I>()?, sample.index()?);
    act(kernels::pad_ids(&mut out, &ids, sample.tokens(), 1));
    Ok(())
}

/// Rows of a program of kernels over bits.
const BLOCK: usize = 256;

pub(super) fn pad_bits(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let ids = || sample.device.zeros::<u64, 2>([sample.shapes.rows, 1]);
    act(kernels::pad_bits(&mut ids()?, &ids()?, sample.tokens(), 1, BLOCK, true));
    Ok(())
}

pub(super) fn fill_bits(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let mut ids = sample.device.zeros::<u64, 2>([sample.shapes.rows, 1])?;
    act(kernels::fill_bits(&mut ids, sample.tokens(), 1, BLOCK));
    Ok(())
}

pub(super) fn pack_segments<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (rows, hidden) = (sample.shapes.rows, sample.shapes.hidden);
    let mut out = sample.states::<T>(rows.saturating_mul(LENGTH))?;
    let padded = sample.device.zeros([rows, LENGTH, hidden])?;
    act(kernels::pack_segments(&mut out, &padded, &sample.list::<I>(rows + 1)?));
    Ok(())
}

pub(super) fn pad_segments<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (rows, hidden) = (sample.shapes.rows, sample.shapes.hidden);
    let mut out = sample.device.zeros::<T, 3>([rows, LENGTH, hidden])?;
    let packed = sample.states(rows.saturating_mul(LENGTH))?;
    act(kernels::pad_segments(&mut out, &packed, &sample.list::<I>(rows + 1)?));
    Ok(())
}

pub(super) fn pad_segments_with_mask<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (rows, hidden) = (sample.shapes.rows, sample.shapes.hidden);
    let mut out = sample.device.zeros::<T, 3>([rows, LENGTH, hidden])?;
    let mut mask = sample.device.zeros([rows, LENGTH])?;
    let packed = sample.states(rows.saturating_mul(LENGTH))?;
    act(kernels::pad_segments_with_mask(
        &mut out,
        &mut mask,
        &packed,
        &sample.list::<I>(rows + 1)?,
    ));
    Ok(())
}

pub(super) fn ragged_positions<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let rows = sample.shapes.rows;
    let mut positions = sample.list::<i64>(rows.saturating_mul(LENGTH))?;
    act(kernels::ragged_positions(
        &mut positions,
        &sample.list::<I>(rows + 1)?,
        &sample.index::<I>()?,
    ));
    Ok(())
}

pub(super) fn kv_indices<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let rows = sample.shapes.rows;
    let mut out = sample.list::<i32>(rows.saturating_mul(LENGTH))?;
    let [of, first] = [sample.index::<I>()?, sample.index()?];
    let pool = sample.device.zeros([rows, LENGTH])?;
    act(kernels::kv_indices(
        &mut out,
        &sample.list::<I>(rows + 1)?,
        &of,
        &first,
        &pool,
    ));
    Ok(())
}

pub(super) fn last_slot<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let mut out = sample.index::<i64>()?;
    let [rows, prefix] = [sample.index::<I>()?, sample.index()?];
    let pool = sample.device.zeros([sample.shapes.rows, LENGTH])?;
    act(kernels::last_slot(&mut out, &rows, &prefix, &pool));
    Ok(())
}

pub(super) fn alloc_extend<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let rows = sample.shapes.rows;
    let (mut slots, mut used) = (sample.list(rows.saturating_mul(LENGTH))?, sample.list(1)?);
    let (prefix, last, pages) = (sample.index()?, sample.index()?, sample.index()?);
    act(kernels::alloc_extend(
        &mut slots,
        &mut used,
        &sample.list::<I>(rows + 1)?,
        &prefix,
        &last,
        &pages,
        Exact(LENGTH as u64),
    ));
    Ok(())
}

pub(super) fn translate_ids<I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut out, ids, table) = (sample.index::<I>()?, sample.index::<I>()?, sample.index()?);
    act(kernels::translate_ids(&mut out, &ids, &table, sample.tokens()));
    Ok(())
}

pub(super) fn copy_fields(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let narrow = || sample.device.zeros::<i32, 2>([sample.shapes.rows, 1]);
    let wide = || sample.device.zeros::<i64, 2>([sample.shapes.rows, 1]);
    let ([mut a, mut b], [from_a, from_b]) = ([narrow()?, narrow()?], [narrow()?, narrow()?]);
    act(kernels::copy_fields(
        [&mut a, &mut b],
        [&mut wide()?],
        [&from_a, &from_b],
        [&wide()?],
        sample.tokens(),
    ));
    Ok(())
}
