//! Launches that are prepared without a GPU, for bundles.

use tilewright_dsl::call::Call;
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
    /// Compiles the variant that a launch of the call needs on a GPU that is not here. Its tensors are of the CPU device; what
    /// they hold is not looked at, only their types, extents, strides and alignments, and the counts. `None` for a launch of
    /// no programs, which needs none. `examples/bundle.rs` makes a bundle so, and launches from it.
    ///
    /// # Errors
    /// What a launch of the call fails with on that GPU before it begins, [`LaunchError::Compile`] included.
    pub fn add_call(&self, call: &Call<'_>, target: &Target) -> Result<Option<CubinKey>, LaunchError> {
        check(call, &Device::cpu())?;
        let machine = Machine {
            multiprocessors: target.multiprocessors,
        };
        let Some(module) = lowered(call, &machine)? else {
            return Ok(None);
        };
        let options = CompileOptions::new(target.architecture);
        Ok(Some(self.compile(&module.source, &module.entry, &options)?))
    }
}
