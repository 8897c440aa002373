//! A kernel written with Tilewright.
//!
//! `cargo test` compares it with the host, on the CPU device and on a GPU if there is one; `cargo bench` says how long a launch
//! takes and how many bytes it moves in that time.

use tilewright::prelude::*;

/// `out[i] = factors[i] * src[i]`, one program for each row.
///
/// * `out` and `src` `[rows, columns]`, `factors` `[rows]`, of f32. A row of any length is one tile.
///
/// ```
/// use CRATE::scale_rows;
/// use tilewright::prelude::*;
///
/// let device = Device::best();
/// let src = device.upload(&[1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
/// let factors = device.upload(&[10.0f32, 100.0], [2])?;
/// let mut out = device.zeros::<f32, 2>([2, 2])?;
/// scale_rows(&mut out, &src, &factors).launch(&device)?;
/// assert_eq!(out.download()?, [10.0, 20.0, 300.0, 400.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0)])]
pub fn scale_rows(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>, factors: &Tensor<f32, 1>) {
    require(out.extent(1) == src.extent(1));
    let row = program_id(0);
    let cols = arange(src.extent(1));
    out.store([row, cols], factors.load([row]) * src.load([row, cols]));
}
