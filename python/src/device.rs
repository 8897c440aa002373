//! Devices and streams: one device for each place that tensors are in, and the streams that frameworks work on.

#![allow(unsafe_code)]

use std::path::PathBuf;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt};
use tilewright_runtime::{Device, Stream};

use crate::error::{Error, work};

/// The most GPUs of a host.
const GPUS: usize = 64;

/// A stream's handles as DLPack and the CUDA array interface write them: 0 would be ambiguous, so the default stream is
/// 1.
const LEGACY: usize = 1;

static CPU: LazyLock<Device> = LazyLock::new(Device::cpu);
static CUDA: [OnceLock<Device>; GPUS] = [const { OnceLock::new() }; GPUS];

/// The streams that were used last.
static STREAMS: Mutex<Vec<(u32, usize, Stream)>> = Mutex::new(Vec::new());
const MOST_STREAMS: usize = 64;

/// Where a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Memory of the host.
    Cpu,
    /// Memory of the host that GPUs reach.
    Pinned,
    /// Memory of a GPU, by its number.
    Cuda(u32),
}

impl Place {
    /// By DLPack's numbers.
    pub fn of((kind, number): (i32, i32)) -> Result<Self, String> {
        match (kind, u32::try_from(number)) {
            (1, _) => Ok(Self::Cpu),
            (3, _) => Ok(Self::Pinned),
            (2 | 13, Ok(number)) if (number as usize) < GPUS => Ok(Self::Cuda(number)),
            _ => Err(format!(
                "is on DLPack's device ({kind}, {number}), which is neither the CPU nor a GPU of CUDA"
            )),
        }
    }

    /// By name: `cpu`, `cuda` or `cuda:1`, or an object that shows so.
    pub fn named(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let name = object.str()?.to_string();
        let gpu = |number: &str| {
            number
                .parse()
                .ok()
                .filter(|&number: &u32| (number as usize) < GPUS)
                .map(Self::Cuda)
        };
        let place = match name.split_once(':') {
            None if name == "cpu" => Some(Self::Cpu),
            None if name == "cuda" => Some(Self::Cuda(0)),
            Some(("cuda", number)) => gpu(number),
            _ => None,
        };
        let wrong = || Error::Argument(format!("`{name}` is no device: `cpu`, `cuda` and `cuda:1` are"));
        Ok(place.ok_or_else(wrong)?)
    }

    /// As a word that tells it from other places.
    pub fn word(self) -> u64 {
        let (kind, number) = self.to_dlpack();
        (kind as u64) << 8 | number as u64
    }

    /// By DLPack's numbers.
    pub fn to_dlpack(self) -> (i32, i32) {
        match self {
            Self::Cpu => (1, 0),
            Self::Pinned => (3, 0),
            Self::Cuda(number) => (2, number as i32),
        }
    }

