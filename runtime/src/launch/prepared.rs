//! Launches that were prepared: what does not change from one to the next is found and checked once.

use tilewright_dsl::call::Call;

use super::{Launched, check, put_at};
use crate::device::{Device, Stream};
use crate::error::LaunchError;
use crate::specialize::Site;

/// A launch that is done again and again, with other tensors, counts and scalars of the same class: of the same kernel, types,
/// layouts and alignments, and the same extents and exact counts where these shape tiles.
///
/// It knows its class, whose variants it takes as any launch does: a better one that was built behind serves the next
/// launch. Tensors that lie where those of its last launch lay, with the same extents and strides, were checked then; others are
/// checked as in any launch. So it is as safe, and waits, is sealed, measured, counted and captured in the same way. It keeps
/// nothing alive and borrows nothing: each launch is given its tensors.
///
/// Launching allocates nothing on the heap, hashes nothing but exact counts, which may be literals some time, and takes no lock
/// but, for reading, the one that keeps memory in order between streams. Now and then one asks for literals, or is measured. A
/// list of tensors that no launch had before, of other places, extents or strides, is an exception on a GPU, of ordinary
/// launches too: its table is made and copied. Another one than in the launch before is hashed and looked up under a lock. And
/// once several launches in a row had the same extents and strides but the outermost extents, what these leave of the
/// conditions is worked out, which allocates.
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
/// let mut prepared = device.prepare(&double(&mut out, &src, Runtime(1)))?;
/// for rows in 0..=3 {
///     prepared.launch(double(&mut out, &src, Runtime(rows)))?;
/// }
/// assert_eq!(out.download()?, [2.0, 4.0, 6.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Prepared {
    device: Device,
    site: Site,
}

impl Device {
    /// Prepares launches of a call and others of its class. The call is checked, and recorded if none like it was; nothing is compiled
    /// and nothing launched. The first launch may have to wait for a compiler, unless there was a
    /// [warm-up](Device::warm_up).
    ///
    /// # Errors
    /// What a launch of the call fails with before it is compiled.
    pub fn prepare(&self, call: &Call<'_>) -> Result<Prepared, LaunchError> {
        check(call, self)?;
        Ok(Prepared {
            device: self.clone(),
            site: self.specializer().site(call)?,
        })
    }
}

impl Prepared {
    /// Launches a call of the prepared class on the device's own stream.
    ///
    /// # Errors
    /// [`LaunchError::OtherClass`] if it is of another class; else as [`Launch::launch`](super::Launch::launch).
    pub fn launch(&mut self, call: Call<'_>) -> Result<Launched, LaunchError> {
        let started = self.device.specializer().started();
        self.check(&call)?;
        let launched = put_at(&mut self.site, &call, self.device.destination(), started)?;
        call.recycle();
        Ok(launched)
    }

    /// Launches a call of the prepared class on a stream of the same device.
    ///
    /// # Errors
    /// As for [`Prepared::launch`]; [`LaunchError::OtherClass`] also for a stream of another device.
    pub fn launch_on(&mut self, call: Call<'_>, stream: &Stream) -> Result<Launched, LaunchError> {
        let started = self.device.specializer().started();
        self.check_stream(&call, stream)?;
        self.check(&call)?;
        let launched = put_at(&mut self.site, &call, stream.destination(), started)?;
        call.recycle();
        Ok(launched)
    }

    fn check_stream(&self, call: &Call<'_>, stream: &Stream) -> Result<(), LaunchError> {
        match stream.device().is(&self.device) {
            true => Ok(()),
            false => Err(other_device(call, &self.site, &self.device, false)),
        }
    }

    #[inline]
    fn check(&mut self, call: &Call<'_>) -> Result<(), LaunchError> {
        let device = &self.device;
        match self.site.admits(call, device.hardware(), || check(call, device))? {
            true => Ok(()),
            false => Err(self.site.other(call, false)),
        }
    }

    /// The site alone, with the device that it is of.
    pub(super) fn into_parts(self) -> (Device, Site) {
        (self.device, self.site)
    }
}

/// The stream is of another device than a site.
#[cold]
pub(super) fn other_device(call: &Call<'_>, site: &Site, device: &Device, is_bound: bool) -> LaunchError {
    LaunchError::OtherClass {
        kernel: call.definition().name(),
        prepared: site.name().to_owned(),
        is_bound,
        reason: format!("that is for {device}, of which the stream is none"),
    }
}
