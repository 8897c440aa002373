//! From a kernel to a cubin: which text it is printed as, and who compiles that.

use std::time::Duration;

use tilewright_dsl::backend::ptx::{Target, Unsupported};
use tilewright_dsl::backend::{Module, Text};
use tilewright_dsl::ir::{Expression, Kernel};
use tilewright_dsl::lower::{LowerError, lower};
use tilewright_dsl::schedule::Schedule;

use crate::cache::{CubinCache, CubinKey, Origin};
use crate::compile::{Architecture, CompileError, CompileOptions, Compiler, Cubin, Nvrtc, assemble};
use crate::error::{DeviceError, LaunchError};
use crate::hardware::cuda::{self, CudaDevice};

/// What a GPU runs.
pub(super) struct Code {
    pub(super) module: Module,
    pub(super) cubin: Cubin,
    pub(super) origin: Origin,
    /// Whether it was made in haste, where other code is to take its place.
    pub(super) is_provisional: bool,
}

impl Code {
    fn new(module: Module, cubin: Cubin, origin: Origin) -> Self {
        Self {
            module,
            cubin,
            origin,
            is_provisional: false,
        }
    }
}

/// The text of a kernel for NVRTC.
pub(super) fn for_nvrtc(kernel: &Kernel, schedule: &Schedule) -> Result<Module, LowerError> {
    lower(kernel, schedule).map(|lowered| Module::cuda(&lowered))
}

/// The code of a kernel for a GPU, by the compiler that was chosen for it. In haste, the driver's will do for now, which is ready in
/// less than half the time of NVRTC's.
pub(super) fn code(
    cuda: &CudaDevice,
    compiler: Compiler,
    limit: Duration,
    kernel: &Kernel,
    schedule: &Schedule,
    in_haste: bool,
) -> Result<Code, LaunchError> {
    let mut options = CompileOptions::new(cuda.properties().architecture);
    options.limit = limit;
    let lowered = lower(kernel, schedule)?;
    let own = has_own_instructions(kernel);
    let ptx = || -> Result<Result<Code, Unsupported>, LaunchError> {
        match target(options.arch, own).and_then(|target| Module::ptx(&lowered, target)) {
            Ok(module) => driver(cuda, module, &options).map(Ok),
            Err(unsupported) => Ok(Err(unsupported)),
        }
    };
    let unsaid = |reason, missing| CompileError::NeedsNvrtc {
        kernel: kernel.name.clone(),
        reason,
        missing: Box::new(missing),
    };
    let module = || Module::cuda(&lowered);
    if in_haste && compiler == Compiler::Auto {
        let cuda = module();
        if let Some((cubin, origin)) = CubinCache::current().at_hand(cuda.text.as_str(), &cuda.entry, &options) {
            return Ok(Code::new(cuda, cubin, origin));
        }
        match ptx() {
            Ok(Ok(code)) => {
                // Without an NVRTC it is the best that there is.
                let is_provisional = Nvrtc::identity_at_hand().is_ok();
                return Ok(Code { is_provisional, ..code });
            }
            // What has taken too long already is not waited for twice.
            Err(error @ LaunchError::Compile(CompileError::Unended { .. } | CompileError::TooManyUnended { .. })) => {
                return Err(error);
            }
            Err(error) => tracing::debug!(kernel = kernel.name, %error, "the driver cannot compile it: NVRTC is asked"),
            Ok(Err(unsupported)) => tracing::debug!(kernel = kernel.name, %unsupported, "NVRTC is asked"),
        }
    }
    match compiler {
        Compiler::Nvrtc => Ok(nvrtc(module(), &options)?),
        Compiler::Auto => match nvrtc(module(), &options) {
            Err(missing @ (CompileError::NvrtcNotFound { .. } | CompileError::UnsupportedArchitecture { .. })) => {
                ptx()?.map_err(|reason| unsaid(reason, missing).into())
            }
            code => Ok(code?),
        },
        Compiler::Ptx => match ptx()? {
            Ok(code) => Ok(code),
            Err(reason) => match nvrtc(module(), &options) {
                Err(missing @ (CompileError::NvrtcNotFound { .. } | CompileError::NamedNvrtc { .. })) => {
                    Err(unsaid(reason, missing).into())
                }
                code => Ok(code?),
            },
        },
    }
}

fn nvrtc(module: Module, options: &CompileOptions) -> Result<Code, CompileError> {
    let (cubin, origin) = CubinCache::current().cubin(module.text.as_str(), &module.entry, options)?;
    Ok(Code::new(module, cubin, origin))
}

/// By the driver, on a thread of its own.
fn driver(cuda: &CudaDevice, module: Module, options: &CompileOptions) -> Result<Code, LaunchError> {
    let Text::Ptx(text) = &module.text else {
        return Ok(nvrtc(module, options)?);
    };
    let key = CubinKey::of_ptx(&text.text, &module.entry, options.arch);
    let device = cuda.clone();
    let make = || {
        assemble(text, &module.entry, options, move |text| {
            match cuda::assemble(&device, text) {
                Ok(cubin) => Ok(Ok(cubin)),
                Err(DeviceError::RejectedPtx { log, .. }) => Ok(Err(log)),
                Err(error) => Err(LaunchError::from(error)),
            }
        })
    };
    let (cubin, origin) = CubinCache::current().made(key, &module.entry, cuda::assembler()?, make)?;
    Ok(Code::new(module, cubin, origin))
}

/// What PTX is printed for: the first version of the language that will do, so that its cubins are found again by other
/// drivers, or the driver's own where a kernel's author may want any.
fn target(architecture: Architecture, has_own_instructions: bool) -> Result<Target, Unsupported> {
    let target = Target::new(architecture.number())?;
    match cuda::driver_version() {
        Ok(driver) if has_own_instructions => {
            let (major, minor) = version_of(driver);
            Ok(target.with_version(major, minor))
        }
        _ => Ok(target),
    }
}

/// The version of PTX that came with a version of CUDA, or an earlier one.
fn version_of(cuda: (u32, u32)) -> (u32, u32) {
    match cuda {
        (..12, _) => (7, 8),
        (12, minor @ ..=5) => (8, minor),
        (12, 6) => (8, 5),
        (12, minor @ ..=9) => (8, minor - 1),
        (12, _) => (8, 8),
        (13, minor @ ..=1) => (9, minor),
        _ => (9, 1),
    }
}

fn has_own_instructions(kernel: &Kernel) -> bool {
    let mut nodes = kernel.expressions.iter();
    nodes.any(|(_, node)| matches!(node, Expression::Ptx(_)))
}
