//! Tensors of Python: of whatever framework, used where they are.
//!
//! | how a tensor is found | of whom |
//! |---|---|
//! | `exchange`: a table of functions of its type | torch from 2.10 on |
//! | `capsule`: `__dlpack__` | numpy, cupy, jax, older torch |
//! | `interface`: `__cuda_array_interface__` | numba and others |

mod capsule;
mod exchange;
mod interface;
mod shaped;

use std::marker::PhantomData;
use std::slice;

use arrayvec::ArrayVec;
use pyo3::intern;
use pyo3::prelude::*;
use tilewright_dsl::element::{Element, ElementType};
use tilewright_runtime::tensor::dlpack::{DLDataType, DLTensor};

pub use capsule::hand_out;
pub use exchange::{ExchangeTable, Shower};
pub use shaped::{Shaped, Typed};

use crate::device::Place;
use crate::error::Error;
use crate::kept::Shown;
use capsule::Lent;
use interface::Described;

/// The most axes of a tensor, before those that follow each other are joined.
const MAX_AXES: usize = 8;

/// DLPack's codes of types.
const INT: u8 = 0;
const UINT: u8 = 1;
const FLOAT: u8 = 2;
const BFLOAT: u8 = 4;
const BOOL: u8 = 6;

/// A tensor that a call was given.
pub struct Tensor<'py> {
    name: &'static str,
    address: u64,
    extents: ArrayVec<usize, MAX_AXES>,
    /// In elements.
    strides: ArrayVec<i64, MAX_AXES>,
    dtype: DLDataType,
    width: usize,
    place: Place,
    read_only: bool,
    /// The stream of DLPack's kind that its framework works on, or that it may still be written on.
    origin: Origin,
    object: Bound<'py, PyAny>,
    /// Given back with the tensor.
    _lent: Option<Lent>,
}

/// Who orders what is done with a tensor.
#[derive(Clone, Copy)]
pub enum Origin {
    /// The framework says on which stream it works.
    Table(&'static ExchangeTable),
    /// It was asked for the stream that was found before.
    Asked,
    /// It may still be written on a stream of its own.
    Producer(usize),
}

impl<'py> Tensor<'py> {
    /// What an object shows. `stream` tells the stream on which it will be used, for those that have to know.
    pub fn of(
        object: &Bound<'py, PyAny>,
        name: &'static str,
        stream: impl FnOnce(Place) -> PyResult<Option<usize>>,
    ) -> PyResult<Self> {
        let py = object.py();
        if let Some(shower) = Shower::of(object)? {
            let table = shower.table();
            let tensor = table.tensor(object)?;
            // The table shows a number whose sign is yet to be changed as it is in memory.
            if [FLOAT, BFLOAT].contains(&tensor.dtype.code) && shower.is_negated(object)? {
                let reason = "is to be negated yet: pass `.resolve_neg()`";
                return Err(Error::unusable(name, reason).into());
            }
            return Self::shown(object, name, &tensor, false, Origin::Table(table), None);
        }
        if object.hasattr(intern!(py, "__dlpack__"))? {
            let place: (i32, i32) = object.call_method0(intern!(py, "__dlpack_device__"))?.extract()?;
            let lent = Lent::ask(
                object,
                stream(Place::of(place).map_err(|why| Error::unusable(name, why))?)?,
            )?;
            let tensor = DLTensor { ..*lent.tensor() };
            let read_only = lent.is_read_only();
            return Self::shown(object, name, &tensor, read_only, Origin::Asked, Some(lent));
        }
        if let Some(described) = interface::described(object, name)? {
            return Ok(Self::described(object, name, described)?);
        }
        let kind = object.get_type().fully_qualified_name()?;
        let reason = format!(
            "is of type {kind}, which is no tensor: a tensor of torch or numpy is needed, or another that has \
             `__dlpack__` or `__cuda_array_interface__`"
        );
        Err(Error::unusable(name, reason).into())
    }

    /// Whether an object shows a tensor at all.
    pub fn is_one(object: &Bound<'py, PyAny>) -> PyResult<bool> {
        let py = object.py();
        Ok(Shower::of(object)?.is_some()
            || object.hasattr(intern!(py, "__dlpack__"))?
            || object.hasattr(intern!(py, "__cuda_array_interface__"))?)
    }

