//! Buffers that grow and are reused, shown to other frameworks.

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tilewright_dp::buffer::{Arena as Rows, Pinned, Role};
use tilewright_dsl::element::ElementType;

use crate::call::by_element;
use crate::device::Place;
use crate::error::{Error, work};
use crate::plan::NativePlan;
use crate::tensor::hand_out;

/// The types of elements by the names that numpy and torch give them.
const TYPES: [(&str, ElementType); 15] = [
    ("bool", ElementType::Bool),
    ("int8", ElementType::I8),
    ("int16", ElementType::I16),
    ("int32", ElementType::I32),
    ("int64", ElementType::I64),
    ("uint8", ElementType::U8),
    ("uint16", ElementType::U16),
    ("uint32", ElementType::U32),
    ("uint64", ElementType::U64),
    ("float16", ElementType::F16),
    ("bfloat16", ElementType::BF16),
    ("float32", ElementType::F32),
    ("float64", ElementType::F64),
    ("float8_e4m3fn", ElementType::F8E4M3),
    ("float8_e5m2", ElementType::F8E5M2),
];

/// An arena, whose elements are as wide as these.
enum Sized {
    One(Rows<u8>),
    Two(Rows<u16>),
    Four(Rows<u32>),
    Eight(Rows<u64>),
}

/// Does something with the arena of whatever width.
macro_rules! each {
    ($sized:expr, $arena:ident => $body:expr) => {
        match $sized {
            Sized::One($arena) => $body,
            Sized::Two($arena) => $body,
            Sized::Four($arena) => $body,
            Sized::Eight($arena) => $body,
        }
    };
}

/// The memory of gathered buffers: it grows to the largest plan, and is reused for the others.
///
/// `Arena(columns, dtype="bfloat16", device="cpu", role="gathered")`: rows of `columns` elements of the type named, on
/// the device named. `role` is "gathered", "graph", "local", "logits" or "wire", and only said in errors. What a buffer
/// holds at first is what its last user left.
#[pyclass(module = "tilewright", frozen)]
pub struct Arena {
    rows: Mutex<Sized>,
    columns: usize,
    element: ElementType,
    place: Place,
}

#[pymethods]
impl Arena {
    #[new]
    #[pyo3(signature = (columns, dtype=None, device=None, role="gathered"))]
    fn new(
        columns: usize,
        dtype: Option<&Bound<'_, PyAny>>,
        device: Option<&Bound<'_, PyAny>>,
        role: &str,
    ) -> PyResult<Self> {
        let named = dtype.map_or(Ok("bfloat16".to_owned()), |dtype| {
            dtype.str().map(|name| name.to_string())
        })?;
        // As torch shows its types.
        let name = named.strip_prefix("torch.").unwrap_or(&named);
        let known = TYPES.into_iter().find(|&(known, ..)| known == name);
        let (_, element) = known.ok_or_else(|| {
            let known = TYPES.map(|(name, ..)| name).join(", ");
            Error::Argument(format!("there is no type `{name}`: there are {known}"))
        })?;
        let place = device.map_or(Ok(Place::Cpu), Place::named)?;
        let roles = [Role::Gathered, Role::Graph, Role::Local, Role::Logits, Role::Wire];
        let role = roles.into_iter().find(|known| known.to_string() == role);
        let role = role.ok_or_else(|| {
            let known = roles.map(|role| role.to_string()).join(", ");
            Error::Argument(format!("there is no such role: there are {known}"))
        })?;
        let device = place.device()?;
        Ok(Self {
            rows: Mutex::new(match element.size() {
                1 => Sized::One(Rows::new(device, role, columns)),
                2 => Sized::Two(Rows::new(device, role, columns)),
                4 => Sized::Four(Rows::new(device, role, columns)),
                _ => Sized::Eight(Rows::new(device, role, columns)),
            }),
            columns,
            element,
            place,
        })
    }

    /// A buffer of `rows` rows. If the arena has fewer, its memory is replaced by as much as is needed, and what was in
    /// it is lost; buffers that were given out before keep theirs.
    fn rows(&self, py: Python<'_>, rows: u64) -> PyResult<Buffer> {
        work(py, || {
            let mut sized = self.rows.lock();
            each!(&mut *sized, arena => arena.rows(rows)?.extents());
            self.buffer(&mut sized, rows)
        })
    }

