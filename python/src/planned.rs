//! Tensors padded by name, as the plan of a batch says.

use pyo3::prelude::*;
use tilewright_dp::batch::PlannedPadding;
use tilewright_dp::plan::BatchPlan;
use tilewright_dsl::call::Runtime;
use tilewright_dsl::element::{Element, ElementType};
use tilewright_runtime::{BorrowedTensor, BorrowedTensorMut, Stream};

use crate::call::{Call, by_element};
use crate::error::{Error, work};
use crate::tensor::{Shaped, Tensor};

/// Pads tensors in one launch. Each is a name, the padded tensor, and its source.
pub fn pad_planned<'py>(
    py: Python<'py>,
    plan: &BatchPlan,
    tensors: &[(String, Bound<'py, PyAny>, Bound<'py, PyAny>)],
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let mut given = Vec::with_capacity(tensors.len());
    for (name, out, src) in tensors {
        let (out, src) = (call.written(out, "out")?, call.read(src, "src")?);
        if src.element()? != out.element()? {
            let reason = format!("of `{name}` is of {}, and `out` of {}", src.element()?, out.element()?);
            return Err(Error::unusable("src", reason).into());
        }
        given.push((name.as_str(), out, src));
    }
    let stream = call.stream()?;
    let planned = given
        .iter()
        .map(|(name, out, src)| Planned::of(name, out, src))
        .collect::<Result<Vec<_>, _>>()?;
    work(py, || {
        let mut pairs = planned
            .iter()
            .map(|planned| planned.pair(&stream))
            .collect::<Result<Vec<_>, _>>()?;
        let mut padding = plan.padding();
        for (pair, planned) in pairs.iter_mut().zip(&planned) {
            pair.join(planned.name, &mut padding)?;
        }
        if !planned.is_empty() {
            padding.launch_on(&stream)?;
        }
        Ok(())
    })
}

/// Where a pair of tensors is, as rows or as elements.
#[derive(Clone, Copy)]
enum Where<'a> {
    Elements(Shaped<'a, 1>, Shaped<'a, 1>),
    Rows(Shaped<'a, 2>, Shaped<'a, 2>),
}

/// A pair where no Python runs.
struct Planned<'a> {
    name: &'a str,
    element: ElementType,
    places: Where<'a>,
    /// The source's extents on its first axes.
    extents: [u64; 2],
}

impl<'a> Planned<'a> {
    fn of(name: &'a str, out: &'a Tensor<'_>, src: &'a Tensor<'_>) -> Result<Self, Error> {
        let places = match (out.axes(), src.axes()) {
            (1, 1) => Where::Elements(out.list()?, src.list()?),
            _ => Where::Rows(out.rows()?, src.rows()?),
        };
        let extent = |axis| src.extent(axis).unwrap_or(1) as u64;
        Ok(Self {
            name,
            element: out.element()?,
            places,
            extents: [extent(0), extent(1)],
        })
    }

    fn pair(&self, stream: &Stream) -> Result<Box<dyn Join + 'a>, Error> {
        by_element!(self.element, T => self.typed::<T>(stream))
    }

    fn typed<T: Element>(&self, stream: &Stream) -> Result<Box<dyn Join + 'a>, Error> {
        let extents = self.extents;
        Ok(match self.places {
            Where::Elements(out, src) => Box::new(Pair::<T, 1>(out.write(stream)?, src.read(stream)?, extents)),
            Where::Rows(out, src) => Box::new(Pair::<T, 2>(out.write(stream)?, src.read(stream)?, extents)),
        })
    }
}

/// A pair of tensors of whatever type.
trait Join {
    fn join<'p>(&'p mut self, name: &str, padding: &mut PlannedPadding<'_, 'p>) -> Result<(), Error>;
}

struct Pair<'a, T: Element, const R: usize>(BorrowedTensorMut<'a, T, R>, BorrowedTensor<'a, T, R>, [u64; 2]);

impl<T: Element, const R: usize> Join for Pair<'_, T, R> {
    fn join<'p>(&'p mut self, name: &str, padding: &mut PlannedPadding<'_, 'p>) -> Result<(), Error> {
        let Self(out, src, extents) = self;
        // What is missing on any axis is padding: all that the source has counts.
        let axis = padding.axis(name)?.min(1);
        padding.pad(name, out, &*src, Runtime(extents[axis]))?;
        Ok(())
    }
}
