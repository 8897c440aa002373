//! What kernels report while they run: indices out of bounds, and what was checked and does not hold.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use parking_lot::Mutex;

use tilewright_dsl::cuda::{Module, TrapFault, TrapSite};

use super::LaunchError;
use crate::device::cuda::{CudaDevice, MappedWords};
use crate::device::{Device, DeviceError};
use crate::specialize::{CudaProgram, Program, Variant};

/// What the CPU device has to report.
#[derive(Default)]
pub(crate) struct Traps(Mutex<Option<LaunchError>>);

impl Traps {
    /// Keeps the first report until it is taken.
    pub(crate) fn report(&self, trap: LaunchError) {
        self.0.lock().get_or_insert(trap);
    }

    /// Takes the first report, of what has been reported so far.
    pub(crate) fn take(&self, device: &Device) -> Result<(), LaunchError> {
        if let Some(trap) = self.0.lock().take() {
            return Err(trap);
        }
        if device.is_cuda() {
            // One report is returned, all are taken.
            let mut first = Ok(());
            for variant in device.specializer().variants() {
                first = first.and(take_from(&variant));
            }
            return first;
        }
        Ok(())
    }
}

/// The four words in which a variant on a GPU reports: 1 + the number of the place, the program, a value, and the first one
/// again once all of them are there. The host reads them at any time, so that a report needs no waiting.
pub(crate) struct TrapRecord(MappedWords<WORDS>);

const WORDS: usize = 4;

impl TrapRecord {
    pub(crate) fn new(cuda: &CudaDevice) -> Result<Self, DeviceError> {
        MappedWords::new(cuda).map(Self)
    }

    /// The address to launch with.
    pub(crate) fn address(&self) -> u64 {
        self.0.address()
    }

    /// The number of the place, from 1, the program and the value, if there is a whole report. It is gone then.
    fn take(&self) -> Option<[u64; 3]> {
        let [claimed, program, value, complete] = self.0.words();
        let number = complete.load(Acquire);
        if number == 0 {
            return None;
        }
        let report = [number, program.load(Relaxed), value.load(Relaxed)];
        // From the last store on, a kernel may report again.
        complete.store(0, Release);
        claimed.store(0, Release);
        Some(report)
    }
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
    let Some([number, program, value]) = record.take() else {
        return Ok(());
    };
    Err(report(variant, module, number, program, value.cast_signed()))
}

/// What a record with these words says.
fn report(variant: &Variant, module: &Module, number: u64, program: u64, value: i64) -> LaunchError {
    let kernel = variant.name().to_owned();
    let site = number.checked_sub(1).and_then(|number| usize::try_from(number).ok());
    let named = |tensor: u32| {
        let parameter = variant.kernel().parameters.get(tensor as usize);
        parameter.map_or_else(|| "an unknown tensor".to_owned(), |parameter| parameter.name.clone())
    };
    match site.and_then(|site| module.traps.get(site)) {
        Some(TrapSite { span, fault }) => match fault {
            TrapFault::OutOfBounds { tensor, axis } => LaunchError::Trapped {
                kernel,
                parameter: named(*tensor),
                axis: usize::from(*axis),
                span: *span,
                program,
                index: value,
            },
            TrapFault::NotDisjoint { tensor } => LaunchError::NotDisjoint {
                kernel,
                parameter: named(*tensor),
                span: *span,
                program,
                element: value,
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