    /// The gathered buffer of a plan; `None` if a graph serves the step, which has a buffer of its own.
    fn for_plan(&self, py: Python<'_>, plan: &Bound<'_, PyAny>) -> PyResult<Option<Buffer>> {
        let native = native(plan)?;
        let plan = &native.get().0;
        work(py, || {
            let mut sized = self.rows.lock();
            let has_rows = each!(&mut *sized, arena => arena.for_plan(plan)?.is_some());
            has_rows
                .then(|| self.buffer(&mut sized, plan.layout().rows()))
                .transpose()
        })
    }

    /// The buffer of the graph that serves a step, which all graphs share; `None` if the step is eager.
    fn for_graph(&self, py: Python<'_>, plan: &Bound<'_, PyAny>) -> PyResult<Option<Buffer>> {
        let native = native(plan)?;
        let plan = &native.get().0;
        work(py, || {
            let mut sized = self.rows.lock();
            let rows = each!(&mut *sized, arena => arena.for_graph(plan)?.map(|view| view.extents()[0] as u64));
            rows.map(|rows| self.buffer(&mut sized, rows)).transpose()
        })
    }

    /// Refuses to grow from now on: then `ArenaError` is raised instead.
    fn seal(&self) {
        each!(&mut *self.rows.lock(), arena => arena.seal());
    }

    /// The rows that it has memory for.
    #[getter]
    fn capacity(&self) -> u64 {
        each!(&*self.rows.lock(), arena => arena.capacity())
    }

    /// What it has used so far: `live_bytes`, `peak_bytes`, `growths`, `views`, `graph_steps`.
    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let usage = each!(&*self.rows.lock(), arena => arena.usage());
        let fields = PyDict::new(py);
        fields.set_item("live_bytes", usage.live_bytes)?;
        fields.set_item("peak_bytes", usage.peak_bytes)?;
        fields.set_item("growths", usage.growths)?;
        fields.set_item("views", usage.views)?;
        fields.set_item("graph_steps", usage.graph_steps)?;
        Ok(fields)
    }
}

impl Arena {
    fn buffer(&self, sized: &mut Sized, rows: u64) -> Result<Buffer, Error> {
        let pin = each!(sized, arena => arena.pin());
        let pin = pin.ok_or_else(|| Error::Argument("the arena has no rows yet".to_owned()))?;
        Ok(Buffer {
            pin,
            rows,
            columns: self.columns,
            element: self.element,
            place: self.place,
        })
    }
}

fn native<'py>(plan: &Bound<'py, PyAny>) -> PyResult<Bound<'py, NativePlan>> {
    let native = plan.getattr_opt("_native")?.unwrap_or_else(|| plan.clone());
    let wrong = || Error::Argument("a plan is needed, as `tilewright.plan` makes it".to_owned());
    Ok(native.cast_into::<NativePlan>().map_err(|_| wrong())?)
}

/// Rows of an arena, [rows, columns]: `torch.from_dlpack(buffer)` or `numpy.from_dlpack(buffer)` is a tensor over them,
/// in place. The memory stays as long as one of these lives. Tilewright's functions take it as it is.
#[pyclass(module = "tilewright", frozen)]
pub struct Buffer {
    pin: Pinned,
    rows: u64,
    columns: usize,
    element: ElementType,
    place: Place,
}

#[pymethods]
impl Buffer {
    /// `(rows, columns)`.
    #[getter]
    fn shape(&self) -> (u64, usize) {
        (self.rows, self.columns)
    }

    fn __dlpack_device__(&self) -> (i32, i32) {
        self.place.to_dlpack()
    }

    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<i64>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let refused = pyo3::exceptions::PyBufferError::new_err;
        if max_version.is_none_or(|(major, _)| major < 1) {
            return Err(refused("a buffer is shown by DLPack 1.0 or later"));
        }
        if dl_device.is_some_and(|device| device != self.place.to_dlpack()) || copy == Some(true) {
            return Err(refused(
                "a buffer is shown where it is: copy the tensor that is made of it",
            ));
        }
        // Who wants no order, -1, gets that of the default stream.
        let handle = stream.and_then(|stream| usize::try_from(stream).ok()).unwrap_or(0);
        let (hold, extents) = (self.pin.hold(), [self.rows as usize, self.columns]);
        let shown = work(py, || {
            let stream = self.place.stream(handle)?;
            Ok(by_element!(self.element, T => hold.to_dlpack::<T, 2>(&stream, extents)?))
        })?;
        hand_out(py, shown)
    }
}
