//! What kernels report while they run: indices out of bounds, and what was checked and does not hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};

use parking_lot::Mutex;

use tilewright_dsl::cuda::{Module, TrapFault, TrapSite};

use super::LaunchError;
use crate::device::cuda::{CudaDevice, CudaMemory, CudaStream};
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

    /// Takes the report, once everything launched is done.
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

/// The four words in which a variant on a GPU reports: 1 + the number of the place, the program, a value, unused.
pub(crate) struct TrapRecord {
    memory: CudaMemory,
    /// Whether the variant was launched since the record was read.
    armed: AtomicBool,
    /// Whether a graph holds a launch of the variant: it may run at any time, so the record is always read.
    captured: AtomicBool,
}

const WORDS: usize = 4;

impl TrapRecord {
    pub(crate) fn new(cuda: &CudaDevice) -> Result<Self, DeviceError> {
        let memory = CudaMemory::zeroed(cuda, WORDS * size_of::<u64>())?;
        // Other streams may be the first to use it.
        cuda.stream().synchronize()?;
        Ok(Self {
            memory,
            armed: AtomicBool::new(false),
            captured: AtomicBool::new(false),
        })
    }

    /// The address to launch with on a stream.
    pub(crate) fn arm(&self, stream: &CudaStream) -> Result<u64, DeviceError> {
        if stream.is_capturing()? {
            self.captured.store(true, Release);
        }
        self.armed.store(true, Release);
        Ok(self.memory.address())
    }

    fn take(&self) -> Result<Option<[u64; WORDS]>, DeviceError> {
        if !self.armed.swap(false, AcqRel) && !self.captured.load(Acquire) {
            return Ok(None);
        }
        let mut bytes = [0; WORDS * size_of::<u64>()];
        self.memory.download(0, &mut bytes)?;
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        if words[0] == 0 {
            return Ok(None);
        }
        self.memory.zero()?;
        self.memory.device().stream().synchronize()?;
        Ok(Some(words))
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
    let Some([number, program, value, _]) = record.take()? else {
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
            TrapFault::OutOfBounds { tensor, .. } => LaunchError::Trapped {
                kernel,
                parameter: named(*tensor),
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
            span: variant.kernel().span,
            program,
            index: value,
        },
    }
}
