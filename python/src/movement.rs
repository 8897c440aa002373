//! Rows moved: the kernels of the catalogue over tensors of Python.

use pyo3::prelude::*;
use tilewright_dp::kernels;

use crate::call::{Call, by_index, by_width, index_type};
use crate::error::{Error, work};

/// Gathers rows: `out[i] = src[index[i]]`.
///
/// Shapes: `out` [m, ...], `src` [n, ...] of the same type and row, `index` [m] of int32 or int64. A negative index, or
/// one not below n, gives a row of zeros. If `out` and `index` differ in length, the shorter one counts.
///
/// `out` must share no memory with `src` or `index`. On a GPU the launch goes to `stream`, or else to torch's current
/// stream, and the call returns at once; on the CPU it is done when the call returns.
#[pyfunction]
#[pyo3(signature = (out, src, index, *, stream=None))]
pub fn gather_rows<'py>(
    py: Python<'py>,
    out: &Bound<'py, PyAny>,
    src: &Bound<'py, PyAny>,
    index: &Bound<'py, PyAny>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (out, src) = (call.written(out, "out")?, call.read(src, "src")?);
    let index = call.read(index, "index")?;
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    src.moves_to(&out)?;
    let (width, indices) = (out.width(), index_type(&index)?);
    let (out, src, index) = (out.rows()?, src.rows()?, index.list()?);
    work(py, || {
        by_width!(width, T => by_index!(indices, I => {
            let (mut out, src, index) = (out.write::<T>(stream)?, src.read::<T>(stream)?, index.read::<I>(stream)?);
            launcher.launch(kernels::gather_rows(&mut out, &src, &index))?;
        }));
        Ok(())
    })
}

/// Scatters rows: `dst[index[i]] = src[i]`.
///
/// Shapes: `dst` [n, ...], `src` [m, ...] of the same type and row, `index` [m] of int32 or int64. A negative index, or
/// one not below n, is skipped, and so are all rows whose index is `reserved`; rows of `dst` that no index names keep
/// their values. Indices that are not skipped must differ: on the CPU a duplicate is an error.
#[pyfunction]
#[pyo3(signature = (dst, src, index, *, reserved=None, stream=None))]
pub fn scatter_rows<'py>(
    py: Python<'py>,
    dst: &Bound<'py, PyAny>,
    src: &Bound<'py, PyAny>,
    index: &Bound<'py, PyAny>,
    reserved: Option<i64>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (dst, src) = (call.written(dst, "dst")?, call.read(src, "src")?);
    let index = call.read(index, "index")?;
    call.note(u64::from(reserved.is_some()));
    call.note(reserved.unwrap_or(0).cast_unsigned());
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    src.moves_to(&dst)?;
    let (width, indices) = (dst.width(), index_type(&index)?);
    let (dst, src, index) = (dst.rows()?, src.rows()?, index.list()?);
    work(py, || {
        by_width!(width, T => by_index!(indices, I => {
            let (mut dst, src, index) = (dst.write::<T>(stream)?, src.read::<T>(stream)?, index.read::<I>(stream)?);
            match reserved {
                None => launcher.launch(kernels::scatter_rows(&mut dst, &src, &index))?,
                Some(reserved) => launcher.launch(kernels::scatter_rows_except(&mut dst, &src, &index, reserved))?,
            };
        }));
        Ok(())
    })
}

/// Copies a rank's rows into its slot of a buffer: `dst[offset:offset + rows] = src[:rows]`.
///
/// Shapes: `dst` [n, ...], the gathered buffer; `src` [m, ...], the rank's rows, of the same type. `offset` and `rows`
/// count rows: numbers, or tensors of one int32 or int64 on the device of the others, which a captured graph reads
/// again at every replay. `rows` is clamped to what both have; every other row of `dst` keeps its value.
#[pyfunction]
#[pyo3(signature = (dst, src, offset, rows, *, stream=None))]
pub fn copy_to_slot<'py>(
    py: Python<'py>,
    dst: &Bound<'py, PyAny>,
    src: &Bound<'py, PyAny>,
    offset: &Bound<'py, PyAny>,
    rows: &Bound<'py, PyAny>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (dst, src) = (call.written(dst, "dst")?, call.read(src, "src")?);
    let (offset, rows) = (call.count(offset, "offset")?, call.count(rows, "rows")?);
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    src.moves_to(&dst)?;
    let width = dst.width();
    let (dst, src, offset, rows) = (dst.rows()?, src.rows()?, offset.detached()?, rows.detached()?);
    work(py, || {
        let (offset, rows) = (offset.held(stream)?, rows.held(stream)?);
        by_width!(width, T => {
            let (mut dst, src) = (dst.write::<T>(stream)?, src.read::<T>(stream)?);
            launcher.launch(kernels::copy_to_slot(&mut dst, &src, offset.get()?, rows.get()?))?;
        });
        Ok(())
    })
}

