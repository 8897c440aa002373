//! Whether literals pay: measured on launches that happen anyway.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::VariantId;

/// So many launches of each side are measured.
pub(crate) const SAMPLES: usize = 16;
/// So many measurements may be waiting to be read, which bring the verdict if all go well. A launch beyond is not measured.
const MAX_PENDING: usize = 2 * SAMPLES;
/// Of all launches of a device one in so many is measured, and so many besides, which are one comparison: measuring takes about
/// as long as a launch, and is not to be seen among the slowest of a hundred, nor to decide which they are.
const ONE_IN: u64 = 512;
const AT_ONCE: u64 = 2 * SAMPLES as u64;
/// Literals are kept if the middle launch with them takes less than this share of the middle one without.
const FASTER: f64 = 0.98;

const MEASURING: u8 = 0;
const KEPT: u8 = 1;
const REJECTED: u8 = 2;

/// Whether one launch more is to be measured, after so many of so many.
pub(super) fn may_measure(measured: u64, launches: u64) -> bool {
    measured < AT_ONCE + launches / ONE_IN
}

/// Which of two variants a launch was served by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Without,
    With,
}

/// A measurement of one launch, to be read when it has run.
pub(crate) trait Reading: Send + Sync {
    /// How long it took; `None` as long as it is not known.
    fn read(&self) -> Option<Duration>;
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Measuring,
    Kept,
    Rejected,
}

/// A comparison under way, or its result.
#[derive(Default)]
pub(crate) struct Trial {
    verdict: AtomicU8,
    turns: AtomicU64,
    samples: Mutex<Samples>,
}

#[derive(Default)]
struct Samples {
    pending: VecDeque<(Side, Box<dyn Reading>)>,
    times: [Vec<Duration>; 2],
    variants: Option<[VariantId; 2]>,
}

/// What exactness bought: launches with literals beside the same launches without, measured where the work is done.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The kernel.
    pub kernel: String,
    /// The literals.
    pub literals: Vec<String>,
    /// The variants without and with them.
    pub variants: Option<[VariantId; 2]>,
    /// The middle of the times without and with them, of those that were measured so far.
    pub medians: [Option<Duration>; 2],
    /// Whether launches are served with them; `None` as long as it is being measured.
    pub kept: Option<bool>,
}

impl Trial {
    pub(crate) fn verdict(&self) -> Verdict {
        match self.verdict.load(Relaxed) {
            MEASURING => Verdict::Measuring,
            KEPT => Verdict::Kept,
            _ => Verdict::Rejected,
        }
    }

    /// The side that is to serve the next launch, which is to be measured: each in turn. `None` where measuring would be for
    /// nothing, because so many launches still run or another thread looks at them.
    pub(crate) fn turn(&self) -> Option<Side> {
        let mut samples = self.samples.try_lock()?;
        samples.read();
        if samples.pending.len() >= MAX_PENDING {
            return None;
        }
        Some(match self.turns.fetch_add(1, Relaxed).is_multiple_of(2) {
            true => Side::Without,
            false => Side::With,
        })
    }

    /// A measured launch. Returns the verdict if this one brings it. A launch waits for no other: what another one looks at
    /// meanwhile is not kept.
    pub(crate) fn add(&self, side: Side, reading: Box<dyn Reading>, variants: [VariantId; 2]) -> Option<Verdict> {
        let mut samples = self.samples.try_lock()?;
        if self.verdict() != Verdict::Measuring {
            return None;
        }
        if samples.variants != Some(variants) {
            // Conditions or schedule are others now.
            *samples = Samples {
                variants: Some(variants),
                ..Samples::default()
            };
        }
        if samples.pending.len() < MAX_PENDING {
            samples.pending.push_back((side, reading));
        }
        samples.read();
        if samples.times.iter().any(|times| times.len() < SAMPLES) {
            return None;
        }
        samples.pending.clear();
        let [without, with] = samples.times.each_ref().map(|times| median(times).unwrap_or_default());
        let verdict = match with.as_secs_f64() < without.as_secs_f64() * FASTER {
            true => (KEPT, Verdict::Kept),
            false => (REJECTED, Verdict::Rejected),
        };
        self.verdict.store(verdict.0, Relaxed);
        Some(verdict.1)
    }

