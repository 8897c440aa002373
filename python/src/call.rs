//! The arguments of one call: its tensors are on one device, and its launch goes where their framework works.

use std::panic::Location;

use pyo3::prelude::*;
use pyo3::types::PyInt;
use tilewright_dsl::call::{Argument, Arguments, Runtime};
use tilewright_dsl::element::ElementType;
use tilewright_dsl::lang::Count;
use tilewright_runtime::{BorrowedTensor, DeviceCount, Stream, device_count};

use crate::device::{Place, normalized, stream_handle, stream_of_torch};
use crate::error::{Error, work};
use crate::kept::{Launcher, Shown};
use crate::tensor::{Origin, Shaped, Tensor};

/// The most a count may be.
const MAX_COUNT: u64 = 1 << 40;

/// What is known of a call's tensors so far.
pub struct Call<'py> {
    py: Python<'py>,
    /// The first tensor that decides where the call runs.
    first: Option<(&'static str, Place)>,
    /// The handle of the stream, given or found.
    stream: Option<usize>,
    /// Streams on which tensors may still be written.
    producers: Vec<usize>,
    shown: Shown,
    /// Whether the driver, which says each time what memory is, need not be asked.
    is_known: bool,
}

/// What a count of the host is noted as; tensors are noted otherwise.
const COUNT: u64 = 0;

impl<'py> Call<'py> {
    /// A call on the stream that the caller names, or on that of the tensors' framework.
    pub fn new(py: Python<'py>, stream: Option<&Bound<'py, PyAny>>) -> PyResult<Self> {
        Ok(Self {
            py,
            first: None,
            stream: stream.map(stream_handle).transpose()?,
            producers: Vec::new(),
            shown: Shown::nothing(),
            is_known: true,
        })
    }

    /// A tensor that is read.
    #[inline]
    pub fn read(&mut self, object: &Bound<'py, PyAny>, name: &'static str) -> PyResult<Tensor<'py>> {
        let tensor = Tensor::of(object, name, |place| self.told_to(place))?;
        let place = tensor.place();
        match (self.first, place) {
            (None, place) => self.first = Some((name, place)),
            (Some((_, first)), place) if first == place => {}
            // What is pinned is read from where the others are.
            (Some((_, Place::Pinned)), _) => self.first = Some((name, place)),
            (Some(_), Place::Pinned) => {}
            (Some((other, first)), place) => {
                let reason = format!("is on {place} and `{other}` on {first}: pass tensors of one device");
                return Err(Error::unusable(name, reason).into());
            }
        }
        match (tensor.origin(), place) {
            (Origin::Table(table), Place::Cuda(number)) if self.stream.is_none() => {
                let device = tilewright_runtime::tensor::dlpack::DLDevice {
                    device_type: 2,
                    device_id: number as i32,
                };
                self.stream = Some(table.stream(self.py, device)?);
            }
            (Origin::Producer(stream), _) => self.producers.push(stream),
            _ => {}
        }
        self.is_known &= !matches!(place, Place::Cuda(_)) || matches!(tensor.origin(), Origin::Table(_));
        tensor.note(&mut self.shown);
        Ok(tensor)
    }

    /// A tensor that is written.
    #[inline]
    pub fn written(&mut self, object: &Bound<'py, PyAny>, name: &'static str) -> PyResult<Tensor<'py>> {
        let tensor = self.read(object, name)?;
        tensor.check_writable()?;
        Ok(tensor)
    }

    /// A number of the host, or a tensor of one i32 or i64 that the kernel reads when it runs.
    pub fn count(&mut self, object: &Bound<'py, PyAny>, name: &'static str) -> PyResult<Number<'py>> {
        let wrong = || {
            let shown = object.repr().map(|shown| shown.to_string()).unwrap_or_default();
            Error::Argument(format!(
                "`{name}` is {shown}: a count is from 0 to 2^40, or a tensor of one of them"
            ))
        };
        let mut given = |object: &Bound<'py, PyAny>| {
            let value = object.extract::<u64>().ok().filter(|&value| value <= MAX_COUNT);
            Ok(self.given(value.ok_or_else(wrong)?))
        };
        if object.is_instance_of::<PyInt>() {
            return given(object);
        }
        if Tensor::is_one(object)? {
            let tensor = self.read(object, name)?;
            return match tensor.element()? {
                ElementType::I32 | ElementType::I64 => Ok(Number::Device(Box::new(tensor))),
                element => {
                    let reason = format!("is of {element}, and a count is an i32 or an i64");
                    Err(Error::unusable(name, reason).into())
                }
            };
        }
        // What stands for a number: that of numpy, for example.
        given(&object.call_method0("__index__").map_err(|_| wrong())?)
    }

    /// A number of the host.
    #[inline]
    pub fn given(&mut self, value: u64) -> Number<'py> {
        self.shown.note([COUNT]);
        self.shown.count(value);
        Number::Given(value)
    }

    /// Notes what decides what is launched beside the tensors and counts: a scalar, or which of several kernels it is.
    #[inline]
    pub fn note(&mut self, word: u64) {
        self.shown.note([word]);
    }

    /// Launches what was launched here before for the same tensors and [notes](Self::note), with the counts of now. If nothing is
    /// kept of such a launch, it returns what launches the call, which has one kernel, with its counts in the order in which they
    /// were read.
    #[track_caller]
    pub fn again(mut self) -> PyResult<Option<Launcher>> {
        let site = std::ptr::from_ref(Location::caller()).addr() as u64;
        let (place, handle) = self.place()?;
        if !self.is_known || !self.producers.is_empty() {
            return Ok(Some(Launcher::new(self.stream()?, None)));
        }
        let shown = &mut self.shown;
        shown.note([site, place.word(), handle as u64]);
        let hash = shown.hash();
        if Shown::may_be_kept(hash) && work(self.py, || shown.launch_kept(hash))? {
            return Ok(None);
        }
        Ok(Some(Launcher::new(place.stream(handle)?, Some((self.shown, hash)))))
    }

    /// Where the launch goes: the device, and the stream as the driver knows it.
    fn place(&mut self) -> PyResult<(Place, usize)> {
        let place = self.first.map_or(Place::Cpu, |(_, place)| place);
        if let (Place::Cuda(number), None) = (place, self.stream) {
            self.stream = Some(stream_of_torch(self.py, number)?.unwrap_or(0));
        }
        Ok((place, normalized(self.stream.unwrap_or(0))))
    }

    /// Where the launch goes.
    pub fn stream(&mut self) -> PyResult<Stream> {
        let (place, handle) = self.place()?;
        let stream = place.stream(handle)?;
        for producer in self.producers.iter().copied().map(normalized) {
            if producer != handle {
                stream.wait_for(&place.stream(producer)?).map_err(Error::from)?;
            }
        }
        Ok(stream)
    }

    /// The stream that a framework is told of, in DLPack's numbering; the CPU has none.
    fn told_to(&mut self, place: Place) -> PyResult<Option<usize>> {
        let Place::Cuda(number) = place else { return Ok(None) };
        if self.stream.is_none() {
            self.stream = Some(stream_of_torch(self.py, number)?.unwrap_or(0));
        }
        Ok(self.stream.map(|handle| handle.max(1)))
    }
}

