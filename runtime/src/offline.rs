//! Launches that are prepared without a GPU, for bundles.

use tilewright_dsl::call::Call;
use tilewright_dsl::cuda::Module;
use tilewright_dsl::schedule::Machine;

use crate::cache::{BundleBuilder, CubinKey};
use crate::compile::{Architecture, CompileOptions};
use crate::device::Device;
use crate::error::LaunchError;
use crate::hardware::cuda::CudaProperties;
use crate::launch::check;
use crate::specialize::lowered;

/// A GPU that kernels are compiled for, wherever that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl From<&CudaProperties> for Target {
    fn from(properties: &CudaProperties) -> Self {
        Self::new(properties.architecture, properties.multiprocessors)
    }
}

impl BundleBuilder {
    /// Compiles the variants that a launch of the call may be served by on a GPU that is not here, as far as the call's
    /// [`Specialize`](tilewright_dsl::call::Specialize) asks for them; the best one is the first. Its tensors are of the CPU device; what
    /// they hold is not looked at, only their types, extents, strides and alignments, and the counts. None for a launch of
    /// no programs. `examples/bundle.rs` makes a bundle so, and launches from it.
    ///
    /// # Errors
    /// What a launch of the call fails with on that GPU before it begins, [`LaunchError::Compile`] included.
    pub fn add_call(&self, call: &Call<'_>, target: &Target) -> Result<Vec<CubinKey>, LaunchError> {
        check(call, &Device::cpu())?;
        let machine = Machine {
            multiprocessors: target.multiprocessors,
        };
        let options = CompileOptions::new(target.architecture);
        let compile = |module: Module| Ok(self.compile(&module.source, &module.entry, &options)?);
        lowered(call, &machine)?.into_iter().map(compile).collect()
    }
}
