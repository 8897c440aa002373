//! A look at what is made of a launch: every stage from the author's function to instructions, what was proved and decided
//! on the way, and what it costs. No GPU is needed.
//!
//! ```text
//! call -> specimen    its class, conditions, and the variants that may serve it (see `specialize`)
//!      -> look        what is shown of it, lowered; texts of both backends      `listing`, `traffic`
//!      -> compiled    by NVRTC, if it is there: registers, spills, instructions  `assembly`, `occupancy`
//!      -> Inspection  as a value (`report`), a text (`text`) or a page (`html`, `picture`)
//! ```

mod assembly;
mod cubin;
mod html;
mod listing;
mod look;
mod occupancy;
mod picture;
mod report;
mod text;
mod traffic;

use tilewright_dsl::backend::ptx::Unsupported;
use tilewright_dsl::call::Call;
use tilewright_dsl::schedule::Machine;

pub use cubin::CubinInspection;
pub use listing::{Line, Place, Source};
#[cfg(test)]
pub(crate) use occupancy::Block;
pub use occupancy::Occupancy;
pub use report::*;
pub use text::{Section, UnknownSection};
pub use traffic::{TensorTraffic, Traffic};

use crate::compile::{Architecture, CompileError, CubinError};
use crate::error::LaunchError;
use crate::specialize::{Target, Tier};
use look::Look;

/// What a look at a launch is for.
#[derive(Debug, Clone)]
pub struct InspectOptions {
    /// The GPU.
    pub target: Target,
    /// Which variant is shown; `None` for the best that there can be.
    pub tier: Option<Tier>,
    /// Texts of the author's files by their names as rustc has them, or the ends of these, for files that do not lie below the
    /// current folder or one above it.
    pub sources: Vec<(String, String)>,
}

impl InspectOptions {
    /// The best variant for a GPU.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            tier: None,
            sources: Vec::new(),
        }
    }

    /// The same for the GPU that [servers usually have](Target::usual) of an architecture, or one with as many multiprocessors as
    /// an H200.
    pub fn of(architecture: Architecture) -> Self {
        Self::new(usual(architecture))
    }
}

/// Why a launch cannot be looked at.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InspectError {
    /// A launch of it would fail too.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A compiler that is there does not take its text.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// What a compiler made cannot be read.
    #[error(transparent)]
    Cubin(#[from] CubinError),
    /// PTX for this GPU cannot say it.
    #[error("kernel `{kernel}` has no PTX for this GPU: {reason}")]
    Unsupported {
        /// The kernel.
        kernel: String,
        /// What it cannot say.
        reason: Unsupported,
    },
    /// A launch without exact counts has no variant with literals.
    #[error("a launch of kernel `{kernel}` as this one has no variant with literals: pass counts as `Exact`")]
    NoLiterals {
        /// The kernel.
        kernel: String,
    },
}

/// What can be looked at: a call of a kernel.
pub trait Inspect {
    /// What is made of a launch of this call for a GPU that need not be here. Nothing is launched, and memory is only looked at
    /// for where it lies: tensors of any device do, those of an [offline](crate::cache::BundleBuilder::device) one included.
    ///
    /// What is not at hand is [told](Inspection::missing) and left out: without NVRTC there are no registers and no
    /// instructions, without `nvdisasm` no instructions.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    /// use tilewright_runtime::Device;
    /// use tilewright_runtime::compile::Architecture;
    /// use tilewright_runtime::inspect::{Inspect, InspectOptions};
    ///
    /// #[kernel(grid = [out.extent(0)])]
    /// fn copy(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    ///     let (row, cols) = (program_id(0), arange(out.extent(1)));
    ///     out.store([row, cols], src.load([row, cols]));
    /// }
    ///
    /// let device = Device::cpu();
    /// let (src, mut out) = (device.zeros::<f32, 2>([64, 1024])?, device.zeros::<f32, 2>([64, 1024])?);
    /// let found = copy(&mut out, &src).inspect(&InspectOptions::of(Architecture::new(9, 0)))?;
    /// assert_eq!((found.launch.programs, found.launch.blocks), (64, Some(64)));
    /// assert!(found.listing("ptx").is_some_and(|ptx| ptx.text().contains(".target sm_90")));
    /// assert_eq!(found.traffic.asked_bytes, Some(2 * 64 * 1024 * 4));
    /// println!("{found}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What a launch of the call fails with before it is compiled, or what a compiler that is there says against its text.
    fn inspect(&self, options: &InspectOptions) -> Result<Inspection, InspectError>;

    /// The CUDA C++ of the best variant for this call, as NVRTC is given it. The schedule is for the GPU that servers usually have
    /// of the architecture.
    ///
    /// # Errors
    /// What a launch of the call fails with before it is compiled.
    fn cuda_text(&self, architecture: Architecture) -> Result<String, InspectError>;

    /// The same as PTX, as the driver is given it.
    ///
    /// # Errors
    /// What a launch of the call fails with before it is compiled, or what PTX for this architecture cannot say.
    fn ptx(&self, architecture: Architecture) -> Result<String, InspectError>;
}

impl Inspect for Call<'_> {
    fn inspect(&self, options: &InspectOptions) -> Result<Inspection, InspectError> {
        Look::at(self, options.target, options.tier)?.inspection(options)
    }

    fn cuda_text(&self, architecture: Architecture) -> Result<String, InspectError> {
        Ok(Look::at(self, usual(architecture), None)?
            .cuda()
            .text
            .as_str()
            .to_owned())
    }

    fn ptx(&self, architecture: Architecture) -> Result<String, InspectError> {
        let unsupported = |reason| InspectError::Unsupported {
            kernel: self.definition().name().to_owned(),
            reason,
        };
        let module = Look::at(self, usual(architecture), None)?.ptx().map_err(unsupported)?;
        Ok(module.text.as_str().to_owned())
    }
}

fn usual(architecture: Architecture) -> Target {
    let others = Machine::H200.multiprocessors;
    Target::usual(architecture).unwrap_or(Target::new(architecture, others))
}

#[cfg(test)]
mod tests;
