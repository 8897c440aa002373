//! A rank's rows into and out of a gathered buffer, every row of the destination written once.
//!
//! Those that report are for counts in device memory, which the host cannot check before the launch.

use tilewright_dsl::{device, kernel, lang::*};

use super::integer::{counted, nowhere, placed};

/// Writes a rank's rows to where they belong in a buffer and zeros everywhere else: `out[start + i] = src[first + i]` for
/// the rows `first + i < rows` that `src` has, `out[r] = 0` for every other `r`.
///
/// * `out` `[n, hidden]`, the gathered buffer or a part of it; `src` `[m, hidden]` of any element type; `start`, the row of
///   `out` that takes row `first` of `src`; `rows`, the rows of `src` that count.
/// * One program per row of `out`: every byte is written once, with no fill before. Specialised for the element type and the
///   hidden size, and for the counts if they are exact.
/// * SGLang does it in two passes: a fill of the whole buffer, then the memcpy kernel of `dp_gather`.
///
/// ```
/// use tilewright_dp::kernels::place_rows;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let local = device.upload(&[1i32, 2, 3], [3, 1])?;
/// let mut out = device.upload(&[9i32; 6], [6, 1])?;
/// place_rows(&mut out, &local, Exact(2), Exact(0), Exact(2)).launch(&device)?;
/// assert_eq!(out.download()?, [0, 0, 1, 2, 0, 0]);
/// // More rows than the source has, and only those from its second on.
/// place_rows(&mut out, &local, Exact(0), Exact(1), Exact(40)).launch(&device)?;
/// assert_eq!(out.download()?, [2, 3, 0, 0, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0)])]
pub fn place_rows<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, start: Count, first: Count, rows: Count) {
    place_row(out, src, start, first, rows);
}

/// [`place_rows()`], and says how many rows that were planned had a row of `src` and one of `out`.
///
/// * `report` `[2]`: the rows planned from `first` on, and those moved. They differ where a plan does not fit the tensors.
///   It is not written if `out` has no rows.
///
/// ```
/// use tilewright_dp::kernels::place_rows_with_report;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch, device_count};
///
/// let device = Device::cpu();
/// let local = device.upload(&[1i32, 2, 3], [3, 1])?;
/// let planned = device.upload(&[20i64], [1])?;
/// let (mut out, mut report) = (device.zeros::<i32, 2>([6, 1])?, device.zeros::<i64, 1>([2])?);
/// let rows = device_count(&planned, 0, 64)?;
/// place_rows_with_report(&mut out, &mut report, &local, Exact(1), Exact(0), rows).launch(&device)?;
/// assert_eq!(out.download()?, [0, 1, 2, 3, 0, 0]);
/// assert_eq!(report.download()?, [20, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0).max(1)])]
pub fn place_rows_with_report<T: Element>(
    out: &mut Tensor<T, 2>,
    report: &mut Tensor<i64, 1>,
    src: &Tensor<T, 2>,
    start: Count,
    first: Count,
    rows: Count,
) {
    place_row(out, src, start, first, rows);
    if program_id(0) == 0 {
        report_rows(report, rows - first, (src.extent(0) - first).min(out.extent(0) - start));
    }
}

