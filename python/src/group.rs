//! Ranks that are threads of one process.

use pyo3::prelude::*;
use tilewright_dp::collective::{Group, LocalGroup as Local};
use tilewright_dsl::element::ElementType;
use tilewright_runtime::TensorViewMut;

use crate::call::Call;
use crate::device::{Place, limit};
use crate::error::{Error, work};

/// One rank of a group of threads that share a device: for tests and for bringing an engine up, not for speed. Rows
/// really move, and every sum is compared with the host's, bit by bit. Sums are computed in rank order, in float32 for
/// narrower floats.
///
/// Made by `LocalGroup.ranks(size)`, one for each thread. All ranks ask for the same things in the same order; a rank
/// that does not is a `CollectiveError` on all of them, after `timeout` seconds at the latest.
#[pyclass(module = "tilewright", frozen)]
pub struct LocalGroup(Local);

/// Does something with the view of a tensor of numbers.
macro_rules! summed {
    ($element:expr, $tensor:expr, $stream:expr, $view:ident => $body:expr) => {
        summed!(@ $element, $tensor, $stream, $view, $body;
            F16 half::f16, BF16 half::bf16, F32 f32, F64 f64, I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16,
            U32 u32, U64 u64)
    };
    (@ $element:expr, $tensor:expr, $stream:expr, $view:ident, $body:expr; $($name:ident $T:ty),*) => {
        match $element {
            $(ElementType::$name => {
                let mut tensor = $tensor.write::<$T>($stream)?;
                let $view: &mut TensorViewMut<'_, $T, 2> = &mut tensor.view_mut();
                $body
            })*
            element => return Err(Error::unusable("buffer", format!("is of {element}, which is not summed"))),
        }
    };
}

#[pymethods]
impl LocalGroup {
    /// The ranks of a group of `size` on a device: one for each thread that takes part.
    #[staticmethod]
    #[pyo3(signature = (size, device=None, timeout=60.0))]
    fn ranks(size: usize, device: Option<&Bound<'_, PyAny>>, timeout: f64) -> PyResult<Vec<Self>> {
        let place = device.map_or(Ok(Place::Cpu), Place::named)?;
        let ranks = Local::ranks(place.device()?, size, limit(timeout)?).map_err(Error::from)?;
        Ok(ranks.into_iter().map(Self).collect())
    }

    /// This rank, from 0.
    #[getter]
    fn rank(&self) -> usize {
        self.0.rank()
    }

    /// The number of ranks.
    #[getter]
    fn size(&self) -> usize {
        self.0.size()
    }

    /// Every row of `buffer` [n, ...] becomes the sum of that row on all ranks, in place.
    fn all_reduce<'py>(&self, py: Python<'py>, buffer: &Bound<'py, PyAny>) -> PyResult<()> {
        let mut call = Call::new(py, None)?;
        let tensor = call.written(buffer, "buffer")?;
        let (stream, element, rows) = (call.stream()?, tensor.element()?, tensor.rows()?);
        work(py, || {
            summed!(element, rows, &stream, view => self.0.all_reduce(view)?);
            Ok(())
        })
    }

    /// Every rank's part of `buffer` [n, ...] becomes what that rank has in it, in place. `parts` are the rows of each
    /// rank, one after the other from row 0; they need not be equal.
    fn all_gather<'py>(&self, py: Python<'py>, buffer: &Bound<'py, PyAny>, parts: Vec<u64>) -> PyResult<()> {
        let mut call = Call::new(py, None)?;
        let tensor = call.written(buffer, "buffer")?;
        let (stream, width, rows) = (call.stream()?, tensor.width(), tensor.rows()?);
        work(py, || {
            crate::call::by_width!(width, T => self.0.all_gather(&mut rows.write::<T>(&stream)?.view_mut(), &parts)?);
            Ok(())
        })
    }

    /// This rank's part of `buffer` [n, ...] becomes the sum of it on all ranks, in place; the other parts hold
    /// anything afterwards.
    fn reduce_scatter<'py>(&self, py: Python<'py>, buffer: &Bound<'py, PyAny>, parts: Vec<u64>) -> PyResult<()> {
        let mut call = Call::new(py, None)?;
        let tensor = call.written(buffer, "buffer")?;
        let (stream, element, rows) = (call.stream()?, tensor.element()?, tensor.rows()?);
        work(py, || {
            summed!(element, rows, &stream, view => self.0.reduce_scatter(view, &parts)?);
            Ok(())
        })
    }

    fn __repr__(&self) -> String {
        format!("<rank {} of {}>", self.0.rank(), self.0.size())
    }
}
