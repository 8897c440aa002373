//! Kernels of one's own as a Python module: over tensors of torch, numpy and others, as the package `tilewright` has its own.
//!
//! `maturin build --release` makes a wheel of it; `test.py` is what its users write.

use pyo3::prelude::*;
use tilewright::prelude::*;
use tilewright_python::{Call, work};

// ANCHOR: kernel
/// out[r] = src[r] * weights[r].
#[kernel(grid = [out.extent(0)])]
fn scale(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>, weights: &Tensor<f32, 1>) {
    require(out.extent(1) == src.extent(1) && weights.extent(0) >= out.extent(0));
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]) * weights.load([row]));
}
// ANCHOR_END: kernel

/// out[r] = src[r] / the root of the mean of its squares.
#[kernel(grid = [out.extent(0)])]
fn normalize(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>, epsilon: f32) {
    require(out.extent(1) == src.extent(1));
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    let x = src.load([row, cols]);
    let mean = (x * x).sum_axis(0) / src.extent(1).cast::<f32>();
    out.store([row, cols], x * (mean + epsilon).rsqrt());
}

/// out[r] = out[r] + src[index[r]], for the first `rows` rows.
#[kernel(grid = [index.extent(0)])]
fn add_gathered(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>, index: &Tensor<i64, 1>, rows: Count) {
    require(out.extent(1) == src.extent(1));
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    if row < rows {
        let sum = out.load([row, cols]) + src.load([index.load([row]), cols]);
        out.store([row, cols], sum);
    }
}

type Object<'py> = Bound<'py, PyAny>;

// ANCHOR: function
/// `out[r] = src[r] * weights[r]`. Shapes: `out` and `src` [n, hidden] and `weights` [n] of float32.
#[pyfunction]
fn scale_rows<'py>(py: Python<'py>, out: &Object<'py>, src: &Object<'py>, weights: &Object<'py>) -> PyResult<()> {
    let mut call = Call::new(py, None)?;
    let (out, src) = (call.written(out, "out")?, call.read(src, "src")?);
    let weights = call.read(weights, "weights")?;
    let stream = call.stream()?;
    let (out, src, weights) = (
        out.matrix_of::<f32>()?,
        src.matrix_of::<f32>()?,
        weights.list_of::<f32>()?,
    );
    work(py, || {
        let (mut out, src, weights) = (out.write(&stream)?, src.read(&stream)?, weights.read(&stream)?);
        scale(&mut out, &src, &weights).launch_on(&stream)?;
        Ok(())
    })
}
// ANCHOR_END: function

/// `out[r] = src[r] / sqrt(mean(src[r] ** 2) + epsilon)`. Shapes: `out` and `src` [n, hidden] of float32.
#[pyfunction]
fn normalize_rows<'py>(py: Python<'py>, out: &Object<'py>, src: &Object<'py>, epsilon: f32) -> PyResult<()> {
    let mut call = Call::new(py, None)?;
    let (out, src) = (call.written(out, "out")?, call.read(src, "src")?);
    let stream = call.stream()?;
    let (out, src) = (out.matrix_of::<f32>()?, src.matrix_of::<f32>()?);
    work(py, || {
        let (mut out, src) = (out.write(&stream)?, src.read(&stream)?);
        normalize(&mut out, &src, epsilon).launch_on(&stream)?;
        Ok(())
    })
}

/// `out[r] += src[index[r]]` for the first `rows` rows. Shapes: `out` [n, hidden] and `src` [m, hidden] of float32, `index` [n] of
/// int64; `rows` is a number, or a tensor of one int32 or int64 that a captured graph reads at every replay.
#[pyfunction]
fn add_rows<'py>(
    py: Python<'py>,
    out: &Object<'py>,
    src: &Object<'py>,
    index: &Object<'py>,
    rows: &Object<'py>,
) -> PyResult<()> {
    let mut call = Call::new(py, None)?;
    let (out, src) = (call.written(out, "out")?, call.read(src, "src")?);
    let (index, rows) = (call.read(index, "index")?, call.count(rows, "rows")?);
    let stream = call.stream()?;
    let (out, src, index) = (
        out.matrix_of::<f32>()?,
        src.matrix_of::<f32>()?,
        index.list_of::<i64>()?,
    );
    let rows = rows.detached()?;
    work(py, || {
        let (mut out, src, index) = (out.write(&stream)?, src.read(&stream)?, index.read(&stream)?);
        let rows = rows.held(&stream)?;
        add_gathered(&mut out, &src, &index, rows.get()?).launch_on(&stream)?;
        Ok(())
    })
}

/// Three kernels of one's own.
#[pymodule]
mod python_extension {
    #[pymodule_export]
    use super::{add_rows, normalize_rows, scale_rows};
}
