//! Rows from where an index says.

use tilewright_dsl::{kernel, lang::*};

/// Gathers rows: `out[i] = src[index[i]]`.
///
/// * `out` `[m, hidden]`, `src` `[n, hidden]` of any element type, `index` `[m]` of i32 or i64. If `out` and `index` differ
///   in length, the shorter one counts and rows of `out` beyond it keep their values.
/// * A negative index, or one not below `n`, gives a row of zeros: with an inverse map whose holes are -1 this scatters into
///   a padded buffer and fills the padding in one pass.
/// * One program per index. Specialised for the element and index type and the hidden size.
/// * Engines have it as vLLM's and SGLang's `shuffle_rows`, DeepEP's permute, `torch.index_select`.
///
/// ```
/// use tilewright_dp::kernels::gather_rows;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[1.0f32, 1.5, 2.0, 2.5, 3.0, 3.5], [3, 2])?;
/// let index = device.upload(&[2i32, 0, -1], [3])?;
/// let mut out = device.zeros::<f32, 2>([3, 2])?;
/// gather_rows(&mut out, &src, &index).launch(&device)?;
/// assert_eq!(out.download()?, [3.0, 3.5, 1.0, 1.5, 0.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0).min(index.extent(0))])]
pub fn gather_rows<T: Element, I: Integer>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, index: &Tensor<I, 1>) {
    require(out.extent(1) == src.extent(1));
    let row = program_id(0);
    let from = index.load([row]);
    let cols = arange(out.extent(1));
    out.store([row, cols], src.load([from, cols]));
}

/// Gathers rows of `N` buffers of one element type by one index, in one launch: `outs[b][i] = srcs[b][index[i]]`.
///
/// * Every pair of buffers has its own width. Rows that the index misses are zero, as in
///   [`gather_rows()`].
/// * One program per index moves that row of all buffers, so the index is read once. Specialised for the types, `N` and
///   every width.
/// * Engines do this with one launch per buffer: hidden states, residual, auxiliary hidden states.
///
/// ```
/// use tilewright_dp::kernels::gather_rows_of;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let narrow = device.upload(&[1i64, 2, 3], [3, 1])?;
/// let wide = device.upload(&[10i64, 11, 20, 21, 30, 31], [3, 2])?;
/// let index = device.upload(&[2i64, 2], [2])?;
/// let mut out_narrow = device.zeros::<i64, 2>([2, 1])?;
/// let mut out_wide = device.zeros::<i64, 2>([2, 2])?;
/// gather_rows_of([&mut out_narrow, &mut out_wide], [&narrow, &wide], &index).launch(&device)?;
/// assert_eq!(out_narrow.download()?, [3, 3]);
/// assert_eq!(out_wide.download()?, [30, 31, 30, 31]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [index.extent(0)])]
pub fn gather_rows_of<T: Element, I: Integer, const N: usize>(
    outs: [&mut Tensor<T, 2>; N],
    srcs: [&Tensor<T, 2>; N],
    index: &Tensor<I, 1>,
) {
    let row = program_id(0);
    let from = index.load([row]);
    for b in 0..N {
        require(outs[b].extent(1) == srcs[b].extent(1));
        let cols = arange(outs[b].extent(1));
        outs[b].store([row, cols], srcs[b].load([from, cols]));
    }
}

/// Gathers rows of four buffers, each of its own element type and width, by one index in one launch.
///
/// * `out_x[i] = x[index[i]]` for each of the four; rows that the index misses are zero, as in
///   [`gather_rows()`].
/// * One program per index. Specialised for all types and widths.
/// * The buffers of a batch that is reordered: hidden states, positions, token ids and cache locations, say.
///
/// ```
/// use tilewright_dp::kernels::gather_four;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let hidden = device.upload(&[1.0f32, 1.5, 2.0, 2.5], [2, 2])?;
/// let scales = device.upload(&[0.5f64, 0.25], [2, 1])?;
/// let ids = device.upload(&[7i64, 8], [2, 1])?;
/// let mask = device.upload(&[true, false], [2, 1])?;
/// let index = device.upload(&[1i32], [1])?;
/// let (mut h, mut s) = (device.zeros::<f32, 2>([1, 2])?, device.zeros::<f64, 2>([1, 1])?);
/// let (mut i, mut m) = (device.zeros::<i64, 2>([1, 1])?, device.zeros::<bool, 2>([1, 1])?);
/// gather_four(&mut h, &mut s, &mut i, &mut m, &hidden, &scales, &ids, &mask, &index).launch(&device)?;
/// assert_eq!((h.download()?, s.download()?), (vec![2.0, 2.5], vec![0.25]));
/// assert_eq!((i.download()?, m.download()?), (vec![8], vec![false]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [index.extent(0)])]
pub fn gather_four<A: Element, B: Element, C: Element, D: Element, I: Integer>(
    out_a: &mut Tensor<A, 2>,
    out_b: &mut Tensor<B, 2>,
    out_c: &mut Tensor<C, 2>,
    out_d: &mut Tensor<D, 2>,
    a: &Tensor<A, 2>,
    b: &Tensor<B, 2>,
    c: &Tensor<C, 2>,
    d: &Tensor<D, 2>,
    index: &Tensor<I, 1>,
) {
    require(out_a.extent(1) == a.extent(1) && out_b.extent(1) == b.extent(1));
    require(out_c.extent(1) == c.extent(1) && out_d.extent(1) == d.extent(1));
    let row = program_id(0);
    let from = index.load([row]);
    let (cols_a, cols_b) = (arange(out_a.extent(1)), arange(out_b.extent(1)));
    let (cols_c, cols_d) = (arange(out_c.extent(1)), arange(out_d.extent(1)));
    out_a.store([row, cols_a], a.load([from, cols_a]));
    out_b.store([row, cols_b], b.load([from, cols_b]));
    out_c.store([row, cols_c], c.load([from, cols_c]));
    out_d.store([row, cols_d], d.load([from, cols_d]));
}
