//! All tensors of a batch, padded in one launch.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyTuple};
use tilewright_dp::batch::{MAX_TENSORS, Padding, PaddingError};
use tilewright_dsl::arithmetic;
use tilewright_dsl::element::{Element, ElementType};
use tilewright_dsl::ir::Literal;
use tilewright_runtime::{BorrowedTensor, BorrowedTensorMut, Stream, TensorError};

use crate::call::{Call, Detached, Held, Number};
use crate::error::{Error, work};
use crate::kept::Launcher;
use crate::tensor::{Shaped, Tensor};

/// Pads, cuts or fills the tensors of a batch in one launch.
///
/// `entries` is a sequence of up to 64 `tilewright.Pad(out, src, count=None, fill=0, axis=0)`, or tuples of these. Each
/// `out` becomes the first `count` elements of `src` on `axis`, and `fill` behind them:
///
/// * `out` and `src` have one type and the same extents on all axes but `axis`, which is the first or the last one; an
///   `out` that is shorter takes the first elements, so that padding is cut off again.
/// * `count` is a number, or a tensor of one int32 or int64 on the same device, read at every replay of a captured
///   graph; `None` is the extent of `src`.
/// * `fill` is a number that the type has; with `None` what is behind the elements keeps its value. With `src=None` the
///   padding of `out` is filled in place.
/// * Types, row lengths, axes and fills may differ from entry to entry.
#[pyfunction]
#[pyo3(signature = (entries, *, stream=None))]
pub fn pad_batch<'py>(
    py: Python<'py>,
    entries: &Bound<'py, PyAny>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut call = Call::new(py, stream)?;
    let mut given = Vec::with_capacity(MAX_TENSORS.min(entries.len()?));
    for entry in entries.try_iter()? {
        if given.len() == MAX_TENSORS {
            return Err(Error::from(PaddingError::TooManyTensors).into());
        }
        given.push(Given::of(&mut call, &entry?)?);
    }
    let Some(launcher) = call.again()? else { return Ok(()) };
    let mut entries = Vec::with_capacity(given.len());
    for given in &given {
        entries.push(given.detached()?);
    }
    work(py, || launch(&entries, &launcher))
}

/// What one entry asks for.
struct Given<'py> {
    out: Tensor<'py>,
    src: Option<Tensor<'py>>,
    count: Number<'py>,
    /// The bits of the fill.
    fill: Option<u64>,
    axis: usize,
}

impl<'py> Given<'py> {
    fn of(call: &mut Call<'py>, entry: &Bound<'py, PyAny>) -> PyResult<Self> {
        let wrong = || Error::Argument("an entry is `Pad(out, src, count, fill, axis)`, or such a tuple".to_owned());
        let entry = entry.cast::<PyTuple>().map_err(|_| wrong())?;
        if !(2..=5).contains(&entry.len()) {
            return Err(wrong().into());
        }
        let there = |at: usize| entry.get_borrowed_item(at).ok().filter(|value| !value.is_none());
        let out = entry.get_borrowed_item(0)?;
        let out = call.written(&out, "out")?;
        let src = there(1).map(|src| call.read(&src, "src")).transpose()?;
        if let Some(src) = &src {
            src.moves_to(&out)?;
        }
        let axis: i64 = there(4).map_or(Ok(0), |axis| axis.extract())?;
        let axes = out.axes() as i64;
        let axis = usize::try_from(if axis < 0 { axis + axes } else { axis });
        let axis = axis.ok().filter(|&axis| (axis as i64) < axes);
        let missing = || Error::Argument(format!("`out` has {axes} axes, and not that which is to be padded"));
        let axis = axis.ok_or_else(missing)?;
        let count = match (there(2), &src) {
            (Some(count), _) => call.count(&count, "count")?,
            (None, Some(src)) => call.given(src.extent(axis).unwrap_or(0) as u64),
            (None, None) => return Err(Error::Argument("without `src` a `count` is needed".to_owned()).into()),
        };
        let fill = match entry.len() {
            // What is left out is 0, and `None` is not left out.
            ..=3 => Some(0),
            _ => there(3).map(|fill| bits_of(&fill, &out)).transpose()?,
        };
        if src.is_none() && fill.is_none() {
            return Err(Error::Argument("without `src` a `fill` is needed".to_owned()).into());
        }
        // Together with the fill, what is there of the entry.
        let there = u64::from(src.is_some()) | u64::from(fill.is_some()) << 1;
        call.note((axis as u64) << 2 | there);
        call.note(fill.unwrap_or(0));
        Ok(Self {
            out,
            src,
            count,
            fill,
            axis,
        })
    }