/// A count as it was given.
pub enum Number<'py> {
    /// A number of the host.
    Given(u64),
    /// A tensor of one element.
    Device(Box<Tensor<'py>>),
}

impl<'py> Number<'py> {
    /// The same where no Python runs.
    pub fn detached(&self) -> Result<Detached<'_>, Error> {
        Ok(match self {
            Self::Given(value) => Detached::Given(*value),
            Self::Device(tensor) => Detached::Device(tensor.single()?, tensor.element()? == ElementType::I64),
        })
    }
}

/// A count where no Python runs.
#[derive(Clone, Copy)]
pub enum Detached<'a> {
    /// A number of the host.
    Given(u64),
    /// Where it is, and whether it is an i64.
    Device(Shaped<'a, 1>, bool),
}

impl<'a> Detached<'a> {
    /// The count, with the memory that it is read from.
    pub fn held(&self, stream: &Stream) -> Result<Held<'a>, Error> {
        Ok(match self {
            Self::Given(value) => Held::Given(*value),
            Self::Device(place, true) => Held::I64(place.read(stream)?),
            Self::Device(place, false) => Held::I32(place.read(stream)?),
        })
    }
}

/// A count that lives as long as the launch.
pub enum Held<'a> {
    /// A number of the host.
    Given(u64),
    /// In memory.
    I32(BorrowedTensor<'a, i32, 1>),
    /// In memory.
    I64(BorrowedTensor<'a, i64, 1>),
}

impl Held<'_> {
    /// The argument of a kernel.
    pub fn get(&self) -> Result<AnyCount<'_>, Error> {
        Ok(match self {
            Self::Given(value) => AnyCount::Given(*value),
            Self::I32(tensor) => AnyCount::Device(device_count(tensor.view(), 0, MAX_COUNT)?),
            Self::I64(tensor) => AnyCount::Device(device_count(tensor.view(), 0, MAX_COUNT)?),
        })
    }
}

/// A count as an argument. Those of the host are no literals of the code, so that no call waits for or causes a
/// compilation because of one.
#[derive(Clone, Copy)]
pub enum AnyCount<'a> {
    /// A number of the host.
    Given(u64),
    /// Read when the kernel runs.
    Device(DeviceCount<'a>),
}

impl<'a> Argument<'a, Count> for AnyCount<'a> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        match self {
            Self::Given(value) => Argument::<Count>::pass(Runtime(value), arguments),
            Self::Device(count) => Argument::<Count>::pass(count, arguments),
        }
    }
}

/// Does something with `$T` the unsigned type of so many bytes: elements that are only moved are moved as bits.
macro_rules! by_width {
    ($width:expr, $T:ident => $body:expr) => {
        match $width {
            1 => {
                type $T = u8;
                $body
            }
            2 => {
                type $T = u16;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u64;
                $body
            }
        }
    };
}

/// Does something with `$I` the type of an index.
macro_rules! by_index {
    ($tensor:expr, $I:ident => $body:expr) => {
        match $tensor {
            tilewright_dsl::element::ElementType::I32 => {
                type $I = i32;
                $body
            }
            _ => {
                type $I = i64;
                $body
            }
        }
    };
}

/// Does something with `$T` the type of elements.
macro_rules! by_element {
    ($element:expr, $T:ident => $body:expr) => {
        crate::call::by_element!(
            @ $element, $T, $body;
            Bool bool, I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64, F16 half::f16,
            BF16 half::bf16, F32 f32, F64 f64, F8E4M3 float8::F8E4M3, F8E5M2 float8::F8E5M2
        )
    };
    (@ $element:expr, $T:ident, $body:expr; $($name:ident $type:ty),*) => {
        match $element {
            $(tilewright_dsl::element::ElementType::$name => {
                type $T = $type;
                $body
            })*
        }
    };
}

pub(crate) use {by_element, by_index, by_width};

/// The type of a tensor of indices or counts.
pub fn index_type(tensor: &Tensor<'_>) -> Result<ElementType, Error> {
    match tensor.element()? {
        element @ (ElementType::I32 | ElementType::I64) => Ok(element),
        element => Err(Error::unusable(
            tensor.name(),
            format!("is of {element}, and indices are of int32 or int64"),
        )),
    }
}
