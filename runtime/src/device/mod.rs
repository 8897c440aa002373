//! Devices, and what lives on them.
//!
//! A [`Device`] is the CPU or a GPU; the same program runs on either. The CPU device interprets a kernel's IR and
//! checks every access, at once and in the caller's thread. A GPU is asked and does its work later, in the order of a
//! [`Stream`].

mod counters;
mod error;
mod stream;

pub mod cuda;

pub use counters::Counters;
pub use error::DeviceError;
pub use stream::Stream;

pub(crate) use counters::Tally;
pub(crate) use stream::Queue;

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use crate::compile::Nvrtc;
use crate::launch::{LaunchError, Tables, Traps};
use crate::specialize::Specializer;
use cuda::{CudaDevice, CudaStream};

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
    engine: Engine,
    why: Option<String>,
    tally: Tally,
    specializer: Specializer,
    traps: Traps,
    tables: Tables,
    /// The streams besides the device's own, kept until their work is known to be done.
    streams: Mutex<Vec<CudaStream>>,
    /// Held for reading while work is put into a stream, for writing while memory moves from one stream to another.
    order: RwLock<()>,
}

/// What does the work.
pub(crate) enum Engine {
    /// The interpreter.
    Cpu,
    /// A GPU.
    Cuda(CudaDevice),
}

/// The GPUs that are open, so that a GPU is one device however often it is asked for.
static OPEN: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

impl Device {
    /// The CPU device: interprets kernels and checks every access. Each call gives one with its own variants and
    /// counters; memory can be used with all of them.
    pub fn cpu() -> Self {
        Self::new(Engine::Cpu, None)
    }

    /// A GPU by its number, from 0.
    ///
    /// # Errors
    /// There is no driver, or no such GPU. That NVRTC is missing shows at the first launch that compiles.
    pub fn cuda(ordinal: u32) -> Result<Self, DeviceError> {
        let mut open = OPEN.lock();
        open.retain(|device| device.strong_count() > 0);
        let of_ordinal = |device: &Device| device.as_cuda().is_some_and(|cuda| cuda.ordinal() == ordinal);
        if let Some(device) = open.iter().filter_map(Weak::upgrade).map(Device).find(of_ordinal) {
            return Ok(device);
        }
        let device = Self::new(Engine::Cuda(CudaDevice::open(ordinal)?), None);
        open.push(Arc::downgrade(&device.0));
        Ok(device)
    }

    /// The first GPU if there is a driver, a GPU and NVRTC; else the CPU device, and [`Device::why`] says what was missing.
    pub fn best() -> Self {
        let gpu = || {
            let device = Self::cuda(0).map_err(|error| error.to_string())?;
            Nvrtc::load().map_err(|error| error.to_string())?;
            Ok(device)
        };
        gpu().unwrap_or_else(|reason: String| {
            tracing::info!(reason, "kernels run on the CPU device");
            Self::new(Engine::Cpu, Some(reason))
        })
    }

    fn new(engine: Engine, why: Option<String>) -> Self {
        Self(Arc::new(Shared {
            engine,
            why,
            tally: Tally::default(),
            specializer: Specializer::default(),
            traps: Traps::default(),
            tables: Tables::default(),
            streams: Mutex::default(),
            order: RwLock::new(()),
        }))
    }

    /// The first GPU as a device that shares nothing with others.
    #[cfg(test)]
    pub(crate) fn fresh_cuda() -> Result<Self, DeviceError> {
        Ok(Self::new(Engine::Cuda(CudaDevice::open(0)?), None))
    }

    /// Why [`Device::best`] did not take a GPU, if it did not.
    pub fn why(&self) -> Option<&str> {
        self.0.why.as_deref()
    }

    /// Whether this is a GPU.
    pub fn is_cuda(&self) -> bool {
        self.as_cuda().is_some()
    }

    /// The GPU below this device, for what is not wrapped here.
    pub fn as_cuda(&self) -> Option<&CudaDevice> {
        match &self.0.engine {
            Engine::Cpu => None,
            Engine::Cuda(device) => Some(device),
        }
    }

    /// What the device is: `CPU`, or NVIDIA's name for the GPU.
    pub fn name(&self) -> &str {
        self.as_cuda().map_or("CPU", |device| &device.properties().name)
    }

    /// The device's own stream: what is launched without naming a stream goes there.
    pub fn stream(&self) -> Stream {
        Stream::default_of(self)
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
        if let Some(device) = self.as_cuda() {
            self.synchronize_streams(device)?;
        }
        self.0.traps.take(self)
    }

    /// What kernels have reported so far, without waiting for those that still run and without asking the driver: the error
    /// that [`Device::synchronize`] would return, as soon as it is known. It is returned once.
    ///
    /// # Errors
    /// A kernel has trapped, or a check in it did not hold.
    pub fn reported(&self) -> Result<(), LaunchError> {
        self.0.traps.take(self)
    }

    /// Waits for each stream. Waiting for the whole context would break a capture that goes on in it.
    fn synchronize_streams(&self, device: &CudaDevice) -> Result<(), DeviceError> {
        let streams = self.0.streams.lock().clone();
        // A stream that only the list and this copy of it hold will get no more work.
        let abandoned = |stream: &&CudaStream| Arc::strong_count(stream.stream()) <= 2;
        let abandoned: Vec<_> = streams.iter().filter(abandoned).collect();
        device.stream().synchronize()?;
        streams.iter().try_for_each(CudaStream::synchronize)?;
        let same = |one: &CudaStream, other: &CudaStream| Arc::ptr_eq(one.stream(), other.stream());
        let mut kept = self.0.streams.lock();
        kept.retain(|stream| !abandoned.iter().any(|abandoned| same(stream, abandoned)));
        Ok(())
    }

    /// Lets [`Device::synchronize`] wait for a stream too.
    fn keep(&self, stream: &CudaStream) {
        self.0.streams.lock().push(stream.clone());
    }

    /// What happened on this device so far.
    pub fn counters(&self) -> Counters {
        self.0.tally.read()
    }

    /// The variants made for this device, in the order of their making.
    pub fn variants(&self) -> Vec<Arc<crate::Variant>> {
        self.0.specializer.variants()
    }

    /// Whether memory of `other` can be used here.
    pub(crate) fn shares_memory_with(&self, other: &Device) -> bool {
        match (&self.0.engine, &other.0.engine) {
            (Engine::Cpu, Engine::Cpu) => true,
            (Engine::Cuda(one), Engine::Cuda(two)) => one.context() == two.context(),
            _ => false,
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    pub(crate) fn specializer(&self) -> &Specializer {
        &self.0.specializer
    }

    pub(crate) fn traps(&self) -> &Traps {
        &self.0.traps
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.0.tables
    }

    pub(crate) fn order(&self) -> &RwLock<()> {
        &self.0.order
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.engine {
            Engine::Cpu => f.write_str("the CPU device"),
            Engine::Cuda(device) => write!(f, "CUDA device {} ({})", device.ordinal(), device.properties().name),
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
        let missing = match (Device::cuda(0), Nvrtc::load()) {
            (Ok(_), Ok(_)) => None,
            (Err(error), _) => Some(error.to_string()),
            (_, Err(error)) => Some(error.to_string()),
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
    fn the_cpu_device_names_itself() {
        let device = Device::cpu();
        assert_eq!(device.to_string(), "the CPU device");
        assert_eq!(device.name(), "CPU");
        assert!(!device.is_cuda());
        assert!(device.synchronize().is_ok());
    }
}