    #[allow(unsafe_code)]
    fn shown(
        object: &Bound<'py, PyAny>,
        name: &'static str,
        tensor: &DLTensor,
        read_only: bool,
        origin: Origin,
        lent: Option<Lent>,
    ) -> PyResult<Self> {
        let refused = |reason: String| PyErr::from(Error::unusable(name, reason));
        let axes = usize::try_from(tensor.ndim).ok().filter(|&axes| axes <= MAX_AXES);
        let axes = axes.ok_or_else(|| refused(format!("has {} axes, of at most {MAX_AXES}", tensor.ndim)))?;
        if axes > 0 && tensor.shape.is_null() {
            return Err(refused("has no extents".to_owned()));
        }
        // SAFETY: a tensor with axes has so many extents, and as many strides or none.
        let (shape, strides) = unsafe {
            let list = |start: *mut i64| match axes == 0 || start.is_null() {
                true => &[],
                false => slice::from_raw_parts(start, axes),
            };
            (list(tensor.shape), list(tensor.strides))
        };
        let extent = |&extent: &i64| usize::try_from(extent).map_err(|_| refused(format!("has an extent of {extent}")));
        let mut extents = ArrayVec::new();
        for each in shape {
            extents.push(extent(each)?);
        }
        let strides = match strides {
            [] => without_gaps(&extents),
            strides => strides.iter().copied().collect(),
        };
        // Of no elements there is no place.
        let address = match tensor.data.addr() as u64 {
            0 => Some(0),
            data => data.checked_add(tensor.byte_offset),
        };
        let place = (tensor.device.device_type, tensor.device.device_id);
        Ok(Self {
            name,
            address: address.ok_or_else(|| refused("begins behind the address space".to_owned()))?,
            extents,
            strides,
            dtype: tensor.dtype,
            width: width(tensor.dtype).map_err(refused)?,
            place: Place::of(place).map_err(refused)?,
            read_only,
            origin,
            object: object.clone(),
            _lent: lent,
        })
    }

    fn described(object: &Bound<'py, PyAny>, name: &'static str, described: Described) -> Result<Self, Error> {
        let refused = |reason: String| Error::unusable(name, reason);
        let width = width(described.dtype).map_err(refused)?;
        if described.extents.len() > MAX_AXES {
            let axes = described.extents.len();
            return Err(refused(format!("has {axes} axes, of at most {MAX_AXES}")));
        }
        let extents: ArrayVec<_, MAX_AXES> = described.extents.iter().copied().collect();
        let strides = match &described.strides {
            None => without_gaps(&extents),
            Some(strides) if strides.len() != extents.len() => {
                return Err(refused("has more or fewer strides than axes".to_owned()));
            }
            Some(strides) if strides.iter().any(|stride| stride % width as i64 != 0) => {
                return Err(refused("has strides that are no multiples of its elements".to_owned()));
            }
            Some(strides) => strides.iter().map(|stride| stride / width as i64).collect(),
        };
        // A driver is loaded where there is a GPU, and only there.
        Place::Cuda(0).device()?;
        let place = match described.address {
            0 => Place::Cuda(0),
            address => Place::of((2, interface::gpu_of(address).unwrap_or(0))).map_err(refused)?,
        };
        Ok(Self {
            name,
            address: described.address,
            extents,
            strides,
            dtype: described.dtype,
            width,
            place,
            read_only: described.read_only,
            origin: described.stream.map_or(Origin::Asked, Origin::Producer),
            object: object.clone(),
            _lent: None,
        })
    }

    /// Notes all that it shows, beginning with a word that is not 0.
    #[inline]
    pub fn note(&self, shown: &mut Shown) {
        let DLDataType { code, bits, lanes } = self.dtype;
        let axes = self.extents.len() as u64;
        let kind = u64::from(code) << 56 | u64::from(bits) << 48 | u64::from(lanes) << 32;
        shown.note([kind | self.place.word() << 8 | axes << 1 | 1, self.address]);
        shown.note(self.extents.iter().map(|&extent| extent as u64));
        shown.note(self.strides.iter().map(|stride| stride.cast_unsigned()));
    }

    /// Refuses a tensor that must not be written.
    pub fn check_writable(&self) -> PyResult<()> {
        if self.read_only {
            let reason = "is read-only: copy it, or ask its owner for one that may be written";
            return Err(Error::unusable(self.name, reason).into());
        }
        // A framework that keeps gradients, which integers have none of, would not see that it is written.
        if let Origin::Table(_) = self.origin
            && ![INT, UINT, BOOL].contains(&self.dtype.code)
            && let Some(required) = self.object.getattr_opt(intern!(self.object.py(), "requires_grad"))?
            && required.is_truthy()?
        {
            let reason = "requires a gradient, and what is written here is not recorded: pass `.detach()`";
            return Err(Error::unusable(self.name, reason).into());
        }
        Ok(())
    }