    /// The figures.
    pub(super) fn measured(&self, kernel: &str, literals: Vec<String>) -> Measured {
        let samples = self.samples.lock();
        Measured {
            kernel: kernel.to_owned(),
            literals,
            variants: samples.variants,
            medians: samples.times.each_ref().map(|times| median(times)),
            kept: match self.verdict() {
                Verdict::Measuring => None,
                Verdict::Kept => Some(true),
                Verdict::Rejected => Some(false),
            },
        }
    }
}

impl Samples {
    /// Takes the times of launches that have run, in their order.
    fn read(&mut self) {
        while let Some((side, reading)) = self.pending.front() {
            let Some(time) = reading.read() else { return };
            self.times[*side as usize].push(time);
            self.pending.pop_front();
        }
    }
}

fn median(times: &[Duration]) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Option<Duration>| time.map_or("nothing yet".to_owned(), |time| format!("{time:.1?}"));
        let [without, with] = self.medians.map(time);
        let verdict = match self.kept {
            None => "being measured",
            Some(true) => "kept",
            Some(false) => "not kept",
        };
        write!(
            f,
            "{} with {}: {with}, {without} without: {verdict}",
            self.kernel,
            self.literals.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known(Option<Duration>);

    impl Reading for Known {
        fn read(&self) -> Option<Duration> {
            self.0
        }
    }

    const IDS: [VariantId; 2] = [VariantId([0; 32]), VariantId([1; 32])];

    fn judged(without: u64, with: u64) -> Option<Verdict> {
        let trial = Trial::default();
        let mut verdict = None;
        for _ in 0..2 * SAMPLES {
            assert!(verdict.is_none(), "it comes with the last launch");
            let side = trial.turn().expect("there is room");
            let nanos = if side == Side::With { with } else { without };
            verdict = trial.add(side, Box::new(Known(Some(Duration::from_nanos(nanos)))), IDS);
        }
        assert_eq!(verdict, Some(trial.verdict()));
        let measured = trial.measured("copy", vec!["rows = 3".to_owned()]);
        assert_eq!(
            measured.medians,
            [without, with].map(|nanos| Some(Duration::from_nanos(nanos)))
        );
        verdict
    }

    #[test]
    fn of_many_launches_few_are_measured() {
        let mut measured = 0;
        for launches in 0..100_000 {
            measured += u64::from(may_measure(measured, launches));
        }
        assert_eq!(measured, AT_ONCE + 99_999 / ONE_IN);
        assert!(measured < 100_000 / 400);
    }

    #[test]
    fn only_what_is_faster_is_kept() {
        assert_eq!(judged(1000, 900), Some(Verdict::Kept));
        assert_eq!(judged(1000, 1000), Some(Verdict::Rejected));
        assert_eq!(judged(1000, 995), Some(Verdict::Rejected), "that is noise");
        assert_eq!(judged(900, 1000), Some(Verdict::Rejected));
    }

    #[test]
    fn launches_that_never_end_bring_no_verdict_and_take_bounded_room() {
        let trial = Trial::default();
        for _ in 0..MAX_PENDING {
            let side = trial.turn().expect("there is room");
            assert_eq!(trial.add(side, Box::new(Known(None)), IDS), None);
        }
        assert_eq!(trial.turn(), None, "no more launches are measured");
        assert_eq!(trial.add(Side::With, Box::new(Known(None)), IDS), None);
        assert_eq!(trial.samples.lock().pending.len(), MAX_PENDING);
        assert_eq!(trial.measured("copy", Vec::new()).kept, None);
    }

    #[test]
    fn times_of_other_variants_are_not_mixed() {
        let trial = Trial::default();
        let fast = || Box::new(Known(Some(Duration::from_nanos(1))));
        for _ in 0..2 * SAMPLES - 1 {
            assert_eq!(trial.add(trial.turn().expect("there is room"), fast(), IDS), None);
        }
        assert_eq!(
            trial.add(Side::Without, fast(), [IDS[1], IDS[0]]),
            None,
            "all begins again"
        );
    }
}
