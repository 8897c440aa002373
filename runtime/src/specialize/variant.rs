//! A kernel specialised for some launches, ready to run.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tilewright_dsl::backend::Module;
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::transform::Proof;

use crate::error::DeviceError;
use crate::hardware::cuda::CudaFunction;
use crate::hardware::record::TrapRecord;

/// A kernel with some of its symbols as literals, proved and compiled for a device.
pub struct Variant {
    pub(super) id: VariantId,
    pub(super) kernel: Kernel,
    pub(super) proofs: Vec<Proof>,
    pub(super) program: Program,
    pub(super) build_time: Duration,
    /// When it last served a launch, in launches of the device.
    pub(super) last_used: AtomicU64,
    /// How often it had made room when it was built.
    pub(super) returns: u32,
    /// Whether it may be part of a captured graph, of which nobody says when it goes.
    pub(super) is_in_graph: AtomicBool,
    pub(super) is_provisional: AtomicBool,
}

/// The name of a variant: a hash of everything that decides its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantId(pub(super) [u8; 32]);

/// What runs when a variant is launched.
pub(crate) enum Program {
    /// The interpreter, on the kernel itself.
    Interpreted,
    /// A kernel on a GPU.
    Cuda(Box<CudaProgram>),
    /// What a GPU that is not here would run.
    Offline(Box<Module>),
}

/// A loaded CUDA kernel.
pub(crate) struct CudaProgram {
    pub(crate) module: Module,
    pub(crate) function: CudaFunction,
    /// Bytes of the cubin.
    pub(super) bytes: u64,
    /// Where it reports what goes wrong, if anything in it does. Dropped after the function, whose module the driver unloads
    /// only when no kernel of it runs any more.
    pub(crate) traps: Option<TrapRecord>,
}

impl Variant {
    /// Its name.
    pub fn id(&self) -> VariantId {
        self.id
    }

    /// The name of the author's function.
    pub fn name(&self) -> &str {
        &self.kernel.name
    }

    /// The IR: bound, proved, and without what does not change the code.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What was proved of each access, in the order of the text, for the launch that the variant was made for.
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    /// The text and its schedule; `None` on the CPU device.
    pub fn module(&self) -> Option<&Module> {
        match &self.program {
            Program::Interpreted => None,
            Program::Cuda(program) => Some(&program.module),
            Program::Offline(module) => Some(module),
        }
    }

    /// How long it took to build, compilation and loading included.
    pub fn build_time(&self) -> Duration {
        self.build_time
    }

    /// Bytes of its cubin where it is loaded; 0 elsewhere.
    pub fn code_bytes(&self) -> u64 {
        match &self.program {
            Program::Interpreted | Program::Offline(_) => 0,
            Program::Cuda(program) => program.bytes,
        }
    }

    /// Whether it was made in haste, for a launch that waited: another one of the same bits, whose code took longer to make, is
    /// built behind and takes its place.
    pub fn is_provisional(&self) -> bool {
        self.is_provisional.load(Relaxed)
    }

    /// Keeps it as long as its device, if the launch that it serves goes into a graph.
    pub(crate) fn keep_for_graphs(
        &self,
        is_capturing: impl FnOnce() -> Result<bool, DeviceError>,
    ) -> Result<(), DeviceError> {
        if !self.is_in_graph.load(Relaxed) && is_capturing()? {
            self.is_in_graph.store(true, Relaxed);
        }
        Ok(())
    }

    /// Whether it may be dropped when nobody holds it: no graph may launch it, and it has no reports that nobody has read.
    pub(super) fn may_go(&self) -> bool {
        let reports = matches!(&self.program, Program::Cuda(program) if program.traps.is_some());
        !reports && !self.is_in_graph.load(Relaxed)
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variant({} {})", self.name(), self.id)
    }
}

impl VariantId {
    /// All of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for VariantId {
    /// The first 12 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for VariantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VariantId({self})")
    }
}