    /// What its argument is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Who orders what is done with it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Bytes of an element.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of axes.
    pub fn axes(&self) -> usize {
        self.extents.len()
    }

    /// The extent of an axis.
    pub fn extent(&self, axis: usize) -> Option<usize> {
        self.extents.get(axis).copied()
    }

    /// The type of its elements, if kernels can compute with them.
    pub fn element(&self) -> Result<ElementType, Error> {
        let DLDataType { code, bits, lanes } = self.dtype;
        let element = match (code, bits, lanes) {
            (0, 8, 1) => ElementType::I8,
            (0, 16, 1) => ElementType::I16,
            (0, 32, 1) => ElementType::I32,
            (0, 64, 1) => ElementType::I64,
            (1, 8, 1) => ElementType::U8,
            (1, 16, 1) => ElementType::U16,
            (1, 32, 1) => ElementType::U32,
            (1, 64, 1) => ElementType::U64,
            (2, 16, 1) => ElementType::F16,
            (2, 32, 1) => ElementType::F32,
            (2, 64, 1) => ElementType::F64,
            (4, 16, 1) => ElementType::BF16,
            (6, 8, 1) => ElementType::Bool,
            (10, 8, 1) => ElementType::F8E4M3,
            (12, 8, 1) => ElementType::F8E5M2,
            _ => {
                let reason = format!("has elements of {}, which are only moved", shown(self.dtype));
                return Err(Error::unusable(self.name, reason));
            }
        };
        Ok(element)
    }

    /// Refuses tensors whose elements are not those of another: of one type, or as wide as unsigned numbers that stand
    /// for any bits.
    pub fn moves_to(&self, out: &Self) -> Result<(), Error> {
        let is_bits = |dtype: DLDataType| dtype.code == 1 && dtype.lanes == 1;
        let fits = self.dtype == out.dtype || self.width == out.width && (is_bits(self.dtype) || is_bits(out.dtype));
        match fits {
            true => Ok(()),
            false => {
                let (src, dst) = (shown(self.dtype), shown(out.dtype));
                let reason = format!("has elements of {src} and `{}` of {dst}", out.name);
                Err(Error::unusable(self.name, reason))
            }
        }
    }

    /// `[n]`, of a tensor of one axis.
    pub fn list(&self) -> Result<Shaped<'_, 1>, Error> {
        self.exactly("one axis")
    }

