//! DLPack's exchange table: how a type of tensors shows them without a call of Python.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use parking_lot::Mutex;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyType};
use tilewright_runtime::tensor::dlpack::{DLDataType, DLDevice, DLPackVersion, DLTensor};

/// The name of the attribute, and that of its capsule.
const ATTRIBUTE: &str = "__dlpack_c_exchange_api__";
const CAPSULE: &std::ffi::CStr = c"dlpack_exchange_api";

/// What all versions of the table begin with.
#[repr(C)]
struct Header {
    version: DLPackVersion,
    previous: *const Header,
}

/// The table of DLPack 1.3, as its header has it.
#[repr(C)]
pub struct ExchangeTable {
    header: Header,
    allocate: *const c_void,
    managed_from_object: *const c_void,
    managed_to_object: *const c_void,
    tensor_from_object: Option<unsafe extern "C" fn(*mut PyObject, *mut DLTensor) -> c_int>,
    current_stream: Option<unsafe extern "C" fn(i32, i32, *mut *mut c_void) -> c_int>,
}

// SAFETY: a table is constant, and lives as long as the process.
unsafe impl Sync for ExchangeTable {}
// SAFETY: as above.
unsafe impl Send for ExchangeTable {}

/// A type that was seen, and its table if it has one. The type is kept, so that no other one has its address.
struct Seen {
    kind: Py<PyType>,
    shower: Option<Shower>,
}

/// How objects of a type are shown.
#[derive(Clone, Copy)]
pub struct Shower {
    table: &'static ExchangeTable,
    /// What the type calls `is_neg`, found once: it is asked of every tensor of floats. The type lends it, and is kept.
    is_negated: Option<NonNull<PyObject>>,
}

// SAFETY: the object is only used by threads that are attached to Python.
unsafe impl Send for Shower {}

/// Types are few: subclasses of a framework's tensor have its table each.
static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

/// The most types that are remembered.
const MOST_SEEN: usize = 256;

thread_local! {
    /// The type that this thread saw last, of those that are kept: most calls have tensors of one.
    static LAST: Cell<Option<(NonNull<PyTypeObject>, Option<Shower>)>> = const { Cell::new(None) };
}

impl Shower {
    /// That of an object's type.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let kind = NonNull::new(object.get_type_ptr());
        if let Some((last, shower)) = LAST.get()
            && Some(last) == kind
        {
            return Ok(shower);
        }
        Self::find(kind, object)
    }

    #[inline(never)]
    fn find(kind: Option<NonNull<PyTypeObject>>, object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        // Nothing of Python is called while the lock is held.
        let seen = SEEN
            .lock()
            .iter()
            .find(|seen| Some(seen.kind.as_ptr().cast()) == kind.map(NonNull::as_ptr))
            .map(|seen| seen.shower);
        match seen {
            Some(shower) => {
                LAST.set(kind.map(|kind| (kind, shower)));
                Ok(shower)
            }
            None => Self::look(&object.get_type()),
        }
    }

    #[cold]
    fn look(kind: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
        let table = match kind.getattr_opt(ATTRIBUTE)? {
            Some(capsule) => ExchangeTable::in_capsule(&capsule),
            None => None,
        };
        // Kept for ever, as the type is.
        let is_negated = match table {
            Some(_) => kind.getattr_opt("is_neg")?.map(Bound::into_ptr),
            None => None,
        };
        let shower = table.map(|table| Self {
            table,
            is_negated: is_negated.and_then(NonNull::new),
        });
        let seen = Seen {
            kind: kind.clone().unbind(),
            shower,
        };
        let mut all = SEEN.lock();
        if all.len() < MOST_SEEN {
            all.push(seen);
        }
        Ok(shower)
    }

    /// The table of the type.
    pub fn table(self) -> &'static ExchangeTable {
        self.table
    }

    /// Whether a number of the tensor is the negative of what is in memory.
    pub fn is_negated(self, object: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(ask) = self.is_negated else { return Ok(false) };
        // SAFETY: the function is kept for ever, and the thread is attached to Python.
        let answer = unsafe {
            let answer = ffi::PyObject_CallFunctionObjArgs(ask.as_ptr(), object.as_ptr(), ptr::null_mut::<PyObject>());
            Bound::from_owned_ptr_or_err(object.py(), answer)?
        };
        answer.is_truthy()
    }
}

impl ExchangeTable {
    fn in_capsule(capsule: &Bound<'_, PyAny>) -> Option<&'static Self> {
        let capsule = capsule.cast::<PyCapsule>().ok()?;
        let mut header = capsule
            .pointer_checked(Some(CAPSULE))
            .ok()?
            .as_ptr()
            .cast_const()
            .cast::<Header>();
        // SAFETY: a capsule of that name holds a table, which lives as long as the process; each names the one before.
        unsafe {
            while !header.is_null() && (*header).version.major != 1 {
                header = (*header).previous;
            }
            let table = header.cast::<Self>().as_ref()?;
            table.tensor_from_object.is_some().then_some(table)
        }
    }

    /// The tensor that an object of the type is. It borrows from the object.
    pub fn tensor(&self, object: &Bound<'_, PyAny>) -> PyResult<DLTensor> {
        let mut tensor = DLTensor {
            data: ptr::null_mut(),
            device: DLDevice {
                device_type: 0,
                device_id: 0,
            },
            ndim: 0,
            dtype: DLDataType {
                code: 0,
                bits: 0,
                lanes: 0,
            },
            shape: ptr::null_mut(),
            strides: ptr::null_mut(),
            byte_offset: 0,
        };
        let Some(show) = self.tensor_from_object else {
            return Err(pyo3::exceptions::PyBufferError::new_err("the type shows no tensors"));
        };
        // SAFETY: the object is of the table's type, and the thread is attached to Python.
        match unsafe { show(object.as_ptr(), &raw mut tensor) } {
            0 => Ok(tensor),
            _ => Err(PyErr::fetch(object.py())),
        }
    }

    /// The stream that the framework works on at present, by its handle.
    pub fn stream(&self, py: Python<'_>, device: DLDevice) -> PyResult<usize> {
        let mut stream = ptr::null_mut();
        let Some(ask) = self.current_stream else { return Ok(0) };
        // SAFETY: the device is one of a tensor that the table has shown.
        match unsafe { ask(device.device_type, device.device_id, &raw mut stream) } {
            0 => Ok(NonNull::new(stream).map_or(0, |stream| stream.as_ptr().addr())),
            _ => Err(PyErr::fetch(py)),
        }
    }
}
