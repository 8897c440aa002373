//! Devices, and what lives on them.
//!
//! A [`Device`] is the CPU or a GPU; the same program runs on either. The CPU device interprets a kernel's IR and
//! checks every access, at once and in the caller's thread. A GPU is asked and does its work later, in the order of a
//! [`Stream`].

mod graph;
mod reports;
mod stream;

/// One NVIDIA GPU, through its driver: the layer below devices.
pub use crate::hardware::cuda;
pub use crate::{counters::Counters, error::DeviceError};
pub use graph::{CapturedLaunch, Graph};
pub(crate) use graph::{HostCapture, HostLaunch};
pub use stream::Stream;

pub(crate) use stream::{Destination, Queue};

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tilewright_dsl::call::{Definition, Specialize};

use crate::behind::COMPILES;
use crate::cache::BundleBuilder;
use crate::compile::{CompileError, Compiler, Settled};
use crate::error::LaunchError;
use crate::hardware::Hardware;
use crate::hardware::tables::Tables;
use crate::specialize::{CodeLimits, Event, Measured, Offline, Specializer, Target, Variant};
use cuda::CudaDevice;
use reports::Reports;

/// A place where kernels run, with the variants that were made for it. Clones are the same device.
///
/// ```
/// use tilewright_runtime::Device;
///
/// let device = Device::cpu();
/// let ones = device.upload(&[1.0f32; 6], [2, 3])?;
/// assert_eq!(ones.extents(), [2, 3]);
/// # Ok::<(), tilewright_runtime::TensorError>(())
/// ```
#[derive(Clone)]
pub struct Device(Arc<Shared>);

struct Shared {
    why: Option<String>,
    specializer: Specializer,
    queue: Queue,
    reports: Reports,
    tables: Tables,
}

/// The GPUs that are open, so that a GPU is one device however often it is asked for.
static OPEN: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

impl Device {
    /// The CPU device: interprets kernels and checks every access. Each call gives one with its own variants and
    /// counters; memory can be used with all of them.
    pub fn cpu() -> Self {
        Self::new(Hardware::cpu(), None, Compiler::Auto, None)
    }

    /// A GPU that is not here, whose kernels go into a bundle.
    pub(crate) fn offline(target: Target, bundle: &BundleBuilder) -> Self {
        let builder = bundle.clone();
        // What is no compiler's name is said by devices that can fail.
        let compiler = Compiler::from_environment().unwrap_or_default();
        Self::new(Hardware::cpu(), None, compiler, Some(Offline { target, builder }))
    }

    /// A GPU by its number, from 0, with the compiler that the environment [chooses](Compiler::from_environment).
    ///
    /// # Errors
    /// There is no driver, or no such GPU, or the environment names no compiler. That a compiler is missing shows at the first
    /// launch that compiles.
    pub fn cuda(ordinal: u32) -> Result<Self, DeviceError> {
        Self::cuda_with(ordinal, Compiler::from_environment()?)
    }

    /// A GPU by its number, from 0, and who compiles its kernels. With another compiler it is another device, which shares
    /// neither variants nor memory with the first.
    ///
    /// # Errors
    /// As for [`Device::cuda`].
    pub fn cuda_with(ordinal: u32, compiler: Compiler) -> Result<Self, DeviceError> {
        let mut open = OPEN.lock();
        open.retain(|device| device.strong_count() > 0);
        let is_it = |device: &Device| {
            let is_there = device.as_cuda().is_some_and(|cuda| cuda.ordinal() == ordinal);
            is_there && device.compiler() == compiler
        };
        if let Some(device) = open.iter().filter_map(Weak::upgrade).map(Device).find(is_it) {
            return Ok(device);
        }
        let device = Self::new(Hardware::cuda(ordinal)?, None, compiler, None);
        open.push(Arc::downgrade(&device.0));
        Ok(device)
    }

    /// The first GPU if there is a driver, a GPU and a compiler for it, which the driver is unless the environment chooses
    /// [another](Compiler); else the CPU device, and [`Device::why`] says what was missing.
    pub fn best() -> Self {
        let gpu = || {
            let device = Self::cuda(0).map_err(|error| error.to_string())?;
            if let Some(settled) = device.settled() {
                let settled = settled.map_err(|error| error.to_string())?;
                tracing::info!(%device, compiler = %settled, "kernels run on a GPU");
            }
            Ok(device)
        };
        gpu().unwrap_or_else(|reason: String| {
            tracing::info!(reason, "kernels run on the CPU device");
            Self::new(Hardware::cpu(), Some(reason), Compiler::Auto, None)
        })
    }

    fn new(hardware: Hardware, why: Option<String>, compiler: Compiler, offline: Option<Offline>) -> Self {
        Self(Arc::new(Shared {
            why,
            queue: Queue::own_of(&hardware),
            specializer: Specializer::new(hardware, compiler, offline),
            reports: Reports::default(),
            tables: Tables::default(),
        }))
    }