/// Takes a rank's rows out of a buffer, as [`copy_from_slot_padded()`](super::copy_from_slot_padded()) does, and says how many
/// rows that were planned had a row of `src` and one of `out`.
///
/// * `out[0..rows) = src[start..start + rows)`, `out[rows..) = 0`; `report` `[2]` as in [`place_rows_with_report()`].
///
/// ```
/// use tilewright_dp::kernels::take_rows_with_report;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let buffer = device.upload(&[1i32, 2, 3, 4, 5, 6], [6, 1])?;
/// let (mut out, mut report) = (device.upload(&[9i32; 4], [4, 1])?, device.zeros::<i64, 1>([2])?);
/// take_rows_with_report(&mut out, &mut report, &buffer, Exact(4), Exact(3)).launch(&device)?;
/// assert_eq!(out.download()?, [5, 6, 0, 0]);
/// assert_eq!(report.download()?, [3, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0).max(1)])]
pub fn take_rows_with_report<T: Element>(
    out: &mut Tensor<T, 2>,
    report: &mut Tensor<i64, 1>,
    src: &Tensor<T, 2>,
    start: Count,
    rows: Count,
) {
    require(out.extent(1) == src.extent(1));
    let row = program_id(0);
    let cols = arange(out.extent(1));
    if row < rows {
        out.store([row, cols], src.load([start + row, cols]));
    } else {
        out.store([row, cols], zero::<T>());
    }
    if row == 0 {
        report_rows(report, rows, (src.extent(0) - start).min(out.extent(0)));
    }
}

/// A program's row of the buffer.
#[device]
fn place_row<T: Element>(
    out: &mut Tensor<T, 2>,
    src: &Tensor<T, 2>,
    start: Scalar<i64>,
    first: Scalar<i64>,
    rows: Scalar<i64>,
) {
    require(out.extent(1) == src.extent(1));
    let row = program_id(0);
    let local = row - start;
    let from = local + first;
    let cols = arange(out.extent(1));
    if local >= 0 && from < rows {
        out.store([row, cols], src.load([from, cols]));
    } else {
        out.store([row, cols], zero::<T>());
    }
}

/// Writes a report: the rows planned, and those of them that are there.
#[device]
pub(super) fn report_rows(report: &mut Tensor<i64, 1>, planned: Scalar<i64>, there: Scalar<i64>) {
    report.store([0], planned.max(0));
    report.store([1], planned.min(there).max(0));
}

/// Rows per program of [`mask_rows_outside()`].
const ID_ROWS: usize = 128;

/// Takes every row that holds no token out of expert routing: `ids[r] = -1` unless `starts[s] <= r < starts[s] + counts[s]`
/// for some rank `s`.
///
/// * `ids` `[rows, k]`, the top-k expert ids of every row of the buffer; `starts` and `counts` `[ranks]`, where each rank
///   begins and how many tokens it has, in device memory; both i32 or i64. Ids of real rows keep their values.
/// * For any layout: aligned ranks in mode SUM, and the rows behind the last rank of a graph's buffer. Where every rank has
///   equally many rows, [`mask_padding_ids()`](super::mask_padding_ids()) needs no search.
/// * One program per 128 rows. Specialised for the types and `k`.
/// * SGLang has it for mode MAX only, as `mask_dp_pad_moe_topk_ids`.
///
/// ```
/// use tilewright_dp::kernels::mask_rows_outside;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let mut ids = device.upload(&[5i32, 6, 7, 8, 9], [5, 1])?;
/// let starts = device.upload(&[0i64, 2], [2])?;
/// let counts = device.upload(&[1i64, 2], [2])?;
/// mask_rows_outside(&mut ids, &starts, &counts).launch(&device)?;
/// assert_eq!(ids.download()?, [5, -1, 7, 8, -1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(ids.extent(0), ID_ROWS)])]
pub fn mask_rows_outside<I: Integer, C: Integer>(ids: &mut Tensor<I, 2>, starts: &Tensor<C, 1>, counts: &Tensor<C, 1>) {
    require(starts.extent(0) == counts.extent(0));
    let rows = program_id(0) * ID_ROWS + arange(ID_ROWS);
    let mut is_padding = rows >= 0;
    for s in 0..starts.extent(0) {
        let start = placed(starts.load([s]));
        let end = start + counted(counts.load([s]));
        is_padding = is_padding & ((rows < start) | (rows >= end));
    }
    let cols = arange(ids.extent(1));
    ids.store_where([rows.expand_dims(1), cols], nowhere::<I>(), is_padding.expand_dims(1));
}
