//! The words in which kernels report.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::cuda::{CudaDevice, MappedWords};
use crate::error::DeviceError;

/// The words in which a variant on a GPU reports: the number of the report that is wanted, from 1; the place, the program, a
/// value, what was met; and the number again once all of them are there. The host reads them at any time, so that a report needs no
/// waiting.
pub(crate) struct TrapRecord(MappedWords<WORDS>);

const WORDS: usize = 6;

impl TrapRecord {
    pub(crate) fn new(cuda: &CudaDevice) -> Result<Self, DeviceError> {
        let words = MappedWords::new(cuda)?;
        words.words()[0].store(1, Release);
        Ok(Self(words))
    }

    /// The address to launch with.
    pub(crate) fn address(&self) -> u64 {
        self.0.address()
    }

    /// The number of the place, the program, the value and what was met, if there is a whole report. It is gone then.
    pub(crate) fn take(&self) -> Option<[u64; 4]> {
        let [wanted, place, program, value, met, complete] = self.0.words();
        let number = wanted.load(Acquire);
        if complete.load(Acquire) != number {
            return None;
        }
        let report = [place, program, value, met].map(|word| word.load(Relaxed));
        // From here on, a kernel may report again. If another thread took this one, it has said so already.
        let next = wanted.compare_exchange(number, number + 1, Release, Relaxed);
        next.ok().map(|_| report)
    }
}