    /// The first GPU as a device that shares nothing with others.
    #[cfg(test)]
    pub(crate) fn fresh_cuda() -> Result<Self, DeviceError> {
        Ok(Self::new(Hardware::cuda(0)?, None, Compiler::from_environment()?, None))
    }

    /// Why [`Device::best`] did not take a GPU, if it did not.
    pub fn why(&self) -> Option<&str> {
        self.0.why.as_deref()
    }

    /// The compiler that was chosen for this device.
    pub fn compiler(&self) -> Compiler {
        self.0.specializer.compiler()
    }

    /// Who compiles for this GPU, and why, as the [choice](Device::compiler) comes out on this machine; `None` if it is no GPU.
    ///
    /// # Errors
    /// It is NVRTC, and there is none.
    pub fn settled(&self) -> Option<Result<Settled, CompileError>> {
        let architecture = self.as_cuda()?.properties().architecture;
        Some(self.compiler().settled(architecture))
    }

    /// Whether this is a GPU.
    pub fn is_cuda(&self) -> bool {
        self.as_cuda().is_some()
    }

    /// The GPU below this device, for what is not wrapped here.
    pub fn as_cuda(&self) -> Option<&CudaDevice> {
        self.hardware().as_cuda()
    }

    /// A number that no other device has while this one lives.
    pub(crate) fn number(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// What the device is: `CPU`, NVIDIA's name for the GPU, or `offline` where the GPU is not here.
    pub fn name(&self) -> &str {
        let here = if self.target().is_some() { "offline" } else { "CPU" };
        self.as_cuda().map_or(here, |device| &device.properties().name)
    }

    /// The GPU that launches on this device are [prepared for](crate::cache::BundleBuilder::device), if it is not here.
    pub fn target(&self) -> Option<&Target> {
        self.0.specializer.offline()
    }

    /// The device's own stream: what is launched without naming a stream goes there.
    pub fn stream(&self) -> Stream {
        Stream::default_of(self)
    }

    /// The device's own stream as a destination of launches.
    #[inline]
    pub(crate) fn destination(&self) -> Destination<'_> {
        Destination {
            device: self,
            queue: self.own_queue(),
        }
    }

    #[inline]
    fn own_queue(&self) -> &Queue {
        &self.0.queue
    }

    /// Another stream, which runs beside the others. Memory that two streams use is passed from one to the other in the
    /// order of the calls; on the CPU device every stream does its work at once.
    ///
    /// # Errors
    /// The driver cannot create a stream.
    pub fn new_stream(&self) -> Result<Stream, DeviceError> {
        Stream::new_of(self)
    }

    /// Waits until the device has done everything asked of it, on every stream that was made or taken over by this device.
    ///
    /// # Errors
    /// A kernel trapped since the last call ([`LaunchError::Trapped`], [`LaunchError::CheckFailed`] or
    /// [`LaunchError::Conflict`], the first one if there are several; the device stays usable), a stream is being captured,
    /// or the device failed.
    pub fn synchronize(&self) -> Result<(), LaunchError> {
        self.hardware().synchronize()?;
        self.reported()
    }

    /// What kernels have reported so far, without waiting for those that still run and without asking the driver: the error
    /// that [`Device::synchronize`] would return, as soon as it is known. It is returned once.
    ///
    /// # Errors
    /// A kernel has trapped, or a check in it did not hold.
    pub fn reported(&self) -> Result<(), LaunchError> {
        self.0.reports.take()?;
        match self.is_cuda() {
            true => reports::take_from_all(&self.variants()),
            false => Ok(()),
        }
    }

    /// How launches are specialised that do not say so themselves, from now on. Unless it is told otherwise, a GPU is
    /// [tiered](Specialize::Tiered); the CPU device, where nothing is compiled, is [exact](Specialize::Exact).
    ///
    /// ```
    /// use tilewright_dsl::call::Specialize;
    /// use tilewright_runtime::Device;
    ///
    /// let device = Device::cpu();
    /// device.set_specialize(Specialize::Tiered);
    /// ```
    pub fn set_specialize(&self, specialize: Specialize) {
        self.0.specializer.set_default(specialize);
    }

    /// The same for launches of one kernel, whatever its compile-time arguments and its author's `#[kernel(specialize = "...")]`:
    /// `place_rows::definition()`, for example.
    pub fn set_specialize_for(&self, kernel: &Definition, specialize: Specialize) {
        self.0.specializer.set_for(kernel, specialize);
    }

    /// How much of compiled kernels the device keeps loaded, from now on.
    pub fn set_code_limits(&self, limits: CodeLimits) {
        self.0.specializer.limits().set(limits);
    }

