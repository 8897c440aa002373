//! Variants for a GPU that is not here: they go into a bundle, and nothing is launched.

use tilewright_dsl::backend::Module;
use tilewright_dsl::schedule::Machine;

use crate::cache::{BundleBuilder, Origin};
use crate::compile::{Architecture, CompileError, CompileOptions};
use crate::hardware::cuda::CudaProperties;

/// A GPU that kernels are compiled for, wherever that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its architecture.
    pub architecture: Architecture,
    /// How many multiprocessors it has: schedules depend on it.
    pub multiprocessors: u32,
}

impl Target {
    /// A target of the given properties: `Target::new(Architecture::new(9, 0), 132)` is an H100 SXM or an H200.
    pub const fn new(architecture: Architecture, multiprocessors: u32) -> Self {
        Self {
            architecture,
            multiprocessors,
        }
    }

    /// What schedules are chosen for.
    pub fn machine(self) -> Machine {
        Machine::new(self.architecture.number(), self.multiprocessors)
    }

    /// The GPU that servers usually have of an architecture: an A100, an H100 or H200, a B200. `None` of others.
    ///
    /// ```
    /// use tilewright_runtime::Target;
    /// use tilewright_runtime::compile::Architecture;
    ///
    /// let h100 = Target::usual(Architecture::new(9, 0)).expect("one is known");
    /// assert_eq!(h100.multiprocessors, 132);
    /// assert_eq!(Target::usual(Architecture::new(1, 0)), None);
    /// ```
    pub fn usual(architecture: Architecture) -> Option<Self> {
        let usual = [(8, 108), (9, 132), (10, 148)].map(|(major, count)| Self::new(Architecture::new(major, 0), count));
        usual.into_iter().find(|target| target.architecture == architecture)
    }
}

impl From<&CudaProperties> for Target {
    fn from(properties: &CudaProperties) -> Self {
        Self::new(properties.architecture, properties.multiprocessors)
    }
}

/// What a device without its GPU has instead.
pub(crate) struct Offline {
    pub(crate) target: Target,
    pub(crate) builder: BundleBuilder,
}

impl Offline {
    /// Has a module compiled into the bundle, as the GPU would have it compiled.
    pub(super) fn compile(&self, module: &Module) -> Result<Origin, CompileError> {
        let options = CompileOptions::new(self.target.architecture);
        let (_, origin) = self.builder.compiled(module.text.as_str(), &module.entry, &options)?;
        Ok(origin)
    }
}