/// Copies a rank's rows out of its slot of a buffer: `dst[:rows] = src[offset:offset + rows]`.
///
/// Shapes: `dst` [m, ...], the rank's rows; `src` [n, ...], the gathered buffer, of the same type. `offset` and `rows`
/// as for `copy_to_slot`. The other rows of `dst` keep their values, or with `padded=True` become zeros in the same
/// launch.
#[pyfunction]
#[pyo3(signature = (dst, src, offset, rows, *, padded=false, stream=None))]
pub fn copy_from_slot<'py>(
    py: Python<'py>,
    dst: &Bound<'py, PyAny>,
    src: &Bound<'py, PyAny>,
    offset: &Bound<'py, PyAny>,
    rows: &Bound<'py, PyAny>,
    padded: bool,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (dst, src) = (call.written(dst, "dst")?, call.read(src, "src")?);
    let (offset, rows) = (call.count(offset, "offset")?, call.count(rows, "rows")?);
    call.note(padded.into());
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    src.moves_to(&dst)?;
    let width = dst.width();
    let (dst, src, offset, rows) = (dst.rows()?, src.rows()?, offset.detached()?, rows.detached()?);
    work(py, || {
        let (offset, rows) = (offset.held(stream)?, rows.held(stream)?);
        by_width!(width, T => {
            let (mut dst, src) = (dst.write::<T>(stream)?, src.read::<T>(stream)?);
            match padded {
                true => launcher.launch(kernels::copy_from_slot_padded(&mut dst, &src, offset.get()?, rows.get()?))?,
                false => launcher.launch(kernels::copy_from_slot(&mut dst, &src, offset.get()?, rows.get()?))?,
            };
        });
        Ok(())
    })
}

/// Writes a rank's rows to where they belong in a buffer and zeros everywhere else, each row once: `out[start + i] =
/// src[first + i]` for `first + i < rows`, and `out[r] = 0` for every other `r`.
///
/// Shapes: `out` [n, ...], the gathered buffer or a part of it; `src` [m, ...] of the same type; `start`, `first` and
/// `rows` are counts as for `copy_to_slot`. `report`, if given, is [2] of int64 and becomes the rows planned and those
/// of them that both tensors have: they differ where a plan does not fit.
#[pyfunction]
#[pyo3(signature = (out, src, start, first, rows, *, report=None, stream=None))]
#[expect(clippy::too_many_arguments, reason = "they are those of the kernel")]
pub fn place_rows<'py>(
    py: Python<'py>,
    out: &Bound<'py, PyAny>,
    src: &Bound<'py, PyAny>,
    start: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    rows: &Bound<'py, PyAny>,
    report: Option<&Bound<'py, PyAny>>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (out, src) = (call.written(out, "out")?, call.read(src, "src")?);
    let (start, first, rows) = (
        call.count(start, "start")?,
        call.count(first, "first")?,
        call.count(rows, "rows")?,
    );
    let report = report.map(|report| call.written(report, "report")).transpose()?;
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    src.moves_to(&out)?;
    let report = report.as_ref().map(report_of).transpose()?;
    let width = out.width();
    let (out, src) = (out.rows()?, src.rows()?);
    let (start, first, rows) = (start.detached()?, first.detached()?, rows.detached()?);
    work(py, || {
        let (start, first, rows) = (start.held(stream)?, first.held(stream)?, rows.held(stream)?);
        let (start, first, rows) = (start.get()?, first.get()?, rows.get()?);
        by_width!(width, T => {
            let (mut out, src) = (out.write::<T>(stream)?, src.read::<T>(stream)?);
            match report {
                None => launcher.launch(kernels::place_rows(&mut out, &src, start, first, rows))?,
                Some(report) => {
                    let mut report = report.write::<i64>(stream)?;
                    let call = kernels::place_rows_with_report(&mut out, &mut report, &src, start, first, rows);
                    launcher.launch(call)?
                }
            };
        });
        Ok(())
    })
}