    /// How long NVRTC may take for a kernel from now on; unless it is told otherwise,
    /// [two minutes](crate::compile::CompileOptions::LIMIT). What takes longer is given up: a launch that waits for it fails
    /// with [`CompileError::Unended`], and behind it counts as a failure, so that the
    /// resident variant goes on serving. [`unended`](crate::compile::unended) says how many there are.
    pub fn set_compile_limit(&self, limit: Duration) {
        self.0.specializer.limits().set_compilation(limit);
    }

    /// From now on a launch that would have to wait for a compiler is refused: [`LaunchError::Sealed`]. What is compiled
    /// behind goes on, as no launch waits for it. On the CPU device, a launch counts as waiting that makes a variant.
    ///
    /// A launch that goes into a graph is refused in the same way without this.
    pub fn seal(&self) {
        self.0.specializer.seal(true);
    }

    /// Launches may wait again.
    pub fn unseal(&self) {
        self.0.specializer.seal(false);
    }

    /// How long a variant that was compiled behind may wait from now on until the device has nothing to do; unless it is told
    /// otherwise, for as long as it takes.
    ///
    /// To load it, the driver waits until all that is queued on the GPU is done, and holds up every launch there meanwhile. Who would
    /// rather have better variants soon, where the GPU is never without work, sets a limit: then each that has waited as long holds
    /// them up ([`Counters::busy_loads`]). With [`Duration::ZERO`] none waits.
    ///
    /// What a launch waits for itself, and what is [warmed up](Self::warm_up), is loaded at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tilewright_runtime::Device;
    ///
    /// let device = Device::cpu();
    /// device.set_patience(Duration::from_secs(10));
    /// ```
    pub fn set_patience(&self, patience: Duration) {
        self.hardware().set_patience(patience);
    }

    /// Waits until nothing is being compiled behind, nor waits to be loaded, in the whole process, for so long at most. Returns
    /// whether nothing is.
    pub fn settle(limit: Duration) -> bool {
        COMPILES.settle(limit)
    }

    /// Calls `hook` with each event on this device from now on, in the thread in which it happens: it had better be quick.
    ///
    /// ```
    /// use tilewright_runtime::{Device, Event};
    ///
    /// let device = Device::cpu();
    /// device.on_event(|event| {
    ///     if let Event::Built { variant, waited: true, .. } = event {
    ///         eprintln!("a launch waited {:?} for {variant:?}", variant.build_time());
    ///     }
    /// });
    /// ```
    pub fn on_event(&self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        self.0.specializer.hooks().add(Arc::new(hook));
    }

    /// What exactness bought: for all literals that were tried, the times with and without them.
    pub fn measured(&self) -> Vec<Measured> {
        self.0.specializer.all_measured()
    }

    /// What happened on this device so far.
    pub fn counters(&self) -> Counters {
        self.0.specializer.tally().read()
    }

    /// The variants made for this device, in the order of their making.
    pub fn variants(&self) -> Vec<Arc<Variant>> {
        self.0.specializer.variants()
    }

    /// Whether it is the same device, with the same variants: a clone is, and another one that was made of the same hardware need not be.
    ///
    /// ```
    /// let device = tilewright_runtime::Device::cpu();
    /// assert!(device.is(&device.clone()));
    /// assert!(!device.is(&tilewright_runtime::Device::cpu()));
    /// ```
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn hardware(&self) -> &Hardware {
        self.0.specializer.hardware()
    }

    pub(crate) fn specializer(&self) -> &Specializer {
        &self.0.specializer
    }

    pub(crate) fn reports(&self) -> &Reports {
        &self.0.reports
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.0.tables
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target() {
            Some(Target {
                architecture,
                multiprocessors,
            }) => write!(f, "an offline {architecture} of {multiprocessors} multiprocessors"),
            None => self.hardware().fmt(f),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_device_is_the_first_gpu_or_says_what_is_missing() {
        let missing = match Device::cuda(0) {
            Ok(device) => device.settled().and_then(Result::err).map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let device = Device::best();
        assert_eq!(device.is_cuda(), missing.is_none(), "{device}");
        assert_eq!(device.why(), missing.as_deref());
        assert!(
            Device::cpu().why().is_none(),
            "nothing was missing where nothing else was asked for"
        );
    }

    #[test]
    fn what_holds_memory_holds_the_device_with_its_kernels() -> Result<(), crate::TensorError> {
        let device = Device::cpu();
        let shared = Arc::downgrade(&device.0);
        let hold = device.zeros::<f32, 1>([4])?.hold();
        drop(device);
        assert!(shared.upgrade().is_some(), "a captured graph runs its kernels");
        drop(hold);
        assert!(shared.upgrade().is_none());
        Ok(())
    }

    #[test]
    fn the_cpu_device_names_itself() {
        let device = Device::cpu();
        assert_eq!(device.to_string(), "the CPU device");
        assert_eq!(device.name(), "CPU");
        assert!(!device.is_cuda());
        assert!(device.synchronize().is_ok());
    }
}
