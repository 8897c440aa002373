//! Where the elements of a Python tensor are, with as many axes as a kernel wants.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use tilewright_dsl::element::Element;
use tilewright_runtime::{BorrowedTensor, BorrowedTensorMut, Stream, TensorError};

/// As [`Shaped`], of elements whose type is known.
#[derive(Clone, Copy)]
pub struct Typed<'a, T: Element, const R: usize> {
    pub(super) place: Shaped<'a, R>,
    pub(super) element: PhantomData<T>,
}

impl<'a, T: Element, const R: usize> Typed<'a, T, R> {
    /// The elements, to be read.
    ///
    /// # Errors
    /// The memory cannot be what it is said to be.
    pub fn read(&self, stream: &Stream) -> Result<BorrowedTensor<'a, T, R>, TensorError> {
        self.place.read(stream)
    }

    /// The elements, to be written too.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write(&self, stream: &Stream) -> Result<BorrowedTensorMut<'a, T, R>, TensorError> {
        self.place.write(stream)
    }
}

/// Elements in memory that a Python object keeps for `'a`. It may be sent to where no Python runs.
#[derive(Clone, Copy)]
pub struct Shaped<'a, const R: usize> {
    pub(super) address: u64,
    pub(super) extents: [usize; R],
    pub(super) strides: [i64; R],
    /// Bytes of an element.
    pub(super) width: usize,
    /// Whether a framework says itself where its tensors are, so that the driver need not be asked.
    pub(super) is_known: bool,
    pub(super) kept: PhantomData<&'a ()>,
}

impl<'a, const R: usize> Shaped<'a, R> {
    /// The elements, to be read as `T`, which is as wide as they are.
    ///
    /// # Errors
    /// It is not, or the memory cannot be what it is said to be.
    pub fn read<T: Element>(&self, stream: &Stream) -> Result<BorrowedTensor<'a, T, R>, TensorError> {
        self.check::<T>()?;
        let of = match self.is_known {
            true => BorrowedTensor::from_raw_unasked,
            false => BorrowedTensor::from_raw,
        };
        // SAFETY: the object says that its elements are there, and it is kept for `'a`, which is until the launch has been
        // put into the stream that its framework works on, or is done on the CPU device. Who else writes them meanwhile, from
        // another thread of Python, has no order with any reader.
        unsafe { of(stream, self.address, self.extents, self.strides) }
    }

    /// The elements, to be written too.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write<T: Element>(&self, stream: &Stream) -> Result<BorrowedTensorMut<'a, T, R>, TensorError> {
        self.check::<T>()?;
        let of = match self.is_known {
            true => BorrowedTensorMut::from_raw_unasked,
            false => BorrowedTensorMut::from_raw,
        };
        // SAFETY: as above; that two arguments of a launch share none that is written, the launch checks.
        unsafe { of(stream, self.address, self.extents, self.strides) }
    }

    fn check<T: Element>(&self) -> Result<(), TensorError> {
        match T::TYPE.size() == self.width {
            true => Ok(()),
            false => Err(TensorError::Dlpack {
                reason: format!("has elements of {} bytes and is used as one of {}", self.width, T::TYPE),
            }),
        }
    }
}
