//! DLPack's capsules: what `__dlpack__` hands over, and what is handed out.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};
use tilewright_runtime::tensor::dlpack::{DLManagedTensorVersioned, DLPackVersion, DLTensor, Dlpack};

const VERSIONED: &CStr = c"dltensor_versioned";
const USED_VERSIONED: &CStr = c"used_dltensor_versioned";
const OLD: &CStr = c"dltensor";
const USED_OLD: &CStr = c"used_dltensor";

/// The flag of a tensor that must not be written.
const READ_ONLY: u64 = 1;

/// A managed tensor of before version 1.
#[repr(C)]
struct ManagedTensor {
    tensor: DLTensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut ManagedTensor)>,
}

/// A tensor that was handed over. Dropping it gives it back.
pub enum Lent {
    Old(NonNull<c_void>),
    Versioned(NonNull<DLManagedTensorVersioned>),
}

impl Lent {
    /// Asks an object for its tensor, to be used on a stream of DLPack's numbering.
    pub fn ask(object: &Bound<'_, PyAny>, stream: Option<usize>) -> PyResult<Self> {
        let py = object.py();
        let arguments = PyDict::new(py);
        if let Some(stream) = stream {
            arguments.set_item("stream", stream)?;
        }
        arguments.set_item("max_version", (1, 0))?;
        let ask = object.getattr("__dlpack__")?;
        let capsule = match ask.call((), Some(&arguments)) {
            // Producers of before version 1 know no such keyword.
            Err(error) if error.is_instance_of::<PyTypeError>(py) => {
                arguments.del_item("max_version")?;
                ask.call((), Some(&arguments))?
            }
            asked => asked?,
        };
        Self::take(&capsule)
    }

    fn take(capsule: &Bound<'_, PyAny>) -> PyResult<Self> {
        let capsule = capsule.cast::<PyCapsule>()?;
        let is_versioned = capsule.is_valid_checked(Some(VERSIONED));
        let (name, used) = if is_versioned {
            (VERSIONED, USED_VERSIONED)
        } else {
            (OLD, USED_OLD)
        };
        let pointer = capsule.pointer_checked(Some(name))?;
        // SAFETY: it is a capsule, whose owner leaves the tensor to whoever renames it.
        if unsafe { ffi::PyCapsule_SetName(capsule.as_ptr(), used.as_ptr()) } != 0 {
            return Err(PyErr::fetch(capsule.py()));
        }
        if !is_versioned {
            return Ok(Self::Old(pointer));
        }
        let lent = Self::Versioned(pointer.cast());
        // SAFETY: the version comes first in all of them.
        let version = unsafe { pointer.cast::<DLPackVersion>().read() };
        match version.major {
            1 => Ok(lent),
            _ => {
                // How it is given back is not known.
                std::mem::forget(lent);
                let DLPackVersion { major, minor } = version;
                Err(PyBufferError::new_err(format!(
                    "DLPack {major}.{minor} was given where 1.0 was asked for"
                )))
            }
        }
    }

    pub fn tensor(&self) -> &DLTensor {
        // SAFETY: a managed tensor is there until it is given back, and has the layout of its kind.
        unsafe {
            match self {
                Self::Old(managed) => &managed.cast::<ManagedTensor>().as_ref().tensor,
                Self::Versioned(managed) => &managed.as_ref().dl_tensor,
            }
        }
    }

    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Old(_) => false,
            // SAFETY: as above.
            Self::Versioned(managed) => unsafe { managed.as_ref() }.flags & READ_ONLY != 0,
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: it was taken over, and is given back once.
        unsafe {
            match self {
                Self::Old(managed) => {
                    let managed = managed.cast::<ManagedTensor>().as_ptr();
                    if let Some(delete) = (*managed).deleter {
                        delete(managed);
                    }
                }
                Self::Versioned(managed) => {
                    if let Some(delete) = managed.as_ref().deleter {
                        delete(managed.as_ptr());
                    }
                }
            }
        }
    }
}

/// A capsule of a tensor of ours, which is given back with the capsule if nobody takes it.
pub fn hand_out(py: Python<'_>, tensor: Dlpack) -> PyResult<Bound<'_, PyAny>> {
    unsafe extern "C" fn destroy(capsule: *mut ffi::PyObject) {
        // SAFETY: Python calls it once, with the capsule. A consumer has renamed one that it took.
        unsafe {
            if ffi::PyCapsule_IsValid(capsule, VERSIONED.as_ptr()) == 1 {
                let managed = ffi::PyCapsule_GetPointer(capsule, VERSIONED.as_ptr()).cast();
                drop(NonNull::new(managed).map(Lent::Versioned));
            }
        }
    }
    // SAFETY: the name lives as long as the process, and the tensor until it is given back.
    unsafe {
        let capsule = ffi::PyCapsule_New(tensor.into_raw().cast(), VERSIONED.as_ptr(), Some(destroy));
        Bound::from_owned_ptr_or_err(py, capsule)
    }
}
