//! Memory of the side that asks, as tensors and in graphs.

use std::error::Error;

use tilewright_dsl::element::Element;
use tilewright_harness::bench::Replay;
use tilewright_runtime::{BorrowedTensor, BorrowedTensorMut, Device, Stream, TensorError};

/// Captures launches that go round the sets, once each has run: one that lies otherwise is another variant.
///
/// # Safety
/// All memory that they use stays until the replay is dropped.
#[allow(unsafe_code)]
pub unsafe fn capture(
    device: &Device,
    sets: usize,
    launches: usize,
    mut launch: impl FnMut(&Stream, usize) -> Result<(), Box<dyn Error>>,
) -> Result<Replay, Box<dyn Error>> {
    (0..sets).try_for_each(|set| launch(&device.stream(), set))?;
    device.synchronize()?;
    let go_round = |stream: &Stream| (0..launches).try_for_each(|number| launch(stream, number % sets));
    // SAFETY: as the caller promises.
    let graph = unsafe { device.capture_borrowing(go_round) }?;
    Ok(Replay::of(graph, launches))
}

/// Sets of elements, one behind the other, of whom asks: it keeps them as long as it uses what was made ready on them.
pub struct Memory<'a> {
    device: &'a Device,
    at: u64,
}

impl<'a> Memory<'a> {
    /// The memory of a device from an address on.
    ///
    /// # Safety
    /// What is made of it is used only while all that it reads and writes is there, as large as its extents say.
    #[allow(unsafe_code)]
    pub unsafe fn new(device: &'a Device, at: u64) -> Self {
        Self { device, at }
    }

    /// Where a set begins, and how far apart its elements are.
    fn set<T: Element, const R: usize>(&self, set: usize, extents: [usize; R]) -> (u64, [i64; R]) {
        let mut strides = [1; R];
        for axis in (1..R).rev() {
            strides[axis - 1] = strides[axis] * extents[axis] as i64;
        }
        let bytes = extents.iter().product::<usize>() * size_of::<T>();
        (self.at + (set * bytes) as u64, strides)
    }

    /// A set that is read.
    #[allow(unsafe_code)]
    pub fn operand<T: Element, const R: usize>(
        &self,
        set: usize,
        extents: [usize; R],
    ) -> Result<BorrowedTensor<'a, T, R>, TensorError> {
        let (address, strides) = self.set::<T, R>(set, extents);
        // SAFETY: as whoever has said where it is promises.
        unsafe { BorrowedTensor::from_raw(&self.device.stream(), address, extents, strides) }
    }

    /// A set that is written.
    #[allow(unsafe_code)]
    pub fn result<T: Element, const R: usize>(
        &self,
        set: usize,
        extents: [usize; R],
    ) -> Result<BorrowedTensorMut<'a, T, R>, TensorError> {
        let (address, strides) = self.set::<T, R>(set, extents);
        // SAFETY: as whoever has said where it is promises.
        unsafe { BorrowedTensorMut::from_raw(&self.device.stream(), address, extents, strides) }
    }
}