/// Takes a rank's rows out of a buffer and says how many of those planned were there: `out[:rows] = src[start:start +
/// rows]`, zeros behind.
///
/// Shapes and counts as for `copy_from_slot`; `report` [2] of int64 becomes the rows planned and those moved.
#[pyfunction]
#[pyo3(signature = (out, src, start, rows, report, *, stream=None))]
pub fn take_rows<'py>(
    py: Python<'py>,
    out: &Bound<'py, PyAny>,
    src: &Bound<'py, PyAny>,
    start: &Bound<'py, PyAny>,
    rows: &Bound<'py, PyAny>,
    report: &Bound<'py, PyAny>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (out, src) = (call.written(out, "out")?, call.read(src, "src")?);
    let (start, rows) = (call.count(start, "start")?, call.count(rows, "rows")?);
    let report = call.written(report, "report")?;
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    src.moves_to(&out)?;
    let report = report_of(&report)?;
    let width = out.width();
    let (out, src, start, rows) = (out.rows()?, src.rows()?, start.detached()?, rows.detached()?);
    work(py, || {
        let (start, rows) = (start.held(stream)?, rows.held(stream)?);
        by_width!(width, T => {
            let (mut out, src) = (out.write::<T>(stream)?, src.read::<T>(stream)?);
            let mut report = report.write::<i64>(stream)?;
            let call = kernels::take_rows_with_report(&mut out, &mut report, &src, start.get()?, rows.get()?);
            launcher.launch(call)?;
        });
        Ok(())
    })
}

/// The two numbers that a kernel reports.
fn report_of<'a>(report: &'a crate::tensor::Tensor<'_>) -> Result<crate::tensor::Shaped<'a, 1>, Error> {
    let is_right = report.element()? == tilewright_dsl::element::ElementType::I64 && report.extent(0) == Some(2);
    match is_right {
        true => report.list(),
        false => Err(Error::unusable(report.name(), "is to be [2] of int64")),
    }
}

/// Takes the padding rows of equally long ranks out of expert routing, in place: `ids[r * rows_per_rank + p] = -1` for
/// `p >= counts[r]`.
///
/// Shapes: `ids` [ranks * rows_per_rank, k] of int32 or int64, the experts of every row; `counts` [ranks] of int32 or
/// int64 on the same device, each rank's tokens. Rows behind the last rank are padding too. `rows_per_rank` is a count.
#[pyfunction]
#[pyo3(signature = (ids, counts, rows_per_rank, *, stream=None))]
pub fn mask_padding_ids<'py>(
    py: Python<'py>,
    ids: &Bound<'py, PyAny>,
    counts: &Bound<'py, PyAny>,
    rows_per_rank: &Bound<'py, PyAny>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (ids, counts) = (call.written(ids, "ids")?, call.read(counts, "counts")?);
    let rows_per_rank = call.count(rows_per_rank, "rows_per_rank")?;
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    let (of_ids, of_counts) = (index_type(&ids)?, index_type(&counts)?);
    let (ids, counts, rows_per_rank) = (ids.matrix()?, counts.list()?, rows_per_rank.detached()?);
    work(py, || {
        let rows_per_rank = rows_per_rank.held(stream)?;
        by_index!(of_ids, I => by_index!(of_counts, C => {
            let (mut ids, counts) = (ids.write::<I>(stream)?, counts.read::<C>(stream)?);
            launcher.launch(kernels::mask_padding_ids(&mut ids, &counts, rows_per_rank.get()?))?;
        }));
        Ok(())
    })
}

