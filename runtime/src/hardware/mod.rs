//! What the work is done by: an engine, the order of what it is asked, and its memory.
//!
//! Bytes, addresses and streams; nothing here knows of kernels with types, of launches or of tensors.

pub mod cuda;

pub(crate) mod capture;
pub(crate) mod memory;
mod quiet;
pub(crate) mod record;
pub(crate) mod tables;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, RwLock};

use crate::error::DeviceError;
use cuda::{CudaDevice, CudaStream};
use quiet::Quiet;

/// A CPU or a GPU, with the order of the work that is asked of it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Hardware(Arc<Shared>);

struct Shared {
    engine: Engine,
    /// The streams besides the engine's own, kept until their work is known to be done.
    streams: Mutex<Vec<CudaStream>>,
    /// Held for reading while work is put into a stream, for writing while memory moves from one stream to another.
    order: RwLock<()>,
    /// How often memory moved so, or others' memory came.
    moves: AtomicU64,
    quiet: Quiet,
}

/// What does the work.
pub(crate) enum Engine {
    /// The interpreter.
    Cpu,
    /// A GPU.
    Cuda(CudaDevice),
}

impl Hardware {
    /// The host's processor.
    pub(crate) fn cpu() -> Self {
        Self::new(Engine::Cpu)
    }

    /// A GPU by its number, from 0. What is to be ordered with one another belongs to one of them.
    pub(crate) fn cuda(ordinal: u32) -> Result<Self, DeviceError> {
        Ok(Self::new(Engine::Cuda(CudaDevice::open(ordinal)?)))
    }

    fn new(engine: Engine) -> Self {
        Self(Arc::new(Shared {
            engine,
            streams: Mutex::default(),
            order: RwLock::new(()),
            moves: AtomicU64::new(0),
            quiet: Quiet::default(),
        }))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn as_cuda(&self) -> Option<&CudaDevice> {
        match &self.0.engine {
            Engine::Cpu => None,
            Engine::Cuda(cuda) => Some(cuda),
        }
    }

    /// Whether it is the same, opened once.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether memory of `other` can be used here.
    pub(crate) fn shares_memory_with(&self, other: &Self) -> bool {
        if self.is(other) {
            return true;
        }
        match (&self.0.engine, &other.0.engine) {
            (Engine::Cpu, Engine::Cpu) => true,
            (Engine::Cuda(one), Engine::Cuda(two)) => one.context() == two.context(),
            _ => false,
        }
    }

    /// Waits for each stream. Waiting for the whole context would break a capture that goes on in it.
    pub(crate) fn synchronize(&self) -> Result<(), DeviceError> {
        let Some(device) = self.as_cuda() else {
            tilewright_dsl::interpret::synchronize();
            return Ok(());
        };
        let streams = self.0.streams.lock().clone();
        // A stream that only the list and this copy of it hold will get no more work.
        let abandoned: Vec<_> = streams.iter().filter(|stream| stream.is_abandoned()).collect();
        device.stream().synchronize()?;
        streams.iter().try_for_each(CudaStream::synchronize)?;
        cuda::release_left();
        let same = |one: &CudaStream, other: &CudaStream| one.identity() == other.identity();
        let mut kept = self.0.streams.lock();
        kept.retain(|stream| !abandoned.iter().any(|abandoned| same(stream, abandoned)));
        Ok(())
    }

    /// Lets [`Hardware::synchronize`] wait for a stream too.
    pub(crate) fn keep(&self, stream: &CudaStream) {
        let mut streams = self.0.streams.lock();
        // An engine's stream may be taken over again and again.
        streams.retain(|kept| kept.identity() != stream.identity());
        streams.push(stream.clone());
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.engine {
            Engine::Cpu => f.write_str("the CPU device"),
            Engine::Cuda(cuda) => write!(f, "CUDA device {} ({})", cuda.ordinal(), cuda.properties().name),
        }
    }
}
