//! Building a variant: nothing for the CPU device; a text, a cubin and a loaded module for a GPU; a cubin in a bundle for one
//! that is not here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tilewright_dsl::ir::Kernel;
use tilewright_dsl::lower::{KernelArgument, LowerError};
use tilewright_dsl::schedule::{Machine, Schedule};

use super::class::Staged;
use super::code::{Code, code, for_nvrtc};
use super::evict::Dropped;
use super::hooks::Event;
use super::plan::Shared;
use super::variant::{CudaProgram, Program, Variant, VariantId};
use crate::behind::Waiting;
use crate::cache::Origin;
use crate::counters::Tally;
use crate::error::LaunchError;
use crate::hardware::cuda::{CudaDevice, CudaModule};
use crate::hardware::record::TrapRecord;

/// Who wants a variant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// A launch, which waits for it.
    Launch,
    /// A launch that takes what is ready first: a provisional one will do.
    InHaste,
    /// Nobody waits.
    Behind,
}

/// The variant of a staged kernel with a schedule, if it is there.
pub(super) fn find(shared: &Shared, staged: &Staged, schedule: Option<&Schedule>, wait: Wait) -> Option<Arc<Variant>> {
    let kernel = &staged.kernel;
    // The CPU device has one variant for all schedules: that it is there does not say that this one fits.
    let has_one = shared.machine().is_none();
    if has_one && schedule.is_some_and(|schedule| check_schedule(kernel, schedule, None).is_err()) {
        return None;
    }
    let id = identify(shared, kernel, schedule);
    shared.variants.find(id, wait == Wait::InHaste)
}

/// Has the code of a variant made that nobody waits for, so that building it is to load it.
pub(super) fn prepare(shared: &Shared, staged: &Staged, schedule: &Schedule) -> Result<(), LaunchError> {
    let kernel = &staged.kernel;
    let (None, Some(cuda)) = (&shared.offline, shared.hardware.as_cuda()) else {
        return Ok(());
    };
    check_schedule(kernel, schedule, shared.machine().as_ref())?;
    let id = identify(shared, kernel, Some(schedule));
    shared
        .variants
        .prepare(id, || code_for(shared, cuda, kernel, schedule, false))
}

fn code_for(
    shared: &Shared,
    cuda: &CudaDevice,
    kernel: &Kernel,
    schedule: &Schedule,
    in_haste: bool,
) -> Result<Code, LaunchError> {
    let limit = shared.limits.compilation();
    code(cuda, shared.compiler, limit, kernel, schedule, in_haste)
}

/// The variant of a staged kernel with a schedule, which the CPU device does without; and whether it was built now.
pub(super) fn variant(
    shared: &Shared,
    staged: &Staged,
    schedule: Option<&Schedule>,
    wait: Wait,
) -> Result<(Arc<Variant>, bool), LaunchError> {
    let Shared { hardware, tally, .. } = shared;
    let Staged { kernel, proofs, .. } = staged;
    let started = Instant::now();
    if let Some(schedule) = schedule {
        check_schedule(kernel, schedule, shared.machine().as_ref())?;
    }
    let id = identify(shared, kernel, schedule);
    let (waits, in_haste) = (wait != Wait::Behind, wait == Wait::InHaste);
    let mut origin = None;
    let waiting = waits.then(Waiting::begin);
    let (variant, is_new) = shared.variants.get_or_build(id, in_haste, |prepared| {
        #[cfg(test)]
        shared.inject(&kernel.name, wait)?;
        #[cfg(not(test))]
        let mut is_provisional = false;
        #[cfg(test)]
        let mut is_provisional = in_haste && shared.hastens.load(Relaxed);
        let started = Instant::now();
        let mut took = Duration::ZERO;
        let program = match (&shared.offline, hardware.as_cuda(), schedule) {
            (Some(offline), _, Some(schedule)) => {
                let module = for_nvrtc(kernel, schedule)?;
                origin = Some(offline.compile(&module)?);
                Program::Offline(Box::new(module))
            }
            (None, Some(cuda), Some(schedule)) => {
                let code = match prepared {
                    Some(prepared) => {
                        took = prepared.took;
                        prepared.code
                    }
                    None => code_for(shared, cuda, kernel, schedule, in_haste)?,
                };
                (origin, is_provisional) = (Some(code.origin), code.is_provisional);
                let program = load(cuda, kernel, code)?;
                Program::Cuda(Box::new(program))
            }
            _ => Program::Interpreted,
        };
        Ok::<_, LaunchError>(Variant {
            id,
            kernel: kernel.clone(),
            proofs: proofs.clone(),
            program,
            build_time: took + started.elapsed(),
            returns: staged.dropped(schedule).map_or(0, Dropped::times),
            last_used: AtomicU64::new(tally.launches()),
            is_in_graph: AtomicBool::new(false),
            is_provisional: AtomicBool::new(is_provisional),
        })
    })?;
    drop(waiting);
    if waits {
        tally.waited(started.elapsed());
    }
    if !is_new {
        return Ok((variant, false));
    }
    let elapsed = variant.build_time;
    tracing::debug!(kernel = kernel.name, variant = %id, ?origin, ?elapsed, "built a variant for {hardware}");
    if origin.is_none_or(Origin::is_compiled) {
        Tally::add(&tally.compiles);
    }
    Tally::add(&tally.variants);
    tally.code_bytes.fetch_add(variant.code_bytes(), Relaxed);
    shared.hooks.tell(|| Event::Built {
        variant: &variant,
        waited: waits,
        origin,
    });
    Ok((variant, true))
}

/// Whether a kernel can have a schedule, on a machine if there is one.
pub(super) fn check_schedule(
    kernel: &Kernel,
    schedule: &Schedule,
    machine: Option<&Machine>,
) -> Result<(), LowerError> {
    let fits = match machine {
        Some(machine) => schedule.fits_on(kernel, machine),
        None => schedule.fits(kernel),
    };
    fits.map_err(|source| LowerError::Schedule {
        kernel: kernel.name.clone(),
        source,
    })
}

fn load(cuda: &CudaDevice, kernel: &Kernel, Code { module, cubin, .. }: Code) -> Result<CudaProgram, LaunchError> {
    let (bytes, limit) = (module.dynamic_shared, cuda.properties().shared_bytes_per_block_optin);
    if bytes > limit {
        return Err(LaunchError::Lower(LowerError::SharedMemory {
            kernel: kernel.name.clone(),
            bytes: bytes.into(),
            limit: limit.into(),
            span: kernel.span,
        }));
    }
    let function = CudaModule::load(cuda, &cubin.bytes)?.function(&module.entry)?;
    if bytes > 0 {
        function.allow_shared(bytes)?;
    }
    let traps = match module.arguments.contains(&KernelArgument::Trap) {
        true => Some(TrapRecord::new(cuda)?),
        false => None,
    };
    Ok(CudaProgram {
        module,
        function,
        bytes: cubin.bytes.len() as u64,
        traps,
    })
}

/// The name of a variant within one process, where the compiler, its options and the author's own functions do not change.
fn identify(shared: &Shared, kernel: &Kernel, schedule: Option<&Schedule>) -> VariantId {
    let mut hash = blake3::Hasher::new();
    hash.update(kernel.identity().as_bytes());
    if let Some((target, schedule)) = shared.target().zip(schedule) {
        hash.update(format!("for {}, {schedule}", target.architecture).as_bytes());
    }
    VariantId(*hash.finalize().as_bytes())
}
