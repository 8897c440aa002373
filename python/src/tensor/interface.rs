//! `__cuda_array_interface__`: tensors of before DLPack.

#![allow(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tilewright_runtime::device::cuda::cudarc::driver::sys::{self, CUpointer_attribute};
use tilewright_runtime::tensor::dlpack::DLDataType;

use crate::error::Error;

/// What the interface says.
pub struct Described {
    pub address: u64,
    pub read_only: bool,
    pub dtype: DLDataType,
    pub extents: Vec<usize>,
    /// In bytes; none without gaps.
    pub strides: Option<Vec<i64>>,
    /// The stream that the tensor may still be written on.
    pub stream: Option<usize>,
}

/// Reads the attribute, if the object has it.
pub fn described(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Described>> {
    let Some(interface) = object.getattr_opt("__cuda_array_interface__")? else {
        return Ok(None);
    };
    let interface = interface.cast_into::<PyDict>().map_err(PyErr::from)?;
    let field = |key: &str| {
        let found = interface.get_item(key)?;
        found.ok_or_else(|| {
            PyErr::from(Error::unusable(
                name,
                format!("has a CUDA array interface without `{key}`"),
            ))
        })
    };
    let optional = |key: &str| Ok::<_, PyErr>(interface.get_item(key)?.filter(|value| !value.is_none()));
    let typestr: String = field("typestr")?.extract()?;
    let (address, read_only) = field("data")?.extract()?;
    Ok(Some(Described {
        address,
        read_only,
        dtype: data_type(&typestr).ok_or_else(|| Error::unusable(name, format!("has elements of type {typestr}")))?,
        extents: field("shape")?.extract()?,
        strides: optional("strides")?.map(|strides| strides.extract()).transpose()?,
        stream: optional("stream")?.map(|stream| stream.extract()).transpose()?,
    }))
}

/// A type by numpy's letters, such as `<f4`.
fn data_type(typestr: &str) -> Option<DLDataType> {
    let mut letters = typestr.chars();
    let order = letters.next()?;
    let code = match letters.next()? {
        'i' => 0,
        'u' => 1,
        'f' => 2,
        'b' => 6,
        _ => return None,
    };
    let bytes: u8 = letters
        .as_str()
        .parse()
        .ok()
        .filter(|bytes| [1, 2, 4, 8].contains(bytes))?;
    (order != '>' || bytes == 1).then_some(DLDataType {
        code,
        bits: bytes * 8,
        lanes: 1,
    })
}

/// The GPU that an address is memory of, by its number. A driver has to be loaded.
pub fn gpu_of(address: u64) -> Option<i32> {
    let mut ordinal = 0i32;
    let attribute = CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL;
    // SAFETY: the attribute is a number of 32 bits; of an address that it does not know the driver says so.
    let asked = unsafe { sys::cuPointerGetAttribute((&raw mut ordinal).cast(), attribute, address) };
    asked.result().is_ok().then_some(ordinal)
}
