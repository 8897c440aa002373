//! A rank's rows into and out of its slot of a gathered buffer.

use tilewright_dsl::{kernel, lang::*};

/// Copies a rank's rows into its slot: `dst[offset..offset + rows) = src[0..rows)`.
///
/// * `dst` `[n, hidden]`, the gathered buffer; `src` `[m, hidden]`, the rank's hidden states; `offset` and `rows` counts.
/// * `rows` is clamped to the rows that `src` has and that `dst` has from `offset` on; every other row of `dst` keeps its
///   value. A plan that is larger than the tensors therefore copies what there is and touches nothing else.
/// * One program per row copied: `rows` is in the grid, on the device too, and not in the code. Specialised for the element
///   type and the hidden size, and for `offset` if it is exact.
/// * SGLang has it as the memcpy kernel of `dp_gather` (offset and size on the device, not clamped).
///
/// ```
/// use tilewright_dp::kernels::copy_to_slot;
/// use tilewright_dsl::call::{Exact, Runtime};
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let local = device.upload(&[1i32, 2, 3], [3, 1])?;
/// let mut buffer = device.zeros::<i32, 2>([6, 1])?;
/// copy_to_slot(&mut buffer, &local, Exact(2), Exact(3)).launch(&device)?;
/// assert_eq!(buffer.download()?, [0, 0, 1, 2, 3, 0]);
/// // More rows than either tensor has: the copy ends where the first of them ends.
/// copy_to_slot(&mut buffer, &local, Runtime(5), Runtime(40)).launch(&device)?;
/// assert_eq!(buffer.download()?, [0, 0, 1, 2, 3, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [src.extent(0).min(rows)])]
pub fn copy_to_slot<T: Element>(dst: &mut Tensor<T, 2>, src: &Tensor<T, 2>, offset: Count, rows: Count) {
    require(dst.extent(1) == src.extent(1));
    let row = program_id(0);
    let cols = arange(src.extent(1));
    dst.store([offset + row, cols], src.load([row, cols]));
}

/// Copies a rank's rows out of its slot: `dst[0..rows) = src[offset..offset + rows)`.
///
/// * `dst` `[m, hidden]`, the rank's hidden states; `src` `[n, hidden]`, the gathered buffer; `offset` and `rows` counts.
/// * `rows` is clamped to the rows that `dst` has and that `src` has from `offset` on; every other row of `dst` keeps its
///   value. [`copy_from_slot_padded()`] fills them with zeros.
/// * One program per row copied: `rows` is in the grid, on the device too, and not in the code. Specialised for the element
///   type and the hidden size, and for `offset` if it is exact.
/// * SGLang has it as the memcpy kernel of `dp_scatter`.
///
/// ```
/// use tilewright_dp::kernels::copy_from_slot;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let buffer = device.upload(&[1i32, 2, 3, 4, 5, 6], [6, 1])?;
/// let mut local = device.upload(&[9i32; 3], [3, 1])?;
/// copy_from_slot(&mut local, &buffer, Exact(3), Exact(2)).launch(&device)?;
/// assert_eq!(local.download()?, [4, 5, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [dst.extent(0).min(rows)])]
pub fn copy_from_slot<T: Element>(dst: &mut Tensor<T, 2>, src: &Tensor<T, 2>, offset: Count, rows: Count) {
    require(dst.extent(1) == src.extent(1));
    let row = program_id(0);
    let from = offset + row;
    if from < src.extent(0) {
        let cols = arange(dst.extent(1));
        dst.store([row, cols], src.load([from, cols]));
    }
}

/// Copies a rank's rows out of its slot and fills the rest of its tensor with zeros: `dst[0..rows) =
/// src[offset..offset + rows)`, `dst[rows..) = 0`.
///
/// * As [`copy_from_slot()`], but every row of `dst` is written exactly once; rows that `src` does not have are zeros too.
///   With `rows` = 0 nothing is read.
/// * One program per row of `dst`. Specialised for the element type and the hidden size, and for the counts if they are
///   exact.
/// * SGLang does it in two passes: a fill of the local tensor, then `dp_scatter`.
///
/// ```
/// use tilewright_dp::kernels::copy_from_slot_padded;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let buffer = device.upload(&[1i32, 2, 3, 4, 5, 6], [6, 1])?;
/// let mut local = device.upload(&[9i32; 3], [3, 1])?;
/// copy_from_slot_padded(&mut local, &buffer, Exact(3), Exact(2)).launch(&device)?;
/// assert_eq!(local.download()?, [4, 5, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [dst.extent(0)])]
pub fn copy_from_slot_padded<T: Element>(dst: &mut Tensor<T, 2>, src: &Tensor<T, 2>, offset: Count, rows: Count) {
    require(dst.extent(1) == src.extent(1));
    let row = program_id(0);
    let cols = arange(dst.extent(1));
    if row < rows {
        dst.store([row, cols], src.load([offset + row, cols]));
    } else {
        dst.store([row, cols], zero::<T>());
    }
}
