//! What kernels report while they run: indices out of bounds, and what was checked and does not hold.

use std::sync::Arc;

use parking_lot::Mutex;

use tilewright_dsl::backend::Module;
use tilewright_dsl::lower::{MarkedBy, TrapFault, TrapSite};

use crate::error::{LaunchError, MarkedAccess};
use crate::specialize::{CudaProgram, Program, Variant};

/// What the CPU device has to report.
#[derive(Default)]
pub(crate) struct Reports(Mutex<Option<LaunchError>>);

impl Reports {
    /// Keeps the first report until it is taken.
    pub(crate) fn report(&self, trap: LaunchError) {
        self.0.lock().get_or_insert(trap);
    }

    /// Takes the first report, of what has been reported so far.
    pub(crate) fn take(&self) -> Result<(), LaunchError> {
        self.0.lock().take().map_or(Ok(()), Err)
    }
}

/// Takes what the variants of a GPU have reported so far. One report is returned, all are taken.
pub(crate) fn take_from_all(variants: &[Arc<Variant>]) -> Result<(), LaunchError> {
    let mut first = Ok(());
    for variant in variants {
        first = first.and(take_from(variant));
    }
    first
}

fn take_from(variant: &Arc<Variant>) -> Result<(), LaunchError> {
    let Program::Cuda(program) = variant.program() else {
        return Ok(());
    };
    let CudaProgram {
        module,
        traps: Some(record),
        ..
    } = &**program
    else {
        return Ok(());
    };
    match record.take() {
        Some(words) => Err(report(variant, module, words)),
        None => Ok(()),
    }
}

/// What a record with these words says.
fn report(variant: &Variant, module: &Module, [place, program, value, met]: [u64; 4]) -> LaunchError {
    let value = value.cast_signed();
    let kernel = variant.name().to_owned();
    let site = usize::try_from(place).ok();
    let named = |tensor: u32| {
        let parameter = variant.kernel().parameters.get(tensor as usize);
        parameter.map_or_else(|| "an unknown tensor".to_owned(), |parameter| parameter.name.clone())
    };
    match site.and_then(|site| module.traps.get(site)) {
        Some(TrapSite { span, fault }) => match fault {
            // An axis of one tensor of a list, as that tensor counts its axes.
            TrapFault::OutOfBounds {
                tensor,
                axis: axis @ 1..,
            } if variant
                .kernel()
                .tensor(*tensor)
                .is_some_and(|tensor| tensor.list.is_some()) =>
            {
                LaunchError::Trapped {
                    kernel,
                    parameter: format!("{}[{}]", named(*tensor), met.cast_signed()),
                    axis: usize::from(*axis - 1),
                    span: *span,
                    program,
                    index: value,
                }
            }
            TrapFault::OutOfBounds { tensor, axis } => LaunchError::Trapped {
                kernel,
                parameter: named(*tensor),
                axis: usize::from(*axis),
                span: *span,
                program,
                index: value,
            },
            TrapFault::Conflict { tensor, touch } => {
                let MarkedBy { program: other, site } = MarkedBy::of(met);
                let place = match site.and_then(|site| module.traps.get(site)) {
                    Some(TrapSite {
                        span,
                        fault: TrapFault::Conflict { touch, .. },
                    }) => Some((*span, *touch)),
                    _ => None,
                };
                let found = MarkedAccess {
                    program: Some(program),
                    place: Some((*span, *touch)),
                };
                LaunchError::Conflict {
                    kernel,
                    parameter: named(*tensor),
                    element: value,
                    accesses: Box::new([found, MarkedAccess { program: other, place }]),
                }
            }
            // The epoch is below what was seen.
            TrapFault::Wait { tensor } => LaunchError::WaitEnded {
                kernel,
                parameter: named(*tensor),
                rank: met,
                epoch: value as u32,
                seen: (value >> u32::BITS) as u32,
                span: *span,
                program,
            },
            TrapFault::Check { kind, message } => LaunchError::CheckFailed {
                kernel,
                kind: *kind,
                message: message.clone(),
                span: *span,
                program,
            },
        },
        None => LaunchError::Trapped {
            kernel,
            parameter: "an unknown tensor".to_owned(),
            axis: 0,
            span: variant.kernel().span,
            program,
            index: value,
        },
    }
}
