//! What authors try that the language has under another name, or not at all, so that rustc says what to write.
//!
//! Nothing here can be used: each operator, index and method needs a trait that nothing implements, and whose text is the
//! advice.

use std::cmp::Ordering;
use std::convert::Infallible;
use std::iter::Empty;
use std::marker::PhantomData;
use std::ops::Index;

use super::{Scalar, Tensor, Tile};
use crate::element::Element;

/// A comparison by Rust's own operators, which give a `bool`, with an `Other`.
pub struct RustComparison<Other>(PhantomData<Other>);

/// That a comparison stands where the macro makes it one of tiles.
#[diagnostic::on_unimplemented(
    message = "tiles are not compared by functions of Rust, nor by operators outside `#[kernel]` and `#[device]`",
    label = "mark the function that an operator stands in `#[device]`; the larger of two is `a.max(b)`, the smaller `a.min(b)`"
)]
pub trait InDeviceFunction {}

// Two, so that rustc takes neither for what is meant while the type of `Other` is open.
#[diagnostic::do_not_recommend]
impl InDeviceFunction for RustComparison<Infallible> {}
#[diagnostic::do_not_recommend]
impl InDeviceFunction for RustComparison<&Infallible> {}

impl<T: Element, const R: usize, Other> PartialEq<Other> for Tile<T, R>
where
    RustComparison<Other>: InDeviceFunction,
{
    fn eq(&self, _: &Other) -> bool {
        false
    }
}

impl<T: Element, const R: usize, Other> PartialOrd<Other> for Tile<T, R>
where
    RustComparison<Other>: InDeviceFunction,
{
    fn partial_cmp(&self, _: &Other) -> Option<Ordering> {
        None
    }
}

// What `std::cmp::max`, which rustc proposes where `max(a, b)` is written, wants of tiles.
impl<T: Element, const R: usize> Eq for Tile<T, R> where RustComparison<Self>: InDeviceFunction {}

impl<T: Element, const R: usize> Ord for Tile<T, R>
where
    RustComparison<Self>: InDeviceFunction,
{
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

/// What could index a tensor or tile.
#[diagnostic::on_unimplemented(
    message = "tensors and tiles are not indexed with `[]`",
    label = "load an element of a tensor: `x.load([i])`",
    note = "elements of tiles are not reached one by one: compute with all of them, or choose with `select` and `take`"
)]
pub trait Bracketed {
    #[doc(hidden)]
    fn element<'a, T>(&self) -> &'a T;
}

impl<T: Element, const R: usize, I: Bracketed> Index<I> for Tensor<T, R> {
    type Output = T;
    fn index(&self, index: I) -> &T {
        index.element()
    }
}

impl<T: Element, const R: usize, I: Bracketed> Index<I> for Tile<T, R> {
    type Output = T;
    fn index(&self, index: I) -> &T {
        index.element()
    }
}

/// Methods that tensors of other languages have.
#[diagnostic::on_unimplemented(
    message = "tensors of a kernel have no such method",
    label = "not a method of the language",
    note = "the number of elements on an axis is `x.extent(0)`",
    note = "elements are loaded, `x.load([i])`; to visit all, loop over indices: `for i in 0..x.extent(0)`",
    note = "views are reshaped and cut where the kernel is launched: `x.view().reshape([rows, cols])?`"
)]
pub trait Foreign {}

#[doc(hidden)]
#[allow(clippy::len_without_is_empty)]
impl<T: Element, const R: usize> Tensor<T, R> {
    pub fn len(&self) -> usize
    where
        Self: Foreign,
    {
        0
    }

    pub fn size(&self) -> usize
    where
        Self: Foreign,
    {
        0
    }

    pub fn shape(&self) -> [usize; R]
    where
        Self: Foreign,
    {
        [0; R]
    }

    pub fn iter(&self) -> Empty<Scalar<T>>
    where
        Self: Foreign,
    {
        std::iter::empty()
    }

    pub fn get<I>(&self, _: I) -> Option<Scalar<T>>
    where
        Self: Foreign,
    {
        None
    }

    pub fn reshape<E>(&self, _: E) -> &Self
    where
        Self: Foreign,
    {
        self
    }
}

/// Methods that tiles of other languages, and plain numbers, have.
#[diagnostic::on_unimplemented(
    message = "tiles have no such method",
    label = "not a method of the language",
    note = "the extents of a tile are what it was made of: `BLOCK`, `x.extent(1)`",
    note = "reductions name the axis: `sum_axis(0)`, `max_axis(0)`, `argmax_axis(0)`, `any_axis(0)`, `cumulative_sum(0)`",
    note = "elements are converted by `.cast::<f32>()`; functions are `ln`, `log2`, `exp`, `tanh`, `powf`, `round_ties_even`"
)]
pub trait ForeignToTiles {}

#[doc(hidden)]
#[allow(clippy::len_without_is_empty, clippy::wrong_self_convention)]
impl<T: Element, const R: usize> Tile<T, R> {
    pub fn len(self) -> usize
    where
        Self: ForeignToTiles,
    {
        0
    }

    pub fn shape(self) -> [usize; R]
    where
        Self: ForeignToTiles,
    {
        [0; R]
    }

    pub fn iter(self) -> Empty<Scalar<T>>
    where
        Self: ForeignToTiles,
    {
        std::iter::empty()
    }

    pub fn sum(self) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }

    pub fn mean(self) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }

    pub fn any(self) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }

    pub fn all(self) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }

    pub fn cumsum(self) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }

    pub fn log(self) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }

    pub fn round(self) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }

    pub fn pow<E>(self, _: E) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }

    pub fn powi<E>(self, _: E) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }

    pub fn to<E>(self, _: E) -> Self
    where
        Self: ForeignToTiles,
    {
        self
    }
}
