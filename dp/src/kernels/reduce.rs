//! Sums over ranks, one rank after the other.

use tilewright_dsl::{kernel, lang::*};

/// Converts rows, to begin a sum or to end one: `out[r] = src[r]`, as by `as`.
///
/// * `out` and `src` `[n, hidden]`; rows that `src` does not have are zeros.
/// * One program per row. Specialised for the element types and the hidden size.
///
/// ```
/// use half::bf16;
/// use tilewright_dp::kernels::convert_rows;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[1.0f32, 1.00390625], [1, 2])?;
/// let mut out = device.zeros::<bf16, 2>([1, 2])?;
/// convert_rows(&mut out, &src).launch(&device)?;
/// assert_eq!(out.download()?, [bf16::ONE, bf16::ONE]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0)])]
pub fn convert_rows<T: Element, U: Element>(out: &mut Tensor<T, 2>, src: &Tensor<U, 2>) {
    require(out.extent(1) == src.extent(1));
    let row = program_id(0);
    let cols = arange(out.extent(1));
    out.store([row, cols], src.load([row, cols]).cast::<T>());
}

/// Adds rows to a sum: `sum[r] = sum[r] + src[r]`, computed in the type of the sum.
///
/// * `sum` and `src` `[n, hidden]`; rows that `src` does not have add zero.
/// * One program per row. Specialised for the element types and the hidden size.
///
/// ```
/// use half::bf16;
/// use tilewright_dp::kernels::add_rows;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let mut sum = device.upload(&[1.0f32, 2.0], [1, 2])?;
/// let src = device.upload(&[bf16::ONE, bf16::NEG_ONE], [1, 2])?;
/// add_rows(&mut sum, &src).launch(&device)?;
/// assert_eq!(sum.download()?, [2.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [sum.extent(0)])]
pub fn add_rows<S: Number, T: Number>(sum: &mut Tensor<S, 2>, src: &Tensor<T, 2>) {
    require(sum.extent(1) == src.extent(1));
    let row = program_id(0);
    let cols = arange(sum.extent(1));
    let so_far = sum.load([row, cols]);
    sum.store([row, cols], so_far + src.load([row, cols]).cast::<S>());
}
