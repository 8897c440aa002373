//! Building a variant: nothing for the CPU device; CUDA C++, a cubin and a loaded module for a GPU.

use std::sync::Arc;
use std::time::Instant;

use tilewright_dsl::cuda::{KernelArgument, LowerError, Module, lower};
use tilewright_dsl::schedule::Schedule;

use super::stage::{Staged, identify, schedule_for};
use super::variant::{CudaProgram, Program, Variant};
use super::variants::Variants;
use crate::cache::{CubinCache, Origin};
use crate::compile::CompileOptions;
use crate::counters::Tally;
use crate::error::LaunchError;
use crate::hardware::cuda::{CudaDevice, CudaModule};
use crate::hardware::record::TrapRecord;
use crate::hardware::{Engine, Hardware};

/// The variant for a staged kernel, and whether it was built by this call.
pub(super) fn variant(
    variants: &Variants,
    hardware: &Hardware,
    tally: &Tally,
    staged: Staged,
    programs: u64,
    requested: Option<&Schedule>,
) -> Result<(Arc<Variant>, bool), LaunchError> {
    let Staged { kernel, proofs } = staged;
    let started = Instant::now();
    if let Some(schedule) = requested {
        schedule.fits(&kernel).map_err(|source| LowerError::Schedule {
            kernel: kernel.name.clone(),
            source,
        })?;
    }
    let chosen = hardware.as_cuda().map(|cuda| {
        let properties = cuda.properties();
        let schedule = requested.copied();
        (
            properties,
            schedule.unwrap_or_else(|| schedule_for(&kernel, properties, programs)),
        )
    });
    let id = identify(
        &kernel,
        chosen.as_ref().map(|(properties, schedule)| (*properties, schedule)),
    );
    variants.get_or_build(id, || {
        let (program, origin) = match (hardware.engine(), &chosen) {
            (Engine::Cuda(cuda), Some((_, schedule))) => {
                let (program, origin) = program(cuda, lower(&kernel, schedule)?)?;
                (Program::Cuda(Box::new(program)), Some(origin))
            }
            _ => (Program::Interpreted, None),
        };
        let build_time = started.elapsed();
        tracing::debug!(kernel = kernel.name, variant = %id, ?origin, elapsed = ?build_time, "built a variant for {hardware}");
        if origin.is_none_or(|origin| origin == Origin::Nvrtc) {
            Tally::add(&tally.compiles);
        }
        Tally::add(&tally.variants);
        Ok(Variant {
            id,
            kernel,
            proofs,
            program,
            build_time,
        })
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
