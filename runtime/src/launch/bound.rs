//! Launches that were bound to their tensors.

#![allow(unsafe_code)]

use tilewright_dsl::call::{ArgumentValue, Call, MAX_COUNT};

use super::check::parameter;
use super::cuda::memories;
use super::kept::KeptCall;
use super::prepared::other_device;
use super::{Launched, check, put_at};
use crate::device::{Device, Stream};
use crate::error::LaunchError;
use crate::hardware::memory::Storage;
use crate::specialize::Site;

/// A launch that is done again and again over the same tensors, with other counts.
///
/// It is a [`Prepared`](super::Prepared) that has its tensors: there is no call to make for each launch, and nothing of the tensors to look at.
/// What is left is to find out which conditions hold for the counts, and one call of the driver. Scalars and counts in
/// device memory stay what they were in the call.
///
/// It keeps the tensors' memory, as a [`Graph`](crate::Graph) does, and borrows nothing: its launches write to tensors that are
/// somebody else's to read between them, in the order in which all of them are asked for.
///
/// ```
/// use tilewright_dsl::call::Runtime;
/// use tilewright_dsl::{kernel, lang::*};
/// use tilewright_runtime::Device;
///
/// #[kernel(grid = [rows])]
/// fn double(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, rows: Count) {
///     out.store([program_id(0)], src.load([program_id(0)]) * 2.0);
/// }
///
/// let device = Device::cpu();
/// let src = device.upload(&[1.0f32, 2.0, 3.0, 4.0], [4])?;
/// let mut out = device.zeros::<f32, 1>([4])?;
/// let mut bound = device.bind(double(&mut out, &src, Runtime(0)))?;
/// for rows in 1..=3 {
///     bound.launch(&[rows])?;
/// }
/// assert_eq!(out.download()?, [2.0, 4.0, 6.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Bound {
    device: Device,
    site: Site,
    call: KeptCall,
    /// The positions of the counts that the host knows.
    counts: Vec<usize>,
}

impl Device {
    /// Binds launches to the tensors of a call. It is checked, and recorded if none like it was; nothing is compiled and
    /// nothing launched.
    ///
    /// # Errors
    /// What a launch of the call fails with before it is compiled. [`LaunchError::BorrowedMemory`] for memory that others own:
    /// see [`Device::bind_borrowing`].
    pub fn bind(&self, call: Call<'_>) -> Result<Bound, LaunchError> {
        let is_borrowed = |argument: &ArgumentValue<'_>| memories([argument]).any(Storage::is_borrowed);
        if let Some(at) = call.arguments().iter().position(is_borrowed) {
            return Err(LaunchError::BorrowedMemory {
                kernel: call.definition().name(),
                parameter: parameter(&call, at),
            });
        }
        // SAFETY: no memory is others'.
        unsafe { self.bind_borrowing(call) }
    }

    /// As [`Device::bind`], also over memory that others own.
    ///
    /// # Errors
    /// What a launch of the call fails with before it is compiled.
    ///
    /// # Safety
    /// Such memory stays what it is until the last launch of what is returned has run.
    pub unsafe fn bind_borrowing(&self, call: Call<'_>) -> Result<Bound, LaunchError> {
        let (device, mut site) = self.prepare(&call)?.into_parts();
        let kernel = call.definition().name();
        // SAFETY: as the caller promises.
        let call = unsafe { KeptCall::of(call) }.ok_or_else(|| LaunchError::WrongArguments {
            kernel,
            reason: format!("some lie in memory that is none of {self}"),
        })?;
        site.settle_for_counts(call.call());
        Ok(Bound {
            device,
            site,
            counts: call.call().host_counts().collect(),
            call,
        })
    }
}

impl Bound {
    /// The device that it was bound by, which its streams have to be of.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Launches with these counts, in the order of the kernel's parameters, on the device's own stream.
    ///
    /// # Errors
    /// [`LaunchError::WrongArguments`] if there are more or fewer counts that the host knows, [`LaunchError::OtherClass`] for
    /// another value of an exact count that shapes a tile; else as [`Launch::launch`](super::Launch::launch).
    pub fn launch(&mut self, counts: &[u64]) -> Result<Launched, LaunchError> {
        let started = self.device.specializer().started();
        self.set(counts)?;
        put_at(&mut self.site, self.call.call(), self.device.destination(), started)
    }

    /// As [`Bound::launch`], on a stream of the same device.
    ///
    /// # Errors
    /// As for [`Bound::launch`]; [`LaunchError::OtherClass`] for a stream of another device.
    pub fn launch_on(&mut self, counts: &[u64], stream: &Stream) -> Result<Launched, LaunchError> {
        let started = self.device.specializer().started();
        if !stream.device().is(&self.device) {
            return Err(other_device(self.call.call(), &self.site, &self.device, true));
        }
        self.set(counts)?;
        put_at(&mut self.site, self.call.call(), stream.destination(), started)
    }

    #[inline]
    fn set(&mut self, counts: &[u64]) -> Result<(), LaunchError> {
        if counts.len() != self.counts.len() {
            return Err(self.miscounted(counts.len()));
        }
        let mut most = 0;
        for (position, count) in self.counts.iter().zip(counts) {
            self.call.set_count(*position, *count);
            most = most.max(*count);
        }
        match most <= MAX_COUNT && self.site.has_counts_of(self.call.call()) {
            true => Ok(()),
            false => Err(self.refused()),
        }
    }

    #[cold]
    fn miscounted(&self, given: usize) -> LaunchError {
        let expected = self.counts.len();
        LaunchError::WrongArguments {
            kernel: self.call.call().definition().name(),
            reason: format!("it has {expected} counts that the host knows, and {given} were given"),
        }
    }

    /// What is wrong with the counts.
    #[cold]
    fn refused(&mut self) -> LaunchError {
        let call = self.call.call();
        match check(call, &self.device) {
            Err(error) => error,
            Ok(()) => self.site.other(call, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use tilewright_dsl::call::{Call, Runtime};
    use tilewright_dsl::{kernel, lang::*};

    use crate::device::Device;

    #[kernel(grid = [rows])]
    fn copy(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>, start: Count, rows: Count) {
        let (row, cols) = (program_id(0), arange(8));
        out.store([row + start, cols], src.load([row, cols]));
    }

    #[test]
    fn launches_with_other_counts_each_time_are_looked_for_only_where_their_conditions_take_longer() {
        let device = Device::cpu();
        let src = device.zeros::<f32, 2>([4, 8]).unwrap();
        for (calls, looked_for) in [(1, false), (32, true)] {
            let mut outs: Vec<_> = (0..calls).map(|_| device.zeros::<f32, 2>([9, 8]).unwrap()).collect();
            let copies = outs.iter_mut().map(|out| copy(out, &src, Runtime(1), Runtime(2)));
            let bound = device.bind(Call::fuse(copies)).unwrap();
            assert_eq!(bound.site.may_repeat(), looked_for, "{calls} calls");
        }
    }
}
