//! Where the elements of a Python tensor are, with as many axes as a kernel wants.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use tilewright_dsl::element::Element;
use tilewright_runtime::{BorrowedTensor, BorrowedTensorMut, Stream, TensorError};

/// Elements in memory that a Python object keeps for `'a`. It may be sent to where no Python runs.
#[derive(Clone, Copy)]
pub struct Shaped<'a, const R: usize> {
    pub(super) address: u64,
    pub(super) extents: [usize; R],
    pub(super) strides: [i64; R],
    pub(super) kept: PhantomData<&'a ()>,
}

impl<'a, const R: usize> Shaped<'a, R> {
    /// The elements, to be read. `T` is as wide as they are.
    pub fn read<T: Element>(&self, stream: &Stream) -> Result<BorrowedTensor<'a, T, R>, TensorError> {
        // SAFETY: the object says that its elements are there, and it is kept for `'a`, which is until the launch has
        // been put into the stream that its framework works on, or is done on the CPU device. Who else writes them
        // meanwhile, from another thread of Python, has no order with any reader.
        unsafe { BorrowedTensor::from_raw(stream, self.address, self.extents, self.strides) }
    }

    /// The elements, to be written too.
    pub fn write<T: Element>(&self, stream: &Stream) -> Result<BorrowedTensorMut<'a, T, R>, TensorError> {
        // SAFETY: as above; that two arguments of a launch share none that is written, the launch checks.
        unsafe { BorrowedTensorMut::from_raw(stream, self.address, self.extents, self.strides) }
    }
}
