//! Plans: requests in by the names of their fields, plans out the same way, as `tilewright plan --json` has them.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tilewright_dp::plan::{BatchPlan, Fill, ForwardMode, Plan, Profile, Request};

use crate::error::{Error, work};
use crate::planned::pad_planned;

/// A plan as the library has it. `tilewright.Plan` shows its fields.
#[pyclass(module = "tilewright._native", name = "NativePlan", frozen)]
pub struct NativePlan(pub Plan);

/// The plan of one request, whose fields are those of `tilewright plan --json`.
#[pyfunction]
pub fn plan(py: Python<'_>, request: &Bound<'_, PyDict>) -> PyResult<NativePlan> {
    let read = pythonize::depythonize::<Request>(request);
    let request = read.map_err(|error| Error::Request(error.to_string()))?;
    work(py, || Ok(NativePlan(Plan::new(&request)?)))
}

/// The names of all profiles, the oldest first.
#[pyfunction]
pub fn profiles() -> Vec<&'static str> {
    Profile::ALL.map(Profile::name).to_vec()
}

#[pymethods]
impl NativePlan {
    /// The fields, as a dictionary.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        pythonize::pythonize(py, &self.0).map_err(|error| Error::Request(error.to_string()).into())
    }

    /// Why it is as it is.
    fn explain(&self) -> String {
        self.0.explain().to_string()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    /// Where a rank's rows lie: its first row of the buffer, its rows, and those of them that are tokens.
    fn slot(&self, rank: u64) -> PyResult<(u64, u64, u64)> {
        let slot = self.0.slot(rank).map_err(Error::from)?;
        Ok((slot.start, slot.rows, slot.tokens))
    }

    /// How a rank's batch is padded.
    fn batch(&self, rank: u64, forward: &str, requests: u64) -> PyResult<NativeBatch> {
        let forward = forward_of(forward)?;
        Ok(NativeBatch(self.0.batch(rank, forward, requests).map_err(Error::from)?))
    }
}

/// How a batch is padded, as the library has it. `tilewright.BatchPlan` shows its fields.
#[pyclass(module = "tilewright._native", name = "NativeBatch", frozen)]
pub struct NativeBatch(pub BatchPlan);

#[pymethods]
impl NativeBatch {
    /// The fields, as a dictionary.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        fields_of(py, &self.0)
    }

    /// Pads tensors by name in one launch: triples of a name, the padded tensor, and its source.
    #[pyo3(signature = (tensors, *, stream=None))]
    fn pad<'py>(
        &self,
        py: Python<'py>,
        tensors: Vec<(String, Bound<'py, PyAny>, Bound<'py, PyAny>)>,
        stream: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        pad_planned(py, &self.0, &tensors, stream)
    }
}

const FORWARDS: [(&str, ForwardMode); 7] = [
    ("idle", ForwardMode::Idle),
    ("decode", ForwardMode::Decode),
    ("extend", ForwardMode::Extend),
    ("mixed", ForwardMode::Mixed),
    ("draft_decode", ForwardMode::DraftDecode),
    ("target_verify", ForwardMode::TargetVerify),
    ("draft_extend", ForwardMode::DraftExtend),
];

fn forward_of(name: &str) -> Result<ForwardMode, Error> {
    let found = FORWARDS.into_iter().find(|&(known, _)| known == name);
    found.map(|(_, forward)| forward).ok_or_else(|| {
        let known = FORWARDS.map(|(name, _)| name).join(", ");
        Error::Argument(format!("there is no forward `{name}`: there are {known}"))
    })
}

fn fields_of<'py>(py: Python<'py>, batch: &BatchPlan) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    let forward = FORWARDS.into_iter().find(|&(_, forward)| forward == batch.forward);
    fields.set_item("forward", forward.map(|(name, _)| name))?;
    fields.set_item("rows", batch.rows)?;
    fields.set_item("requests", batch.requests)?;
    fields.set_item("is_dummy", batch.is_dummy)?;
    fields.set_item("real_rows", batch.real_rows)?;
    fields.set_item("kept", batch.kept)?;
    fields.set_item("sequence_lengths_added", batch.sequence_lengths_added)?;
    let tensors = batch.tensors.iter().map(|padding| {
        let (fill, value) = match padding.fill {
            Fill::Value(value) => ("value", Some(value)),
            Fill::Nothing => ("nothing", None),
            Fill::Stale => ("stale", None),
        };
        (padding.tensor, padding.axis, padding.length, fill, value)
    });
    fields.set_item("tensors", tensors.collect::<Vec<_>>())?;
    Ok(fields)
}