    #[inline]
    fn detached(&self) -> Result<Entry<'_>, Error> {
        if let Some(src) = &self.src
            && src.axes() != self.out.axes()
        {
            let reason = format!("has {} axes and `out` has {}", src.axes(), self.out.axes());
            return Err(Error::unusable("src", reason));
        }
        Ok(Entry {
            out: self.out.along(self.axis)?,
            src: self.src.as_ref().map(|src| src.along(self.axis)).transpose()?,
            width: self.out.width(),
            count: self.count.detached()?,
            fill: self.fill,
        })
    }
}

/// The bits of a fill as an element.
fn bits_of(fill: &Bound<'_, PyAny>, out: &Tensor<'_>) -> PyResult<u64> {
    let element = out.element()?;
    let wrong = || {
        let shown = fill.repr().map(|shown| shown.to_string()).unwrap_or_default();
        Error::Argument(format!(
            "`out` is padded with {shown}, which is no value of its type {element}"
        ))
    };
    let number = match fill.is_instance_of::<PyFloat>() && !fill.is_instance_of::<PyBool>() {
        true => Literal::new(fill.extract::<f64>()?),
        false if element == ElementType::U64 => Literal::new(fill.extract::<u64>().map_err(|_| wrong())?),
        false => Literal::new(fill.extract::<i64>().map_err(|_| wrong())?),
    };
    // Zero is one in every type, and the usual fill.
    if number.bits == 0 {
        return Ok(0);
    }
    let cast = |value: Literal, to| arithmetic::cast(value, to);
    let found = cast(number, element);
    // What comes back as another number was no value of the type; floats are rounded.
    let is_value = match element.is_float() && number.element == ElementType::F64 {
        true => found.is_some(),
        false => found.and_then(|found| cast(found, number.element)) == Some(number),
    };
    match found {
        Some(found) if is_value => Ok(found.bits),
        _ => Err(wrong().into()),
    }
}

/// An entry where no Python runs.
struct Entry<'a> {
    out: Shaped<'a, 3>,
    src: Option<Shaped<'a, 3>>,
    width: usize,
    count: Detached<'a>,
    fill: Option<u64>,
}

impl<'a> Entry<'a> {
    /// The memory of its tensors and of its count.
    #[inline]
    fn held(&self, stream: &Stream) -> Result<(Bits<'a>, Held<'a>), Error> {
        let bits = match self.width {
            1 => Bits::One(Pair::of(self, stream)?),
            2 => Bits::Two(Pair::of(self, stream)?),
            4 => Bits::Four(Pair::of(self, stream)?),
            _ => Bits::Eight(Pair::of(self, stream)?),
        };
        Ok((bits, self.count.held(stream)?))
    }
}

/// The tensors of an entry, as unsigned numbers of their width.
enum Bits<'a> {
    One(Pair<'a, u8>),
    Two(Pair<'a, u16>),
    Four(Pair<'a, u32>),
    Eight(Pair<'a, u64>),
}

/// `out` and `src`.
struct Pair<'a, T: Element>(BorrowedTensorMut<'a, T, 3>, Option<BorrowedTensor<'a, T, 3>>);

impl<'a, T: Element> Pair<'a, T> {
    fn of(entry: &Entry<'a>, stream: &Stream) -> Result<Self, TensorError> {
        let src = entry.src.map(|src| src.read(stream)).transpose()?;
        Ok(Self(entry.out.write(stream)?, src))
    }

    fn join<'p>(&'p mut self, padding: &mut Padding<'p>, count: &'p Held<'_>, fill: Option<u64>) -> Result<(), Error> {
        let (Self(out, src), count) = (self, count.get()?);
        match (src, fill.map(T::from_bits64)) {
            (Some(src), Some(fill)) => padding.pad(out, &*src, 1, count, fill)?,
            (Some(src), None) => padding.keep(out, &*src, 1, count)?,
            (None, fill) => padding.fill(out, 1, count, fill.unwrap_or(T::from_bits64(0)))?,
        };
        Ok(())
    }
}

fn launch(entries: &[Entry<'_>], launcher: &Launcher) -> Result<(), Error> {
    let stream = launcher.stream();
    let mut held = Vec::with_capacity(entries.len());
    for entry in entries {
        held.push(entry.held(stream)?);
    }
    let mut padding = Padding::new();
    for ((bits, count), entry) in held.iter_mut().zip(entries) {
        match bits {
            Bits::One(pair) => pair.join(&mut padding, count, entry.fill)?,
            Bits::Two(pair) => pair.join(&mut padding, count, entry.fill)?,
            Bits::Four(pair) => pair.join(&mut padding, count, entry.fill)?,
            Bits::Eight(pair) => pair.join(&mut padding, count, entry.fill)?,
        }
    }
    if !padding.is_empty() {
        launcher.launch(padding.into_call())?;
    }
    Ok(())
}
