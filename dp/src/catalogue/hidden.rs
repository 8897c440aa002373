//! Kernels that move hidden states, called.

use tilewright_dsl::call::Exact;
use tilewright_dsl::element::{Element, Float, Integer, Number};

use super::{Act, Done, Sample};
use crate::kernels;

/// Buffers that are gathered by one index.
const BUFFERS: usize = 2;

pub(crate) fn gather_rows<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut out, src) = (sample.local::<T>()?, sample.local()?);
    act(kernels::gather_rows(&mut out, &src, &sample.index::<I>()?));
    Ok(())
}

pub(super) fn gather_rows_of<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let [mut a, mut b] = [sample.local::<T>()?, sample.local()?];
    let srcs: [_; BUFFERS] = [sample.local()?, sample.local()?];
    act(kernels::gather_rows_of(
        [&mut a, &mut b],
        srcs.each_ref(),
        &sample.index::<I>()?,
    ));
    Ok(())
}

pub(super) fn gather_four<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let ([mut a, mut b], [from_a, from_b]) = (
        [sample.local::<T>()?, sample.local()?],
        [sample.local()?, sample.local()?],
    );
    let ids = || sample.device.zeros([sample.shapes.rows, 1]);
    let ([mut c, mut d], [from_c, from_d]) = ([ids()?, ids()?], [ids()?, ids()?]);
    act(kernels::gather_four::<T, T, I, I, I>(
        &mut a,
        &mut b,
        &mut c,
        &mut d,
        &from_a,
        &from_b,
        &from_c,
        &from_d,
        &sample.index()?,
    ));
    Ok(())
}

pub(crate) fn scatter_rows<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut dst, src) = (sample.local::<T>()?, sample.local()?);
    act(kernels::scatter_rows(&mut dst, &src, &sample.index::<I>()?));
    Ok(())
}

pub(super) fn scatter_rows_except<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut dst, src) = (sample.local::<T>()?, sample.local()?);
    act(kernels::scatter_rows_except(&mut dst, &src, &sample.index::<I>()?, 0));
    Ok(())
}

pub(crate) fn copy_to_slot<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut buffer, local) = (sample.buffer::<T>()?, sample.local()?);
    act(kernels::copy_to_slot(
        &mut buffer,
        &local,
        sample.start(),
        sample.tokens(),
    ));
    Ok(())
}

pub(crate) fn copy_from_slot<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut local, buffer) = (sample.local::<T>()?, sample.buffer()?);
    act(kernels::copy_from_slot(
        &mut local,
        &buffer,
        sample.start(),
        sample.tokens(),
    ));
    Ok(())
}

pub(crate) fn copy_from_slot_padded<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut local, buffer) = (sample.local::<T>()?, sample.buffer()?);
    act(kernels::copy_from_slot_padded(
        &mut local,
        &buffer,
        sample.start(),
        sample.tokens(),
    ));
    Ok(())
}

pub(super) fn place_rows<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut buffer, local) = (sample.buffer::<T>()?, sample.local()?);
    let (start, tokens) = (sample.start(), sample.tokens());
    act(kernels::place_rows(&mut buffer, &local, start, Exact(0), tokens));
    Ok(())
}

pub(super) fn place_rows_with_report<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut buffer, local, mut report) = (sample.buffer::<T>()?, sample.local()?, sample.list(2)?);
    let (start, tokens) = (sample.start(), sample.tokens());
    act(kernels::place_rows_with_report(
        &mut buffer,
        &mut report,
        &local,
        start,
        Exact(0),
        tokens,
    ));
    Ok(())
}

pub(super) fn take_rows_with_report<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut local, buffer, mut report) = (sample.local::<T>()?, sample.buffer()?, sample.list(2)?);
    let (start, tokens) = (sample.start(), sample.tokens());
    act(kernels::take_rows_with_report(
        &mut local,
        &mut report,
        &buffer,
        start,
        tokens,
    ));
    Ok(())
}

pub(crate) fn pad_rows<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut out, src) = (sample.local::<T>()?, sample.local()?);
    act(kernels::pad_rows(&mut out, &src, sample.tokens()));
    Ok(())
}

pub(super) fn pad_rows_with<T: Number>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut out, src) = (sample.local::<T>()?, sample.local()?);
    act(kernels::pad_rows_with(&mut out, &src, sample.tokens(), 1.0));
    Ok(())
}

pub(super) fn fill_and_place<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let mut buffer = sample.buffer::<T>()?;
    let segments: [_; BUFFERS] = [sample.local()?, sample.local()?];
    let (starts, rows) = ([Exact(0), sample.start()], [sample.tokens(), sample.tokens()]);
    act(kernels::fill_and_place(&mut buffer, segments.each_ref(), starts, rows));
    Ok(())
}

pub(super) fn convert_rows<T: Float>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut out, src) = (sample.local::<f32>()?, sample.local::<T>()?);
    act(kernels::convert_rows(&mut out, &src));
    Ok(())
}

pub(super) fn add_rows<T: Number>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (mut sum, src) = (sample.local::<f32>()?, sample.local::<T>()?);
    act(kernels::add_rows(&mut sum, &src));
    Ok(())
}

pub(super) fn store_kv<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let ([mut keys, mut values], [k, v]) = (
        [sample.buffer::<T>()?, sample.buffer()?],
        [sample.local()?, sample.local()?],
    );
    act(kernels::store_kv(&mut keys, &mut values, &k, &v, &sample.index::<I>()?));
    Ok(())
}

pub(super) fn store_mla<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (rows, hidden) = (sample.shapes.rows, sample.shapes.hidden);
    // A latent is eight parts without positions and one with, as in DeepSeek's models.
    let rope = hidden / 9;
    let mut cache = sample.buffer::<T>()?;
    let (nope, rope) = (
        sample.device.zeros([rows, hidden - rope])?,
        sample.device.zeros([rows, rope])?,
    );
    act(kernels::store_mla(&mut cache, &nope, &rope, &sample.index::<I>()?));
    Ok(())
}

pub(super) fn copy_kv_layers<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let [mut first, mut second] = [sample.buffer::<T>()?, sample.buffer()?];
    let [to, from] = [sample.index::<I>()?, sample.index()?];
    act(kernels::copy_kv_layers([&mut first, &mut second], &to, &from));
    Ok(())
}

pub(super) fn zero_pages<T: Element, I: Integer>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    act(kernels::zero_pages(&mut sample.buffer::<T>()?, &sample.index::<I>()?));
    Ok(())
}
