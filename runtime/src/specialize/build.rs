//! Building a variant: nothing for the CPU device; CUDA C++, a cubin and a loaded module for a GPU.

use std::sync::Arc;
use std::time::Instant;

use tilewright_dsl::cuda::{KernelArgument, LowerError, Module, lower};
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::schedule::Schedule;

use super::class::Staged;
use super::variant::{CudaProgram, Program, Variant, VariantId};
use super::variants::Variants;
use crate::cache::{CubinCache, Origin};
use crate::compile::CompileOptions;
use crate::counters::Tally;
use crate::error::LaunchError;
use crate::hardware::Hardware;
use crate::hardware::cuda::{CudaDevice, CudaModule, CudaProperties};
use crate::hardware::record::TrapRecord;

/// The variant of a staged kernel with a schedule, which the CPU device does without, and whether it was built by this call.
pub(super) fn variant(
    variants: &Variants,
    hardware: &Hardware,
    tally: &Tally,
    staged: &Staged,
    schedule: Option<&Schedule>,
) -> Result<(Arc<Variant>, bool), LaunchError> {
    let Staged { kernel, proofs, .. } = staged;
    let started = Instant::now();
    if let Some(schedule) = schedule {
        check_schedule(kernel, schedule)?;
    }
    let target = hardware.as_cuda().zip(schedule);
    let id = identify(kernel, target.map(|(cuda, schedule)| (cuda.properties(), schedule)));
    variants.get_or_build(id, || {
        let (program, origin) = match target {
            Some((cuda, schedule)) => {
                let (program, origin) = program(cuda, lower(kernel, schedule)?)?;
                (Program::Cuda(Box::new(program)), Some(origin))
            }
            None => (Program::Interpreted, None),
        };
        let build_time = started.elapsed();
        tracing::debug!(kernel = kernel.name, variant = %id, ?origin, elapsed = ?build_time, "built a variant for {hardware}");
        if origin.is_none_or(|origin| origin == Origin::Nvrtc) {
            Tally::add(&tally.compiles);
        }
        Tally::add(&tally.variants);
        Ok(Variant {
            id,
            kernel: kernel.clone(),
            proofs: proofs.clone(),
            program,
            build_time,
        })
    })
}

/// Whether a kernel can have a schedule.
pub(super) fn check_schedule(kernel: &Kernel, schedule: &Schedule) -> Result<(), LowerError> {
    schedule.fits(kernel).map_err(|source| LowerError::Schedule {
        kernel: kernel.name.clone(),
        source,
    })
}

fn program(cuda: &CudaDevice, module: Module) -> Result<(CudaProgram, Origin), LaunchError> {
    let options = CompileOptions::new(cuda.properties().architecture);
    let (cubin, origin) = CubinCache::current().cubin(&module.source, &module.entry, &options)?;
    let function = CudaModule::load(cuda, &cubin.bytes)?.function(&module.entry)?;
    let traps = match module.arguments.contains(&KernelArgument::Trap) {
        true => Some(TrapRecord::new(cuda)?),
        false => None,
    };
    let program = CudaProgram {
        module,
        function,
        traps,
    };
    Ok((program, origin))
}

/// The name of a variant within one process, where the compiler, its options and the author's own functions do not change.
fn identify(kernel: &Kernel, target: Option<(&CudaProperties, &Schedule)>) -> VariantId {
    let mut hash = blake3::Hasher::new();
    hash.update(kernel.identity().as_bytes());
    if let Some((properties, schedule)) = target {
        hash.update(format!("for {}, {schedule}", properties.architecture).as_bytes());
    }
    VariantId(*hash.finalize().as_bytes())
}