    /// The device that kernels run on.
    pub fn device(self) -> Result<&'static Device, Error> {
        let Self::Cuda(number) = self else { return Ok(&CPU) };
        let slot = &CUDA[number as usize];
        if let Some(device) = slot.get() {
            return Ok(device);
        }
        let device = Device::cuda(number)?;
        Ok(slot.get_or_init(|| device))
    }

    /// A stream of the place by its handle; the CPU has one.
    pub fn stream(self, handle: usize) -> Result<Stream, Error> {
        let device = self.device()?;
        let Self::Cuda(number) = self else {
            return Ok(device.stream());
        };
        let handle = normalized(handle);
        let mut streams = STREAMS.lock();
        if let Some((.., stream)) = streams
            .iter()
            .find(|(gpu, known, _)| (*gpu, *known) == (number, handle))
        {
            return Ok(stream.clone());
        }
        // SAFETY: whoever passes a handle, a framework or the caller, says that its stream lives; frameworks keep
        // theirs. It is used in calls that are given it, and what it used last of our own memory does not need it
        // afterwards.
        let stream = unsafe { Stream::from_raw(device, handle) }?;
        if streams.len() == MOST_STREAMS {
            streams.remove(0);
        }
        streams.push((number, handle, stream.clone()));
        Ok(stream)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Pinned => f.write_str("cpu (pinned)"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// The handle by which the driver knows a stream: that of the default stream has two names.
pub fn normalized(handle: usize) -> usize {
    if handle == LEGACY { 0 } else { handle }
}

/// A stream as callers name it: a handle, or an object of a framework.
pub fn stream_handle(stream: &Bound<'_, PyAny>) -> PyResult<usize> {
    if stream.is_instance_of::<PyInt>() {
        return stream.extract().map_err(|_| no_stream(stream));
    }
    for name in ["cuda_stream", "ptr", "handle"] {
        if let Some(handle) = stream.getattr_opt(name)? {
            return handle.extract().map_err(|_| no_stream(stream));
        }
    }
    match stream.getattr_opt("__cuda_stream__")? {
        Some(protocol) => Ok(protocol.call0()?.extract::<(u32, usize)>()?.1),
        None => Err(no_stream(stream)),
    }
}

fn no_stream(stream: &Bound<'_, PyAny>) -> PyErr {
    let shown = stream.repr().map(|shown| shown.to_string()).unwrap_or_default();
    Error::Argument(format!(
        "{shown} is no stream: a handle is, or a stream of torch or cupy"
    ))
    .into()
}

/// The stream that torch works on at present, if the process uses torch.
pub fn stream_of_torch(py: Python<'_>, number: u32) -> PyResult<Option<usize>> {
    let modules = py.import("sys")?.getattr("modules")?;
    let torch = modules.cast_into::<PyDict>()?.get_item("torch")?;
    match torch {
        None => Ok(None),
        Some(torch) => {
            let stream = torch.getattr("cuda")?.call_method1("current_stream", (number,))?;
            stream_handle(&stream).map(Some)
        }
    }
}

/// Waits until a device has done everything that Tilewright has asked of it on streams of its own, and reports what
/// kernels have found: a check that did not hold, a trap.
///
/// `device` is `"cpu"`, `"cuda"`, `"cuda:1"`, or a `torch.device`. Streams of torch are torch's to wait for.
#[pyfunction]
#[pyo3(signature = (device))]
pub fn synchronize(py: Python<'_>, device: &Bound<'_, PyAny>) -> PyResult<()> {
    let place = Place::named(device)?;
    work(py, || Ok(place.device()?.synchronize()?))
}

/// From now on a launch on `device` that would have to wait for a compiler is a `LaunchError`. Launches that a graph
/// captures are refused in the same way without this.
#[pyfunction]
#[pyo3(signature = (device))]
pub fn seal(py: Python<'_>, device: &Bound<'_, PyAny>) -> PyResult<()> {
    let place = Place::named(device)?;
    work(py, || {
        place.device()?.seal();
        Ok(())
    })
}

/// Launches on `device` may wait for a compiler again.
#[pyfunction]
#[pyo3(signature = (device))]
pub fn unseal(py: Python<'_>, device: &Bound<'_, PyAny>) -> PyResult<()> {
    let place = Place::named(device)?;
    work(py, || {
        place.device()?.unseal();
        Ok(())
    })
}

/// Lets what was compiled behind for `device` wait up to `seconds` until there is nothing to do, and then be loaded all the same, which
/// holds up launches; for as long as it takes if that is `None`, as it is unless something else is said.
#[pyfunction]
#[pyo3(signature = (device, seconds))]
pub fn set_patience(py: Python<'_>, device: &Bound<'_, PyAny>, seconds: Option<f64>) -> PyResult<()> {
    let place = Place::named(device)?;
    let patience = seconds.map_or(Ok(Duration::MAX), limit)?;
    work(py, || {
        place.device()?.set_patience(patience);
        Ok(())
    })
}

/// Waits up to `seconds` until nothing is being compiled behind, nor waits to be loaded, in the whole process, and says whether that
/// is so.
#[pyfunction]
#[pyo3(signature = (seconds))]
pub fn settle(py: Python<'_>, seconds: f64) -> PyResult<bool> {
    let limit = limit(seconds)?;
    work(py, || Ok(Device::settle(limit)))
}

/// Has NVRTC looked for in a folder of Python packages too.
#[pyfunction]
pub fn add_packages(folder: PathBuf) {
    tilewright_runtime::compile::add_packages(folder);
}

/// A time limit as Python gives it.
pub fn limit(seconds: f64) -> Result<Duration, Error> {
    let wrong = |_| Error::Argument(format!("{seconds} is no number of seconds to wait"));
    Duration::try_from_secs_f64(seconds).map_err(wrong)
}