    /// A single element, with one axis or none.
    pub fn single(&self) -> Result<Shaped<'_, 1>, Error> {
        if self.extents.iter().product::<usize>() != 1 {
            let reason = format!("has extents {:?} where one number is needed", self.extents);
            return Err(Error::unusable(self.name, reason));
        }
        Ok(self.shaped([1], [1]))
    }

    /// `[n, k]`, of a tensor of two axes.
    pub fn matrix(&self) -> Result<Shaped<'_, 2>, Error> {
        self.exactly("two axes")
    }

    /// `[a, b, c]`, of a tensor of three axes.
    pub fn cube(&self) -> Result<Shaped<'_, 3>, Error> {
        self.exactly("three axes")
    }

    /// `[n, columns]`: the first axis, and all others as one.
    pub fn rows(&self) -> Result<Shaped<'_, 2>, Error> {
        let Some((&rows, rest)) = self.extents.split_first() else {
            return Err(Error::unusable(self.name, "has no axes where rows are needed"));
        };
        let (columns, stride) = self.joined(rest, &self.strides[1..])?;
        Ok(self.shaped([rows, columns], [self.strides[0], stride]))
    }

    /// `[before, n, after]`: an axis, and all others before and behind it as one each.
    pub fn along(&self, axis: usize) -> Result<Shaped<'_, 3>, Error> {
        let (extents, strides) = (&self.extents, &self.strides);
        let Some(&extent) = extents.get(axis) else {
            let reason = format!("has extents {extents:?}, and no axis {axis}");
            return Err(Error::unusable(self.name, reason));
        };
        let (before, outer) = self.joined(&extents[..axis], &strides[..axis])?;
        let (after, inner) = self.joined(&extents[axis + 1..], &strides[axis + 1..])?;
        Ok(self.shaped([before, extent, after], [outer, strides[axis], inner]))
    }

    /// `[n]` of elements of one type.
    ///
    /// # Errors
    /// It has another type, or more or fewer axes.
    pub fn list_of<T: Element>(&self) -> Result<Typed<'_, T, 1>, Error> {
        self.typed(self.list()?)
    }

    /// `[n, k]` of elements of one type.
    ///
    /// # Errors
    /// As for [`list_of`](Self::list_of).
    pub fn matrix_of<T: Element>(&self) -> Result<Typed<'_, T, 2>, Error> {
        self.typed(self.matrix()?)
    }

    fn typed<'a, T: Element, const R: usize>(&'a self, place: Shaped<'a, R>) -> Result<Typed<'a, T, R>, Error> {
        match self.element()? {
            element if element == T::TYPE => Ok(Typed {
                place,
                element: PhantomData,
            }),
            element => Err(Error::unusable(
                self.name,
                format!("is of {element} where {} is needed", T::TYPE),
            )),
        }
    }

    fn exactly<const R: usize>(&self, what: &str) -> Result<Shaped<'_, R>, Error> {
        match (self.extents.as_slice().try_into(), self.strides.as_slice().try_into()) {
            (Ok(extents), Ok(strides)) => Ok(self.shaped(extents, strides)),
            _ => {
                let reason = format!("has extents {:?} where {what} are needed", self.extents);
                Err(Error::unusable(self.name, reason))
            }
        }
    }

    fn shaped<const R: usize>(&self, extents: [usize; R], strides: [i64; R]) -> Shaped<'_, R> {
        Shaped {
            address: self.address,
            extents,
            strides,
            width: self.width,
            is_known: matches!(self.origin, Origin::Table(_)),
            kept: PhantomData,
        }
    }

    /// Axes as one, of elements that follow each other.
    fn joined(&self, extents: &[usize], strides: &[i64]) -> Result<(usize, i64), Error> {
        let total = extents
            .iter()
            .try_fold(1usize, |product, &extent| product.checked_mul(extent));
        let total = total.ok_or_else(|| Error::unusable(self.name, "has more elements than there is memory"))?;
        // Where there is one index there is no distance.
        let mut axes = extents.iter().zip(strides).filter(|&(&extent, _)| extent != 1);
        let Some((_, &first)) = axes.next() else {
            return Ok((total, 1));
        };
        let mut stride = first;
        for (&extent, &next) in axes {
            let follows = i64::try_from(extent).ok().and_then(|extent| next.checked_mul(extent)) == Some(stride);
            if total > 0 && !follows {
                let reason = format!(
                    "has extents {:?} and strides {:?}: a gap lies between what is to be one row; pass `.contiguous()`",
                    self.extents, self.strides
                );
                return Err(Error::unusable(self.name, reason));
            }
            stride = next;
        }
        Ok((total, stride))
    }
}

/// The type as frameworks name it.
fn shown(dtype: DLDataType) -> String {
    let DLDataType { code, bits, lanes } = dtype;
    let name = match code {
        INT => "int",
        UINT => "uint",
        FLOAT => "float",
        BFLOAT => "bfloat",
        BOOL => "bool",
        10 => "float8_e4m3fn",
        12 => "float8_e5m2",
        _ => return format!("DLPack's type {code} of {bits} bits, {lanes} at once"),
    };
    match code {
        6.. => name.to_owned(),
        _ => format!("{name}{bits}"),
    }
}

/// Bytes of an element that can be moved.
fn width(dtype: DLDataType) -> Result<usize, String> {
    let bits = usize::from(dtype.bits) * usize::from(dtype.lanes);
    match (dtype.code, bits) {
        // A conjugate that was not computed yet looks like the number that it is of.
        (5, _) => Err("has complex elements: pass `torch.view_as_real` of it".to_owned()),
        (_, 8 | 16 | 32 | 64) => Ok(bits / 8),
        _ => Err(format!(
            "has elements of {bits} bits: those of 8, 16, 32 and 64 are moved"
        )),
    }
}

fn without_gaps(extents: &[usize]) -> ArrayVec<i64, MAX_AXES> {
    let mut strides: ArrayVec<i64, MAX_AXES> = extents.iter().map(|_| 1).collect();
    for axis in (1..extents.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(i64::try_from(extents[axis]).unwrap_or(i64::MAX));
    }
    strides
}