/// Takes every row that holds no token out of expert routing, in place: `ids[r] = -1` unless `starts[s] <= r <
/// starts[s] + counts[s]` for some rank `s`.
///
/// Shapes: `ids` [rows, k] of int32 or int64; `starts` and `counts` [ranks], both int32 or both int64, on the same
/// device. For any layout; where ranks are equally long `mask_padding_ids` needs no search.
#[pyfunction]
#[pyo3(signature = (ids, starts, counts, *, stream=None))]
pub fn mask_rows_outside<'py>(
    py: Python<'py>,
    ids: &Bound<'py, PyAny>,
    starts: &Bound<'py, PyAny>,
    counts: &Bound<'py, PyAny>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (ids, starts) = (call.written(ids, "ids")?, call.read(starts, "starts")?);
    let counts = call.read(counts, "counts")?;
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    let (of_ids, of_counts) = (index_type(&ids)?, index_type(&counts)?);
    if index_type(&starts)? != of_counts {
        return Err(Error::unusable("starts", "is of another type than `counts`").into());
    }
    let (ids, starts, counts) = (ids.matrix()?, starts.list()?, counts.list()?);
    work(py, || {
        by_index!(of_ids, I => by_index!(of_counts, C => {
            let mut ids = ids.write::<I>(stream)?;
            let (starts, counts) = (starts.read::<C>(stream)?, counts.read::<C>(stream)?);
            launcher.launch(kernels::mask_rows_outside(&mut ids, &starts, &counts))?;
        }));
        Ok(())
    })
}

/// Pads sequences: `out[b, i] = packed[starts[b] + i]` for `i < starts[b + 1] - starts[b]`, zeros behind.
///
/// Shapes: `out` [batch, length, hidden], `packed` [total, hidden] of the same type, `starts` [batch + 1] of int32 or
/// int64, often called `cu_seqlens`. A sequence longer than `length` is cut. `mask`, if given, is [batch, length] of
/// bool and says which rows are real.
#[pyfunction]
#[pyo3(signature = (out, packed, starts, *, mask=None, stream=None))]
pub fn pad_segments<'py>(
    py: Python<'py>,
    out: &Bound<'py, PyAny>,
    packed: &Bound<'py, PyAny>,
    starts: &Bound<'py, PyAny>,
    mask: Option<&Bound<'py, PyAny>>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (out, packed) = (call.written(out, "out")?, call.read(packed, "packed")?);
    let starts = call.read(starts, "starts")?;
    let mask = mask.map(|mask| call.written(mask, "mask")).transpose()?;
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    packed.moves_to(&out)?;
    let mask = match &mask {
        Some(mask) if mask.element()? != tilewright_dsl::element::ElementType::Bool => {
            return Err(Error::unusable("mask", "is to be of bool").into());
        }
        mask => mask.as_ref().map(|mask| mask.matrix()).transpose()?,
    };
    let (width, indices) = (out.width(), index_type(&starts)?);
    let (out, packed, starts) = (out.cube()?, packed.rows()?, starts.list()?);
    work(py, || {
        by_width!(width, T => by_index!(indices, I => {
            let (mut out, packed) = (out.write::<T>(stream)?, packed.read::<T>(stream)?);
            let starts = starts.read::<I>(stream)?;
            match mask {
                None => launcher.launch(kernels::pad_segments::<T, I>(&mut out, &packed, &starts))?,
                Some(mask) => {
                    let mut mask = mask.write::<bool>(stream)?;
                    let call = kernels::pad_segments_with_mask::<T, I>(&mut out, &mut mask, &packed, &starts);
                    launcher.launch(call)?
                }
            };
        }));
        Ok(())
    })
}

/// Packs sequences: `out[starts[b] + i] = padded[b, i]` for `i < starts[b + 1] - starts[b]`.
///
/// Shapes: `out` [total, hidden], `padded` [batch, length, hidden] of the same type, `starts` [batch + 1] of int32 or
/// int64. Rows of `out` that no sequence covers keep their values.
#[pyfunction]
#[pyo3(signature = (out, padded, starts, *, stream=None))]
pub fn pack_segments<'py>(
    py: Python<'py>,
    out: &Bound<'py, PyAny>,
    padded: &Bound<'py, PyAny>,
    starts: &Bound<'py, PyAny>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let (out, padded) = (call.written(out, "out")?, call.read(padded, "padded")?);
    let starts = call.read(starts, "starts")?;
    let Some(launcher) = call.again()? else { return Ok(()) };
    let stream = launcher.stream();
    padded.moves_to(&out)?;
    let (width, indices) = (out.width(), index_type(&starts)?);
    let (out, padded, starts) = (out.rows()?, padded.cube()?, starts.list()?);
    work(py, || {
        by_width!(width, T => by_index!(indices, I => {
            let (mut out, padded) = (out.write::<T>(stream)?, padded.read::<T>(stream)?);
            let starts = starts.read::<I>(stream)?;
            launcher.launch(kernels::pack_segments::<T, I>(&mut out, &padded, &starts))?;
        }));
        Ok(())
    })
}
