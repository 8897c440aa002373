//! Errors as Python exceptions, and work that others' threads need not wait for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use tilewright_dp::batch::PaddingError;
use tilewright_dp::buffer::BufferError;
use tilewright_dp::collective::CollectiveError;
use tilewright_dp::plan::PlanError;
use tilewright_runtime::{DeviceError, LaunchError, TensorError};

/// The classes, which are written in Python: so they have two bases each, and `help()` shows them as others.
mod class {
    use pyo3::import_exception;

    import_exception!(tilewright.errors, ArenaError);
    import_exception!(tilewright.errors, ArgumentError);
    import_exception!(tilewright.errors, CollectiveError);
    import_exception!(tilewright.errors, DeviceError);
    import_exception!(tilewright.errors, InternalError);
    import_exception!(tilewright.errors, LaunchError);
    import_exception!(tilewright.errors, PaddingError);
    import_exception!(tilewright.errors, PlanError);
    import_exception!(tilewright.errors, TensorError);
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument that is no tensor.
    #[error("{0}")]
    Argument(String),
    /// A tensor that cannot be used.
    #[error("`{name}` {reason}")]
    Unusable {
        /// The argument.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A request that cannot be read.
    #[error("{0}")]
    Request(String),
    /// A fault of ours.
    #[error("{0}")]
    Panicked(String),
    /// As the planner says.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// As the library says of a tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// As the padding of a batch says.
    #[error(transparent)]
    Padding(#[from] PaddingError),
    /// As an arena says.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// As a launch says.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// As a collective says.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// As a device says.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl Error {
    /// A tensor that cannot be used.
    pub fn unusable(name: &str, reason: impl Into<String>) -> Self {
        Self::Unusable {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let words = error.to_string();
        match error {
            Error::Argument(_) => class::ArgumentError::new_err(words),
            Error::Unusable { .. } | Error::Tensor(_) => class::TensorError::new_err(words),
            Error::Request(_) | Error::Plan(_) => class::PlanError::new_err(words),
            Error::Panicked(_) => class::InternalError::new_err(words),
            // What is wrong with a launch or a tensor is that wherever it was found.
            Error::Padding(PaddingError::Launch(_)) | Error::Launch(_) => class::LaunchError::new_err(words),
            Error::Padding(PaddingError::Tensor(_)) => class::TensorError::new_err(words),
            Error::Padding(_) => class::PaddingError::new_err(words),
            Error::Buffer(_) => class::ArenaError::new_err(words),
            Error::Collective(_) => class::CollectiveError::new_err(words),
            Error::Device(_) => class::DeviceError::new_err(words),
        }
    }
}

/// Does something while other threads run Python. A panic becomes an exception.
pub fn work<T: Send>(py: Python<'_>, body: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    let done = py.detach(|| catch_unwind(AssertUnwindSafe(body)));
    let result = done.unwrap_or_else(|panic| Err(Error::Panicked(said_by(&*panic))));
    Ok(result?)
}

fn said_by(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let said = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!(
        "Tilewright panicked, which is a fault of its own: {}",
        said.unwrap_or("without a word")
    )
}
