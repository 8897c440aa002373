//! Rows to where an index says.

use tilewright_dsl::{kernel, lang::*};

/// Scatters rows: `dst[index[i]] = src[i]`.
///
/// * `dst` `[n, hidden]`, `src` `[m, hidden]` of any element type, `index` `[m]` of i32 or i64. If `src` and `index` differ
///   in length, the shorter one counts.
/// * A negative index, or one not below `n`, is skipped, and rows of `dst` that no index names keep their values.
/// * Indices that are not skipped must differ: two programs may not write one row. The CPU device reports a duplicate.
/// * One program per row of `src`. Specialised for the element and index type and the hidden size.
/// * Engines have it as the writes to a KV cache by slot (`reshape_and_cache`, `set_kv_buffer`; -1 marks padding tokens)
///   and as the unshuffling of expert outputs.
///
/// ```
/// use tilewright_dp::kernels::scatter_rows;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[1u8, 2, 3], [3, 1])?;
/// let index = device.upload(&[3i64, -1, 0], [3])?;
/// let mut dst = device.upload(&[9u8; 4], [4, 1])?;
/// scatter_rows(&mut dst, &src, &index).launch(&device)?;
/// assert_eq!(dst.download()?, [3, 9, 9, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [src.extent(0).min(index.extent(0))])]
pub fn scatter_rows<T: Element, I: Integer>(dst: &mut Tensor<T, 2>, src: &Tensor<T, 2>, index: &Tensor<I, 1>) {
    require(dst.extent(1) == src.extent(1));
    let row = program_id(0);
    let to = index.load([row]);
    let cols = arange(src.extent(1));
    dst.store([to, cols], src.load([row, cols]));
}

/// As [`scatter_rows()`], but for the rows of one reserved index: `dst[index[i]] = src[i]` where `index[i] != reserved`.
///
/// * `dst`, `src` and `index` as there; `reserved` any number. Several rows may have the reserved index; none is written.
/// * One program per row of `src`. Specialised for the element and index type and the hidden size.
/// * Engines reserve a slot, the first one usually, for the tokens of padding: it takes their writes in a kernel that cannot
///   skip, and stays as it is here.
///
/// ```
/// use tilewright_dp::kernels::scatter_rows_except;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[1u8, 2, 3], [3, 1])?;
/// let index = device.upload(&[2i32, 0, 0], [3])?;
/// let mut dst = device.upload(&[9u8; 4], [4, 1])?;
/// scatter_rows_except(&mut dst, &src, &index, 0).launch(&device)?;
/// assert_eq!(dst.download()?, [9, 9, 1, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [src.extent(0).min(index.extent(0))])]
pub fn scatter_rows_except<T: Element, I: Integer>(
    dst: &mut Tensor<T, 2>,
    src: &Tensor<T, 2>,
    index: &Tensor<I, 1>,
    reserved: i64,
) {
    require(dst.extent(1) == src.extent(1));
    let row = program_id(0);
    let to = index.load([row]).saturating_cast::<i64>();
    if to != reserved {
        let cols = arange(src.extent(1));
        dst.store([to, cols], src.load([row, cols]));
    }
}
